//! Envoy and its configuration.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::certificate;
use super::client::Edge;
use super::process::Process;

/// `deploy/envoy/envoy.yaml` with some of its values replaced, or what another has made.
#[derive(Clone)]
pub(crate) struct Config(String);

impl Config {
    /// As it is shipped.
    pub(crate) fn untouched() -> Self {
        Self(include_str!("../../../deploy/envoy/envoy.yaml").to_owned())
    }

    /// As it is shipped, but on ports that nobody else has, and with so much patience with countersign that a machine which stalls for
    /// some seconds changes no verdict.
    pub(crate) fn shipped() -> Self {
        Self::with_shipped_limits()
            .with("timeout: 2s\n", "timeout: 20s\n")
            .with("max_interval: 1s", "max_interval: 20s")
            .with("connect_timeout: 0.25s\n      lb_policy", "connect_timeout: 20s\n      lb_policy")
            .with("- timeout: 1s\n", "- timeout: 20s\n")
            .with("interval: 10s, timeout: 2s", "interval: 10s, timeout: 20s")
    }

    /// The same, with the time limits that are shipped as well.
    pub(crate) fn with_shipped_limits() -> Self {
        Self::untouched().with("port_value: 10000", "port_value: 0").with("port_value: 9901", "port_value: 0")
    }

    /// Another one.
    #[allow(dead_code, reason = "only those who stand beside a kube-apiserver have one")]
    pub(crate) fn of(text: String) -> Self {
        Self(text)
    }

    /// Replaces what must be there exactly once.
    pub(crate) fn with(self, from: &str, to: &str) -> Self {
        assert_eq!(self.0.matches(from).count(), 1, "{from:?} in the configuration");
        Self(self.0.replace(from, to))
    }

    /// Puts these members of a list before that which begins like `before`, in the same list.
    pub(crate) fn insert(self, members: &str, before: &str) -> Self {
        let at = self.0.find(before).unwrap();
        let indent = &self.0[self.0[..at].rfind('\n').unwrap()..at];
        let members = members.trim_end().replace('\n', indent);
        Self(format!("{}{members}{indent}{}", &self.0[..at], &self.0[at..]))
    }

    /// Takes away what stands in front of countersign's own scrubbing: early removal and the ban on `_`.
    pub(crate) fn without_early_defences(self) -> Self {
        self.with("headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW")
            .with(r#""(x[-_]remote|impersonate)[-_].*""#, r#""nothing is removed early""#)
    }

    /// Header values as Envoy's map of strings, in which repeated lines are joined.
    pub(crate) fn with_header_map(self) -> Self {
        self.with("encode_raw_headers: true", "encode_raw_headers: false")
    }

    /// Turns on an option: takes the mark off the lines that have it.
    pub(crate) fn option(self, name: &str) -> Self {
        let mark = format!("#{name}|");
        assert!(self.0.contains(&mark), "the option {name} is gone");
        Self(self.0.replace(&mark, ""))
    }

    /// Turns on the Lua filter.
    pub(crate) fn with_lua(self) -> Self {
        self.option("lua")
    }

    /// As README.md has it for a kube-apiserver that is told by impersonation.
    pub(crate) fn with_impersonation(self) -> Self {
        self.option("impersonate").with(r#""(x[-_]remote|impersonate)[-_].*""#, r#""(x[-_]remote)[-_].*""#)
    }

    /// A span for each request, at the collector on this port.
    pub(crate) fn with_traces(self, port: u16) -> Self {
        self.option("traces")
            .with("random_sampling: { value: 1 }", "random_sampling: { value: 100 }")
            .with("port_value: 4317", &format!("port_value: {port}"))
    }

    /// Clients are asked for a certificate.
    pub(crate) fn with_client_certificates(self) -> Self {
        self.option("clients")
    }

    /// TLS with certificates on both sides between Envoy and countersign.
    pub(crate) fn with_tls_to_countersign(self) -> Self {
        self.option("tls")
    }

    /// Envoy tells countersign the intermediate certificates as well.
    pub(crate) fn with_chains(self) -> Self {
        self.with("forward_client_cert_details: SANITIZE #", "forward_client_cert_details: SANITIZE_SET #")
    }

    /// As README.md has it for a front proxy that writes `X-Front-*`.
    pub(crate) fn with_front_proxy_of_other_names(self) -> Self {
        self.with("|(x[-_]remote|impersonate)[-_].+", "|(x[-_]remote|x[-_]front|impersonate)[-_].+")
    }

    /// As README.md has it for a front proxy that writes `X-Remote-*`.
    pub(crate) fn with_front_proxy_of_usual_names(self) -> Self {
        self.with(r#""(x[-_]remote|impersonate)[-_].*""#, r#""(impersonate)[-_].*""#)
    }

    /// Less what is commented out.
    fn without_comments(self) -> Self {
        let lines = self.0.lines().filter(|line| !line.trim_start().starts_with('#'));
        Self(lines.map(|line| format!("{line}\n")).collect())
    }

    /// Routes ask nobody.
    pub(crate) fn with_open_route(self) -> Self {
        let route = "route: { cluster: application, timeout: 0s }";
        let unasked = r#"typed_per_filter_config: { envoy.filters.http.ext_authz: { "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true } }"#;
        self.with(route, &format!("{route}\n                          {unasked}"))
    }

    /// These routes in place of the one that is shipped.
    pub(crate) fn with_routes(self, routes: &str) -> Self {
        let indented = |text: &str| text.trim().replace('\n', "\n                      ");
        let shipped = "routes:\n  - match: { prefix: / }\n    route: { cluster: application, timeout: 0s }";
        self.with(&indented(shipped), &indented(routes))
    }

    /// Nobody is asked: a filter in place of ext_authz writes this metadata (JSON) where an answer would have.
    pub(crate) fn with_metadata_in_place_of_ext_authz(self, metadata: &str) -> Self {
        let text = self.without_comments().0;
        let (before, rest) = text.split_once("- name: envoy.filters.http.ext_authz").unwrap();
        let (_, after) = rest.split_once("- name: envoy.filters.http.lua").unwrap();
        let indent = before.rsplit('\n').next().unwrap();
        let lines = [
            "- name: envoy.filters.http.set_metadata",
            "  typed_config:",
            r#"    "@type": type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config"#,
            "    metadata:",
            "      - metadata_namespace: envoy.filters.http.ext_authz",
            &format!("        value: {}", metadata.replace('\n', "")),
            "- name: envoy.filters.http.lua",
        ];
        Self(format!("{before}{}{after}", lines.join(&format!("\n{indent}"))))
    }

    pub(crate) fn application(self, port: u16) -> Self {
        self.with("port_value: 8080", &format!("port_value: {port}"))
    }

    /// Sets countersign's replicas: TCP ports, or `unix:` addresses.
    pub(crate) fn countersign(self, addresses: &[&str]) -> Self {
        let shipped = "- endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 9001 } } }";
        let endpoints: Vec<String> = addresses
            .iter()
            .map(|address| match address.strip_prefix("unix:") {
                Some(path) => format!("- endpoint: {{ address: {{ pipe: {{ path: {path} }} }} }}"),
                None => shipped.replace("9001", address.rsplit_once(':').unwrap().1),
            })
            .collect();
        self.with(shipped, &endpoints.join("\n              "))
    }
}

/// A running Envoy.
pub(crate) struct Envoy {
    pub(crate) edge: Edge,
    admin: SocketAddr,
    _process: Process,
}

impl Envoy {
    /// Starts it in `directory` and waits until it is ready.
    pub(crate) async fn start(directory: &Path, config: &Config) -> Self {
        let trusted = certificate::write(directory);
        let mut command = command(directory, config);
        command.args(["--concurrency", "1", "--disable-hot-restart", "--admin-address-path", "admin"]);
        command.args(["--file-flush-interval-msec", "100"]); // of the access log; the default is 10 s
        let mut process = Process::start(&mut command, &directory.join("envoy.log"));

        let file = directory.join("admin");
        let ready = async |_: &Process| {
            // Read anew each time: half of what Envoy writes is a port as well.
            let admin = fs::read_to_string(&file).ok()?.parse().ok()?;
            (admin_page(admin, "/ready").await? == "LIVE\n").then_some(admin)
        };
        let admin = process.until("Envoy is ready", ready).await;

        let listeners = admin_page(admin, "/listeners?format=json").await.unwrap();
        let listeners: Value = serde_json::from_str(&listeners).unwrap();
        let port = &listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"];
        let port = u16::try_from(port.as_u64().unwrap()).unwrap();
        let edge = Edge::new(SocketAddr::from(([127, 0, 0, 1], port)), &trusted);
        Self { edge, admin, _process: process }
    }

    /// How many Checks Envoy had to send again.
    pub(crate) async fn checks_repeated(&self) -> u64 {
        self.counted("cluster.countersign.upstream_rq_retry").await
    }

    /// How many connections Envoy has made to countersign.
    pub(crate) async fn connections_to_countersign(&self) -> u64 {
        self.counted("cluster.countersign.upstream_cx_total").await
    }

    /// How often Envoy has taken up a certificate or a CA for its connections to countersign.
    pub(crate) async fn renewals(&self) -> u64 {
        self.counted("cluster.countersign.client_ssl_socket_factory.ssl_context_update_by_sds").await
    }

    /// A counter or gauge of Envoy's.
    pub(crate) async fn counted(&self, name: &str) -> u64 {
        let page = admin_page(self.admin, &format!("/stats?filter=^{name}$")).await.unwrap();
        page.trim().strip_prefix(name).unwrap().trim_start_matches(": ").parse().unwrap()
    }

    /// How many Checks Envoy has sent to the replica on this port. Health checks are not among them.
    pub(crate) async fn checks_sent_to(&self, port: u16) -> u64 {
        let page = admin_page(self.admin, "/clusters?format=json").await.unwrap();
        let page: Value = serde_json::from_str(&page).unwrap();
        let clusters = page["cluster_statuses"].as_array().unwrap();
        let countersign = clusters.iter().find(|cluster| cluster["name"] == "countersign").unwrap();
        let hosts = countersign["host_statuses"].as_array().unwrap();
        let host = hosts.iter().find(|host| host["address"]["socket_address"]["port_value"] == port).unwrap();
        let stats = host["stats"].as_array().unwrap();
        let total = stats.iter().find(|stat| stat["name"] == "rq_total").unwrap();
        total["value"].as_str().map_or(0, |value| value.parse().unwrap())
    }
}

/// Lets Envoy judge a configuration without running it.
pub(crate) fn validate(directory: &Path, config: &Config) -> std::process::Output {
    certificate::write(directory);
    command(directory, config).args(["--mode", "validate"]).output().unwrap()
}

/// Envoy in `directory`, with all that a configuration may name.
fn command(directory: &Path, config: &Config) -> Command {
    fs::write(directory.join("envoy.yaml"), &config.0).unwrap();
    for (name, text) in [
        ("identity_lines.lua", include_str!("../../../deploy/envoy/identity_lines.lua")),
        ("impersonate_lines.lua", include_str!("../../../deploy/envoy/impersonate_lines.lua")),
    ] {
        fs::write(directory.join(name), text).unwrap();
    }
    fs::create_dir_all(directory.join("sds")).unwrap();
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/envoy/sds")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), directory.join("sds").join(file.file_name())).unwrap();
    }
    let mut command = Command::new(binary());
    command.args(["-c", "envoy.yaml"]).current_dir(directory);
    command
}

fn binary() -> OsString {
    let binary = env::var_os("COUNTERSIGN_TEST_ENVOY").unwrap_or_default();
    let there = Path::new(&binary).is_file();
    assert!(
        there,
        "COUNTERSIGN_TEST_ENVOY={binary:?} is not Envoy's binary: start these tests with tests/run"
    );
    binary
}

/// A page of Envoy's admin interface, or nothing if it is not up yet.
async fn admin_page(admin: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(admin).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains("transfer-encoding: chunked").then(|| joined_chunks(body))?
}

/// The content of a chunked body (RFC 9112, section 7.1).
fn joined_chunks(mut body: &str) -> Option<String> {
    let mut content = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(content);
        }
        content.push_str(rest.get(..size)?);
        body = rest.get(size + 2..)?;
    }
}
