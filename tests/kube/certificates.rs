//! Random client certificates and front-proxy headers, to a real kube-apiserver in TLS and to countersign as Envoy describes them.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType,
};
use time::{Duration, OffsetDateTime};

use super::generate::{Case, Line};
use super::random::Random;
use super::support::envoy::Request;
use super::wire::SELF_SUBJECT_REVIEW;

pub(crate) const FLAGS: [&str; 8] = [
    "--token-auth-file=tokens.csv",
    "--client-ca-file=clients.pem",
    "--requestheader-client-ca-file=proxies.pem",
    "--requestheader-allowed-names=front,other-front",
    "--requestheader-username-headers=X-Remote-User,X-Front-User",
    "--requestheader-uid-headers=X-Remote-Uid",
    "--requestheader-group-headers=X-Remote-Group,X-Front-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-,X-Front-Extra-",
];

type Ca = CertifiedIssuer<'static, KeyPair>;

/// The CAs that somebody may have a certificate of, and what the client sends along for each.
pub(crate) struct Pki {
    issuers: Vec<(Ca, Vec<String>)>,
}

impl Pki {
    /// Makes the CAs and writes the bundles that [`FLAGS`] name.
    pub(crate) fn new(folder: &Path) -> Self {
        let clients = root("clients");
        let proxies = root("proxies");
        let below = |parent: &Ca, change: fn(&mut CertificateParams)| {
            let mut params = ca_params("intermediate");
            change(&mut params);
            CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), parent).unwrap()
        };
        let plain = below(&clients, |_| {});
        let constrained = below(&clients, |params| {
            let permitted_subtrees = vec![GeneralSubtree::DnsName("example.test".to_owned())];
            params.name_constraints =
                Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        });
        let servers_only = below(&clients, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        let cannot_sign =
            below(&clients, |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
        let expired = below(&clients, |params| params.not_after = OffsetDateTime::now_utc() - Duration::DAY);
        let deeper = below(&plain, |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
        let too_deep = below(&deeper, |_| {});
        fs::write(folder.join("clients.pem"), clients.pem()).unwrap();
        fs::write(folder.join("proxies.pem"), proxies.pem()).unwrap();

        let sent = |cas: &[&Ca]| cas.iter().map(|ca| ca.pem()).collect::<Vec<String>>();
        let along = [
            sent(&[]),
            sent(&[]),
            sent(&[]),
            sent(&[&plain]),
            sent(&[&constrained]),
            sent(&[&servers_only]),
            sent(&[&cannot_sign]),
            sent(&[&expired]),
            sent(&[&plain, &deeper]),
            sent(&[&too_deep, &plain, &deeper]),
            sent(&[&clients]),
        ];
        let foreign = root("clients");
        let cas = [
            clients,
            proxies,
            foreign,
            plain,
            constrained,
            servers_only,
            cannot_sign,
            expired,
            deeper,
            too_deep,
        ];
        let mut issuers: Vec<_> = cas.into_iter().zip(along).collect();
        // An intermediate that is not sent along.
        let forgotten = below(&issuers[0].0, |params| {
            params.distinguished_name = name("forgotten");
        });
        issuers.push((forgotten, Vec::new()));
        Self { issuers }
    }

    /// A certificate, or none, and whatever else a request may carry.
    pub(crate) fn case(&self, random: &mut Random) -> Case {
        let (certificates, key) = if random.percent(92) { self.chain(random) } else { (Vec::new(), None) };
        let family = if certificates.is_empty() { "no certificate" } else { "certificate" };
        let mut headers = Vec::new();
        if random.percent(40) {
            let value = random.pick(&["Bearer readiness-probe", "Bearer nope", "Basic x", "Bearer "]);
            headers.push(("Authorization".to_owned(), value.as_bytes().to_vec()));
        }
        headers.extend(identity_headers(random));
        let (method, path) = ("POST".to_owned(), SELF_SUBJECT_REVIEW.to_owned());
        Case { family, request: Request { method, path, headers, certificates, key } }
    }

    /// A certificate with what is sent along, leaf first, and its key.
    pub(crate) fn chain(&self, random: &mut Random) -> (Vec<String>, Option<String>) {
        // The client CA half of the time, the proxies' a fifth.
        let (issuer, along) = &self.issuers[match random.below(10) {
            0..5 => 0,
            5..7 => 1,
            _ => random.below(self.issuers.len()),
        }];
        let algorithm = random.mostly(&PKCS_ECDSA_P256_SHA256, &[&PKCS_ECDSA_P384_SHA384]);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let leaf = leaf(random).signed_by(&key, issuer).unwrap();
        let chain = [leaf.pem()].into_iter().chain(along.iter().cloned());
        // rcgen ends lines as PEM's inventors did, Envoy as unix does.
        (chain.map(|pem| pem.replace("\r\n", "\n")).collect(), Some(key.serialize_pem()))
    }
}

/// What a front proxy writes, or somebody who pretends to be one.
pub(crate) fn identity_headers(random: &mut Random) -> Vec<Line> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.as_bytes().to_vec()));
    if random.percent(60) {
        add(
            random.pick(&["X-Remote-User", "X-Front-User", "x-remote-user"]),
            random.pick(&["proxied", "ü", "CN=a,O=b", "", "system:anonymous"]),
        );
    }
    if random.percent(6) {
        add("X-Remote-User", "second");
    }
    for _ in 0..random.below(4) {
        add(
            random.pick(&["X-Remote-Group", "X-Front-Group"]),
            random.pick(&["g1", "g2", "system:masters", "", "a,b", "system:authenticated"]),
        );
    }
    if random.percent(20) {
        add("X-Remote-Uid", random.pick(&["uid", ""]));
    }
    for _ in 0..random.below(3) {
        let name = random.pick(&[
            "X-Remote-Extra-Scope",
            "X-Front-Extra-scope",
            "X-Remote-Extra-a%2Fb",
            "X-Remote-Extra-%zz",
            "X-Remote-Extra-",
        ]);
        add(name, random.pick(&["v", "w", "", "x,y"]));
    }
    headers
}

fn root(common_name: &str) -> Ca {
    CertifiedIssuer::self_signed(ca_params(common_name), KeyPair::generate().unwrap()).unwrap()
}

fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// What somebody's certificate may say.
fn leaf(random: &mut Random) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if random.percent(90) {
        let usual = random.pick(&["alice", "front", "other-front"]);
        name.push(
            DnType::CommonName,
            random.mostly(usual, &["", "zoë", "system:anonymous", "a,b", " edge", "tab\tname"]),
        );
    }
    if random.percent(60) {
        name.push(
            DnType::OrganizationName,
            random.mostly("dev", &["", "system:masters", "système", "x,y", "system:unauthenticated"]),
        );
    }
    if random.percent(25) {
        // Kubernetes' attribute for a uid.
        name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]), random.mostly("uid-1", &["", "ü"]));
    }
    params.distinguished_name = name;
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = match random.below(20) {
        0 => (now - Duration::weeks(2), now - Duration::DAY),
        1 => (now + Duration::DAY, now + Duration::weeks(2)),
        _ => (now - Duration::DAY, now + Duration::weeks(2)),
    };
    params.extended_key_usages = match random.below(12) {
        0 => vec![ExtendedKeyUsagePurpose::ServerAuth],
        1 => vec![ExtendedKeyUsagePurpose::Any],
        2 => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        3..6 => vec![],
        _ => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    if random.percent(30) {
        params.key_usages =
            vec![random.pick(&[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign])];
    }
    if random.percent(30) {
        let text = random.pick(&["example.test", "a.example.test", "example.org", "*.example.test"]);
        params.subject_alt_names = vec![match random.below(3) {
            0 => SanType::Rfc822Name(format!("a@{text}").try_into().unwrap()),
            1 => SanType::URI(format!("spiffe://{text}/x").try_into().unwrap()),
            _ => SanType::DnsName(text.try_into().unwrap()),
        }];
    }
    if random.percent(5) {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    if random.percent(8) {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(random.percent(50));
        params.custom_extensions = vec![extension];
    }
    params
}
