//! The macros of Kubernetes' environment, which turn calls into loops: cel-go's `parser/macro.go` without `existsOne` of one variable,
//! `optMap` and `optFlatMap` (`cel/library.go`), those of two variables (`ext/comprehensions.go`) and `sortBy` (`ext/lists.go`).

use super::ast::{Comprehension, Element, Id, Kind, Literal, Node, Select, operator};
use super::parse::Tree;

/// The variable that a loop adds up in. Go: `parser.HiddenAccumulatorName`.
pub(super) const ACCUMULATOR: &str = "@result";
/// What it is called in Kubernetes (`parser.AccumulatorName`), where an expression may name it and sees a list grow. Here such an
/// expression is refused.
const OPEN_ACCUMULATOR: &str = "__result__";
/// The variable of a loop that never runs. Go: `unusedIterVar`.
const UNUSED: &str = "#unused";
/// What `sortBy` calls the list. Go: `sortByMacro`.
const SORT_BY_INPUT: &str = "@__sortBy_input__";

/// Expands a call if it is a macro's. An error is reported, and the call's place stays as a constant. `None` if the tree is too large.
pub(super) fn expand(
    tree: &mut Tree<'_>,
    id: Id,
    function: &str,
    target: Option<Node>,
    args: Vec<Node>,
) -> Option<Node> {
    let plain = |target, args| Some(Tree::call(id, function, target, args));
    let Some(target) = target else {
        return match (function, &*args) {
            ("has", [_]) => has(tree, id, args).or_else(|| placeholder(id)),
            _ => plain(None, args),
        };
    };
    let expanded = match (function, args.len()) {
        ("all", 2 | 3) => quantifier(tree, id, Quantifier::All, target, args),
        ("exists", 2 | 3) => quantifier(tree, id, Quantifier::Exists, target, args),
        ("exists_one", 2 | 3) | ("existsOne", 3) => quantifier(tree, id, Quantifier::ExistsOne, target, args),
        ("map", 2 | 3) => map(tree, id, target, args),
        ("filter", 2) => filter(tree, id, target, args),
        ("optMap", 2) => return opt_map(tree, id, target, args, true),
        ("optFlatMap", 2) => return opt_map(tree, id, target, args, false),
        ("transformList", 3 | 4) => transform_list(tree, id, target, args),
        ("transformMap", 3 | 4) => transform_map(tree, id, target, args, true),
        ("transformMapEntry", 3 | 4) => transform_map(tree, id, target, args, false),
        ("sortBy", 2) => sort_by(tree, id, target, args),
        _ => return plain(Some(target), args),
    };
    expanded.or_else(|| placeholder(id))
}

/// Stands for an expansion that failed: the error is reported, so nobody gets to see it.
fn placeholder(id: Id) -> Option<Node> {
    Some(Node { id, kind: Kind::Literal(Literal::Null) })
}

enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

/// `has(a.b)`. Go: `MakeHas`.
fn has(tree: &mut Tree<'_>, id: Id, args: Vec<Node>) -> Option<Node> {
    let arg = args.into_iter().next()?;
    match arg.kind {
        Kind::Select(Select { operand, field, .. }) => {
            Some(tree.at(id, Kind::Select(Select { operand, field, test: true })))
        }
        _ => {
            tree.error(arg.id, "invalid argument to has() macro");
            None
        }
    }
}

/// The variables that a macro declares.
type Variables = (Box<str>, Option<Box<str>>);

/// The variable of a macro with one. Go: the beginning of `MakeMap` and the others, each with its words.
fn one_variable(tree: &mut Tree<'_>, arg: &Node, words: &str) -> Option<Variables> {
    match &arg.kind {
        Kind::Ident(name) => {
            if matches!(&**name, ACCUMULATOR | OPEN_ACCUMULATOR) {
                tree.error(arg.id, "iteration variable overwrites accumulator variable");
                return None;
            }
            Some((name.clone(), None))
        }
        _ => {
            tree.error(arg.id, words);
            None
        }
    }
}

/// The variables of a macro with two. Go: `extractIterVars`.
fn two_variables(tree: &mut Tree<'_>, first: &Node, second: &Node) -> Option<Variables> {
    let mut simple = |arg: &Node| match &arg.kind {
        Kind::Ident(name) => Some(name.clone()),
        _ => {
            tree.error(arg.id, "argument must be a simple name");
            None
        }
    };
    let (one, two) = (simple(first)?, simple(second)?);
    if one == two {
        tree.error(second.id, format!("duplicate variable name: {one}"));
        return None;
    }
    for (name, node) in [(&one, first), (&two, second)] {
        if matches!(&**name, ACCUMULATOR | OPEN_ACCUMULATOR) {
            tree.error(node.id, "iteration variable overwrites accumulator variable");
            return None;
        }
    }
    Some((one, Some(two)))
}

fn accumulator(tree: &mut Tree<'_>, id: Id) -> Node {
    tree.at(id, Kind::Ident(ACCUMULATOR.into()))
}

fn constant(tree: &mut Tree<'_>, id: Id, value: Literal) -> Node {
    tree.at(id, Kind::Literal(value))
}

fn list(tree: &mut Tree<'_>, id: Id, elements: Vec<Node>) -> Node {
    let elements = elements.into_iter().map(|node| Element { node, optional: false }).collect();
    tree.at(id, Kind::List { elements })
}

fn call(tree: &mut Tree<'_>, id: Id, function: &str, args: Vec<Node>) -> Node {
    let place = tree.at(id, Kind::Literal(Literal::Null));
    Tree::call(place.id, function, None, args)
}

fn member_call(tree: &mut Tree<'_>, id: Id, function: &str, target: Node, args: Vec<Node>) -> Node {
    let place = tree.at(id, Kind::Literal(Literal::Null));
    Tree::call(place.id, function, Some(target), args)
}

/// `filter ? step : accumulator`
fn unless(tree: &mut Tree<'_>, id: Id, filter: Option<Node>, step: Node) -> Node {
    match filter {
        Some(filter) => {
            let same = accumulator(tree, id);
            call(tree, id, operator::CONDITIONAL, vec![filter, step, same])
        }
        None => step,
    }
}

/// A loop over `range` that adds up in the accumulator, which is also its result unless said otherwise.
fn fold(
    tree: &mut Tree<'_>,
    id: Id,
    range: Node,
    (variable, variable2): Variables,
    [init, condition, step]: [Node; 3],
    result: Option<Node>,
) -> Node {
    let result = result.unwrap_or_else(|| accumulator(tree, id));
    let accumulator = ACCUMULATOR.into();
    tree.at(
        id,
        Kind::Comprehension(Box::new(Comprehension {
            range,
            variable,
            variable2,
            accumulator,
            init,
            condition,
            step,
            result,
        })),
    )
}

/// `all`, `exists` and `exists_one` of one or two variables. Go: `makeQuantifier`, `quantifierAll` and its siblings.
fn quantifier(
    tree: &mut Tree<'_>,
    id: Id,
    kind: Quantifier,
    target: Node,
    mut args: Vec<Node>,
) -> Option<Node> {
    let predicate = args.pop()?;
    let variables = match &*args {
        [one] => one_variable(tree, one, "argument must be a simple name")?,
        [one, two] => two_variables(tree, one, two)?,
        _ => return None,
    };
    let before = accumulator(tree, id);
    let now = accumulator(tree, id);
    let (init, condition, step, result) = match kind {
        Quantifier::All => (
            constant(tree, id, Literal::Bool(true)),
            call(tree, id, operator::NOT_STRICTLY_FALSE, vec![before]),
            call(tree, id, operator::AND, vec![now, predicate]),
            None,
        ),
        Quantifier::Exists => {
            let not = call(tree, id, operator::NOT, vec![before]);
            (
                constant(tree, id, Literal::Bool(false)),
                call(tree, id, operator::NOT_STRICTLY_FALSE, vec![not]),
                call(tree, id, operator::OR, vec![now, predicate]),
                None,
            )
        }
        Quantifier::ExistsOne => {
            let (one, expected) = (constant(tree, id, Literal::Int(1)), constant(tree, id, Literal::Int(1)));
            let more = call(tree, id, operator::ADD, vec![now, one]);
            (
                constant(tree, id, Literal::Int(0)),
                constant(tree, id, Literal::Bool(true)),
                unless(tree, id, Some(predicate), more),
                Some(call(tree, id, operator::EQUALS, vec![before, expected])),
            )
        }
    };
    Some(fold(tree, id, target, variables, [init, condition, step], result))
}

/// `accumulator + [item]`, for those that pass the filter.
fn append(tree: &mut Tree<'_>, id: Id, filter: Option<Node>, item: Node) -> Node {
    let (so_far, item) = (accumulator(tree, id), list(tree, id, vec![item]));
    let step = call(tree, id, operator::ADD, vec![so_far, item]);
    unless(tree, id, filter, step)
}

/// Go: `MakeMap`.
fn map(tree: &mut Tree<'_>, id: Id, target: Node, args: Vec<Node>) -> Option<Node> {
    let mut args = args.into_iter();
    let variables = one_variable(tree, &args.next()?, "argument is not an identifier")?;
    let (first, second) = (args.next()?, args.next());
    let (filter, transform) = match second {
        Some(transform) => (Some(first), transform),
        None => (None, first),
    };
    let step = append(tree, id, filter, transform);
    let (init, condition) = (list(tree, id, Vec::new()), constant(tree, id, Literal::Bool(true)));
    Some(fold(tree, id, target, variables, [init, condition, step], None))
}

/// Go: `MakeFilter`.
fn filter(tree: &mut Tree<'_>, id: Id, target: Node, args: Vec<Node>) -> Option<Node> {
    let mut args = args.into_iter();
    let item = args.next()?;
    let variables = one_variable(tree, &item, "argument is not an identifier")?;
    let step = append(tree, id, Some(args.next()?), item);
    let (init, condition) = (list(tree, id, Vec::new()), constant(tree, id, Literal::Bool(true)));
    Some(fold(tree, id, target, variables, [init, condition, step], None))
}

/// Go: `transformList`.
fn transform_list(tree: &mut Tree<'_>, id: Id, target: Node, args: Vec<Node>) -> Option<Node> {
    let (variables, filter, transform) = two_variables_and_transform(tree, args)?;
    let step = append(tree, id, filter, transform);
    let (init, condition) = (list(tree, id, Vec::new()), constant(tree, id, Literal::Bool(true)));
    Some(fold(tree, id, target, variables, [init, condition, step], None))
}

/// `transformMap`, which inserts under the same key, and `transformMapEntry`, which inserts the entries of a map. Go: functions of
/// these names.
fn transform_map(tree: &mut Tree<'_>, id: Id, target: Node, args: Vec<Node>, same_key: bool) -> Option<Node> {
    let (variables, filter, transform) = two_variables_and_transform(tree, args)?;
    let so_far = accumulator(tree, id);
    let args = if same_key {
        let key = tree.at(id, Kind::Ident(variables.0.clone()));
        vec![so_far, key, transform]
    } else {
        vec![so_far, transform]
    };
    let step = call(tree, id, "cel.@mapInsert", args);
    let step = unless(tree, id, filter, step);
    let init = tree.at(id, Kind::Map { entries: Vec::new() });
    let condition = constant(tree, id, Literal::Bool(true));
    Some(fold(tree, id, target, variables, [init, condition, step], None))
}

fn two_variables_and_transform(
    tree: &mut Tree<'_>,
    args: Vec<Node>,
) -> Option<(Variables, Option<Node>, Node)> {
    let mut args = args.into_iter();
    let variables = two_variables(tree, &args.next()?, &args.next()?)?;
    let (first, second) = (args.next()?, args.next());
    Some(match second {
        Some(transform) => (variables, Some(first), transform),
        None => (variables, None, first),
    })
}

/// A loop that never runs, so that its result is evaluated once with the variable set: a binding.
fn bind(tree: &mut Tree<'_>, id: Id, name: &str, value: Node, result: Node) -> Node {
    let range = list(tree, id, Vec::new());
    let condition = constant(tree, id, Literal::Bool(false));
    let step = tree.at(id, Kind::Ident(name.into()));
    let bound = Comprehension {
        range,
        variable: UNUSED.into(),
        variable2: None,
        accumulator: name.into(),
        init: value,
        condition,
        step,
        result,
    };
    tree.at(id, Kind::Comprehension(Box::new(bound)))
}

/// `optMap`, which wraps what comes out, and `optFlatMap`. Go: functions of these names.
fn opt_map(tree: &mut Tree<'_>, id: Id, target: Node, args: Vec<Node>, wrap: bool) -> Option<Node> {
    let mut args = args.into_iter();
    let (variable, transform) = (args.next()?, args.next()?);
    let Kind::Ident(name) = &variable.kind else {
        let macro_name = if wrap { "optMap" } else { "optFlatMap" };
        tree.error(variable.id, format!("{macro_name}() variable name must be a simple identifier"));
        return placeholder(id);
    };
    let again = tree.copy(&target)?;
    let has_value = member_call(tree, id, "hasValue", target, Vec::new());
    let value = member_call(tree, id, "value", again, Vec::new());
    let mapped = bind(tree, id, name, value, transform);
    let mapped = if wrap { call(tree, id, "optional.of", vec![mapped]) } else { mapped };
    let none = call(tree, id, "optional.none", Vec::new());
    Some(call(tree, id, operator::CONDITIONAL, vec![has_value, mapped, none]))
}

/// Go: `sortByMacro`.
fn sort_by(tree: &mut Tree<'_>, id: Id, target: Node, args: Vec<Node>) -> Option<Node> {
    if matches!(target.kind, Kind::Literal(_) | Kind::Map { .. } | Kind::Message { .. }) {
        let words =
            "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
        tree.error(target.id, words);
        return None;
    }
    let input = tree.at(id, Kind::Ident(SORT_BY_INPUT.into()));
    let keys = map(tree, id, input, args)?;
    let input = tree.at(id, Kind::Ident(SORT_BY_INPUT.into()));
    let sorted = member_call(tree, id, "@sortByAssociatedKeys", input, vec![keys]);
    Some(bind(tree, id, SORT_BY_INPUT, target, sorted))
}
