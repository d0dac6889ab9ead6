//! The app's side of the API: calls made by `@trpc/client` itself (`trpc.mjs`).

use super::node::{CallError, Node};
use super::server::Server;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::rc::Rc;

/// One caller: nobody, or a user.
#[derive(Clone)]
pub(crate) struct Api {
    node: Rc<Node>,
    base: String,
    token: Option<String>,
}

/// A registered user and their way to call.
pub(crate) struct Account {
    pub(crate) api: Api,
    pub(crate) id: String,
    pub(crate) token: String,
    /// As the page keeps it in the browser's storage: user, accessToken, refreshToken.
    pub(crate) stored: Value,
}

impl Api {
    pub(crate) fn of(server: &Server) -> Result<Self> {
        Ok(Self { node: Rc::new(Node::start("trpc.mjs")?), base: server.base(), token: None })
    }

    pub(crate) async fn query(&self, path: &str, input: Value) -> Result<Value> {
        self.call("query", path, input).await
    }

    pub(crate) async fn mutate(&self, path: &str, input: Value) -> Result<Value> {
        self.call("mutate", path, input).await
    }

    /// What a call that must fail was refused with.
    pub(crate) async fn refusal(&self, kind: &str, path: &str, input: Value) -> Result<CallError> {
        match self.call(kind, path, input).await {
            Ok(answer) => anyhow::bail!("{path} was to be refused, but answered {answer}"),
            Err(error) => error.downcast::<CallError>(),
        }
    }

    async fn call(&self, kind: &str, path: &str, input: Value) -> Result<Value> {
        let args = json!({ "base": self.base, "token": self.token, "kind": kind, "path": path, "input": input });
        self.node.call("call", args).await.with_context(|| path.to_owned())
    }

    pub(crate) async fn register(&self, username: &str) -> Result<Account> {
        let answer = self
            .mutate(
                "auth.register",
                json!({
                    "name": format!("The {username}"),
                    "username": username,
                    "email": format!("{username}@example.org"),
                    "password": "correct horse battery",
                }),
            )
            .await?;
        let token = text(&answer, "accessToken")?;
        Ok(Account {
            api: Self { token: Some(token.clone()), ..self.clone() },
            id: text(&answer["user"], "id")?,
            token,
            stored: json!({
                "user": answer["user"],
                "accessToken": answer["accessToken"],
                "refreshToken": answer["refreshToken"],
            }),
        })
    }
}

/// A text member that must be there.
pub(crate) fn text(object: &Value, key: &str) -> Result<String> {
    Ok(object[key].as_str().with_context(|| format!("no text {key:?} in {object}"))?.to_owned())
}
