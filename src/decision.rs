//! What the chain decided, and why.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use smallvec::SmallVec;
use strum::{EnumCount, VariantArray};

use crate::identity::Identity;

/// The members of the chain, named as in Kubernetes' source. Also the label in logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumCount, VariantArray)]
pub enum Authenticator {
    /// A front proxy's headers, behind `--requestheader-client-ca-file`.
    RequestHeader,
    /// A client certificate of `--client-ca-file`.
    X509,
    /// HTTP basic authentication against `--basic-auth-file`.
    Basic,
    /// A token in the Authorization header; itself only the finder, unless no token authenticator knew the token.
    Bearer,
    /// A token among the websocket subprotocols; likewise.
    WebSocket,
    /// `--token-auth-file`.
    TokenFile,
    /// Service account tokens that are read from secrets.
    LegacyServiceAccount,
    /// Service account tokens of the TokenRequest API.
    ServiceAccount,
    /// `--enable-bootstrap-token-auth`.
    Bootstrap,
    /// JSON Web Tokens of OpenID Connect issuers: `--oidc-*`, or `jwt` of the authentication configuration.
    Jwt,
    /// Whoever answers token reviews: `--authentication-token-webhook-config-file` or `--authentication-token-review`.
    Webhook,
    /// Nobody presented anything.
    Anonymous,
    /// The chain itself: the request could not be read, or nobody had an opinion and anonymous is not allowed.
    Chain,
}

impl Authenticator {
    /// The label in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::RequestHeader => "requestheader",
            Self::X509 => "x509",
            Self::Basic => "basic",
            Self::Bearer => "bearer",
            Self::WebSocket => "websocket",
            Self::TokenFile => "tokenfile",
            Self::LegacyServiceAccount => "legacyserviceaccount",
            Self::ServiceAccount => "serviceaccount",
            Self::Bootstrap => "bootstrap",
            Self::Jwt => "jwt",
            Self::Webhook => "webhook",
            Self::Anonymous => "anonymous",
            Self::Chain => "chain",
        }
    }
}

/// Whose fault a rejection is, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, EnumCount, VariantArray)]
pub enum Fault {
    /// The credential is bad, or there is none.
    Client,
    /// Something that we depend on was not there or had no room: we are undecided, and a retry may succeed.
    Dependency,
    /// A defect of ours. Denied all the same.
    Bug,
}

impl Fault {
    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Dependency => "dependency",
            Self::Bug => "bug",
        }
    }
}

/// Why a request was rejected. For logs, metrics and traces only: a client never sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumCount, VariantArray)]
pub enum Reason {
    /// Several Authorization values, or one joined by commas: nobody can tell which one was meant.
    AmbiguousAuthorization,
    /// Several Upgrade lines, joined by the proxy, of which the first asks for a websocket.
    AmbiguousUpgrade,
    /// An identity header of a front proxy that is repeated, or that may have been or may hide something in the joined encoding.
    AmbiguousIdentityHeader,
    /// The route names a profile that the configuration has not, or misspells the key. It is the operator's mistake, and neither we nor a
    /// retry can mend it, so it counts as the request's own.
    UnknownProfile,
    /// A client certificate that Go's parser refuses, for which kube-apiserver ends the handshake.
    MalformedCertificate,
    /// An `x-forwarded-client-cert` that is not what Envoy writes, or not about the certificate beside it.
    MalformedForwardedCertificate,
    /// A client certificate that is not valid now.
    CertificateExpired,
    /// A client certificate, or a CA above it, that a revocation list has.
    CertificateRevoked,
    /// A revocation list that matters to a client certificate is out of date.
    RevocationListExpired,
    /// A client certificate that the CAs do not vouch for.
    UntrustedCertificate,
    /// A client certificate that cannot be verified here, in one of the ways in which only Kubernetes might.
    UnsupportedCertificate,
    /// A client certificate with two uids, or an empty one.
    CertificateUid,
    /// A front proxy's certificate without an allowed common name.
    ProxyNameNotAllowed,
    /// A header that carries a credential holds control characters; Go's HTTP server refuses such a request.
    MalformedHeader,
    /// The request has no HTTP attributes, method or path, or is not a CheckRequest at all.
    MalformedRequest,
    /// A token with a `!` in the joined encoding: it may stand for a byte that was not UTF-8 (threats S8).
    UndecodableToken,
    /// A bearer token that no authenticator knows.
    InvalidBearerToken,
    /// A signed token that cannot be taken apart, or whose header is not what it should be.
    MalformedToken,
    /// A token signed with an algorithm that is not allowed.
    UnsupportedAlgorithm,
    /// A token that names a key which its issuer does not have.
    UnknownKey,
    /// A token that none of its issuer's keys verifies.
    InvalidSignature,
    /// A token that none of its issuer's keys verifies here, in one of the ways in which only Kubernetes might.
    UnsupportedSignature,
    /// The issuer's keys could not be fetched, or not yet.
    IssuerKeysUnavailable,
    /// The issuer's answer is no key set by our rules, which are stricter than Kubernetes'.
    MalformedIssuerKeys,
    /// A claim that every token has is not of its type.
    MalformedClaims,
    /// A claim is a number beyond an int64 or a float64, which Kubernetes might read.
    ClaimOutOfRange,
    /// A token of another issuer than its keys are of.
    WrongIssuer,
    /// A token that is meant for somebody else.
    WrongAudience,
    /// A token that is not valid any more, or does not say until when it is.
    TokenExpired,
    /// A token that is not valid yet.
    TokenNotYetValid,
    /// Groups that a token says are to be had elsewhere, and which are not as they should be there.
    DistributedClaims,
    /// Groups that a token says are to be had elsewhere could not be fetched.
    DistributedClaimsUnavailable,
    /// The claims do not make an identity: one is missing, of a wrong type, or an expression over them fails.
    ClaimMapping,
    /// The user's name is an email address that the issuer has not verified.
    EmailNotVerified,
    /// The claims do not meet a rule of the configuration.
    ClaimValidation,
    /// The identity does not meet a rule of the configuration.
    UserValidation,
    /// The claims of a service account token name no account, or an object that no cluster can have.
    ServiceAccountClaims,
    /// A service account token that never expires, while nobody looks whether its account still exists.
    NeverExpires,
    /// The service account of a token is gone, is being deleted, or is another one of the same name.
    ServiceAccountGone,
    /// So is the Pod, Node or Secret that a service account token is bound to.
    BoundObjectGone,
    /// A token of a Secret that is gone, is being deleted, holds another token, or is marked as invalid.
    LegacyTokenInvalidated,
    /// A bootstrap token whose second half is not that of its Secret.
    WrongBootstrapSecret,
    /// A bootstrap token whose Secret is being deleted, is not meant for authentication, or names another token or impossible groups.
    UnusableBootstrapToken,
    /// The objects of the cluster that the credential is about are not known, and the API server could not be asked.
    ClusterUnavailable,
    /// The token review webhook says what is wrong with a token.
    TokenReviewRefused,
    /// The token review webhook could not be asked.
    TokenReviewUnavailable,
    /// The token review webhook's answer is none.
    MalformedTokenReview,
    /// Too many tokens are being reviewed.
    TokenReviewBusy,
    /// Nobody could say in time whose a token is.
    TokenLookupTimeout,
    /// Basic credentials that do not parse.
    MalformedBasic,
    /// A user name and password that do not match. The two causes are not told apart.
    InvalidUsernameOrPassword,
    /// Too many slow password hashes are being verified.
    PasswordVerificationBusy,
    /// More than one websocket subprotocol carries a token.
    MultipleWebSocketTokens,
    /// A websocket token that is not unpadded base64url, or not UTF-8 within.
    MalformedWebSocketToken,
    /// A websocket token needs a second subprotocol beside it, which the server can answer with.
    MissingWebSocketSubprotocol,
    /// Nothing was presented and anonymous is off, or off for this path.
    NoCredentials,
    /// The client asks to act as somebody else, which nobody may here, or a proxy behind us to drop as whom it acts.
    ImpersonationNotAllowed,
    /// It does not say clearly as whom: headers are repeated, unknown or too many, or name no user.
    MalformedImpersonation,
    /// The cluster says that the user may not act as that one.
    ImpersonationForbidden,
    /// The cluster could not be asked whether the user may.
    ImpersonationUnavailable,
    /// The identity holds a value that cannot travel in a header unchanged, or would be another one where it arrives.
    UnsafeIdentityValue,
    /// The identity does not fit in Envoy's limits on request headers.
    IdentityTooLarge,
    /// The code that decided panicked.
    Panicked,
}

impl Reason {
    /// The reason code in logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::AmbiguousAuthorization => "ambiguous_authorization",
            Self::AmbiguousUpgrade => "ambiguous_upgrade",
            Self::AmbiguousIdentityHeader => "ambiguous_identity_header",
            Self::UnknownProfile => "unknown_profile",
            Self::MalformedCertificate => "malformed_certificate",
            Self::MalformedForwardedCertificate => "malformed_forwarded_certificate",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateRevoked => "certificate_revoked",
            Self::RevocationListExpired => "revocation_list_expired",
            Self::UntrustedCertificate => "untrusted_certificate",
            Self::UnsupportedCertificate => "unsupported_certificate",
            Self::CertificateUid => "certificate_uid",
            Self::ProxyNameNotAllowed => "proxy_name_not_allowed",
            Self::MalformedHeader => "malformed_header",
            Self::MalformedRequest => "malformed_request",
            Self::UndecodableToken => "undecodable_token",
            Self::InvalidBearerToken => "invalid_bearer_token",
            Self::MalformedToken => "malformed_token",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::InvalidSignature => "invalid_signature",
            Self::UnsupportedSignature => "unsupported_signature",
            Self::IssuerKeysUnavailable => "issuer_keys_unavailable",
            Self::MalformedIssuerKeys => "malformed_issuer_keys",
            Self::MalformedClaims => "malformed_claims",
            Self::ClaimOutOfRange => "claim_out_of_range",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::TokenExpired => "token_expired",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::DistributedClaims => "distributed_claims",
            Self::DistributedClaimsUnavailable => "distributed_claims_unavailable",
            Self::ClaimMapping => "claim_mapping",
            Self::EmailNotVerified => "email_not_verified",
            Self::ClaimValidation => "claim_validation",
            Self::UserValidation => "user_validation",
            Self::ServiceAccountClaims => "service_account_claims",
            Self::NeverExpires => "never_expires",
            Self::ServiceAccountGone => "service_account_gone",
            Self::BoundObjectGone => "bound_object_gone",
            Self::LegacyTokenInvalidated => "legacy_token_invalidated",
            Self::WrongBootstrapSecret => "wrong_bootstrap_secret",
            Self::UnusableBootstrapToken => "unusable_bootstrap_token",
            Self::ClusterUnavailable => "cluster_unavailable",
            Self::TokenReviewRefused => "token_review_refused",
            Self::TokenReviewUnavailable => "token_review_unavailable",
            Self::MalformedTokenReview => "malformed_token_review",
            Self::TokenReviewBusy => "token_review_busy",
            Self::TokenLookupTimeout => "token_lookup_timeout",
            Self::MalformedBasic => "malformed_basic",
            Self::InvalidUsernameOrPassword => "invalid_username_or_password",
            Self::PasswordVerificationBusy => "password_verification_busy",
            Self::MultipleWebSocketTokens => "multiple_websocket_tokens",
            Self::MalformedWebSocketToken => "malformed_websocket_token",
            Self::MissingWebSocketSubprotocol => "missing_websocket_subprotocol",
            Self::NoCredentials => "no_credentials",
            Self::ImpersonationNotAllowed => "impersonation_not_allowed",
            Self::MalformedImpersonation => "malformed_impersonation",
            Self::ImpersonationForbidden => "impersonation_forbidden",
            Self::ImpersonationUnavailable => "impersonation_unavailable",
            Self::UnsafeIdentityValue => "unsafe_identity_value",
            Self::IdentityTooLarge => "identity_too_large",
            Self::Panicked => "panicked",
        }
    }

    /// Whether no other credential of the same request may be taken in place of the one that was rejected, and nobody else be asked
    /// about a token. Kubernetes does not reject for these reasons but would have read the credential, as somebody perhaps, from the
    /// client's own header lines; or it would have ended the connection, and with it the whole request; or it would have believed the
    /// certificate or the token, perhaps since it knows what we do not, while here the next authenticator might name somebody else.
    ///
    /// What is not among them although Kubernetes may know better: sizes beyond our limits and CEL's rare forms, in tokens that only
    /// their own issuer can sign like this, and that no issuer signs; and issuers and webhooks that are away or talk nonsense, which
    /// they would for Kubernetes too.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::AmbiguousAuthorization
                | Self::AmbiguousIdentityHeader
                | Self::AmbiguousUpgrade
                | Self::CertificateRevoked
                | Self::ClaimOutOfRange
                | Self::ClusterUnavailable
                | Self::DistributedClaims
                | Self::DistributedClaimsUnavailable
                | Self::MalformedCertificate
                | Self::MalformedForwardedCertificate
                | Self::MalformedHeader
                | Self::MalformedIssuerKeys
                | Self::NeverExpires
                | Self::Panicked
                | Self::PasswordVerificationBusy
                | Self::RevocationListExpired
                | Self::TokenReviewBusy
                | Self::UndecodableToken
                | Self::UnsupportedCertificate
                | Self::UnsupportedSignature
        )
    }

    /// Whose fault it was.
    pub fn fault(self) -> Fault {
        match self {
            Self::ClusterUnavailable
            | Self::DistributedClaimsUnavailable
            | Self::ImpersonationUnavailable
            | Self::IssuerKeysUnavailable
            | Self::MalformedIssuerKeys
            | Self::MalformedTokenReview
            | Self::PasswordVerificationBusy
            | Self::RevocationListExpired
            | Self::TokenLookupTimeout
            | Self::TokenReviewBusy
            | Self::TokenReviewUnavailable => Fault::Dependency,
            Self::Panicked => Fault::Bug,
            _ => Fault::Client,
        }
    }
}

/// One authenticator's refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// Who refused.
    pub by: Authenticator,
    /// Why.
    pub reason: Reason,
}

/// As the logs and traces say it: `bearer: invalid_bearer_token`.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.by.label(), self.reason.code())
    }
}

/// Every refusal along the chain, in its order. Two fit without an allocation: a bad certificate and a bad token.
pub type Rejections = SmallVec<[Rejection; 2]>;

/// A successful answer: who it is, and which authenticator vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// Who is calling.
    pub identity: Arc<Identity>,
    /// Who says so.
    pub by: Authenticator,
    /// How long that may be remembered.
    pub lasts: Lasts,
}

impl Authenticated {
    /// A success that may be remembered as long as anybody likes.
    pub fn new(identity: Arc<Identity>, by: Authenticator) -> Self {
        Self { identity, by, lasts: Lasts::Indefinitely }
    }
}

/// How long a success may be remembered.
#[derive(Debug, Clone, Default)]
pub enum Lasts {
    /// As long as anybody likes.
    #[default]
    Indefinitely,
    /// Until this time at the latest, which is included.
    Until(SystemTime),
    /// As long as this stands.
    While(Arc<dyn Standing>),
    /// Not beyond the request that asked.
    NoLonger,
}

/// What a success depends on that may end before anybody forgets it.
pub trait Standing: fmt::Debug + Send + Sync {
    /// Whether it still holds at `now`, as far as that can be told without waiting.
    fn stands(&self, now: SystemTime) -> bool;
}

impl Lasts {
    /// Whether what was remembered still holds at `now`.
    pub fn still(&self, now: SystemTime) -> bool {
        match self {
            Self::Indefinitely => true,
            Self::Until(end) => now <= *end,
            Self::While(standing) => standing.stands(now),
            Self::NoLonger => false,
        }
    }
}

impl PartialEq for Lasts {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Until(one), Self::Until(other)) => one == other,
            (Self::While(one), Self::While(other)) => Arc::ptr_eq(one, other),
            (Self::Indefinitely, Self::Indefinitely) | (Self::NoLonger, Self::NoLonger) => true,
            _ => false,
        }
    }
}

impl Eq for Lasts {}

/// The chain's last word on a request.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Let it through as this user.
    Allow(Authenticated),
    /// Turn it away.
    Deny(Denial),
}

/// Why a request is turned away: at least one rejection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Every refusal on the way, in the chain's order.
    pub rejections: Rejections,
}

impl Denial {
    /// A denial for one reason.
    pub fn new(by: Authenticator, reason: Reason) -> Self {
        Self { rejections: SmallVec::from_iter([Rejection { by, reason }]) }
    }

    /// The worst fault of all.
    pub fn fault(&self) -> Fault {
        self.rejections.iter().map(|rejection| rejection.reason.fault()).max().unwrap_or(Fault::Client)
    }

    /// Whether something that we depend on kept us from deciding. Then a retry may give another answer.
    pub fn undecided(&self) -> bool {
        self.rejections.iter().any(|r| r.reason.fault() == Fault::Dependency)
    }
}
