//! Lists of texts in one piece. Many identities are remembered at a time, and a piece for each text would be most of their memory.
//!
//! Each text is behind its length, in decimal and with a colon, so that it may be any.

use std::fmt::{self, Write};
use std::sync::Arc;

/// Most lists are no longer. What is not needed of it is given back.
const USUAL_LENGTH: usize = 256;

/// A list of group names, in order. Shared, because thousands of users may be in the same groups.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Groups(Arc<str>);

impl Groups {
    /// These.
    pub fn new(names: impl IntoIterator<Item: AsRef<str>>) -> Self {
        Self::prefixed("", names)
    }

    /// Each of these behind `prefix`.
    pub fn prefixed(prefix: &str, names: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let mut packed = String::with_capacity(USUAL_LENGTH);
        names.into_iter().for_each(|name| push(&mut packed, &[prefix, name.as_ref()]));
        Self(packed.into())
    }

    /// Each.
    pub fn iter(&self) -> Texts<'_> {
        Texts { packed: &self.0, left: usize::MAX }
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().fmt(f)
    }
}

/// Values by key, each list in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extra(Box<str>);

impl Extra {
    /// Keys with their values. The keys are sorted, and none is there twice.
    pub fn new<K: AsRef<str>, V: AsRef<str>>(
        entries: impl IntoIterator<Item = (K, impl AsRef<[V]>)>,
    ) -> Self {
        let mut packed = String::with_capacity(USUAL_LENGTH);
        for (key, values) in entries {
            let values = values.as_ref();
            push(&mut packed, &[key.as_ref()]);
            push_number(&mut packed, values.len());
            values.iter().for_each(|value| push(&mut packed, &[value.as_ref()]));
        }
        Self(packed.into())
    }

    /// Each key, with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Texts<'_>)> {
        let mut packed = &*self.0;
        std::iter::from_fn(move || {
            let key = text(&mut packed)?;
            let left = number(&mut packed)?;
            let values = Texts { packed, left };
            for _ in 0..left {
                text(&mut packed)?;
            }
            Some((key, values))
        })
    }

    /// The values of a key.
    pub fn get(&self, key: &str) -> Option<Texts<'_>> {
        self.iter().find_map(|(other, values)| (other == key).then_some(values))
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Goes through a list.
#[derive(Clone)]
pub struct Texts<'a> {
    packed: &'a str,
    /// There may be others behind this list's.
    left: usize,
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        text(&mut self.packed)
    }
}

impl fmt::Debug for Texts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

fn push(packed: &mut String, parts: &[&str]) {
    push_number(packed, parts.iter().map(|part| part.len()).sum());
    packed.extend(parts.iter().copied());
}

fn push_number(packed: &mut String, number: usize) {
    let _infallible = write!(packed, "{number}:");
}

fn text<'a>(packed: &mut &'a str) -> Option<&'a str> {
    let length = number(packed)?;
    let (text, behind) = packed.split_at_checked(length)?;
    *packed = behind;
    Some(text)
}

fn number(packed: &mut &str) -> Option<usize> {
    let (number, behind) = packed.split_once(':')?;
    *packed = behind;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_out_as_it_went_in(
            prefix in ".{0,3}",
            names in vec("(|[0-9]{1,3}:|.{0,20})", 0..4),
            extra in btree_map("(|[0-9]:|.{0,9})", vec("(|[0-9]{1,2}:|.{0,12})", 0..3), 0..4),
        ) {
            let prefixed: Vec<String> = names.iter().map(|name| format!("{prefix}{name}")).collect();
            let groups = Groups::prefixed(&prefix, &names);
            prop_assert_eq!(groups.iter().collect::<Vec<_>>(), prefixed);
            let packed = Extra::new(&extra);
            let unpacked: Vec<(&str, Vec<&str>)> = packed.iter().map(|(key, values)| (key, values.collect())).collect();
            let expected: Vec<(&str, Vec<&str>)> =
                extra.iter().map(|(key, values)| (&**key, values.iter().map(|value| &**value).collect())).collect();
            prop_assert_eq!(unpacked, expected);
            for (key, values) in &extra {
                prop_assert_eq!(packed.get(key).map(Iterator::collect), Some(values.iter().map(|value| &**value).collect::<Vec<_>>()));
            }
            prop_assert!(packed.get("neither").is_none());
        }
    }

    #[test]
    fn an_identity_shows_its_facts_as_lists() {
        let groups = Groups::prefixed("g:", ["a", ""]);
        assert_eq!(format!("{groups:?}"), r#"["g:a", "g:"]"#);
        let extra = Extra::new([("k", ["v", "w"])]);
        assert_eq!(format!("{extra:?}"), r#"{"k": ["v", "w"]}"#);
    }
}
