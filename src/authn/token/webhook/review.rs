//! TokenReview objects: what is sent, and how Go reads the answer (k8s.io/apimachinery/pkg/runtime/serializer, `Decode` of json/json.go,
//! recognizer/recognizer.go and versioning/versioning.go). JSON or YAML, whatever its content type says; `kind` and `apiVersion` may be
//! missing but not different; fields by their exact names, over what is there already; a field of a wrong type spoils all, be it one
//! that nobody needs.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::authn::Token;
use crate::identity::{Extra, Groups, Identity};
use crate::json::{Object, TypeError, Value};
use crate::yaml;

/// A version of the API authentication.k8s.io.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are Kubernetes' own names")]
pub enum Version {
    V1,
    V1beta1,
}

impl Version {
    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "authentication.k8s.io/v1",
            Self::V1beta1 => "authentication.k8s.io/v1beta1",
        }
    }
}

/// The body of a request. Wiped when it has been sent; what the HTTP library copies of it is not. Go: `TokenReview` of
/// k8s.io/api/authentication/v1, which v1beta1 is equal to.
pub(super) fn request(version: Version, token: Token<'_>, audiences: &[Box<str>]) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Review<'a> {
        kind: &'static str,
        api_version: &'static str,
        metadata: Empty,
        spec: Spec<'a>,
        status: Nobody,
    }
    #[derive(Serialize)]
    struct Spec<'a> {
        token: &'a str,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        audiences: &'a [Box<str>],
    }
    #[derive(Serialize)]
    struct Nobody {
        user: Empty,
    }
    #[derive(Serialize)]
    struct Empty {}

    let token = text(token);
    let review = Review {
        kind: "TokenReview",
        api_version: version.api_version(),
        metadata: Empty {},
        spec: Spec { token: &token, audiences },
        status: Nobody { user: Empty {} },
    };
    // Written twice, so that no buffer is outgrown and left behind with a part of the token in it.
    let mut length = Length(0);
    let _infallible = serde_json::to_writer(&mut length, &review);
    let mut body = Zeroizing::new(Vec::with_capacity(length.0));
    let _infallible = serde_json::to_writer(&mut *body, &review);
    Bytes::from_owner(body)
}

/// A token as a string, U+FFFD for each byte that is not UTF-8. Go: `appendString` of encoding/json/encode.go.
fn text(token: Token<'_>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(3 * token.bytes.len()));
    for chunk in token.bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the webhook says. Go: `TokenReviewStatus`.
#[derive(Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Status {
    pub(super) authenticated: bool,
    pub(super) user: UserInfo,
    pub(super) audiences: Vec<String>,
    pub(super) error: String,
}

/// Go: `UserInfo`.
#[derive(Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct UserInfo {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl From<UserInfo> for Identity {
    fn from(user: UserInfo) -> Self {
        Self::new(user.username, user.uid, Groups::new(user.groups), Extra::new(user.extra))
    }
}

/// An answer is no TokenReview of its version.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<TypeError> for Malformed {
    fn from(_: TypeError) -> Self {
        Self
    }
}

/// The status in an answer.
pub(super) fn status(version: Version, body: &[u8]) -> Result<Status, Malformed> {
    // Go: `IsJSONBuffer` of k8s.io/apimachinery/pkg/util/yaml.
    let is_json = String::from_utf8_lossy(body.get(..SPACE).unwrap_or(body)).trim_start().starts_with('{');
    if is_json {
        return status_of(version, &Value::parse(body).map_err(|_no_json| Malformed)?);
    }
    let json = yaml::value(body).map_err(|_no_yaml| Malformed)?.to_string();
    status_of(version, &Value::parse(json.as_bytes()).map_err(|_too_large| Malformed)?)
}

/// White space is looked through so far for a `{`.
const SPACE: usize = 1024;

fn status_of(version: Version, review: &Value<'_>) -> Result<Status, Malformed> {
    let Value::Object(review) = review else { return Err(Malformed) };
    // Go: `SimpleMetaFactory.Interpret`, which finds its fields in any case of letters, and `gvkWithDefaults`.
    let api_version = review.string_field("apiversion")?;
    let missing = ["", "/", "authentication.k8s.io/"];
    if !["", "TokenReview"].contains(&review.string_field("kind")?)
        || !(missing.contains(&api_version) || api_version == version.api_version())
    {
        return Err(Malformed);
    }
    let mut status = Status::default();
    for (name, value) in review.members() {
        match name {
            "kind" | "apiVersion" => Type::String.check(value)?,
            "metadata" => Type::Object(OBJECT_META).check(value)?,
            "spec" => Type::Object(SPEC).check(value)?,
            "status" => status.read(value)?,
            _ => {}
        }
    }
    Ok(status)
}

impl Status {
    fn read(&mut self, value: &Value<'_>) -> Result<(), TypeError> {
        for (name, value) in members(value)? {
            match name {
                "authenticated" => match value {
                    Value::Null => {}
                    value => self.authenticated = value.bool()?,
                },
                "user" => self.user.read(value)?,
                "audiences" => read_strings(&mut self.audiences, value)?,
                "error" => read_string(&mut self.error, value)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl UserInfo {
    fn read(&mut self, value: &Value<'_>) -> Result<(), TypeError> {
        for (name, value) in members(value)? {
            match name {
                "username" => read_string(&mut self.username, value)?,
                "uid" => read_string(&mut self.uid, value)?,
                "groups" => read_strings(&mut self.groups, value)?,
                "extra" => match value {
                    Value::Null => self.extra.clear(),
                    value => {
                        for (key, value) in members(value)? {
                            let values = value.strings()?.into_iter().map(str::to_owned).collect();
                            self.extra.insert(key.to_owned(), values);
                        }
                    }
                },
                _ => {}
            }
        }
        Ok(())
    }
}

/// The members of a struct; none of `null`.
fn members<'a, 'b>(
    value: &'b Value<'a>,
) -> Result<impl Iterator<Item = (&'b str, &'b Value<'a>)>, TypeError> {
    Ok(value.object_or_null()?.into_iter().flat_map(Object::members))
}

/// Into a `string`, which `null` leaves as it is.
fn read_string(text: &mut String, value: &Value<'_>) -> Result<(), TypeError> {
    if !matches!(value, Value::Null) {
        value.string()?.clone_into(text);
    }
    Ok(())
}

/// Into a `[]string`, which `null` empties; an element that is `null` stays what it was.
fn read_strings(list: &mut Vec<String>, value: &Value<'_>) -> Result<(), TypeError> {
    let mut before = std::mem::take(list).into_iter();
    let elements = match value {
        Value::Null => return Ok(()),
        Value::Array(elements) => elements,
        _ => return Err(TypeError("an array of strings")),
    };
    for element in elements {
        let mut text = before.next().unwrap_or_default();
        read_string(&mut text, element)?;
        list.push(text);
    }
    Ok(())
}

/// The type of a field that nobody needs, but that Go reads.
enum Type {
    String,
    Bool,
    Integer,
    Time,
    Strings,
    StringMap,
    Object(Fields),
    Objects(Fields),
}

type Fields = &'static [(&'static str, Type)];

/// Go: `TokenReviewSpec`.
const SPEC: Fields = &[("token", Type::String), ("audiences", Type::Strings)];

/// Go: `ObjectMeta` of k8s.io/apimachinery/pkg/apis/meta/v1.
const OBJECT_META: Fields = &[
    ("name", Type::String),
    ("generateName", Type::String),
    ("namespace", Type::String),
    ("selfLink", Type::String),
    ("uid", Type::String),
    ("resourceVersion", Type::String),
    ("generation", Type::Integer),
    ("creationTimestamp", Type::Time),
    ("deletionTimestamp", Type::Time),
    ("deletionGracePeriodSeconds", Type::Integer),
    ("labels", Type::StringMap),
    ("annotations", Type::StringMap),
    ("ownerReferences", Type::Objects(OWNER_REFERENCE)),
    ("finalizers", Type::Strings),
    ("managedFields", Type::Objects(MANAGED_FIELDS_ENTRY)),
];

/// Go: `OwnerReference`.
const OWNER_REFERENCE: Fields = &[
    ("apiVersion", Type::String),
    ("kind", Type::String),
    ("name", Type::String),
    ("uid", Type::String),
    ("controller", Type::Bool),
    ("blockOwnerDeletion", Type::Bool),
];

/// Go: `ManagedFieldsEntry`, whose `fieldsV1` may be anything.
const MANAGED_FIELDS_ENTRY: Fields = &[
    ("manager", Type::String),
    ("operation", Type::String),
    ("apiVersion", Type::String),
    ("time", Type::Time),
    ("fieldsType", Type::String),
    ("subresource", Type::String),
];

impl Type {
    /// Whether a value can be read into a field of this type, as `null` always can.
    fn check(&self, value: &Value<'_>) -> Result<(), TypeError> {
        match (self, value) {
            (_, Value::Null) => Ok(()),
            (Self::String, value) => value.string().map(drop),
            (Self::Bool, value) => value.bool().map(drop),
            (Self::Integer, Value::Number(number)) => number.int64().map(drop),
            (Self::Time, value) if is_rfc_3339(value.string()?) => Ok(()),
            (Self::Strings, value) => value.strings().map(drop),
            (Self::StringMap, value) => members(value)?.try_for_each(|(_, value)| value.string().map(drop)),
            (Self::Object(fields), value) => members(value)?.try_for_each(|(name, value)| {
                let field = fields.iter().find(|(other, _)| *other == name);
                field.map_or(Ok(()), |(_, kind)| kind.check(value))
            }),
            (Self::Objects(fields), Value::Array(elements)) => {
                elements.iter().try_for_each(|element| Self::Object(fields).check(element))
            }
            _ => Err(TypeError("another type")),
        }
    }
}

/// A time as Kubernetes writes it (RFC 3339). Stricter than Go: two digits for the hour, and a dot before a fraction.
fn is_rfc_3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pattern = b"dddd-dd-ddTdd:dd:dd";
    let fits =
        |(byte, pattern): (&u8, &u8)| if *pattern == b'd' { byte.is_ascii_digit() } else { byte == pattern };
    let begins = bytes.len() > pattern.len() && bytes.iter().zip(pattern).all(fits);
    let rest = text.get(pattern.len()..).unwrap_or_default();
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = || {
        let digits = zone.strip_prefix(['+', '-']).unwrap_or_default().as_bytes();
        digits.len() == 5 && digits.iter().zip(b"dd:dd").all(fits)
    };
    // There are no leap seconds in Go.
    let leap = text.get(17..19) == Some("60");
    begins && !leap && (zone == "Z" || offset()) && text.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests;
