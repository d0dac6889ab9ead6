//! The wire to a Node program of `tests/e2e/browser`: a line of JSON each way (`lines.mjs`).

use super::process::bound_to_test;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// One call, the start of a browser before it included.
const CALL_LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Node {
    script: &'static str,
    wire: Mutex<Wire>,
    _child: Child,
}

/// One call at a time: its line out, its line in.
struct Wire {
    calls: u64,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

/// What a call was refused with, by the program or by the server behind it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message} (code {code:?}, HTTP {http_status:?})")]
pub(crate) struct CallError {
    pub(crate) message: String,
    pub(crate) code: Option<String>,
    pub(crate) http_status: Option<u16>,
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
    ok: Option<Value>,
    error: Option<CallError>,
}

impl Node {
    pub(crate) fn start(script: &'static str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/browser");
        ensure!(folder.join("node_modules").exists(), "packages are missing: npm ci --prefix {}", folder.display());
        let mut command = tokio::process::Command::from(bound_to_test("node"));
        let mut child = command
            .arg(folder.join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("node cannot start; `make deps-test` installs it")?;
        let to = child.stdin.take().context("stdin was piped")?;
        let from = BufReader::new(child.stdout.take().context("stdout was piped")?).lines();
        Ok(Self { script, wire: Mutex::new(Wire { calls: 0, to, from }), _child: child })
    }

    /// Calls `call` with the members of `args`.
    pub(crate) async fn call(&self, call: &str, mut args: Value) -> Result<Value> {
        let mut wire = self.wire.lock().await;
        wire.calls += 1;
        let id = wire.calls;
        args["id"] = json!(id);
        args["call"] = json!(call);
        let exchange = async {
            wire.to.write_all(format!("{args}\n").as_bytes()).await?;
            loop {
                let line = wire.from.next_line().await?.context("it ended")?;
                let answer: Answer = serde_json::from_str(&line)?;
                // An earlier call's, which whoever made it has given up.
                if answer.id >= id {
                    return anyhow::Ok(answer);
                }
            }
        };
        let answer = timeout(CALL_LIMIT, exchange)
            .await
            .with_context(|| format!("{} gave no answer to {call} within {CALL_LIMIT:?}", self.script))?
            .with_context(|| format!("{} gave no answer to {call}", self.script))?;
        ensure!(answer.id == id, "{} answered call {} instead of {id}", self.script, answer.id);
        match answer {
            Answer { error: Some(error), .. } => bail!(error),
            Answer { ok, .. } => Ok(ok.unwrap_or(Value::Null)),
        }
    }
}
