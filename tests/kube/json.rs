//! JSON that no serializer writes: members in any order, doubled or renamed, values as they stand.

use serde_json::Value;

use super::random::Random;

/// Text as it stands, or members in order.
#[derive(Clone)]
pub(crate) enum Json {
    Text(String),
    Object(Vec<(String, Self)>),
}

impl Json {
    pub(crate) fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    pub(crate) fn write(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Object(members) => {
                let member = |(name, value): &(String, Self)| format!("{}:{}", quoted(name), value.write());
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
            }
        }
    }

    /// Adds a member to an object.
    pub(crate) fn push(&mut self, name: &str, value: Self) {
        let Self::Object(members) = self else { panic!("no object") };
        members.push((name.to_owned(), value));
    }

    /// Changes, takes out, doubles, renames or adds a member of this object or of one within. `names` are those that matter to the
    /// reader, `other` makes values, for a member of this name.
    pub(crate) fn tamper(
        &mut self,
        random: &mut Random,
        names: &[&str],
        other: impl Fn(&mut Random, &str) -> String,
    ) {
        let Some(members) = self.any_object(random).filter(|members| !members.is_empty()) else { return };
        let (at, to) = (random.below(members.len()), random.below(members.len() + 1));
        let (name, value) = members[at].clone();
        match random.below(8) {
            0..=2 => members[at].1 = text(other(random, &name)),
            3 => drop(members.remove(at)),
            4 => members.insert(to, (name, value)),
            5 => {
                let value = text(other(random, &name));
                members.insert(to, (name.to_uppercase().replace('S', "ſ"), value));
            }
            6 => {
                let name = random.pick(names);
                members[at].0 = if random.percent(50) { name.to_uppercase() } else { name.to_owned() };
            }
            _ => {
                let name = random.pick(names);
                let value = text(other(random, name));
                members.insert(to, (name.to_owned(), value));
            }
        }
    }

    /// One of the objects within, or this one.
    fn any_object(&mut self, random: &mut Random) -> Option<&mut Vec<(String, Self)>> {
        let Self::Object(members) = self else { return None };
        let inner =
            |(at, (_, value)): (usize, &(String, Self))| matches!(value, Self::Object(_)).then_some(at);
        let inner: Vec<usize> = members.iter().enumerate().filter_map(inner).collect();
        if inner.is_empty() || random.percent(50) {
            return Some(members);
        }
        members[random.pick(&inner)].1.any_object(random)
    }
}

pub(crate) fn text(text: impl ToString) -> Json {
    Json::Text(text.to_string())
}

pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
