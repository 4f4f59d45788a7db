//! What is told of profiles.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::cells::Cells;
use super::page::{Kind, Page};

/// What becomes of Checks, by profile. Nothing is counted where there is none.
#[derive(Debug, Default)]
pub struct Profiles(Mutex<BTreeMap<String, Arc<ProfileChecks>>>);

/// What becomes of the Checks of one profile.
#[derive(Debug)]
pub struct ProfileChecks(Cells);

const ALLOWED: usize = 0;
const DENIED: usize = 1;

impl Profiles {
    /// Of a profile, by its name. What nobody uses any more is forgotten.
    pub fn of(&self, name: &str) -> Arc<ProfileChecks> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(ProfileChecks(Cells::sharded(DENIED + 1)));
        let checks = Arc::clone(known.entry(name.to_owned()).or_insert_with(new));
        known.retain(|_, checks| Arc::strong_count(checks) > 1);
        checks
    }

    pub(super) fn write(&self, page: &mut Page) {
        let name = "countersign_profile_checks_total";
        page.family(name, Kind::Counter, "Checks of routes that name a profile, or of all others, by result");
        for (profile, ProfileChecks(cells)) in self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, checks)| (name, &**checks))
        {
            for (result, index) in [("allowed", ALLOWED), ("denied", DENIED)] {
                page.sample(name, &[("profile", profile), ("result", result)], cells.total(index));
            }
        }
    }
}

impl ProfileChecks {
    /// A Check was answered.
    pub fn count(&self, allowed: bool) {
        self.0.add(if allowed { ALLOWED } else { DENIED }, 1);
    }
}
