//! Running an expression, as cel-go's `interpreter` does: errors are values that `&&` and `||` may absorb, and every step has a cost.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use super::Input;
use super::plan::{Attribute, CallPlan, Fold, Implementation, Item, Key, MapItem, Plan, Qualifier, Root};
use super::value::{Entries, List, Map, Text, Val};
use super::{cost, numbers};

/// What an evaluation may cost. Go: `PerCallLimit` (k8s.io/apiserver/pkg/apis/cel/config.go).
const COST_LIMIT: u64 = 1_000_000;
/// Bytes that an evaluation may make, and comparisons, where cel-go's cost does not grow with what is made. Its cost alone allows
/// some 10 MB of strings.
const WORK_LIMIT: usize = 16 * 1024 * 1024;

/// How deep values may be nested that are looked into. Claims are parsed to half of it: `MAX_DEPTH` of `crate::json`.
pub(super) const MAX_DEPTH: usize = 512;

/// Why an expression did not evaluate.
#[derive(Debug, Clone)]
pub(super) struct Error {
    message: Box<str>,
    /// The evaluation is over: neither `||` nor anything else may make a value of it.
    is_final: bool,
}

/// What a part of an expression evaluates to.
pub(super) type Evaluated<'a> = Result<Val<'a>, Error>;

impl Error {
    pub(super) fn new(message: impl Into<Box<str>>) -> Self {
        Self { message: message.into(), is_final: false }
    }

    pub(super) fn no_such_overload() -> Self {
        Self::new("no such overload")
    }

    pub(super) fn no_such_key(key: &Val<'_>) -> Self {
        Self::new(format!("no such key: {}", key.plain()))
    }

    /// An error that ends the evaluation, where Go panics.
    pub(super) fn fatal(message: impl Into<Box<str>>) -> Self {
        Self { message: message.into(), is_final: true }
    }

    fn limit() -> Self {
        Self::fatal("operation cancelled: actual cost limit exceeded")
    }

    pub(super) fn is_final(&self) -> bool {
        self.is_final
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Counts what an evaluation does.
#[derive(Default)]
pub(super) struct Meter {
    cost: Cell<u64>,
    work: Cell<usize>,
    depth: Cell<usize>,
}

impl Meter {
    /// Cost as cel-go counts it. Go: `CostTracker`.
    pub(super) fn cost(&self, cost: u64) -> Result<(), Error> {
        let total = self.cost.get().saturating_add(cost);
        self.cost.set(total);
        if total > COST_LIMIT { Err(Error::limit()) } else { Ok(()) }
    }

    /// Bytes or items that are made or looked at.
    pub(super) fn work(&self, n: usize) -> Result<(), Error> {
        let total = self.work.get().saturating_add(n);
        self.work.set(total);
        if total > WORK_LIMIT { Err(Error::limit()) } else { Ok(()) }
    }

    /// Items of lists and maps that are made.
    pub(super) fn items(&self, n: usize) -> Result<(), Error> {
        self.work(n.saturating_mul(size_of::<Val<'static>>()))
    }

    /// Looks into a value that is within another.
    pub(super) fn nested<T>(&self, look: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let depth = self.depth.get();
        if depth >= MAX_DEPTH {
            return Err(Error::limit());
        }
        self.depth.set(depth + 1);
        let result = look();
        self.depth.set(depth);
        result
    }

    /// What it has cost so far.
    pub(super) fn total(&self) -> u64 {
        self.cost.get()
    }
}

/// What a loop's variable holds.
enum Slot<'a> {
    /// An initial value that nobody has asked for yet.
    Lazy(&'a Fold),
    Ready(Evaluated<'a>),
}

/// One evaluation.
pub(super) struct Evaluator<'a> {
    input: Option<Input<'a>>,
    slots: Vec<Slot<'a>>,
    pub(super) meter: Meter,
}

impl<'a> Evaluator<'a> {
    /// Without an input only constants can be evaluated.
    pub(super) fn new(input: Option<Input<'a>>) -> Self {
        Self { input, slots: Vec::new(), meter: Meter::default() }
    }

    pub(super) fn evaluate(&mut self, plan: &'a Plan) -> Evaluated<'a> {
        match plan {
            Plan::Constant(value) => Ok(borrow(value)),
            Plan::Attribute(attribute) => {
                let value = self.resolve(attribute);
                if !matches!(attribute.root, Root::Conditional { .. }) {
                    self.meter.cost(cost::SELECT)?;
                }
                value
            }
            Plan::Has(attribute) => match self.resolve(attribute)? {
                Val::Optional(value) => Ok(Val::Bool(value.is_some())),
                value => Ok(value),
            },
            Plan::Logical { and, terms } => self.logical(*and, &**terms),
            Plan::Equals { negated, sides } => {
                let (left, right) = (self.evaluate(&sides[0]), self.evaluate(&sides[1]));
                let (left, right) = match (left, right) {
                    (Ok(left), Ok(right)) => (left, right),
                    (Err(error), _) | (_, Err(error)) => {
                        self.meter.cost(1)?;
                        return Err(error);
                    }
                };
                let equal = left.equals(&right, &self.meter);
                self.meter.cost(cost::equals(&left, &right))?;
                match equal {
                    // Go: `evalNe` asks whether it is not true, which an error is not.
                    Err(error) if *negated && !error.is_final => Ok(Val::Bool(true)),
                    equal => Ok(Val::Bool(equal? != *negated)),
                }
            }
            Plan::InConstants { value, list } => {
                let value = self.evaluate(value)?;
                value.hashable()?;
                Ok(Val::Bool(list.contains(&value, &self.meter)?))
            }
            Plan::OptionalOr { sides, unwrap } => match self.evaluate(&sides[0])? {
                Val::Optional(Some(value)) => {
                    Ok(if *unwrap { Arc::unwrap_or_clone(value) } else { Val::Optional(Some(value)) })
                }
                Val::Optional(None) => self.evaluate(&sides[1]),
                other => Ok(other),
            },
            Plan::Call(call) => self.call(call),
            Plan::List { items } => self.list(items),
            Plan::Map { items } => self.map(items),
            Plan::Append { slot, items } => self.append(*slot, items),
            Plan::Insert { slot, args } => self.insert(*slot, args),
            Plan::Fold(fold) => self.fold(fold),
        }
    }

    /// `&&` and `||`: an error is forgotten if another term decides. Go: `evalAnd`, `evalOr`.
    fn logical(&mut self, and: bool, terms: &'a [Plan]) -> Evaluated<'a> {
        let mut failed = None;
        for term in terms {
            match self.evaluate(term) {
                Ok(Val::Bool(value)) if value != and => return Ok(Val::Bool(value)),
                Ok(Val::Bool(_)) => {}
                Ok(_) => failed = failed.or_else(|| Some(Error::no_such_overload())),
                Err(error) if error.is_final => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Val::Bool(and)), Err)
    }

    /// What an attribute refers to. Go: `Attribute.Resolve` and `applyQualifiers`.
    fn resolve(&mut self, attribute: &'a Attribute) -> Evaluated<'a> {
        let mut value = match &attribute.root {
            Root::Input => self.input.map(Val::Input).ok_or_else(|| Error::new("no such attribute"))?,
            Root::Slot(slot) => self.slot(*slot)?,
            Root::Relative(plan) => self.evaluate(plan)?,
            Root::Conditional { condition, branches } => {
                return match self.evaluate(condition)? {
                    Val::Bool(true) => self.resolve(&branches[0]),
                    Val::Bool(false) => self.resolve(&branches[1]),
                    _ => Err(Error::no_such_overload()),
                };
            }
        };
        // What is in an optional goes through Go's `any` and back, also where nothing is selected of it.
        let mut optional = false;
        match value {
            Val::Optional(None) => return Ok(value),
            Val::Optional(Some(inner)) => {
                optional = true;
                value = Val::clone(&inner).raw()?;
            }
            _ => {}
        }
        for qualifier in &attribute.qualifiers {
            optional |= qualifier.optional;
            match self.qualify(qualifier, value, optional)? {
                Some(found) => value = found,
                None => return Ok(Val::Optional(None)),
            }
        }
        Ok(if optional { Val::some(value) } else { value })
    }

    /// One step of an attribute. `None` if there is nothing and that is no error. Go: `Qualifier.Qualify`, `QualifyIfPresent`.
    fn qualify(
        &mut self,
        qualifier: &'a Qualifier,
        value: Val<'a>,
        optional: bool,
    ) -> Result<Option<Val<'a>>, Error> {
        let computed;
        let key = match &qualifier.key {
            Key::Constant(key) => key,
            Key::Attribute(attribute) => {
                computed = self.resolve(attribute)?;
                &computed
            }
            Key::Relative(plan) => {
                computed = self.evaluate(plan)?;
                &computed
            }
        };
        if !matches!(key, Val::String(_) | Val::Int(_) | Val::Uint(_) | Val::Bool(_) | Val::Double(_)) {
            return Err(Error::new(format!("invalid qualifier type: {}", key.type_name())));
        }
        let found = match &value {
            Val::Input(input) => input.find(key)?,
            Val::Map(map) => map.find(key),
            Val::List(list) => {
                let index = index(key)?;
                usize::try_from(index).ok().and_then(|index| list.get(index))
            }
            _ => None,
        };
        if qualifier.test {
            self.meter.cost(cost::SELECT)?;
            return Ok(if optional { found } else { Some(Val::Bool(found.is_some())) });
        }
        match found {
            Some(found) => {
                self.meter.cost(cost::SELECT)?;
                Ok(Some(found))
            }
            None if optional => Ok(None),
            None => {
                self.meter.cost(cost::SELECT)?;
                Err(match value {
                    Val::List(_) => Error::new(format!("index out of bounds: {}", key.plain())),
                    _ => Error::no_such_key(key),
                })
            }
        }
    }

    fn slot(&mut self, at: usize) -> Evaluated<'a> {
        if let Some(Slot::Lazy(fold)) = self.slots.get(at) {
            let fold = *fold;
            let value = match self.evaluate(&fold.init) {
                Ok(Val::List(list)) if fold.changes_empty_list && list.len() == 0 => {
                    Err(Error::new("adding to an empty list that optMap binds is not supported here"))
                }
                value => value,
            };
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = Slot::Ready(value);
            }
        }
        match self.slots.get(at) {
            Some(Slot::Ready(value)) => value.clone(),
            _ => Err(Error::new("no such attribute")),
        }
    }

    fn call(&mut self, call: &'a CallPlan) -> Evaluated<'a> {
        // Two arguments are enough for most.
        let mut args = smallvec::SmallVec::<[Val<'a>; 2]>::new();
        let mut failed = None;
        for arg in &call.args {
            match self.evaluate(arg) {
                Ok(value) => args.push(value),
                Err(error) if error.is_final || call.args.len() > 2 => return Err(error),
                // Go: `evalBinary` evaluates both sides before it looks at either.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            if call.non_strict {
                // `@not_strictly_false`: an error does not end a loop.
                return Ok(Val::Bool(true));
            }
            self.meter.cost(1)?;
            return Err(error);
        }
        let result = match &call.implementation {
            Implementation::Operator(run) => run(&self.meter, &args),
            Implementation::Regex { run, pattern } => run(&self.meter, &args, pattern),
            Implementation::Overload(overload, run) => {
                if overload.matches(&args) {
                    run(&self.meter, &args)
                } else {
                    Err(no_such_overload(call, &args))
                }
            }
            Implementation::Overloads(overloads) => {
                match overloads.iter().find(|(overload, _)| overload.matches(&args)) {
                    Some((_, run)) => run(&self.meter, &args),
                    None => Err(no_such_overload(call, &args)),
                }
            }
        };
        self.meter.cost(cost::call(call.function, call.overload, &args, result.as_ref().ok()))?;
        result
    }

    fn list(&mut self, plans: &'a [Item]) -> Evaluated<'a> {
        let items = self.items(plans)?;
        self.meter.cost(cost::LIST)?;
        Ok(Val::list(items))
    }

    fn items(&mut self, plans: &'a [Item]) -> Result<Vec<Val<'a>>, Error> {
        self.meter.items(plans.len())?;
        let mut items = Vec::with_capacity(plans.len());
        for item in plans {
            match (self.evaluate(&item.plan)?, item.optional) {
                (Val::Optional(None), true) => {}
                (Val::Optional(Some(value)), true) => items.push(Arc::unwrap_or_clone(value)),
                (_, true) => {
                    return Err(Error::new(
                        "cannot initialize optional list element from non-optional value",
                    ));
                }
                (value, false) => items.push(value),
            }
        }
        Ok(items)
    }

    fn map(&mut self, plans: &'a [MapItem]) -> Evaluated<'a> {
        self.meter.items(plans.len())?;
        let mut entries = Entries::default();
        for item in plans {
            let key = self.evaluate(&item.key)?;
            match (self.evaluate(&item.value)?, item.optional) {
                (Val::Optional(None), true) => entries.remove(&key),
                (Val::Optional(Some(value)), true) => entries.insert(key, Arc::unwrap_or_clone(value))?,
                (_, true) => {
                    return Err(Error::new("cannot initialize optional entry from non-optional value"));
                }
                (value, false) => entries.insert(key, value)?,
            }
        }
        self.meter.cost(cost::MAP)?;
        Ok(Val::Map(Map::Entries(Arc::new(entries))))
    }

    /// Takes what a loop has added up so far, to add to it in place.
    fn take(&mut self, slot: usize) -> Evaluated<'a> {
        let value = self.slot(slot);
        self.meter.cost(cost::SELECT)?;
        if let (Ok(_), Some(slot)) = (&value, self.slots.get_mut(slot)) {
            *slot = Slot::Ready(Err(Error::new("taken")));
        }
        value
    }

    /// `accumulator + [items]`
    fn append(&mut self, slot: usize, items: &'a Plan) -> Evaluated<'a> {
        let so_far = self.take(slot);
        let items = self.evaluate(items);
        let (so_far, items) = (so_far?, items?);
        self.meter.cost(1)?;
        match (so_far, items) {
            (Val::List(List::Items(mut so_far)), Val::List(items)) => {
                self.meter.items(items.len())?;
                Arc::make_mut(&mut so_far).extend(items.iter());
                Ok(Val::List(List::Items(so_far)))
            }
            _ => Err(Error::no_such_overload()),
        }
    }

    /// `cel.@mapInsert(accumulator, key, value)` and `cel.@mapInsert(accumulator, map)`.
    fn insert(&mut self, slot: usize, args: &'a [Plan]) -> Evaluated<'a> {
        let so_far = self.take(slot)?;
        let Val::Map(Map::Entries(mut so_far)) = so_far else { return Err(Error::no_such_overload()) };
        let entries = Arc::make_mut(&mut so_far);
        let mut put = |key: Val<'a>, value| {
            if entries.find(&key).is_some() {
                return Err(Error::new(format!("insert failed: key {} already exists", key.plain())));
            }
            entries.insert(key, value)
        };
        match args {
            [key, value] => {
                let key = self.evaluate(key)?;
                let value = self.evaluate(value)?;
                self.meter.items(1)?;
                put(key, value)?;
            }
            [more] => {
                let Val::Map(more) = self.evaluate(more)? else { return Err(Error::no_such_overload()) };
                self.meter.items(more.len())?;
                for (key, value) in more.entries() {
                    put(key, value)?;
                }
            }
            _ => return Err(Error::no_such_overload()),
        }
        self.meter.cost(1)?;
        Ok(Val::Map(Map::Entries(so_far)))
    }

    /// A loop. Go: `evalFold`.
    fn fold(&mut self, fold: &'a Fold) -> Evaluated<'a> {
        let range = self.evaluate(&fold.range)?;
        let base = self.slots.len();
        // The order in which plan.rs numbers them.
        self.slots.push(Slot::Lazy(fold));
        self.slots.push(Slot::Ready(Ok(Val::Null)));
        self.slots.push(Slot::Ready(Ok(Val::Null)));
        let ended = self.iterate(fold, base, range);
        let result = ended.and_then(|()| self.evaluate(&fold.result));
        self.slots.truncate(base);
        result
    }

    fn iterate(&mut self, fold: &'a Fold, base: usize, range: Val<'a>) -> Result<(), Error> {
        let two = fold.two_variables;
        match range {
            Val::List(list) => {
                for index in 0..list.len() {
                    let (one, other) = if two {
                        (Some(Val::size(index)), list.get(index))
                    } else {
                        (list.item(index), None)
                    };
                    let (one, other) = (one.unwrap_or(Val::Null), other.unwrap_or(Val::Null));
                    if !self.step(fold, base, Ok(one), Ok(other))? {
                        break;
                    }
                }
            }
            Val::Map(map) => {
                for (key, value) in map.entries() {
                    if !self.step(fold, base, Ok(key), Ok(value))? {
                        break;
                    }
                }
            }
            Val::Input(input) => {
                for value in input.values() {
                    let second = match &value {
                        Ok(key) => input.get(key),
                        Err(error) => Err(error.clone()),
                    };
                    if !self.step(fold, base, value, second)? {
                        break;
                    }
                }
            }
            other => return Err(Error::new(format!("got '{}', expected iterable type", other.type_name()))),
        }
        Ok(())
    }

    /// One turn of a loop; whether there may be another. Go: `folder.foldIterable`, `FoldEntry`.
    fn step(
        &mut self,
        fold: &'a Fold,
        base: usize,
        one: Evaluated<'a>,
        two: Evaluated<'a>,
    ) -> Result<bool, Error> {
        for (slot, value) in self.slots.iter_mut().skip(base + 1).zip([one, two]) {
            *slot = Slot::Ready(value);
        }
        self.meter.work(1)?;
        match self.evaluate(&fold.condition) {
            Ok(Val::Bool(false)) => return Ok(false),
            Err(error) if error.is_final => return Err(error),
            _ => {}
        }
        let value = self.evaluate(&fold.step);
        if let Err(error) = &value
            && error.is_final
        {
            return Err(error.clone());
        }
        if let Some(slot) = self.slots.get_mut(base) {
            *slot = Slot::Ready(value);
        }
        Ok(true)
    }
}

/// A constant without copying its text.
fn borrow<'a>(value: &'a Val<'static>) -> Val<'a> {
    match value {
        Val::String(text) => Val::String(Text::Borrowed(text.as_str())),
        other => other.clone(),
    }
}

/// Go: `decls.MaybeNoSuchOverload`.
fn no_such_overload(call: &CallPlan, args: &[Val<'_>]) -> Error {
    let types: Vec<&str> = args.iter().map(Val::type_name).collect();
    Error::new(format!("no such overload: {}({})", call.function, types.join(", ")))
}

/// The index that a number is. Go: `IndexOrError`.
pub(super) fn index(key: &Val<'_>) -> Result<i64, Error> {
    let unsupported = || Error::new(format!("unsupported index value {} in list", key.plain()));
    match key {
        Val::Int(index) => Ok(*index),
        Val::Double(d) => numbers::lossless_i64(*d).ok_or_else(unsupported),
        Val::Uint(u) => i64::try_from(*u).map_err(|_| unsupported()),
        _ => Err(Error::new(format!("unsupported index type '{}' in list", key.type_name()))),
    }
}
