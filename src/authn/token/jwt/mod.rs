//! JWT bearer tokens of OpenID Connect issuers (Go: k8s.io/apiserver/plugin/pkg/authenticator/token/oidc).

pub mod settings;
