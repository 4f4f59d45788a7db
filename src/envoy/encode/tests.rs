use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::service::auth::v3::OkHttpResponse;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{BoolValue, Struct, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::authn::RequestHeaderNames;
use crate::config::{GroupsEncoding, IdentityHeaders};
use crate::decision::Authenticator;
use crate::identity::{Extra, Groups, Identity};
use crate::request::testing::{joined, request};

const BOTH: Schemes = Schemes { bearer: true, basic: true };

fn config(groups_encoding: GroupsEncoding) -> ReplyConfig {
    ReplyConfig {
        headers: IdentityHeaders {
            user: "x-remote-user".into(),
            uid: "x-remote-uid".into(),
            group: "x-remote-group".into(),
            extra_prefix: "x-remote-extra-".into(),
        },
        front_proxy: RequestHeaderNames::default(),
        xfcc: false,
        groups_encoding,
        dynamic_metadata: true,
        undecided_unavailable: false,
        max_headers_count: 100,
        max_headers_bytes: 60 * 1024,
        impersonation: None,
    }
}

fn identity(username: &str, uid: &str, groups: &[&str], extra: &[(&str, &[&str])]) -> Authenticated {
    let extra: BTreeMap<_, _> = extra.iter().copied().collect();
    let identity = Identity::new(username, uid, Groups::new(groups), Extra::new(extra));
    Authenticated::new(Arc::new(identity), Authenticator::TokenFile)
}

fn alice() -> Authenticated {
    identity("alice", "1", &["dev", "ops"], &[("example.com/Project", &["a", "b"]), ("scopes", &["x"])])
}

fn message(reply: &Reply) -> CheckResponse {
    CheckResponse::decode(reply.as_bytes()).expect("our replies decode")
}

fn allow(
    config: ReplyConfig,
    who: &Authenticated,
    headers: &[(&[u8], &[u8])],
) -> Result<OkHttpResponse, Reason> {
    let reply = Replies::new(config, BOTH, &[]).allow(who, &request(headers))?;
    let CheckResponse { status, http_response, .. } = message(&reply);
    assert_eq!(status, Some(rpc::Status { code: 0, ..Default::default() }));
    match http_response {
        Some(HttpResponse::OkResponse(ok)) => Ok(ok),
        other => panic!("{other:?}"),
    }
}

/// The lines that are set and the names that are removed.
type Changes = (Vec<(String, String)>, Vec<String>);

fn changes(config: ReplyConfig, who: &Authenticated, headers: &[(&[u8], &[u8])]) -> Result<Changes, Reason> {
    let ok = allow(config, who, headers)?;
    let set = ok.headers.into_iter().filter_map(|h| h.header).map(|h| (h.key, h.value));
    Ok((set.collect(), ok.headers_to_remove))
}

fn expected(set: &[(&str, &str)], removed: &[&str]) -> Result<Changes, Reason> {
    let set = set.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Ok((set, removed.iter().map(|n| (*n).to_owned()).collect()))
}

#[test]
fn joined_is_one_line_for_each_header() {
    let set = [
        ("x-remote-user", "alice"),
        ("x-remote-uid", "1"),
        ("x-remote-group", "dev,ops,system:authenticated"),
        ("x-remote-extra-example.com%2fproject", "a,b"),
        ("x-remote-extra-scopes", "x"),
    ];
    assert_eq!(changes(config(GroupsEncoding::Joined), &alice(), &[]), expected(&set, &["authorization"]));
}

#[test]
fn indexed_is_one_header_for_each_value() {
    let set = [
        ("x-remote-user", "alice"),
        ("x-remote-uid", "1"),
        ("x-remote-group", "dev"),
        ("x-remote-group-1", "ops"),
        ("x-remote-group-2", "system:authenticated"),
        ("x-remote-extra-example.com%2fproject", "a"),
        ("x-remote-extra1-example.com%2fproject", "b"),
        ("x-remote-extra-scopes", "x"),
    ];
    assert_eq!(changes(config(GroupsEncoding::Indexed), &alice(), &[]), expected(&set, &["authorization"]));
}

#[test]
fn with_metadata_a_missing_filter_means_no_groups() {
    let sent: [(&[u8], &[u8]); 2] = [(b"x-remote-group", b"evil"), (b"x-remote-extra-scopes", b"evil")];
    assert_eq!(
        changes(config(GroupsEncoding::Metadata), &alice(), &sent),
        expected(
            &[("x-remote-user", "alice"), ("x-remote-uid", "1")],
            &["authorization", "x-remote-group", "x-remote-extra-scopes"]
        )
    );
}

/// S1 (envoy#43310): one version took an unset `append` for "add a line beside the client's".
#[test]
#[expect(deprecated, reason = "the deprecated field is the one that Envoy reads")]
fn every_header_says_in_both_fields_that_it_overwrites() {
    for encoding in [GroupsEncoding::Joined, GroupsEncoding::Indexed, GroupsEncoding::Metadata] {
        let ok = allow(config(encoding), &alice(), &[(b"x-remote-user", b"evil")]).expect("alice is safe");
        for header in &ok.headers {
            assert_eq!(header.append, Some(BoolValue { value: false }));
            assert_eq!(header.append_action(), HeaderAppendAction::OverwriteIfExistsOrAdd);
            assert!(
                header
                    .header
                    .as_ref()
                    .is_some_and(|h| h.raw_value.is_empty() && h.key == h.key.to_lowercase())
            );
        }
    }
}

/// Names are set or removed, never both, and never set twice: Envoy removes last, and the last of two counts.
#[test]
fn no_name_is_both_set_and_removed() {
    let sent: [(&[u8], &[u8]); 4] = [
        (b"X-Remote-User", b"evil"),
        (b"X-Remote-Group", b"evil"),
        (b"x-remote-extra-SCOPES", b"evil"),
        (b"x-remote-extra-other", b"evil"),
    ];
    for encoding in [GroupsEncoding::Joined, GroupsEncoding::Indexed, GroupsEncoding::Metadata] {
        let (set, removed) = changes(config(encoding), &alice(), &sent).expect("alice is safe");
        let mut names: Vec<&String> = set.iter().map(|(name, _)| name).chain(&removed).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{encoding:?}: {set:?} {removed:?}");
    }
}

/// S2 (CVE-2025-64484), S13 (NCC-E003660-YVU), S16 (GHSA-r5c2-7hp9-v678): every spelling, also on an anonymous OK, also of
/// names that are not the configured ones.
#[test]
fn every_identity_header_that_the_client_sent_is_removed() {
    let names: [&[u8]; 10] = [
        b"X_Remote_User",
        b"x-remote_group",
        b"X-REMOTE-EXTRA-Foo",
        b"x_remote_extra_bar",
        b"Impersonate-User",
        b"impersonate_extra_x",
        b"x-auth-user",
        b"X_Auth_Extra_y",
        b"x-remote-userx",
        b"x-auth-users",
    ];
    let sent: Vec<(&[u8], &[u8])> = names.iter().map(|name| (*name, &b"evil"[..])).collect();
    let headers = IdentityHeaders {
        user: "x-auth-user".into(),
        uid: "x-auth-uid".into(),
        group: "x-auth-group".into(),
        extra_prefix: "x-auth-extra-".into(),
    };
    let anonymous = Authenticated::new(Arc::new(Identity::anonymous()), Authenticator::Anonymous);
    assert_eq!(
        changes(ReplyConfig { headers, ..config(GroupsEncoding::Joined) }, &anonymous, &sent),
        expected(
            &[("x-auth-user", "system:anonymous"), ("x-auth-group", "system:unauthenticated")],
            &[
                "authorization",
                "x-auth-uid",
                "x-remote-group",
                "x-remote-uid",
                "x-remote-user",
                "x_remote_user",
                "x-remote_group",
                "x-remote-extra-foo",
                "x_remote_extra_bar",
                "impersonate-user",
                "impersonate_extra_x",
                "x_auth_extra_y",
            ]
        )
    );
}

/// An upstream of `--groups-encoding=indexed` reads these, and may go on to do so when the encoding has changed.
#[test]
fn numbered_names_that_the_client_sent_are_removed() {
    let names: [&[u8]; 7] = [
        b"x-remote-group-1",
        b"X_Remote_Group_7",
        b"x-auth-group-12",
        b"x-remote-extra1-a",
        b"x_auth_extra22-b",
        b"x-remote-grouping",
        b"x-remote-extras",
    ];
    let sent: Vec<(&[u8], &[u8])> = names.iter().map(|name| (*name, &b"evil"[..])).collect();
    let who = identity("bob", "", &[], &[]);
    let headers = IdentityHeaders {
        group: "x-auth-group".into(),
        extra_prefix: "x-auth-extra-".into(),
        ..config(GroupsEncoding::Joined).headers
    };
    for encoding in [GroupsEncoding::Joined, GroupsEncoding::Indexed] {
        let config = ReplyConfig { headers: headers.clone(), ..config(encoding) };
        let (_, removed) = changes(config, &who, &sent).expect("bob is safe");
        let always = ["authorization", "x-remote-group", "x-remote-uid"];
        let numbered = [
            "x-remote-group-1",
            "x_remote_group_7",
            "x-auth-group-12",
            "x-remote-extra1-a",
            "x_auth_extra22-b",
        ];
        assert_eq!(removed, [&always[..], &numbered].concat());
    }
}

/// S12: a claim `a,system:masters` must not become two groups.
#[test]
fn a_comma_in_a_group_denies_where_values_are_joined() {
    let tricky = identity("u", "", &["a,system:masters"], &[]);
    let ask = |encoding| changes(config(encoding), &tricky, &[]);
    assert_eq!(ask(GroupsEncoding::Joined), Err(Reason::UnsafeIdentityValue));
    let set = [
        ("x-remote-user", "u"),
        ("x-remote-group", "a,system:masters"),
        ("x-remote-group-1", "system:authenticated"),
    ];
    assert_eq!(ask(GroupsEncoding::Indexed), expected(&set, &["authorization", "x-remote-uid"]));
    assert_eq!(
        ask(GroupsEncoding::Metadata),
        expected(&[("x-remote-user", "u")], &["authorization", "x-remote-group", "x-remote-uid"])
    );
    let comma_in_extra = identity("u", "", &[], &[("k", &["a,b"])]);
    assert_eq!(
        changes(config(GroupsEncoding::Joined), &comma_in_extra, &[]),
        Err(Reason::UnsafeIdentityValue)
    );
}

/// Envoy would keep the last of two lines of one name, so a value would be lost.
#[test]
fn extra_keys_that_are_one_header_deny() {
    let who = identity("u", "", &[], &[("Key", &["a"]), ("key", &["b"])]);
    for encoding in [GroupsEncoding::Joined, GroupsEncoding::Indexed] {
        assert_eq!(changes(config(encoding), &who, &[]), Err(Reason::UnsafeIdentityValue));
    }
    assert!(changes(config(GroupsEncoding::Metadata), &who, &[]).is_ok(), "the filter writes both lines");
}

/// S11 (CVE-2023-27493): nothing that Envoy, or anybody behind it, would read as something else.
#[test]
fn an_identity_that_would_not_arrive_unchanged_denies() {
    let unsafe_identities = [
        identity("", "1", &["g"], &[]),
        identity("a\nb", "", &[], &[]),
        identity(" a", "", &[], &[]),
        identity("a", "1\0", &[], &[]),
        identity("a", "", &["g\r"], &[]),
        identity("a", "", &["g", " h"], &[]),
        identity("a", "", &[], &[("k", &["v\t"])]),
    ];
    for who in unsafe_identities {
        for encoding in [GroupsEncoding::Joined, GroupsEncoding::Indexed, GroupsEncoding::Metadata] {
            assert_eq!(changes(config(encoding), &who, &[]), Err(Reason::UnsafeIdentityValue), "{who:?}");
        }
    }
}

/// As in kube-apiserver's reader, an empty group is no group in a header; the metadata is whole.
#[test]
fn empty_groups_are_not_sent_but_are_in_the_metadata() {
    let who = identity("ü", "", &["", "g"], &[("Key", &["v"])]);
    let reply =
        Replies::new(config(GroupsEncoding::Joined), BOTH, &[]).allow(&who, &request(&[])).expect("safe");
    let message = message(&reply);
    let Some(HttpResponse::OkResponse(ok)) = &message.http_response else { panic!("{message:?}") };
    let group = ok.headers.iter().filter_map(|h| h.header.as_ref()).find(|h| h.key == "x-remote-group");
    assert_eq!(group.map(|h| &*h.value), Some("g,system:authenticated"));

    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let list = |values: &[&str]| {
        let values = values.iter().map(|v| text(v)).collect();
        Value { kind: Some(Kind::ListValue(envoy_types::pb::google::protobuf::ListValue { values })) }
    };
    let structure = |fields: Vec<(&str, Value)>| {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Value { kind: Some(Kind::StructValue(Struct { fields })) }
    };
    let user_info = structure(vec![
        ("username", text("ü")),
        ("uid", text("")),
        ("groups", list(&["", "g", "system:authenticated"])),
        ("extra", structure(vec![("Key", list(&["v"]))])),
    ]);
    let metadata = Struct { fields: [("countersign".to_owned(), user_info)].into() };
    assert_eq!(message.dynamic_metadata, Some(metadata));
    let without = ReplyConfig { dynamic_metadata: false, ..config(GroupsEncoding::Joined) };
    let reply = Replies::new(without, BOTH, &[]).allow(&who, &request(&[])).expect("safe");
    assert_eq!(self::message(&reply).dynamic_metadata, None);
}

#[test]
fn the_token_among_the_websocket_protocols_is_overwritten() {
    let sent: [(&[u8], &[u8]); 1] =
        [(b"sec-websocket-protocol", b"base64url.bearer.authorization.k8s.io.dG9r, v4.channel.k8s.io")];
    let who = identity("u", "", &[], &[]);
    let (set, removed) = changes(config(GroupsEncoding::Joined), &who, &sent).expect("u is safe");
    assert_eq!(set.last(), Some(&("sec-websocket-protocol".to_owned(), "v4.channel.k8s.io".to_owned())));
    assert_eq!(removed, ["authorization", "x-remote-uid"]);
    let alone: [(&[u8], &[u8]); 1] =
        [(b"sec-websocket-protocol", b"base64url.bearer.authorization.k8s.io.dG9r")];
    let (set, removed) = changes(config(GroupsEncoding::Joined), &who, &alone).expect("u is safe");
    assert_eq!(set.len(), 2);
    assert_eq!(removed, ["authorization", "x-remote-uid", "sec-websocket-protocol"]);
}

/// Envoy answers 500 over its limits: at 100 lines or 60 KiB, the request's own included.
#[test]
fn an_identity_over_envoys_limits_denies() {
    let groups: Vec<String> = (0..60).map(|n| format!("group-{n}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let who = identity("u", "", &groups, &[]);
    let sent: Vec<(Vec<u8>, Vec<u8>)> =
        (0..38).map(|n| (format!("h{n}").into_bytes(), b"v".to_vec())).collect();
    let mut sent: Vec<(&[u8], &[u8])> = sent.iter().map(|(n, v)| (&**n, &**v)).collect();
    let set = |sent: &[(&[u8], &[u8])]| {
        changes(config(GroupsEncoding::Indexed), &who, sent).map(|(set, _)| set.len())
    };
    assert_eq!(set(&sent), Ok(62), "38 and 62 are 100");
    sent.push((b"x-remote-user", b"evil"));
    assert_eq!(set(&sent), Ok(62), "what is overwritten does not count");
    sent.push((b"authorization", b"gone"));
    assert_eq!(
        set(&sent),
        Err(Reason::IdentityTooLarge),
        "what is removed does: Envoy counts before it removes"
    );
    assert_eq!(changes(config(GroupsEncoding::Joined), &who, &sent).map(|(set, _)| set.len()), Ok(2));
    let long = "x".repeat(60 * 1024);
    let sent: [(&[u8], &[u8]); 1] = [(b"h", long.as_bytes())];
    assert_eq!(changes(config(GroupsEncoding::Joined), &who, &sent), Err(Reason::IdentityTooLarge));
}

/// S9, S36 (envoy#35610; Authorino's X-Ext-Auth-Reason): denied in the CheckResponse, in kube-apiserver's words, always the same.
#[test]
fn a_denial_is_kube_apiservers_401_and_gives_no_reason() {
    let replies = Replies::new(config(GroupsEncoding::Joined), BOTH, &[]);
    let reply = message(&replies.deny(&Denial::new(Authenticator::Bearer, Reason::InvalidBearerToken)));
    let header = |key: &str, value: &str| HeaderValueOption {
        header: Some(HeaderValue { key: key.into(), value: value.into(), ..Default::default() }),
        append_action: HeaderAppendAction::AppendIfExistsOrAdd.into(),
        ..Default::default()
    };
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: 401 }),
        headers: vec![
            header("content-type", "application/json"),
            header("www-authenticate", "Bearer realm=\"countersign\""),
            header("www-authenticate", "Basic realm=\"countersign\", charset=\"UTF-8\""),
        ],
        body: "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"Unauthorized\",\
               \"reason\":\"Unauthorized\",\"code\":401}"
            .into(),
    };
    let expected = CheckResponse {
        status: Some(rpc::Status { code: 16, ..Default::default() }),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::DeniedResponse(denied)),
    };
    assert_eq!(reply, expected);
    for reason in [Reason::Panicked, Reason::MalformedRequest, Reason::PasswordVerificationBusy] {
        assert_eq!(message(&replies.deny(&Denial::new(Authenticator::Chain, reason))), expected);
    }
}

#[test]
fn undecided_may_be_a_503_that_invites_to_retry() {
    let config = ReplyConfig { undecided_unavailable: true, ..config(GroupsEncoding::Joined) };
    let replies = Replies::new(config, BOTH, &[]);
    let status = |reason| {
        let reply = message(&replies.deny(&Denial::new(Authenticator::Basic, reason)));
        let Some(HttpResponse::DeniedResponse(denied)) = reply.http_response else { panic!("not denied") };
        let headers: Vec<_> =
            denied.headers.into_iter().filter_map(|h| h.header).map(|h| (h.key, h.value)).collect();
        (reply.status.map(|s| s.code), denied.status.map(|s| s.code), headers)
    };
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let json = header("content-type", "application/json");
    assert_eq!(
        status(Reason::PasswordVerificationBusy),
        (Some(14), Some(503), vec![json, header("retry-after", "1")])
    );
    assert_eq!(status(Reason::InvalidUsernameOrPassword).1, Some(401));
    assert_eq!(status(Reason::Panicked).1, Some(401), "a bug is no outage");
}

/// R1: an empty CheckResponse means OK to Envoy. No reply of ours is one, or lacks a code where it denies.
#[test]
fn no_reply_is_ok_by_default() {
    let replies = Replies::new(config(GroupsEncoding::Joined), Schemes { bearer: false, basic: false }, &[]);
    for reason in [Reason::NoCredentials, Reason::PasswordVerificationBusy, Reason::Panicked] {
        let reply = message(&replies.deny(&Denial::new(Authenticator::Chain, reason)));
        assert_ne!(reply.status.map_or(0, |s| s.code), 0);
    }
    let ok = replies.allow(&alice(), &joined(&[])).expect("alice is safe");
    assert!(matches!(message(&ok).http_response, Some(HttpResponse::OkResponse(_))));
}

/// Nothing is built for a user who has been here before, but for the client that plays tricks.
#[test]
fn the_reply_for_a_known_identity_is_made_once() {
    let replies = Replies::new(config(GroupsEncoding::Joined), BOTH, &[]);
    let who = alice();
    let allocations = |headers: &[(&[u8], &[u8])]| {
        let request = request(headers);
        let mut reply = None;
        let counted = allocation_counter::measure(|| reply = Some(replies.allow(&who, &request).unwrap()));
        (counted.count_total, reply.unwrap())
    };
    let plain: [(&[u8], &[u8]); 2] = [(b"authorization", b"Bearer t"), (b"accept", b"*/*")];
    let (first, made) = allocations(&plain);
    // The second finds it; Bytes counts its owners from the first copy on.
    let _second = allocations(&plain);
    let (third, kept) = allocations(&plain);
    assert!(first > 10, "{first}");
    assert_eq!(third, 0);
    assert_eq!(kept.as_bytes(), made.as_bytes());
    // What is overwritten or removed anyway changes nothing.
    let (spoofed, reply) = allocations(&[(b"x-remote-user", b"evil"), (b"x-remote-uid", b"0")]);
    assert_eq!((spoofed, reply.as_bytes()), (0, made.as_bytes()));
    let (tricky, reply) = allocations(&[(b"x_remote_user", b"evil")]);
    assert!(tricky > 20 && reply.as_bytes() != made.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Each length in its place, whatever the number of bytes that it takes.
    #[test]
    fn a_reply_is_as_long_as_what_it_decodes_to(
        (username, uid) in ("[a-z]{1,300}", "[a-z]{0,3}"),
        groups in vec("[a-zü]{0,40}", 0..600),
        extra in vec(("[a-z]{1,20}", vec("[a-z]{0,200}", 0..3)), 0..4),
        encoding in prop_oneof![Just(GroupsEncoding::Joined), Just(GroupsEncoding::Indexed), Just(GroupsEncoding::Metadata)],
    ) {
        let extra = extra.into_iter().collect::<BTreeMap<_, _>>();
        let identity = Arc::new(Identity::new(&*username, &*uid, Groups::new(&groups), Extra::new(&extra)));
        let config = ReplyConfig { max_headers_count: 1000, max_headers_bytes: usize::MAX, ..config(encoding) };
        let reply = Replies::new(config, BOTH, &[]).allow(&Authenticated::new(identity, Authenticator::Jwt), &request(&[]));
        let reply = reply.expect("safe");
        prop_assert_eq!(message(&reply).encoded_len(), reply.as_bytes().len());
    }
}

mod impersonation;
