//! Logs and metrics: set up once, before anything else speaks.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a list such as `info,chobi_media=debug`.
    pub level: String,
    /// `text` for people, `json` for machines, `auto`: text on a terminal and JSON otherwise.
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

impl LogConfig {
    /// What is wrong with the level, if anything.
    pub fn problem(&self) -> Option<String> {
        EnvFilter::builder().parse(&self.level).err().map(|error| error.to_string())
    }
}

/// Libraries whose warnings are about what a peer sent, and tell an operator nothing.
const QUIET: &str = "rtc_dtls=error,rtc_srtp=error";

/// Starts logging to standard error and collecting metrics. Once per process.
pub fn start(config: &LogConfig) -> anyhow::Result<PrometheusHandle> {
    // Every browser's greeting has parts the library does not know, and it warns of each. A level for it still wins.
    let filter = EnvFilter::builder().parse(format!("{QUIET},{}", config.level))?;
    let text = match config.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if text {
        layer.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed()
    } else {
        layer.json().flatten_event(true).with_current_span(false).boxed()
    };
    tracing_subscriber::registry().with(filter).with(layer).try_init()?;
    Ok(PrometheusBuilder::new().install_recorder()?)
}
