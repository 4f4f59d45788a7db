//! An identity as Envoy's dynamic metadata: `{"countersign": {username, uid, groups: […], extra: {key: […]}}}`, the JSON shape
//! of Kubernetes' `UserInfo` (authentication.k8s.io/v1). It may be logged, so it holds no secret, and no credential does.

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};

use crate::identity::Identity;

/// The metadata of an identity: whole, empty groups included.
pub(super) fn of(identity: &Identity) -> Struct {
    let extra = identity.extra.iter().map(|(key, values)| (&**key, list(values.iter().map(AsRef::as_ref))));
    let user_info = structure([
        ("username", string(&identity.username)),
        ("uid", string(&identity.uid)),
        ("groups", list(identity.groups())),
        ("extra", value(Kind::StructValue(structure(extra)))),
    ]);
    structure([(NAMESPACE, value(Kind::StructValue(user_info)))])
}

/// The key within the namespace of Envoy's filter.
const NAMESPACE: &str = "countersign";

fn structure<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}

fn list<'a>(values: impl Iterator<Item = &'a str>) -> Value {
    value(Kind::ListValue(ListValue { values: values.map(string).collect() }))
}

fn string(text: &str) -> Value {
    value(Kind::StringValue(text.to_owned()))
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}
