//! One call: find the procedure, check method and rate, run it, and survive whatever it does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use http::Method;

use super::envelope::{Failure, Outcome};
use super::request::Inputs;
use super::table::{Kind, Procedure, Table};
use crate::caller::{Caller, ClientAddress};
use crate::config::ApiConfig;
use crate::error::{Code, Error};
use crate::id::UserId;
use crate::rate::Limiter;

/// Runs calls. Clones share the table and the limits.
#[derive(Debug, Clone)]
pub(crate) struct Dispatcher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: Table,
    user_queries: Limiter<UserId>,
    user_mutations: Limiter<UserId>,
    anonymous: Limiter<ClientAddress>,
}

/// One call of a request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) method: Method,
    pub(crate) caller: Caller,
    pub(crate) inputs: Inputs,
    /// Its place in the batch.
    pub(crate) index: usize,
    /// When the request it came in must be answered.
    pub(crate) deadline: tokio::time::Instant,
}

impl Dispatcher {
    pub(crate) fn new(table: Table, config: &ApiConfig) -> Self {
        let limits = &config.limits;
        Self(Arc::new(Inner {
            table,
            user_queries: Limiter::new(limits.user_queries),
            user_mutations: Limiter::new(limits.user_mutations),
            anonymous: Limiter::new(limits.anonymous),
        }))
    }

    pub(crate) fn table(&self) -> &Table {
        &self.0.table
    }

    /// Queries and mutations do not share a batch: they travel by different methods.
    pub(crate) fn refuse_mixture(&self, paths: &[String]) -> Option<Failure> {
        let mut kinds = Vec::new();
        for procedure in paths.iter().filter_map(|path| self.0.table.find(path)) {
            if !kinds.contains(&procedure.kind.as_str()) {
                kinds.push(procedure.kind.as_str());
            }
        }
        (kinds.len() > 1).then(|| {
            let message = format!("Cannot mix procedure types in call: {}", kinds.join(", "));
            Failure::of_request(Code::BadRequest, message)
        })
    }

    pub(crate) async fn run(&self, call: Call) -> Outcome {
        let started = Instant::now();
        let (path, language) = (call.path.clone(), call.caller.language);
        let procedure = self.0.table.find(&path);
        let outcome = match self.attempt(procedure, call).await {
            Ok(encoded) => Outcome::Answer(encoded),
            Err(error) => Outcome::Failure(Failure::of_call(&error, language, &path)),
        };
        // Only paths of the table become labels: what strangers type must not grow the metrics.
        let label = procedure.map_or_else(|| "unknown".to_owned(), |procedure| procedure.path.clone());
        let code = outcome.failure().map_or("OK", |failure| failure.code.name());
        metrics::counter!("chobi_rpc_calls_total", "procedure" => label.clone(), "code" => code).increment(1);
        metrics::histogram!("chobi_rpc_seconds", "procedure" => label).record(started.elapsed());
        outcome
    }

    async fn attempt(&self, procedure: Option<&Procedure>, call: Call) -> Result<super::superjson::Encoded, Error> {
        let Call { path, method, caller, inputs, index, deadline } = call;
        let Some(procedure) = procedure else {
            return Err(request_error(Code::NotFound, format!("No procedure found on path \"{path}\"")));
        };
        let wanted = match procedure.kind {
            Kind::Query => Method::GET,
            Kind::Mutation => Method::POST,
        };
        if method != wanted {
            let kind = procedure.kind.as_str();
            let message = format!("Unsupported {method}-request to {kind} procedure at path \"{path}\"");
            return Err(request_error(Code::MethodNotSupported, message));
        }
        self.check_rate(procedure.kind, &caller)?;
        let answer = procedure.call(caller, Box::new(move || inputs.read(index)));
        match tokio::time::timeout_at(deadline, AssertUnwindSafe(answer).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panic)) => Err(Error::Internal("the procedure panicked".into())),
            Err(_elapsed) => Err(request_error(Code::Timeout, "The request took too long".to_owned())),
        }
    }

    /// A signed-in user is counted by name, wherever from; everybody else by address.
    fn check_rate(&self, kind: Kind, caller: &Caller) -> Result<(), Error> {
        match (caller.user_id(), kind) {
            (Some(user), Kind::Query) => self.0.user_queries.check(user),
            (Some(user), Kind::Mutation) => self.0.user_mutations.check(user),
            (None, _) => self.0.anonymous.check(&caller.address),
        }
    }
}

const fn request_error(code: Code, message: String) -> Error {
    Error::Request { code, message }
}
