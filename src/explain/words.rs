//! The reasons of rejections for people who have to do something about one.

use crate::decision::Reason;

/// What it means, and what it may be due to.
pub(super) fn of(reason: Reason) -> &'static str {
    match reason {
        Reason::AmbiguousAuthorization => {
            "there are several Authorization values, or one with a comma, and nobody can tell which was meant"
        }
        Reason::AmbiguousUpgrade => {
            "there are several Upgrade headers, so it is not clear whether this is a websocket"
        }
        Reason::AmbiguousIdentityHeader => {
            "an identity header of the front proxy is repeated, or may hide something; encode_raw_headers of ext_authz must be on"
        }
        Reason::UnknownProfile => {
            "the route names a profile in its context_extensions that --profiles-file does not have, or misspells the key countersign.profile"
        }
        Reason::MalformedCertificate => "the client certificate cannot be read",
        Reason::MalformedForwardedCertificate => {
            "x-forwarded-client-cert is not what Envoy writes, or is about another certificate; compare --xfcc-trusted-hops with the proxies in front"
        }
        Reason::CertificateExpired => {
            "the client certificate, or a CA above it, has expired or is not valid yet"
        }
        Reason::CertificateRevoked => "the client certificate, or a CA above it, is in a revocation list",
        Reason::RevocationListExpired => {
            "a revocation list that matters to the client certificate is out of date, and --client-crl-require-current refuses then"
        }
        Reason::UntrustedCertificate => {
            "none of the CAs vouches for the client certificate: another CA, a missing intermediate, or a certificate that is not for clients"
        }
        Reason::UnsupportedCertificate => {
            "the client certificate cannot be verified here (a rare algorithm or extension), though Kubernetes might"
        }
        Reason::CertificateUid => "the client certificate has two uids, or an empty one",
        Reason::ProxyNameNotAllowed => {
            "the front proxy's certificate has a common name that is not in --requestheader-allowed-names"
        }
        Reason::MalformedHeader => "a header that carries a credential holds control characters",
        Reason::MalformedRequest => "the CheckRequest cannot be read, or has no HTTP method or path",
        Reason::UndecodableToken => {
            "the token has a ! that may stand for a byte which Envoy left out; encode_raw_headers of ext_authz tells"
        }
        Reason::InvalidBearerToken => {
            "no authenticator knows the token: mistyped, removed, or of an issuer that is not configured"
        }
        Reason::MalformedToken => "the signed token cannot be taken apart, or its header is wrong",
        Reason::UnsupportedAlgorithm => {
            "the token is signed with an algorithm that is not allowed for its issuer"
        }
        Reason::UnknownKey => {
            "the token names a key that its issuer does not have: another issuer or cluster, or a key that was rotated away"
        }
        Reason::InvalidSignature => {
            "no key of the issuer verifies the signature: changed on the way, forged, or signed by somebody else"
        }
        Reason::UnsupportedSignature => {
            "the signature cannot be verified here (a rare key or algorithm), though Kubernetes might"
        }
        Reason::IssuerKeysUnavailable => {
            "the keys of the issuer could not be fetched, or not yet; /readyz?verbose says why"
        }
        Reason::MalformedIssuerKeys => {
            "what the issuer publishes as its keys cannot be read; /readyz?verbose says why"
        }
        Reason::MalformedClaims => "a claim that every token has is missing or of a wrong type",
        Reason::ClaimOutOfRange => {
            "a time is a number beyond 64 bits, or some claim one beyond a double and there are expressions over them"
        }
        Reason::WrongIssuer => "the token's iss is not the issuer that its keys belong to",
        Reason::WrongAudience => {
            "the token's aud names none of the audiences that are accepted here: it is meant for somebody else"
        }
        Reason::TokenExpired => "the token has expired, or does not say until when it is valid (exp)",
        Reason::TokenNotYetValid => "the token is not valid yet (nbf); do the clocks agree?",
        Reason::DistributedClaims => {
            "the groups, which the token says are to be had elsewhere, are not as they should be there"
        }
        Reason::DistributedClaimsUnavailable => {
            "the groups, which the token says are to be had elsewhere, could not be fetched"
        }
        Reason::ClaimMapping => {
            "the claims make no identity: the one for the user name or groups is missing or of a wrong type, or an expression fails"
        }
        Reason::EmailNotVerified => "the user name is an email address, and email_verified is not true",
        Reason::ClaimValidation => {
            "the claims do not meet a rule of the configuration (claimValidationRules, --oidc-required-claim)"
        }
        Reason::UserValidation => {
            "the identity does not meet a rule of the configuration (userValidationRules)"
        }
        Reason::ServiceAccountClaims => {
            "the claims name no service account, or an object that no cluster can have"
        }
        Reason::NeverExpires => "the token never expires, and nobody looks whether its account still exists",
        Reason::ServiceAccountGone => {
            "the service account is gone, is being deleted, or is another one of the same name; is it the right cluster?"
        }
        Reason::BoundObjectGone => {
            "the Pod, Node or Secret that the token is bound to is gone or is being deleted"
        }
        Reason::LegacyTokenInvalidated => {
            "the Secret of the token is gone, is being deleted, holds another token, or is marked as invalid"
        }
        Reason::WrongBootstrapSecret => "the bootstrap token's second half is not that of its Secret",
        Reason::UnusableBootstrapToken => {
            "the bootstrap token's Secret is being deleted, is not meant for authentication, or names another token or impossible groups"
        }
        Reason::ClusterUnavailable => {
            "the objects that the credential is about are not known, and the API server could not be asked; /readyz?verbose says why"
        }
        Reason::TokenReviewRefused => "the webhook says that something is wrong with the token",
        Reason::TokenReviewUnavailable => "the webhook could not be asked; the log says why",
        Reason::MalformedTokenReview => {
            "the webhook's answer is no TokenReview of the version that is expected"
        }
        Reason::TokenReviewBusy => "too many tokens are being reviewed by the webhook",
        Reason::TokenLookupTimeout => "nobody could say in time whose token it is",
        Reason::MalformedBasic => "the Basic credentials are not base64 of user:password",
        Reason::InvalidUsernameOrPassword => "there is no such user, or the password is wrong",
        Reason::PasswordVerificationBusy => "too many slow password hashes are being verified",
        Reason::MultipleWebSocketTokens => "more than one websocket subprotocol carries a token",
        Reason::MalformedWebSocketToken => {
            "the token among the websocket subprotocols is not unpadded base64url"
        }
        Reason::MissingWebSocketSubprotocol => {
            "the token is the only websocket subprotocol; the server needs another to answer with"
        }
        Reason::NoCredentials => {
            "nothing was presented that any authenticator reads, and anonymous requests are not allowed here"
        }
        Reason::ImpersonationNotAllowed => {
            "the client sent Impersonate-* headers, which needs --allow-impersonation, or names such a header in Connection"
        }
        Reason::MalformedImpersonation => {
            "the Impersonate-* headers do not say clearly as whom: repeated, unknown, too many, or without a user"
        }
        Reason::ImpersonationForbidden => "the RBAC of the cluster does not let this user act as that one",
        Reason::ImpersonationUnavailable => {
            "the cluster could not be asked whether this user may act as that one"
        }
        Reason::UnsafeIdentityValue => {
            "the identity holds a value that cannot travel in a header unchanged (a comma in a group: see --groups-encoding)"
        }
        Reason::IdentityTooLarge => {
            "the identity does not fit in Envoy's limits on headers: --envoy-max-headers-count, --envoy-max-request-headers-kb"
        }
        Reason::Panicked => "a defect of countersign; the log has the place, please report it",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use strum::VariantArray;

    use super::*;

    #[test]
    fn every_reason_has_words_of_its_own() {
        let words: HashSet<&str> = Reason::VARIANTS.iter().map(|reason| of(*reason)).collect();
        assert_eq!(words.len(), Reason::VARIANTS.len());
    }
}
