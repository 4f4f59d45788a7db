//! Whether somebody may do something, as the API server's authorizers say (SubjectAccessReview of authorization.k8s.io/v1).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, header};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Cluster;
use super::call::Telling;
use crate::metrics::ImpersonationStatistics;

/// For all that is asked at once, waiting for a turn included. As with objects: Envoy is not told to wait longer.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// So many are being answered at once, each with one call to the API server at a time.
const MAX_TURNS: usize = 16;

const PATH: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Who would do it. The names are those of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The user's uid, empty if there is none.
    pub uid: &'a str,
    /// All groups that the request is in.
    pub groups: Vec<&'a str>,
    /// Further facts.
    pub extra: BTreeMap<&'a str, Vec<&'a str>>,
}

/// What would be done, and to what. Go: `ResourceAttributes` of k8s.io/api/authorization/v1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ResourceAttributes<'a> {
    /// Empty for what is in no namespace.
    pub namespace: &'a str,
    /// Such as `get`.
    pub verb: &'a str,
    /// Of the API, empty for the core's.
    pub group: &'a str,
    /// Of the API.
    pub version: &'a str,
    /// By its plural name.
    pub resource: &'a str,
    /// Empty for the resource itself.
    pub subresource: &'a str,
    /// Of the object.
    pub name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    resource_attributes: &'a ResourceAttributes<'a>,
    #[serde(flatten)]
    subject: &'a Subject<'a>,
}

/// Nobody could say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the API server could not be asked")]
pub struct Unavailable;

/// Asks the API server of a cluster. Nothing is remembered.
pub struct AccessReviews {
    cluster: Arc<Cluster>,
    turns: Semaphore,
    telling: Telling,
    statistics: Arc<ImpersonationStatistics>,
}

impl AccessReviews {
    /// Asks this cluster, and counts what is asked in `statistics`.
    pub fn new(cluster: &Arc<Cluster>, statistics: Arc<ImpersonationStatistics>) -> Self {
        let (turns, telling) = (Semaphore::new(MAX_TURNS), Telling::default());
        Self { cluster: Arc::clone(cluster), turns, telling, statistics }
    }

    /// Where it is counted.
    pub fn statistics(&self) -> &ImpersonationStatistics {
        &self.statistics
    }

    /// Whether `subject` may do each of these; nothing more is asked after the first that it may not. The caller is to bound their
    /// number.
    ///
    /// # Errors
    /// One has no answer, or not in time.
    pub async fn all_allowed(
        &self,
        subject: &Subject<'_>,
        accesses: &[ResourceAttributes<'_>],
    ) -> Result<bool, Unavailable> {
        let answer = timeout(MAX_WAIT, async {
            let _turn = self.turns.acquire().await.map_err(|closed| closed.to_string())?;
            for access in accesses {
                let deciding = self.statistics.authorizations.begin();
                if !self.allowed(subject, access).await? {
                    return Ok(false);
                }
                deciding.allowed();
            }
            Ok(true)
        });
        let answer = answer.await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        answer.map_err(|error| {
            if self.telling.is_time() {
                tracing::warn!(
                    error,
                    "cannot ask the cluster what somebody may do; whoever needs that is refused"
                );
            }
            Unavailable
        })
    }

    async fn allowed(&self, subject: &Subject<'_>, access: &ResourceAttributes<'_>) -> Result<bool, String> {
        let spec = Spec { resource_attributes: access, subject };
        let review = Review { api_version: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec };
        let review = serde_json::to_vec(&review).map_err(|error| error.to_string())?;
        let request = Request::post(PATH).header(header::CONTENT_TYPE, "application/json").body(review);
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.cluster.call::<SubjectAccessReview>(request, StatusCode::CREATED).await;
        let status = answer.map_err(|error| error.to_string())?.status;
        // Both at once is no. Go: `Authorize` of k8s.io/apiserver/plugin/pkg/authorizer/webhook.
        Ok(status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}

impl fmt::Debug for AccessReviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessReviews({:?})", self.cluster)
    }
}
