//! A client of the app's WebSocket that remembers every frame.

use super::server::Server;
use super::wait::{Limit, until};
use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

pub(crate) struct Room {
    session_id: String,
    heard: Arc<Mutex<Heard>>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    frames: Vec<Value>,
    close: Option<Option<CloseFrame>>,
}

impl Room {
    /// Connects and joins; returns when the server has confirmed it.
    pub(crate) async fn join(server: &Server, session_id: &str, token: Option<&str>) -> Result<Self> {
        let (socket, _) = connect_async(format!("ws://127.0.0.1:{}/ws", server.http_port)).await?;
        let (mut to, mut from) = socket.split();
        if let Some(token) = token {
            to.send(Message::text(json!({ "type": "auth", "token": token }).to_string())).await?;
        }
        to.send(Message::text(json!({ "type": "join_session", "sessionId": session_id }).to_string())).await?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let ear = Arc::clone(&heard);
        let reader = tokio::spawn(async move {
            // Kept here: dropping the write half would not close the socket, but pings are answered through it.
            let _to = to;
            while let Some(Ok(message)) = from.next().await {
                let mut heard = ear.lock().unwrap_or_else(PoisonError::into_inner);
                match message {
                    Message::Text(text) => heard.frames.push(serde_json::from_str(&text).unwrap_or(Value::Null)),
                    Message::Close(frame) => heard.close = Some(frame),
                    _ => {}
                }
            }
            ear.lock().unwrap_or_else(PoisonError::into_inner).close.get_or_insert(None);
        });
        let room = Self { session_id: session_id.to_owned(), heard, reader };
        room.next("session_joined", |_| true).await?;
        Ok(room)
    }

    /// All frames of one type for this session so far.
    pub(crate) fn all(&self, kind: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = |frame: &&Value| frame["type"] == kind && frame["sessionId"] == self.session_id.as_str();
        heard.frames.iter().filter(mine).cloned().collect()
    }

    /// The first frame of a type, past or to come, that satisfies `wanted`.
    pub(crate) async fn next(&self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        until(Limit::EVENT, &format!("a {kind} frame on /ws"), async || {
            let found = self.all(kind).into_iter().find(&wanted);
            if found.is_none() && self.reader.is_finished() {
                bail!(
                    "the socket is closed; heard: {:?}",
                    self.heard.lock().unwrap_or_else(PoisonError::into_inner).frames
                );
            }
            Ok(found)
        })
        .await
    }

    /// How the server closed the socket, once it has.
    pub(crate) async fn closed(&self) -> Result<CloseFrame> {
        let end = until(Limit::EVENT, "the server to close /ws", async || {
            Ok(self.heard.lock().unwrap_or_else(PoisonError::into_inner).close.clone())
        })
        .await?;
        end.context("the socket was cut without a close frame")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
