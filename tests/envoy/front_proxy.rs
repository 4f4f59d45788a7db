//! A front proxy that names the caller in headers, with Envoy changed for it as deploy/envoy/README.md says.
//! Go: k8s.io/apiserver/pkg/authentication/request/headerrequest.

use rcgen::{CertificateParams, PKCS_ECDSA_P256_SHA256};
use time::Duration;

use crate::spoofing::SPOOFS;
use crate::support::{Authority, Certified, Config, Edge, Setup, valid};

const ALICE: &str = "authorization: Bearer alice-token";
const AS_ALICE: [&str; 3] =
    ["x-remote-user: alice", "x-remote-uid: alice-uid", "x-remote-group: dev,ops,system:authenticated"];
const AS_NOBODY: [&str; 2] = ["x-remote-user: system:anonymous", "x-remote-group: system:unauthenticated"];

/// A caller, as kube-aggregator would name it.
const BOB: [&str; 6] = [
    "X-Remote-User: bob",
    "X-Remote-Uid: bob-uid",
    "X-Remote-Group: ops",
    "X-Remote-Group: night shift",
    "X-Remote-Extra-Acme.com%2fProject: x",
    "X-Remote-Extra-Scopes: read",
];
const AS_BOB: [&str; 5] = [
    "x-remote-user: bob",
    "x-remote-uid: bob-uid",
    "x-remote-group: ops,night shift,system:authenticated",
    "x-remote-extra-acme.com%2fproject: x",
    "x-remote-extra-scopes: read",
];

/// A client `erin` of the group `qa` as the application sees her.
fn as_erin(certificate: &Certified) -> [String; 3] {
    [
        "x-remote-user: erin".to_owned(),
        "x-remote-group: qa,system:authenticated".to_owned(),
        format!("x-remote-extra-authentication.kubernetes.io%2fcredential-id: {}", certificate.credential_id),
    ]
}

/// Clients of one CA and front proxies of another, of which one is allowed.
struct Parties {
    clients: Authority,
    proxies: Authority,
}

impl Parties {
    fn new() -> Self {
        Self { clients: Authority::root("clients"), proxies: Authority::root("proxies") }
    }

    /// For a proxy with the usual names, and Envoy changed to let them through.
    fn setup(&self) -> Setup {
        self.unchanged_envoy().config(Config::with_front_proxy_of_usual_names)
    }

    /// For a proxy with names of its own, and Envoy changed for countersign to remove them.
    fn setup_of_other_names(&self) -> Setup {
        self.certificates().config(Config::with_front_proxy_of_other_names).flags(&[
            "--requestheader-username-headers=X-Remote-User,X-Front-User",
            "--requestheader-uid-headers=X-Remote-Uid,X-Front-Uid",
            "--requestheader-group-headers=X-Remote-Group,X-Front-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-,X-Front-Extra-",
        ])
    }

    fn unchanged_envoy(&self) -> Setup {
        self.certificates().flags(&[
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-uid-headers=X-Remote-Uid",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        ])
    }

    fn certificates(&self) -> Setup {
        Setup::new().client_certificates(&self.clients.pem).file("proxies.pem", &self.proxies.pem).flags(&[
            "--requestheader-client-ca-file=proxies.pem",
            "--requestheader-allowed-names=front-proxy",
        ])
    }

    fn proxy(&self) -> Certified {
        self.proxies.certify("front-proxy", &["system:masters"])
    }
}

/// What the application sees, over both protocols, in one order: that of extras is nobody's promise.
async fn forwarded(edge: &Edge, lines: &[&str]) -> Vec<String> {
    let [over1, over2] = edge.both(lines).await.map(|response| {
        let mut lines: Vec<String> = response.forwarded().into_iter().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    });
    assert_eq!(over1, over2);
    over1
}

/// The same under the names of a proxy that does not write `X-Remote-*`.
fn in_front<'l>(lines: impl IntoIterator<Item = &'l str>) -> Vec<String> {
    let other = |line: &str| {
        line.replace("X-Remote", "X-Front").replace("X-REMOTE", "X-FRONT").replace("x-remote", "x-front")
    };
    lines.into_iter().map(other).collect()
}

fn sorted<'l>(lines: impl IntoIterator<Item = &'l str>) -> Vec<&'l str> {
    let mut lines: Vec<&str> = lines.into_iter().collect();
    lines.sort_unstable();
    lines
}

/// Go: TestRequestHeader, behind a verifier with allowed names. The proxy's own name and organization count for nothing.
#[tokio::test]
async fn an_allowed_proxy_names_the_caller() {
    let parties = Parties::new();
    let usual = parties.setup().start().await;
    let other = parties.setup_of_other_names().start().await;
    for (stack, lines) in [(&usual, BOB.map(str::to_owned).to_vec()), (&other, in_front(BOB))] {
        let edge = stack.envoy.edge.holding(&parties.proxy());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(forwarded(&edge, &lines).await, sorted(AS_BOB));
        // What the caller had sent to the proxy, and the proxy has left as it was.
        let more = [&lines[..], &[ALICE, "Impersonate-User: admin"]].concat();
        assert_eq!(forwarded(&edge, &more).await, sorted(AS_BOB));
    }
}

/// Go: TestX509Verifier ("invalid cn"), and requestheader's own CA. A token does not become better or worse by that.
#[tokio::test]
async fn a_proxy_that_is_not_allowed_is_a_401() {
    let parties = Parties::new();
    let stack = parties.setup().start().await;
    let expired = |params: &mut CertificateParams| valid(params, Duration::days(-2), Duration::days(-1));
    let proxies = [
        ("another name", parties.proxies.certify("back-proxy", &[])),
        ("the name in another case", parties.proxies.certify("Front-Proxy", &[])),
        ("the name as organization", parties.proxies.certify("x", &["front-proxy"])),
        ("another CA of the same name", Authority::root("proxies").certify("front-proxy", &[])),
        ("expired", parties.proxies.certify_with(&PKCS_ECDSA_P256_SHA256, "front-proxy", &[], expired)),
    ];
    for (what, certificate) in proxies {
        let edge = stack.envoy.edge.holding(&certificate);
        for response in edge.both(&BOB).await {
            assert_eq!(response.status, 401, "{what}");
        }
        for response in edge.both(&[&BOB[..], &[ALICE]].concat()).await {
            assert_eq!(response.forwarded(), AS_ALICE, "{what}");
        }
    }
    // No caller is no opinion; and this is no client's certificate.
    let edge = stack.envoy.edge.holding(&parties.proxy());
    for lines in [[].as_slice(), &BOB[1..], &["X-Remote-User: "]] {
        for response in edge.both(lines).await {
            assert_eq!(response.status, 401, "{lines:?}");
        }
    }
    assert_eq!(stack.upstream.seen().len(), 10, "only what had a token");
}

/// S14, kubernetes#118980: with one CA for both, the name alone makes the proxy.
#[tokio::test]
async fn a_client_of_a_ca_that_is_also_the_proxys_is_only_itself() {
    let parties = Parties::new();
    let stack = parties.setup().file("proxies.pem", &parties.clients.pem).start().await;
    let erin = parties.clients.certify("erin", &["qa"]);
    for response in stack.envoy.edge.holding(&erin).both(&BOB).await {
        assert_eq!(response.forwarded(), as_erin(&erin));
    }

    let proxy = parties.clients.certify("front-proxy", &[]);
    assert_eq!(forwarded(&stack.envoy.edge.holding(&proxy), &BOB).await, sorted(AS_BOB));
}

/// S1, S7: two users, and values that Envoy's plain encoding could have joined from two lines.
#[tokio::test]
async fn what_a_proxy_says_ambiguously_is_a_401() {
    let parties = Parties::new();
    let raw = parties.setup().start().await;
    let map = parties.setup().config(Config::with_header_map).start().await;
    let proxy = parties.proxy();
    let (raw, map) = (raw.envoy.edge.holding(&proxy), map.envoy.edge.holding(&proxy));

    let two = ["X-Remote-User: bob", "X-Remote-User: bob"];
    assert_eq!([raw.http1(&two).await.status, map.http1(&two).await.status], [401, 401]);
    let one_group = ["X-Remote-User: bob", "X-Remote-Group: ops"];
    for edge in [&raw, &map] {
        let seen = ["x-remote-user: bob", "x-remote-group: ops,system:authenticated"];
        assert_eq!(edge.http1(&one_group).await.forwarded(), seen);
    }
    let two_groups = [one_group[0], one_group[1], "X-Remote-Group: dev"];
    assert_eq!(
        raw.http1(&two_groups).await.forwarded(),
        ["x-remote-user: bob", "x-remote-group: ops,dev,system:authenticated"]
    );
    assert_eq!(map.http1(&two_groups).await.status, 401);
    let bytes: [&[u8]; 2] = [b"X-Remote-User: b\xf6b", b"X-Remote-Group: ops"];
    assert_eq!([raw.http1_bytes(&bytes).await.status, map.http1_bytes(&bytes).await.status], [401, 401]);
}

/// S1, S13, S16: it is countersign's to remove all of it, names of the proxy's choosing as well.
#[tokio::test]
async fn others_who_write_the_proxys_headers_are_not_believed_and_the_headers_are_gone() {
    let parties = Parties::new();
    let usual = parties.setup().start().await;
    let other = parties.setup_of_other_names().start().await;
    let erin = parties.clients.certify("erin", &["qa"]);
    let forged = parties.proxy().forwarded();
    let usual_spoofs: Vec<String> = SPOOFS.into_iter().chain(BOB).map(str::to_owned).collect();
    // Numbers behind the name of a group are read by nobody.
    let mut other_spoofs = in_front([SPOOFS.to_vec(), BOB.to_vec()].concat());
    other_spoofs.retain(|line| !line.contains("Group-"));

    for (stack, mut spoofs) in [(usual, usual_spoofs), (other, other_spoofs)] {
        spoofs.push(forged.clone());
        let spoofs: Vec<&str> = spoofs.iter().map(String::as_str).collect();
        let (nobody, holder) = (&stack.envoy.edge, stack.envoy.edge.holding(&erin));
        let mut attempts: Vec<Vec<&str>> = spoofs.iter().map(|&spoof| vec![spoof]).collect();
        attempts.push(spoofs.clone());
        for attempt in attempts {
            for response in nobody.both(&attempt).await {
                assert_eq!(response.forwarded(), AS_NOBODY, "{attempt:?}");
            }
            for response in holder.both(&attempt).await {
                assert_eq!(response.forwarded(), as_erin(&erin), "{attempt:?}");
            }
            for response in nobody.both(&[&attempt[..], &[ALICE]].concat()).await {
                assert_eq!(response.forwarded(), AS_ALICE, "{attempt:?}");
            }
        }
    }
}

/// The shipped early removal spares nobody: whoever has not made room for a proxy gets no caller, never a wrong one.
#[tokio::test]
async fn without_room_made_in_envoy_a_proxys_headers_are_gone_before_they_are_read() {
    let parties = Parties::new();
    let stack = parties.unchanged_envoy().start().await;
    for response in stack.envoy.edge.holding(&parties.proxy()).both(&BOB).await {
        assert_eq!(response.status, 401);
    }
    assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);
}
