//! The type checker, which decides whether an expression compiles. Go: cel-go's `checker/checker.go`, step by step.

use std::collections::HashMap;
use std::sync::Arc;

use super::Scope;
use super::ast::{Call, Comprehension, Id, Kind, Literal, Node, Select, operator};
use super::declarations::{Functions, Overload, functions};
use super::diagnostics::Diagnostics;
use super::parse::Parsed;
use super::types::{OPTIONAL, Param, Substitutions, Type, instantiate, most_general};

/// What a name or call turned out to mean.
#[derive(Debug, Clone)]
pub(super) enum Reference {
    /// A variable.
    Variable,
    /// The name of a type, as a value.
    Type(&'static str),
    /// A function, with the overloads that fit the types of the arguments. `qualified` is the function's name where the target of the
    /// call is not a value but part of that name.
    Function { overloads: Vec<Arc<Overload>>, qualified: Option<&'static str> },
}

/// An expression that compiles.
pub(super) struct Checked {
    types: HashMap<Id, Type>,
    references: HashMap<Id, Reference>,
}

impl Checked {
    /// The type of a node.
    pub(super) fn type_of(&self, node: &Node) -> &Type {
        self.types.get(&node.id).unwrap_or(&Type::Dyn)
    }

    /// What a node refers to.
    pub(super) fn reference(&self, node: &Node) -> Option<&Reference> {
        self.references.get(&node.id)
    }
}

/// Checks an expression. The error has cel-go's words, without "compilation failed: ".
pub(super) fn check(source: &str, parsed: &Parsed, scope: Scope) -> Result<Checked, String> {
    let mut checker = Checker {
        source,
        parsed,
        functions: functions(),
        scopes: vec![vec![scope.variable()]],
        substitutions: Substitutions::default(),
        types: HashMap::new(),
        references: HashMap::new(),
        diagnostics: Diagnostics::new(source),
    };
    checker.check(&parsed.root);
    if !checker.diagnostics.is_empty() {
        return Err(checker.diagnostics.text());
    }
    let types =
        checker.types.iter().map(|(id, t)| (*id, checker.substitutions.substitute(t, true))).collect();
    Ok(Checked { types, references: checker.references })
}

impl Scope {
    /// The variable that expressions of this scope see. Go: `mustBuildEnvs` (authentication/cel/compile.go).
    fn variable(self) -> (Box<str>, Type) {
        match self {
            Self::Claims => (self.name().into(), Type::map(Type::String, Type::Any)),
            Self::User => (self.name().into(), Type::Struct(USER_INFO)),
        }
    }
}

/// The type of `user`.
pub(super) const USER_INFO: &str = "kubernetes.UserInfo";

/// The fields of `kubernetes.UserInfo`. Go: `buildUserType`.
fn user_field(name: &str) -> Option<Type> {
    match name {
        "username" | "uid" => Some(Type::String),
        "groups" => Some(Type::list(Type::String)),
        "extra" => Some(Type::map(Type::String, Type::list(Type::String))),
        _ => None,
    }
}

/// The names of types, which are values too. Go: `stdTypes`, and `cel.Types` of the libraries.
fn type_name(name: &str) -> Option<(&'static str, Type)> {
    let param = |name| Type::Param(Param::Named(name));
    let of = match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "google.protobuf.Duration" => Type::Duration,
        "int" => Type::Int,
        "list" => Type::list(param('A')),
        "map" => Type::map(param('A'), param('B')),
        "net.CIDR" => Type::Opaque("net.CIDR", Arc::new([])),
        "net.IP" => Type::Opaque("net.IP", Arc::new([])),
        "null_type" => Type::Null,
        "optional_type" => Type::Opaque(OPTIONAL, Arc::new([])),
        "string" => Type::String,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "type" => Type::Meta(None),
        "uint" => Type::Uint,
        _ => return None,
    };
    Some((of.name(), Type::Meta(Some(Arc::new(of)))))
}

struct Checker<'a> {
    source: &'a str,
    parsed: &'a Parsed,
    functions: &'static Functions,
    /// Variables and their types, the innermost scope last.
    scopes: Vec<Vec<(Box<str>, Type)>>,
    substitutions: Substitutions,
    types: HashMap<Id, Type>,
    references: HashMap<Id, Reference>,
    diagnostics: Diagnostics<'a>,
}

impl Checker<'_> {
    fn error(&mut self, id: Id, message: String) {
        let location = self.parsed.location(self.source, id);
        self.diagnostics.report(location, message);
    }

    fn type_of(&self, node: &Node) -> Type {
        self.types.get(&node.id).cloned().unwrap_or(Type::Error)
    }

    /// The type of a node, and that remembered. Go: `checker.check`.
    fn check(&mut self, node: &Node) -> Type {
        let t = match &node.kind {
            Kind::Literal(literal) => match literal {
                Literal::Null => Type::Null,
                Literal::Bool(_) => Type::Bool,
                Literal::Int(_) => Type::Int,
                Literal::Uint(_) => Type::Uint,
                Literal::Double(_) => Type::Double,
                Literal::String(_) => Type::String,
                Literal::Bytes(_) => Type::Bytes,
            },
            Kind::Ident(name) => match self.look_up(name) {
                Some((reference, t)) => {
                    self.references.insert(node.id, reference);
                    t
                }
                None => self.undeclared(node.id, name),
            },
            Kind::Select(select) => self.check_select(node, select),
            Kind::Call(call) => self.check_call(node, call),
            Kind::List { elements } => {
                let mut joined = None;
                for element in elements {
                    let t = self.check(&element.node);
                    let t = self.unwrapped(&element.node, t, element.optional);
                    joined = Some(self.join(joined, t));
                }
                Type::list(joined.unwrap_or_else(|| Type::Param(self.substitutions.fresh())))
            }
            Kind::Map { entries } => {
                let (mut keys, mut values) = (None, None);
                for entry in entries {
                    let t = self.check(&entry.key);
                    keys = Some(self.join(keys, t));
                    let t = self.check(&entry.value);
                    let t = self.unwrapped(&entry.value, t, entry.optional);
                    values = Some(self.join(values, t));
                }
                let key = keys.unwrap_or_else(|| Type::Param(self.substitutions.fresh()));
                let value = values.unwrap_or_else(|| Type::Param(self.substitutions.fresh()));
                Type::map(key, value)
            }
            Kind::Message { name } => self.undeclared(node.id, name),
            Kind::Comprehension(comprehension) => self.check_comprehension(comprehension),
        };
        self.types.insert(node.id, t.clone());
        t
    }

    /// What a name means. Go: `Env.LookupIdent`.
    fn look_up(&self, name: &str) -> Option<(Reference, Type)> {
        let name = name.strip_prefix('.').unwrap_or(name);
        let mut variables = self.scopes.iter().rev().flatten();
        if let Some((_, t)) = variables.find(|(variable, _)| **variable == *name) {
            return Some((Reference::Variable, t.clone()));
        }
        type_name(name).map(|(name, t)| (Reference::Type(name), t))
    }

    fn undeclared(&mut self, id: Id, name: &str) -> Type {
        self.error(id, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    /// The type of an element of `[?x]` or `{?k: x}`.
    fn unwrapped(&mut self, node: &Node, t: Type, optional: bool) -> Type {
        if !optional {
            return t;
        }
        match t.unwrap_optional() {
            Some(inner) => inner.clone(),
            None => {
                if !t.is_dyn() {
                    self.error(
                        node.id,
                        format!("expected type '{}' but found '{t}'", Type::optional(t.clone())),
                    );
                }
                t
            }
        }
    }

    /// The type that both have. Go: `checker.joinTypes`.
    fn join(&mut self, before: Option<Type>, t: Type) -> Type {
        let Some(before) = before else { return t };
        if self.substitutions.assign(&before, &t) {
            return most_general(&before, &t).clone();
        }
        // validate.rs finds it, except in the arguments of `format`.
        Type::Dyn
    }

    /// Go: `checker.checkSelect`.
    fn check_select(&mut self, node: &Node, select: &Select) -> Type {
        if let Some((reference, t)) = node.qualified_name().and_then(|name| self.look_up(&name)) {
            self.references.insert(node.id, reference);
            return t;
        }
        let t = self.check_field(node.id, &select.operand, &select.field, false);
        if select.test { Type::Bool } else { self.substitutions.substitute(&t, false) }
    }

    /// Go: `checker.checkSelectField`.
    fn check_field(&mut self, id: Id, operand: &Node, field: &str, optional: bool) -> Type {
        let operand = self.check(operand);
        let operand = self.substitutions.substitute(&operand, false);
        let (target, was_optional) = match operand.unwrap_optional() {
            Some(inner) => (inner.clone(), true),
            None => (operand, false),
        };
        let t = match &target {
            Type::Map(_, value) => Type::clone(value),
            Type::Struct(USER_INFO) => user_field(field).unwrap_or_else(|| {
                self.error(id, format!("undefined field '{field}'"));
                Type::Error
            }),
            Type::Struct(name) => {
                self.error(id, format!("unexpected failed resolution of '{name}'"));
                Type::Error
            }
            Type::Param(_) => {
                self.substitutions.assign(&Type::Dyn, &target);
                Type::Dyn
            }
            _ => {
                if !target.is_dyn() && target != Type::Error {
                    self.error(id, format!("type '{target}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        if was_optional || optional { Type::optional(t) } else { t }
    }

    /// Go: `checker.checkCall`.
    fn check_call(&mut self, node: &Node, call: &Call) -> Type {
        let function = &*call.function;
        if function == operator::OPT_SELECT {
            return self.check_optional_select(node, call);
        }
        for arg in &call.args {
            self.check(arg);
        }
        let Some(target) = &call.target else {
            let name = function.strip_prefix('.').unwrap_or(function);
            return match self.functions.get_key_value(name) {
                Some((name, overloads)) => self.resolve(node, name, overloads, None, &call.args, None),
                None => self.undeclared(node.id, function),
            };
        };
        if let Some(prefix) = target.qualified_name() {
            let prefix = prefix.strip_prefix('.').unwrap_or(&prefix);
            if let Some((name, overloads)) = self.functions.get_key_value(&*format!("{prefix}.{function}")) {
                return self.resolve(node, name, overloads, None, &call.args, Some(name));
            }
        }
        self.check(target);
        match self.functions.get_key_value(function) {
            Some((name, overloads)) => self.resolve(node, name, overloads, Some(target), &call.args, None),
            None => self.undeclared(node.id, function),
        }
    }

    /// `operand.?field`. Go: `checker.checkOptSelect`.
    fn check_optional_select(&mut self, node: &Node, call: &Call) -> Type {
        let [operand, Node { kind: Kind::Literal(Literal::String(field)), .. }] = &*call.args else {
            self.error(node.id, "unsupported optional field selection".to_owned());
            return Type::Error;
        };
        let t = self.check_field(node.id, operand, field, true);
        self.references.insert(node.id, Reference::Function { overloads: Vec::new(), qualified: None });
        self.substitutions.substitute(&t, false)
    }

    /// The type of a call by the overloads that fit. Go: `checker.resolveOverload`.
    fn resolve(
        &mut self,
        node: &Node,
        function: &'static str,
        overloads: &[Arc<Overload>],
        target: Option<&Node>,
        args: &[Node],
        qualified: Option<&'static str>,
    ) -> Type {
        let nodes: Vec<&Node> = target.into_iter().chain(args).collect();
        let arg_types: Vec<Type> = nodes.iter().map(|node| self.type_of(node)).collect();
        let mut result: Option<Type> = None;
        let mut fitting = Vec::new();
        for overload in overloads.iter().filter(|overload| overload.method == target.is_some()) {
            if matches!(function, operator::AND | operator::OR) {
                let mut sound = true;
                for (node, t) in nodes.iter().zip(&arg_types) {
                    if !self.substitutions.assign(t, &Type::Bool) {
                        self.error(node.id, format!("expected type 'bool' but found '{t}'"));
                        sound = false;
                    }
                }
                if !sound {
                    return Type::Error;
                }
                result = Some(Type::Bool);
                fitting.push(Arc::clone(overload));
                break;
            }
            let fresh: HashMap<char, Param> =
                overload.params.iter().map(|name| (*name, self.substitutions.fresh())).collect();
            let candidates: Vec<Type> = overload.args.iter().map(|t| instantiate(t, &fresh)).collect();
            let (from, to): (Vec<&Type>, Vec<&Type>) =
                (arg_types.iter().collect(), candidates.iter().collect());
            if self.substitutions.assign_all(&from, &to) {
                fitting.push(Arc::clone(overload));
                let t = self.substitutions.substitute(&instantiate(&overload.result, &fresh), false);
                result = match result {
                    None => Some(t),
                    Some(before) if !before.is_dyn() && t != before => Some(Type::Dyn),
                    same => same,
                };
            }
        }
        let Some(result) = result else {
            let shown: Vec<String> =
                arg_types.iter().map(|t| self.substitutions.substitute(t, true).to_string()).collect();
            let applied = match (target, &*shown) {
                (Some(_), [first, rest @ ..]) => format!("{first}.({})", rest.join(", ")),
                _ => format!("({})", shown.join(", ")),
            };
            self.error(
                node.id,
                format!("found no matching overload for '{function}' applied to '{applied}'"),
            );
            return Type::Error;
        };
        self.references.insert(node.id, Reference::Function { overloads: fitting, qualified });
        result
    }

    /// Go: `checker.checkComprehension`.
    fn check_comprehension(&mut self, c: &Comprehension) -> Type {
        let range = self.check(&c.range);
        let accumulator = self.check(&c.init);
        let range = self.substitutions.substitute(&range, false);
        self.scopes.push(vec![(c.accumulator.clone(), accumulator.clone())]);
        let two = c.variable2.is_some();
        let (first, second) = match &range {
            Type::List(item) if two => (Type::Int, Type::clone(item)),
            Type::List(item) => (Type::clone(item), Type::Error),
            Type::Map(key, value) => (Type::clone(key), Type::clone(value)),
            // Go: DynKind, but not AnyKind.
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.substitutions.assign(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            _ => {
                let words = "cannot be range of a comprehension (must be list, map, or dynamic)";
                self.error(c.range.id, format!("expression of type '{range}' {words}"));
                (Type::Error, Type::Error)
            }
        };
        let mut variables = vec![(c.variable.clone(), first)];
        variables.extend(c.variable2.clone().map(|name| (name, second)));
        self.scopes.push(variables);
        let condition = self.check(&c.condition);
        self.assert(&c.condition, &Type::Bool, &condition);
        let step = self.check(&c.step);
        self.assert(&c.step, &accumulator, &step);
        self.scopes.pop();
        let result = self.check(&c.result);
        self.scopes.pop();
        self.substitutions.substitute(&result, false)
    }

    /// Go: `checker.assertType`.
    fn assert(&mut self, node: &Node, expected: &Type, t: &Type) {
        if !self.substitutions.assign(expected, t) {
            self.error(node.id, format!("expected type '{expected}' but found '{t}'"));
        }
    }
}
