//! `countersign explain`, as people and scripts call it.

use super::*;

/// One request described in every way, to a server and to a configuration. Exit codes and words are for scripts and people.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_a_server_or_a_configuration_about_a_request_in_any_form() {
    let world = World::new();
    let server = world.start().await;
    let token = world.for_somebody_else();
    let write = |name: &str, text: &[u8]| fs::write(world.path().join(name), text).unwrap();
    write("token", token.as_bytes());
    write("header", format!("Authorization: Bearer {token}\n").as_bytes());
    write(
        "line",
        format!("curl -sS https://api.example.test/ -H 'Authorization: Bearer {token}'").as_bytes(),
    );
    write("request.pb", &bearer(&token).encode_to_vec());
    let header =
        json!({"key": "authorization", "rawValue": BASE64_STANDARD.encode(format!("Bearer {token}"))});
    let saved = json!({"attributes": {"request": {"http": {"method": "GET", "path": "/", "headerMap": {"headers": [header]}}}}});
    write("request.json", saved.to_string().as_bytes());

    let running = format!("--server={}", server.admin_address());
    let offline: Vec<&str> = FLAGS.iter().copied().filter(|flag| !flag.starts_with("--audit")).collect();
    let forms: [&[&str]; 7] = [
        &["--token-file=token"],
        &["-H", "@header"],
        &["--curl=@line"],
        &["--check-request=request.pb"],
        &["--check-request=request.json"],
        &["--token-file=-"],
        &["--output=json", "-X", "GET", "--path=/", "--token-file", "token"],
    ];
    for (form, asked) in forms.iter().flat_map(|form| [(*form, vec![&*running]), (*form, offline.clone())]) {
        let output = run(world.path(), &[form, &asked[..]].concat(), &token);
        let text = both(&output);
        assert_eq!(output.status.code(), Some(1), "{form:?} {asked:?}: {text}");
        for word in ["wrong_audience", "somebody-else", "signature"] {
            assert!(
                text.contains(word) || word == "signature" && text.contains("key_id"),
                "{word} in {text}"
            );
        }
        assert!(!token.split('.').any(|part| text.contains(part)), "{text}");
    }
    let text = both(&run(world.path(), &["--token-file=token", &running], ""));
    let lines = [
        "DENIED: jwt: wrong_audience (",
        "  requestheader           no opinion (",
        "  bearer                  REJECTED by jwt (",
        "    jwt                   REJECTED (",
        "; signature verified with key \"1\"",
        "the token's aud names none of the audiences that are accepted here: it is meant for somebody else [wrong_audience]",
        "  anonymous               not asked: it was decided before",
        "  answer 401 itself, with",
        "what the token of bearer says of itself: NOT VERIFIED, anybody can write this",
        "  aud                     \"somebody-else\"",
    ];
    for line in lines {
        assert!(text.contains(line), "{line} in\n{text}");
    }

    let code = |flags: &[&str]| run(world.path(), flags, "").status.code();
    assert_eq!(code(&["-H", "Authorization: Bearer of-the-file", &running]), Some(0));
    assert_eq!(code(&[&running, "--", "curl", "--oauth2-bearer", "of-the-file", "http://x/"]), Some(0));
    assert_eq!(code(&["--path=/open", &running]), Some(0));
    assert_eq!(code(&[&running, "--", "-u", "bert:passw0rd-1", "https://x/y?z"]), Some(0));
    let nobody = run(world.path(), &["--server=127.0.0.1:1"], "");
    let hint = "is it the --admin-listen of a countersign?";
    let words = format!("error: 127.0.0.1:1: Connection refused (os error 111); {hint}\n");
    assert_eq!((nobody.status.code(), both(&nobody)), (Some(2), words));
    let wrong_port = run(world.path(), &["--server", &server.address], "");
    let words = "Operation is not implemented or not supported";
    let words = format!("error: {}: {words}; {hint}\n", server.address);
    assert_eq!((wrong_port.status.code(), both(&wrong_port)), (Some(2), words));
    assert_eq!(code(&["--token-auth-file=missing"]), Some(2), "a bad configuration");
    assert_eq!(code(&["--curl=curl --socks5 x http://x/", &running]), Some(2));
    assert_eq!(code(&["--offline", &running]), Some(2));
    let json: Value =
        serde_json::from_slice(&run(world.path(), &["--output=json", &running], "").stdout).unwrap();
    assert_eq!(
        (&json["verdict"], &json["rejections"][0]["reason"]),
        (&"VERDICT_DENIED".into(), &"no_credentials".into())
    );
}
