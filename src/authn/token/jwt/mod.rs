//! JSON Web Tokens of OpenID Connect issuers.

pub mod remote_keys;
