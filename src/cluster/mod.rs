//! The connection to the API server, and what is known of the cluster through it.

mod objects;

pub use objects::{LookupError, Object, Objects, TokenSecret};
