//! What is asked about the live objects that a token names.

use std::future::Future;

use crate::cluster::{LookupError, Object, Objects, TokenSecret};
use crate::decision::Reason;

/// Finds objects by name. Go: `ServiceAccountTokenGetter` of k8s.io/kubernetes/pkg/serviceaccount/util.go.
///
/// It is asked for names only that a cluster can have.
pub trait ServiceAccountTokenGetter: Send + Sync + 'static {
    /// A service account.
    fn get_service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Object, LookupError>> + Send;

    /// A Pod.
    fn get_pod(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Object, LookupError>> + Send;

    /// A Node.
    fn get_node(&self, name: &str) -> impl Future<Output = Result<Object, LookupError>> + Send;

    /// A Secret, of which nothing but the Object matters. Go: `GetSecret`.
    fn get_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Object, LookupError>> + Send;

    /// A Secret with the token that it holds. Go: `GetSecret`.
    fn get_token_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<TokenSecret, LookupError>> + Send;
}

/// Go: `clientGetter` of k8s.io/kubernetes/pkg/controller/serviceaccount/tokengetter.go.
impl ServiceAccountTokenGetter for Objects {
    async fn get_service_account(&self, namespace: &str, name: &str) -> Result<Object, LookupError> {
        self.service_account(namespace, name).await
    }

    async fn get_pod(&self, namespace: &str, name: &str) -> Result<Object, LookupError> {
        self.pod(namespace, name).await
    }

    async fn get_node(&self, name: &str) -> Result<Object, LookupError> {
        self.node(name).await
    }

    async fn get_secret(&self, namespace: &str, name: &str) -> Result<Object, LookupError> {
        self.secret(namespace, name).await
    }

    async fn get_token_secret(&self, namespace: &str, name: &str) -> Result<TokenSecret, LookupError> {
        self.token_secret(namespace, name).await
    }
}

/// What was found, or why that refuses a token: it is `gone`, or nobody knows.
pub(super) fn found<T>(found: Result<T, LookupError>, gone: Reason) -> Result<T, Reason> {
    found.map_err(|error| match error {
        LookupError::NotFound => gone,
        LookupError::Unavailable => Reason::ClusterUnavailable,
    })
}
