//! Questions what somebody may do, to API servers of every kind.

use futures_util::future::join_all;

use super::*;

fn subject() -> Subject<'static> {
    Subject { user: "alice", uid: "", groups: vec!["dev"], extra: BTreeMap::new() }
}

fn accesses(count: usize) -> Vec<ResourceAttributes<'static>> {
    vec![
        ResourceAttributes {
            verb: "impersonate",
            resource: "users",
            name: "bob",
            ..ResourceAttributes::default()
        };
        count
    ]
}

fn review(status: Json) -> Says {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {}, "status": status});
    Says::At(201, review.to_string())
}

async fn ask(says: impl IntoIterator<Item = Says>, questions: usize) -> (Result<bool, Unavailable>, usize) {
    let server = ApiServer::that(says);
    let reviews = AccessReviews::new(&server.cluster(&clusters(), "https://a.test"), Arc::default());
    let answer = reviews.all_allowed(&subject(), &accesses(questions)).await;
    let asked = server.asked();
    assert!(
        asked.iter().all(|path| path.ends_with("/apis/authorization.k8s.io/v1/subjectaccessreviews")),
        "{asked:?}"
    );
    (answer, asked.len())
}

#[tokio::test(start_paused = true)]
async fn all_has_to_be_allowed_and_nothing_is_asked_after_the_first_no() {
    let yes = || review(json!({"allowed": true}));
    let no = || {
        review(
            json!({"allowed": false, "reason": "RBAC: role not found", "evaluationError": "role not found"}),
        )
    };
    assert_eq!(ask([yes(), yes(), yes()], 3).await, (Ok(true), 3));
    assert_eq!(ask([yes(), no(), yes()], 3).await, (Ok(false), 2));
    assert_eq!(ask([no()], 3).await, (Ok(false), 1));
    // As RBAC says it where one of several roles is missing.
    assert_eq!(
        ask([review(json!({"allowed": true, "evaluationError": "role not found"}))], 1).await,
        (Ok(true), 1)
    );
    assert_eq!(ask([review(json!({"allowed": true, "denied": true}))], 1).await, (Ok(false), 1));
    assert_eq!(ask([review(Json::Null)], 1).await, (Ok(false), 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_is_no_answer() {
    let forbidden = status(403, "Forbidden", "subjectaccessreviews is forbidden");
    let other = json!({"apiVersion": "v1", "kind": "Status", "status": {"allowed": true}}).to_string();
    let unsaid = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {}, "status": {}});
    let of_no_type = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {}, "status": {"allowed": "true"}});
    for says in [
        Says::At(403, forbidden),
        Says::At(500, String::new()),
        Says::At(200, json!({"status": {"allowed": true}}).to_string()),
        Says::At(201, other),
        Says::At(201, of_no_type.to_string()),
        Says::At(201, "hunter2".to_owned()),
        Says::At(201, " ".repeat(5 << 20)),
    ] {
        assert_eq!(ask([says], 2).await, (Err(Unavailable), 1));
    }
    // Whoever does not say yes says no.
    assert_eq!(ask([Says::At(201, unsaid.to_string())], 2).await, (Ok(false), 1));
}

#[tokio::test(start_paused = true)]
async fn few_ask_at_once_and_nobody_waits_long() {
    let server = ApiServer::default();
    let reviews = AccessReviews::new(&server.cluster(&clusters(), "https://a.test"), Arc::default());
    let (subject, questions, began) = (subject(), accesses(2), Instant::now());
    let answers = join_all((0..100).map(|_| reviews.all_allowed(&subject, &questions))).await;
    assert_eq!(answers, [Err(Unavailable); 100]);
    assert_eq!((server.asked().len(), began.elapsed().as_secs()), (16, 2));
    // All turns are free again.
    (0..2).for_each(|_| server.says(review(json!({"allowed": true}))));
    assert_eq!(reviews.all_allowed(&subject, &questions).await, Ok(true));
}
