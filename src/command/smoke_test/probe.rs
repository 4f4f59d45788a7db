//! What is asked, and what follows from the answers.

use aws_lc_rs::rand::{SystemRandom, generate};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::client::{Answer, Client};

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    NoCredential,
    BadToken,
    Forged(Forgery),
    GoodToken,
    GoodTokenForged(Forgery),
}

/// Headers that only the filter may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgery {
    Identity,
    /// As careless servers read them; Envoy may refuse all names with underscores.
    Underscores,
    Impersonation,
}

const FORGERIES: [Forgery; 3] = [Forgery::Identity, Forgery::Underscores, Forgery::Impersonation];

impl Forgery {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Identity => &[
                "x-remote-user",
                "x-remote-uid",
                "x-remote-group",
                "x-remote-group-1",
                "x-remote-extra-smoke-test",
            ],
            Self::Underscores => &["x_remote_user", "x-remote_user", "x_remote_group"],
            Self::Impersonation => &["impersonate-user", "impersonate-group", "impersonate-extra-smoke-test"],
        }
    }
}

impl Kind {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::BadToken => "bad_token",
            Self::Forged(Forgery::Identity) => "forged_identity",
            Self::Forged(Forgery::Underscores) => "forged_identity_underscores",
            Self::Forged(Forgery::Impersonation) => "forged_impersonation",
            Self::GoodToken => "good_token",
            Self::GoodTokenForged(Forgery::Identity) => "good_token_forged_identity",
            Self::GoodTokenForged(Forgery::Underscores) => "good_token_forged_identity_underscores",
            Self::GoodTokenForged(Forgery::Impersonation) => "good_token_forged_impersonation",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NoCredential => "no credential",
            Self::BadToken => "a token that nobody knows",
            Self::Forged(Forgery::Identity) => "forged X-Remote-*",
            Self::Forged(Forgery::Underscores) => "forged X_Remote_*",
            Self::Forged(Forgery::Impersonation) => "forged Impersonate-*",
            Self::GoodToken => "the good token",
            Self::GoodTokenForged(Forgery::Identity) => "the good token, X-Remote-*",
            Self::GoodTokenForged(Forgery::Underscores) => "the good token, X_Remote_*",
            Self::GoodTokenForged(Forgery::Impersonation) => "the good token, Impersonate-*",
        }
    }
}

/// A question and its answer.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) kind: Kind,
    pub(super) status: u16,
    /// In words.
    pub(super) answer: String,
    seen: Seen,
    /// Whether this proxy has forwarded the request.
    forwarded: bool,
    /// The forged headers that came back in the answer.
    came_back: Vec<&'static str>,
}

/// What an answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// countersign's 401, with its challenge.
    Refused,
    /// Its 503 (`--undecided-status`).
    Undecided,
    /// A 401 of Kubernetes, which countersign writes too where no token and no password is taken.
    Status,
    /// Somebody else's 401.
    Unauthorized,
    Forbidden,
    Redirect,
    Success,
    Other,
}

/// What can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    On,
    Off,
    CannotTell,
}

impl Verdict {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::CannotTell => "cannot_tell",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conclusion {
    pub(super) verdict: Verdict,
    pub(super) words: String,
}

#[derive(Debug)]
pub(super) struct Report {
    pub(super) probes: Vec<Probe>,
    pub(super) conclusions: Vec<Conclusion>,
}

impl Report {
    /// The worst of all.
    pub(super) fn verdict(&self) -> Verdict {
        let has = |verdict| self.conclusions.iter().any(|conclusion| conclusion.verdict == verdict);
        match (has(Verdict::Off), has(Verdict::CannotTell)) {
            (true, _) => Verdict::Off,
            (false, true) => Verdict::CannotTell,
            (false, false) => Verdict::On,
        }
    }
}

/// Asks all questions, one after the other.
pub(super) async fn all(client: &Client, token: Option<&str>) -> Result<Report, String> {
    let good = FORGERIES.map(Kind::GoodTokenForged);
    let good = [Kind::GoodToken].into_iter().chain(good).filter(|_| token.is_some());
    let kinds =
        [Kind::NoCredential, Kind::BadToken].into_iter().chain(FORGERIES.map(Kind::Forged)).chain(good);
    let mut probes = Vec::new();
    for kind in kinds {
        let authorization = match kind {
            Kind::NoCredential | Kind::Forged(_) => None,
            Kind::BadToken => Some(format!("Bearer countersign-smoke-test-{}", random()?)),
            Kind::GoodToken | Kind::GoodTokenForged(_) => token.map(|token| format!("Bearer {token}")),
        };
        let forged = match kind {
            Kind::Forged(forgery) | Kind::GoodTokenForged(forgery) => forgery.names(),
            _ => &[],
        };
        let mut marks = Vec::new();
        for name in forged {
            marks.push((*name, format!("smoke-test-{}", random()?)));
        }
        let answer = client.get(authorization.as_deref(), &marks).await;
        let answer = answer.map_err(|error| format!("{}: {error}", kind.words()))?;
        probes.push(probe(kind, &answer, &marks));
    }
    let conclusions = conclusions(&probes);
    Ok(Report { probes, conclusions })
}

fn random() -> Result<String, String> {
    let random = generate::<[u8; 16]>(&SystemRandom::new()).map_err(|_| "no random numbers")?;
    Ok(random.expose().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn probe(kind: Kind, answer: &Answer, marks: &[(&'static str, String)]) -> Probe {
    let Answer { status, headers, body } = answer;
    let forwarded = headers.contains_key(UPSTREAM_TIME);
    let seen = seen(*status, headers, body);
    let has = |bytes: &[u8], mark: &str| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
    let is_back = |mark: &str| has(body, mark) || headers.values().any(|value| has(value.as_bytes(), mark));
    let came_back: Vec<_> = marks.iter().filter(|(_, mark)| is_back(mark)).map(|(name, _)| *name).collect();
    let whose = match seen {
        Seen::Refused => ", in countersign's words",
        Seen::Undecided => ", in countersign's words: it is undecided",
        Seen::Status => ", a Kubernetes Status, but without countersign's challenge",
        _ if forwarded => ", from the upstream",
        _ => "",
    };
    let back = match &*came_back {
        [] => String::new(),
        names => format!(", and shows that the upstream saw {}", names.join(", ")),
    };
    Probe {
        kind,
        status: status.as_u16(),
        answer: format!("{status}{whose}{back}"),
        seen,
        forwarded,
        came_back,
    }
}

fn seen(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Seen {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_status = body["kind"] == "Status" && body["apiVersion"] == "v1" && body["code"] == status.as_u16();
    let mut challenges = headers.get_all(http::header::WWW_AUTHENTICATE).iter();
    let is_ours = challenges.any(|value| value.to_str().is_ok_and(|text| text.contains(REALM)));
    match status {
        StatusCode::UNAUTHORIZED if is_status && is_ours => Seen::Refused,
        StatusCode::UNAUTHORIZED if is_status => Seen::Status,
        StatusCode::UNAUTHORIZED => Seen::Unauthorized,
        StatusCode::SERVICE_UNAVAILABLE if is_status && body["message"] == UNDECIDED => Seen::Undecided,
        StatusCode::FORBIDDEN => Seen::Forbidden,
        status if status.is_success() => Seen::Success,
        status if status.is_redirection() => Seen::Redirect,
        _ => Seen::Other,
    }
}

fn conclusions(probes: &[Probe]) -> Vec<Conclusion> {
    let find = |kind| probes.iter().find(|probe| probe.kind == kind);
    let mut conclusions = Vec::new();
    let mut conclude = |verdict, words: String| conclusions.push(Conclusion { verdict, words });
    let Some(bad) = find(Kind::BadToken) else { return conclusions };
    let (verdict, words) = about_bad_token(bad);
    conclude(verdict, words);
    if let Some(probe) = find(Kind::NoCredential).filter(|_| verdict == Verdict::On) {
        conclude(Verdict::On, about_no_credential(probe));
    }
    if let Some(probe) = find(Kind::GoodToken) {
        match probe.seen {
            Seen::Refused | Seen::Undecided | Seen::Status | Seen::Unauthorized => conclude(
                Verdict::CannotTell,
                "the token that should be good is refused; `countersign explain --token-file` says why"
                    .to_owned(),
            ),
            _ => conclude(Verdict::On, format!("the good token is not refused ({})", probe.status)),
        }
    }
    for probe in probes.iter().filter(|probe| !probe.came_back.is_empty()) {
        conclude(
            Verdict::Off,
            format!(
                "with {} the upstream saw the client's own {}, and answered with it; if it believes that, anybody can be anybody",
                probe.kind.words(),
                probe.came_back.join(", ")
            ),
        );
    }
    conclusions
}

/// This is what tells: an upstream may have pages for everybody, but the filter lets no such token through, ever.
fn about_bad_token(probe: &Probe) -> (Verdict, String) {
    let Probe { status, forwarded, .. } = probe;
    match probe.seen {
        Seen::Refused if *forwarded => (
            Verdict::On,
            "the filter is on, but behind this proxy: it forwarded a token that nobody knows, and the next one refused it in \
             countersign's words"
                .to_owned(),
        ),
        Seen::Refused => {
            (Verdict::On, "the filter is on: a token that nobody knows is refused in countersign's words".to_owned())
        }
        Seen::Undecided => (
            Verdict::On,
            "the filter is on, but something that countersign depends on is away: it cannot decide about a token".to_owned(),
        ),
        Seen::Success => {
            (Verdict::Off, format!("the filter is OFF: a token that nobody knows was answered {status}"))
        }
        Seen::Status => (
            Verdict::CannotTell,
            "401 with a Kubernetes Status, but without countersign's challenge: a countersign that takes neither tokens nor \
             passwords, or a kube-apiserver"
                .to_owned(),
        ),
        _ if *forwarded => (
            Verdict::Off,
            format!("the filter is OFF: a token that nobody knows reached the upstream, which answered {status} itself"),
        ),
        Seen::Unauthorized => (
            Verdict::CannotTell,
            "401, but not in countersign's words: the application itself, or another filter, refuses the token".to_owned(),
        ),
        Seen::Forbidden => (
            Verdict::CannotTell,
            "403: Envoy says so where it cannot reach countersign (status_on_error), and so may the application or another filter"
                .to_owned(),
        ),
        Seen::Redirect => {
            (Verdict::CannotTell, format!("{status}, a redirect: test the URL that it leads to"))
        }
        Seen::Other => (
            Verdict::CannotTell,
            format!("{status}: it may be Envoy's own, for a route that does not exist, an upstream that is away or a countersign that it cannot reach"),
        ),
    }
}

fn about_no_credential(probe: &Probe) -> String {
    let Probe { status, forwarded, .. } = probe;
    match probe.seen {
        Seen::Refused | Seen::Undecided => "requests without a credential are refused".to_owned(),
        Seen::Success => format!(
            "anonymous requests are let through ({status}), which is for the upstream to decide about; --anonymous-auth=false refuses them"
        ),
        _ if *forwarded => format!(
            "anonymous requests are let through, and the upstream answers {status}; --anonymous-auth=false refuses them"
        ),
        _ => format!("without a credential the answer is {status}, which need not be countersign's"),
    }
}

/// What Envoy adds to an answer of the upstream, unless it is told not to.
const UPSTREAM_TIME: &str = "x-envoy-upstream-service-time";

/// As [`crate::envoy::encode`] writes it.
const REALM: &str = "realm=\"countersign\"";

/// Likewise.
const UNDECIDED: &str = "authentication is unavailable";

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// The report on these answers to the first two questions: without a credential, and with a token that nobody knows.
    pub(in super::super) fn report(no_credential: &Answer, bad_token: &Answer) -> Report {
        let probes =
            vec![probe(Kind::NoCredential, no_credential, &[]), probe(Kind::BadToken, bad_token, &[])];
        let conclusions = conclusions(&probes);
        Report { probes, conclusions }
    }

    /// The same, and an answer to forged headers, of which the first is marked so.
    pub(in super::super) fn forged(bad_token: &Answer, answer: &Answer, mark: &str) -> Report {
        let marks = [(Forgery::Identity.names()[0], mark.to_owned())];
        let probes = vec![
            probe(Kind::BadToken, bad_token, &[]),
            probe(Kind::Forged(Forgery::Identity), answer, &marks),
        ];
        let conclusions = conclusions(&probes);
        Report { probes, conclusions }
    }
}
