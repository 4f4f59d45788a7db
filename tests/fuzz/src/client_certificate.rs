//! `source.certificate` and `x-forwarded-client-cert`, in arbitrary words: whoever is authenticated has the one certificate that the
//! CA has signed.
#![no_main]

mod common;

use std::sync::LazyLock;

use common::{Lines, Pki, finish, now, request};
use countersign::authn::{AuthenticateRequest, Outcome, X509};
use countersign::request::Encoding;
use libfuzzer_sys::fuzz_target;

struct World {
    pki: Pki,
    by_hops: [X509; 3],
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let pki = Pki::new();
    let by_hops = [0, 1, 2].map(|hops| X509::new(pki.certificates(hops)));
    World { pki, by_hops }
});

// The first byte says how many hops, and whether the certificate beside the header is the good one or comes from the rest, up to
// a NUL.
fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let world = &*WORLD;
    let (certificate, forwarded) = match first & 4 {
        0 => (&*world.pki.client, rest),
        _ => {
            let (certificate, forwarded) =
                rest.split_at(rest.iter().position(|b| *b == 0).unwrap_or(rest.len()));
            (certificate, forwarded.get(1..).unwrap_or_default())
        }
    };
    let mut lines = Vec::new();
    if !forwarded.is_empty() {
        lines.push((b"x-forwarded-client-cert".to_vec(), forwarded.to_vec()));
    }
    let (lines, none) = (Lines(lines), Lines(Vec::new()));
    let hops = usize::from(first & 3) % 3;
    for encoding in [Encoding::Raw, Encoding::Joined] {
        let request = request(&lines, &none, encoding, certificate);
        if let Outcome::Authenticated(authenticated) =
            finish(world.by_hops[hops].authenticate(&request, now()))
        {
            assert_eq!(&*authenticated.identity.username, "client");
            // Over one hop nobody but the peer itself is believed.
            assert!(hops == 2 || certificate == world.pki.client || first & 4 != 0);
        }
    }
});
