use std::path::Path;

use super::*;
use crate::decision::Authenticator;
use crate::https::Proxies;

pub(super) fn load(flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, Vec<ConfigError>> {
    let arguments = ["countersign", "serve"].iter().chain(flags).map(OsString::from);
    let matches =
        options::command().try_get_matches_from(options::normalize(arguments)).expect("clap takes the flags");
    let (_, matches) = matches.subcommand().expect("serve");
    Config::load(
        matches,
        environment.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))),
        &Remote::new(Proxies::default()),
        &Clusters::new(|_, _| None, Arc::default()),
    )
    .config
}

pub(super) fn errors(flags: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    load(flags, environment).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// What a part of [`Config::parse`] makes of flags, and the errors.
pub(super) fn read_flags<T, F: Into<OsString>>(
    flags: impl IntoIterator<Item = F>,
    read: impl FnOnce(&mut Values<'_>) -> T,
) -> (T, Vec<String>) {
    read_flags_in(flags, Vec::new(), read)
}

/// The same in an environment.
pub(super) fn read_flags_in<T, F: Into<OsString>>(
    flags: impl IntoIterator<Item = F>,
    environment: Environment,
    read: impl FnOnce(&mut Values<'_>) -> T,
) -> (T, Vec<String>) {
    let arguments =
        ["countersign", "serve"].into_iter().map(OsString::from).chain(flags.into_iter().map(Into::into));
    let matches =
        options::command().try_get_matches_from(options::normalize(arguments)).expect("clap takes the flags");
    let (_, matches) = matches.subcommand().expect("serve");
    let (mut files, mut errors) = (Files::default(), Vec::new());
    let sources = Sources::merge(matches, environment, &mut files, &mut errors);
    let read = read(&mut Values::new(sources, &mut files, &mut errors));
    (read, errors.iter().map(ToString::to_string).collect())
}

/// A file that ends with the test.
pub(super) fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

const ANONYMOUS: &str = "--anonymous-auth=true";

/// Names are the test of the table itself: each option is looked up by name, and its default must parse.
#[test]
fn the_defaults_are_a_good_configuration() {
    let config = load(&[ANONYMOUS], &[]).expect("the defaults are good");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9001");
    assert_eq!(config.server.shutdown_delay, Duration::from_secs(3));
    assert_eq!(config.reply.headers.extra_prefix, "x-remote-extra-");
    assert_eq!(config.reply.groups_encoding, GroupsEncoding::Joined);
    assert!(config.reply.dynamic_metadata && !config.reply.undecided_unavailable);
    assert_eq!((config.reply.max_headers_count, config.reply.max_headers_bytes), (100, 61440));
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file_and_that_over_the_default() {
    let (_folder, path) =
        file("listen: 127.0.0.1:1\nlog-format: json\nmax-concurrent-streams: 7\napi-audiences: [a, b]\n");
    let environment = [
        ("COUNTERSIGN_CONFIG", &*path),
        ("COUNTERSIGN_LISTEN", "127.0.0.1:2"),
        ("COUNTERSIGN_LOG_LEVEL", "debug"),
    ];
    let config = load(&[ANONYMOUS, "--log-level=warn"], &environment).expect("a good configuration");
    let ServerConfig { listen, max_concurrent_streams, max_header_list_bytes, .. } = config.server;
    assert_eq!(
        (
            listen.to_string(),
            config.log.json,
            max_concurrent_streams,
            config.log.filter,
            max_header_list_bytes
        ),
        ("127.0.0.1:2".to_owned(), true, 7, "warn".to_owned(), 16384)
    );
    let flag = load(&[ANONYMOUS, "--config", &path, "--listen", "unix:/run/x"], &environment[1..]);
    assert_eq!(flag.expect("a good configuration").server.listen, ListenAddress::Unix("/run/x".into()));
}

/// pflag: the last of several counts, `--flag` alone is true, `_` is `-` (WordSepNormalizeFunc).
#[test]
fn flags_are_read_as_kube_apiserver_reads_them() {
    let anonymous =
        |flags: &[&str]| load(flags, &[]).map(|c| c.chain.anonymous.is_some()).map_err(|e| e.len());
    assert_eq!(anonymous(&["--anonymous-auth"]), Ok(true));
    assert_eq!(anonymous(&["--anonymous_auth=T"]), Ok(true));
    assert_eq!(anonymous(&["--anonymous-auth=false", "--anonymous-auth=1"]), Ok(true));
    assert_eq!(anonymous(&["--anonymous-auth", "--anonymous-auth=0"]), Err(1), "then nobody could get in");
    assert_eq!(errors(&["--anonymous-auth=yes"], &[]), ["--anonymous-auth: \"yes\": must be true or false"]);
    assert_eq!(
        errors(&["--anonymous-auth", "--enable-bootstrap-token-auth=yes"], &[]),
        ["--enable-bootstrap-token-auth: \"yes\": must be true or false"]
    );
    assert_eq!(anonymous(&["--anonymous-auth", "--api-audiences=a,b", "--api-audiences=c"]), Ok(true));
}

/// Go: all rows of TestAuthenticationValidate (k8s.io/kubernetes/pkg/kubeapiserver/options/authentication_test.go), but for two: "test when
/// WebHook has invalid retry attempts", which no flag sets, and "test when authentication config file and anonymous-auth flags are
/// set AnonymousAuthConfigurableEndpoints disabled", which cannot be switched off in 1.36. kube-apiserver cannot be without
/// service accounts, we can, so that a key file and an issuer are wanted where there is one of the two.
#[test]
fn the_rows_of_gos_test_of_all_flags_together() {
    let (_key_folder, key) = file(include_str!("../../tests/conformance/world/sa/rsa1.pub"));
    let (_ca_folder, ca) = file(include_str!("../../tests/conformance/world/ca/client-ca.pem"));
    let (_other_folder, other) = file(include_str!("../../tests/conformance/world/ca/front-proxy-ca.pem"));
    let (_file_folder, empty) =
        file("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n");
    let accounts = |more: &[&str]| {
        let common =
            ["--service-account-lookup-mode=offline".to_owned(), format!("--service-account-key-file={key}")];
        common.into_iter().chain(more.iter().map(|flag| (*flag).to_owned())).collect::<Vec<_>>()
    };
    let issuer = "--service-account-issuer=http://foo.bar.com";
    let oidc = [
        "--oidc-issuer-url=https://testIssuerURL",
        "--oidc-client-id=testClientID",
        "--oidc-username-claim=sub",
        "--oidc-signing-algs=RS256",
    ];
    let with_oidc =
        |more: Vec<String>| oidc.iter().map(|flag| (*flag).to_owned()).chain(more).collect::<Vec<_>>();
    let without_client = |more: Vec<String>| {
        let mut flags = with_oidc(more);
        flags.remove(1);
        flags
    };
    let configuration = || format!("--authentication-config={empty}");
    let proxies = |bundle: &str, names: &str| {
        vec![
            format!("--client-ca-file={ca}"),
            format!("--requestheader-client-ca-file={bundle}"),
            format!("--requestheader-allowed-names={names}"),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
        ]
    };
    let accounts_flag = "--service-account-issuer: service-account-issuer";
    let table: [(&str, Vec<String>, &str); 15] = [
        ("test when OIDC and ServiceAccounts are nil", Vec::new(), ""),
        (
            "test when OIDC and ServiceAccounts are valid",
            with_oidc(accounts(&[issuer, &format!("--service-account-key-file={key}")])),
            "",
        ),
        (
            "test when OIDC is invalid",
            without_client(accounts(&[issuer])),
            "--oidc-issuer-url: oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set",
        ),
        (
            "test when ServiceAccounts doesn't have key file",
            with_oidc(vec![issuer.to_owned()]),
            "--service-account-issuer: `--service-account-key-file` must be set too, or no token can be verified",
        ),
        (
            "test when ServiceAccounts doesn't have issuer",
            with_oidc(accounts(&[])),
            "--service-account-key-file: service-account-issuer is a required flag",
        ),
        (
            "test when ServiceAccounts has empty string as issuer",
            with_oidc(accounts(&["--service-account-issuer="])),
            &format!("{accounts_flag} should not be an empty string"),
        ),
        (
            "test when ServiceAccounts has duplicate issuers",
            with_oidc(accounts(&[issuer, issuer])),
            &format!("{accounts_flag} \"http://foo.bar.com\" is already specified"),
        ),
        (
            "test when ServiceAccount has bad issuer",
            with_oidc(accounts(&["--service-account-issuer=http://[::1]:namedport"])),
            &format!(
                "{accounts_flag} \"http://[::1]:namedport\" contained a ':' but was not a valid URL: parse \"http://[::1]:namedport\": \
                 invalid port \":namedport\" after host"
            ),
        ),
        (
            "test when ServiceAccounts has invalid JWKSURI",
            with_oidc(accounts(&[issuer, "--service-account-jwks-uri=https://host:port"])),
            "--service-account-jwks-uri: \"https://host:port\": service-account-jwks-uri must be a valid URL: parse \"https://host:port\": \
             invalid port \":port\" after host",
        ),
        (
            "test when ServiceAccounts has invalid JWKSURI (not https scheme)",
            with_oidc(accounts(&[issuer, "--service-account-jwks-uri=http://baz.com"])),
            "--service-account-jwks-uri: \"http://baz.com\": service-account-jwks-uri requires https scheme",
        ),
        (
            "test when authentication config file is set (feature gate enabled by default)",
            vec![configuration()],
            "",
        ),
        (
            "test when authentication config file and oidc-* flags are set",
            with_oidc(vec![configuration()]),
            "--oidc-issuer-url: authentication-config file and oidc-* flags are mutually exclusive; write an issuer into the file, or \
             remove the file",
        ),
        (
            "overlapping CA without allowed-names",
            proxies(&ca, ""),
            "--requestheader-client-ca-file: --requestheader-client-ca-file and --client-ca-file contain overlapping certificates; \
             --requestheader-allowed-names must be specified to ensure regular client certificates cannot set authenticating proxy \
             headers for arbitrary users",
        ),
        ("overlapping CA with allowed-names", proxies(&ca, "Client-CA"), ""),
        ("different CAs without allowed-names", proxies(&other, ""), ""),
    ];
    for (name, flags, expected) in table {
        let flags: Vec<&str> = [ANONYMOUS].into_iter().chain(flags.iter().map(String::as_str)).collect();
        let expected: Vec<&str> =
            Some(expected).filter(|expected| !expected.is_empty()).into_iter().collect();
        assert_eq!(errors(&flags, &[]), expected, "{name}");
    }
}

/// Go: `validateIssuerURL`, by way of `ToAuthenticationConfig`, which gives it the issuers of service accounts ("disallowed issuers").
#[test]
fn issuers_of_jwts_and_of_service_accounts_are_kept_apart() {
    let flags = ["--oidc-issuer-url=https://a", "--oidc-client-id=b"];
    assert_eq!(errors(&flags, &[]), [""; 0]);
    let (_folder, key) = file(include_str!("../../tests/conformance/world/sa/rsa1.pub"));
    let accounts = [
        &*format!("--service-account-key-file={key}"),
        "--service-account-issuer=https://a",
        "--service-account-lookup-mode=offline",
    ];
    let errors = errors(&[&flags[..], &accounts].concat(), &[]);
    assert_eq!(
        errors,
        [
            "--oidc-issuer-url: Invalid value: \"https://a\": URL must not overlap with disallowed issuers: [https://a]"
        ]
    );
}

/// Go: `Config.New` of pkg/kubeapiserver/authenticator/config.go.
#[test]
fn issuers_of_jwts_come_after_the_token_file_whichever_way_they_are_configured() {
    let issuers = |flags: &[&str]| -> Vec<String> {
        let mut config = load(flags, &[]).expect("a good configuration");
        let authenticators = config.chain.jwt().expect("authenticators of JWTs");
        authenticators.keys().map(|keys| keys.source().url.clone()).collect()
    };
    assert_eq!(issuers(&["--oidc-issuer-url=https://a", "--oidc-client-id=b"]), ["https://a"]);
    let jwt = |url: &str| {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n\
             - issuer: {{url: '{url}', audiences: [a]}}\n  claimMappings: {{username: {{claim: sub, prefix: ''}}}}\n"
        )
    };
    let (_folder, good) = file(&jwt("https://b"));
    assert_eq!(issuers(&["--authentication-config", &good]), ["https://b"]);
    let (_folder, tokens) = file("token,user,uid\n");
    let config = load(&["--authentication-config", &good, "--token-auth-file", &tokens], &[]);
    let config = config.expect("a good configuration");
    assert!(matches!(
        config.chain.tokens[..],
        [TokenAuthenticator::TokenFile(_), TokenAuthenticator::Jwt(_)]
    ));
    let (_folder, bad) = file(&jwt("http://a"));
    assert_eq!(
        errors(&["--authentication-config", &bad], &[]),
        [format!(
            "--authentication-config: {bad}: jwt[0].issuer.url: Invalid value: \"http://a\": URL scheme must be https"
        )]
    );
}

/// Go: `Config.New` of pkg/kubeapiserver/authenticator/config.go: "Keep the OpenID Connect after Service Accounts", and the webhook last.
#[test]
fn bearer_tokens_are_shown_to_authenticators_in_kube_apiservers_order() {
    let (_tokens_folder, tokens) = file("token,user,uid\n");
    let (_key_folder, key) = file(include_str!("../../tests/conformance/world/sa/rsa1.pub"));
    let (_kubeconfig_folder, kubeconfig) = file(
        "{current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: 'https://a.test'}}]}",
    );
    let flags = [
        // Not in the order that is to come out.
        format!("--authentication-token-webhook-config-file={kubeconfig}"),
        "--authentication-token-webhook-version=v1".to_owned(),
        "--oidc-issuer-url=https://issuer".to_owned(),
        "--oidc-client-id=client".to_owned(),
        "--enable-bootstrap-token-auth".to_owned(),
        format!("--service-account-key-file={key}"),
        "--service-account-issuer=https://accounts".to_owned(),
        format!("--token-auth-file={tokens}"),
        format!("--kubeconfig={kubeconfig}"),
        "--anonymous-auth=false".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let config = load(&flags, &[]).expect("a good configuration");
    let names: Vec<Authenticator> = config.chain.tokens.iter().map(TokenAuthenticator::name).collect();
    assert_eq!(
        names,
        [
            Authenticator::TokenFile,
            Authenticator::LegacyServiceAccount,
            Authenticator::ServiceAccount,
            Authenticator::Bootstrap,
            Authenticator::Jwt,
            Authenticator::Webhook,
        ]
    );
}

/// Go: `BootstrapTokenAuthenticationOptions`. The flag alone brings an authenticator; that it is there says nothing.
#[test]
fn bootstrap_tokens_need_a_cluster_and_are_credentials() {
    let (_folder, path) = file(
        "{current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: 'https://a.test'}}]}",
    );
    let kubeconfig = format!("--kubeconfig={path}");
    let config =
        load(&["--enable-bootstrap-token-auth", "--anonymous-auth=false", &kubeconfig], &[]).expect("good");
    assert!(config.cluster.is_some() && config.chain.tokens.len() == 1);
    let told = errors(&["--enable-bootstrap-token-auth=false", "--anonymous-auth=false"], &[]);
    assert!(
        told.len() == 1 && told[0].starts_with("configuration: no authenticator is configured"),
        "{told:?}"
    );
    let told = errors(&["--enable-bootstrap-token-auth"], &[]);
    assert!(told.len() == 1 && told[0].starts_with("--kubeconfig: no cluster: set --kubeconfig"), "{told:?}");
}

#[test]
fn every_error_is_told_at_once_with_its_place() {
    let (_folder, path) = file("listen: [1]\nLogFormat: json\nsurprise: 1\nlog-format: xml\n");
    let (_tokens, tokens) = file("a,b\n\"c\",d,e\nf\n");
    let environment = [("COUNTERSIGN_KEEPALIVE_TIMEOUT", "soon"), ("COUNTERSIGN_SERVICE_HOST", "10.0.0.1")];
    let flags = ["--config", &path, "--token-auth-file", &tokens, "--max-concurrent-streams=0"];
    let columns = "must have at least 3 columns (token, user name, user uid), found";
    let mend = "write token,name,uid,\"group1,group2\"";
    let mut expected = [
        format!("{path}: listen: must be one value, not a list, a map or nothing"),
        format!("{path}: LogFormat: unknown key; write log-format"),
        format!("{path}: surprise: unknown key; the keys are the flags of `countersign serve --help`, without the dashes"),
        format!("--token-auth-file: {tokens}: line 1: {columns} 2; {mend}"),
        format!("--token-auth-file: {tokens}: line 3: {columns} 1; {mend}"),
        "--max-concurrent-streams: \"0\": must be a number from 1 to 1000000".to_owned(),
        "COUNTERSIGN_KEEPALIVE_TIMEOUT: \"soon\": must be a duration of at most 24h, such as 500ms, 3s or 1h30m".to_owned(),
        format!("{path}: log-format: \"xml\": must be one of text, json"),
    ];
    let mut told = errors(&flags, &environment);
    expected.sort();
    told.sort();
    assert_eq!(told, expected);
}

#[test]
fn a_file_is_read_strictly() {
    let told = |text: &str| {
        let (_folder, path) = file(text);
        errors(&[ANONYMOUS, "--config", &path], &[])
            .iter()
            .map(|e| e.replace(&path, "FILE"))
            .collect::<Vec<_>>()
    };
    assert_eq!(told("log-format: json\nlog-format: text\n").len(), 1, "a key twice");
    assert!(told("log-format: json\nlog-format: text\n")[0].contains("line 2"));
    assert_eq!(told("- a\n").len(), 1);
    assert_eq!(told("anonymous-auth: maybe\n").len(), 0, "the flag is stronger");
    assert_eq!(
        told("dynamic-metadata: null\n"),
        ["FILE: dynamic-metadata: must be one value, not a list, a map or nothing"]
    );
    let missing = errors(&[ANONYMOUS, "--config", "/no/such/file"], &[]);
    assert!(missing[0].starts_with("/no/such/file: cannot be read"), "{missing:?}");
}

/// Errors quote no secret: neither a token file's text nor a password.
#[test]
fn errors_do_not_quote_what_is_in_a_secret_file() {
    let (_a, tokens) = file("s3cret\ns3cret,\"s3cret\" s3cret,x\n");
    let (_b, passwords) = file("$2y$10$s3cret,u,1\n\"$argon2id$s3cret\",v,2\n");
    let told = errors(&["--token-auth-file", &tokens, "--basic-auth-file", &passwords], &[]);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(!told.concat().contains("s3cret"), "{told:?}");
}

#[test]
fn an_audit_log_needs_a_place_and_a_level() {
    let audit = |flags: &[&str]| {
        load(&[&["--anonymous-auth=true"], flags].concat(), &[])
            .map(|config| (config.server.audit, config.warnings))
    };
    let config = |level, path: Option<&str>| Some(AuditConfig { level, path: path.map(Into::into) });
    let good = |audit| Ok((audit, Vec::new()));
    assert_eq!(audit(&[]), good(None));
    assert_eq!(audit(&["--audit-level=all", "--audit-log-path=-"]), good(config(Level::All, None)));
    let path = "--audit-log-path=/var/log/audit.log";
    assert_eq!(
        audit(&["--audit-level=denied", path]),
        good(config(Level::Denied, Some("/var/log/audit.log")))
    );
    let warning = "--audit-log-path: nothing is told of there unless --audit-level is denied or all";
    assert_eq!(audit(&[path]), Ok((None, vec![warning.to_owned()])));
    assert_eq!(
        errors(&["--anonymous-auth=true", "--audit-level=all"], &[]),
        ["--audit-level: needs a place to tell of decisions: set --audit-log-path"]
    );
    assert_eq!(
        errors(&["--anonymous-auth=true", "--audit-level=some"], &[]),
        ["--audit-level: \"some\": must be one of none, denied, all"]
    );
}

#[test]
fn insecure_set_ups_are_refused_with_the_flag_that_allows_them() {
    let listen = errors(&[ANONYMOUS, "--listen=0.0.0.0:9001"], &[]);
    assert_eq!(listen.len(), 1);
    assert!(listen[0].ends_with("allow it with --insecure-listen-plaintext"), "{listen:?}");
    assert!(load(&[ANONYMOUS, "--listen=0.0.0.0:9001", "--insecure-listen-plaintext"], &[]).is_ok());
    for local in ["127.0.0.2:1", "[::1]:1", "unix:/run/x"] {
        assert!(load(&[ANONYMOUS, "--listen", local], &[]).is_ok(), "{local}");
    }
    let nobody = errors(&[], &[]);
    assert!(nobody.len() == 1 && nobody[0].contains("--anonymous-auth=true"), "{nobody:?}");
    assert!(errors(&["--anonymous-auth=false"], &[])[0].contains("every request would be refused"));
}

#[test]
fn identity_headers_must_be_told_apart_and_mean_nothing_else() {
    let told = |flags: &[&str]| errors(&[&[ANONYMOUS], flags].concat(), &[]).len();
    assert_eq!(told(&["--identity-user-header=X-User", "--identity-extra-header-prefix=X-Auth-"]), 0);
    for bad in
        ["", "X User", "Host", "Authorization", ":path", "X_User", "x-envoy-user", "Impersonate-User", "Ü"]
    {
        assert_eq!(told(&[&format!("--identity-user-header={bad}")]), 1, "{bad}");
    }
    assert_eq!(told(&["--identity-user-header=X-REMOTE-UID"]), 1, "used twice");
    assert_eq!(told(&["--identity-uid-header=X-Remote-Extra-Uid"]), 1, "within the extras");
    assert_eq!(told(&["--groups-encoding=indexed", "--identity-extra-header-prefix=X-Extra"]), 1);
    assert_eq!(told(&["--groups-encoding=metadata", "--dynamic-metadata=false"]), 1);
}

/// Go: "--anonymous-auth flag cannot be set when anonymous field is configured" (options/authentication.go).
#[test]
fn the_anonymous_flag_and_the_anonymous_field_exclude_each_other() {
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
    let (_a, anonymous) =
        file(&format!("{head}anonymous:\n  enabled: true\n  conditions:\n  - path: /x%2fy\n"));
    let (_b, none) = file(head);
    let told = |flag: &str, path: &str| errors(&[flag, "--authentication-config", path], &[]);
    for flag in ["--anonymous-auth=true", "--anonymous-auth=false"] {
        let told = told(flag, &anonymous);
        assert!(told[0].contains("anonymous: Forbidden: --anonymous-auth flag cannot be set"), "{told:?}");
    }
    assert_eq!(told("--anonymous-auth=true", &none), [""; 0]);
    let config = load(&["--authentication-config", &anonymous], &[]).expect("a good configuration");
    assert!(config.warnings[0].contains("anonymous.conditions[0].path"), "{:?}", config.warnings);
    assert!(Path::new(&anonymous).exists());
}
