//! Our verifier beside Go's crypto/x509 on certificates that somebody has tampered with. The program in `tests/go-x509` asks Go, as
//! kube-apiserver does.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign::pki::{CertPool, Certificate, VerifyError, certificates_from_pem, verify};
use serde_json::{Value, json};

use super::go_program;
use super::random::Random;

/// How many mutants; `COUNTERSIGN_TEST_KUBE_REQUESTS` says otherwise.
const MUTANTS: usize = 4000;
/// The middle of 2026, when everything among the recorded certificates is valid that is meant to be.
const NOW: u64 = 1_782_864_000;

/// Certificates as DER.
type Ders = Vec<Vec<u8>>;

/// A chain, leaf first, and the anchors that it is shown to.
struct Question {
    chain: Ders,
    roots: Arc<Ders>,
}

#[test]
fn tampered_certificates_get_gos_verdict() {
    let mut random = Random::from_env("x509");
    let recorded = recorded();
    let mutants: Vec<Question> = (0..super::requests_or(MUTANTS))
        .map(|_| {
            let Question { chain, roots } = &recorded[random.below(recorded.len())];
            let (mut chain, roots) = (chain.clone(), Arc::clone(roots));
            // One in ten stays as it was.
            if random.percent(90) {
                let at = random.below(chain.len());
                tamper(&mut random, &mut chain[at]);
            }
            Question { chain, roots }
        })
        .collect();
    let (mut parsed, mut verified, mut refused, mut stricter) = (0, 0, 0, Vec::new());
    for (question, go) in mutants.iter().zip(ask_go(&mutants)) {
        let tampered: String = question.chain.iter().map(|der| STANDARD.encode(der) + " ").collect();
        let ours = question.chain.iter().map(|der| Certificate::parse(der).map(drop));
        for (ours, go) in ours.zip(&go.parses) {
            match (go, ours) {
                (true, Ok(())) => parsed += 1,
                (false, Err(_)) => refused += 1,
                (true, Err(why)) => stricter.push(why.to_string()),
                (false, Ok(())) => panic!("more permissive than Go, which cannot parse one of: {tampered}"),
            }
        }
        // Which of them cannot be parsed has been told.
        let Some(ours) = verdict(question) else { continue };
        match (go.verifies, ours) {
            (true, Ok(())) => verified += 1,
            (false, Err(_)) => refused += 1,
            // Such a certificate is the last word on its request: see `Reason::is_final`.
            (true, Err(VerifyError::BeyondUs)) => stricter.push(VerifyError::BeyondUs.to_string()),
            (true, Err(why)) => panic!("refused, not as one that is beyond us: {why}: {tampered}"),
            (false, Ok(())) => panic!("more permissive than Go, which refuses the chain: {tampered}"),
        }
    }
    println!(
        "{parsed} parsed and {verified} verified by both, {refused} refused by both, stricter: {stricter:?}"
    );
    assert!(parsed > 1000 && verified > 50 && refused > 1000, "the mutants prove nothing");
    // Kinds that src/pki/mod.rs names come up once in 100,000.
    assert!(stricter.len() <= 2, "{stricter:?}");
}

/// Bytes changed, put in, taken out or taken twice.
fn tamper(random: &mut Random, der: &mut Vec<u8>) {
    for _ in 0..=random.below(2) {
        let at = random.below(der.len());
        match random.below(6) {
            0 => der[at] ^= 1 << random.below(8),
            1 => der[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff, 0x30, 0x31, 0x02, 0x05, 0x0c, 0x13]),
            2 => der.insert(at, random.pick(&[0, 5, 0xff])),
            3 => drop(der.remove(at)),
            4 => der[at] = der[at].wrapping_add(1),
            _ => {
                let other = random.below(der.len());
                der.swap(at, other);
            }
        }
    }
}

/// None if one of them cannot be parsed.
fn verdict(question: &Question) -> Option<Result<(), VerifyError>> {
    let parse = |der: &Vec<u8>| Certificate::parse(der).ok();
    let chain: Vec<Certificate> = question.chain.iter().map(parse).collect::<Option<_>>()?;
    let pool: CertPool = question.roots.iter().map(parse).collect::<Option<_>>()?;
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    Some(verify(&chain[0], &chain[1..], &pool, None, now).map(|_end| ()))
}

/// What Go makes of a chain.
struct Answer {
    /// Of each certificate of the chain.
    parses: Vec<bool>,
    verifies: bool,
}

fn ask_go(questions: &[Question]) -> Vec<Answer> {
    let mut go =
        Command::new(go_program("go-x509")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let encode = |ders: &[Vec<u8>]| ders.iter().map(|der| STANDARD.encode(der)).collect::<Vec<_>>();
    let lines: Vec<String> = questions
        .iter()
        .map(|q| json!({"chain": encode(&q.chain), "roots": encode(&q.roots), "now": NOW}).to_string())
        .collect();
    let mut input = go.stdin.take().unwrap();
    let writing = std::thread::spawn(move || input.write_all(lines.join("\n").as_bytes()).unwrap());
    let answers = BufReader::new(go.stdout.take().unwrap()).lines().map(|line| {
        let answer: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let parses = answer["chain"].as_array().unwrap().iter().map(|error| error == "").collect();
        Answer { parses, verifies: answer["verify"] == "" }
    });
    let answers: Vec<Answer> = answers.collect();
    writing.join().unwrap();
    assert!(go.wait().unwrap().success());
    assert_eq!(answers.len(), questions.len());
    answers
}

fn recorded() -> Vec<Question> {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let ders = |pem: &[u8]| -> Ders {
        certificates_from_pem(pem).map_or(Vec::new(), |all| all.iter().map(|c| c.der().to_vec()).collect())
    };
    let mut recorded = Vec::new();
    for (scenario, bundle) in
        [("x509", "client-ca.pem"), ("x509-odd", "client-ca-odd.pem"), ("chain", "front-proxy-ca.pem")]
    {
        let roots = Arc::new(ders(&fs::read(vectors.join("world/ca").join(bundle)).unwrap()));
        let cases = fs::read_to_string(vectors.join("scenarios").join(scenario).join("cases.jsonl")).unwrap();
        for case in cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            let pem: Vec<&str> = case["request"]["client_cert_chain_pem"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let chain = ders(pem.concat().as_bytes());
            if !chain.is_empty() {
                recorded.push(Question { chain, roots: Arc::clone(&roots) });
            }
        }
    }
    assert!(recorded.len() > 150);
    recorded
}
