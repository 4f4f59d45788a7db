//! Other policies for routes that name one, in the running program.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::Peer;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::{Value, json};

use crate::message::{get, verdict};
use crate::support::program::{PATIENCE, Server, countersign};

const HEAD: &str = "apiVersion: countersign/v1alpha1\nkind: ProfileConfiguration\n";

fn write_profiles(folder: &Path, profiles: &str) {
    fs::write(folder.join("new"), format!("{HEAD}profiles:\n{profiles}")).unwrap();
    fs::rename(folder.join("new"), folder.join("profiles.yaml")).unwrap();
}

/// The same request on a route that names a profile.
fn on_route(profile: Option<&str>, mut request: CheckRequest) -> CheckRequest {
    let extensions = profile.map(|name| ("countersign.profile".to_owned(), name.to_owned()));
    request.attributes.as_mut().unwrap().context_extensions.extend(extensions);
    request
}

async fn ask(server: &Server, profile: Option<&str>, token: &str) -> Result<String, i32> {
    let authorization = format!("Bearer {token}");
    let request = on_route(profile, get("/", &[("authorization", authorization.as_bytes())]));
    verdict(server.client().await.check(request).await.unwrap().get_ref())
}

/// As a cluster whose issuer is `i` signs for a pod, but without `kid`.
fn sign(key: &KeyPair, audiences: &[&str]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "aud": audiences, "iss": "i", "iat": now - 60, "nbf": now - 60, "exp": now + 600, "jti": audiences.join("+"),
        "kubernetes.io": {"namespace": "apps", "serviceaccount": {"name": "web", "uid": "u-1"}},
    });
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&json!({"alg": "ES256"})), encode(&claims));
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap();
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

const FLAGS: [&str; 8] = [
    "--anonymous-auth=false",
    "--token-auth-file=tokens.csv",
    "--service-account-key-file=sa.pub",
    "--service-account-issuer=i",
    "--service-account-lookup-mode=offline",
    "--token-success-cache-ttl=1h",
    "--token-failure-cache-ttl=1h",
    "--profiles-file=profiles.yaml",
];

fn world(folder: &Path, key: &KeyPair) {
    fs::write(folder.join("tokens.csv"), "static,alice,1,dev\n").unwrap();
    fs::write(folder.join("sa.pub"), key.public_key_pem()).unwrap();
}

/// S17: with everything remembered, good and bad, in whatever order they were asked.
#[tokio::test]
async fn a_token_that_is_good_or_bad_for_one_route_is_judged_anew_for_another() {
    let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
    world(folder.path(), &key);
    write_profiles(
        folder.path(),
        "- {name: billing, audiences: [billing], authenticators: [serviceaccount]}\n- {name: both, audiences: [i, billing]}\n\
         - {name: statics, authenticators: [tokenfile]}\n",
    );
    let (web, bad) = (Ok("system:serviceaccount:apps:web".to_owned()), Err(401));
    let alice = Ok("alice".to_owned());
    let tokens = ["i", "billing"].map(|audience| sign(&key, &[audience]));
    let table = [
        (None, [&web, &bad, &alice]),
        (Some("default"), [&web, &bad, &alice]),
        (Some("billing"), [&bad, &web, &bad]),
        (Some("both"), [&web, &web, &alice]),
        (Some("statics"), [&bad, &bad, &alice]),
        (Some("nobody"), [&bad, &bad, &bad]),
    ];
    for backwards in [false, true] {
        let server = Server::start(folder.path(), &FLAGS);
        for round in 0..2 {
            let mut rows: Vec<_> = table.iter().collect();
            if backwards {
                rows.reverse();
            }
            for (profile, expected) in rows {
                for (token, expected) in [&*tokens[0], &tokens[1], "static"].into_iter().zip(expected) {
                    let said = ask(&server, *profile, token).await;
                    assert_eq!(said, **expected, "{profile:?}, round {round}, backwards: {backwards}");
                }
            }
        }
        let page = server.admin_page("/metrics").await.1;
        let counted = |line: &str| assert!(page.contains(&format!("\n{line}\n")), "{line}:\n{page}");
        counted(r#"countersign_rejections_total{authenticator="chain",reason="unknown_profile"} 6"#);
        counted(r#"countersign_profile_checks_total{profile="billing",result="allowed"} 2"#);
        counted(r#"countersign_profile_checks_total{profile="billing",result="denied"} 4"#);
        counted(r#"countersign_profile_checks_total{profile="default",result="allowed"} 8"#);
        // In the one room: one for the default, one for billing, two for both.
        counted(r#"countersign_token_cache_entries{kind="good"} 4"#);
    }
}

/// What is explained is the decision of that route's policy, and of nobody if there is none.
#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_is_that_of_the_profile_that_the_route_names() {
    let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
    world(folder.path(), &key);
    write_profiles(folder.path(), "- {name: statics, authenticators: [tokenfile]}\n");
    let server = Server::start(folder.path(), &FLAGS);
    let running = format!("--server={}", server.admin_address());
    fs::write(folder.path().join("token"), sign(&key, &["i"])).unwrap();
    let explained = |asked: &[&str], profile: Option<&str>| {
        let extension = profile.map(|name| format!("--context-extension=countersign.profile={name}"));
        let flags: Vec<&str> = asked.iter().copied().chain(extension.as_deref()).collect();
        let output = countersign("explain", folder.path(), &flags).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let first = text.split(" (").next().unwrap().to_owned();
        let names = text.lines().find(|line| line.starts_with("the route names")).map(str::to_owned);
        (output.status.code().unwrap(), first, names, text.contains("\n    serviceaccount "))
    };
    let names = |name: &str| Some(format!("the route names the profile \"{name}\""));
    let web = "ALLOWED as \"system:serviceaccount:apps:web\" by serviceaccount".to_owned();
    let bad = "DENIED: bearer: invalid_bearer_token".to_owned();
    let unknown = "DENIED: chain: unknown_profile".to_owned();
    for asked in [&["--token-file=token", &running][..], &[&FLAGS[..], &["--token-file=token"]].concat()] {
        assert_eq!(explained(asked, None), (0, web.clone(), None, true));
        assert_eq!(explained(asked, Some("statics")), (1, bad.clone(), names("statics"), false));
        assert_eq!(explained(asked, Some("nobody")), (1, unknown.clone(), names("nobody"), false));
    }
}

/// A certificate is remembered as well.
#[tokio::test]
async fn a_certificate_counts_on_routes_that_want_certificates() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "static,alice,1\n").unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.path().join("clients.pem"), authority.pem()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "bob");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
    let certificate = utf8_percent_encode(&leaf.pem().replace("\r\n", "\n"), NON_ALPHANUMERIC).to_string();
    write_profiles(
        folder.path(),
        "- {name: certificates, authenticators: [x509]}\n- {name: tokens, authenticators: [tokenfile]}\n",
    );
    let flags = [
        "--anonymous-auth=false",
        "--token-auth-file=tokens.csv",
        "--client-ca-file=clients.pem",
        "--profiles-file=profiles.yaml",
    ];
    let server = Server::start(folder.path(), &flags);
    let mut client = server.client().await;
    let (alice, bob) = (Ok("alice".to_owned()), Ok("bob".to_owned()));
    for _ in 0..2 {
        for (profile, token, expected) in [
            ("default", "static", &bob),
            ("certificates", "static", &bob),
            ("tokens", "static", &alice),
            ("default", "stranger", &bob),
            ("certificates", "stranger", &bob),
            ("tokens", "stranger", &Err(401)),
        ] {
            let authorization = format!("Bearer {token}");
            let mut request = get("/", &[("authorization", authorization.as_bytes())]);
            let peer = Peer { certificate: certificate.clone(), ..Default::default() };
            request.attributes.as_mut().unwrap().source = Some(peer);
            let response = client.check(on_route(Some(profile), request)).await.unwrap();
            assert_eq!(verdict(response.get_ref()), *expected, "{profile} {token}");
        }
    }
}

/// One file more that is looked at, and all of them change at once.
#[tokio::test]
async fn profiles_come_change_and_go_without_a_restart() {
    let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
    world(folder.path(), &key);
    write_profiles(folder.path(), "- {name: a, authenticators: [tokenfile]}\n");
    let mut server = Server::start(folder.path(), &[&FLAGS[..], &["--reload-interval=50ms"]].concat());
    let token = sign(&key, &["i"]);
    let (alice, web) = (Ok("alice".to_owned()), Ok("system:serviceaccount:apps:web".to_owned()));
    let asked = async |server: &Server, profile| {
        [ask(server, Some(profile), "static").await, ask(server, Some(profile), &token).await]
    };
    assert_eq!(asked(&server, "a").await, [alice.clone(), Err(401)]);
    assert_eq!(asked(&server, "b").await, [Err(401), Err(401)]);

    write_profiles(
        folder.path(),
        "- {name: a, authenticators: [serviceaccount]}\n- {name: b, authenticators: [tokenfile, serviceaccount]}\n",
    );
    server.wait_for("reloaded");
    assert_eq!(asked(&server, "a").await, [Err(401), web.clone()]);
    assert_eq!(asked(&server, "b").await, [alice.clone(), web.clone()]);

    // A bad file changes nothing.
    write_profiles(folder.path(), "- {name: b, authenticators: [jwt]}\n");
    let told = server.wait_for("not reloaded; the old configuration goes on serving");
    assert_eq!(
        told["fields"]["error"],
        "--profiles-file: profiles.yaml: profiles[0].authenticators[0]: Invalid value: \"jwt\": no flag configures it; set \
         --oidc-issuer-url, or jwt of --authentication-config, or remove it here"
    );
    assert_eq!(asked(&server, "a").await, [Err(401), web.clone()]);

    // Nobody falls back to the default who has lost its profile.
    write_profiles(folder.path(), "- {name: b}\n");
    server.wait_for("reloaded");
    assert_eq!(asked(&server, "a").await, [Err(401), Err(401)]);
    assert_eq!(asked(&server, "b").await, [alice, web]);
    let denied = server.logged().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let unknown = denied.filter(|event| event["fields"]["rejected"] == "chain: unknown_profile");
    let named: Vec<Value> = unknown.map(|event| event["fields"]["profile"].clone()).collect();
    assert!(named.iter().all(|name| name == "b") && named.len() == 2, "{named:?}");
}

/// Never a mixture, nor a moment in which a profile is unknown that both configurations have.
#[tokio::test]
async fn a_profile_that_stays_is_always_there() {
    let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
    world(folder.path(), &key);
    let profiles = [
        "- {name: a, authenticators: [tokenfile]}\n- {name: b, authenticators: [serviceaccount]}\n",
        "- {name: b, authenticators: [serviceaccount]}\n- {name: c}\n- {name: a, authenticators: [tokenfile]}\n",
    ];
    write_profiles(folder.path(), profiles[0]);
    let server = Server::start(folder.path(), &[&FLAGS[..], &["--reload-interval=20ms"]].concat());
    let (mut client, mut reloads) = (server.client().await, 0);
    while reloads < 10 {
        write_profiles(folder.path(), profiles[(reloads + 1) % 2]);
        let (generation, begun) =
            (format!("countersign_config_generation {}\n", reloads + 2), SystemTime::now());
        while !server.admin_page("/metrics").await.1.contains(&generation) {
            assert!(begun.elapsed().unwrap() < PATIENCE, "no generation {}", reloads + 2);
            for (profile, expected) in [("a", Ok("alice".to_owned())), ("b", Err(401))] {
                let request = on_route(Some(profile), get("/", &[("authorization", b"Bearer static")]));
                let response = client.check(request).await.unwrap();
                assert_eq!(verdict(response.get_ref()), expected, "{profile}");
            }
        }
        reloads += 1;
    }
}

#[test]
fn check_config_says_what_is_wrong_with_profiles() {
    let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
    world(folder.path(), &key);
    write_profiles(folder.path(), "- {name: a, authenticators: [tokenfile]}\n");
    let run = || countersign("check-config", folder.path(), &FLAGS).output().unwrap();
    assert!(run().status.success(), "{:?}", run());
    write_profiles(folder.path(), "- {name: A, authenticator: [tokenfile]}\n");
    let output = run();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && told.contains("unknown field \"profiles[0].authenticator\""),
        "{told}"
    );
}
