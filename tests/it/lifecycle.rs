//! Start, health, reflection, and the end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileTypeExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use tempfile::TempDir;
use tokio_stream::StreamExt;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, Serving};
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

use crate::message::{get, verdict};
use crate::support::program::{PATIENCE, Server, countersign, until};

const SERVICES: [&str; 2] = ["", "envoy.service.auth.v3.Authorization"];

fn tokens() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    folder
}

async fn health(client: &mut HealthClient<tonic::transport::Channel>, service: &str) -> ServingStatus {
    client.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().get_ref().status()
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A container runtime whose disk is full takes nothing from stderr, and each denial is a line.
#[tokio::test]
async fn a_log_that_nobody_takes_holds_up_neither_checks_nor_the_end() {
    let folder = tokens();
    let flags = ["--token-auth-file=tokens.csv", "--anonymous-auth=false", "--shutdown-delay-duration=0s"];
    let mut command = Server::command(folder.path(), &flags);
    let mut process = Running(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(process.0.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "it serves");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if event["fields"]["message"] == "serving" {
            break event["fields"]["address"].as_str().unwrap().to_owned();
        }
    };
    // From here on nobody reads, and a pipe has room for 64 KiB.
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().timeout(PATIENCE);
    let mut client = AuthorizationClient::new(channel.connect().await.unwrap());
    let path = "/a".repeat(100);
    for _ in 0..500 {
        let refused = client.check(get(&path, &[("authorization", b"Bearer nobody's")])).await.unwrap();
        assert_eq!(verdict(refused.get_ref()), Err(401));
    }
    let allowed = client.check(get(&path, &[("authorization", b"Bearer token-1")])).await.unwrap();
    assert_eq!(verdict(allowed.get_ref()), Ok("alice".to_owned()));
    assert!(Command::new("kill").arg(process.0.id().to_string()).status().unwrap().success());
    drop(client);
    let deadline = Instant::now() + PATIENCE;
    while process.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "still running");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(log);
}

/// NOT_SERVING first and serving all the while, then GOAWAY, then the end, with 0. Envoy needs the time in between: with GOAWAY
/// alone half the calls fail.
#[tokio::test]
async fn sigterm_is_told_while_it_goes_on_serving() {
    let folder = tokens();
    let flags = ["--token-auth-file=tokens.csv", "--shutdown-delay-duration=10m"];
    let mut server = Server::start(folder.path(), &flags);
    let mut checks = server.client().await;
    let mut healths = HealthClient::new(server.channel().await);
    let mut watch =
        healths.watch(HealthCheckRequest { service: SERVICES[1].to_owned() }).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), Serving);
    for service in SERVICES {
        assert_eq!(health(&mut healths, service).await, Serving);
    }
    server.signal("TERM");
    let status = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
    assert_eq!(status.unwrap().unwrap().status(), NotServing, "the watch is told at once");
    for service in SERVICES {
        assert_eq!(health(&mut healths, service).await, NotServing);
    }
    let response = checks.check(get("/", &[("authorization", b"Bearer token-1")])).await.unwrap();
    assert_eq!(verdict(response.get_ref()), Ok("alice".to_owned()), "still serving");
    let new_connection = server.client().await.check(get("/", &[])).await.unwrap();
    assert_eq!(verdict(new_connection.get_ref()), Ok("system:anonymous".to_owned()), "new connections too");
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
}

/// A watch of health never ends by itself.
#[tokio::test]
async fn sigterm_ends_with_zero_after_the_delay_whoever_is_connected() {
    let folder = tokens();
    let flags = ["--token-auth-file=tokens.csv", "--shutdown-delay-duration=1s"];
    let mut server = Server::start(folder.path(), &flags);
    let mut healths = HealthClient::new(server.channel().await);
    let watch = healths.watch(HealthCheckRequest::default()).await.unwrap();
    let told = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(told.elapsed() >= Duration::from_secs(1), "the delay was kept");
    server.wait_for("stopped");
    assert!(!server.logged().contains("calls were still in flight"), "{}", server.logged());
    drop(watch);
}

/// What is in flight when the connection goes away is finished.
#[tokio::test]
async fn a_call_in_flight_is_finished_before_the_end() {
    let folder = tokens();
    let slow = bcrypt::hash("password-1", 12).unwrap();
    fs::write(folder.path().join("passwords.csv"), format!("{slow},bob,3\n")).unwrap();
    let flags = ["--basic-auth-file=passwords.csv", "--shutdown-delay-duration=0s"];
    let mut server = Server::start(folder.path(), &flags);
    let mut client = server.client().await;
    let call = tokio::spawn(async move {
        client.check(get("/", &[("authorization", b"Basic Ym9iOnBhc3N3b3JkLTE=")])).await
    });
    until("the call is under way", async || {
        call.is_finished()
            || server.admin_page("/metrics").await.1.contains("countersign_checks_in_flight 1\n")
    })
    .await;
    server.signal("TERM");
    let response = call.await.unwrap().unwrap();
    assert_eq!(verdict(response.get_ref()), Ok("bob".to_owned()));
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let folder = tokens();
    let flags = ["--token-auth-file=tokens.csv", "--shutdown-delay-duration=10m"];
    let mut server = Server::start(folder.path(), &flags);
    server.signal("INT");
    server.wait_for("told to stop; health says NOT_SERVING, still serving");
    server.signal("INT");
    assert_eq!(server.ended().await.code(), Some(0));
}

/// A socket left over by a process that was killed is taken over, one that somebody serves on is not.
#[tokio::test]
async fn a_unix_socket_serves_and_is_removed_at_the_end() {
    let folder = tokens();
    let path = folder.path().join("authz.sock");
    let listen = format!("--listen=unix:{}", path.display());
    let flags = ["--token-auth-file=tokens.csv", &listen, "--shutdown-delay-duration=0s"];
    let mut killed = Server::start(folder.path(), &flags);
    killed.signal("KILL");
    killed.ended().await;
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket(), "left over");

    let mut server = Server::start(folder.path(), &flags);
    let second = countersign("serve", folder.path(), &flags).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("is another server there?"), "{said}");
    let mut client = server.client().await;
    let response = client.check(get("/", &[("authorization", b"Bearer token-1")])).await.unwrap();
    assert_eq!(verdict(response.get_ref()), Ok("alice".to_owned()));
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(!path.exists());
}

/// A process that drains listens no more, so the next one may begin on its socket; what it removes at its end must be its own.
#[tokio::test]
async fn the_end_of_a_server_does_not_take_the_socket_of_the_next_one() {
    let folder = tokens();
    let path = folder.path().join("authz.sock");
    let listen = format!("--listen=unix:{}", path.display());
    let flags = ["--token-auth-file=tokens.csv", &listen, "--shutdown-delay-duration=0s"];
    let mut old = Server::start(folder.path(), &flags);
    fs::remove_file(&path).unwrap();
    let new = Server::start(folder.path(), &flags);
    old.signal("TERM");
    assert_eq!(old.ended().await.code(), Some(0));
    let response = new.client().await.check(get("/", &[("authorization", b"Bearer token-1")])).await.unwrap();
    assert_eq!(verdict(response.get_ref()), Ok("alice".to_owned()));
}

/// S34 and authorino-operator#362: a connection that lives for ever keeps Envoy on the replicas that there were when it was made.
#[tokio::test]
async fn a_connection_is_told_to_go_away_at_its_maximum_age() {
    let folder = tokens();
    let flags = ["--token-auth-file=tokens.csv", "--max-connection-age=300ms"];
    let server = Server::start(folder.path(), &flags);
    let socket = tokio::net::TcpStream::connect(&server.address).await.unwrap();
    let (requests, connection) = h2::client::handshake(socket).await.unwrap();
    // Held open by a client that may still ask: only a GOAWAY ends it without an error.
    let ended = tokio::time::timeout(PATIENCE, connection).await;
    ended.expect("in time").expect("without an error");
    drop(requests);
}

/// grpcurl and ghz need no files: Check is there as Envoy defines it, with everything that its files import.
#[tokio::test]
async fn reflection_shows_check_as_envoy_defines_it() {
    let folder = tokens();
    let server = Server::start(folder.path(), &["--token-auth-file=tokens.csv"]);
    let mut client = ServerReflectionClient::new(server.channel().await);
    let ask = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    let requests = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("envoy.service.auth.v3.Authorization.Check".to_owned())),
        ask(MessageRequest::FileByFilename("google/protobuf/struct.proto".to_owned())),
    ];
    let responses = client.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let responses: Vec<_> = responses.map(|r| r.unwrap().message_response.unwrap()).collect().await;
    let [
        MessageResponse::ListServicesResponse(list),
        MessageResponse::FileDescriptorResponse(check),
        MessageResponse::FileDescriptorResponse(_),
    ] = &responses[..]
    else {
        panic!("{responses:?}")
    };
    let mut names: Vec<&str> = list.service.iter().map(|ServiceResponse { name }| &**name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "envoy.service.auth.v3.Authorization",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
        ]
    );
    let file: prost_types::FileDescriptorProto =
        prost::Message::decode(&*check.file_descriptor_proto[0]).unwrap();
    assert_eq!(file.name(), "envoy/service/auth/v3/external_auth.proto");
    let denied = file.message_type.iter().find(|m| m.name() == "DeniedHttpResponse").unwrap();
    let fields: Vec<&str> = denied.field.iter().map(|f| f.name()).collect();
    assert_eq!(fields, ["status", "headers", "body"], "not the trimmed view, which has no replies");
}

/// `check-config` says everything that is wrong and ends with an error; a good configuration ends with 0.
#[test]
fn check_config_says_everything_at_once() {
    let folder = tokens();
    fs::write(folder.path().join("bad.csv"), "x\n").unwrap();
    let check = |flags: &[&str]| countersign("check-config", folder.path(), flags).output().unwrap();
    let good = check(&["--token-auth-file=tokens.csv", "--anonymous-auth=false"]);
    assert_eq!((good.status.code(), &*good.stdout), (Some(0), &b"the configuration is good\n"[..]));
    let bad = check(&["--token-auth-file=bad.csv", "--listen=0.0.0.0:1", "--log-format=xml"]);
    assert_eq!(bad.status.code(), Some(1));
    let said = String::from_utf8(bad.stderr).unwrap();
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 3, "{said}");
    let serve = countersign("serve", folder.path(), &["--log-format=xml"]).output().unwrap();
    assert_eq!(serve.status.code(), Some(1), "and serve does not start");
}
