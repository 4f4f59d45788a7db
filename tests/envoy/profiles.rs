//! Routes that name a profile, through Envoy's `context_extensions`.

use http::Request;

use crate::denials::UNAUTHORIZED;
use crate::spoofing::{SPOOFS, UNDERSCORES};
use crate::support::{Config, Response, Setup, Stack};

const ALICE: &str = "authorization: Bearer alice-token";
/// Of dave.
const DAVE: &str = "authorization: Basic ZGF2ZTpoaWRkZW4=";

const PROFILES: &str = "\
apiVersion: countersign/v1alpha1
kind: ProfileConfiguration
profiles:
- name: public
  authenticators: [tokenfile]
  anonymous: {enabled: true, conditions: [{path: /public/healthz}]}
- name: app
  authenticators: [basic]
  anonymous: {enabled: false}
  identityHeaders: {user: Auth-User, uid: Auth-Uid, group: Auth-Group, extraPrefix: Auth-Extra-, groupsEncoding: indexed}
";

/// The routes that the README shows.
fn readme() -> &'static str {
    let (_, section) =
        include_str!("../../deploy/envoy/README.md").split_once("## A policy for each route\n").unwrap();
    section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap()
}

fn extension(key: &str, value: &str) -> String {
    format!(
        r#"typed_per_filter_config: {{ envoy.filters.http.ext_authz: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, check_settings: {{ context_extensions: {{ {key}: "{value}" }} }} }} }}"#
    )
}

/// More routes before those of the README: path, key and value.
fn routes(more: &[(&str, &str, &str)]) -> String {
    let route = |(path, key, value): &(&str, &str, &str)| {
        let extension = extension(key, value);
        format!(
            "  - match: {{ prefix: {path} }}\n    route: {{ cluster: application, timeout: 0s }}\n    {extension}\n"
        )
    };
    let more: String = more.iter().map(route).collect();
    readme().replacen("routes:\n", &format!("routes:\n{more}"), 1)
}

/// countersign may remove what is some profile's.
fn with_names(config: Config) -> Config {
    config.with("|(x[-_]remote|impersonate)[-_].+", "|(x[-_]remote|impersonate|auth)[-_].+")
}

fn setup() -> Setup {
    Setup::new()
        .basic_auth()
        .file("profiles.yaml", PROFILES)
        .flags(&["--profiles-file=profiles.yaml"])
        .config(with_names)
}

async fn get(stack: &Stack, path: &str, lines: &[&str]) -> Response {
    let request = Request::get(format!("https://app.test{path}"));
    stack.envoy.edge.http2_request(request, lines).await.unwrap()
}

/// The user that the application sees, by whatever header, or the status.
async fn user(stack: &Stack, path: &str, line: &str) -> Result<String, u16> {
    let response = get(stack, path, &[line]).await;
    if response.status != 200 {
        return Err(response.status);
    }
    let user = |line: &&str| line.starts_with("x-remote-user: ") || line.starts_with("auth-user: ");
    Ok(response.forwarded().into_iter().find(user).unwrap_or("nobody").to_owned())
}

#[tokio::test]
async fn a_route_has_the_policy_that_it_names() {
    let more = [
        ("/app/", "countersign.profile", "app"),
        ("/default/", "countersign.profile", "default"),
        ("/unknown/", "countersign.profile", "publik"),
        ("/empty/", "countersign.profile", ""),
        ("/typo/", "countersign_profile", "public"),
        ("/other/", "profile", "app"),
    ];
    let stack = setup().config(|config| config.with_routes(&routes(&more))).start().await;
    let (alice, dave) = (Ok("x-remote-user: alice".to_owned()), Ok("x-remote-user: dave".to_owned()));
    let nobody = Ok("x-remote-user: system:anonymous".to_owned());
    // Of alice's token, dave's password, and nothing.
    let table = [
        ("/", [&alice, &dave, &nobody]),
        ("/other/", [&alice, &dave, &nobody]),
        ("/default/", [&alice, &dave, &nobody]),
        ("/public/", [&alice, &Err(401), &Err(401)]),
        ("/public/healthz", [&alice, &nobody, &nobody]),
        ("/app/", [&Err(401), &Ok("auth-user: dave".to_owned()), &Err(401)]),
        ("/unknown/", [&Err(401); 3]),
        ("/empty/", [&Err(401); 3]),
        ("/typo/", [&Err(401); 3]),
    ];
    for _ in 0..2 {
        for (path, expected) in &table {
            for (line, expected) in [ALICE, DAVE, "x-nothing: at-all"].into_iter().zip(expected) {
                assert_eq!(user(&stack, path, line).await, **expected, "{path} {line}");
            }
        }
    }
    let denied = get(&stack, "/unknown/", &[ALICE]).await;
    assert_eq!((denied.status, denied.body.as_str()), (401, UNAUTHORIZED));
    let challenges = |response: &Response| {
        let lines = response.headers.iter().filter_map(|line| line.strip_prefix("www-authenticate: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        challenges(&get(&stack, "/app/", &[]).await),
        ["Basic realm=\"countersign\", charset=\"UTF-8\""]
    );
    assert_eq!(challenges(&get(&stack, "/public/", &[]).await), ["Bearer realm=\"countersign\""]);
}

/// What a virtual host names holds for its routes, unless they name something themselves. No header of a client is in the way.
#[tokio::test]
async fn a_route_wins_over_its_virtual_host_and_a_client_over_nobody() {
    let more = [("/default/", "countersign.profile", "default"), ("/more/", "tenant", "blue")];
    let host = extension("countersign.profile", "app");
    let domains = r#"domains: ["*"]"#;
    let stack = setup()
        .config(|config| {
            config
                .with_routes(&routes(&more))
                .with(domains, &format!("{domains}\n                      {host}"))
        })
        .start()
        .await;
    let (alice, dave) = (Ok("x-remote-user: alice".to_owned()), Ok("auth-user: dave".to_owned()));
    for (path, expected) in [
        ("/", [&Err(401), &dave]),
        ("/more/", [&Err(401), &dave]),
        ("/public/", [&alice, &Err(401)]),
        ("/default/", [&alice, &Ok("x-remote-user: dave".to_owned())]),
    ] {
        for (line, expected) in [ALICE, DAVE].into_iter().zip(expected) {
            assert_eq!(user(&stack, path, line).await, *expected, "{path} {line}");
        }
    }
    for spoof in [
        "countersign.profile: default",
        "context-extensions: countersign.profile=default",
        "x-envoy-context-extensions: default",
        "x-envoy-original-path: /default/",
        "x-countersign-profile: default",
    ] {
        assert_eq!(get(&stack, "/", &[ALICE, spoof]).await.status, 401, "{spoof}");
    }
}

/// S13: what some other route's upstream would believe does not pass this one's either. countersign alone, without anything in front.
#[tokio::test]
async fn made_up_identity_of_any_profile_passes_no_route() {
    let more = [("/app/", "countersign.profile", "app")];
    let stack =
        setup().config(|config| config.without_early_defences().with_routes(&routes(&more))).start().await;
    let others = [
        "Auth-User: evil",
        "auth_user: evil",
        "Auth-Uid: 0",
        "Auth-Group: system:masters",
        "auth-group-1: system:masters",
        "auth-group-9: system:masters",
        "Auth-Extra-Foo: bar",
        "auth_extra_foo: bar",
        "Auth-Extra1-Foo: bar",
    ];
    let spoofs: Vec<&str> = others.into_iter().chain(SPOOFS).chain(UNDERSCORES).collect();
    let with = |credential| spoofs.iter().copied().chain([credential]).collect::<Vec<_>>();
    for _ in 0..2 {
        let as_alice = [
            "x-remote-user: alice",
            "x-remote-uid: alice-uid",
            "x-remote-group: dev,ops,system:authenticated",
        ];
        assert_eq!(get(&stack, "/", &with(ALICE)).await.forwarded(), as_alice);
        assert_eq!(get(&stack, "/public/x", &with(ALICE)).await.forwarded(), as_alice);
        assert_eq!(
            get(&stack, "/app/", &with(DAVE)).await.forwarded(),
            ["auth-user: dave", "auth-group: system:authenticated"]
        );
        assert_eq!(
            get(&stack, "/", &spoofs).await.forwarded(),
            ["x-remote-user: system:anonymous", "x-remote-group: system:unauthenticated"]
        );
    }
}

/// A kube-apiserver on one route and an application on the others: our token goes to the first alone, and the Lua filter that looks after it
/// lets nothing else pass there.
#[tokio::test]
async fn one_route_leads_to_a_kube_apiserver_that_is_told_by_impersonation() {
    let kube = "\
apiVersion: countersign/v1alpha1
kind: ProfileConfiguration
profiles: [{name: kube, identityHeaders: {mode: impersonate}}]
";
    let kube_route = extension("countersign.profile", "kube");
    let without_lua = r#"typed_per_filter_config: { envoy.filters.http.lua: { "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute, disabled: true } }"#;
    let route = |prefix: &str, more: &str| {
        format!(
            "  - match: {{ prefix: {prefix} }}\n    route: {{ cluster: application, timeout: 0s }}\n    {more}\n"
        )
    };
    let routes = [
        "routes:\n",
        &route("/kube/", &kube_route),
        // Somebody has forgotten to name the profile.
        "  - match: { prefix: /forgotten/ }\n    route: { cluster: application, timeout: 0s }\n",
        &route("/", without_lua),
    ]
    .concat();
    let stack = Setup::new()
        .file("profiles.yaml", kube)
        .file("upstream.token", "ours\n")
        .flags(&["--profiles-file=profiles.yaml", "--impersonate-token-file=upstream.token"])
        .config(|config| config.with_impersonation().with_routes(&routes))
        .start()
        .await;
    for _ in 0..2 {
        let response = get(&stack, "/kube/", &[ALICE]).await;
        let mut forwarded = response.forwarded();
        forwarded.sort_unstable();
        assert_eq!(
            forwarded,
            [
                "authorization: Bearer ours",
                "impersonate-group: dev",
                "impersonate-group: ops",
                "impersonate-group: system:authenticated",
                "impersonate-uid: alice-uid",
                "impersonate-user: alice",
            ]
        );
        assert_eq!(
            get(&stack, "/", &[ALICE, "impersonate-user: admin"]).await.forwarded(),
            [
                "x-remote-user: alice",
                "x-remote-uid: alice-uid",
                "x-remote-group: dev,ops,system:authenticated"
            ]
        );
        for (path, lines) in [("/forgotten/", &[ALICE][..]), ("/kube/", &[ALICE, "impersonate-user: admin"])]
        {
            let denied = get(&stack, path, lines).await;
            assert_eq!((denied.status, denied.body.as_str()), (401, UNAUTHORIZED), "{path}");
        }
    }
}
