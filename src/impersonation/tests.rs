//! Who may act as whom, beside an API server that knows rules and notes what it is asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::cluster::{Access, Clusters};
use crate::decision::Authenticator;
use crate::metrics::{Measured, Metrics};
use crate::request::testing::{joined, request};

/// Whether the subject of this `spec` of a SubjectAccessReview may do it.
type Rule = fn(&Json) -> bool;

/// An API server that answers reviews by a rule.
struct Api {
    server: String,
    reviews: Arc<AccessReviews>,
    asked: Arc<Mutex<Vec<Json>>>,
}

impl Api {
    fn start(rule: Rule) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let asked = Arc::clone(&shared);
                thread::spawn(move || serve(stream, rule, &asked));
            }
        });
        Self { reviews: reviews(&server), server, asked }
    }

    fn asked(&self) -> Vec<Json> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn reviews(server: &str) -> Arc<AccessReviews> {
    let access = Access { server: server.to_owned(), ..Access::default() };
    let cluster = Clusters::new(|_, _| None, Arc::default()).cluster(&access).unwrap();
    Arc::new(AccessReviews::new(&cluster, Arc::default()))
}

fn serve(mut stream: TcpStream, rule: Rule, asked: &Mutex<Vec<Json>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or_default() == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut review: Json = serde_json::from_slice(&body).unwrap();
        review["status"] = json!({"allowed": rule(&review["spec"])});
        asked.lock().unwrap().push(review["spec"].take());
        review["spec"] = json!({});
        let review = review.to_string();
        let answer = format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{review}", review.len());
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

fn impersonation(reviews: Option<&Arc<AccessReviews>>) -> Impersonation {
    let token = UpstreamToken::new(b"ours").unwrap();
    Impersonation { token, reviews: reviews.cloned() }
}

fn somebody(username: &str, groups: &[&str]) -> Authenticated {
    Authenticated::new(Arc::new(identity(username, "", groups, &[])), Authenticator::X509)
}

fn identity(username: &str, uid: &str, groups: &[&str], extra: &[(&str, &[&str])]) -> Identity {
    let extra: BTreeMap<_, _> = extra.iter().copied().collect();
    Identity::new(username, uid, Groups::new(groups), Extra::new(extra))
}

type Line<'a> = (&'a [u8], &'a [u8]);

async fn acting(
    reviews: Option<&Arc<AccessReviews>>,
    who: &Authenticated,
    lines: &[Line<'_>],
) -> Result<Identity, Reason> {
    let acting = impersonation(reviews).acting(who.clone(), &request(lines).headers).await?;
    assert_eq!(acting.by, who.by);
    Ok((*acting.identity).clone())
}

/// Go: `impersonateAuthorizer` of impersonation_test.go. `groups` there are without `system:authenticated`.
fn rule(spec: &Json) -> bool {
    let group = |index: usize| spec["groups"][index].as_str().unwrap_or_default();
    let asked = &spec["resourceAttributes"];
    let is = |api: &str, resource: &str| asked["group"] == api && asked["resource"] == resource;
    let authentication = "authentication.k8s.io";
    assert_eq!((&asked["verb"], &asked["version"]), (&json!("impersonate"), &json!("v1")));
    spec["user"] == "system:admin"
        || ["wheel", "regular-impersonater", "everything-impersonater"].contains(&group(0)) && is("", "users")
        || group(0) == "sa-impersonater" && is("", "serviceaccounts")
        || group(0) == "everything-impersonater"
            && (is("", "groups")
                || is(authentication, "uids") && asked["name"] == "some-uid"
                || is(authentication, "userextras") && asked["subresource"] == "scopes")
        || group(1) == "group-impersonater" && is("", "groups")
        || group(1) == "extra-setter-scopes"
            && is(authentication, "userextras")
            && asked["subresource"] == "scopes"
        || group(1) == "escaped-scopes"
        || group(1) == "extra-setter-particular-scopes"
            && is(authentication, "userextras")
            && asked["subresource"] == "scopes"
            && asked["name"] == "scope-a"
        || group(1) == "extra-setter-project"
            && is(authentication, "userextras")
            && asked["subresource"] == "project"
}

/// Go: TestImpersonationFilter, all of its rows.
#[tokio::test]
async fn kube_apiservers_table() {
    let api = Api::start(rule);
    let (user, uid): (&[u8], &[u8]) = (b"Impersonate-User", b"Impersonate-Uid");
    let (group, scopes): (&[u8], &[u8]) = (b"Impersonate-Group", b"Impersonate-Extra-Scopes");
    let forbidden = || Err(Reason::ImpersonationForbidden);
    let malformed = || Err(Reason::MalformedImpersonation);
    let (tester, dev) = (somebody("tester", &[]), |groups: &[&str]| somebody("dev", groups));
    let admin = || (user, &b"system:admin"[..]);
    let both: [(&[u8], &[u8]); 2] = [(scopes, b"scope-a"), (scopes, b"scope-b")];
    let some_group = (group, &b"some-group"[..]);
    let named = |name: &str, groups: &[&str]| Ok(identity(name, "", groups, &[]));
    let everything = || dev(&["everything-impersonater"]);
    let set = &["scope-a", "scope-b"][..];
    let escaped: &[u8] = b"impersonate-extra-example.com%2fescaped%e1%9b%84scopes";
    let odd: &[u8] = b"Impersonate-Extra-almost%zzpercent%xxencoded";
    let rows: [(Authenticated, Vec<Line<'_>>, Result<Identity, Reason>); 23] = [
        (tester.clone(), vec![], named("tester", &[])),
        (tester.clone(), vec![(user, b"anyone")], forbidden()),
        (tester.clone(), vec![some_group], malformed()),
        (tester.clone(), vec![both[0]], malformed()),
        (tester, vec![(uid, b"some-uid")], malformed()),
        (dev(&["wheel"]), vec![admin(), some_group], forbidden()),
        (
            dev(&["wheel", "group-impersonater"]),
            vec![admin(), some_group],
            named("system:admin", &["some-group"]),
        ),
        (dev(&["wheel"]), vec![admin(), some_group, both[0]], forbidden()),
        (dev(&["wheel", "extra-setter-project"]), vec![admin(), some_group, both[0]], forbidden()),
        (dev(&["wheel", "extra-setter-particular-scopes"]), vec![admin(), both[0], both[1]], forbidden()),
        (
            dev(&["wheel", "extra-setter-scopes"]),
            vec![admin(), both[0], both[1]],
            Ok(identity("system:admin", "", &[], &[("scopes", set)])),
        ),
        (
            dev(&["wheel", "escaped-scopes"]),
            vec![admin(), (escaped, b"scope-a"), (escaped, b"scope-b")],
            Ok(identity("system:admin", "", &[], &[("example.com/escapedᛄscopes", set)])),
        ),
        (
            dev(&["wheel", "escaped-scopes"]),
            vec![admin(), (odd, b"scope-a")],
            Ok(identity("system:admin", "", &[], &[("almost%zzpercent%xxencoded", &["scope-a"])])),
        ),
        (dev(&["regular-impersonater"]), vec![(user, b"tester")], named("tester", &[])),
        (dev(&["sa-impersonater"]), vec![(user, b"tester")], forbidden()),
        (
            dev(&["sa-impersonater"]),
            vec![(user, b"system:serviceaccount:foo:default")],
            named(
                "system:serviceaccount:foo:default",
                &["system:serviceaccounts", "system:serviceaccounts:foo"],
            ),
        ),
        (
            somebody("system:admin", &[]),
            vec![(user, b"system:anonymous")],
            named("system:anonymous", &["system:unauthenticated"]),
        ),
        (
            somebody("system:admin", &[]),
            vec![(user, b"unknown"), (group, b"system:unauthenticated")],
            named("unknown", &["system:unauthenticated"]),
        ),
        (
            dev(&["wheel", "group-impersonater"]),
            vec![admin(), some_group, (group, b"system:authenticated")],
            named("system:admin", &["some-group", "system:authenticated"]),
        ),
        (
            somebody("system:admin", &[]),
            vec![(user, b"system:anonymous"), (group, b"system:unauthenticated")],
            named("system:anonymous", &["system:unauthenticated"]),
        ),
        (
            everything(),
            vec![(user, b"tester"), (uid, b"some-uid")],
            Ok(identity("tester", "some-uid", &[], &[])),
        ),
        (everything(), vec![(user, b"tester"), (uid, b"disallowed-uid")], forbidden()),
        (
            everything(),
            vec![(user, b"tester"), (uid, b"some-uid"), (group, b"system:authenticated"), both[0], both[1]],
            Ok(identity("tester", "some-uid", &["system:authenticated"], &[("scopes", set)])),
        ),
    ];
    for (who, lines, expected) in rows {
        assert_eq!(acting(Some(&api.reviews), &who, &lines).await, expected, "{:?}: {lines:?}", who.identity);
    }
}

#[tokio::test]
async fn the_cluster_is_asked_about_each_thing_and_told_all_about_who_asks() {
    let api = Api::start(|_| true);
    let who = identity("alice", "1", &["dev"], &[("k", &["v", "w"])]);
    let who = Authenticated::new(Arc::new(who), Authenticator::TokenFile);
    let subject = json!({"user": "alice", "uid": "1", "groups": ["dev", "system:authenticated"], "extra": {"k": ["v", "w"]}});
    let lines: [Line<'_>; 6] = [
        (b"impersonate-extra-Scopes", b"a"),
        (b"IMPERSONATE-GROUP", b"g1"),
        (b"impersonate-uid", b"7"),
        (b"impersonate-user", b"system:serviceaccount:team:web"),
        (b"impersonate-group", b"system:masters"),
        (b"impersonate-extra-scopes", b"a"),
    ];
    let acting = acting(Some(&api.reviews), &who, &lines).await;
    let groups = ["g1", "system:masters"];
    assert_eq!(
        acting,
        Ok(identity("system:serviceaccount:team:web", "7", &groups, &[("scopes", &["a", "a"])]))
    );
    let attributes = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        json!({
            "verb": "impersonate", "version": "v1", "group": group, "resource": resource, "subresource": subresource,
            "namespace": namespace, "name": name,
        })
    };
    let authentication = "authentication.k8s.io";
    let expected = [
        attributes("", "serviceaccounts", "", "team", "web"),
        attributes(authentication, "uids", "", "", "7"),
        attributes("", "groups", "", "", "g1"),
        attributes("", "groups", "", "", "system:masters"),
        attributes(authentication, "userextras", "scopes", "", "a"),
        attributes(authentication, "userextras", "scopes", "", "a"),
    ];
    let expected = expected.map(|asked| {
        let mut spec = subject.clone();
        spec["resourceAttributes"] = asked;
        spec
    });
    assert_eq!(api.asked(), expected);
}

/// S2, S7, S16 (GHSA-r5c2-7hp9-v678): whatever some server may take for one of the headers is refused where they are not allowed.
#[tokio::test]
async fn nobody_is_somebody_else_unless_that_is_allowed() {
    let who = somebody("alice", &["system:masters"]);
    let names: [&[u8]; 12] = [
        b"impersonate-user",
        b"Impersonate-User",
        b"IMPERSONATE_USER",
        b"impersonate_user",
        b"Impersonate-Uid",
        b"Impersonate-Group",
        b"impersonate_group",
        b"Impersonate-Extra-Scopes",
        b"impersonate-extra_scopes",
        b"impersonate-",
        b"impersonate-anything",
        b"impersonate-user\xff",
    ];
    for name in names {
        for value in [&b"bob"[..], b""] {
            assert_eq!(
                acting(None, &who, &[(name, value)]).await,
                Err(Reason::ImpersonationNotAllowed),
                "{name:?}"
            );
        }
    }
    let others: [Line<'_>; 4] = [
        (b"impersonate", b"x"),
        (b"x-impersonate-user", b"x"),
        (b"impersonator-user", b"x"),
        (b"accept", b"*/*"),
    ];
    assert_eq!(acting(None, &who, &others).await, Ok((*who.identity).clone()));
}

/// S7: what can be read in two ways, or is not what kube-apiserver knows, is not asked about.
#[tokio::test]
async fn nobody_can_be_asked_about_somebody_who_is_not_named_clearly() {
    let api = Api::start(|_| true);
    let who = somebody("alice", &[]);
    let bob: Line<'_> = (b"impersonate-user", b"bob");
    let many: Vec<Line<'_>> =
        [bob].into_iter().chain(vec![(&b"impersonate-group"[..], &b"g"[..]); 64]).collect();
    let unclear: [Vec<Line<'_>>; 12] = [
        vec![bob, bob],
        vec![bob, (b"Impersonate-User", b"")],
        vec![bob, (b"impersonate-uid", b"1"), (b"impersonate-uid", b"2")],
        vec![bob, (b"impersonate_user", b"bob")],
        vec![bob, (b"impersonate_extra_x", b"y")],
        vec![bob, (b"impersonate-users", b"x")],
        vec![bob, (b"impersonate-group", b"\xff")],
        vec![bob, (b"impersonate-extra-%ff", b"x")],
        vec![bob, (b"impersonate-extra-\xff", b"x")],
        vec![(b"impersonate-group", b"")],
        vec![(b"impersonate-user", b""), (b"impersonate-extra-", b"")],
        many.clone(),
    ];
    for lines in unclear {
        assert_eq!(
            acting(Some(&api.reviews), &who, &lines).await,
            Err(Reason::MalformedImpersonation),
            "{lines:?}"
        );
    }
    // Where Envoy has joined lines, and has written `!` for what is not UTF-8.
    for value in [&b"a,b"[..], b"a!"] {
        let request = joined(&[(b"impersonate-user", value)]);
        let refused = impersonation(Some(&api.reviews)).acting(who.clone(), &request.headers).await;
        assert_eq!(refused, Err(Reason::MalformedImpersonation));
    }
    assert_eq!(api.asked(), [Json::Null; 0]);

    assert_eq!(
        acting(Some(&api.reviews), &who, &many[..64]).await.map(|i| i.own_groups.iter().count()),
        Ok(63)
    );
    assert_eq!(api.asked().len(), 64);
    // As in Go, an empty name alone asks for nothing.
    let nothing: [Line<'_>; 2] = [(b"impersonate-user", b""), (b"impersonate-uid", b"")];
    assert_eq!(acting(Some(&api.reviews), &who, &nothing).await, Ok((*who.identity).clone()));
    assert_eq!(api.asked(), [Json::Null; 0]);
}

fn header() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let name = ("[Ii]mpersonate[-_]|impersonat|x-|", "user|UID|group|extra[-_]|", "[a-z%_-]{0,3}");
    let name = name.prop_map(|(prefix, kind, rest)| format!("{prefix}{kind}{rest}").into_bytes());
    let value = prop_oneof![vec(any::<u8>(), 0..4), "[a-z]{0,3}".prop_map(String::into_bytes)];
    (name, value)
}

proptest! {
    /// Whatever is read is all that there is: no header that looks like one of these is passed over.
    #[test]
    fn what_looks_like_impersonation_is_refused_or_read(lines in vec(header(), 0..5)) {
        let folded = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase().replace('_', "-");
        let borrowed: Vec<Line<'_>> = lines.iter().map(|(name, value)| (&**name, &**value)).collect();
        let headers = request(&borrowed).headers;
        let looks: Vec<_> = lines.iter().filter(|(name, _)| folded(name).starts_with("impersonate-")).collect();
        let who = somebody("alice", &[]);
        let acting = impersonation(None).acting(who.clone(), &headers).now_or_never().expect("nobody is asked");
        prop_assert_eq!(acting, if looks.is_empty() { Ok(who) } else { Err(Reason::ImpersonationNotAllowed) });
        match Wanted::read(&headers) {
            Ok(Some(wanted)) => {
                let named = 1 + usize::from(!wanted.uid.is_empty()) + wanted.groups.len();
                let named = named + wanted.extra.values().map(Vec::len).sum::<usize>();
                let empty = |(name, value): &&&(Vec<u8>, Vec<u8>)| folded(name) == "impersonate-uid" && value.is_empty();
                prop_assert_eq!(named + looks.iter().filter(empty).count(), looks.len());
            }
            Ok(None) => prop_assert!(looks.iter().all(|(_, value)| value.is_empty())),
            Err(reason) => prop_assert_eq!(reason, Reason::MalformedImpersonation),
        }
    }
}

/// S15, GO-2023-1747, CVE-2025-48865: some load balancer behind Envoy might do as it is told.
#[tokio::test]
async fn nobody_may_have_an_identity_dropped_on_the_way() {
    let who = somebody("alice", &[]);
    for allowed in [None, Some(reviews("http://127.0.0.1:1"))] {
        let asked = async |value: &[u8]| acting(allowed.as_ref(), &who, &[(b"Connection", value)]).await;
        for value in [
            &b"upgrade, impersonate-user"[..],
            b"Impersonate-Group",
            b"upgrade,\tIMPERSONATE_UID ,x",
            b"upgrade,impersonate-extra-x",
            b"Authorization, upgrade",
        ] {
            assert_eq!(asked(value).await, Err(Reason::ImpersonationNotAllowed), "{value:?}");
        }
        for value in [&b"upgrade"[..], b"keep-alive, Upgrade", b"x-impersonate-user", b""] {
            assert_eq!(asked(value).await, Ok((*who.identity).clone()), "{value:?}");
        }
    }
}

#[tokio::test]
async fn a_cluster_that_is_away_lets_nobody_be_somebody_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = reviews(&format!("http://{}", listener.local_addr().unwrap()));
    drop(listener);
    let who = somebody("alice", &["system:masters"]);
    let bob: Line<'_> = (b"impersonate-user", b"bob");
    assert_eq!(acting(Some(&gone), &who, &[bob]).await, Err(Reason::ImpersonationUnavailable));
    assert_eq!(acting(Some(&gone), &who, &[]).await, Ok((*who.identity).clone()), "nobody is asked");
}

/// Go: TestRecordImpersonationAttempt and `metricsAuthorizer`: each question is counted, of the headers that can be read.
#[tokio::test]
async fn attempts_and_questions_are_counted_by_decision() {
    let metrics = Metrics::default();
    let counted = |server: &str| {
        let access = Access { server: server.to_owned(), ..Access::default() };
        let requests = Arc::clone(&metrics.requests);
        let cluster = Clusters::new(|_, _| None, requests).cluster(&access).unwrap();
        Arc::new(AccessReviews::new(&cluster, Arc::clone(&metrics.impersonation)))
    };
    let api = Api::start(rule);
    let reviews = counted(&api.server);
    let who = somebody("dev", &["regular-impersonater", "extra-setter-scopes"]);
    let (user, scopes): (Line<'_>, Line<'_>) =
        ((b"impersonate-user", b"bob"), (b"impersonate-extra-scopes", b"scope-a"));
    let group: Line<'_> = (b"impersonate-group", b"dev");
    assert!(acting(Some(&reviews), &who, &[]).await.is_ok());
    assert_eq!(acting(Some(&reviews), &who, &[scopes]).await, Err(Reason::MalformedImpersonation));
    assert!(acting(Some(&reviews), &who, &[user, scopes]).await.is_ok());
    let forbidden = acting(Some(&reviews), &who, &[user, group, scopes]).await;
    assert_eq!(forbidden, Err(Reason::ImpersonationForbidden));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let away = format!("http://{}", listener.local_addr().unwrap());
    let gone = counted(&away);
    drop(listener);
    assert_eq!(acting(Some(&gone), &who, &[user]).await, Err(Reason::ImpersonationUnavailable));
    let host = |url: &str| [url.trim_start_matches("http://").to_owned(), "POST".to_owned()];
    let mut expected = [(host(&api.server), Some(201), 4), (host(&away), None, 1)];
    expected.sort();
    assert_eq!(metrics.requests.totals(), expected);
    let page = metrics.render(&Measured::default());
    for [what, allowed, denied] in [
        ["attempts", r#"{decision="allowed",mode="legacy"} 1"#, r#"{decision="denied",mode=""} 2"#],
        [
            "authorization_attempts",
            r#"{decision="allowed",mode="legacy"} 3"#,
            r#"{decision="denied",mode="legacy"} 2"#,
        ],
    ] {
        for sample in [allowed, denied] {
            for name in ["total", "duration_seconds_count"] {
                let line = format!("\napiserver_impersonation_{what}_{name}{sample}\n");
                assert!(page.contains(&line), "{line}{page}");
            }
        }
    }
}

/// Go: `Token` of `fileTokenSource`, which takes the white space around it away.
#[test]
fn a_token_is_read_as_client_go_reads_it_and_shows_nothing() {
    let read = |content: &[u8]| UpstreamToken::new(content).map(|token| token.authorization().to_owned());
    for content in ["eyJ.x-_~+/=", "\n\teyJ.x-_~+/= \r\n"] {
        assert_eq!(read(content.as_bytes()), Ok("Bearer eyJ.x-_~+/=".to_owned()));
    }
    for (content, error) in [
        (&b""[..], TokenError::Empty),
        (b" \n", TokenError::Empty),
        (b"a b", TokenError::Malformed),
        (b"a\nb", TokenError::Malformed),
        (b"a\0", TokenError::Malformed),
        (b"\xff", TokenError::Malformed),
        ("ü".as_bytes(), TokenError::Malformed),
        (&[b'a'; 8193], TokenError::TooLong),
    ] {
        assert_eq!(read(content), Err(error), "{content:?}");
    }
    assert_eq!(read(&[b'a'; 8192]).map(|token| token.len()), Ok(8199));
    let shown = format!("{:?}", impersonation(None));
    assert_eq!(shown, "Impersonation { token: UpstreamToken(..), reviews: None }");
}
