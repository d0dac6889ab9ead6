//! A real Chromium (`chromium.mjs`) or Firefox (`firefox.mjs`), one page at a time or several.

use super::api::Account;
use super::node::Node;
use super::wait::{Limit, holds, until};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::rc::Rc;

#[derive(Clone)]
pub(crate) struct Browser {
    node: Rc<Node>,
}

pub(crate) struct Page {
    node: Rc<Node>,
    number: u64,
}

/// How a page is looked at.
#[derive(Default)]
pub(crate) struct Visit<'a> {
    pub(crate) lang: Option<&'a str>,
    /// Narrower than 600 pixels means a phone with a touch screen.
    pub(crate) width: Option<u32>,
    pub(crate) account: Option<&'a Account>,
    /// The person has allowed the camera and the microphone; else both are refused.
    pub(crate) devices: bool,
}

/// What the developer tools would have shown.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageLog {
    /// Console errors, uncaught exceptions, violations of the content policy.
    pub(crate) errors: Vec<String>,
    /// Answers with status 400 and above.
    pub(crate) refused: Vec<String>,
    /// Requests to anywhere but the server.
    pub(crate) foreign: Vec<String>,
    /// Paths of the segments and parts fetched.
    pub(crate) media: Vec<String>,
    /// Kinds of the browser's own windows that were shown; each was answered with yes.
    pub(crate) dialogs: Vec<String>,
    /// Playlist requests that asked to be held for what comes next.
    pub(crate) blocking_reloads: u64,
}

impl Browser {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { node: Rc::new(Node::start("chromium.mjs")?) })
    }

    /// Its pages speak English, and their cameras are allowed. Not all that is asked of a page of Chromium can be asked of its.
    /// `None`: it is not here. Debian has it; on Ubuntu it is a snap, which no test can drive.
    pub(crate) fn firefox() -> Result<Option<Self>> {
        let named = std::env::var_os("CHOBI_TEST_FIREFOX");
        if named.is_none() && !Path::new("/usr/bin/firefox-esr").exists() {
            return Ok(None);
        }
        Ok(Some(Self { node: Rc::new(Node::start("firefox.mjs")?) }))
    }

    pub(crate) async fn open(&self, url: &str, visit: Visit<'_>) -> Result<Page> {
        let mut args = json!({ "url": url });
        if let Some(lang) = visit.lang {
            args["lang"] = json!(lang);
        }
        if let Some(width) = visit.width {
            args["width"] = json!(width);
        }
        if let Some(account) = visit.account {
            args["account"] = account.stored.clone();
        }
        if visit.devices {
            args["devices"] = json!(true);
        }
        let number = self.node.call("open", args).await?.as_u64().context("pages are numbered")?;
        Ok(Page { node: Rc::clone(&self.node), number })
    }
}

impl Browser {
    /// What another player makes of a playlist: `seeks` are shares of what it can play.
    pub(crate) async fn play(&self, player: &str, url: &str, seeks: &[f64]) -> Result<Value> {
        self.node.call("play", json!({ "player": player, "url": url, "seeks": seeks })).await
    }
}

impl Page {
    async fn call(&self, call: &str, mut args: Value) -> Result<Value> {
        args["page"] = json!(self.number);
        self.node.call(call, args).await
    }

    /// `data-*` of the document element.
    pub(crate) async fn dataset(&self, name: &str) -> Result<Option<String>> {
        Ok(self.call("dataset", json!({})).await?[name].as_str().map(str::to_owned))
    }

    /// Waits until the page says this of itself.
    pub(crate) async fn says(&self, name: &str, wanted: &str) -> Result<()> {
        holds(Limit::MEDIA, &format!("the page to say {name} is {wanted:?}"), async || {
            let said = self.dataset(name).await?.unwrap_or_default();
            ensure!(said == wanted, "it is {said:?}");
            Ok(true)
        })
        .await
    }

    pub(crate) async fn player_state(&self, wanted: &str) -> Result<()> {
        holds(Limit::MEDIA, &format!("the page's player to be {wanted:?}"), async || {
            let state = self.dataset("playerState").await?.unwrap_or_default();
            ensure!(state == wanted, "it is {state:?}");
            Ok(true)
        })
        .await
    }

    /// Milliseconds of media that have gone by on the screen.
    pub(crate) async fn played_ms(&self) -> Result<u64> {
        let text = self.dataset("playedMs").await?.unwrap_or_default();
        Ok(if text.is_empty() { 0 } else { text.parse()? })
    }

    /// Waits until that much more has been played than now.
    pub(crate) async fn plays_on(&self, more_ms: u64) -> Result<()> {
        let from = self.played_ms().await?;
        holds(Limit::MEDIA, &format!("{more_ms} ms more to be played"), async || {
            let played = self.played_ms().await?;
            ensure!(
                played >= from + more_ms,
                "{} ms were, the player is {:?}",
                played - from,
                self.dataset("playerState").await?
            );
            Ok(true)
        })
        .await
    }

    /// The delay from the wall clock drawn into the picture to the wall clock at which it is on the screen: the median
    /// of the frames of about two seconds, once that is at most `limit_ms`.
    pub(crate) async fn seen_delay_ms(&self, limit_ms: f64) -> Result<f64> {
        self.call("startClockReader", json!({})).await?;
        let mut window: Vec<f64> = Vec::new();
        until(Limit::MEDIA, &format!("the picture's clock to be at most {limit_ms} ms late"), async || {
            window.extend(serde_json::from_value::<Vec<f64>>(self.call("clockReadings", json!({})).await?)?);
            ensure!(window.len() >= 60, "only {} frames were shown", window.len());
            let mut recent = window.split_off(window.len() - 60);
            recent.sort_by(f64::total_cmp);
            let median = recent[recent.len() / 2];
            ensure!(median <= limit_ms, "it is {median} ms late");
            Ok(Some(median))
        })
        .await
    }

    pub(crate) async fn evaluate(&self, expression: &str) -> Result<Value> {
        self.call("evaluate", json!({ "expression": expression })).await
    }

    /// Types into a field and presses Enter.
    pub(crate) async fn say(&self, selector: &str, text: &str) -> Result<()> {
        self.call("say", json!({ "selector": selector, "text": text })).await.map(drop)
    }

    pub(crate) async fn click(&self, selector: &str) -> Result<()> {
        self.call("click", json!({ "selector": selector })).await.map(drop)
    }

    /// Takes an entry of a menu by its value.
    pub(crate) async fn choose(&self, selector: &str, value: &str) -> Result<()> {
        self.call("choose", json!({ "selector": selector, "value": value })).await.map(drop)
    }

    /// Clicks on what begins a download, and keeps the file. What it is called.
    pub(crate) async fn download(&self, selector: &str, to: &Path) -> Result<String> {
        let name = self.call("download", json!({ "selector": selector, "path": to })).await?;
        Ok(name.as_str().context("a download has a name")?.to_owned())
    }

    /// The mouse comes to rest at a share of an element's width.
    pub(crate) async fn hover(&self, selector: &str, share: f64) -> Result<()> {
        self.call("hover", json!({ "selector": selector, "share": share })).await.map(drop)
    }

    pub(crate) async fn reload(&self) -> Result<()> {
        self.call("reload", json!({})).await.map(drop)
    }

    pub(crate) async fn log(&self) -> Result<PageLog> {
        Ok(serde_json::from_value(self.call("log", json!({})).await?)?)
    }

    pub(crate) async fn screenshot(&self, path: &Path) -> Result<()> {
        self.call("screenshot", json!({ "path": path })).await.map(drop)
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.call("close", json!({})).await.map(drop)
    }
}
