//! A show that is over, to whoever comes: from its journal and the store.
//!
//! In: a visit that was let in. Out: playlists, media and pictures of the whole show. Driven by routes.rs.

use super::super::text::Text;
use super::answer::{self, Caching};
use super::request::{self, Resource};
use super::routes::{NOT_LIVE_RETRY, Visit, no_such_media, not_live};
use super::visitor::Visitor;
use axum::response::Response;
use http::StatusCode;

impl Visit<'_> {
    /// A show that is over, from its journal. `below`: where its playlists are, seen from here.
    pub(super) async fn serve_recording(&self, visitor: &Visitor, below: &str) -> Response {
        let playlists = match self.shared.recordings.playlists(&self.target.broadcast, &self.shared.keeper).await {
            Ok(Some(playlists)) => playlists,
            Ok(None) => return self.no_recording(),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(broadcast.id = %self.target.broadcast, error, "recording cannot be read");
                return answer::refusal(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the recording cannot be read",
                    Some(NOT_LIVE_RETRY),
                );
            }
        };
        let ended = if visitor.private { Caching::FreshPrivate } else { Caching::Ended };
        match (self.target.resource, &playlists.thumbnails) {
            (Resource::Thumbnail | Resource::ThumbnailIndex, None) => answer::no_picture(),
            (Resource::Thumbnail, Some(index)) => {
                let key = index.poster.key(&self.target.broadcast);
                match self.stored(key.rendition, key.epoch, key.object).await {
                    Ok(Some(chunks)) => answer::picture(chunks.concat().into(), &key.entity_tag(), ended, self.headers),
                    Ok(None) | Err(_) => answer::no_picture(),
                }
            }
            (Resource::ThumbnailIndex, Some(index)) => {
                let encoding = request::encoding(self.headers);
                match self.signed_prefix(visitor, below).or_else(|| (!below.is_empty()).then(|| below.to_owned())) {
                    Some(prefix) => answer::cues(&Text::new(index.render(&prefix)), encoding, ended),
                    None => answer::cues(&index.text, encoding, ended),
                }
            }
            (Resource::Multivariant, _) => {
                let signed = self.signed_prefix(visitor, below).map(|prefix| playlists.render(&prefix));
                if below.is_empty() {
                    return self.multivariant(visitor, &playlists.multivariant, signed);
                }
                self.multivariant(visitor, &Text::new(playlists.render(below)), signed)
            }
            (Resource::Playlist(rendition), _) => match playlists.media.get(&rendition) {
                Some(text) => answer::playlist(text, request::encoding(self.headers), ended),
                None => no_such_media(),
            },
            (Resource::Object { rendition, epoch, object }, _) if playlists.names(rendition, epoch, object) => {
                let chunks = self.stored(rendition, epoch, object).await;
                self.media(chunks, rendition, object, None, visitor)
            }
            (Resource::Object { .. }, _) => no_such_media(),
            // Parts are for those who watched live; a recording has segments only.
            (Resource::Part { .. } | Resource::Download(_), _) => no_such_media(),
        }
    }

    pub(super) fn no_recording(&self) -> Response {
        match self.target.resource {
            Resource::Thumbnail | Resource::ThumbnailIndex => answer::no_picture(),
            _ => not_live(),
        }
    }
}
