//! An authentication configuration, as the program reads it: with its expressions, certificates and rules.
#![no_main]

use std::cell::RefCell;
use std::fs;

use countersign::authn::token::jwt::Remote;
use countersign::cluster::Clusters;
use countersign::config::{Config, options};
use countersign::https::Proxies;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FILE: RefCell<Option<tempfile::NamedTempFile>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| tempfile::NamedTempFile::new_in("/dev/shm").unwrap());
        fs::write(file.path(), data).unwrap();
        let flag = format!("--authentication-config={}", file.path().display());
        let matches = options::command().get_matches_from(["countersign", "check-config", &flag]);
        let remote = Remote::new(Proxies::from_environment(&[]));
        let loaded = Config::load(
            matches.subcommand().unwrap().1,
            [],
            &remote,
            &Clusters::new(|_, _| None, Default::default()),
        );
        if let Err(errors) = loaded.config {
            assert!(!errors.is_empty());
        }
    });
});
