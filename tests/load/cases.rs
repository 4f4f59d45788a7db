//! What is measured: the program's flags and files, the calls, and what they cannot do without.

use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use aws_lc_rs::{rand::SystemRandom, signature::KeyPair as _, signature::RSA_PKCS1_SHA256};
use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256,
};

use crate::Plan;
use crate::api_server::{ApiServer, bootstrap_tokens};
use crate::client::{OK, UNAUTHENTICATED, framed};
use crate::envoy::{Encoding, Request, check_request};
use crate::jwt;

/// One kind of call.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) files: Vec<(&'static str, String)>,
    /// A call that is answered OK once the program has fetched what it needs.
    pub(crate) ready: Option<Request>,
    /// The answer's code.
    pub(crate) expected: i32,
    /// The ratio that we want to stay below.
    pub(crate) limit: f64,
    pub(crate) calls: Calls,
    /// Measures what the call cannot do without, in µs.
    pub(crate) unavoidable: Box<dyn Fn() -> f64>,
}

/// Where the calls come from.
pub(crate) enum Calls {
    /// The same one over and over.
    Same(Request),
    /// These in turn, over and over.
    InTurn(Vec<Request>),
    /// None twice: makes the one with this number.
    Fresh(Box<dyn Fn(usize) -> Request>),
}

/// As Envoy with `encode_raw_headers` makes the call for a request.
pub(crate) fn frame(request: &Request) -> Bytes {
    framed(&check_request(request, Encoding::Raw))
}

impl Case {
    /// The calls of each round, and of one before the first.
    pub(crate) fn rounds(&self, plan: &Plan) -> Vec<Arc<[Bytes]>> {
        let mut serial = 0;
        let round = |_| match &self.calls {
            Calls::Same(request) => vec![frame(request); plan.calls].into(),
            Calls::InTurn(requests) => {
                let frames: Vec<Bytes> = requests.iter().map(frame).collect();
                frames.iter().cycle().take(plan.calls).cloned().collect()
            }
            Calls::Fresh(make) => {
                let calls = plan.calls.min(MAX_FRESH_CALLS);
                serial += calls;
                (serial - calls..serial).map(|number| frame(&make(number))).collect()
            }
        };
        (0..=plan.rounds).map(round).collect()
    }
}

/// To make a certificate or a token takes longer than to verify one.
const MAX_FRESH_CALLS: usize = 6_000;

pub(crate) fn cases() -> Vec<Case> {
    let token = |token: &str| request(&[("Authorization", format!("Bearer {token}"))]);
    let tokens = || vec![("tokens.csv", "token-1,alice,1,\"dev,ops\"\n".to_owned())];
    let none = || -> Box<dyn Fn() -> f64> { Box::new(|| 0.0) };
    let chains = Chains::new();
    let certificate = |name, calls, limit, unavoidable| Case {
        name,
        flags: vec!["--client-ca-file=clients.pem", "--anonymous-auth=false", "--xfcc-trusted-hops=1"],
        files: vec![("clients.pem", chains.root.clone())],
        ready: None,
        expected: OK,
        limit,
        calls,
        unavoidable,
    };
    let (remembered, make) = (chains.request(0), chains.clone());
    let mut cases = vec![
        Case {
            name: "static-token",
            flags: vec!["--token-auth-file=tokens.csv", "--anonymous-auth=false"],
            files: tokens(),
            ready: None,
            expected: OK,
            limit: 0.75,
            calls: Calls::Same(token("token-1")),
            unavoidable: none(),
        },
        Case {
            name: "unknown-token",
            flags: vec!["--token-auth-file=tokens.csv", "--anonymous-auth=false"],
            files: tokens(),
            ready: None,
            expected: UNAUTHENTICATED,
            limit: 0.90,
            calls: Calls::Same(token("nobody")),
            unavoidable: none(),
        },
        Case {
            name: "anonymous",
            flags: vec!["--token-auth-file=tokens.csv", "--anonymous-auth"],
            files: tokens(),
            ready: None,
            expected: OK,
            limit: 0.75,
            calls: Calls::Same(request(&[])),
            unavoidable: none(),
        },
        certificate("remembered-certificate", Calls::Same(remembered), 0.75, none()),
        certificate(
            "first-seen-certificate",
            Calls::Fresh(Box::new(move |number| make.request(1 + number))),
            1.20,
            Box::new(|| 2.0 * rsa_verification()),
        ),
    ];
    cases.extend(
        [("static-token-of-10", 10), ("static-token-of-1000", 1_000), ("static-token-of-1000000", 1_000_000)]
            .map(static_token),
    );
    cases.extend(
        [("bootstrap-token", 10), ("bootstrap-token-of-1000", 1_000), ("bootstrap-token-of-10000", 10_000)]
            .map(bootstrap_token),
    );
    cases.extend(jwt::cases());
    cases
}

/// So many clients call at a time.
const CALLERS: usize = 1_000;

/// Static tokens of [`CALLERS`] users, or of all that there are, where there are so many.
fn static_token((name, count): (&'static str, usize)) -> Case {
    let token = |number: usize| format!("token-{number}-5f0c1e2d3b4a59687786");
    let row = |number| format!("{},user-{number},uid-{number},\"dev,ops\"\n", token(number));
    // A prime, so that they are all over the place.
    let caller = |number| request(&[("Authorization", format!("Bearer {}", token(number * 7919 % count)))]);
    Case {
        name,
        flags: vec!["--token-auth-file=tokens.csv", "--anonymous-auth=false"],
        files: vec![("tokens.csv", (0..count).map(row).collect())],
        ready: None,
        expected: OK,
        limit: 0.75,
        calls: Calls::InTurn((0..CALLERS.min(count)).map(caller).collect()),
        unavoidable: Box::new(|| 0.0),
    }
}

/// A bootstrap token, where there are so many.
fn bootstrap_token((name, count): (&'static str, usize)) -> Case {
    const SECRET: &str = "0123456789abcdef";
    let api =
        ApiServer::start(200, &bootstrap_tokens((0..count).map(|number| format!("{number:06}")), SECRET));
    let request = || request(&[("Authorization", format!("Bearer 000007.{SECRET}"))]);
    Case {
        name,
        flags: vec!["--enable-bootstrap-token-auth", "--kubeconfig=kubeconfig", "--anonymous-auth=false"],
        files: vec![("kubeconfig", api.kubeconfig("token"))],
        ready: Some(request()),
        expected: OK,
        limit: 0.75,
        calls: Calls::Same(request()),
        unavoidable: Box::new(|| 0.0),
    }
}

/// A request of an ordinary size: 13 headers in all.
pub(crate) fn request(headers: &[(&str, String)]) -> Request {
    let ordinary = [
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br"),
        ("Cookie", "theme=dark; session=5f0c1e"),
    ];
    let owned =
        ordinary.iter().map(|(name, value)| (*name, (*value).to_owned())).chain(headers.iter().cloned());
    Request {
        method: "GET".to_owned(),
        path: "/api/v1/namespaces/default/pods?limit=500".to_owned(),
        headers: owned.map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
        certificates: Vec::new(),
        key: None,
    }
}

/// RSA-2048 throughout: a root, an intermediate, and leaves that differ in their serial numbers.
#[derive(Clone)]
struct Chains {
    root: String,
    intermediate: String,
    issuer: Arc<Issuer<'static, KeyPair>>,
    leaf: Arc<KeyPair>,
}

impl Chains {
    fn new() -> Self {
        let key = || KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let ca = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params
        };
        let (root_key, intermediate_key) = (key(), key());
        let root = ca("root").self_signed(&root_key).unwrap();
        let above = Issuer::new(ca("root"), root_key);
        let params = ca("intermediate");
        let intermediate = params.signed_by(&intermediate_key, &above).unwrap();
        Self {
            root: root.pem(),
            intermediate: intermediate.pem().replace('\r', ""),
            issuer: Arc::new(Issuer::new(params, intermediate_key)),
            leaf: Arc::new(key()),
        }
    }

    fn request(&self, serial: usize) -> Request {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bob");
        params.distinguished_name.push(DnType::OrganizationName, "dev");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(u64::try_from(serial + 1).unwrap().into());
        let leaf = params.signed_by(&*self.leaf, &*self.issuer).unwrap().pem().replace('\r', "");
        Request { certificates: vec![leaf, self.intermediate.clone()], ..request(&[]) }
    }
}

/// One verification of an RSA-2048 signature by aws-lc-rs, in µs.
fn rsa_verification() -> f64 {
    let key = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let message = [7; 700];
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    microseconds(|| public.verify(&message, &signature).unwrap())
}

/// How long some work takes, in µs: the median of several thousand times.
pub(crate) fn microseconds(work: impl Fn()) -> f64 {
    let mut times: Vec<f64> = (0..5_000)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
