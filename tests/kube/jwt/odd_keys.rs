//! Discovery documents and key sets that are not quite what an issuer should publish.

use serde_json::{Value, json};

use super::super::json::{Json, quoted, text};
use super::super::random::Random;
use super::Forge;

/// What an issuer publishes.
pub(super) struct Publication {
    pub(super) document: String,
    pub(super) set: String,
}

/// Of the issuer `url`, whose keys are at `keys` and mostly those that any issuer has.
pub(super) fn odd_keys(random: &mut Random, url: &str, keys: &str, forge: &Forge) -> Publication {
    let mut document = Json::object([
        ("issuer", text(quoted(url))),
        ("jwks_uri", text(quoted(keys))),
        ("token_endpoint", text(quoted(url))),
        ("id_token_signing_alg_values_supported", text("[\"RS256\"]")),
    ]);
    if random.percent(25) {
        const NAMES: [&str; 5] = [
            "issuer",
            "jwks_uri",
            "token_endpoint",
            "userinfo_endpoint",
            "id_token_signing_alg_values_supported",
        ];
        document.tamper(random, &NAMES, |random, _| {
            random
                .pick(&["null", "\"\"", "1", "{}", "[]", "[null]", "[1]", &quoted(url), &quoted(keys)])
                .to_owned()
        });
    }
    let mut document = document.write();
    if random.percent(5) {
        document = random
            .pick(&["", "null", "[]", "{}", &format!("\u{feff}{document}"), &format!(" {document}\n")])
            .to_owned();
    }
    let mut keys = vec![member_by_member(&forge.public["r1"]), member_by_member(&forge.public["e1"])];
    for name in ["r3", "e3", "ed"] {
        if random.percent(30) {
            keys.insert(random.below(keys.len() + 1), member_by_member(&forge.public[name]));
        }
    }
    if random.percent(70) {
        for _ in 0..=random.below(2) {
            let at = random.below(keys.len());
            keys[at].tamper(random, &MEMBERS, |random, name| member(random, name, forge));
        }
    }
    let mut keys: Vec<String> = keys.iter().map(Json::write).collect();
    if random.percent(10) {
        let odd = [
            "null",
            "{}",
            "1",
            "\"\"",
            "[]",
            r#"{"kty":"oct","k":"AQAB"}"#,
            r#"{"kty":"oct"}"#,
            r#"{"kty":"EC"}"#,
        ];
        keys.insert(random.below(keys.len() + 1), random.pick(&odd).to_owned());
    }
    let keys = format!("[{}]", keys.join(","));
    let set = match random.below(25) {
        0 => format!("{{\"Keys\":{keys}}}"),
        1 => format!("{{\"keys\":[],\"x\":[{{}}],\"keys\":{keys}}}"),
        2 => format!("{{\"keys\":{keys},\"keyſ\":null}}"),
        3 => format!("{{\"keys\":{keys},\"KEYS\":[]}}"),
        4 => format!(" {{\"keys\":{keys}}}\r\n"),
        5 => format!("{{\"keys\":{keys}}}x"),
        6 => keys,
        7 => random.pick(&["", "null", "{}", "{\"keys\":null}", "{\"keys\":{}}", "{\"keys\":1}"]).to_owned(),
        8 => format!("{{\"keys\":{{\"0\":{keys}}}}}"),
        _ => json!({"keys": 0}).to_string().replacen('0', &keys, 1),
    };
    Publication { document, set }
}

/// What may be in a key (RFC 7517 and 7518), but for what would make it a private one.
const MEMBERS: [&str; 18] = [
    "kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e", "k", "p", "q", "x5c", "x5t",
    "x5t#S256", "dp", "ext",
];

fn member_by_member(key: &Value) -> Json {
    let members = key.as_object().unwrap().iter();
    Json::Object(members.map(|(name, value)| (name.clone(), text(value))).collect())
}

/// A value for the member of this name, which may suit it.
fn member(random: &mut Random, name: &str, forge: &Forge) -> String {
    let any = [
        "null",
        "\"\"",
        "1",
        "true",
        "[]",
        "{}",
        "[\"\"]",
        "\"AQAB\"",
        "\"AQ==\"",
        "\"A+\"",
        "\"é\"",
        "\"A\\nQAB\"",
    ];
    if random.percent(30) {
        return random.pick(&any).to_owned();
    }
    match name {
        "kty" => random.pick(&["\"RSA\"", "\"EC\"", "\"oct\"", "\"OKP\"", "\"rsa\""]).to_owned(),
        "use" => random.pick(&["\"enc\"", "\"sig\"", "\"x\""]).to_owned(),
        "alg" => random.pick(&["\"RS512\"", "\"none\"", "\"RSA-OAEP\"", "\"ES256\""]).to_owned(),
        "kid" => random.pick(&["\"r1\"", "\"e1\"", "\"R1\"", "\"other\""]).to_owned(),
        "crv" => random.pick(&["\"P-256\"", "\"P-384\"", "\"P-224\"", "\"Ed25519\"", "\"p-256\""]).to_owned(),
        "n" | "x" | "y" | "e" | "p" | "q" | "k" | "dp" => {
            let of = forge.public[random.pick(&["r1", "e1", "r3", "e3"])].as_object().unwrap();
            let number = of.get(name).and_then(Value::as_str).unwrap_or("AQAB");
            match random.below(4) {
                0 => quoted(&format!("AA{number}")),
                1 => quoted(&number[..number.len() / 2]),
                2 => quoted(&format!("{number}=")),
                _ => quoted(number),
            }
        }
        "x5c" => match random.below(3) {
            0 => "[\"AQAB\"]".to_owned(),
            _ => format!("[{}]", quoted(&forge.certificate)),
        },
        "key_ops" => random.pick(&["[\"verify\"]", "[\"sign\"]", "\"verify\""]).to_owned(),
        _ => random.pick(&any).to_owned(),
    }
}
