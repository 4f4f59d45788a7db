//! From a certificate to a trust anchor (RFC 5280, section 6), as Go finds the way: crypto/x509/verify.go, `Certificate.Verify`
//! with `VerifyOptions{Roots, Intermediates, CurrentTime, KeyUsages: {ExtKeyUsageClientAuth}}`, which is how kube-apiserver calls
//! it (`AuthenticateRequest` of k8s.io/apiserver/pkg/authentication/request/x509/x509.go, `defaultVerifyOptions` of
//! k8s.io/apiserver/pkg/server/dynamiccertificates), or with `ExtKeyUsageServerAuth`, which is what a TLS client asks of a server
//! (`verifyServerCertificate` of crypto/tls/handshake_client.go).

use std::borrow::Borrow;
use std::time::{SystemTime, UNIX_EPOCH};

use super::certificate::Certificate;
use super::error::{Invalid, Role, SignatureError, VerifyError};
use super::key::PublicKey;
use super::pool::{CertPool, in_order_of_plausibility};
use super::revocation::RevocationLists;
use super::{constraints, policies, signature};

/// The most certificates beside its own that a client may send. Go has no such bound; the most that any chain can use is
/// [`MAX_SIGNATURE_CHECKS`].
pub const MAX_INTERMEDIATES: usize = 100;

/// The most issuers that are tried for one client, all ways counted. Go: `maxChainSignatureChecks`.
pub const MAX_SIGNATURE_CHECKS: usize = 100;

/// A chain from the leaf upwards.
type Chain<'a> = Vec<&'a Certificate>;

/// What [`verify`] has found.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified<'a> {
    /// From the leaf to the trust anchor.
    pub chain: Chain<'a>,
    /// Its end, in seconds since 1970: the earliest notAfter in it, or the earliest nextUpdate of the revocation lists that matter to it.
    pub not_after: i64,
}

/// What a certificate is for (RFC 5280, section 4.2.1.12). Go: `ExtKeyUsage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    ClientAuthentication,
    ServerAuthentication,
}

/// Whether `leaf` may authenticate a client at `now`: a chain leads from it, perhaps over some of `intermediates`, in whatever
/// order they come and whatever else is among them, to one of `roots`. Go: `Certificate.Verify`.
///
/// A certificate that is itself in `roots` needs no issuer. A chain of which a certificate has been revoked is none.
pub fn verify<'a>(
    leaf: &'a Certificate,
    intermediates: &'a [impl Borrow<Certificate>],
    roots: &'a CertPool,
    revocations: Option<&RevocationLists>,
    now: SystemTime,
) -> Result<Verified<'a>, VerifyError> {
    verify_for(Usage::ClientAuthentication, leaf, intermediates, roots, revocations, now)
}

/// The same for a server's certificate, with nothing revoked. Whether it is for the server's name is another question.
pub fn verify_server<'a>(
    leaf: &'a Certificate,
    intermediates: &'a [impl Borrow<Certificate>],
    roots: &'a CertPool,
    now: SystemTime,
) -> Result<Verified<'a>, VerifyError> {
    verify_for(Usage::ServerAuthentication, leaf, intermediates, roots, None, now)
}

fn verify_for<'a>(
    usage: Usage,
    leaf: &'a Certificate,
    intermediates: &'a [impl Borrow<Certificate>],
    roots: &'a CertPool,
    revocations: Option<&RevocationLists>,
    now: SystemTime,
) -> Result<Verified<'a>, VerifyError> {
    if intermediates.len() > MAX_INTERMEDIATES {
        return Err(VerifyError::TooManyCertificates);
    }
    let now = Seconds::of(now);
    check_validity(leaf, Role::Leaf, &[], now)?;
    let mut search =
        Search { intermediates: distinct(intermediates), roots, now, checks: 0, beyond_us: Vec::new() };
    let chains = match roots.contains(leaf) {
        true => Ok(vec![vec![leaf]]),
        false => search.chains_above(&vec![leaf]),
    };
    let beyond_us = || search.beyond_us.iter().any(|chain| check_chain(chain, usage).is_ok());
    let chains = chains.map_err(|error| if beyond_us() { VerifyError::BeyondUs } else { error })?;

    let (mut error, mut revoked_chain) = (None, None);
    for chain in chains {
        let unrevoked =
            || revocations.map_or(Ok(i64::MAX), |revocations| revocations.check(&chain, roots, now.whole));
        match check_chain(&chain, usage).and_then(|()| unrevoked()) {
            Ok(end) => {
                let not_after = chain.iter().map(|c| c.not_after()).min().unwrap_or(i64::MIN).min(end);
                return Ok(Verified { chain, not_after });
            }
            // That one would have been good otherwise says most.
            Err(revoked @ (VerifyError::Revoked { .. } | VerifyError::RevocationListExpired)) => {
                revoked_chain = revoked_chain.or(Some(revoked));
            }
            // Go names a name constraint before a usage, and a usage only if nothing else is wrong.
            Err(VerifyError::NameConstraints) => error = Some(VerifyError::NameConstraints),
            Err(VerifyError::Policies) if error != Some(VerifyError::NameConstraints) => {
                error = Some(VerifyError::Policies);
            }
            Err(other) => error = error.or(Some(other)),
        }
    }
    let beyond_us = beyond_us().then_some(VerifyError::BeyondUs);
    Err(revoked_chain.or(beyond_us).or(error).unwrap_or(VerifyError::UnknownAuthority { candidate: None }))
}

/// What is asked of a chain as a whole, in Go's order.
fn check_chain(chain: &[&Certificate], usage: Usage) -> Result<(), VerifyError> {
    if !policies::are_valid(chain) {
        return Err(VerifyError::Policies);
    }
    if !allows(chain, usage) {
        return Err(VerifyError::KeyUsage);
    }
    let names = chain
        .iter()
        .map(|c| (c.extensions.name_constraints.as_ref(), c.extensions.alternative_names.as_ref()));
    if !constraints::check(names) {
        return Err(VerifyError::NameConstraints);
    }
    Ok(())
}

/// Every certificate of the chain that lists extended key usages lists this one, or any. Go: `checkChainForKeyUsage`.
fn allows(chain: &[&Certificate], usage: Usage) -> bool {
    let listed = chain.iter().filter_map(|certificate| certificate.extensions.extended_key_usage);
    listed.into_iter().all(|listed| match usage {
        Usage::ClientAuthentication => listed.any || listed.client_auth,
        Usage::ServerAuthentication => listed.any || listed.server_auth,
    })
}

/// Whether a certificate may stand on top of `chain`. Go: `Certificate.isValid`.
fn check_validity(
    certificate: &Certificate,
    role: Role,
    chain: &[&Certificate],
    now: Seconds,
) -> Result<(), VerifyError> {
    let invalid = |reason| Err(VerifyError::Invalid { role, reason });
    let extensions = &certificate.extensions;
    if extensions.unhandled_critical {
        return invalid(Invalid::UnhandledCriticalExtension);
    }
    if chain.last().is_some_and(|child| child.raw_issuer() != certificate.raw_subject()) {
        return invalid(Invalid::NameMismatch);
    }
    if now.is_before(certificate.not_before()) {
        return invalid(Invalid::NotYetValid);
    }
    if now.is_after(certificate.not_after()) {
        return invalid(Invalid::Expired);
    }
    let constraints = extensions.basic_constraints;
    if role == Role::Intermediate && !constraints.is_some_and(|constraints| constraints.is_ca) {
        return invalid(Invalid::NotAuthorizedToSign);
    }
    // RFC 5280, section 4.2.1.9; the leaf does not count.
    let below = u64::try_from(chain.len().saturating_sub(1)).unwrap_or(u64::MAX);
    if constraints.and_then(|constraints| constraints.path_length).is_some_and(|most| below > most) {
        return invalid(Invalid::TooManyIntermediates);
    }
    Ok(())
}

/// Go: `Certificate.CheckSignatureFrom`.
fn check_signature(child: &Certificate, parent: &Certificate) -> Result<(), SignatureError> {
    // RFC 5280, section 4.2.1.9: from version 3 on a CA says that it is one.
    let is_ca = match parent.extensions.basic_constraints {
        Some(constraints) => constraints.is_ca,
        None => !parent.is_v3,
    };
    if !is_ca || parent.extensions.cannot_sign_certificates {
        return Err(SignatureError::ParentCannotSign);
    }
    let signed_with = child.known.as_deref().map(|known| &known.signed_with);
    if signed_with.is_some_and(|known| known.get() == Some(&parent.public_key)) {
        return Ok(());
    }
    let (algorithm, key) = (child.signature_algorithm, &parent.public_key);
    let set_up_key = parent.known.as_deref().map(|known| &known.set_up_key);
    signature::check_with(algorithm, child.tbs(), child.signature(), key, set_up_key)?;
    if let Some(signed_with) = signed_with {
        signed_with.get_or_init(|| key.clone());
    }
    Ok(())
}

/// Whether a certificate is in the chain already, perhaps under another signature: same subject, same key, same alternative names.
/// Go: `alreadyInChain`, with its early end.
fn is_in_chain(candidate: &Certificate, chain: &[&Certificate]) -> bool {
    let own = raw_names(candidate);
    for certificate in chain {
        let same = candidate.raw_subject() == certificate.raw_subject()
            && candidate.raw_public_key() == certificate.raw_public_key();
        if !same {
            continue;
        }
        match (own, raw_names(certificate)) {
            (None, None) => return true,
            (Some(own), Some(other)) if own == other => return true,
            (Some(_), Some(_)) => {}
            _ => return false,
        }
    }
    false
}

/// The value of the subject alternative names, if they are there.
fn raw_names(certificate: &Certificate) -> Option<&[u8]> {
    certificate.extensions.alternative_names.as_ref().map(|names| &*names.raw)
}

/// Each certificate once. Go: `CertPool.AddCert`.
fn distinct(certificates: &[impl Borrow<Certificate>]) -> Vec<&Certificate> {
    let mut distinct = Vec::new();
    for certificate in certificates.iter().map(Borrow::borrow) {
        if !distinct.contains(&certificate) {
            distinct.push(certificate);
        }
    }
    distinct
}

/// The search for chains.
struct Search<'a> {
    intermediates: Vec<&'a Certificate>,
    roots: &'a CertPool,
    now: Seconds,
    /// How many issuers have been tried.
    checks: usize,
    /// Chains that end in a root, if Go verifies what nobody here can.
    beyond_us: Vec<Chain<'a>>,
}

impl<'a> Search<'a> {
    /// All chains that begin with `chain` and end in a root, or the last thing that was wrong. It goes as deep as there are checks
    /// left. Go: `Certificate.buildChains`.
    fn chains_above(&mut self, chain: &Chain<'a>) -> Result<Vec<Chain<'a>>, VerifyError> {
        let Some(child) = chain.last() else { return Ok(Vec::new()) };
        let roots = self.roots.potential_parents(child).into_iter().map(|c| (Role::Root, c));
        let named = self.intermediates.iter().copied().filter(|c| c.raw_subject() == child.raw_issuer());
        let intermediates =
            in_order_of_plausibility(named, child).into_iter().map(|c| (Role::Intermediate, c));
        let candidates: Vec<_> = roots.chain(intermediates).collect();

        let mut chains = Vec::new();
        let mut error = None;
        let mut hint = None;
        for (role, candidate) in candidates {
            self.checks += 1;
            if self.checks > MAX_SIGNATURE_CHECKS {
                error = Some(VerifyError::SignatureLimit);
                break;
            }
            if candidate.public_key == PublicKey::Unknown || is_in_chain(candidate, chain) {
                continue;
            }
            let signature = check_signature(child, candidate);
            if let Err(reason) = signature {
                hint = hint.or(Some((role, reason)));
                if reason != SignatureError::BeyondUs {
                    continue;
                }
            }
            if let Err(reason) = check_validity(candidate, role, chain, self.now) {
                error = Some(reason);
                continue;
            }
            let mut longer = chain.clone();
            longer.push(candidate);
            if signature.is_err() {
                let above = match role {
                    Role::Root => vec![longer],
                    _ => self.chains_above(&longer).unwrap_or_default(),
                };
                self.beyond_us.extend(above);
                continue;
            }
            error = None;
            if role == Role::Root {
                chains.push(longer);
                continue;
            }
            match self.chains_above(&longer) {
                Ok(found) => chains.extend(found),
                Err(reason) => error = Some(reason),
            }
            if error == Some(VerifyError::SignatureLimit) {
                break;
            }
        }
        match error {
            _ if !chains.is_empty() => Ok(chains),
            Some(error) => Err(error),
            None => Err(VerifyError::UnknownAuthority { candidate: hint }),
        }
    }
}

/// A time in seconds since 1970, rounded down, and whether something is left.
#[derive(Debug, Clone, Copy)]
struct Seconds {
    whole: i64,
    more: bool,
}

impl Seconds {
    fn of(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self {
                whole: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                more: since.subsec_nanos() > 0,
            },
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                let more = before.subsec_nanos() > 0;
                Self { whole: -whole - i64::from(more), more }
            }
        }
    }

    const fn is_before(self, second: i64) -> bool {
        self.whole < second
    }

    const fn is_after(self, second: i64) -> bool {
        self.whole > second || self.whole == second && self.more
    }
}

#[cfg(test)]
mod tests {
    use std::slice;
    use std::time::Duration;

    use super::super::testing::{Draft, ca, draft, sequence, tlv};
    use super::*;

    const START: i64 = 1_577_836_800;
    const END: i64 = 3_755_376_000;

    fn at(seconds: i64, nanos: u32) -> SystemTime {
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
        time + Duration::from_nanos(nanos.into())
    }

    /// The leaf first, then the intermediates.
    fn verdict_at(chain: &[Draft], roots: &[Draft], now: SystemTime) -> Result<(), VerifyError> {
        let chain: Vec<_> = chain.iter().map(Draft::build).collect();
        let (leaf, intermediates) = chain.split_first().unwrap();
        verify(leaf, intermediates, &roots.iter().map(Draft::build).collect(), None, now).map(|_| ())
    }

    fn verdict(chain: &[Draft], roots: &[Draft]) -> Result<(), VerifyError> {
        verdict_at(chain, roots, at(START + 1, 0))
    }

    fn invalid(role: Role, reason: Invalid) -> Result<(), VerifyError> {
        Err(VerifyError::Invalid { role, reason })
    }

    fn unknown(candidate: Option<(Role, SignatureError)>) -> Result<(), VerifyError> {
        Err(VerifyError::UnknownAuthority { candidate })
    }

    fn root() -> Draft {
        ca("root", "root", None)
    }

    fn inter() -> Draft {
        ca("inter", "root", None)
    }

    fn leaf() -> Draft {
        draft("leaf", "inter")
    }

    #[test]
    fn a_chain_leads_from_the_leaf_to_a_root_in_whatever_order_it_comes() {
        let other = || ca("other", "elsewhere", None);
        assert_eq!(verdict(&[draft("leaf", "root")], &[root()]), Ok(()));
        assert_eq!(verdict(&[leaf(), inter()], &[root()]), Ok(()));
        assert_eq!(verdict(&[leaf(), other(), root(), inter(), inter()], &[other(), root()]), Ok(()));
        assert_eq!(verdict(&[leaf()], &[inter()]), Ok(()), "a root need not be signed by itself");
        assert_eq!(verdict(&[leaf()], &[root()]), unknown(None));
        assert_eq!(verdict(&[leaf(), inter(), root()], &[other()]), unknown(None));
        assert_eq!(verdict(&[draft("leaf", "root")], &[]), unknown(None));
        // Signed by somebody else of the same name.
        let impostor = draft("leaf", "root").but(|draft| draft.signer = b'x');
        assert_eq!(verdict(&[impostor], &[root()]), unknown(Some((Role::Root, SignatureError::Wrong))));
    }

    /// Go: the start of Certificate.Verify, `opts.Roots.contains(c)`.
    #[test]
    fn a_certificate_among_the_roots_is_trusted_for_itself_if_it_is_valid() {
        assert_eq!(verdict(&[leaf()], &[leaf()]), Ok(()));
        assert_eq!(verdict(&[root()], &[root()]), Ok(()));
        let late = at(END, 1);
        assert_eq!(verdict_at(&[leaf()], &[leaf()], late), invalid(Role::Leaf, Invalid::Expired));
        let server = leaf().with(37, false, &sequence(&[tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, 1])]));
        assert_eq!(verdict(slice::from_ref(&server), slice::from_ref(&server)), Err(VerifyError::KeyUsage));
        let critical = leaf().with(99, true, &[]);
        let expected = invalid(Role::Leaf, Invalid::UnhandledCriticalExtension);
        assert_eq!(verdict(slice::from_ref(&critical), slice::from_ref(&critical)), expected);
    }

    #[test]
    fn validity_ends_on_the_second() {
        let chain = [draft("leaf", "root")];
        let table = [
            (at(START - 1, 999_999_999), invalid(Role::Leaf, Invalid::NotYetValid)),
            (at(START, 0), Ok(())),
            (at(END, 0), Ok(())),
            (at(END, 1), invalid(Role::Leaf, Invalid::Expired)),
            (at(-1, 5), invalid(Role::Leaf, Invalid::NotYetValid)),
        ];
        for (now, expected) in table {
            assert_eq!(verdict_at(&chain, &[root()], now), expected, "{now:?}");
        }
        let old =
            |draft: Draft| draft.but(|d| d.validity = [(0x18, "19500101000000Z"), (0x18, "19601231235959Z")]);
        let end = -283_996_801;
        let (chain, roots) = ([old(draft("leaf", "root"))], [old(root())]);
        assert_eq!(verdict_at(&chain, &roots, at(end, 0)), Ok(()));
        assert_eq!(verdict_at(&chain, &roots, at(end, 1)), invalid(Role::Leaf, Invalid::Expired));
        assert_eq!(
            verdict_at(&[draft("leaf", "root")], &roots, at(START, 0)),
            invalid(Role::Root, Invalid::Expired)
        );
        let chain = [leaf(), old(inter())];
        assert_eq!(verdict(&chain, &[root()]), invalid(Role::Intermediate, Invalid::Expired));
    }

    /// Go: CheckSignatureFrom, isValid.
    #[test]
    fn who_signs_is_a_ca_and_says_so() {
        let cannot = |role| unknown(Some((role, SignatureError::ParentCannotSign)));
        let plain = || draft("inter", "root");
        let not_a_ca = plain().with(19, true, &sequence(&[]));
        let no_sign = inter().with(15, true, &tlv(3, &[7, 0x80]));
        let sign = inter().with(15, true, &tlv(3, &[2, 0x04]));
        let v1 = plain().but(|draft| draft.version = None);
        for (draft, role) in
            [(plain(), Role::Intermediate), (not_a_ca, Role::Intermediate), (no_sign, Role::Intermediate)]
        {
            assert_eq!(verdict(&[leaf(), draft.clone()], &[root()]), cannot(role));
            assert_eq!(verdict(&[leaf()], &[draft]), cannot(Role::Root));
        }
        assert_eq!(verdict(&[leaf(), sign], &[root()]), Ok(()));
        // Version 1 knows no constraints: good enough for a root only.
        assert_eq!(verdict(&[leaf()], slice::from_ref(&v1)), Ok(()));
        assert_eq!(
            verdict(&[leaf(), v1], &[root()]),
            invalid(Role::Intermediate, Invalid::NotAuthorizedToSign)
        );
        let critical = inter().with(99, true, &[]);
        let expected = invalid(Role::Intermediate, Invalid::UnhandledCriticalExtension);
        assert_eq!(verdict(&[leaf(), critical], &[root()]), expected);
        // A key of a kind that is not known is passed over.
        let unknown_key =
            inter().but(|draft| draft.key = sequence(&[sequence(&[tlv(6, &[0x2a])]), tlv(3, &[0])]));
        assert_eq!(verdict(&[leaf(), unknown_key], &[root()]), unknown(None));
    }

    /// RFC 5280, section 4.2.1.9.
    #[test]
    fn a_path_length_counts_the_intermediates_below() {
        let top = |most| ca("top", "root", most);
        let chain = |most| [leaf(), ca("inter", "top", None), top(most)];
        assert_eq!(verdict(&chain(Some(1)), &[root()]), Ok(()));
        assert_eq!(
            verdict(&chain(Some(0)), &[root()]),
            invalid(Role::Intermediate, Invalid::TooManyIntermediates)
        );
        let chain = || [leaf(), inter()];
        assert_eq!(verdict(&chain(), &[ca("root", "root", Some(1))]), Ok(()));
        let expected = invalid(Role::Root, Invalid::TooManyIntermediates);
        assert_eq!(verdict(&chain(), &[ca("root", "root", Some(0))]), expected);
    }

    /// Go: checkChainForKeyUsage.
    #[test]
    fn every_certificate_that_lists_usages_lists_client_authentication_or_any() {
        let usage = |draft: Draft, oid: &[u8]| draft.with(37, false, &sequence(&[tlv(6, oid)]));
        let (server, client) = ([0x2b, 6, 1, 5, 5, 7, 3, 1], [0x2b, 6, 1, 5, 5, 7, 3, 2]);
        let any = [0x55, 0x1d, 37, 0];
        let refused = Err(VerifyError::KeyUsage);
        assert_eq!(verdict(&[usage(leaf(), &client), usage(inter(), &any)], &[root()]), Ok(()));
        assert_eq!(verdict(&[usage(leaf(), &server), inter()], &[root()]), refused);
        assert_eq!(verdict(&[usage(leaf(), &client), usage(inter(), &server)], &[root()]), refused);
        assert_eq!(verdict(&[leaf(), inter()], &[usage(root(), &server)]), refused);
        // Another way to the root is as good.
        let other = inter().but(|draft| draft.serial = vec![2]);
        assert_eq!(verdict(&[leaf(), usage(inter(), &server), other], &[root()]), Ok(()));
        // And the other way round for a server.
        let as_server = |chain: &[Draft]| {
            let chain: Vec<_> = chain.iter().map(Draft::build).collect();
            let (leaf, intermediates) = chain.split_first().unwrap();
            let roots = [root().build()].into_iter().collect();
            verify_server(leaf, intermediates, &roots, at(START + 1, 0)).map(|_| ())
        };
        assert_eq!(as_server(&[usage(leaf(), &server), usage(inter(), &any)]), Ok(()));
        assert_eq!(as_server(&[leaf(), inter()]), Ok(()));
        assert_eq!(as_server(&[usage(leaf(), &client), inter()]), refused);
        assert_eq!(as_server(&[usage(leaf(), &server), usage(inter(), &client)]), refused);
    }

    #[test]
    fn names_and_policies_are_asked_of_the_whole_chain() {
        let names = |name: &[u8]| sequence(&[tlv(0x82, name)]);
        let only = sequence(&[tlv(0xa0, &sequence(&[tlv(0x82, b"a.test")]))]);
        let chain = |name: &[u8]| [leaf().with(17, false, &names(name)), inter().with(30, true, &only)];
        assert_eq!(verdict(&chain(b"x.a.test"), &[root()]), Ok(()));
        assert_eq!(verdict(&chain(b"b.test"), &[root()]), Err(VerifyError::NameConstraints));
        let explicit = inter().with(36, true, &sequence(&[tlv(0x80, &[0])]));
        assert_eq!(verdict(&[leaf(), explicit], &[root()]), Err(VerifyError::Policies));
    }

    /// Where Go would go on, it is said that nobody knows; where it would refuse all the same, that it does.
    #[test]
    fn what_only_go_can_verify_is_told_from_what_nobody_can() {
        let rsa = |bits: usize| {
            let modulus = [&[0], &*vec![0xff; bits / 8]].concat();
            let numbers = sequence(&[tlv(2, &modulus), tlv(2, &[1, 0, 1])]);
            let algorithm = sequence(&[tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1]), vec![5, 0]]);
            sequence(&[algorithm, tlv(3, &[&[0], &*numbers].concat())])
        };
        let with_key = |draft: Draft, bits| draft.but(|draft| draft.key = rsa(bits));
        // RSA with SHA-256 (11) or SHA-384 (12).
        let signed = |draft: Draft, last: u8| {
            let oid = tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, last]);
            draft.but(|draft| draft.algorithm = [&*oid, &[5, 0]].concat())
        };
        let (below_root, beyond_us) =
            (|last| signed(draft("leaf", "root"), last), Err(VerifyError::BeyondUs));
        let hint = |reason| unknown(Some((Role::Root, reason)));
        let table = [
            (below_root(12), with_key(root(), 1024), beyond_us),
            (below_root(12), with_key(root(), 2040), beyond_us),
            (below_root(11), with_key(root(), 8200), beyond_us),
            (below_root(11), with_key(root(), 1024), hint(SignatureError::Wrong)),
            (below_root(12), with_key(root(), 2048), hint(SignatureError::Wrong)),
            (below_root(12), with_key(root(), 1016), hint(SignatureError::Key)),
            (below_root(12), with_key(draft("root", "root"), 1024), hint(SignatureError::ParentCannotSign)),
            (
                below_root(12),
                with_key(root(), 1024).with(99, true, &[]),
                invalid(Role::Root, Invalid::UnhandledCriticalExtension),
            ),
            (
                below_root(12).with(37, false, &sequence(&[tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, 1])])),
                with_key(root(), 1024),
                hint(SignatureError::BeyondUs),
            ),
        ];
        for (leaf, root, expected) in table {
            assert_eq!(verdict(&[leaf], &[root]), expected);
        }
        let leaf = || signed(leaf(), 12);
        let odd = || with_key(inter(), 1024);
        assert_eq!(verdict(&[leaf(), odd()], &[root()]), beyond_us);
        let no_way_up = unknown(Some((Role::Intermediate, SignatureError::BeyondUs)));
        assert_eq!(verdict(&[leaf(), odd()], &[]), no_way_up);
        let chain = [draft("leaf", "inter"), signed(inter(), 12), inter()];
        assert_eq!(verdict(&chain, &[with_key(root(), 1024), root()]), Ok(()), "another way is as good");
    }

    /// Go: maxChainSignatureChecks and alreadyInChain; CVE-2018-16875.
    #[test]
    fn the_work_is_bounded() {
        // Each is the issuer of each other, under the same name and key, and told apart by its alternative names.
        let same = |n: u8| {
            ca("inter", "inter", None).with(
                17,
                false,
                &sequence(&[tlv(0x82, &[b'a' + n % 26, b'a' + n / 26])]),
            )
        };
        let mut chain = vec![leaf()];
        chain.extend((0..5).map(same));
        assert_eq!(verdict(&chain, &[root()]), Err(VerifyError::SignatureLimit), "325 ways through five");
        chain.extend((5..100).map(same));
        assert_eq!(verdict(&chain, &[root()]), Err(VerifyError::SignatureLimit), "{MAX_SIGNATURE_CHECKS}");
        chain.push(inter());
        assert_eq!(verdict(&chain, &[root()]), Err(VerifyError::TooManyCertificates), "{MAX_INTERMEDIATES}");
        // Two that have signed each other: the same subject and key do not come twice.
        let cross = [leaf(), ca("inter", "other", None), ca("other", "inter", None)];
        assert_eq!(verdict(&cross, &[root()]), unknown(None));
    }
}
