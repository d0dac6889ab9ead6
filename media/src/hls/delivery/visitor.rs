//! Whose request it is: the bearer of a pass or a ticket, a player with an id of its own, or anyone.
//!
//! In: the target, query and headers of a request. Out: a visitor, or why there is none. Driven by routes.rs.

use super::super::show::Show;
use super::pass::{Pass, random_viewer};
use super::request;
use super::routes::Visit;
use crate::model::ViewerId;
use crate::seam::{Refusal, ViewerIdentity};
use http::HeaderValue;
use std::time::SystemTime;

/// Whose request it is.
#[derive(Debug, Default)]
pub(super) struct Visitor {
    pub(super) viewer: Option<ViewerId>,
    pub(super) identity: Option<ViewerIdentity>,
    pub(super) pass: Option<Pass>,
    /// A pass that was just signed; addresses must carry it.
    pub(super) signed: Option<String>,
    /// Came with a ticket or a pass: nobody else may be given what it is given.
    pub(super) private: bool,
}

/// The viewer's cookie lasts a day: long enough for any show, short enough to follow nobody around.
const COOKIE_SECONDS: u32 = 86_400;
const VIEWER_COOKIE: &str = "chobi_viewer";
const VIEWER_HEADER: &str = "x-playback-session-id";

impl Visit<'_> {
    /// Lets the visitor in by its pass, by its ticket, or as anyone.
    pub(super) async fn admit(&self) -> Result<Visitor, Refusal> {
        let broadcast = &self.target.broadcast;
        if let Some(pass) = self.target.pass {
            let pass = self.shared.pass_key.check(broadcast, pass, SystemTime::now()).ok_or(Refusal::BadCredentials)?;
            return Ok(Visitor::with_pass(pass, None));
        }
        let admission = &*self.shared.admission;
        if let Some(ticket) = request::ticket(self.query, self.headers) {
            let lifetime = self.shared.config.pass_lifetime;
            let (pass, text) = self.shared.pass_key.admit_ticket(broadcast, ticket, admission, lifetime).await?;
            return Ok(Visitor::with_pass(pass, Some(text)));
        }
        let (is_shown, recheck) = (self.shared.shows.get(broadcast).is_some(), self.shared.config.public_recheck);
        self.shared.gates.admit_anyone(broadcast, is_shown, admission, recheck).await?;
        Ok(Visitor { viewer: self.anonymous(), ..Visitor::default() })
    }

    /// The id a viewer without a ticket brings along: the player's own, or our cookie.
    fn anonymous(&self) -> Option<ViewerId> {
        let own = self.headers.get(VIEWER_HEADER).and_then(|value| value.to_str().ok());
        own.or_else(|| request::cookie(self.headers, VIEWER_COOKIE)).and_then(ViewerId::of_player)
    }

    /// A pass is good for as long as it says; who was put out is known here.
    pub(super) fn is_ejected(&self, show: Option<&Show>, visitor: &Visitor) -> bool {
        let of = show.map_or(&self.target.broadcast, Show::of);
        let viewer = visitor.viewer.as_ref();
        let (bearer, player) = if visitor.pass.is_some() { (viewer, None) } else { (None, viewer) };
        self.shared.ejected.has_either(of, bearer, player)
    }
}

impl Visitor {
    fn with_pass(pass: Pass, signed: Option<String>) -> Self {
        let (viewer, identity) = (Some(pass.viewer.clone()), pass.identity.clone());
        Self { viewer, identity, pass: Some(pass), signed, private: true }
    }
}

pub(super) fn viewer_cookie() -> HeaderValue {
    let cookie =
        format!("{VIEWER_COOKIE}={}; Path=/hls; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax", random_viewer());
    HeaderValue::try_from(cookie).expect("our cookie is ASCII")
}
