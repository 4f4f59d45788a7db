//! Our CEL beside Kubernetes' own compiler, which the program in `tests/go-cel` asks, over the expressions of its corpus and over
//! random ones that are made of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use countersign::cel::{Expression, Input, Returns, Scope, UserInfo};
use serde_json::{Value as Json, json};

use super::random::Random;

/// How many random expressions; `COUNTERSIGN_TEST_KUBE_REQUESTS` says otherwise.
const RANDOM: usize = 4000;

/// What we say where we refuse what Kubernetes takes: src/cel/mod.rs explains each.
const STRICTER: [&str; 12] = [
    "unsupported map key type",
    "not supported here",
    "is not supported",
    "undeclared reference to 'google.protobuf",
    "undeclared reference to '__result__'",
    "iteration variable overwrites accumulator variable",
    "type conversion error from 'string' to 'double'",
    "expression has more than",
    "unknown time zone Local",
    "expected type 'optional_type(",
    "the query is not UTF-8",
    "actual cost limit exceeded",
];

#[test]
fn expressions_of_the_corpus_mean_what_they_mean_to_kubernetes() {
    let compared = compare(corpus());
    assert!(compared.values > 700 && compared.errors > 200 && compared.refused > 250, "{compared:?}");
    // All of them are in the corpus on purpose.
    assert!(compared.stricter.len() <= 12, "{:#?}", compared.stricter);
    // Of those that do not compile nearly all say so in the same words.
    assert!(compared.other_words <= 20, "{compared:?}");
}

#[test]
fn random_expressions_mean_what_they_mean_to_kubernetes() {
    let mut random = Random::from_env("cel");
    let corpus = corpus();
    let questions = (0..super::requests_or(RANDOM)).map(|_| mutant(&mut random, &corpus)).collect();
    let compared = compare(questions);
    assert!(compared.values > 200 && compared.errors > 100 && compared.refused > 500, "{compared:?}");
}

/// An expression and what it is evaluated over.
#[derive(Clone)]
struct Question {
    expression: String,
    scope: &'static str,
    input: Json,
}

/// The corpus: `# comment`, `@claims {...}` and `@user {...}` for the lines behind them, and expressions.
fn corpus() -> Vec<Question> {
    let text = fs::read_to_string(source().join("corpus.txt")).unwrap();
    let (mut scope, mut input) = ("", Json::Null);
    let mut questions = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        if let Some(claims) = line.strip_prefix("@claims ") {
            (scope, input) = ("claims", serde_json::from_str(claims).unwrap());
        } else if let Some(user) = line.strip_prefix("@user ") {
            (scope, input) = ("user", serde_json::from_str(user).unwrap());
        } else {
            questions.push(Question { expression: line.to_owned(), scope, input: input.clone() });
        }
    }
    questions
}

fn source() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go-cel")
}

/// Expressions put together, or with a part exchanged for one of another.
fn mutant(random: &mut Random, corpus: &[Question]) -> Question {
    let pick = |random: &mut Random| corpus[random.below(corpus.len())].clone();
    let mut question = pick(random);
    for _ in 0..=random.below(2) {
        let (a, b) = (question.expression.clone(), pick(random).expression);
        question.expression = match random.below(22) {
            0 => format!("({a}) == ({b})"),
            1 => format!("[{a}, {b}]"),
            2 => format!("{{'a': {a}, 'b': {b}}}"),
            3 => format!("({a}) + ({b})"),
            4 => format!("dyn({a}) == dyn({b})"),
            5 => format!("claims.t ? {a} : {b}"),
            6 => format!("({a}) && ({b})"),
            7 => format!("({a}) || ({b})"),
            8 => format!("[dyn({a}), dyn({b})].map(x, x)"),
            9 => format!("[{a}].exists(x, x == ({b}))"),
            10 => format!("({a}) in [{b}]"),
            11 => format!("dyn({a}) in dyn({b})"),
            12 => format!("dyn({a}).map(x, x == dyn({b}))"),
            13 => format!("optional.of({a}).orValue({b})"),
            14 => format!("type({a}) == type({b})"),
            15 => format!("'%s|%s'.format([dyn({a}), dyn({b})])"),
            16 => format!("dyn({a}) < dyn({b})"),
            17 => format!("dyn({a})[dyn({b})]"),
            _ => exchange(random, &a, &b),
        };
    }
    question
}

/// One with some of its tokens exchanged for tokens of the other.
fn exchange(random: &mut Random, a: &str, b: &str) -> String {
    let (mut tokens, others) = (tokens(a), tokens(b));
    if tokens.is_empty() || others.is_empty() {
        return format!("{a}{b}");
    }
    let at = random.below(tokens.len());
    match random.below(4) {
        0 => drop(tokens.remove(at)),
        1 => tokens.insert(at, others[random.below(others.len())]),
        2 => {
            let other = random.below(tokens.len());
            tokens.swap(at, other);
        }
        _ => tokens[at] = others[random.below(others.len())],
    }
    tokens.concat()
}

fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// How many of the questions had which answer.
#[derive(Debug, Default)]
struct Compared {
    values: usize,
    errors: usize,
    refused: usize,
    /// Refused by both, but not in the same words.
    other_words: usize,
    /// Evaluated by both, but not for the same cost.
    other_costs: usize,
    stricter: Vec<String>,
}

/// Asks both, and fails if there is a difference that is not declared.
fn compare(questions: Vec<Question>) -> Compared {
    let theirs = ask_go(&questions);
    let mut compared = Compared::default();
    let mut differences = Vec::new();
    for (question, theirs) in questions.iter().zip(&theirs) {
        let ours = ask_us(question);
        let same = match (kind(theirs), kind(&ours)) {
            ("refused", "refused") => {
                compared.refused += 1;
                compared.other_words += usize::from(theirs["compile"] != ours["compile"]);
                true
            }
            ("error", "error") => {
                compared.errors += 1;
                true
            }
            ("value", "value") => {
                compared.values += 1;
                compared.other_costs += usize::from(theirs["cost"] != ours["cost"]);
                ["value", "strings", "strings_error"]
                    .iter()
                    .all(|member| in_order(&theirs[member]) == in_order(&ours[member]))
            }
            // Ours is a refusal, which has to be a declared one.
            (_, "refused" | "error") => {
                let words = format!("{}{}", ours["compile"], ours["error"]);
                let declared = STRICTER.iter().any(|stricter| words.contains(stricter));
                if declared {
                    compared.stricter.push(format!("{}: {words}", question.expression));
                }
                declared
            }
            _ => false,
        };
        if !same {
            differences
                .push(format!("{}\n  Kubernetes: {theirs}\n  ours:       {ours}", question.expression));
        }
    }
    let Compared { values, errors, refused, other_words, other_costs, stricter } = &compared;
    println!(
        "{values} same values ({other_costs} of another cost), {errors} both errors, {refused} both refused"
    );
    println!("({other_words} in other words), stricter as declared: {}", stricter.len());
    let n = differences.len();
    differences.truncate(40);
    assert!(n == 0, "{n} of {} expressions differ, among them:\n{}", questions.len(), differences.join("\n"));
    compared
}

fn kind(answer: &Json) -> &'static str {
    if answer["compile"] != "" {
        "refused"
    } else if answer["error"].is_string() {
        "error"
    } else {
        "value"
    }
}

/// A value with its lists sorted: those that are made of maps have no order in Go.
fn in_order(value: &Json) -> Json {
    match value {
        Json::Array(items) => {
            let mut items: Vec<Json> = items.iter().map(in_order).collect();
            items.sort_by_cached_key(Json::to_string);
            Json::Array(items)
        }
        Json::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), in_order(value))).collect()
        }
        other => other.clone(),
    }
}

fn ask_us(question: &Question) -> Json {
    let scope = if question.scope == "claims" { Scope::Claims } else { Scope::User };
    let expression = match Expression::compile(&question.expression, scope, Returns::Any) {
        Ok(expression) => expression,
        Err(error) => return json!({"compile": error.to_string()}),
    };
    let input = &question.input;
    let strings = |list: &Json| -> Vec<Box<str>> {
        list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().into()).collect()
    };
    let groups = strings(&input["groups"]);
    let extra: BTreeMap<Box<str>, Vec<Box<str>>> = input["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.as_str().into(), strings(values)))
        .collect();
    let field = |name: &str| input[name].as_str().unwrap_or_default();
    let result = expression.evaluate(match (scope, input) {
        (Scope::Claims, Json::Object(claims)) => Input::Claims(claims),
        _ => Input::User(UserInfo {
            username: field("username"),
            uid: field("uid"),
            groups: &groups,
            extra: &extra,
        }),
    });
    match result {
        Err(error) => json!({"compile": "", "error": error.to_string()}),
        Ok(value) => {
            let shown: Json = serde_json::from_str(&format!("{value:?}")).unwrap();
            let mut answer = json!({"compile": "", "value": shown, "cost": value.cost()});
            match value.strings() {
                Ok(strings) if strings.is_empty() => {}
                Ok(strings) => answer["strings"] = json!(strings),
                Err(error) => answer["strings_error"] = json!(error.to_string()),
            }
            answer
        }
    }
}

fn ask_go(questions: &[Question]) -> Vec<Json> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cel");
    let built = Command::new("go")
        .args(["build", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source())
        .status();
    assert!(built.expect("Go is there: tests/run says so where it is not").success());
    let mut go = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: Vec<String> = questions
        .iter()
        .map(|q| {
            json!({"scope": q.scope, "returns": "any", "expression": q.expression, q.scope: q.input})
                .to_string()
        })
        .collect();
    let mut input = go.stdin.take().unwrap();
    let writing = std::thread::spawn(move || input.write_all(lines.join("\n").as_bytes()).unwrap());
    let answers: Vec<Json> = BufReader::new(go.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    writing.join().unwrap();
    assert!(go.wait().unwrap().success());
    assert_eq!(answers.len(), questions.len());
    answers
}
