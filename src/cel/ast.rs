//! The tree of an expression after macros are expanded, as cel-go's `common/ast`.

use std::sync::Arc;

/// Names a node: its place in the source and its type are looked up by it.
pub(super) type Id = usize;

/// A constant of the source.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

/// A node of the tree.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) id: Id,
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Literal(Literal),
    Ident(Box<str>),
    Select(Select),
    Call(Call),
    List {
        elements: Vec<Element>,
    },
    Map {
        entries: Vec<Entry>,
    },
    /// A protocol buffer message, of which this environment has none.
    Message {
        name: Box<str>,
    },
    Comprehension(Box<Comprehension>),
}

/// `operand.field`, or with `test` the presence test `has(operand.field)`.
#[derive(Debug, Clone)]
pub(super) struct Select {
    pub(super) operand: Box<Node>,
    pub(super) field: Arc<str>,
    pub(super) test: bool,
}

/// A call of a function or operator.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) function: Box<str>,
    pub(super) target: Option<Box<Node>>,
    pub(super) args: Vec<Node>,
}

/// An element of a list literal; `[?x]` is left out if `x` is an empty optional.
#[derive(Debug, Clone)]
pub(super) struct Element {
    pub(super) node: Node,
    pub(super) optional: bool,
}

/// An entry of a map literal.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Node,
    pub(super) value: Node,
    pub(super) optional: bool,
}

/// A loop, as macros expand to it.
#[derive(Debug, Clone)]
pub(super) struct Comprehension {
    pub(super) range: Node,
    pub(super) variable: Box<str>,
    /// The second variable: the key's value, or the index's element.
    pub(super) variable2: Option<Box<str>>,
    pub(super) accumulator: Box<str>,
    pub(super) init: Node,
    pub(super) condition: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}

/// Operators, as functions are named that the grammar knows (cel-go's `common/operators`).
pub(super) mod operator {
    pub(in super::super) const CONDITIONAL: &str = "_?_:_";
    pub(in super::super) const AND: &str = "_&&_";
    pub(in super::super) const OR: &str = "_||_";
    pub(in super::super) const NOT: &str = "!_";
    pub(in super::super) const EQUALS: &str = "_==_";
    pub(in super::super) const NOT_EQUALS: &str = "_!=_";
    pub(in super::super) const ADD: &str = "_+_";
    pub(in super::super) const INDEX: &str = "_[_]";
    pub(in super::super) const OPT_INDEX: &str = "_[?_]";
    pub(in super::super) const OPT_SELECT: &str = "_?._";
    pub(in super::super) const IN: &str = "@in";
    pub(in super::super) const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
}

impl Node {
    /// The dotted name that a chain of identifiers and selections spells. Go: `containers.ToQualifiedName`.
    pub(super) fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select(select) if !select.test => {
                Some(format!("{}.{}", select.operand.qualified_name()?, select.field))
            }
            _ => None,
        }
    }

    /// Visits this node and all below it, parents first.
    pub(super) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        self.children(&mut |child| child.walk(visit));
    }

    /// The nodes right below this one, in cel-go's order.
    pub(super) fn children<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) | Kind::Message { .. } => {}
            Kind::Select(select) => visit(&select.operand),
            Kind::Call(call) => {
                if let Some(target) = &call.target {
                    visit(target);
                }
                call.args.iter().for_each(visit);
            }
            Kind::List { elements } => elements.iter().for_each(|element| visit(&element.node)),
            Kind::Map { entries } => entries.iter().for_each(|entry| {
                visit(&entry.key);
                visit(&entry.value);
            }),
            Kind::Comprehension(c) => {
                [&c.range, &c.init, &c.condition, &c.step, &c.result].into_iter().for_each(visit);
            }
        }
    }

    /// Whether `variable.field` or `variable.?field` is in the tree. Go: `hasSelectExp` (validation.go), which sees the fields that
    /// are selected by name, not those behind `variable['field']`.
    pub(super) fn selects(&self, variable: &str, field: &str) -> bool {
        let is_variable = |node: &Self| matches!(&node.kind, Kind::Ident(name) if **name == *variable);
        let mut found = false;
        self.walk(&mut |node| {
            found |= match &node.kind {
                Kind::Select(select) => is_variable(&select.operand) && *select.field == *field,
                Kind::Call(call) => match &*call.args {
                    [operand, Self { kind: Kind::Literal(Literal::String(name)), .. }] => {
                        *call.function == *operator::OPT_SELECT && is_variable(operand) && **name == *field
                    }
                    _ => false,
                },
                _ => false,
            };
        });
        found
    }
}
