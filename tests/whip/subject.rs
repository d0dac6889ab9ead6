//! Who is asked: a server named in the environment, or ours.

use crate::endpoint::{Endpoint, Role};
use crate::harness::{Api, Encoder, Limit, Picture, Server, Show, until};
use anyhow::{Context, Result};
use serde_json::json;

/// What it logs is shown behind the table, so it logs little. Nobody is at these addresses; clients are told of them.
const SETTINGS: &str = r#"
[log]
level = "warn"
[webrtc]
ice_servers = [
    { url = "stun:stun.example.net" },
    { url = "turn:turn.example.net?transport=udp", username = "user", credential = "with a \"quote\", a comma; and more" },
]
"#;

pub(crate) struct Subject {
    pub(crate) whip: Option<Endpoint>,
    pub(crate) whep: Option<Endpoint>,
    /// A show that asks for a token, where `whep` asks for none.
    pub(crate) private: Option<Endpoint>,
    /// Ours, running, and who publishes to it.
    _running: Option<(Server, Encoder)>,
}

impl Subject {
    pub(crate) async fn from_environment_or_ours() -> Result<Self> {
        let (whip, whep) = (named("CHOBI_WHIP", Role::Ingest)?, named("CHOBI_WHEP", Role::Egress)?);
        if whip.is_none() && whep.is_none() {
            return Self::ours().await;
        }
        Ok(Self { whip, whep, private: None, _running: None })
    }

    /// With its demo to watch, a private show, and a session nobody publishes to.
    async fn ours() -> Result<Self> {
        let file = tempfile::Builder::new().suffix(".toml").tempfile()?;
        std::fs::write(file.path(), SETTINGS)?;
        let path = file.path().to_str().context("the path of a temporary file is text")?;
        let server = Server::start_with(&[], &["--demo", "--config", path]).await?;
        let api = Api::of(&server)?;
        let demo = until(Limit::MEDIA, "the demo to be live", async || {
            let answer = api.query("streaming.getActiveSessions", json!({})).await?;
            Ok(answer["sessions"][0]["id"].as_str().map(str::to_owned))
        })
        .await?;
        let show = Show::create(&api, "Conformance").await?;
        let url = |path: String| format!("{}{path}", server.base()).parse().context("an address");
        let mut whip = Endpoint::new(Role::Ingest, url("/whip".to_owned())?, Some(show.stream_key.clone()))?;
        let mut whep = Endpoint::new(Role::Egress, url(format!("/whep/{demo}"))?, None)?;
        let host = api.register("among_us").await?;
        let private =
            Show::create_with(host, json!({ "title": "Among us", "type": "video", "isPrivate": true })).await?;
        let encoder = private.publish(&server, &Picture::CLOCK)?;
        let ticket = until(Limit::MEDIA, "the host's ticket", async || {
            let input = json!({ "sessionId": private.session_id });
            let joined = private.host.api.mutate("streaming.joinSession", input).await?;
            Ok(joined["viewerSession"]["token"].as_str().map(str::to_owned))
        })
        .await?;
        until(Limit::MEDIA, "the private show to be live", async || private.in_list(&private.host.api).await).await?;
        let mut private = Endpoint::new(Role::Egress, url(format!("/whep/{}", private.session_id))?, Some(ticket))?;
        (whip.ours, whep.ours, private.ours) = (true, true, true);
        whep.idle = Some(url(format!("/whep/{}", show.session_id))?);
        Ok(Self { whip: Some(whip), whep: Some(whep), private: Some(private), _running: Some((server, encoder)) })
    }
}

/// `CHOBI_WHIP_URL` and `CHOBI_WHIP_TOKEN`.
fn named(name: &str, role: Role) -> Result<Option<Endpoint>> {
    let Ok(url) = std::env::var(format!("{name}_URL")) else { return Ok(None) };
    let url = url.parse().with_context(|| format!("{name}_URL"))?;
    let token = std::env::var(format!("{name}_TOKEN")).ok().filter(|token| !token.is_empty());
    Ok(Some(Endpoint::new(role, url, token)?))
}
