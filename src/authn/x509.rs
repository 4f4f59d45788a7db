//! A client's certificate says who it is: common name and organizations
//! (Go: k8s.io/apiserver/pkg/authentication/request/x509, `CommonNameUserConversion`).

use std::sync::Arc;

use super::client_certificate::{ClientCertificates, Presented};
use super::{AuthenticateRequest, Now, Observer, Outcome};
use crate::decision::{Authenticated, Authenticator};
use crate::request::Request;

/// Believes clients with a certificate of `--client-ca-file`.
#[derive(Debug)]
pub struct X509(ClientCertificates);

impl X509 {
    /// Believes the certificates of these CAs.
    pub fn new(clients: ClientCertificates) -> Self {
        Self(clients)
    }
}

impl AuthenticateRequest for X509 {
    async fn observed<O: Observer>(&self, request: &Request<'_>, now: Now, _: O) -> Outcome {
        let certificate = match self.0.presented(request, now) {
            Presented::Nothing => return Outcome::NoOpinion,
            Presented::Rejected(reason) => return Outcome::rejected(Authenticator::X509, reason),
            Presented::Verified(certificate) => certificate,
        };
        match &certificate.identity {
            // A good certificate of nobody: no opinion, and no error.
            Ok(None) => Outcome::NoOpinion,
            Ok(Some(identity)) => {
                Outcome::Authenticated(Authenticated::new(Arc::clone(identity), Authenticator::X509))
            }
            Err(reason) => Outcome::rejected(Authenticator::X509, *reason),
        }
    }
}
