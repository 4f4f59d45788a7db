//! DER as a certificate, names and extensions included, and as its own issuer; and as text of a bundle.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use countersign::pki::{CertPool, Certificate, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _bundle = CertPool::from_pem(data);
    let Ok(certificate) = Certificate::parse(data) else { return };
    assert_eq!(certificate.der(), data, "all of it, and nothing else");
    for name in
        [certificate.common_name()].into_iter().chain(certificate.organizations().iter().map(|o| &**o))
    {
        assert!(name.len() <= data.len());
    }
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let intermediates = [certificate.clone().kept()];
    let is_trusted = |roots: &CertPool| verify(&certificate, &intermediates, roots, None, now).is_ok();
    assert!(!is_trusted(&CertPool::default()), "without anchors nobody is trusted");
    let itself = CertPool::from_iter([certificate.clone()]);
    assert_eq!(is_trusted(&itself), is_trusted(&itself), "what is known by then makes no difference");
});
