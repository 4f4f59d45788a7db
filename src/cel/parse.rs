//! Text into a tree. The crate `cel` parses, which has cel-go's grammar and its words for syntax errors; macros are expanded here,
//! since which ones there are is a matter of Kubernetes' environment.

use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo};

use super::ast::{Call, Element, Entry, Id, Kind, Literal, Node, Select, operator};
use super::diagnostics::{Diagnostics, Location, locate};
use super::macros;

/// Code points of an expression. Go: `expressionSizeCodePointLimit` (parser.go).
const MAX_CODE_POINTS: usize = 100_000;
/// How deep expressions may be nested. Go: `maxRecursionDepth` (parser.go).
const MAX_DEPTH: u16 = 250;
/// Operators, dots and brackets of an expression: they bound how deep the parser's recursion goes. cel-go has no such limit but
/// refuses most expressions of this size for their depth.
const MAX_OPERATORS: usize = 4000;
/// Nodes of a tree after macros are expanded. cel-go has no limit, but `optMap` and `optFlatMap` copy what they are called on.
const MAX_NODES: usize = 100_000;

/// A parsed expression.
pub(super) struct Parsed {
    pub(super) root: Node,
    /// The offset in bytes of each node, by its id.
    offsets: Vec<u32>,
}

impl Parsed {
    /// Where in the source a node is.
    pub(super) fn location(&self, source: &str, id: Id) -> Option<Location> {
        let offset = usize::try_from(*self.offsets.get(id)?).ok()?;
        Some(locate(source, offset))
    }
}

/// Parses an expression, on a stack that is large enough (see `compile`). The error has cel-go's words, without "compilation failed: ".
pub(super) fn parse(source: &str) -> Result<Parsed, String> {
    let size = source.chars().count();
    if size > MAX_CODE_POINTS {
        return Err(unplaced(
            source,
            format!("expression code point size exceeds limit: size: {size}, limit {MAX_CODE_POINTS}"),
        ));
    }
    if operators(source) > MAX_OPERATORS {
        return Err(unplaced(source, format!("expression has more than {MAX_OPERATORS} operators")));
    }
    parse_bounded(source)
}

/// Parses what is not too large.
fn parse_bounded(source: &str) -> Result<Parsed, String> {
    // Without macros of its own: they stay the calls that they are written as.
    let parser = cel::Env::default().parser().enable_optional_syntax(true).max_recursion_depth(MAX_DEPTH);
    match parser.parse_with_source_info(source) {
        Ok((expression, info)) => {
            let mut tree = Tree::new(source, Some(&info));
            let root = tree.node(&expression, 0).ok_or_else(|| tree.failure())?;
            if tree.diagnostics.is_empty() {
                Ok(Parsed { root, offsets: tree.offsets })
            } else {
                Err(tree.failure())
            }
        }
        Err(errors) => {
            let mut diagnostics = Diagnostics::new(source);
            for error in errors.errors {
                if error.msg.contains("Recursion limit") {
                    let words = format!("expression recursion limit exceeded: {MAX_DEPTH}");
                    return Err(unplaced(source, words));
                }
                // What the parser says besides when a subexpression is missing, whose syntax error is there too.
                if !error.msg.starts_with("Incomplete ") && !error.msg.starts_with("No `") {
                    let (line, column) = (usize::try_from(error.pos.0), usize::try_from(error.pos.1));
                    let location = match (line, column) {
                        (Ok(line), Ok(column)) => Some(Location { line, column: column.saturating_sub(1) }),
                        _ => None,
                    };
                    diagnostics.report(location, error.msg);
                }
            }
            if diagnostics.is_empty() {
                diagnostics.report(None, "the expression cannot be parsed");
            }
            Err(diagnostics.text())
        }
    }
}

fn unplaced(source: &str, message: String) -> String {
    let mut diagnostics = Diagnostics::new(source);
    diagnostics.report(None, message);
    diagnostics.text()
}

/// A tree while it is made.
pub(super) struct Tree<'a> {
    source: &'a str,
    info: Option<&'a SourceInfo>,
    offsets: Vec<u32>,
    diagnostics: Diagnostics<'a>,
}

impl<'a> Tree<'a> {
    fn new(source: &'a str, info: Option<&'a SourceInfo>) -> Self {
        Self { source, info, offsets: Vec::new(), diagnostics: Diagnostics::new(source) }
    }

    /// The errors so far.
    fn failure(&mut self) -> String {
        let diagnostics = std::mem::replace(&mut self.diagnostics, Diagnostics::new(self.source));
        if diagnostics.is_empty() { "the expression is too large".to_owned() } else { diagnostics.text() }
    }

    /// An id for a new node at an offset.
    fn id(&mut self, offset: u32) -> Id {
        self.offsets.push(offset);
        self.offsets.len() - 1
    }

    /// A new node in the place of another. Go: `ExprHelper.nextMacroID`.
    pub(super) fn at(&mut self, place: Id, kind: Kind) -> Node {
        let offset = self.offsets.get(place).copied().unwrap_or_default();
        Node { id: self.id(offset), kind }
    }

    /// A copy with ids of its own. Go: `ExprHelper.Copy`.
    pub(super) fn copy(&mut self, node: &Node) -> Option<Node> {
        let mut copy = node.clone();
        self.renumber(&mut copy)?;
        Some(copy)
    }

    fn renumber(&mut self, node: &mut Node) -> Option<()> {
        let offset = self.offsets.get(node.id).copied().unwrap_or_default();
        node.id = self.bounded_id(offset)?;
        match &mut node.kind {
            Kind::Literal(_) | Kind::Ident(_) | Kind::Message { .. } => Some(()),
            Kind::Select(select) => self.renumber(&mut select.operand),
            Kind::Call(call) => {
                let target = call.target.as_deref_mut().into_iter();
                target.chain(&mut call.args).try_for_each(|node| self.renumber(node))
            }
            Kind::List { elements } => elements.iter_mut().try_for_each(|e| self.renumber(&mut e.node)),
            Kind::Map { entries } => entries.iter_mut().try_for_each(|entry| {
                self.renumber(&mut entry.key)?;
                self.renumber(&mut entry.value)
            }),
            Kind::Comprehension(c) => {
                let c = &mut **c;
                [&mut c.range, &mut c.init, &mut c.condition, &mut c.step, &mut c.result]
                    .into_iter()
                    .try_for_each(|node| self.renumber(node))
            }
        }
    }

    /// An id, or an error and `None` if there are too many nodes already.
    fn bounded_id(&mut self, offset: u32) -> Option<Id> {
        if self.offsets.len() >= MAX_NODES {
            if self.diagnostics.is_empty() {
                self.diagnostics.report(None, format!("expression has more than {MAX_NODES} nodes"));
            }
            return None;
        }
        Some(self.id(offset))
    }

    /// An error in the place of a node.
    pub(super) fn error(&mut self, place: Id, message: impl Into<String>) {
        let offset = self.offsets.get(place).copied().unwrap_or_default();
        let location = usize::try_from(offset).ok().map(|offset| locate(self.source, offset));
        self.diagnostics.report(location, message);
    }

    /// Copies a node of the parser's tree, macros expanded. `None` ends it: the expression is too large.
    fn node(&mut self, from: &IdedExpr, depth: u16) -> Option<Node> {
        let offset = self.info.and_then(|info| info.offset_for(from.id)).map_or(0, |(start, _stop)| start);
        // Go: `parser.checkAndIncrementRecursionDepth`, for the kinds of nodes that nest on their own.
        let deeper = match &from.expr {
            Expr::Select(_) => depth + 1,
            Expr::Call(call) if !matches!(&*call.func_name, operator::AND | operator::OR) => depth + 1,
            _ => depth,
        };
        if deeper > MAX_DEPTH {
            self.diagnostics.report(None, "max recursion depth exceeded");
            return None;
        }
        let kind = match &from.expr {
            Expr::Literal(value) => {
                let literal = literal(value);
                let offset = self.literal_offset(offset, &literal);
                return Some(Node { id: self.bounded_id(offset)?, kind: Kind::Literal(literal) });
            }
            Expr::Ident(name) => Kind::Ident(name.as_str().into()),
            Expr::Select(select) => Kind::Select(Select {
                operand: Box::new(self.node(&select.operand, deeper)?),
                field: select.field.as_str().into(),
                test: select.test,
            }),
            Expr::Call(call) => {
                let target = match &call.target {
                    Some(target) => Some(self.node(target, deeper)?),
                    None => None,
                };
                let args: Vec<Node> =
                    call.args.iter().map(|arg| self.node(arg, deeper)).collect::<Option<_>>()?;
                let id = self.bounded_id(offset)?;
                return macros::expand(self, id, &call.func_name, target, args);
            }
            Expr::List(list) => {
                let element = |(index, from): (usize, &IdedExpr)| {
                    let optional = list.optional_indices.contains(&index);
                    Some(Element { node: self.node(from, depth)?, optional })
                };
                Kind::List { elements: list.elements.iter().enumerate().map(element).collect::<Option<_>>()? }
            }
            Expr::Map(map) => {
                let entry = |entry: &EntryExpr| match entry {
                    EntryExpr::MapEntry(entry) => Some(Entry {
                        key: self.node(&entry.key, depth)?,
                        value: self.node(&entry.value, depth)?,
                        optional: entry.optional,
                    }),
                    EntryExpr::StructField(_) => None,
                };
                Kind::Map { entries: map.entries.iter().map(|e| &e.expr).map(entry).collect::<Option<_>>()? }
            }
            Expr::Struct(message) => Kind::Message { name: message.type_name.as_str().into() },
            Expr::Unspecified | Expr::Comprehension(_) => return None,
        };
        Some(Node { id: self.bounded_id(offset)?, kind })
    }

    /// A negative number begins at its sign, which the parser does not count in.
    fn literal_offset(&self, offset: u32, literal: &Literal) -> u32 {
        let negative = match literal {
            Literal::Int(i) => i.is_negative(),
            Literal::Double(d) => d.is_sign_negative(),
            _ => false,
        };
        let before = usize::try_from(offset).ok().and_then(|offset| self.source.get(..offset));
        let sign = before.filter(|_| negative).and_then(|before| before.rfind('-'));
        sign.and_then(|sign| u32::try_from(sign).ok()).unwrap_or(offset)
    }

    /// A call as it is written.
    pub(super) fn call(id: Id, function: &str, target: Option<Node>, args: Vec<Node>) -> Node {
        Node { id, kind: Kind::Call(Call { function: function.into(), target: target.map(Box::new), args }) }
    }
}

fn literal(value: &LiteralValue) -> Literal {
    match value {
        LiteralValue::Null => Literal::Null,
        LiteralValue::Boolean(b) => Literal::Bool(*b.inner()),
        LiteralValue::Int(i) => Literal::Int(*i.inner()),
        LiteralValue::UInt(u) => Literal::Uint(*u.inner()),
        LiteralValue::Double(d) => Literal::Double(*d.inner()),
        LiteralValue::String(s) => Literal::String(Arc::from(s.inner())),
        LiteralValue::Bytes(b) => Literal::Bytes(Arc::from(b.inner())),
    }
}

/// How many operators, dots and brackets there are outside of strings and comments.
fn operators(source: &str) -> usize {
    let bytes = source.as_bytes();
    let (mut at, mut count) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        match byte {
            b'"' | b'\'' => {
                let raw = at > 0 && matches!(bytes.get(at - 1), Some(b'r' | b'R'));
                at += string_length(rest, byte, raw);
                continue;
            }
            b'/' if rest.starts_with(b"//") => {
                at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                continue;
            }
            b'.' | b'(' | b'[' | b'{' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!'
            | b'?' => {
                count += 1;
            }
            b'i' if rest.starts_with(b"in") => count += 1,
            _ => {}
        }
        at += 1;
    }
    count
}

/// How long the string literal at the beginning of `rest` is.
fn string_length(rest: &[u8], quote: u8, raw: bool) -> usize {
    let triple = [quote; 3];
    let close: &[u8] = if rest.starts_with(&triple) { &triple } else { &triple[..1] };
    let mut at = close.len();
    while at < rest.len() {
        if rest[at..].starts_with(close) {
            return at + close.len();
        }
        at += if rest[at] == b'\\' && !raw { 2 } else { 1 };
    }
    rest.len()
}
