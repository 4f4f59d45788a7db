//! A checked expression made ready to run: names resolved, functions found, constants folded. Go: cel-go's `interpreter/planner.go` and
//! `decorators.go`.

use std::sync::Arc;

use super::ast::{Call, Comprehension, Kind, Literal, Node, Select, operator};
use super::check::{Checked, Reference};
use super::declarations::{Overload, functions};
use super::evaluate::Evaluator;
use super::library::{self, Run, RunRegex, regex};
use super::macros::ACCUMULATOR;
use super::types::{OPTIONAL, Type};
use super::value::{List, Map, Text, Val};

/// A step of a program.
pub(super) enum Plan {
    Constant(Val<'static>),
    /// A variable, or what is selected of something.
    Attribute(Attribute),
    /// `has(a.b)`.
    Has(Attribute),
    Logical {
        and: bool,
        terms: Box<[Self; 2]>,
    },
    Equals {
        negated: bool,
        sides: Box<[Self; 2]>,
    },
    /// `x in [constants]`, which costs nothing.
    InConstants {
        value: Box<Self>,
        list: List<'static>,
    },
    /// `or` and `orValue` of optionals.
    OptionalOr {
        sides: Box<[Self; 2]>,
        unwrap: bool,
    },
    Call(Box<CallPlan>),
    List {
        items: Vec<Item>,
    },
    Map {
        items: Vec<MapItem>,
    },
    /// A loop's list, with more items.
    Append {
        slot: usize,
        items: Box<Self>,
    },
    /// A loop's map, with more entries.
    Insert {
        slot: usize,
        args: Vec<Self>,
    },
    Fold(Box<Fold>),
}

/// Something, and what is selected of it.
pub(super) struct Attribute {
    pub(super) root: Root,
    pub(super) qualifiers: Vec<Arc<Qualifier>>,
}

pub(super) enum Root {
    /// `claims` or `user`.
    Input,
    /// A loop's variable.
    Slot(usize),
    Relative(Box<Plan>),
    /// `condition ? a : b`, where what is selected is selected of each.
    Conditional {
        condition: Box<Plan>,
        branches: Box<[Attribute; 2]>,
    },
}

/// One selection.
pub(super) struct Qualifier {
    pub(super) key: Key,
    /// `.?x` or `[?x]`.
    pub(super) optional: bool,
    /// Only whether it is there.
    pub(super) test: bool,
}

pub(super) enum Key {
    Constant(Val<'static>),
    Attribute(Attribute),
    Relative(Plan),
}

/// A call.
pub(super) struct CallPlan {
    pub(super) function: &'static str,
    /// The id of the overload, if only one fits.
    pub(super) overload: &'static str,
    pub(super) implementation: Implementation,
    pub(super) args: Vec<Plan>,
    /// An error as an argument is no error.
    pub(super) non_strict: bool,
}

/// The code of a function.
pub(super) enum Implementation {
    /// Looks at its arguments itself.
    Operator(Run),
    /// With a constant pattern.
    Regex { run: RunRegex, pattern: regex::Pattern },
    /// The only overload that fits the types that are known.
    Overload(Arc<Overload>, Run),
    /// The first overload that fits the values.
    Overloads(Vec<(Arc<Overload>, Run)>),
}

pub(super) struct Item {
    pub(super) plan: Plan,
    pub(super) optional: bool,
}

pub(super) struct MapItem {
    pub(super) key: Plan,
    pub(super) value: Plan,
    pub(super) optional: bool,
}

/// A loop. Its slots are the accumulator, the variable and the second variable.
pub(super) struct Fold {
    pub(super) range: Plan,
    pub(super) init: Plan,
    pub(super) condition: Plan,
    pub(super) step: Plan,
    pub(super) result: Plan,
    pub(super) two_variables: bool,
    /// Whether Go would change the accumulator where it is only added to.
    pub(super) changes_empty_list: bool,
}

/// Makes a program of an expression. The error is why Kubernetes, or we, cannot run it.
pub(super) fn plan(root: &Node, checked: &Checked) -> Result<Plan, String> {
    Planner { checked, variables: Vec::new() }.plan(root)
}

struct Planner<'c> {
    checked: &'c Checked,
    /// The names of loops' variables, by slot.
    variables: Vec<Box<str>>,
}

impl Planner<'_> {
    fn plan(&mut self, node: &Node) -> Result<Plan, String> {
        if let Some(Reference::Type(name)) = self.checked.reference(node) {
            return Ok(Plan::Constant(Val::Type(name)));
        }
        Ok(match &node.kind {
            Kind::Literal(literal) => Plan::Constant(constant(literal)),
            // Go takes a variable that holds a type for the name of one. See `planCheckedIdent`.
            Kind::Ident(name) if matches!(self.checked.type_of(node), Type::Meta(_)) => {
                return Err(format!("reference to undefined type: {name}"));
            }
            Kind::Ident(name) => {
                Plan::Attribute(Attribute { root: self.variable(name), qualifiers: Vec::new() })
            }
            Kind::Select(select) => self.select(select)?,
            Kind::Call(call) => self.call(node, call)?,
            Kind::List { elements } => {
                let mut items = Vec::with_capacity(elements.len());
                for element in elements {
                    items.push(Item { plan: self.plan(&element.node)?, optional: element.optional });
                }
                let constant = items.iter().all(|item| matches!(item.plan, Plan::Constant(_)));
                folded(Plan::List { items }, constant)?
            }
            Kind::Map { entries } => {
                let mut items = Vec::with_capacity(entries.len());
                for entry in entries {
                    let (key, value) = (self.plan(&entry.key)?, self.plan(&entry.value)?);
                    items.push(MapItem { key, value, optional: entry.optional });
                }
                let constant = items
                    .iter()
                    .all(|item| matches!((&item.key, &item.value), (Plan::Constant(_), Plan::Constant(_))));
                folded(Plan::Map { items }, constant)?
            }
            Kind::Message { name } => return Err(format!("unknown type: {name}")),
            Kind::Comprehension(comprehension) => self.fold(comprehension)?,
        })
    }

    fn variable(&self, name: &str) -> Root {
        let name = name.strip_prefix('.').unwrap_or(name);
        match self.variables.iter().rposition(|variable| **variable == *name) {
            Some(slot) => Root::Slot(slot),
            None => Root::Input,
        }
    }

    /// Go: `planSelect`.
    fn select(&mut self, select: &Select) -> Result<Plan, String> {
        let attribute = attribute(self.plan(&select.operand)?);
        let key = Key::Constant(Val::string(Arc::clone(&select.field)));
        let qualifier = Qualifier { key, optional: false, test: select.test };
        let attribute = qualified(attribute, Arc::new(qualifier));
        Ok(if select.test { Plan::Has(attribute) } else { Plan::Attribute(attribute) })
    }

    /// Go: `planCall`.
    fn call(&mut self, node: &Node, call: &Call) -> Result<Plan, String> {
        let Some(Reference::Function { overloads, qualified: name }) = self.checked.reference(node) else {
            return Err(format!("no such overload: {}", call.function));
        };
        // A target that is part of the function's name is no argument.
        let target = call.target.as_deref().filter(|_| name.is_none());
        if let Some(appended) = self.in_place(call)? {
            return Ok(appended);
        }
        let mut args = Vec::with_capacity(call.args.len() + 1);
        for node in target.into_iter().chain(&call.args) {
            args.push(self.plan(node)?);
        }
        let function = name.unwrap_or(&*call.function);
        let function = function.strip_prefix('.').unwrap_or(function);
        let (function, declared) = match functions().get_key_value(function) {
            Some((function, declared)) => (*function, declared),
            None => return Err(format!("no such overload: {function}")),
        };
        let overload = match &**overloads {
            [only] => Some(only),
            _ => None,
        };
        let two = |args: Vec<Plan>| {
            <[Plan; 2]>::try_from(args).map_err(|_| format!("no such overload: {function}"))
        };
        match function {
            operator::AND | operator::OR => {
                let terms = Box::new(two(args)?);
                return Ok(Plan::Logical { and: function == operator::AND, terms });
            }
            operator::EQUALS | operator::NOT_EQUALS => {
                let negated = function == operator::NOT_EQUALS;
                return Ok(Plan::Equals { negated, sides: Box::new(two(args)?) });
            }
            operator::CONDITIONAL => return conditional(args),
            operator::INDEX => return index(two(args)?, false),
            operator::OPT_INDEX | operator::OPT_SELECT => return index(two(args)?, true),
            "or" | "orValue" => {
                return Ok(Plan::OptionalOr { sides: Box::new(two(args)?), unwrap: function == "orValue" });
            }
            operator::IN if overload.is_some_and(|overload| overload.id == "in_list") => {
                if let [_, Plan::Constant(Val::List(list))] = &*args
                    && list.iter().all(|item| is_hashable(&item))
                {
                    let list = list.clone();
                    let [value, _] = two(args)?;
                    if list.len() == 0 {
                        return Ok(Plan::Constant(Val::Bool(false)));
                    }
                    return Ok(Plan::InConstants { value: Box::new(value), list });
                }
            }
            _ => {}
        }
        let implementation = self.implementation(function, declared, overload, &args)?;
        let constant = is_type_conversion(function) && matches!(&*args, [Plan::Constant(_)]);
        let overload = overload.map_or("", |overload| overload.id);
        let non_strict = function == operator::NOT_STRICTLY_FALSE;
        folded(
            Plan::Call(Box::new(CallPlan { function, overload, implementation, args, non_strict })),
            constant,
        )
    }

    fn implementation(
        &self,
        function: &'static str,
        declared: &[Arc<Overload>],
        overload: Option<&Arc<Overload>>,
        args: &[Plan],
    ) -> Result<Implementation, String> {
        if let Some(run) = regex::with_pattern(function)
            && let Some(Plan::Constant(Val::String(pattern))) = args.get(1)
        {
            let pattern = regex::Pattern::new(pattern.as_str()).map_err(|why| why.to_string())?;
            return Ok(Implementation::Regex { run, pattern });
        }
        if let Some(run) = library::operator(function) {
            return Ok(Implementation::Operator(run));
        }
        let find = |overload: &Arc<Overload>| match library::overload(overload.id) {
            Some(run) => Ok((Arc::clone(overload), run)),
            None => Err(format!("function '{function}' is not supported here")),
        };
        Ok(match overload {
            Some(overload) => {
                let (overload, run) = find(overload)?;
                Implementation::Overload(overload, run)
            }
            None => Implementation::Overloads(declared.iter().map(find).collect::<Result<_, _>>()?),
        })
    }

    /// What macros make to add to their result.
    fn in_place(&mut self, call: &Call) -> Result<Option<Plan>, String> {
        let [Node { kind: Kind::Ident(accumulator), .. }, rest @ ..] = &*call.args else { return Ok(None) };
        if **accumulator != *ACCUMULATOR {
            return Ok(None);
        }
        let Root::Slot(slot) = self.variable(accumulator) else { return Ok(None) };
        match (&*call.function, rest) {
            (operator::ADD, [items @ Node { kind: Kind::List { .. }, .. }]) => {
                Ok(Some(Plan::Append { slot, items: Box::new(self.plan(items)?) }))
            }
            ("cel.@mapInsert", args) => {
                let args = args.iter().map(|arg| self.plan(arg)).collect::<Result<_, _>>()?;
                Ok(Some(Plan::Insert { slot, args }))
            }
            _ => Ok(None),
        }
    }

    /// Go: `planComprehension`.
    fn fold(&mut self, c: &Comprehension) -> Result<Plan, String> {
        let init = self.plan(&c.init)?;
        let range = self.plan(&c.range)?;
        let base = self.variables.len();
        // As evaluate.rs fills the slots. Where there is one variable only, nobody can name the other slot.
        self.variables.push(c.accumulator.clone());
        self.variables.push(c.variable.clone());
        self.variables.push(c.variable2.clone().unwrap_or_default());
        let (condition, step) = (self.plan(&c.condition)?, self.plan(&c.step)?);
        // The variables are gone when the result is computed, though not their slots.
        self.variables.iter_mut().skip(base + 1).for_each(|name| *name = Box::default());
        let result = self.plan(&c.result)?;
        self.variables.truncate(base);
        let two_variables = c.variable2.is_some();
        let changes_empty_list = *c.accumulator != *ACCUMULATOR && is_changed(&c.result, &c.accumulator);
        Ok(Plan::Fold(Box::new(Fold {
            range,
            init,
            condition,
            step,
            result,
            two_variables,
            changes_empty_list,
        })))
    }
}

/// Whether a variable that `optMap` binds is added to and seen again. cel-go makes an empty list there one that `+` changes in place.
fn is_changed(result: &Node, variable: &str) -> bool {
    let is_it = |node: &Node| matches!(&node.kind, Kind::Ident(name) if **name == *variable);
    let (mut seen, mut added, mut loops) = (0, false, false);
    result.walk(&mut |node| {
        seen += usize::from(is_it(node));
        loops |= matches!(node.kind, Kind::Comprehension(_));
        added |= matches!(&node.kind, Kind::Call(call)
            if *call.function == *operator::ADD && call.args.first().is_some_and(is_it));
    });
    added && (seen > 1 || loops)
}

fn constant(literal: &Literal) -> Val<'static> {
    match literal {
        Literal::Null => Val::Null,
        Literal::Bool(b) => Val::Bool(*b),
        Literal::Int(i) => Val::Int(*i),
        Literal::Uint(u) => Val::Uint(*u),
        Literal::Double(d) => Val::Double(*d),
        Literal::String(s) => Val::String(Text::Made(Arc::clone(s))),
        Literal::Bytes(b) => Val::Bytes(Arc::clone(b)),
    }
}

/// A plan as an attribute, to select of it.
fn attribute(plan: Plan) -> Attribute {
    match plan {
        // In the branch of a condition, Go takes what `has` looks for as it finds it.
        Plan::Attribute(attribute) | Plan::Has(attribute) => attribute,
        other => Attribute { root: Root::Relative(Box::new(other)), qualifiers: Vec::new() },
    }
}

/// Selects of an attribute; of a conditional one, of each branch. Go: `Attribute.AddQualifier`.
fn qualified(mut attribute: Attribute, qualifier: Arc<Qualifier>) -> Attribute {
    match attribute.root {
        Root::Conditional { condition, branches } => {
            let branches = branches.map(|branch| qualified(branch, Arc::clone(&qualifier)));
            Attribute { root: Root::Conditional { condition, branches: Box::new(branches) }, ..attribute }
        }
        _ => {
            attribute.qualifiers.push(qualifier);
            attribute
        }
    }
}

/// Go: `planCallConditional`.
fn conditional(args: Vec<Plan>) -> Result<Plan, String> {
    let [condition, a, b] = <[Plan; 3]>::try_from(args).map_err(|_| "no such overload".to_owned())?;
    let branches = Box::new([attribute(a), attribute(b)]);
    let root = Root::Conditional { condition: Box::new(condition), branches };
    Ok(Plan::Attribute(Attribute { root, qualifiers: Vec::new() }))
}

/// Go: `planCallIndex`.
fn index([operand, index]: [Plan; 2], optional: bool) -> Result<Plan, String> {
    let key = match index {
        Plan::Constant(
            key @ (Val::String(_) | Val::Int(_) | Val::Uint(_) | Val::Bool(_) | Val::Double(_)),
        ) => Key::Constant(key),
        Plan::Constant(other) => return Err(format!("invalid qualifier type: {}", other.type_name())),
        Plan::Attribute(attribute) => Key::Attribute(attribute),
        other => Key::Relative(other),
    };
    let qualifier = Qualifier { key, optional, test: false };
    Ok(Plan::Attribute(qualified(attribute(operand), Arc::new(qualifier))))
}

/// A plan of constants as what it evaluates to. Go: `decOptimize`.
fn folded(plan: Plan, constant: bool) -> Result<Plan, String> {
    if !constant {
        return Ok(plan);
    }
    let value = Evaluator::new(None).evaluate(&plan).map(owned);
    match value {
        Ok(Some(value)) => Ok(Plan::Constant(value)),
        Ok(None) => Ok(plan),
        Err(error) => Err(error.to_string()),
    }
}

/// A value made of constants, borrowed from nothing.
fn owned(value: Val<'_>) -> Option<Val<'static>> {
    Some(match value {
        Val::Null => Val::Null,
        Val::Bool(b) => Val::Bool(b),
        Val::Int(i) => Val::Int(i),
        Val::Uint(u) => Val::Uint(u),
        Val::Double(d) => Val::Double(d),
        Val::String(s) => Val::string(s.as_str()),
        Val::Bytes(b) => Val::Bytes(b),
        Val::Timestamp(t) => Val::Timestamp(t),
        Val::Duration(d) => Val::Duration(d),
        Val::Type(name) => Val::Type(name),
        Val::List(List::Items(items)) => Val::list(items.iter().cloned().map(owned).collect::<Option<_>>()?),
        Val::Map(Map::Entries(entries)) => {
            let mut copy = super::value::Entries::default();
            for (key, value) in &entries.items {
                copy.insert(owned(key.clone())?, owned(value.clone())?).ok()?;
            }
            Val::Map(Map::Entries(Arc::new(copy)))
        }
        _ => return None,
    })
}

/// Go: `overloads.IsTypeConversionFunction`.
fn is_type_conversion(function: &str) -> bool {
    matches!(
        function,
        "bool" | "bytes" | "double" | "dyn" | "duration" | "int" | "string" | "timestamp" | "type" | "uint"
    )
}

/// Go: what `maybeOptimizeSetMembership` takes.
fn is_hashable(value: &Val<'_>) -> bool {
    matches!(value, Val::Bool(_) | Val::Int(_) | Val::Uint(_) | Val::Double(_) | Val::String(_))
}

impl Overload {
    /// Whether values may be its arguments. Go: `matchesRuntimeSignature`.
    pub(super) fn matches(&self, args: &[Val<'_>]) -> bool {
        self.args.len() == args.len() && self.args.iter().zip(args).all(|(t, value)| fits(t, value))
    }
}

/// Whether a value is of a type as far as can be seen at a glance. Go: `IsAssignableRuntimeType`.
fn fits(t: &Type, value: &Val<'_>) -> bool {
    match (t, value) {
        (Type::Dyn | Type::Any | Type::Param(_), _) => true,
        (Type::List(item), Val::List(list)) => list.item(0).is_none_or(|first| fits(item, &first)),
        (Type::Map(key, item), Val::Map(map)) => {
            map.entries().next().is_none_or(|(first, value)| fits(key, &first) && fits(item, &value))
        }
        (Type::Opaque(OPTIONAL, _), Val::Optional(_)) => true,
        _ => t.name() == value.type_name(),
    }
}
