//! What cel-go validates of an expression that type checks: constants that will never do. Go: `cel/validator.go` and the format
//! validator of `ext/formatting.go`.

use super::ast::{Id, Kind, Literal, Node};
use super::check::Checked;
use super::diagnostics::Diagnostics;
use super::evaluate::Meter;
use super::library::{self, regex};
use super::parse::Parsed;
use super::types::Type;
use super::value::{Text, Val};

/// Go: `ExtendedValidations`, and `stringFormatValidator`. The error has cel-go's words, without "compilation failed: ".
pub(super) fn validate(source: &str, parsed: &Parsed, checked: &Checked) -> Result<(), String> {
    let mut found: Vec<(Id, String)> = Vec::new();
    collect(&parsed.root, false, checked, &mut found);
    let mut diagnostics = Diagnostics::new(source);
    for (id, words) in found {
        diagnostics.report(parsed.location(source, id), words);
    }
    if diagnostics.is_empty() { Ok(()) } else { Err(diagnostics.text()) }
}

/// `[?x]` where x is not known to be an optional: cel-go panics over it.
fn not_optional(node: &Node, optional: bool, checked: &Checked, found: &mut Vec<(Id, String)>) {
    let t = checked.type_of(node);
    if optional && t.unwrap_optional().is_none() {
        found.push((node.id, mismatch(&Type::optional(t.clone()), t)));
    }
}

/// What is wrong with a node and those below it. What is in the arguments of `format` may be of different types.
fn collect(node: &Node, in_format: bool, checked: &Checked, found: &mut Vec<(Id, String)>) {
    let mut inside = in_format;
    match &node.kind {
        Kind::Call(call) => {
            inside |= *call.function == *"format";
            if let Some(literal) = call.args.first()
                && let Kind::Literal(value) = &literal.kind
                && !is_valid_argument(&call.function, value)
            {
                found.push((literal.id, format!("invalid {} argument", call.function)));
            }
            if *call.function == *"format"
                && let Some(error) = library::check_format(node, checked)
            {
                found.push(error);
            }
        }
        Kind::List { elements } if !in_format => {
            elements.iter().for_each(|e| not_optional(&e.node, e.optional, checked, found));
            let mut types = elements.iter().map(|element| (&element.node, element.optional));
            if let Some(first) = types.next().map(|(node, optional)| inner(checked.type_of(node), optional)) {
                for (node, optional) in types {
                    let t = inner(checked.type_of(node), optional);
                    if !first.is_equivalent(t) {
                        found.push((node.id, mismatch(first, t)));
                        break;
                    }
                }
            }
        }
        Kind::Map { entries } if !in_format => {
            entries.iter().for_each(|e| not_optional(&e.value, e.optional, checked, found));
            if let Some((first, rest)) = entries.split_first() {
                let key = checked.type_of(&first.key);
                let value = inner(checked.type_of(&first.value), first.optional);
                for entry in rest {
                    let t = checked.type_of(&entry.key);
                    if !key.is_equivalent(t) {
                        found.push((entry.key.id, mismatch(key, t)));
                    }
                    let t = inner(checked.type_of(&entry.value), entry.optional);
                    if !value.is_equivalent(t) {
                        found.push((entry.value.id, mismatch(value, t)));
                    }
                }
            }
        }
        _ => {}
    }
    node.children(&mut |child| collect(child, inside, checked, found));
}

fn inner(t: &Type, optional: bool) -> &Type {
    if optional { t.unwrap_optional().unwrap_or(t) } else { t }
}

fn mismatch(expected: &Type, found: &Type) -> String {
    format!("expected type '{expected}' but found '{found}'")
}

/// Whether a constant will do as the first argument. For `matches(text, pattern)` that is the text, which cel-go takes for the
/// pattern here.
fn is_valid_argument(function: &str, literal: &Literal) -> bool {
    let convert = |ids: &[&str]| {
        let value = match literal {
            Literal::String(s) => Val::String(Text::Borrowed(s)),
            Literal::Int(i) => Val::Int(*i),
            _ => return true,
        };
        let id = ids[usize::from(matches!(value, Val::Int(_)))];
        library::overload(id).is_some_and(|run| run(&Meter::default(), &[value]).is_ok())
    };
    match (function, literal) {
        ("duration", _) => convert(&["string_to_duration", "int64_to_duration"]),
        ("timestamp", _) => convert(&["string_to_timestamp", "int64_to_timestamp"]),
        ("matches", Literal::String(pattern)) => {
            !matches!(regex::Pattern::new(pattern), Err(regex::Refused::Invalid(_)))
        }
        _ => true,
    }
}
