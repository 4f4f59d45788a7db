use std::sync::Arc;
use std::time::Duration;

use strum::VariantArray;

use super::*;
use crate::decision::{Authenticated, Authenticator, Decision, Denial, Reason};
use crate::identity::Identity;

fn allowed(username: &str, by: Authenticator) -> Decision {
    let identity = Identity { username: username.into(), ..Identity::anonymous() };
    Decision::Allow(Authenticated::new(Arc::new(identity), by))
}

fn denied(by: Authenticator, reason: Reason) -> Decision {
    Decision::Deny(Denial::new(by, reason))
}

/// The lines of a page that begin with one of `names` and say something else than zero.
fn seen(metrics: &Metrics, names: &[&str]) -> Vec<String> {
    let page = metrics.render(&Measured::default());
    let lines =
        page.lines().filter(|line| names.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0"));
    lines.map(str::to_owned).collect()
}

/// Go: TestMetrics of k8s.io/apiserver/pkg/endpoints/filters/metrics_test.go, as far as an authenticator's answers go. The other cases are
/// about audiences, which a chain has decided about.
#[test]
fn a_check_is_an_attempt_as_kube_apiserver_counts_them() {
    let table = [
        (
            allowed("admin", Authenticator::X509),
            vec![
                "authentication_attempts{result=\"success\"} 1",
                "authenticated_user_requests{username=\"admin\"} 1",
            ],
        ),
        (
            denied(Authenticator::Bearer, Reason::InvalidBearerToken),
            vec!["authentication_attempts{result=\"error\"} 1"],
        ),
        (
            denied(Authenticator::Chain, Reason::NoCredentials),
            vec!["authentication_attempts{result=\"failure\"} 1"],
        ),
        (denied(Authenticator::Chain, Reason::Panicked), vec!["authentication_attempts{result=\"error\"} 1"]),
    ];
    for (decision, expected) in table {
        let metrics = Metrics::default();
        metrics.checks.begin().end(&decision);
        assert_eq!(
            seen(&metrics, &["authentication_attempts{", "authenticated_user_requests{"]),
            expected,
            "{decision:?}"
        );
    }
}

/// Go: `compressUsername`.
#[test]
fn no_user_is_named_that_kubernetes_does_not_name() {
    let metrics = Metrics::default();
    let names = [
        "admin",
        "client",
        "kube_proxy",
        "kubelet",
        "system:serviceaccount:kube-system:default",
        "alice@example.com",
        "admin@",
        "alice",
        "",
        "system:anonymous",
        "Admin",
    ];
    for name in names {
        metrics.checks.begin().end(&allowed(name, Authenticator::TokenFile));
    }
    let expected = [
        "authenticated_user_requests{username=\"admin\"} 1",
        "authenticated_user_requests{username=\"client\"} 1",
        "authenticated_user_requests{username=\"kube_proxy\"} 1",
        "authenticated_user_requests{username=\"kubelet\"} 1",
        "authenticated_user_requests{username=\"system:serviceaccount:kube-system:default\"} 1",
        "authenticated_user_requests{username=\"email_id\"} 2",
        "authenticated_user_requests{username=\"other\"} 4",
    ];
    assert_eq!(seen(&metrics, &["authenticated_user_requests{"]), expected);
    assert_eq!(
        seen(&metrics, &["countersign_checks_allowed_total{"]),
        ["countersign_checks_allowed_total{authenticator=\"tokenfile\"} 11"]
    );
}

#[test]
fn every_reason_of_every_authenticator_has_a_line_of_its_own() {
    let metrics = Metrics::default();
    let mut expected = Vec::new();
    for by in Authenticator::VARIANTS {
        for (more, reason) in Reason::VARIANTS.iter().enumerate() {
            for _ in 0..=more {
                metrics.checks.begin().end(&denied(*by, *reason));
            }
            let labels = format!("authenticator=\"{}\",reason=\"{}\"", by.label(), reason.code());
            expected.push(format!("countersign_rejections_total{{{labels}}} {}", more + 1));
        }
    }
    assert_eq!(seen(&metrics, &["countersign_rejections_total{"]), expected);
    let codes: std::collections::BTreeSet<_> = Reason::VARIANTS.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes.len(), Reason::VARIANTS.len(), "no two reasons have one code");
}

#[test]
fn a_denied_check_counts_once_by_its_worst_fault_and_with_all_its_refusals() {
    let metrics = Metrics::default();
    let mut denial = Denial::new(Authenticator::X509, Reason::CertificateExpired);
    let more = [
        Denial::new(Authenticator::Webhook, Reason::TokenReviewUnavailable),
        Denial::new(Authenticator::WebSocket, Reason::MalformedWebSocketToken),
    ];
    denial.rejections.extend(more.into_iter().flat_map(|denial| denial.rejections));
    metrics.checks.begin().end(&Decision::Deny(denial));
    assert_eq!(
        seen(&metrics, &["countersign_checks_denied_total{", "countersign_rejections_total{"]),
        [
            "countersign_checks_denied_total{fault=\"dependency\"} 1",
            "countersign_rejections_total{authenticator=\"x509\",reason=\"certificate_expired\"} 1",
            "countersign_rejections_total{authenticator=\"websocket\",reason=\"malformed_websocket_token\"} 1",
            "countersign_rejections_total{authenticator=\"webhook\",reason=\"token_review_unavailable\"} 1",
        ]
    );
}

#[test]
fn what_is_in_flight_ends_or_is_abandoned() {
    let metrics = Metrics::default();
    let names = ["countersign_checks_in_flight ", "countersign_checks_abandoned_total "];
    let first = metrics.checks.begin();
    let second = metrics.checks.begin();
    assert_eq!(seen(&metrics, &names), ["countersign_checks_in_flight 2"]);
    drop(first);
    assert_eq!(
        seen(&metrics, &names),
        ["countersign_checks_in_flight 1", "countersign_checks_abandoned_total 1"]
    );
    second.end(&allowed("alice", Authenticator::Jwt));
    assert_eq!(seen(&metrics, &names), ["countersign_checks_abandoned_total 1"]);
    assert_eq!(
        seen(&metrics, &["authentication_attempts"]),
        ["authentication_attempts{result=\"success\"} 1"]
    );
}

/// Two histograms are made of one: Kubernetes' buckets, and finer ones.
#[test]
fn what_is_below_a_bound_is_in_its_bucket_and_all_that_follow() {
    let histogram = Histogram::sharded(&[0.5, 1.0, 2.0]);
    for value in [0.1, 0.5, 0.6, 2.0, 3.0, -1.0] {
        histogram.observe(value);
    }
    let written = |snapshot: histogram::Snapshot| {
        let mut page = Page::default();
        snapshot.write(&mut page, "h", &[("a", "b")]);
        page.finish()
    };
    let rest = "h_bucket{a=\"b\",le=\"1\"} 4\nh_bucket{a=\"b\",le=\"2\"} 5\nh_bucket{a=\"b\",le=\"+Inf\"} 6\nh_sum{a=\"b\"} 5.2\n\
                h_count{a=\"b\"} 6\n";
    assert_eq!(written(histogram.snapshot()), format!("h_bucket{{a=\"b\",le=\"0.5\"}} 3\n{rest}"));
    assert_eq!(written(histogram.snapshot().without_first(1)), rest);
}

/// Go: `statsCollector` of token/cache/stats.go.
#[test]
fn a_token_is_a_hit_or_a_miss_and_a_fetch_ends_one_way_or_another() {
    struct Cache;
    impl Remembers for Cache {
        fn remembered(&self) -> (usize, usize) {
            (3, 2)
        }
    }
    let metrics = Metrics::default();
    let statistics = &metrics.token_cache;
    let names = ["authentication_token_cache_request_total", "authentication_token_cache_fetch_total"];
    let more = ["authentication_token_cache_active_fetch_count", "countersign_token_cache_entries"];
    let names = [names, more].concat();
    let cache: Arc<dyn Remembers> = Arc::new(Cache);
    statistics.watch(Arc::downgrade(&cache));
    statistics.hit();
    let waiting = [statistics.miss(), statistics.miss()];
    let fetch = statistics.fetch();
    let during = [
        "authentication_token_cache_active_fetch_count{status=\"blocked\"} 2",
        "authentication_token_cache_active_fetch_count{status=\"in_flight\"} 1",
        "authentication_token_cache_request_total{status=\"hit\"} 1",
        "countersign_token_cache_entries{kind=\"bad\"} 2",
        "countersign_token_cache_entries{kind=\"good\"} 3",
    ];
    assert_eq!(seen(&metrics, &names), during);
    fetch.end(true);
    statistics.fetch().end(false);
    drop((statistics.fetch(), waiting, cache));
    let after = [
        "authentication_token_cache_fetch_total{status=\"error\"} 1",
        "authentication_token_cache_fetch_total{status=\"ok\"} 1",
        "authentication_token_cache_request_total{status=\"hit\"} 1",
        "authentication_token_cache_request_total{status=\"miss\"} 2",
    ];
    assert_eq!(seen(&metrics, &names), after);
}

/// Go: the file watcher of `BuiltInAuthenticationOptions.ApplyTo` (k8s.io/kubernetes/pkg/kubeapiserver/options/authentication.go): a change
/// that is bad counts once, and what is as it was does not count.
#[test]
fn changes_of_the_authentication_configuration_count_once_each() {
    let reloads = Reloads::default();
    let counts = || {
        let mut page = Page::default();
        reloads.write(&mut page, "h");
        let name = "apiserver_authentication_config_controller_";
        let page = page.finish();
        let lines = page.lines().filter_map(|line| line.strip_prefix(name));
        let lines = lines.filter(|line| !line.contains("_timestamp_"));
        lines.map(|line| line.replace("apiserver_id_hash=\"h\",", "")).collect::<Vec<_>>()
    };
    let expected = |failures: u64, successes: u64, hash: &str| {
        vec![
            format!("automatic_reloads_total{{status=\"failure\"}} {failures}"),
            format!("automatic_reloads_total{{status=\"success\"}} {successes}"),
            format!("last_config_info{{hash=\"{hash}\"}} 1"),
        ]
    };
    let load = |result, hash: &str| reloads.reloaded(result, Some(hash.to_owned()));
    assert_eq!(counts(), [""; 0], "not there without such a file");
    reloads.started(Some("1".to_owned()));
    assert_eq!(counts(), expected(0, 0, "1"));
    load(ReloadResult::Success, "1");
    load(ReloadResult::Error, "1");
    assert_eq!(counts(), expected(0, 0, "1"), "another file has changed");
    load(ReloadResult::Error, "2");
    load(ReloadResult::Error, "2");
    assert_eq!(counts(), expected(1, 0, "1"));
    load(ReloadResult::Success, "2");
    assert_eq!(counts(), expected(1, 1, "2"), "what was wrong was in another file");
    load(ReloadResult::Partly, "3");
    assert_eq!(counts(), expected(2, 1, "2"));
    load(ReloadResult::Success, "3");
    assert_eq!(counts(), expected(2, 2, "3"));
    load(ReloadResult::Error, "");
    assert_eq!(counts(), expected(3, 2, "3"), "the file cannot be read");
    assert_eq!((reloads.generation(), reloads.is_last_good()), (5, false));
}

#[test]
fn an_issuer_is_there_from_its_first_token_until_nobody_uses_it() {
    let metrics = Metrics::default();
    let names = ["apiserver_authentication_jwt_authenticator_latency_seconds_count"];
    let verification = metrics.verifications.of("https://a.test");
    assert_eq!(seen(&metrics, &names), [""; 0]);
    verification.observe(true, Duration::from_millis(3));
    metrics.verifications.of("https://a.test").observe(true, Duration::from_millis(4));
    let hash = "sha256:93fb074e7b13b63568afcc41e2ed3c4bf3c8213528da1b0834baa3f2dce00389";
    let line = |result: &str| format!("{}{{jwt_issuer_hash=\"{hash}\",result=\"{result}\"}} 2", names[0]);
    assert_eq!(seen(&metrics, &names), [line("success")]);
    drop(verification);
    let _other = metrics.verifications.of("https://b.test");
    assert_eq!(seen(&metrics, &names), [""; 0]);
}

/// The page is made when it is asked for; until then, nothing is.
#[test]
fn an_allowed_check_allocates_nothing_to_be_counted() {
    let metrics = Metrics::default();
    let decision = allowed("alice", Authenticator::TokenFile);
    let count = || {
        metrics.checks.begin().end(&decision);
        metrics.token_cache.hit();
        metrics.certificate_expiration.observe_seconds(-5);
    };
    count();
    assert_eq!(allocation_counter::measure(count).count_total, 0);
}
