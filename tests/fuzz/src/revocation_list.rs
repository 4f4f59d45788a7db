//! DER as a revocation list, and as text of a file of them.
#![no_main]

use countersign::pki::{RevocationList, revocation_lists};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _lists = revocation_lists(data, &[]);
    let _list = RevocationList::parse(data);
});
