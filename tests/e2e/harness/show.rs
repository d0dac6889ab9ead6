//! One session from the host's side: created through the API, published to by an encoder.

use super::api::{Account, Api, text};
use super::encoder::{Encoder, Picture};
use super::hls::Viewer;
use super::server::Server;
use super::wait::{Limit, until};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

pub(crate) struct Show {
    pub(crate) host: Account,
    pub(crate) session_id: String,
    pub(crate) stream_key: String,
    pub(crate) rtmp_url: String,
    pub(crate) playback_url: String,
}

impl Show {
    /// Registers a host and creates a public session with the answer checked as the app reads it.
    pub(crate) async fn create(api: &Api, title: &str) -> Result<Self> {
        let host = api.register("host").await?;
        Self::create_for(host, title).await
    }

    pub(crate) async fn create_for(host: Account, title: &str) -> Result<Self> {
        Self::create_with(host, json!({ "title": title, "type": "video" })).await
    }

    pub(crate) async fn create_with(host: Account, input: Value) -> Result<Self> {
        let answer = host.api.mutate("streaming.createSession", input).await?;
        let session = &answer["session"];
        ensure!(session["status"] == "waiting", "a new session waits: {session}");
        ensure!(session["createdAt"]["$date"].is_string(), "createdAt arrives as a Date: {session}");
        Ok(Self {
            session_id: text(session, "id")?,
            stream_key: text(session, "streamKey")?,
            rtmp_url: text(session, "rtmpUrl")?,
            playback_url: text(session, "playbackUrl")?,
            host,
        })
    }

    /// Where an encoder pushes to: server address, then key.
    pub(crate) fn publish_url(&self) -> String {
        format!("{}/{}", self.rtmp_url, self.stream_key)
    }

    /// ffmpeg pushes `picture`.
    pub(crate) fn publish(&self, server: &Server, picture: &Picture) -> Result<Encoder> {
        Encoder::ffmpeg(picture, &self.publish_url(), server.scratch())
    }

    /// This session's line in what everybody sees as live, once it is there.
    pub(crate) async fn listed(&self, api: &Api) -> Result<Value> {
        until(Limit::MEDIA, "the session to be listed as live", async || self.in_list(api).await).await
    }

    pub(crate) async fn in_list(&self, api: &Api) -> Result<Option<Value>> {
        let answer = api.query("streaming.getActiveSessions", json!({})).await?;
        let sessions = answer["sessions"].as_array().cloned().unwrap_or_default();
        Ok(sessions.into_iter().find(|session| session["id"] == self.session_id.as_str()))
    }

    pub(crate) async fn end(&self) -> Result<Value> {
        self.host.api.mutate("streaming.endSession", json!({ "sessionId": self.session_id })).await
    }

    /// Someone new who reads the playlists.
    pub(crate) fn viewer(&self) -> Result<Viewer> {
        Viewer::of(&self.playback_url)
    }
}
