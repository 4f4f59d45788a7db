//! Files change, and no request is refused for it.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::message::{get, verdict};
use crate::support::program::{PATIENCE, Server};
use crate::support::volume::Volume;

async fn user(server: &Server, token: &str) -> Result<String, i32> {
    let authorization = format!("Bearer {token}");
    let request = get("/", &[("authorization", authorization.as_bytes())]);
    verdict(server.client().await.check(request).await.unwrap().get_ref())
}

const FLAGS: [&str; 2] = ["--token-auth-file=tokens.csv", "--reload-interval=50ms"];

/// kubernetes#27418, open since 2016: kube-apiserver reads its token file once.
#[tokio::test]
async fn a_kubernetes_volume_that_changes_is_served_without_a_restart() {
    let mut volume = Volume::new(&[("tokens.csv", b"one,alice,1\n")]);
    let mut server = Server::start(volume.path(), &FLAGS);
    assert_eq!(user(&server, "one").await, Ok("alice".to_owned()));
    assert_eq!(user(&server, "two").await, Err(401));
    volume.put(&[("tokens.csv", b"two,alice,1\n")]);
    assert_eq!(server.wait_for("reloaded")["fields"]["generation"], 2);
    assert_eq!(user(&server, "one").await, Err(401), "withdrawn");
    assert_eq!(user(&server, "two").await, Ok("alice".to_owned()));
}

/// Reading and hashing tokens takes its time, which is not the Checks'. Three times at most, since the machine may have stood still for a
/// while; Checks that wait for the file would do so each time.
#[tokio::test]
async fn a_large_file_is_loaded_beside_the_checks() {
    let folder = tempfile::tempdir().unwrap();
    let file = |generation: usize| {
        let row = |number| format!("token-{generation}-{number},user-{number},{number},\"dev,ops\"\n");
        (0..50_000).map(row).collect::<String>() + "one,alice,1\n"
    };
    fs::write(folder.path().join("tokens.csv"), file(1)).unwrap();
    let server = Server::start(folder.path(), &FLAGS);
    let mut client = server.client().await;
    let mut ask = async |token: &str| {
        let request = get("/", &[("authorization", format!("Bearer {token}").as_bytes())]);
        let start = Instant::now();
        (verdict(client.check(request).await.unwrap().get_ref()), start.elapsed())
    };
    assert_eq!(ask("token-1-777").await.0, Ok("user-777".to_owned()));
    for generation in 2..5 {
        fs::write(folder.path().join("new"), file(generation)).unwrap();
        fs::rename(folder.path().join("new"), folder.path().join("tokens.csv")).unwrap();
        let (start, mut times) = (Instant::now(), Vec::new());
        while ask(&format!("token-{generation}-777")).await.0 == Err(401) {
            let (user, took) = ask("one").await;
            assert_eq!(user, Ok("alice".to_owned()));
            assert!(start.elapsed() < PATIENCE, "never loaded");
            times.push(took);
        }
        assert_eq!(ask(&format!("token-{}-777", generation - 1)).await.0, Err(401));
        let (loaded, slowest) = (start.elapsed(), times.iter().max());
        println!("loaded after {loaded:?}; {} Checks meanwhile, the slowest in {slowest:?}", times.len());
        if slowest.is_some_and(|slowest| *slowest < loaded / 2) {
            return;
        }
    }
    panic!("Checks waited for the file each time");
}

/// A bad file changes nothing, is reported once, and is tried again when it has changed.
#[tokio::test]
async fn a_bad_file_keeps_the_old_configuration_serving() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.csv");
    let write = |text: &str| {
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
    };
    write("one,alice,1\n");
    let mut server = Server::start(folder.path(), &FLAGS);
    write("s3cret\n");
    let event = server.wait_for("not reloaded; the old configuration goes on serving");
    let error = event["fields"]["error"].as_str().unwrap().to_owned();
    assert!(
        error.starts_with("--token-auth-file: tokens.csv: line 1: must have at least 3 columns"),
        "{error}"
    );
    assert_eq!(user(&server, "one").await, Ok("alice".to_owned()));
    fs::remove_file(&file).unwrap();
    server.wait_for("not reloaded; the old configuration goes on serving");
    assert_eq!(user(&server, "one").await, Ok("alice".to_owned()), "nor does a missing file");
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    server.wait_for("not reloaded; the old configuration goes on serving");
    assert_eq!(user(&server, "one").await, Ok("alice".to_owned()), "and a pipe is not waited for");
    fs::remove_file(&file).unwrap();
    server.wait_for("not reloaded; the old configuration goes on serving");
    write("two,alice,1\n");
    server.wait_for("reloaded");
    assert_eq!((user(&server, "one").await, user(&server, "two").await), (Err(401), Ok("alice".to_owned())));
    let reports = server.logged().matches("not reloaded").count();
    assert_eq!(reports, 4, "once for each change:\n{}", server.logged());
    assert!(!server.logged().contains("s3cret"));
}

#[tokio::test]
async fn hangup_loads_again_and_a_changed_listener_is_said_to_need_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "one,alice,1\n").unwrap();
    let config = folder.path().join("countersign.yaml");
    fs::write(&config, "token-auth-file: tokens.csv\nreload-interval: 1h\n").unwrap();
    let mut server = Server::start(folder.path(), &["--config=countersign.yaml"]);
    fs::write(folder.path().join("more.csv"), "two,bob,2\n").unwrap();
    fs::write(&config, "token-auth-file: more.csv\nmax-concurrent-streams: 7\nreload-interval: 1h\n")
        .unwrap();
    server.signal("HUP");
    let restart =
        "options of the listener, the log, the audit log or traces have changed, which takes a restart";
    server.wait_for(restart);
    server.wait_for("reloaded");
    assert_eq!((user(&server, "one").await, user(&server, "two").await), (Err(401), Ok("bob".to_owned())));
    fs::write(&config, "token-auth-file: more.csv\nlog-level: debug\nreload-interval: 1h\n").unwrap();
    server.signal("HUP");
    server.wait_for(restart);
}

/// With the file replaced over and over, a token that is in every version is never refused.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_refused_while_files_change() {
    let folder = tempfile::tempdir().unwrap();
    let write = |version: usize| {
        let temporary = folder.path().join("tokens.new");
        fs::write(&temporary, format!("one,alice,1\nother-{version},bob,2\n")).unwrap();
        fs::rename(temporary, folder.path().join("tokens.csv")).unwrap();
    };
    write(0);
    let flags = ["--token-auth-file=tokens.csv", "--reload-interval=10ms"];
    let mut server = Server::start(folder.path(), &flags);
    let mut client = server.client().await;
    let answers = Arc::new(AtomicUsize::new(0));
    let asking = tokio::spawn({
        let answers = Arc::clone(&answers);
        async move {
            loop {
                let response = client.check(get("/", &[("authorization", b"Bearer one")])).await.unwrap();
                assert_eq!(verdict(response.get_ref()), Ok("alice".to_owned()));
                answers.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let (begun, mut version) = (Instant::now(), 0);
    while version < 50 || answers.load(Ordering::Relaxed) < 100 {
        assert!(!asking.is_finished(), "a token was refused");
        version += 1;
        write(version);
        server.wait_for("reloaded");
        assert!(begun.elapsed() < 10 * PATIENCE, "{answers:?} answers over {version} versions");
    }
    asking.abort();
    assert!(asking.await.is_err_and(|end| end.is_cancelled()), "a token was refused");
}
