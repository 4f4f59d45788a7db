//! An identity as Envoy's dynamic metadata: `{"countersign": {username, uid, groups: […], extra: {key: […]}}}`, the JSON shape
//! of Kubernetes' `UserInfo` (authentication.k8s.io/v1). It may be logged, so it holds no secret, and no credential does.
//!
//! Written as google/protobuf/struct.proto has it.

use super::wire::{Tag, Writer};
use crate::identity::Identity;

/// Writes the `Struct` of an identity: whole, empty groups included.
pub(super) fn write(metadata: &mut Writer, identity: &Identity) {
    field(metadata, NAMESPACE, |user_info| {
        user_info.message(STRUCT_VALUE, |user_info| {
            field(user_info, "username", |value| value.string(STRING_VALUE, &identity.username));
            field(user_info, "uid", |value| value.string(STRING_VALUE, &identity.uid));
            field(user_info, "groups", |value| list(value, identity.groups()));
            field(user_info, "extra", |value| {
                value.message(STRUCT_VALUE, |extra| {
                    for (key, values) in identity.extra.iter() {
                        field(extra, key, |value| list(value, values));
                    }
                });
            });
        });
    });
}

/// The key within the namespace of Envoy's filter.
const NAMESPACE: &str = "countersign";

// Of Struct: `map<string, Value> fields`, and of its entries.
const FIELDS: Tag = 1;
const KEY: Tag = 1;
const VALUE: Tag = 2;
// Of Value's `kind`.
const STRING_VALUE: Tag = 3;
const STRUCT_VALUE: Tag = 5;
const LIST_VALUE: Tag = 6;
// Of ListValue.
const VALUES: Tag = 1;

/// An entry of a `Struct`, the `Value` of which `write` writes.
fn field(structure: &mut Writer, key: &str, write: impl FnOnce(&mut Writer)) {
    structure.message(FIELDS, |entry| {
        entry.string(KEY, key);
        entry.message(VALUE, write);
    });
}

fn list<'a>(value: &mut Writer, texts: impl Iterator<Item = &'a str>) {
    value.message(LIST_VALUE, |list| {
        for text in texts {
            list.message(VALUES, |value| value.string(STRING_VALUE, text));
        }
    });
}
