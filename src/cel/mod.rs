//! CEL, the expression language of Kubernetes' structured authentication configuration, with kube-apiserver's meaning.
//!
//! `claims.email.endsWith('@example.test')` maps claims of a token to a user, or decides whether the token or the user will do. An
//! expression is compiled once, with the configuration, and evaluated for each token.
//!
//! ```text
//!   text ── parse, macros ──▶ tree ── check, validate ──▶ types ── plan ──▶ program ── evaluate(claims or user) ──▶ value
//! ```
//!
//! Go: k8s.io/apiserver/pkg/authentication/cel, the environment of pkg/cel/environment/base.go (`StoredExpressions`, which has every
//! library that Kubernetes 1.36 knows), and github.com/google/cel-go v0.26.0, step by step. The crate `cel` parses. It does not run the
//! expressions, since what they evaluate to would often not be what kube-apiserver says. `kube-cel` (0.8), which gives it Kubernetes'
//! functions, is not used: it is built on an older `cel` (0.13), whose `Program::compile` parses without optional syntax
//! (`claims.?email`), and nothing there checks types.
//!
//! # Where it is stricter
//!
//! What cannot be run as cel-go runs it is refused when it is compiled:
//!
//! - messages of protocol buffers (`google.protobuf.BoolValue{...}`), and their types and enumerations as values,
//! - the variable `__result__`, by which macros can be looked at while they run,
//! - in constant patterns `\B`, classes of Unicode characters that are seldom used, groups nested more than 100 deep,
//! - expressions with more than 4000 operators, or more than 100,000 nodes when macros are expanded.
//!
//! Some evaluations are errors that are none in Kubernetes (and, if all is constant, found when it is compiled), where a value would be
//! odd or too large: map keys that are no strings, numbers or booleans, hexadecimal floats, formats with more than 99 digits
//! behind the point, the time zone `Local`, quantities of more than 38 digits, parts of URLs that are not UTF-8, an empty list that `optMap`
//! binds and that is added to more than once (cel-go changes it in place), more than 16 MiB of strings and lists.
//!
//! Time zones are those of the tz database that the crate `jiff` brings along, which may know other hours than a server's before 1970.

mod ast;
mod check;
mod compare;
mod cost;
mod declarations;
mod diagnostics;
mod escape;
mod evaluate;
mod library;
mod macros;
mod numbers;
mod parse;
mod plan;
mod result;
#[cfg(test)]
mod tests;
mod types;
mod validate;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::thread;

pub use result::{NotStrings, Value};

use crate::json::Object;

/// The stack of the thread that compiles: the parser needs up to 80 KiB for a nested bracket without optimisation, and 10 KiB for
/// another operator. Only what is used of it becomes memory.
const STACK: usize = 96 * 1024 * 1024;
/// What an expression is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The variable `claims`, a map from strings to anything.
    Claims,
    /// The variable `user`, a `kubernetes.UserInfo`: `username`, `uid`, `groups`, `extra`.
    User,
}

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::User => "user",
        }
    }
}

/// What an expression has to be, as far as can be known without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    /// Anything: a mapping's value is looked at when there is one.
    Any,
    /// A bool: a validation rule.
    Bool,
}

/// What an expression is evaluated over, borrowed. It has no `Debug`: claims may hold access tokens.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// The claims of a token, for [`Scope::Claims`], as [`Object::to_any`] makes them.
    Claims(&'a Object<'a>),
    /// A user, for [`Scope::User`].
    User(UserInfo<'a>),
}

/// A user, as Kubernetes' `user.Info`.
#[derive(Clone, Copy)]
pub struct UserInfo<'a> {
    /// The user's name.
    pub username: &'a str,
    /// The user's uid, empty if there is none.
    pub uid: &'a str,
    /// The user's groups.
    pub groups: &'a [&'a str],
    /// Further facts.
    pub extra: &'a BTreeMap<&'a str, Vec<&'a str>>,
}

impl UserInfo<'_> {
    /// The names of the fields that expressions see.
    const FIELDS: [&'static str; 4] = ["username", "uid", "groups", "extra"];
}

/// A compiled expression.
pub struct Expression {
    text: Box<str>,
    root: ast::Node,
    program: plan::Plan,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// Why an expression does not compile, in the words of Kubernetes' field errors, and in cel-go's, for the part that it finds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(Box<str>);

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expression '{expression}' resulted in error: {message}")]
pub struct EvaluationError {
    expression: Box<str>,
    message: Box<str>,
}

impl Expression {
    /// Compiles an expression. Go: `compiler.compile` (authentication/cel/compile.go).
    pub fn compile(text: &str, scope: Scope, returns: Returns) -> Result<Self, CompileError> {
        let failed = |why: String| CompileError(format!("compilation failed: {why}").into());
        thread::scope(|threads| {
            let compiling = || Self::compile_here(text, scope, returns);
            match thread::Builder::new().stack_size(STACK).spawn_scoped(threads, compiling) {
                Ok(compiler) => {
                    compiler.join().unwrap_or_else(|_| Err(failed("the compiler panicked".to_owned())))
                }
                Err(error) => Err(failed(format!("no thread to compile in: {error}"))),
            }
        })
    }

    /// Compiles on the stack of the caller.
    fn compile_here(text: &str, scope: Scope, returns: Returns) -> Result<Self, CompileError> {
        let failed = |why: String| CompileError(format!("compilation failed: {why}").into());
        let parsed = parse::parse(text).map_err(failed)?;
        let checked = check::check(text, &parsed, scope).map_err(failed)?;
        validate::validate(text, &parsed, &checked).map_err(failed)?;
        if returns == Returns::Bool && *checked.type_of(&parsed.root) != types::Type::Bool {
            return Err(CompileError("must evaluate to bool".into()));
        }
        let program = plan::plan(&parsed.root, &checked)
            .map_err(|why| CompileError(format!("program instantiation failed: {why}").into()))?;
        Ok(Self { text: text.into(), root: parsed.root, program })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether `variable.field` or `variable.?field` is in the expression, macros expanded: Kubernetes requires that whoever uses
    /// `claims.email` uses `claims.email_verified` too. Go: `hasSelectExp` (pkg/apis/apiserver/validation/validation.go).
    pub fn selects(&self, variable: &str, field: &str) -> bool {
        self.root.selects(variable, field)
    }

    /// Evaluates the expression over an input of its scope. Takes bounded time and memory, whatever the input is: an evaluation
    /// that would cost more than kube-apiserver allows is an error. Go: `mapper.eval` (authentication/cel/mapper.go).
    pub fn evaluate<'a>(&'a self, input: Input<'a>) -> Result<Value<'a>, EvaluationError> {
        let mut evaluator = evaluate::Evaluator::new(Some(input));
        match evaluator.evaluate(&self.program) {
            Ok(value) => Ok(Value::new(value, evaluator.meter.total())),
            Err(error) => {
                Err(EvaluationError { expression: self.text.clone(), message: error.to_string().into() })
            }
        }
    }
}
