//! One CA of clients takes the place of another while requests go on: A, then A and B, then B.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

use crate::support::{Authority, Certified, Config, Edge, Setup, Stack, eventually};

const RELOADED: &str = "reloaded";
const NOT_RELOADED: &str = "not reloaded; the old configuration goes on serving";

/// A client that never pauses.
struct Client {
    /// The status that requests must have that begin and end now; none while something is about to change.
    expected: Arc<Mutex<Option<u16>>>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<String>>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Client {
    fn start(edge: &Edge, certificate: &Certified) -> Self {
        let (expected, counts, stop) = (Arc::default(), Arc::default(), Arc::default());
        let calls =
            call(edge.holding(certificate), Arc::clone(&expected), Arc::clone(&counts), Arc::clone(&stop));
        Self { expected, counts, stop, task: tokio::spawn(calls) }
    }

    /// From now on requests must get through.
    fn must_pass(&self) {
        *self.expected.lock().unwrap() = Some(200);
    }

    /// Something is about to change for this client.
    fn may_pass(&self) {
        *self.expected.lock().unwrap() = None;
    }

    /// From now on no request may get through.
    fn must_not_pass(&self) {
        *self.expected.lock().unwrap() = Some(401);
    }

    async fn is_accepted(&self, what: &str) {
        goes_up(&self.counts.accepted, what).await;
    }

    async fn is_refused(&self, what: &str) {
        goes_up(&self.counts.refused, what).await;
    }

    async fn complaints(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

/// Waits for this many more answers.
async fn goes_up(counter: &AtomicU64, what: &str) {
    let before = counter.load(Ordering::SeqCst);
    eventually(what, async || (counter.load(Ordering::SeqCst) > before + 50).then_some(())).await;
}

/// Calls on connections that live for some requests each, so that there are always old and new ones.
async fn call(
    edge: Edge,
    expected: Arc<Mutex<Option<u16>>>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let mut connection = edge.connect1().await;
        for _ in 0..30 {
            let before = *expected.lock().unwrap();
            let answer = connection.get(&[]).await;
            let after = *expected.lock().unwrap();
            let status = answer.as_ref().map(|answer| answer.status);
            match status {
                Some(200) => _ = counts.accepted.fetch_add(1, Ordering::SeqCst),
                Some(401) => _ = counts.refused.fetch_add(1, Ordering::SeqCst),
                _ => complaints.push(format!("{answer:?}")),
            }
            if before.is_some() && before == after && status != before {
                complaints.push(format!("{status:?} in place of {before:?}"));
            }
            if status.is_none() {
                break;
            }
        }
    }
    complaints
}

/// A CA and the load of a client of its own.
struct Side {
    authority: Authority,
    client: Client,
}

/// The whole rotation; `replace` puts another content in the place of the bundle.
async fn rotate(stack: &Stack, a: Authority, b: Authority, replace: impl Fn(&str)) {
    let sides = [a, b].map(|authority| {
        let client = Client::start(&stack.envoy.edge, &authority.certify("erin", &[]));
        Side { authority, client }
    });
    let [a, b] = &sides;
    let together = format!("{}{}", a.authority.pem, b.authority.pem);
    let logs = async |message: &str, count: usize| {
        let enough = async || (stack.countersign[0].logged(message) >= count).then_some(());
        eventually(&format!("countersign logs `{message}`"), enough).await;
        assert_eq!(stack.countersign[0].logged(message), count, "{message}");
    };

    a.client.must_pass();
    b.client.must_not_pass();
    a.client.is_accepted("A with the bundle of A").await;
    b.client.is_refused("B with the bundle of A").await;

    b.client.may_pass();
    replace(&together);
    logs(RELOADED, 1).await;
    b.client.must_pass();
    a.client.is_accepted("A with the bundle of A and B").await;
    b.client.is_accepted("B with the bundle of A and B").await;

    // A bundle that is no bundle changes nothing, and is reported once.
    replace("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
    logs(NOT_RELOADED, 1).await;
    a.client.is_accepted("A with a bad bundle").await;
    b.client.is_accepted("B with a bad bundle").await;

    a.client.may_pass();
    replace(&b.authority.pem);
    logs(RELOADED, 2).await;
    a.client.must_not_pass();
    a.client.is_refused("A with the bundle of B").await;
    b.client.is_accepted("B with the bundle of B").await;

    logs(RELOADED, 2).await;
    logs(NOT_RELOADED, 1).await;
    for Side { client, .. } in sides {
        assert_eq!(client.complaints().await, [""; 0]);
    }
}

fn authorities() -> [Authority; 2] {
    ["a", "b"].map(Authority::root)
}

const OFTEN: &str = "--reload-interval=100ms";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_good_request_is_refused_and_no_withdrawn_one_passes_when_the_bundle_is_replaced_by_rename() {
    let [a, b] = authorities();
    let stack = Setup::new().client_certificates(&a.pem).flags(&[OFTEN]).start().await;
    let bundle = stack.directory().join("clients.pem");
    rotate(&stack, a, b, |content| {
        let new = bundle.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(&new, &bundle).unwrap();
    })
    .await;
}

/// Go: `AtomicWriter` (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go): the file is a link to `..data/…`, `..data` is a link
/// to a directory with a name of its own, and only `..data` is ever replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_good_request_is_refused_and_no_withdrawn_one_passes_when_a_kubernetes_volume_swaps_the_bundle() {
    let [a, b] = authorities();
    let setup = Setup::new();
    let volume = setup.directory().join("volume");
    fs::create_dir(&volume).unwrap();
    swap(&volume, &a.pem);
    symlink("..data/clients.pem", volume.join("clients.pem")).unwrap();
    let setup = setup.flags(&["--client-ca-file=volume/clients.pem", OFTEN]);
    let stack = setup.config(Config::with_client_certificates).start().await;
    rotate(&stack, a, b, |content| swap(&volume, content)).await;
}

/// Puts a bundle into a volume as the kubelet does.
fn swap(volume: &Path, content: &str) {
    let data = volume.join("..data");
    let old = fs::read_link(&data).ok();
    let new = tempfile::Builder::new().prefix("..2026_").tempdir_in(volume).unwrap().keep();
    fs::write(new.join("clients.pem"), content).unwrap();
    symlink(new.file_name().unwrap(), volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), &data).unwrap();
    if let Some(old) = old {
        fs::remove_dir_all(volume.join(old)).unwrap();
    }
}
