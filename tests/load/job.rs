//! `deploy/kubernetes/load-test/job.yaml`: ghz with its arguments, its request and mutual TLS, against countersign on this machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::Value;

use crate::process::Server;
use crate::report::{Figures, Row};

const JOB: &str = include_str!("../../deploy/kubernetes/load-test/job.yaml");

/// Shorter than the Job's minute.
const DURATION: &str = "--duration=2s";

/// Longer than the Job's 2 s, which are for one Check and not for a machine that stalls: every call must be answered.
const TIMEOUT: &str = "--timeout=20s";

/// How long a Check took, at the 99th percentile.
pub(crate) fn measure(ghz: &Path) -> Row {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let flags = [
        "--token-auth-file=tokens.csv",
        "--tls-cert-file=server.crt",
        "--tls-private-key-file=server.key",
        "--tls-client-ca-file=ca.crt",
        "--tls-allowed-client-names=load-test",
    ];
    let server = Server::countersign(&flags, folder.path());

    let documents: Vec<Value> = serde_saphyr::from_multiple(JOB).unwrap();
    let [map, job] = &documents[..] else { panic!("a ConfigMap and a Job") };
    fs::write(folder.path().join("check.json"), map["data"]["check.json"].as_str().unwrap()).unwrap();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let arguments =
        container["args"].as_array().unwrap().iter().map(|argument| match argument.as_str().unwrap() {
            duration if duration.starts_with("--duration=") => DURATION.to_owned(),
            timeout if timeout.starts_with("--timeout=") => TIMEOUT.to_owned(),
            address if address.starts_with("dns:///") => format!("dns:///{}", server.address),
            other => other.replace("=/request/", "=").replace("=/certs/", "="),
        });
    let mut command = Command::new(ghz);
    command.args(arguments).arg("--format=json").current_dir(folder.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let calls = report["count"].as_u64().unwrap();
    assert!(calls > 0, "{report}");
    assert_eq!(report["statusCodeDistribution"], serde_json::json!({"OK": calls}), "{report}");
    let percentiles = report["latencyDistribution"].as_array().unwrap();
    let p99 = percentiles.iter().find(|percentile| percentile["percentage"] == 99).unwrap();
    let p99 = p99["latency"].as_f64().unwrap() / 1e6;
    let figures = Figures::Plain { unit: "ms", ours: vec![p99], other: Vec::new(), peak: None };
    Row { name: format!("job.yaml, {calls} calls: p99"), figures, goal: 2_000.0 }
}

/// Of one CA, as cert-manager gives them to both sides.
fn certificates(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    let ca = Issuer::new(params, key);
    for (file, name, usage) in [
        ("server", "countersign", ExtendedKeyUsagePurpose::ServerAuth),
        ("tls", "load-test", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        fs::write(folder.join(format!("{file}.crt")), params.signed_by(&key, &ca).unwrap().pem()).unwrap();
        fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
}
