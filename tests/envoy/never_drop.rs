//! Two countersigns behind Envoy, under load that never pauses, while everything that happens to a deployment happens: not one request fails, and
//! not one bad credential gets in. `deploy/envoy/envoy.yaml` as it is shipped, with TLS on both sides.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep};

use crate::lateness::Lateness;
use crate::support::issuer::configuration;
use crate::support::{
    Authority, Certified, Config, ENVOYS, Edge, Internal, Issuer, Response, Setup, SigningKey, Stack,
    eventually,
};
use crate::volume::Volume;

/// Clients, each of which has every credential in turn.
const CLIENTS: usize = 6;

/// What passes between two requests of a client, at least.
const PACE: Duration = Duration::from_millis(10);

const FETCHED: &str = "fetched keys";

/// A machine that is so late may let Envoy's time limits run out, of which the shortest is 0.25 s, three times in a row.
const STALL: Duration = Duration::from_millis(500);

/// What a request comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Credential {
    /// A token of the token file.
    Static,
    /// A token of the issuer's.
    Jwt,
    /// A token that nobody knows.
    Unknown,
    /// A token that says that it is of the issuer's.
    Forged,
    Nothing,
}

const CREDENTIALS: [Credential; 5] =
    [Credential::Static, Credential::Unknown, Credential::Jwt, Credential::Forged, Credential::Nothing];

impl Credential {
    /// As whom it gets in.
    fn user(self) -> Option<&'static str> {
        match self {
            Self::Static => Some("x-remote-user: alice"),
            Self::Jwt => Some("x-remote-user: carol"),
            Self::Unknown | Self::Forged | Self::Nothing => None,
        }
    }
}

/// What became of the requests of a phase.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    /// Those that were answered with something else than their credential deserves.
    failed: BTreeMap<(Credential, String), u64>,
    slowest: Duration,
}

impl Tally {
    fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Whether a machine so late may be the reason for all failures: Envoy gave up on a Check, which is a 503, or on both replicas, and so
    /// asked one that had no keys yet (`healthy_panic_threshold`), which is a 401 for a JWT.
    fn may_be_of(&self, late: Duration) -> bool {
        let mut failures = self.failed.keys().map(|(credential, status)| (credential, &**status));
        late >= STALL && failures.all(|failure| matches!(failure, (_, "503") | (Credential::Jwt, "401")))
    }
}

/// The tokens in use.
struct Tokens {
    jwt: String,
    forged: String,
}

struct Shared {
    tokens: Mutex<Tokens>,
    tally: Mutex<Tally>,
    stop: AtomicBool,
}

struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(edge: &Edge, tokens: Tokens) -> Self {
        let tokens = Mutex::new(tokens);
        let shared = Arc::new(Shared { tokens, tally: Mutex::default(), stop: AtomicBool::default() });
        let client = |number| tokio::spawn(call(edge.clone(), number, Arc::clone(&shared)));
        Self { clients: (0..CLIENTS).map(client).collect(), shared }
    }

    /// Waits until there have been so many more answers.
    async fn goes_on(&self, answers: u64) {
        let before = self.shared.tally.lock().unwrap().answered;
        let more = async || (self.shared.tally.lock().unwrap().answered >= before + answers).then_some(());
        eventually("the load goes on", more).await;
    }

    /// Ends a phase, tells of it, and begins another.
    async fn told(&self, phase: &str) -> Tally {
        let enough = async || (self.shared.tally.lock().unwrap().answered > 100).then_some(());
        eventually("there are so many answers that they are a load", enough).await;
        let tally = std::mem::take(&mut *self.shared.tally.lock().unwrap());
        let Tally { answered, failed, slowest } = &tally;
        println!("{phase}: {answered} requests, {} failed, slowest {slowest:?} {failed:?}", tally.failures());
        tally
    }

    async fn stop(self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

/// A client's requests. Whoever gets in by a bad credential, or as somebody else, ends everything at once.
async fn call(edge: Edge, number: usize, shared: Arc<Shared>) {
    let mut pace = interval(PACE);
    let mut credentials = CREDENTIALS.iter().cycle().skip(number).copied();
    while !shared.stop.load(Ordering::SeqCst) {
        // There are always old connections and new ones.
        let mut connection = edge.connect1().await;
        for credential in credentials.by_ref().take(50) {
            pace.tick().await;
            let line = {
                let Tokens { jwt, forged } = &*shared.tokens.lock().unwrap();
                match credential {
                    Credential::Static => "authorization: Bearer alice-token".to_owned(),
                    Credential::Jwt => format!("authorization: Bearer {jwt}"),
                    Credential::Unknown => "authorization: Bearer stranger".to_owned(),
                    Credential::Forged => format!("authorization: Bearer {forged}"),
                    Credential::Nothing => "x-remote-user: admin".to_owned(),
                }
            };
            let since = Instant::now();
            let answer = connection.get(&[line.as_bytes()]).await;
            let took = since.elapsed();
            let user = |response: &Response| response.forwarded().first().map(|line| (*line).to_owned());
            let failed = match (&answer, credential.user()) {
                (Some(response), expected) if response.status == 200 => {
                    assert_eq!(user(response).as_deref(), expected, "{credential:?} got in as somebody else");
                    None
                }
                (Some(response), None) if response.status == 401 => None,
                (Some(response), _) => Some(response.status.to_string()),
                (None, _) => Some("no answer".to_owned()),
            };
            let is_over = answer.is_none();
            let mut tally = shared.tally.lock().unwrap();
            tally.answered += 1;
            tally.slowest = tally.slowest.max(took);
            if let Some(what) = failed {
                *tally.failed.entry((credential, what)).or_default() += 1;
            }
            if is_over {
                break;
            }
        }
    }
}

fn replace(file: &Path, text: &str) {
    fs::write(file.with_extension("next"), text).unwrap();
    fs::rename(file.with_extension("next"), file).unwrap();
}

/// Waits until Envoy sends Checks to a replica.
async fn is_asked(stack: &Stack, replica: usize) {
    let port = stack.countersign[replica].port();
    let before = stack.envoy.checks_sent_to(port).await;
    eventually("the replica is asked", async || {
        (stack.envoy.checks_sent_to(port).await > before + 20).then_some(())
    })
    .await;
}

async fn reloaded(stack: &Stack, more_than: [usize; 2]) {
    for (replica, before) in stack.countersign.iter().zip(more_than) {
        let is_done = async || (replica.logged("reloaded") > before).then_some(());
        eventually("the replica reloads", is_done).await;
    }
}

/// Waits until both replicas show this certificate of this CA.
async fn shown(stack: &Stack, internal: &Internal, certificate: &Certified) {
    for replica in &stack.countersign {
        let is_shown = async || internal.is_shown_at(&replica.address, certificate).await.then_some(());
        eventually("the replica shows its certificate", is_shown).await;
    }
}

fn reloads(stack: &Stack) -> [usize; 2] {
    [0, 1].map(|replica: usize| stack.countersign[replica].logged("reloaded"))
}

struct World {
    stack: Stack,
    internal: Internal,
    /// Envoy's own certificate and countersign's CA.
    volume: Volume,
    issuer: Issuer,
    /// With which the issuer signs.
    key: SigningKey,
    load: Load,
    /// Since the last phase.
    lateness: Lateness,
}

impl World {
    /// Tokens that this key signs, and one of another key by the same name.
    fn tokens(issuer: &Issuer, key: &SigningKey) -> Tokens {
        let claims = issuer.claims(json!({"sub": "carol"}));
        Tokens { jwt: key.sign(&claims), forged: SigningKey::es256(&key.kid).sign(&claims) }
    }

    async fn start(config: impl FnOnce(Config) -> Config) -> Self {
        let internal = Internal::new();
        let key = SigningKey::es256("k");
        let issuer = Issuer::with_keys([&key]);
        let authenticator = issuer.authenticator(json!({"username": {"claim": "sub", "prefix": ""}}));
        let mut configuration: serde_json::Value =
            serde_json::from_str(&configuration(&[authenticator])).unwrap();
        configuration["anonymous"] = json!({"enabled": false});
        let setup = Setup::new()
            .replicas(2)
            .file("authentication.yaml", &configuration.to_string())
            .flags(&[
                "--authentication-config=authentication.yaml",
                "--reload-interval=50ms",
                "--tls-cert-file=countersign.crt",
                "--tls-private-key-file=countersign.key",
                "--tls-client-ca-file=internal-ca.crt",
                // So that a renewed certificate is seen: by default it takes half an hour.
                "--max-connection-age=2s",
            ])
            .config(|_| Config::with_shipped_limits().with_tls_to_countersign())
            .config(config);
        internal.write(setup.directory());
        let volume = Volume::new(&internal.envoys_files(&internal.authority.pem));
        fs::remove_dir_all(setup.directory().join(ENVOYS)).unwrap();
        symlink(volume.path(), setup.directory().join(ENVOYS)).unwrap();
        let stack = setup.start().await;
        let lateness = Lateness::watch();
        let load = Load::start(&stack.envoy.edge, Self::tokens(&issuer, &key));
        for replica in 0..2 {
            is_asked(&stack, replica).await;
        }
        Self { stack, internal, volume, issuer, key, load, lateness }
    }

    /// A phase in which this happens, and not one request may fail. It happens again if the machine has been so late that
    /// this may be the reason.
    async fn costs_nothing(&mut self, phase: &str, happens: impl AsyncFn(&mut Self)) {
        for _ in 0..3 {
            happens(self).await;
            let tally = self.load.told(phase).await;
            let late = std::mem::replace(&mut self.lateness, Lateness::watch()).worst();
            if tally.failed.is_empty() {
                return;
            }
            assert!(tally.may_be_of(late), "{phase}, on a machine that was {late:?} late: {tally:?}");
        }
        panic!("{phase}: requests failed three times, each time on a machine that was late");
    }

    async fn goes_on(&mut self) {
        self.load.goes_on(200).await;
    }

    async fn restart(&mut self) {
        for replica in 0..2 {
            self.stack.countersign[replica].terminate();
            let ended =
                eventually("the replica ends", async || self.stack.countersign[replica].ended()).await;
            assert_eq!(ended.code(), Some(0));
            self.stack.start_again(replica).await;
            is_asked(&self.stack, replica).await;
        }
    }

    /// Ten times a second, for two seconds and until each replica has done so at least every other time in as many.
    async fn reload(&mut self) {
        const ROUNDS: usize = 20;
        let before = reloads(&self.stack);
        let file = self.stack.directory().join("tokens.csv");
        let tokens = fs::read_to_string(&file).unwrap();
        let mut round = 0;
        eventually("the replicas reload", async || {
            replace(&file, &format!("{tokens}token-{round},user-{round},\n"));
            sleep(Duration::from_millis(100)).await;
            round += 1;
            let often =
                reloads(&self.stack).iter().zip(before).all(|(now, before)| *now > before + ROUNDS / 2);
            (round >= ROUNDS && often).then_some(())
        })
        .await;
    }

    /// Both, three times, and each time until Envoy has connected anew.
    async fn renew_certificates(&mut self) {
        for _ in 0..3 {
            let connections = self.stack.envoy.connections_to_countersign().await;
            let renewed = self.internal.authority.serve("countersign");
            replace(&self.stack.directory().join("countersign.crt"), &renewed.chain);
            replace(&self.stack.directory().join("countersign.key"), &renewed.key);
            shown(&self.stack, &self.internal, &renewed).await;
            self.connects_anew(connections).await;
            self.load.goes_on(100).await;
        }
    }

    /// The internal CA gives way to another, as it is done by hand: both ends believe both CAs, then each shows a certificate of the next, then the
    /// CA before is believed no more. Envoy's files change as kubelet changes them. When the next CA had the name of the one before, 108 of 3,963
    /// requests failed.
    async fn change_authority(&mut self) {
        let next = Internal::of(Authority::root(&format!("next {}", self.internal.authority.name)));
        let [ours, theirs] = [&self.internal.authority.pem, &next.authority.pem];
        let both = format!("{ours}{theirs}");
        for (of, authorities) in [(&self.internal, &both), (&next, &both), (&next, theirs)] {
            let before = (reloads(&self.stack), self.stack.envoy.renewals().await);
            replace(&self.stack.directory().join("internal-ca.crt"), authorities);
            replace(&self.stack.directory().join("countersign.crt"), &of.countersign.chain);
            replace(&self.stack.directory().join("countersign.key"), &of.countersign.key);
            reloaded(&self.stack, before.0).await;
            // That may have been before the pair was there.
            shown(&self.stack, of, &of.countersign).await;
            self.volume.put(&of.envoys_files(authorities));
            eventually("Envoy takes up what has changed", async || {
                (self.stack.envoy.renewals().await > before.1).then_some(())
            })
            .await;
            self.connects_anew(self.stack.envoy.connections_to_countersign().await).await;
            self.load.goes_on(100).await;
        }
        self.internal = next;
    }

    /// Waits until Envoy has as many more connections as there are replicas.
    async fn connects_anew(&self, before: u64) {
        eventually("Envoy connects anew", async || {
            (self.stack.envoy.connections_to_countersign().await >= before + 2).then_some(())
        })
        .await;
    }

    /// The next key is published, and used when both have seen it, for which the forged tokens make them look, once in 10 s; then the one
    /// before is withdrawn.
    async fn rotate_keys(&mut self) {
        let new = SigningKey::es256(&format!("{}+", self.key.kid));
        let fetches = |replica: usize| self.stack.countersign[replica].logged(FETCHED);
        let before = [0, 1].map(fetches);
        self.issuer.publish([&self.key, &new]);
        // What was answered before may be logged after.
        let published = Instant::now();
        let asked = || self.issuer.asked().iter().filter(|(_, at)| *at > published).count();
        eventually("both ask for the next key", async || (asked() >= 2).then_some(())).await;
        for (replica, before) in before.into_iter().enumerate() {
            eventually("the next key is seen", async || (fetches(replica) > before).then_some(())).await;
        }
        *self.load.shared.tokens.lock().unwrap() = Self::tokens(&self.issuer, &new);
        self.load.goes_on(200).await;
        self.issuer.publish([&new]);
        self.key = new;
        self.load.goes_on(200).await;
    }

    async fn issuer_is_away(&mut self) {
        self.issuer.go_down().await;
        sleep(Duration::from_secs(2)).await;
        self.load.goes_on(200).await;
        self.issuer.come_up();
    }

    /// One after the other, without a word.
    async fn kill(&mut self) {
        for replica in 0..2 {
            self.stack.countersign[replica].kill();
            sleep(Duration::from_secs(2)).await;
            self.stack.start_again(replica).await;
            is_asked(&self.stack, replica).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_happens_to_a_deployment_costs_a_request_or_lets_a_bad_credential_in() {
    let mut world = World::start(|config| config).await;
    world.costs_nothing("calm", World::goes_on).await;
    world.costs_nothing("both replicas restarted, one after the other", World::restart).await;
    world.costs_nothing("configuration changed ten times a second", World::reload).await;
    world.costs_nothing("certificate of the listener renewed three times", World::renew_certificates).await;
    world
        .costs_nothing("Envoy's own certificate and the CA of both sides replaced", World::change_authority)
        .await;
    world.costs_nothing("signing key of the issuer changed", World::rotate_keys).await;
    world.costs_nothing("issuer away", World::issuer_is_away).await;
    world.costs_nothing("both replicas killed (SIGKILL), one after the other", World::kill).await;
    println!("Checks that Envoy sent again: {}", world.stack.envoy.checks_repeated().await);
    world.load.stop().await;
}

/// What the retries of `envoy.yaml` are for, and that this load sees a Check that fails. With retries that pick their host 3 times at most, as
/// long as it is one that has failed, it was 10 to 19 of 3,300.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_retries_a_replica_that_is_killed_costs_requests_and_still_lets_nobody_in() {
    let without_retries = |config: Config| {
        config
            .with("num_retries: 2", "num_retries: 0")
            // A handshake that takes longer than the 0.25 s there would cost a request while all is calm. Who is killed refuses at once.
            .with("connect_timeout: 0.25s\n      lb_policy", "connect_timeout: 5s\n      lb_policy")
    };
    let mut world = World::start(without_retries).await;
    world.costs_nothing("calm, without retries", World::goes_on).await;
    world.kill().await;
    let tally = world.load.told("both replicas killed (SIGKILL), without retries").await;
    assert!(tally.failures() > 0);
    let are_outages = tally.failed.keys().all(|(_, status)| status == "503");
    assert!(are_outages || tally.may_be_of(world.lateness.worst()), "{tally:?}");
    world.load.stop().await;
}
