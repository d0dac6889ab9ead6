//! What presence reports of the people who watch.
//!
//! In: reports of many sessions, about once a second. Out: one transaction. Driven by presence/ingress.rs.

use std::time::Duration;

use super::service::Sessions;
use super::store;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{SessionId, UserId};

/// Where the audience of one session stands.
#[derive(Debug)]
pub(crate) struct AudienceReport<'a> {
    pub(crate) session_id: &'a SessionId,
    pub(crate) viewer_count: u64,
    pub(crate) peak: u64,
    pub(crate) visits: Vec<VisitReport<'a>>,
}

/// One person's part in it.
#[derive(Debug)]
pub(crate) struct VisitReport<'a> {
    /// User, guest or connection id.
    pub(crate) viewer_key: &'a str,
    pub(crate) user_id: Option<&'a UserId>,
    /// Set for somebody who may be new to the session.
    pub(crate) joined_at: Option<Timestamp>,
    /// Watch time to add.
    pub(crate) watched: Duration,
    pub(crate) last_seen_at: Timestamp,
}

impl Sessions {
    /// Writes all reports or none. Unknown and ended sessions keep their figures.
    pub(crate) async fn record_audiences(&self, reports: &[AudienceReport<'_>]) -> Result<(), Error> {
        let mut tx = self.db().begin().await?;
        for report in reports {
            let id = report.session_id;
            let mut new_viewers = 0;
            for visit in &report.visits {
                if let Some(joined_at) = visit.joined_at {
                    let is_new = store::add_viewer(&mut tx, id, visit.viewer_key, visit.user_id, joined_at).await?;
                    new_viewers += u64::from(is_new);
                }
                if visit.watched > Duration::ZERO {
                    store::add_watched(&mut tx, id, visit.viewer_key, visit.watched, visit.last_seen_at).await?;
                }
            }
            store::set_audience(&mut tx, id, report.viewer_count, report.peak, new_viewers).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
