//! Client certificates and front proxies (Go: `ClientCertAuthenticationOptions` and `RequestHeaderAuthenticationOptions`,
//! k8s.io/apiserver/pkg/server/options/authentication.go).

use std::sync::Arc;

use super::deadlines::Deadlines;
use super::options::{OptionSpec, option};
use super::values::Values;
use crate::authn::token::jwt::Remote;
use crate::authn::{ClientCertificates, RequestHeader, RequestHeaderNames, X509};
use crate::pki::{CertPool, RevocationList, RevocationLists, revocation_lists};

/// The two authenticators that read certificates, and the names of the headers that one of them reads.
#[derive(Default)]
pub(super) struct CertificateAuthenticators {
    pub(super) request_header: Option<RequestHeader>,
    pub(super) x509: Option<X509>,
    pub(super) header_names: RequestHeaderNames,
}

/// Reads the bundles and the names.
pub(super) fn authenticators(
    values: &mut Values<'_>,
    xfcc_trusted_hops: usize,
    remote: &Remote,
    deadlines: &mut Deadlines,
    warnings: &mut Vec<String>,
) -> CertificateAuthenticators {
    let clients = bundle(values, option("client-ca-file"));
    let proxies = bundle(values, option("requestheader-client-ca-file"));
    let allowed_names = values.list_of_names(option("requestheader-allowed-names"));
    let names = header_names(values, warnings);
    if let (Some(clients), Some(proxies)) = (&clients, &proxies)
        && allowed_names.is_empty()
        && clients.overlaps(proxies)
    {
        values.error(
            "--requestheader-client-ca-file",
            "--requestheader-client-ca-file and --client-ca-file contain overlapping certificates; \
             --requestheader-allowed-names must be specified to ensure regular client certificates cannot set authenticating \
             proxy headers for arbitrary users",
        );
    }
    let pools: Vec<_> = clients.iter().chain(&proxies).map(|pool| &**pool).collect();
    let revocations = Arc::new(revocations(values, &pools, deadlines));
    let certificates = |roots| {
        ClientCertificates::new(roots, Arc::clone(&revocations), xfcc_trusted_hops)
            .watched_in(&remote.metrics().certificate_caches)
    };
    let expirations = || Arc::clone(&remote.metrics().certificate_expiration);
    let allowed_names = allowed_names.into_iter().map(Box::from).collect();
    let header_names = if proxies.is_some() { names } else { RequestHeaderNames::default() };
    CertificateAuthenticators {
        request_header: proxies
            .map(|roots| RequestHeader::new(certificates(roots), allowed_names, header_names.clone())),
        x509: clients.map(|roots| X509::new(certificates(roots).counted_in(expirations()))),
        header_names,
    }
}

fn bundle(values: &mut Values<'_>, option: &OptionSpec) -> Option<Arc<CertPool>> {
    let file = values.file(option)?;
    match CertPool::from_pem(&file.bytes) {
        Ok(pool) => Some(Arc::new(pool)),
        Err(error) => {
            values.file_errors(&file, vec![error]);
            None
        }
    }
}

fn revocations(values: &mut Values<'_>, pools: &[&CertPool], deadlines: &mut Deadlines) -> RevocationLists {
    let mut all = Vec::new();
    for file in values.files(option("client-crl-file")) {
        match revocation_lists(&file.bytes, pools) {
            Ok(lists) => {
                for next_update in lists.iter().filter_map(RevocationList::next_update) {
                    let problem = format!("{}: a revocation list is past its next update", file.place);
                    deadlines.add_next_update(problem, next_update);
                }
                all.extend(lists);
            }
            Err(error) => values.file_errors(&file, vec![error]),
        }
    }
    if !all.is_empty() && pools.is_empty() {
        values
            .error("--client-crl-file", "needs --client-ca-file or --requestheader-client-ca-file beside it");
    }
    RevocationLists::new(all, values.bool(option("client-crl-require-current")))
}

/// In lower case. Go: `RequestHeaderAuthenticationOptions.Validate`.
fn header_names(values: &mut Values<'_>, warnings: &mut Vec<String>) -> RequestHeaderNames {
    let mut read = |name: &str, standard: &str| {
        let list = values.list_of_names(option(name));
        let list: Vec<String> = list.iter().map(|name| name.to_ascii_lowercase()).collect();
        let unusual = !list.is_empty() && !list.iter().any(|name| *name == standard.to_ascii_lowercase());
        (list, unusual)
    };
    let (username, unusual_username) = read("requestheader-username-headers", "X-Remote-User");
    let (uid, unusual_uid) = read("requestheader-uid-headers", "X-Remote-Uid");
    let (group, unusual_group) = read("requestheader-group-headers", "X-Remote-Group");
    let (extra_prefix, unusual_extra) = read("requestheader-extra-headers-prefix", "X-Remote-Extra-");
    let unusual = [
        (unusual_username, "--requestheader-username-headers", "X-Remote-User header"),
        (unusual_group, "--requestheader-group-headers", "X-Remote-Group header"),
        (unusual_extra, "--requestheader-extra-headers-prefix", "X-Remote-Extra- header prefix"),
    ];
    for (_, flag, standard) in unusual.into_iter().filter(|(unusual, ..)| *unusual) {
        warnings.push(format!("{flag} is set without specifying the standard {standard}"));
    }
    if unusual_uid {
        values.error(
            "--requestheader-uid-headers",
            "--requestheader-uid-headers is set without specifying the standard X-Remote-Uid header; add it",
        );
    }
    RequestHeaderNames { username, uid, group, extra_prefix }
}
