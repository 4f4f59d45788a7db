//! Health and metrics over the admin listener.

use std::fs;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::message::{get, verdict};
use crate::support::program::{PATIENCE, Server, countersign};

const FLAGS: [&str; 3] =
    ["--token-auth-file=tokens.csv", "--reload-interval=20ms", "--shutdown-delay-duration=20s"];

async fn metric(server: &Server, line: &str) -> String {
    let (status, page) = server.admin_page("/metrics").await;
    assert_eq!(status, 200);
    let found = page.lines().find_map(|each| each.strip_prefix(line)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{line} in\n{page}")).to_owned()
}

/// Go: k8s.io/apiserver/pkg/server/healthz.
#[tokio::test]
async fn health_says_ready_until_the_end_begins_and_alive_to_the_last() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let mut server = Server::start(folder.path(), &FLAGS);
    assert_eq!(server.admin_page("/livez").await, (200, "ok".to_owned()));
    let verbose = "[+]ping ok\nlivez check passed\n";
    assert_eq!(server.admin_page("/livez?verbose").await, (200, verbose.to_owned()));
    assert_eq!(server.admin_page("/readyz").await, (200, "ok".to_owned()));
    let verbose = "[+]listener ok\n[+]shutdown ok\n[+]config ok\nreadyz check passed\n";
    assert_eq!(server.admin_page("/readyz?verbose").await, (200, verbose.to_owned()));
    assert_eq!(server.admin_page("/other").await.0, 404);

    server.signal("TERM");
    server.wait_for("told to stop; health says NOT_SERVING, still serving");
    let failed = "[+]listener ok\n[-]shutdown failed\n[+]config ok\nreadyz check failed\n";
    let deadline = std::time::Instant::now() + PATIENCE;
    while server.admin_page("/readyz").await != (503, failed.to_owned()) {
        assert!(std::time::Instant::now() < deadline, "still ready");
    }
    assert_eq!(server.admin_page("/livez").await, (200, "ok".to_owned()));
    server.signal("TERM");
    assert!(server.ended().await.success());
}

/// A bad file is counted once for each change, and is no reason to be taken out of service.
#[tokio::test]
async fn reloads_and_their_errors_are_counted_and_a_bad_file_leaves_us_ready() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| {
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), folder.path().join("tokens.csv")).unwrap();
    };
    write("token-1,alice,1\n");
    let mut server = Server::start(folder.path(), &FLAGS);
    let figures = async |server: &Server| {
        let (errors, good) = ("{result=\"error\"}", "{result=\"success\"}");
        [
            metric(server, &format!("countersign_config_reloads_total{errors}")).await,
            metric(server, &format!("countersign_config_reloads_total{good}")).await,
            metric(server, "countersign_config_generation").await,
            metric(server, "countersign_config_last_reload_successful").await,
        ]
    };
    assert_eq!(figures(&server).await, ["0", "0", "1", "1"]);
    for (round, text) in ["one\n", "two\n"].into_iter().enumerate() {
        write(text);
        server.wait_for("not reloaded; the old configuration goes on serving");
        assert_eq!(figures(&server).await, [&*(round + 1).to_string(), "0", "1", "0"]);
    }
    assert_eq!(server.admin_page("/readyz").await, (200, "ok".to_owned()));
    let remark =
        "[+]config ok: the last change was refused, or new issuers are missing; what was before serves\n";
    assert!(server.admin_page("/readyz?verbose").await.1.contains(remark));
    write("token-2,alice,1\n");
    server.wait_for("reloaded");
    assert_eq!(figures(&server).await, ["2", "1", "2", "1"]);
    assert_eq!(metric(&server, "countersign_client_crl_next_update_timestamp_seconds").await, "0");
}

/// Go: `Handler` of k8s.io/component-base/metrics/legacyregistry, which never answers in OpenMetrics: a counter's name would end in `_total`.
#[tokio::test]
async fn a_scrape_is_in_prometheus_text_format_and_says_what_became_of_each_check() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\ntoken-2,bob@example.test,2\n").unwrap();
    let server = Server::start(folder.path(), &[FLAGS[0], "--anonymous-auth=false"]);
    let mut client = server.client().await;
    let tokens: [(&[u8], _); 4] =
        [(b"Bearer token-1", 0), (b"Bearer token-2", 0), (b"Bearer nope", 16), (b"", 16)];
    for (authorization, expected) in tokens {
        let response = client.check(get("/", &[("authorization", authorization)])).await.unwrap();
        assert_eq!(response.get_ref().status.as_ref().unwrap().code, expected);
    }
    let (head, page) = server.admin_answer("GET", "/metrics", "").await;
    assert!(
        head.to_lowercase().contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{head}"
    );
    for line in [
        "authenticated_user_requests{username=\"email_id\"} 1",
        "authenticated_user_requests{username=\"other\"} 1",
        "authentication_attempts{result=\"error\"} 1",
        "authentication_attempts{result=\"failure\"} 1",
        "authentication_attempts{result=\"success\"} 2",
        "authentication_duration_seconds_count{result=\"success\"} 2",
        "countersign_check_duration_seconds_count 4",
        "countersign_checks_allowed_total{authenticator=\"tokenfile\"} 2",
        "countersign_checks_denied_total{fault=\"client\"} 2",
        "countersign_checks_in_flight 0",
        "countersign_rejections_total{authenticator=\"bearer\",reason=\"invalid_bearer_token\"} 1",
        "countersign_rejections_total{authenticator=\"chain\",reason=\"no_credentials\"} 1",
        concat!(
            "countersign_build_info{kubernetes=\"1.36.3\",version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(page.lines().any(|each| each == line), "{line} in\n{page}");
    }
    for secret in ["alice", "bob", "token-1", "nope"] {
        assert!(!page.contains(secret), "{secret} in\n{page}");
    }
}

/// Go: `StringFlagPutHandler` of k8s.io/apiserver/pkg/server/routes/flags.go.
#[tokio::test]
async fn the_log_level_changes_while_the_program_runs() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let mut server = Server::start(folder.path(), &[FLAGS[0], "--anonymous-auth=false"]);
    let mut client = server.client().await;
    let mut deny = async |id: &str| {
        let request = get("/", &[("x-request-id", id.as_bytes())]);
        assert_eq!(verdict(client.check(request).await.unwrap().get_ref()), Err(401));
    };
    let put = async |server: &Server, level: &str| {
        let (head, body) = server.admin_answer("PUT", "/debug/flags/v", level).await;
        (head.split(' ').nth(1).unwrap().to_owned(), body)
    };
    let good = |level: &str| ("200".to_owned(), format!("successfully set log-level to {level}"));
    deny("1").await;
    assert_eq!(server.wait_for("denied")["fields"]["request_id"], "1");
    assert_eq!(put(&server, "error").await, good("error"));
    deny("2").await;
    assert_eq!(put(&server, "countersign::envoy=info\n").await, good("countersign::envoy=info"));
    deny("3").await;
    assert_eq!(server.wait_for("denied")["fields"]["request_id"], "3", "the second was not logged");
    assert_eq!(put(&server, "countersign=nonsense").await.0, "400");
    assert_eq!(put(&server, &"a".repeat(5000)).await.0, "400");
    deny("4").await;
    assert_eq!(server.wait_for("denied")["fields"]["request_id"], "4", "nothing was changed");
    assert_eq!(server.admin_page("/debug/flags/v").await, (406, "unsupported http method".to_owned()));
}

/// Go: `configz` of k8s.io/component-base, as the kubelet has it.
#[tokio::test]
async fn the_options_that_are_in_force_are_shown_and_no_secret_with_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "s3cret,alice,1\n").unwrap();
    let config = "token-auth-file: tokens.csv\nreload-interval: 20ms\napi-audiences: [a, b]\n";
    fs::write(folder.path().join("countersign.yaml"), config).unwrap();
    let mut server =
        Server::start(folder.path(), &["--config=countersign.yaml", "--requestheader-allowed-names=a,b"]);
    let page = async |server: &Server| {
        let (status, page) = server.admin_page("/configz").await;
        assert_eq!((status, page.contains("s3cret")), (200, false));
        serde_json::from_str::<serde_json::Value>(&page).unwrap()["countersign"].clone()
    };
    let options = page(&server).await;
    let of = |name: &str| options[name].clone();
    assert_eq!(of("token-auth-file"), "tokens.csv");
    assert_eq!(of("requestheader-allowed-names"), serde_json::json!(["a", "b"]));
    assert_eq!((of("anonymous-auth"), of("log-level")), (true.into(), "info".into()));
    assert_eq!(options.as_object().unwrap().len(), countersign::config::options::OPTIONS.len());
    let changed = config.replace("[a, b]", "[c]");
    fs::write(folder.path().join("next"), changed).unwrap();
    fs::rename(folder.path().join("next"), folder.path().join("countersign.yaml")).unwrap();
    server.wait_for("reloaded");
    assert_eq!(page(&server).await["api-audiences"], serde_json::json!(["c"]));

    // What takes a restart is shown as it goes on, and the log level as it was set last.
    let restart = "api-audiences: [d]\nmax-connection-age: 7m\nlog-level: debug\naudit-level: all\naudit-log-path: '-'\n";
    let (key, certificate) = (folder.path().join("tls.key"), folder.path().join("tls.crt"));
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    fs::write(&certificate, issued.cert.pem()).unwrap();
    let tls = format!("tls-cert-file: {}\ntls-private-key-file: {}\n", certificate.display(), key.display());
    let changed = config.replace("api-audiences: [a, b]\n", restart) + &tls;
    fs::write(folder.path().join("next"), changed).unwrap();
    fs::rename(folder.path().join("next"), folder.path().join("countersign.yaml")).unwrap();
    server.wait_for("reloaded");
    let mut expected = options;
    expected["api-audiences"] = serde_json::json!(["d"]);
    assert_eq!(page(&server).await, expected);
    server.admin_answer("PUT", "/debug/flags/v", "warn,countersign=debug").await;
    expected["log-level"] = "warn,countersign=debug".into();
    assert_eq!(page(&server).await, expected);
}

/// Others than this host may scrape us, but not do more, unless the operator wants that.
#[tokio::test]
async fn pages_for_debugging_are_for_this_host_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let flags = [FLAGS[0], "--admin-listen=0.0.0.0:0"];
    let server = Server::start(folder.path(), &flags);
    let refused = "only where --admin-listen is a loopback address, with a certificate of --admin-tls-client-ca-file, or with --enable-debugging-handlers\n".to_owned();
    assert_eq!(server.admin_page("/configz").await, (403, refused.clone()));
    let (head, body) = server.admin_answer("PUT", "/debug/flags/v", "off").await;
    assert!(head.contains(" 403 ") && body == refused, "{head}");
    assert_eq!(server.admin_page("/metrics").await.0, 200);
    let server = Server::start(folder.path(), &[&flags[..], &["--enable-debugging-handlers"]].concat());
    assert_eq!(server.admin_page("/configz").await.0, 200);
}

#[tokio::test]
async fn without_an_address_there_is_no_admin_listener() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let server = Server::start(folder.path(), &[FLAGS[0], "--admin-listen="]);
    assert!(!server.logged().contains("health and metrics"));
    let output = countersign("check-config", folder.path(), &[FLAGS[0], "--admin-listen=9002"]).output();
    assert_eq!(
        String::from_utf8(output.unwrap().stderr).unwrap(),
        "error: --admin-listen: \"9002\": must be an address and a port, such as 127.0.0.1:9002 or [::]:9002, or empty\n"
    );
}

/// Go: net/http's ReadHeaderTimeout. Whoever can reach the listener may keep all of its connections, for a moment, and takes none of Envoy's.
#[tokio::test]
async fn connections_that_ask_for_nothing_are_few_and_end_soon() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let server = Server::start(folder.path(), &FLAGS[..1]);
    let (mut silent, mut half) = (Vec::new(), Vec::new());
    for _ in 0..MOST {
        silent.push(TcpStream::connect(&server.admin_address()).await.unwrap());
        half.push(TcpStream::connect(&server.admin_address()).await.unwrap());
        half.last_mut().unwrap().write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    }
    assert_eq!(server.admin_page("/livez").await, (200, "ok".to_owned()), "once those before it are gone");
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, silent[0].read_to_end(&mut rest)).await.unwrap();
    assert!(ended.is_err() || rest.is_empty(), "{rest:?}");
}

/// As many connections as there may be, by two.
const MOST: usize = 128;
