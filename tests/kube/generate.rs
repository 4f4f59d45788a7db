//! Makes requests: what clients send, and what somebody sends who looks for a gap. Only header values that an Envoy passes
//! on are made, so no control characters but the tab.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::random::Random;
use super::support::envoy::Request;
use super::support::verdict::WEBSOCKET_TOKEN;
use super::wire::SELF_SUBJECT_REVIEW;

pub(crate) struct Case {
    pub(crate) family: &'static str,
    pub(crate) request: Request,
}

/// A token file of odd rows, and the tokens in it that one may want to try.
pub(crate) struct TokenFile {
    pub(crate) csv: String,
    tokens: Vec<String>,
}

pub(crate) type Line = (String, Vec<u8>);

impl TokenFile {
    /// Random rows behind those of `csv`.
    pub(crate) fn random(random: &mut Random, csv: &str) -> Self {
        let mut file = Self { csv: format!("{csv}\n"), tokens: Vec::new() };
        // Good enough for rows without quotes; a token that this gets wrong is an unknown token.
        file.tokens.extend(csv.lines().filter_map(|line| line.split(',').next()).map(str::to_owned));
        file.tokens.retain(|token| !token.trim().is_empty());
        file.tokens.push("tok\"q".into());
        for _ in 0..60 {
            let token = match random.percent(10) {
                true => file.tokens[random.below(file.tokens.len())].clone(),
                false => word(
                    random,
                    &["a", "B", "7", "-", ".", "_", "~", "+", "/", "=", "!", "é", "ß", "\"", " x"],
                ),
            };
            let mut row = vec![token.clone(), user(random), uid(random)];
            if random.percent(75) {
                row.push(groups(random));
            }
            let row =
                row.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect::<Vec<_>>();
            file.csv += &(row.join(",") + "\n");
            file.tokens.push(token);
        }
        file
    }

    /// One of the file.
    pub(crate) fn any(&self, random: &mut Random) -> String {
        self.tokens[random.below(self.tokens.len())].clone()
    }

    fn authorization(&self, random: &mut Random) -> Line {
        let token = self.token(random);
        authorization(random, &token)
    }

    /// One of the file, mostly.
    pub(crate) fn token(&self, random: &mut Random) -> String {
        let token = self.any(random);
        match random.below(20) {
            0 => token + random.pick(&["x", "=", ".", "!", "\u{301}", "\u{200b}"]),
            1 => token.chars().skip(1).collect(),
            2 => token.chars().rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
            3 => token.to_uppercase(),
            4 => format!("\"{token}\""),
            5 => word(random, &["x", "nope", ".", "="]),
            _ => token,
        }
    }
}

fn word(random: &mut Random, of: &[&str]) -> String {
    (0..=random.below(10)).map(|_| random.pick(of)).collect()
}

fn user(random: &mut Random) -> String {
    let plain = word(random, &["al", "bo", "ce", "Δ", "用", "-", "@", ".", " d", ":", "%", "\"", ";", "="]);
    let odd = [
        "",
        " edge",
        "edge ",
        "ta\tb",
        "system:anonymous",
        "system:admin",
        "a,b",
        "\u{a0}nbsp",
        "x\u{2003}",
        "del\u{7f}",
    ];
    if random.percent(88) { plain.trim().to_owned() } else { random.pick(&odd).to_owned() }
}

fn uid(random: &mut Random) -> String {
    (random.pick(&["", "uid", "1,2", "ü", " ", "uid 7", "uid\t7"])).to_owned()
}

fn groups(random: &mut Random) -> String {
    let names = [
        "dev",
        "ops",
        "dev",
        "группа",
        "a b",
        "",
        " ",
        " g",
        "g ",
        "t\tb",
        "system:masters",
        "system:authenticated",
        "system:unauthenticated",
        "a;b",
        "\u{a0}",
    ];
    let usual = ["dev", "ops", "a b", "группа", "system:masters"];
    let from: &[&str] = if random.percent(80) { &usual } else { &names };
    (0..random.below(5)).map(|_| random.pick(from)).collect::<Vec<_>>().join(",")
}

/// A request for "who am I" with credentials in every place where a token can be.
pub(crate) fn credentials(random: &mut Random, tokens: &TokenFile) -> Case {
    let mut headers = Vec::new();
    let family = match random.below(20) {
        0..9 => {
            headers.push(tokens.authorization(random));
            "authorization"
        }
        9..11 => {
            headers.extend((0..2 + random.below(2)).map(|_| tokens.authorization(random)));
            "repeated authorization"
        }
        11..16 => {
            websocket(random, |random| tokens.token(random), &mut headers);
            "websocket"
        }
        16..19 => {
            headers.extend((0..=random.below(4) / 3).map(|_| tokens.authorization(random)));
            websocket(random, |random| tokens.token(random), &mut headers);
            "authorization and websocket"
        }
        _ => "no credential",
    };
    if random.percent(25) {
        headers.extend((0..=random.below(3)).map(|_| spoof(random, tokens)));
    }
    for _ in 0..random.below(3) {
        let (from, to) = (random.below(headers.len().max(1)), random.below(headers.len().max(1)));
        if !headers.is_empty() && headers[from].0 != headers[to].0 {
            headers.swap(from, to);
        }
    }
    Case {
        family,
        request: Request {
            method: "POST".into(),
            path: SELF_SUBJECT_REVIEW.into(),
            headers,
            certificates: Vec::new(),
            key: None,
        },
    }
}

/// A bearer token in its header, which may be odd.
pub(crate) fn authorization(random: &mut Random, token: &str) -> Line {
    let name = random.mostly("Authorization", &["authorization", "AUTHORIZATION", "aUTHORIZATION"]);
    if random.percent(3) {
        return (name.to_string(), Vec::new());
    }
    const SCHEMES: [&str; 12] = [
        "bearer",
        "BEARER",
        "bEaReR",
        "Basic",
        "Token",
        "Bear",
        "Bearer:",
        "Ｂearer",
        "",
        "Digest",
        "Negotiate",
        "Bearer,",
    ];
    const SEPARATORS: [&[u8]; 8] =
        [b"  ", b"\t", b" \t", b"", b",", "\u{a0}".as_bytes(), "\u{2003}".as_bytes(), b" , "];
    const BEFORE: [&[u8]; 9] = [
        b" ",
        b"\t",
        b"  \t ",
        "\u{85}".as_bytes(),
        "\u{a0}".as_bytes(),
        "\u{feff}".as_bytes(),
        "\u{200b}".as_bytes(),
        b"\x85",
        b"\xa0",
    ];
    const AFTER: [&[u8]; 19] = [
        b" ",
        b"   ",
        b"\t",
        b" junk",
        b" junk more",
        b"  junk",
        "\u{2003}".as_bytes(),
        "\u{a0}".as_bytes(),
        "\u{85}".as_bytes(),
        "\u{200b}".as_bytes(),
        b",",
        b", Bearer x",
        b" , Bearer x",
        b",Bearer x",
        b" ,x",
        b"\xff",
        b"\x85",
        b"!",
        b"\xe2\x80",
    ];
    let token = if random.percent(3) { "" } else { token };
    let value = [
        random.mostly(&b""[..], &BEFORE),
        random.mostly("Bearer", &SCHEMES).as_bytes(),
        random.mostly(&b" "[..], &SEPARATORS),
        token.as_bytes(),
        random.mostly(&b""[..], &AFTER),
    ];
    (name.to_string(), value.concat())
}

/// Tokens, of which there is one mostly, among the subprotocols of a websocket.
pub(crate) fn websocket(random: &mut Random, token: impl Fn(&mut Random) -> String, headers: &mut Vec<Line>) {
    const CONNECTIONS: [&[&str]; 10] = [
        &["upgrade"],
        &["UPGRADE"],
        &["keep-alive, Upgrade"],
        &["keep-alive", "Upgrade"],
        &["Upgrade", "keep-alive"],
        &["x-upgrade"],
        &["keep-alive"],
        &[],
        &["up-grade"],
        &["upgraded"],
    ];
    const UPGRADES: [&[&str]; 14] = [
        &["WebSocket"],
        &["WEBSOCKET"],
        &["web\u{17f}ocket"],
        &["websoc\u{212a}et"],
        &["ｗebsocket"],
        &["websocket, h2c"],
        &["websocket,h2c"],
        &["h2c, websocket"],
        &["h2c"],
        &[],
        &["websocket", "h2c"],
        &["h2c", "websocket"],
        &["websocket/13"],
        &["websocket", "websocket"],
    ];
    for (name, usual, odd) in
        [("Connection", &["Upgrade"], &CONNECTIONS[..]), ("Upgrade", &["websocket"], &UPGRADES)]
    {
        let lines = random.mostly(&usual[..], odd);
        headers.extend(lines.iter().map(|line| (name.to_owned(), line.as_bytes().to_vec())));
    }
    let mut protocols = Vec::new();
    for _ in 0..random.mostly(1, &[0, 2]) {
        let token = token(random);
        protocols.push(token_protocol(random, &token));
    }
    for _ in 0..random.mostly(1, &[0, 2, 3]) {
        let other = random.mostly("v4.channel.k8s.io", &["", "v5.channel.k8s.io", "é"]);
        protocols.insert(random.below(protocols.len() + 1), other.to_owned());
    }
    let separator = random.mostly(", ", &[",", " , ", "\t,", ",\u{a0}", "\n"]);
    let lines = protocols.join(separator);
    headers.extend(
        lines.split('\n').map(|line| ("Sec-WebSocket-Protocol".to_owned(), line.as_bytes().to_vec())),
    );
}

fn token_protocol(random: &mut Random, token: &str) -> String {
    let bytes = token.as_bytes();
    let encoded = URL_SAFE_NO_PAD.encode(bytes);
    let prefix = random.mostly(
        WEBSOCKET_TOKEN,
        &[WEBSOCKET_TOKEN, "Base64url.bearer.authorization.k8s.io.", "base64url.bearer.authorization.k8s.io"],
    );
    let encoded = match random.below(20) {
        0 => URL_SAFE.encode(bytes),
        1 => STANDARD.encode(bytes),
        2 => STANDARD_NO_PAD.encode(bytes),
        3 => other_trailing_bits(&encoded),
        4 => String::new(),
        5 => URL_SAFE_NO_PAD.encode([bytes, b"\xff"].concat()),
        6 => encoded + "A",
        7 => URL_SAFE_NO_PAD.encode([b" ", bytes, b" "].concat()),
        8 => encoded + " ",
        _ => encoded,
    };
    format!("{prefix}{encoded}")
}

/// The same bytes, if the decoder ignores the bits that are left over.
pub(crate) fn other_trailing_bits(encoded: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = encoded.as_bytes().to_vec();
    if let (2 | 3, Some(last)) = (bytes.len() % 4, bytes.last_mut()) {
        let index = ALPHABET.iter().position(|byte| byte == last).unwrap();
        *last = ALPHABET[index ^ 1];
    }
    String::from_utf8(bytes).unwrap()
}

/// A header that is no credential here, whatever it says.
fn spoof(random: &mut Random, tokens: &TokenFile) -> Line {
    let token = tokens.token(random);
    let lines = [
        ("X-Remote-User", "admin".to_owned()),
        ("x-remote-user", String::new()),
        ("X-REMOTE-UID", "0".to_owned()),
        ("X-Remote-Group", "system:masters".to_owned()),
        ("X-Remote-Group-1", "system:masters".to_owned()),
        ("X-Remote-Extra-Scopes", "all".to_owned()),
        ("X-Remote-Extra-%2f", "all".to_owned()),
        ("X_Remote_User", "admin".to_owned()),
        ("Impersonate-User", "admin".to_owned()),
        ("Impersonate-Group", "system:masters".to_owned()),
        ("impersonate-extra-scopes", "all".to_owned()),
        ("Proxy-Authorization", format!("Bearer {token}")),
        ("X-Forwarded-Authorization", format!("Bearer {token}")),
        ("Cookie", format!("authorization=Bearer {token}")),
        ("X-Forwarded-User", "admin".to_owned()),
    ];
    let (name, value) = &lines[random.below(lines.len())];
    ((*name).to_owned(), value.clone().into_bytes())
}

/// The paths on which the second cluster lets anonymous clients in.
pub(crate) const ANONYMOUS_PATHS: [&str; 9] =
    ["/healthz", "/readyz", "/api/", "/a b", "/ü/用", "/a/b/c", "/100%", "/odd;v=1", "/x.y"];

/// A request without credentials, mostly, for a path that is almost one of [`ANONYMOUS_PATHS`].
pub(crate) fn anonymous(random: &mut Random, tokens: &TokenFile) -> Case {
    let mut path = match random.below(12) {
        0 => "/version".to_owned(),
        1 => SELF_SUBJECT_REVIEW.to_owned(),
        _ => as_target(random.pick(&ANONYMOUS_PATHS)),
    };
    let mut headers = Vec::new();
    match random.below(10) {
        // Here the path stays as it is: a malformed one is refused by Go's HTTP server, before anybody looks at the token.
        0 => headers.push(tokens.authorization(random)),
        credentials => {
            match credentials {
                1 => headers.push(("Authorization".to_owned(), b"Basic x".to_vec())),
                2 => headers.push(spoof(random, tokens)),
                3 => headers.push(("X-Original-Uri".to_owned(), b"/healthz".to_vec())),
                _ => {}
            }
            for _ in 0..random.below(3) {
                path = odd_path(random, &path);
            }
        }
    }
    if random.percent(15) {
        path += random.pick(&["?", "?verbose", "?/../x", "?a=%zz"]);
    }
    let method = random.mostly("GET", &["HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH"]);
    Case {
        family: "anonymous by path",
        request: Request { method: method.into(), path, headers, certificates: Vec::new(), key: None },
    }
}

/// A path as a request target: only what has to be encoded is.
pub(crate) fn as_target(path: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    path.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn odd_path(random: &mut Random, path: &str) -> String {
    let at = random.below(path.len() + 1); // request targets are ASCII
    let (before, after) = path.split_at(at);
    let next = after.bytes().next();
    match (random.below(12), next) {
        (0..3, Some(byte)) => format!("{before}%{byte:02x}{}", &after[1..]),
        (3, Some(byte)) => format!("{before}%{byte:02X}{}", &after[1..]),
        (4, Some(_)) => format!("{before}{}", &after[1..]),
        (5, _) => path.replacen('%', "%25", 1),
        (6, _) => path.to_ascii_uppercase(),
        (7, _) => path.replacen(
            '/',
            random.pick(&["//", "/./", "/x/../", "/%2e/", "%2f", "/%2F", "\\"]),
            1 + random.below(2),
        ),
        _ => {
            let ends = [
                "/", "/.", "/..", "//", ";x=1", "%20", "%00", "%2f", "%3fq", "%", "%zz", "%2", "\\", "%0a",
                "%ff", "+", "&", "%c3%bc",
            ];
            format!("{path}{}", random.pick(&ends))
        }
    }
}
