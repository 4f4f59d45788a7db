//! Tokens that no known key fits.

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;

/// Kubernetes (github.com/kubernetes/kubernetes, 139769) refuses such a key until the old ones expire.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_used_as_soon_as_it_is_published_is_found() {
    let body = Cell::new("keys: a");
    let site = Site::with_keys({
        let body = body.clone();
        move || says(&[("cache-control", "max-age=86400")], body.get())
    });
    let keys = site.keys();
    let old = ready(&keys).await;
    sleep(MIN_INTERVAL).await;
    body.set("keys: b");
    let newer = keys.newer(&old).await.unwrap();
    assert_eq!((site.fetches().len(), Some(Kids(newer.0.clone()))), (2, kids("b")));
    // Who still holds the old ones is given the new, without another fetch.
    assert_eq!(keys.newer(&old).now_or_never().unwrap().unwrap().0, newer.0);
    assert_eq!(site.fetches().len(), 2);
}

/// So that a token that fits none of them is known to be bad, rather than tried again.
#[tokio::test(start_paused = true)]
async fn keys_that_have_not_changed_are_not_new() {
    let headers = Cell::new("max-age=60");
    let site = Site::with_keys({
        let headers = headers.clone();
        move || says(&[("cache-control", headers.get())], "keys: a")
    });
    let keys = site.keys();
    let tried = ready(&keys).await;
    headers.set("max-age=3600");
    sleep(seconds(60)).await;
    assert_eq!(site.fetches().len(), 2);
    assert_eq!(keys.newer(&tried).await, Err(NoNewerKeys::Unknown));
    sleep(MIN_INTERVAL).await;
    assert_eq!(keys.newer(&tried).await, Err(NoNewerKeys::Unknown));
    assert!(site.fetches().len() > 2);
    assert!(Arc::ptr_eq(&tried, &keys.current().unwrap()));
}

/// Threats S25 (github.com/coreos/go-oidc, 482): unbounded refetching, whatever comes of the fetch.
#[tokio::test(start_paused = true)]
async fn ten_thousand_random_kids_cost_one_fetch_an_interval() {
    let answers = [
        (says(&[], "keys: a"), NoNewerKeys::Unknown),
        (says(&[("cache-control", "no-store")], "keys: a"), NoNewerKeys::Unknown),
        (says(&[], "keys:"), NoNewerKeys::Unknown),
        (fails(Error::Status(500)), NoNewerKeys::Unavailable),
        (says(&[], "<html>"), NoNewerKeys::Unavailable),
    ];
    for (answer, refusal) in answers {
        let said = Cell::new(says(&[("cache-control", "max-age=100000")], "keys: a"));
        let site = Site::with_keys({
            let said = said.clone();
            move || said.get()
        });
        let keys = site.keys();
        ready(&keys).await;
        said.set(answer);
        let begun = site.fetches().len();
        for round in 1..=10 {
            sleep(MIN_INTERVAL).await;
            let before = site.fetches().len();
            // A timer may have been there first; a random kid then has to wait for the next interval.
            let asked = join_all((0..5_000).map(|_| async {
                let tried = keys.current().unwrap();
                keys.newer(&tried).await
            }));
            let refused = asked.await.into_iter().filter(Result::is_err).count();
            assert!(refused >= 5_000 - MAX_WAITING, "{refused}");
            for _ in 0..5_000 {
                let tried = keys.current().unwrap();
                assert_eq!(keys.newer(&tried).now_or_never(), Some(Err(refusal)));
            }
            assert!(site.fetches().len() <= before + 1, "round {round}");
        }
        let gaps: Vec<Duration> =
            site.fetches()[begun - 1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
        // After a failure the timer is sooner than an interval: that is a back-off of its own, which no token hastens.
        assert!(
            refusal == NoNewerKeys::Unavailable || gaps.iter().all(|gap| *gap >= MIN_INTERVAL),
            "{gaps:?}"
        );
        assert_eq!(site.asked()[0], DOCUMENT);
        assert!(refusal == NoNewerKeys::Unavailable || site.asked()[1..].iter().all(|url| url == KEYS));
    }
}

/// Threats S25: an issuer that fails is asked by a schedule of its own, to which tokens add nothing and which none of them hastens: the same
/// requests at the same times with 10,000 random kids as with none.
#[tokio::test(start_paused = true)]
async fn ten_thousand_random_kids_neither_add_nor_hasten_a_fetch_of_an_issuer_that_fails() {
    let failing =
        [fails(Error::Status(500)), says(&[], "<html>"), fails(Error::Connect(std::io::ErrorKind::TimedOut))];
    for answer in failing {
        let alone = asked_of_a_failing_issuer(&answer, 0).await;
        assert_eq!(asked_of_a_failing_issuer(&answer, 10_000).await, alone);
        let milliseconds: Vec<(&str, u128)> =
            alone.iter().map(|(url, at)| (&**url, at.as_millis())).take(8).collect();
        // The fractions are 0, 1/2, 1, 0, ...; the first is that of the refresh after the success. After three failures the key set
        // may have moved.
        assert_eq!(
            milliseconds,
            [
                (DOCUMENT, 0),
                (KEYS, 0),
                (KEYS, 45_000),
                (KEYS, 45_750),
                (KEYS, 47_750),
                (DOCUMENT, 49_750),
                (KEYS, 49_750),
                (KEYS, 55_750),
            ]
        );
    }
}

/// What an issuer is asked, and when, that gives its keys once and fails from then on, in 150 s; in the last 100 of them come tokens with so
/// many kids.
async fn asked_of_a_failing_issuer(answer: &Said, kids: u32) -> Vec<(String, Duration)> {
    let said = Cell::new(says(&[("cache-control", "max-age=60")], "keys: a"));
    let site = Site::with_keys({
        let said = said.clone();
        move || said.get()
    });
    let draws = Cell::new(0_u8);
    let keys = site.keys_with(move || {
        let draw = draws.get();
        draws.set((draw + 1) % 3);
        f64::from(draw) / 2.0
    });
    let begun = Instant::now();
    ready(&keys).await;
    said.set(answer.clone());
    let failing = begun + seconds(50);
    tokio::time::sleep_until(failing).await;
    for kid in 0..kids {
        tokio::time::sleep_until(failing + seconds(100) * kid / kids).await;
        let tried = keys.current().unwrap();
        assert_eq!(keys.newer(&tried).await, Err(NoNewerKeys::Unavailable));
    }
    tokio::time::sleep_until(failing + seconds(100)).await;
    let asked = site.asked.lock().unwrap();
    asked.iter().map(|(url, at)| (url.clone(), *at - begun)).collect()
}

/// Tokens alone, without a timer in between: exactly one fetch an interval.
#[tokio::test(start_paused = true)]
async fn tokens_make_exactly_one_fetch_an_interval() {
    let site = Site::with_keys(|| says(&[("cache-control", "max-age=3600")], "keys: a"));
    let keys = site.keys();
    ready(&keys).await;
    let begun = Instant::now();
    while begun.elapsed() < seconds(600) {
        let tried = keys.current().unwrap();
        let _refused = keys.newer(&tried).await;
        sleep(Duration::from_millis(100)).await;
    }
    let fetches = site.fetches();
    assert!((58..=61).contains(&fetches.len()), "{}", fetches.len());
    assert!(fetches.windows(2).all(|pair| pair[1] - pair[0] >= MIN_INTERVAL));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_stops_nothing() {
    let body = Cell::new("keys: a");
    let site = Site::with_keys({
        let body = body.clone();
        move || (seconds(2), says(&[], body.get()).1)
    });
    let keys = site.keys();
    let old = ready(&keys).await;
    sleep(MIN_INTERVAL).await;
    body.set("keys: b");
    let impatient = timeout(seconds(1), keys.newer(&old)).await;
    assert!(impatient.is_err());
    // One that comes later waits for the same fetch.
    let begun = Instant::now();
    assert_eq!(keys.newer(&old).await.unwrap().0, kids("b").unwrap().0);
    assert!(begun.elapsed() <= seconds(1) + Duration::from_millis(2));
    assert_eq!(site.fetches().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_and_few_wait_at_all() {
    let slow = Cell::new(Duration::ZERO);
    let site = Site::with_keys({
        let slow = slow.clone();
        move || match slow.get() {
            Duration::ZERO => says(&[], "keys: a"),
            slow => (slow, says(&[], "keys: a b").1),
        }
    });
    let keys = site.keys();
    let old = ready(&keys).await;
    sleep(MIN_INTERVAL).await;
    slow.set(seconds(29));
    let begun = Instant::now();
    let waits = join_all((0..1_000).map(|_| async {
        let refused = keys.newer(&old).await;
        (refused, begun.elapsed() >= MAX_WAIT)
    }));
    let waits = waits.await;
    assert!(waits.iter().all(|(refused, _)| *refused == Err(NoNewerKeys::Unavailable)));
    assert_eq!(waits.iter().filter(|(_, waited)| *waited).count(), MAX_WAITING);
    assert!(begun.elapsed() < MAX_WAIT + Duration::from_millis(2));
    sleep(seconds(29)).await;
    assert!(keys.newer(&old).await.is_ok());
    assert_eq!(site.fetches().len(), 2);
}
