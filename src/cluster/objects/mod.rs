//! Live objects.

mod index;
mod lookup;
mod object;

pub use object::{LookupError, Object, TokenSecret};

/// Stub.
#[derive(Debug)]
pub struct Objects;

impl Objects {
    pub async fn service_account(&self, _namespace: &str, _name: &str) -> Result<Object, LookupError> {
        Err(LookupError::Unavailable)
    }
    pub async fn pod(&self, _namespace: &str, _name: &str) -> Result<Object, LookupError> {
        Err(LookupError::Unavailable)
    }
    pub async fn node(&self, _name: &str) -> Result<Object, LookupError> {
        Err(LookupError::Unavailable)
    }
    pub async fn secret(&self, _namespace: &str, _name: &str) -> Result<Object, LookupError> {
        Err(LookupError::Unavailable)
    }
    pub async fn token_secret(&self, _namespace: &str, _name: &str) -> Result<TokenSecret, LookupError> {
        Err(LookupError::Unavailable)
    }
}
