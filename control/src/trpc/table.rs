//! The one table of procedures: path, kind, who may call, input and output types, and what runs.
//!
//! A slice hands over a [`Namespace`]: its service, and plain functions of (service, caller, input). A function that
//! takes [`SignedIn`] instead of [`Caller`] is closed to everybody else; the table knows that too.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::issue::{Issues, Path};
use super::shape::{Input, Output};
use super::superjson::Encoded;
use super::typescript::Ts;
use super::value::Value;
use crate::caller::{Caller, SignedIn};
use crate::error::Error;

/// Whether a procedure only reads. Decides the HTTP method and the rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Query,
    Mutation,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
        }
    }
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Public,
    SignedIn,
}

/// The callers a handler accepts.
pub(crate) trait FromCaller: Sized + Send {
    const ACCESS: Access;
    fn from_caller(caller: Caller) -> Result<Self, Error>;
}

impl FromCaller for Caller {
    const ACCESS: Access = Access::Public;

    fn from_caller(caller: Caller) -> Result<Self, Error> {
        Ok(caller)
    }
}

impl FromCaller for SignedIn {
    const ACCESS: Access = Access::SignedIn;

    fn from_caller(caller: Caller) -> Result<Self, Error> {
        caller.try_into()
    }
}

/// The answer of a handler, still to come.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Encoded, Error>> + Send>>;

/// How a handler gets its input: called at most once, after routing and the caller were settled.
pub(crate) type ReadInput = Box<dyn FnOnce() -> Result<Value, Error> + Send>;

/// One row of the table.
pub(crate) struct Procedure {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) access: Access,
    pub(crate) input: Ts,
    pub(crate) output: Ts,
    run: Box<dyn Fn(Caller, ReadInput) -> Answer + Send + Sync>,
}

impl Procedure {
    pub(crate) fn call(&self, caller: Caller, input: ReadInput) -> Answer {
        (self.run)(caller, input)
    }
}

impl fmt::Debug for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({:?})", self.kind.as_str(), self.path, self.access)
    }
}

/// The procedures of one slice around its service.
pub(crate) struct Namespace<S> {
    name: &'static str,
    service: S,
    procedures: Vec<Procedure>,
}

impl<S: Clone + Send + Sync + 'static> Namespace<S> {
    pub(crate) const fn new(name: &'static str, service: S) -> Self {
        Self { name, service, procedures: Vec::new() }
    }

    /// Adds a procedure that only reads.
    pub(crate) fn query<C, I, O, F, Fut>(self, name: &'static str, handler: F) -> Self
    where
        C: FromCaller,
        I: Input,
        O: Output + 'static,
        F: Fn(S, C, I) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Error>> + Send + 'static,
    {
        self.add(Kind::Query, name, handler)
    }

    /// Adds a procedure that changes something.
    pub(crate) fn mutation<C, I, O, F, Fut>(self, name: &'static str, handler: F) -> Self
    where
        C: FromCaller,
        I: Input,
        O: Output + 'static,
        F: Fn(S, C, I) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Error>> + Send + 'static,
    {
        self.add(Kind::Mutation, name, handler)
    }

    fn add<C, I, O, F, Fut>(mut self, kind: Kind, name: &'static str, handler: F) -> Self
    where
        C: FromCaller,
        I: Input,
        O: Output + 'static,
        F: Fn(S, C, I) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Error>> + Send + 'static,
    {
        let service = self.service.clone();
        let run = move |caller, read: ReadInput| -> Answer {
            let service = service.clone();
            Box::pin(async move {
                let caller = C::from_caller(caller)?;
                let input = read_input::<I>(read)?;
                let output = handler(service, caller, input).await?;
                output.encode()
            })
        };
        self.procedures.push(Procedure {
            path: format!("{}.{name}", self.name),
            kind,
            access: C::ACCESS,
            input: I::typescript(),
            output: O::typescript(),
            run: Box::new(run),
        });
        self
    }
}

fn read_input<I: Input>(read: ReadInput) -> Result<I, Error> {
    let value = if I::IS_READ { read()? } else { Value::Undefined };
    let mut issues = Issues::default();
    match I::read(value, &Path::default(), &mut issues) {
        Some(input) if issues.is_empty() => Ok(input),
        _ => Err(issues.into()),
    }
}

/// Every procedure by its dotted path.
#[derive(Debug, Default, Clone)]
pub(crate) struct Table(Arc<BTreeMap<String, Procedure>>);

impl Table {
    /// Adds a slice's procedures while the table is being built.
    #[must_use]
    pub(crate) fn with<S>(mut self, namespace: Namespace<S>) -> Self {
        let rows = Arc::get_mut(&mut self.0).expect("a table is built before it is shared");
        for procedure in namespace.procedures {
            let earlier = rows.insert(procedure.path.clone(), procedure);
            assert!(earlier.is_none(), "two procedures share a path: {earlier:?}");
        }
        self
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Procedure> {
        self.0.get(path)
    }

    pub(crate) fn procedures(&self) -> impl Iterator<Item = &Procedure> {
        self.0.values()
    }

    /// Procedures grouped by the part before the dot.
    pub(crate) fn namespaces(&self) -> BTreeMap<&str, Vec<&Procedure>> {
        let mut grouped: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for procedure in self.procedures() {
            let (namespace, _) = procedure.path.split_once('.').unwrap_or(("", &procedure.path));
            grouped.entry(namespace).or_default().push(procedure);
        }
        grouped
    }
}
