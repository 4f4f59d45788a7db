//! The objects that service account tokens name: accounts, Pods, Nodes and Secrets (Go: `clientGetter` of
//! k8s.io/kubernetes/pkg/controller/serviceaccount/tokengetter.go).
//!
//! Accounts, Pods and Nodes are watched, their metadata only, and kept in an index. What the index does not have is asked of the API
//! server, as in Go, since a token may come before the news of its Pod, and before the first list is there at all.
//! Secrets are never listed nor watched: what is asked for is one at a time, by name, and remembered for a second, of a Secret with a
//! token the token's keyed digest. So `get` on secrets is all that is needed, and only where such tokens are to count.
//!
//! Where the API server is away, what is in the index goes on counting, as with kube-apiserver's own caches, and nobody knows the rest.

mod index;
mod lookup;
mod object;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::api::GetParams;
use kube::core::{PartialObjectMeta, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::call::{CallError, Telling};
use super::{Cluster, Index, Watch, lock};
use crate::secret::Digester;

use index::ObjectIndex;
use lookup::{Lookups, MAX_QUESTIONS};

pub use object::{LookupError, Object, TokenSecret};

/// Go: `InvalidSinceLabelKey` of k8s.io/kubernetes/pkg/serviceaccount/legacy.go.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// The live objects of a cluster.
pub struct Objects {
    service_accounts: Arc<Watch<ObjectIndex<ServiceAccount>>>,
    pods: Arc<Watch<ObjectIndex<Pod>>>,
    nodes: Arc<Watch<ObjectIndex<Node>>>,
    questions: Lookups<Path, Object>,
    secrets: Lookups<Path, TokenSecret>,
    live: Arc<Live>,
}

/// The path of an object, which no other has.
type Path = Box<str>;

/// The API server, asked about one object.
struct Live {
    cluster: Arc<Cluster>,
    digester: Arc<Digester>,
    telling: Telling,
}

/// What is watched, of which the metadata matter.
trait Kind:
    k8s_openapi::Resource + Resource<DynamicType = ()> + Clone + fmt::Debug + Send + Sync + 'static
{
}
impl Kind for ServiceAccount {}
impl Kind for Pod {}
impl Kind for Node {}
impl Kind for Secret {}

impl Objects {
    /// The objects of this cluster. Nothing is asked before [`Cluster::start`], or for an object.
    pub fn new(cluster: &Arc<Cluster>) -> Self {
        let turns = Arc::new(Semaphore::new(MAX_QUESTIONS));
        Self {
            service_accounts: cluster.watch(),
            pods: cluster.watch(),
            nodes: cluster.watch(),
            questions: Lookups::new(&turns),
            secrets: Lookups::new(&turns),
            live: Arc::new(Live {
                cluster: Arc::clone(cluster),
                digester: Arc::new(Digester::random()),
                telling: Telling::default(),
            }),
        }
    }

    /// A service account. The names, here and below, have to be ones that an object can have: they become part of a path.
    ///
    /// # Errors
    /// There is none, or nobody knows.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<Object, LookupError> {
        self.watched(&self.service_accounts, namespace, name).await
    }

    /// A Pod.
    ///
    /// # Errors
    /// There is none, or nobody knows.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Object, LookupError> {
        self.watched(&self.pods, namespace, name).await
    }

    /// A Node.
    ///
    /// # Errors
    /// There is none, or nobody knows.
    pub async fn node(&self, name: &str) -> Result<Object, LookupError> {
        self.watched(&self.nodes, "", name).await
    }

    /// A Secret, of which the API server sends the metadata only.
    ///
    /// # Errors
    /// There is none, or nobody knows.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Object, LookupError> {
        self.metadata::<Secret>(namespace, name).await
    }

    /// A Secret with the token that it holds.
    ///
    /// # Errors
    /// There is none, or nobody knows.
    pub async fn token_secret(&self, namespace: &str, name: &str) -> Result<TokenSecret, LookupError> {
        let path = path::<Secret>(namespace);
        let request = Request::new(&*path).get(name, &GetParams::default());
        let live = Arc::clone(&self.live);
        let ask = || async move {
            let SecretWithToken { metadata, data } = live.ask(request).await?;
            let invalid = metadata.labels.as_ref().and_then(|labels| labels.get(INVALID_SINCE));
            let invalid = invalid.is_some_and(|since| !since.is_empty());
            let token = data.and_then(|data| data.token);
            let token = token.as_ref().map(|ByteString(token)| &**token);
            Ok(TokenSecret::new(Object::of(&metadata), invalid, token, &live.digester))
        };
        self.secrets.get(format!("{path}/{name}").into(), ask).await
    }

    /// What the index has, or else the API server.
    async fn watched<K: Kind>(
        &self,
        watch: &Watch<ObjectIndex<K>>,
        namespace: &str,
        name: &str,
    ) -> Result<Object, LookupError> {
        match watch.read(|index| index.get(namespace, name)).flatten() {
            Some(object) => Ok(object),
            None => self.metadata::<K>(namespace, name).await,
        }
    }

    async fn metadata<K: Kind>(&self, namespace: &str, name: &str) -> Result<Object, LookupError> {
        let path = path::<K>(namespace);
        let request = Request::new(&*path).get_metadata(name, &GetParams::default());
        let live = Arc::clone(&self.live);
        let ask = || async move {
            let object: PartialObjectMeta<K> = live.ask(request).await?;
            Ok(Object::of(&object.metadata))
        };
        self.questions.get(format!("{path}/{name}").into(), ask).await
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({:?})", self.live.cluster)
    }
}

impl Live {
    /// One object.
    async fn ask<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, LookupError> {
        let Ok(request) = request else { return Err(LookupError::NotFound) };
        let path = request.uri().path().to_owned();
        match self.cluster.call(request, StatusCode::OK).await {
            Ok(object) => Ok(object),
            Err(CallError::Status(StatusCode::NOT_FOUND)) => Err(LookupError::NotFound),
            Err(error) => {
                if self.telling.is_time() {
                    tracing::warn!(
                        path,
                        %error,
                        "cannot ask the cluster for an object; tokens that name it are refused"
                    );
                }
                Err(LookupError::Unavailable)
            }
        }
    }
}

/// Of a Secret, what has to do with its token.
#[derive(Deserialize)]
struct SecretWithToken {
    metadata: ObjectMeta,
    data: Option<TokenData>,
}

/// Go: `ServiceAccountTokenKey`.
#[derive(Deserialize)]
struct TokenData {
    token: Option<ByteString>,
}

/// Where the objects of a kind are, in a namespace if there is one.
fn path<K: Kind>(namespace: &str) -> String {
    K::url_path(&(), Some(namespace).filter(|namespace| !namespace.is_empty()))
}

impl Object {
    fn of(metadata: &ObjectMeta) -> Self {
        let deletion = metadata.deletion_timestamp.as_ref().map(|Time(time)| time.as_second());
        Self::new(metadata.uid.as_deref().unwrap_or_default(), deletion)
    }
}
