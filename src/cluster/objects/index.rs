//! The objects of one kind that a cluster has, by name, in as little memory as may be: a large cluster has 50,000 Pods.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;

use futures_util::Stream;
use hashbrown::HashTable;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;

use super::super::settings;
use super::object::Object;
use super::{Index, Kind};

/// Objects by namespace and name, of which only a keyed hash of 64 bits is kept. Should two names have the same (one chance in 10^10
/// among 50,000), the one that came last hides the other, whose tokens are refused for their uid: nothing is ever let in by mistake.
pub(super) struct ObjectIndex<K> {
    hasher: RandomState,
    entries: HashTable<Entry>,
    kind: PhantomData<fn(K)>,
}

/// 40 bytes.
struct Entry {
    name: u64,
    object: Object,
}

impl<K: Kind> Index for ObjectIndex<K> {
    type Object = PartialObjectMeta<K>;

    const RESOURCE: &'static str = K::URL_PATH_SEGMENT;

    fn watch(
        client: kube::Client,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<Self::Object>>> + Send + 'static {
        watcher(Api::<Self::Object>::all(client), settings())
    }

    fn apply(&mut self, PartialObjectMeta { metadata, .. }: Self::Object) {
        let [namespace, name] = names(&metadata);
        self.insert(namespace, name, Object::of(&metadata));
    }

    fn delete(&mut self, PartialObjectMeta { metadata, .. }: Self::Object) {
        let [namespace, name] = names(&metadata);
        self.remove(namespace, name, &Object::of(&metadata));
    }

    fn count(&self) -> usize {
        self.entries.len()
    }
}

/// Namespace, if there is one, and name.
fn names(metadata: &ObjectMeta) -> [&str; 2] {
    [&metadata.namespace, &metadata.name].map(|name| name.as_deref().unwrap_or_default())
}

impl<K> ObjectIndex<K> {
    /// The object of this name.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Object> {
        let name = self.hash(namespace, name);
        self.entries.find(name, |entry| entry.name == name).map(|entry| entry.object.clone())
    }

    fn insert(&mut self, namespace: &str, name: &str, object: Object) {
        let name = self.hash(namespace, name);
        match self.entries.find_mut(name, |entry| entry.name == name) {
            Some(entry) => entry.object = object,
            None => {
                self.entries.insert_unique(name, Entry { name, object }, |entry| entry.name);
            }
        }
    }

    /// Another object of its name stays.
    fn remove(&mut self, namespace: &str, name: &str, object: &Object) {
        let name = self.hash(namespace, name);
        let same = |entry: &Entry| entry.name == name && entry.object.is_same(object);
        if let Ok(entry) = self.entries.find_entry(name, same) {
            entry.remove();
        }
    }

    fn hash(&self, namespace: &str, name: &str) -> u64 {
        self.hasher.hash_one((namespace, name))
    }
}

impl<K> Default for ObjectIndex<K> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), entries: HashTable::new(), kind: PhantomData }
    }
}

impl<K> fmt::Debug for ObjectIndex<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectIndex({} objects)", self.entries.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Index = ObjectIndex<()>;

    fn object(uid: &str) -> Object {
        Object::new(uid, None)
    }

    #[test]
    fn an_object_is_found_by_namespace_and_name_until_it_is_deleted() {
        let mut index = Index::default();
        index.insert("a", "b", object("1"));
        index.insert("", "ab", object("2"));
        assert_eq!(index.get("a", "b"), Some(object("1")));
        assert_eq!(index.get("", "ab"), Some(object("2")));
        for (namespace, name) in [("ab", ""), ("a", ""), ("b", "a"), ("", "b")] {
            assert_eq!(index.get(namespace, name), None, "{namespace:?} {name:?}");
        }
        index.insert("a", "b", Object::new("1", Some(5)));
        assert_eq!(index.get("a", "b"), Some(Object::new("1", Some(5))));
        index.remove("a", "b", &object("1"));
        assert_eq!((index.get("a", "b"), index.entries.len()), (None, 1));
    }

    /// A Pod of a StatefulSet comes back under its name.
    #[test]
    fn the_end_of_an_object_is_not_that_of_its_successor() {
        let mut index = Index::default();
        index.insert("a", "web-0", object("2"));
        index.remove("a", "web-0", &object("1"));
        assert_eq!(index.get("a", "web-0"), Some(object("2")));
    }

    /// Whatever the length of their names.
    #[test]
    fn fifty_thousand_pods_take_54_bytes_each() {
        const PODS: usize = 50_000;
        let mut index = Index::default();
        let uid = |n: usize| format!("{n:08x}-0000-4000-8000-{n:012x}");
        let measured = allocation_counter::measure(|| {
            for n in 0..PODS {
                let name = format!("some-deployment-of-a-team-{}-7d4b9c6f5d-{n:05}", n % 500);
                index.insert(&format!("namespace-{}", n % 100), &name, object(&uid(n)));
            }
        });
        assert_eq!(index.entries.len(), PODS);
        assert_eq!(
            index.get("namespace-7", "some-deployment-of-a-team-7-7d4b9c6f5d-00007"),
            Some(object(&uid(7)))
        );
        assert_eq!(usize::try_from(measured.bytes_current).map(|bytes| bytes.div_ceil(PODS)), Ok(54));
    }
}
