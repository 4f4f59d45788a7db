//! Our CEL beside Kubernetes' own compiler, which the program in `tests/go-cel` asks, over the expressions of its corpus and over
//! random ones that are made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use countersign::cel::{Expression, Input, Returns, Scope, UserInfo};
use countersign::json::Value;
use serde_json::{Value as Json, json};

use super::go_program;
use super::random::Random;

/// How many random expressions; `COUNTERSIGN_TEST_KUBE_REQUESTS` says otherwise.
const RANDOM: usize = 4000;

/// What we say where we refuse what Kubernetes takes: src/cel/mod.rs explains each.
const STRICTER: [&str; 11] = [
    "unsupported map key type",
    "not supported",
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
fn the_functions_are_those_of_kubernetes() {
    let listed = Command::new(&*GO_PROGRAM).arg("declarations").output().unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cel/declarations.txt");
    let ours = fs::read_to_string(ours).unwrap();
    assert_eq!(functions(&ours), functions(&String::from_utf8(listed.stdout).unwrap()));
}

/// Functions and their overloads. Which library comes first is random in Kubernetes, and with it the order of overloads.
fn functions(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut functions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with("  ") {
            functions.entry(name).or_default().insert(line.trim_end());
        } else {
            name = line;
        }
    }
    functions
}

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
    // What does not compile by itself seldom does as a part, so most are made of what does.
    let (sound, odd): (Vec<_>, Vec<_>) = corpus.into_iter().partition(|q| ask_us(q)["compile"] == "");
    let questions = (0..super::requests_or(RANDOM))
        .map(|_| match random.below(4) {
            0 => pattern(&mut random, &sound[0]),
            1 => reading(&mut random, &sound[0]),
            _ => mutant(&mut random, &sound, &odd),
        })
        .collect();
    let compared = compare(questions);
    assert!(compared.values > 500 && compared.errors > 500 && compared.refused > 500, "{compared:?}");
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

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go-cel")
}

/// Expressions put together, or with a part exchanged for one of another.
fn mutant(random: &mut Random, sound: &[Question], odd: &[Question]) -> Question {
    let mut question = sound[random.below(sound.len())].clone();
    for _ in 0..=random.below(2) {
        let from = if random.percent(10) { odd } else { sound };
        let (a, b) = (question.expression.clone(), from[random.below(from.len())].expression.clone());
        question.expression = match random.below(20) {
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

/// A regular expression, and a text that it may match.
fn pattern(random: &mut Random, over: &Question) -> Question {
    const PARTS: [&str; 52] = [
        "a", "b", "k", "ab", "1", "ü", "K", "_", " ", "-", ".", "*", "+", "?", "*?", "+?", "??", "{2}",
        "{1,2}", "{,2}", "{0}", "{2,}?", "{1001}", "|", "(", ")", "(?:", "(?i)", "(?i:", "(?s)", "(?m)",
        "(?U)", "(?-i)", "(?P<n>", "(?=", "^", "$", r"\\A", r"\\z", r"\\b", r"\\d", r"\\D", r"\\w", r"\\W",
        r"\\s", r"\\.", r"\\x61", r"\\141", r"\\pL", r"\\Qa.", r"\\E", r"\\q",
    ];
    const CLASS: [&str; 16] = [
        "a",
        "b-k",
        "K",
        "ü",
        "^",
        "]",
        "-",
        "[",
        r"\\d",
        r"\\W",
        "[:alpha:]",
        "[:^digit:]",
        "&&",
        "~",
        r"\\]",
        "1-3",
    ];
    const TEXT: [&str; 14] =
        ["a", "b", "ab", "K", "k", "\u{212a}", "ü", "1", "_", " ", "-", ".", r"\n", "aab"];
    let mut several = |parts: &[&'static str], most: usize| -> String {
        (0..=random.below(most)).map(|_| random.pick(parts)).collect()
    };
    let text = several(&TEXT, 8);
    let mut pattern = several(&PARTS, 5);
    for _ in 0..2 {
        pattern = match several(&["0", "1", "2", "3"], 1).as_str() {
            "0" => format!("{pattern}[{}]{}", several(&CLASS, 4), several(&PARTS, 2)),
            "1" => format!("({pattern}){}", several(&PARTS, 2)),
            "2" => format!("{pattern}|{}", several(&PARTS, 3)),
            _ => pattern,
        };
    }
    Question { expression: format!("'{text}'.findAll('{pattern}')"), ..over.clone() }
}

/// A text that a function reads, with some characters exchanged.
fn reading(random: &mut Random, over: &Question) -> Question {
    const READINGS: [(&str, &str, &str); 14] = [
        ("duration(dyn('", "'))", "1h2m3.5s4ms5us6ns-+.0µ"),
        ("string(duration(dyn('", "')))", "1h2m3.5s4ms5us6ns-9999999"),
        ("timestamp(dyn('", "'))", "2024-02-29T12:34:56.789Z+01:30,"),
        ("timestamp(dyn('", "')).getDayOfYear('-05:45')", "1824-02-29T12:34:56.789+01:30"),
        ("quantity('", "')", "1.5Gi+-0eE12mkKMn"),
        ("quantity('", "').asApproximateFloat()", "12.5GimkE-0e3"),
        ("semver('", "')", "1.2.3-rc.1+b.2-0a"),
        ("semver('", "', true)", "v1.02.3-rc"),
        ("url('", "')", "https://u:p@[::1]:80/a%20b;c?x=1&y#f"),
        ("url('", "').getQuery()", "http://h/a?x=1&y=%20+2&;z=ü&x"),
        ("cidr('", "').masked()", "10.1.2.3/82001:db8::ff/64"),
        ("ip('", "')", "2001:db8::1:ff1.2.3.4%e"),
        ("double(dyn('", "'))", "-1.5e+10infNaN_"),
        ("format.named('", "').value().validate('a.b-c')", "dns1123Label"),
    ];
    let (before, after, seed) = random.pick(&READINGS);
    let mut text: Vec<char> = seed.chars().collect();
    if random.percent(50) {
        text.truncate(1 + random.below(text.len()));
    }
    for _ in 0..random.below(4) {
        let (at, other) = (random.below(text.len()), random.below(text.len()));
        match random.below(3) {
            0 if text.len() > 1 => drop(text.remove(at)),
            1 => text.swap(at, other),
            _ => text.insert(at, text[other]),
        }
    }
    let text: String = text.into_iter().collect();
    Question { expression: format!("{before}{text}{after}"), ..over.clone() }
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
    let text = input.to_string();
    let claims = Value::parse(text.as_bytes()).unwrap();
    fn strings(list: &Json) -> Vec<&str> {
        list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
    }
    let groups = strings(&input["groups"]);
    let extra = input["extra"].as_object().into_iter().flatten();
    let extra: BTreeMap<&str, Vec<&str>> =
        extra.map(|(key, values)| (key.as_str(), strings(values))).collect();
    let field = |name: &str| input[name].as_str().unwrap_or_default();
    let result = expression.evaluate(match (scope, &claims) {
        (Scope::Claims, Value::Object(claims)) => Input::Claims(claims),
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
            let mut answer = json!({"compile": "", "value": shown["value"], "cost": shown["cost"]});
            match value.strings() {
                Ok(strings) if strings.is_empty() => {}
                Ok(strings) => answer["strings"] = json!(strings),
                Err(error) => answer["strings_error"] = json!(error.to_string()),
            }
            answer
        }
    }
}

/// The program in `tests/go-cel`.
static GO_PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| go_program("go-cel"));

fn ask_go(questions: &[Question]) -> Vec<Json> {
    let mut go = Command::new(&*GO_PROGRAM).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
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
