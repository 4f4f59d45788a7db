//! Envoy, countersign and the application, put together.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::certificate;
use super::countersign::Countersign;
use super::envoy::{Config, Envoy};
use super::process::eventually;
use super::upstream::Upstream;
use crate::port::hold;

/// Tokens that every countersign here knows.
const TOKENS: &str = "\
alice-token,alice,alice-uid,\"dev,ops\"
zoe-token,zoë,,\"größe,入門\"
";

/// The password `hidden`.
const PASSWORDS: &str = "hidden,dave,\n";

/// What a test wants different from the shipped wiring.
pub(crate) struct Setup {
    flags: Vec<String>,
    config: Config,
    directory: TempDir,
    replicas: usize,
    unix: bool,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            flags: Vec::new(),
            config: Config::shipped(),
            replicas: 1,
            unix: false,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// More flags for countersign.
    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// A file where countersign is started.
    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        fs::write(self.directory().join(name), content).unwrap();
        self
    }

    /// Where everything will be started.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Client certificates of these CAs, with what Envoy needs for them.
    pub(crate) fn client_certificates(self, authorities: &str) -> Self {
        self.file("clients.pem", authorities)
            .flags(&["--client-ca-file=clients.pem"])
            .config(Config::with_client_certificates)
    }

    /// Envoy has a certificate with this URI.
    pub(crate) fn envoy_named(self, uri: &str) -> Self {
        certificate::write_with(self.directory(), Some(uri));
        self
    }

    /// Basic authentication with one user.
    pub(crate) fn basic_auth(self) -> Self {
        self.flags(&["--basic-auth-file=passwords.csv"])
    }

    /// Another configuration for Envoy.
    pub(crate) fn config(mut self, change: impl FnOnce(Config) -> Config) -> Self {
        self.config = change(self.config);
        self
    }

    pub(crate) fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// countersign on a Unix socket in place of a TCP port.
    pub(crate) fn unix_socket(mut self) -> Self {
        self.unix = true;
        self
    }

    /// Starts everything and waits until it works.
    pub(crate) async fn start(mut self) -> Stack {
        let path = self.directory.path();
        fs::write(path.join("tokens.csv"), TOKENS).unwrap();
        fs::write(path.join("passwords.csv"), PASSWORDS).unwrap();
        self.flags.push("--token-auth-file=tokens.csv".to_owned());

        let (mut countersign, mut ports) = (Vec::new(), Vec::new());
        for replica in 0..self.replicas {
            let listen = match self.unix {
                true => format!("unix:{}", path.join(format!("{replica}.sock")).display()),
                false => {
                    let port = hold(0);
                    let address = port.local_addr().unwrap().to_string();
                    ports.push(port);
                    address
                }
            };
            let log = format!("countersign-{replica}.log");
            countersign.push(Countersign::start(path, &log, &listen, &self.flags).await);
        }
        let upstream = Upstream::start().await;

        let addresses: Vec<&str> = countersign.iter().map(|replica| replica.address.as_str()).collect();
        let config = self.config.countersign(&addresses).application(upstream.port);
        let envoy = Envoy::start(path, &config).await;
        Stack { envoy, countersign, upstream, flags: self.flags, directory: self.directory, _ports: ports }
    }
}

/// All of it, running. Dropped from the front to the back.
pub(crate) struct Stack {
    pub(crate) envoy: Envoy,
    pub(crate) countersign: Vec<Countersign>,
    pub(crate) upstream: Upstream,
    flags: Vec<String>,
    directory: TempDir,
    /// Those of the replicas, which nobody else gets while one of them is down.
    _ports: Vec<TcpSocket>,
}

impl Stack {
    /// Where everything was started.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until the first replica knows an issuer's keys.
    pub(crate) async fn has_fetched_keys(&self) {
        let fetched = async || (self.countersign[0].logged("fetched keys") > 0).then_some(());
        eventually("the keys are there", fetched).await;
    }

    /// Starts a replica that has ended, where it was and as it was.
    pub(crate) async fn start_again(&mut self, replica: usize) {
        let log = format!("countersign-{replica}.log");
        let listen = self.countersign[replica].address.clone();
        self.countersign[replica] = Countersign::start(self.directory(), &log, &listen, &self.flags).await;
    }
}
