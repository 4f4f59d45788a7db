//! Through a real Envoy: what countersign adds to a request, in Envoy's CPU time, its own and the client's patience, beside an Envoy that
//! asks nobody, one that asks the bare server, and one that verifies the same tokens by itself (`jwt_authn`).
//!
//! All Envoys run at once and are measured in turns. An Envoy is beside one that asks nobody in otherwise the same wiring.

mod client;
mod config;

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Plan;
use crate::cases::bearer;
use crate::contest::{bare, bare_with_metadata};
use crate::issuer::Issuers;
use crate::jwt;
use crate::process::{Cpu, Server};
use crate::report::{median, sorted};
use crate::tokens::{Key, Tokens};

use client::{Caller, Certificates};
use config::{Filter, Wiring};

/// So many clients at a time unless it is said otherwise, each with one connection (HTTP/1.1).
pub(crate) const CLIENTS: usize = 16;
/// A client by itself makes so much fewer requests.
const ALONE: usize = 10;
/// How long Envoy may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// One wiring, running.
struct Stand {
    wiring: Wiring,
    envoy: Envoy,
    /// Who is asked, if anybody.
    server: Option<Server>,
    rounds: Vec<Round>,
    _folder: TempDir,
}

/// What a round showed, in µs.
struct Round {
    envoy: f64,
    server: f64,
    /// How long a client waits that is alone: the median.
    alone: f64,
    /// Among others: the median, and the 99th percentile.
    among: [f64; 2],
}

/// What is the same for all: an issuer, a token of its, and certificates.
struct World {
    issuers: Issuers,
    keys: Value,
    token: String,
    certificates: Certificates,
}

impl World {
    fn new() -> Self {
        let key = Rc::new(Key::rsa());
        let keys = json!({"keys": [key.jwk(&key.id())]});
        let issuers = Issuers::start(1, &keys, &json!({}));
        let token = Tokens::new(&key, jwt::person(&issuers.url(0))).number(0);
        Self { issuers, keys, token, certificates: Certificates::new() }
    }
}

/// Measures all wirings, prints the table and writes the JSON file.
pub(crate) async fn measure(plan: &Plan) {
    let world = World::new();
    let mut stands = Vec::new();
    for wiring in config::wirings().into_iter().filter(|wiring| plan.wants(wiring.name)) {
        stands.push(Stand::start(wiring, &world).await);
    }
    // The first round warms up.
    for number in 0..=plan.rounds {
        let turns = stands.len();
        for turn in 0..turns {
            let stand = &mut stands[(turn + number) % turns];
            let round = stand.round(&world, plan).await;
            if number > 0 {
                stand.rounds.push(round);
            }
        }
    }
    report(&stands, plan);
}

impl Stand {
    async fn start(wiring: Wiring, world: &World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = server(&wiring, world, folder.path());
        let address = server.as_ref().map(|server| &*server.address);
        let config = config::envoy(&wiring, address, &world.issuers.url(0), &world.keys);
        world.certificates.write(folder.path());
        let envoy = Envoy::start(&config, &wiring, folder.path());
        let stand = Self { wiring, envoy, server, rounds: Vec::new(), _folder: folder };
        // Health of clusters, keys of issuers: by and by.
        let deadline = Instant::now() + PATIENCE;
        while stand.caller(world, &world.token).await.call().await != 200 {
            assert!(Instant::now() < deadline, "{}: no request gets through", stand.wiring.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let refused = if stand.wiring.filter.looks_at_tokens() { 401 } else { 200 };
        assert_eq!(stand.caller(world, "nobody").await.call().await, refused, "{}", stand.wiring.name);
        stand
    }

    async fn caller(&self, world: &World, token: &str) -> Caller {
        let mut request = bearer(token);
        if self.wiring.large {
            request.headers.push(("X-Large".to_owned(), vec![b'x'; LARGE]));
        }
        let certificates = self.wiring.tls.then_some(&world.certificates);
        Caller::connect(self.envoy.listener, &request, certificates).await
    }

    async fn round(&self, world: &World, &Plan { clients, calls, .. }: &Plan) -> Round {
        let cpu = || (self.envoy.cpu(), self.server.as_ref().map(Server::cpu));
        let mut callers = Vec::new();
        for _ in 0..clients {
            callers.push(self.caller(world, &world.token).await);
        }
        let before = cpu();
        let among = client::times(callers, calls).await;
        let after = cpu();
        let alone = client::times(vec![self.caller(world, &world.token).await], calls.div_ceil(ALONE)).await;
        let calls = f64::from(u32::try_from(calls).unwrap());
        let per_call = |spent: Duration| spent.as_secs_f64() * 1e6 / calls;
        let server = after.1.zip(before.1).map(|(after, before)| per_call(after.since(&before)));
        Round {
            envoy: per_call(after.0.since(&before.0)),
            server: server.unwrap_or_default(),
            alone: median(&alone),
            among: [median(&among), among[among.len() * 99 / 100]],
        }
    }

    /// The median of the rounds.
    fn middle(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(&sorted(self.rounds.iter().map(figure).collect()))
    }
}

/// Bytes of a header that makes a request large.
const LARGE: usize = 8 * 1024;

/// Who is asked in this wiring.
fn server(wiring: &Wiring, world: &World, folder: &Path) -> Option<Server> {
    let Filter::ExtAuthz(asks) = wiring.filter else {
        return None;
    };
    if asks.bare {
        let start = if asks.metadata { bare_with_metadata } else { bare };
        return Some(start(folder, wiring.concurrency));
    }
    let configuration = jwt::configuration(&[jwt::issuer(&world.issuers, 0)]);
    fs::write(folder.join("authentication.json"), configuration.to_string()).unwrap();
    fs::write(folder.join("clients.pem"), world.certificates.authority()).unwrap();
    let listen = format!("--listen=unix:{}", folder.join("countersign.sock").display());
    let workers = format!("--worker-threads={}", wiring.concurrency);
    let mut flags = vec!["--authentication-config=authentication.json", "--anonymous-auth=false", &workers];
    if wiring.tls {
        flags.push("--client-ca-file=clients.pem");
    }
    if wiring.unix {
        flags.push(&listen);
    }
    if !asks.remembers {
        flags.push("--token-success-cache-ttl=0s");
    }
    if !asks.metadata {
        flags.push("--dynamic-metadata=false");
    }
    Some(Server::countersign(&flags, folder))
}

/// A running Envoy. Ends with the value.
struct Envoy {
    process: Child,
    listener: SocketAddr,
}

impl Envoy {
    fn start(config: &Value, wiring: &Wiring, folder: &Path) -> Self {
        fs::write(folder.join("envoy.json"), config.to_string()).unwrap();
        let log = fs::File::create(folder.join("envoy.log")).unwrap();
        let binary: PathBuf = env::var_os("COUNTERSIGN_TEST_ENVOY").unwrap_or_default().into();
        let mut command = Command::new(&binary);
        command.args(["-c", "envoy.json", "--disable-hot-restart", "--admin-address-path", "admin"]);
        command.args(["--log-level", "warn", "--concurrency", &wiring.concurrency.to_string()]);
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("COUNTERSIGN_TEST_ENVOY={binary:?} is not Envoy's binary ({error}): deploy/envoy/get-envoy gets one")
        });
        let mut envoy = Self { process, listener: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let deadline = Instant::now() + PATIENCE;
        envoy.listener = loop {
            match listener(folder) {
                Some(address) => break address,
                None => assert!(
                    Instant::now() < deadline && envoy.process.try_wait().unwrap().is_none(),
                    "{}: Envoy does not start:\n{}",
                    wiring.name,
                    fs::read_to_string(folder.join("envoy.log")).unwrap()
                ),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        envoy
    }

    fn cpu(&self) -> Cpu {
        Cpu::of(self.process.id())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Where Envoy listens, as its admin interface says once it does: `name::address`, a line for each listener.
fn listener(folder: &Path) -> Option<SocketAddr> {
    let mut admin = TcpStream::connect(fs::read_to_string(folder.join("admin")).ok()?).ok()?;
    admin.write_all(b"GET /listeners HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").ok()?;
    let mut page = String::new();
    admin.read_to_string(&mut page).ok()?;
    page.lines().find_map(|line| line.split_once("::")?.1.parse().ok())
}

fn report(stands: &[Stand], plan: &Plan) {
    if cfg!(debug_assertions) {
        println!("A debug build: only that it runs means something.\n");
    }
    println!("µs. In brackets: what is added to an Envoy that asks nobody.\n");
    println!(
        "| wiring | Envoy's CPU | the server's CPU | wait, one client | wait, {} clients | p99 |",
        plan.clients
    );
    println!("|---|---|---|---|---|---|");
    let mut rows = Vec::new();
    for stand in stands {
        let nobody = stands.iter().find(|other| other.wiring.is_baseline_of(&stand.wiring));
        let nobody = nobody.expect("the same that asks nobody is measured too");
        let cell = |figure: &dyn Fn(&Round) -> f64| {
            let (figure, nobody) = (stand.middle(figure), nobody.middle(figure));
            format!("{figure:.0} ({:+.0})", figure - nobody)
        };
        println!(
            "| {} | {} | {:.1} | {} | {} | {} |",
            stand.wiring.name,
            cell(&|round| round.envoy),
            stand.middle(|round| round.server),
            cell(&|round| round.alone),
            cell(&|round| round.among[0]),
            cell(&|round| round.among[1]),
        );
        let all = |figure: &dyn Fn(&Round) -> f64| stand.rounds.iter().map(figure).collect::<Vec<_>>();
        rows.push(json!({
            "wiring": stand.wiring.name,
            "envoy_cpu_us": all(&|round| round.envoy),
            "server_cpu_us": all(&|round| round.server),
            "wait_alone_us": all(&|round| round.alone),
            "wait_us": all(&|round| round.among[0]),
            "wait_p99_us": all(&|round| round.among[1]),
        }));
    }
    let report = json!({"debug_build": cfg!(debug_assertions), "clients": plan.clients, "rows": rows});
    fs::write(&plan.json, serde_json::to_string_pretty(&report).unwrap()).unwrap();
}
