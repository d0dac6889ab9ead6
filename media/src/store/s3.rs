//! Objects in an S3 bucket: `<prefix>/<broadcast>/<rendition>/<epoch>/<object>`.
//!
//! In: objects and playlists. Out: the same behind any S3-compatible service, asked path style. One call is one
//! attempt: the SDK's own retries are off, whoever calls decides. Amazon S3 API, version 2006-03-01.

use super::error::BucketFault;
use super::{ChecksumMode, ObjectKey, ObjectName, RenditionId, SegmentStore, StorageConfig, StoreError, journal};
use crate::model::BroadcastId;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::{Bytes, BytesMut};
use std::collections::HashSet;
use std::time::Duration;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    /// Empty, or ending with a slash.
    prefix: String,
    /// For a whole call, its body included.
    limit: Duration,
}

/// How long a playlist may be kept by those between the bucket and its players.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaylistAge {
    /// Another takes its place soon: of a show that is live, or is over and about to be a recording.
    Live,
    Lingering,
    /// Of a recording.
    Ended,
}

/// Connecting to a service that is there takes well under a second, also around the world.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Names beside the objects of a broadcast.
pub(crate) const INDEX: &str = "index.m3u8";
pub(crate) const THUMBNAIL: &str = "thumbnail.jpg";
pub(crate) const THUMBNAIL_INDEX: &str = "thumbnails.vtt";
/// No broadcast's: those have ids before their first slash.
const NOBODY: &str = "nobody/is-here";
/// The most one call of DeleteObjects takes.
const DELETE_BATCH: usize = 1_000;

impl S3Store {
    /// Connects with the first call, not here.
    pub fn new(config: &StorageConfig) -> Self {
        let keys =
            Credentials::new(&config.access_key_id, config.secret_access_key.expose(), None, None, "configuration");
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(config.attempt_timeout))
            .operation_attempt_timeout(config.attempt_timeout)
            .build();
        let (on_request, on_response) = match config.checksum {
            ChecksumMode::WhenSupported => {
                (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported)
            }
            ChecksumMode::WhenRequired => {
                (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
            }
        };
        let http = aws_smithy_http_client::Builder::new();
        let http = if config.endpoint.starts_with("http://") {
            http.build_http()
        } else {
            http.tls_provider(Provider::rustls(CryptoMode::Ring)).build_https()
        };
        let mut sdk = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .credentials_provider(keys)
            .force_path_style(true)
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            // One limit per attempt is enough; a second one would only blur which of them fired.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(on_request)
            .response_checksum_validation(on_response);
        if !config.endpoint.is_empty() {
            sdk = sdk.endpoint_url(config.endpoint.trim_end_matches('/'));
        }
        Self {
            client: Client::from_conf(sdk.build()),
            bucket: config.bucket.clone(),
            prefix: if config.prefix.is_empty() { String::new() } else { format!("{}/", config.prefix) },
            limit: config.attempt_timeout,
        }
    }

    /// Writes a playlist of a broadcast, `index.m3u8`, `<rendition>/index.m3u8` or that of its pictures, `thumbnails.vtt`, over
    /// the one before.
    pub async fn put_playlist(
        &self,
        broadcast: &BroadcastId,
        path: &str,
        text: String,
        age: PlaylistAge,
    ) -> Result<(), StoreError> {
        let key = format!("{}{broadcast}/{path}", self.prefix);
        let caching = match age {
            PlaylistAge::Live | PlaylistAge::Lingering => "no-cache",
            PlaylistAge::Ended => "max-age=300",
        };
        let kind = if path.ends_with(".vtt") { "text/vtt; charset=utf-8" } else { PLAYLIST };
        self.put_as(key, Bytes::from(text), kind, caching).await
    }

    /// Writes the picture that stands for a broadcast, `thumbnail.jpg`, over the one before.
    pub async fn put_thumbnail(
        &self,
        broadcast: &BroadcastId,
        jpeg: Bytes,
        age: PlaylistAge,
    ) -> Result<(), StoreError> {
        let caching = match age {
            PlaylistAge::Live | PlaylistAge::Lingering => "max-age=5",
            PlaylistAge::Ended => "max-age=300",
        };
        self.put_as(format!("{}{broadcast}/{THUMBNAIL}", self.prefix), jpeg, "image/jpeg", caching).await
    }

    /// Whether these keys are told that an object is not there. S3 says 403 in place of 404 to those that may not list the bucket.
    pub async fn tells_of_absence(&self) -> Result<bool, StoreError> {
        match self.read(format!("{}{NOBODY}", self.prefix)).await {
            Ok(_) => Ok(true),
            Err(StoreError::Bucket { fault: BucketFault::Denied, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the journal of a broadcast that is over, over the one before.
    pub(super) async fn put_journal(&self, broadcast: &BroadcastId, text: String) -> Result<(), StoreError> {
        self.put_as(self.journal_key(broadcast), Bytes::from(text), "application/jsonl", "no-cache").await
    }

    pub(super) async fn journal(&self, broadcast: &BroadcastId) -> Result<Option<Bytes>, StoreError> {
        self.read(self.journal_key(broadcast)).await
    }

    fn journal_key(&self, broadcast: &BroadcastId) -> String {
        format!("{}{broadcast}/{}", self.prefix, journal::FILE)
    }

    async fn put_as(&self, key: String, body: Bytes, kind: &str, caching: &str) -> Result<(), StoreError> {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&key)
            .content_type(kind)
            .cache_control(caching)
            .body(ByteStream::from(body))
            .send();
        self.within("put", &key, put).await?.map_err(fault("put", &key)).map(drop)
    }

    /// The call, or that it took too long. The SDK's own limit ends with the head of an answer, not with its body.
    async fn within<T>(&self, action: &'static str, key: &str, call: impl Future<Output = T>) -> Result<T, StoreError> {
        tokio::time::timeout(self.limit, call).await.map_err(|_| StoreError::Bucket {
            action,
            key: key.to_owned(),
            fault: BucketFault::TimedOut,
            detail: format!("no answer within {:?}", self.limit),
        })
    }

    /// Removes these objects of a broadcast, the playlists that may name them, and last the journal that does. Those that are
    /// not there are passed over.
    pub(super) async fn remove(&self, broadcast: &BroadcastId, objects: &HashSet<ObjectKey>) -> Result<(), StoreError> {
        let folder = format!("{}{broadcast}/", self.prefix);
        let renditions: HashSet<_> = objects.iter().map(|key| key.rendition).collect();
        let playlists = renditions.iter().map(|rendition| format!("{folder}{rendition}/{INDEX}"));
        let shared = [INDEX, THUMBNAIL, THUMBNAIL_INDEX].map(|name| format!("{folder}{name}"));
        // What is shown goes before what it shows.
        let objects = objects.iter().map(|key| self.key(key));
        let journal = std::iter::once(self.journal_key(broadcast));
        let keys: Vec<_> = shared.into_iter().chain(playlists).chain(objects).chain(journal).collect();
        self.delete_keys(&folder, &keys).await
    }

    async fn delete_keys(&self, folder: &str, keys: &[String]) -> Result<(), StoreError> {
        for batch in keys.chunks(DELETE_BATCH) {
            let named = |key: &String| ObjectIdentifier::builder().key(key).build().expect("the key is set");
            let objects = batch.iter().map(named).collect();
            let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().expect("objects are set");
            let call = self.client.delete_objects().bucket(&self.bucket).delete(delete).send();
            let answer = self.within("delete", folder, call).await?.map_err(fault("delete", folder))?;
            let is_there = |error: &&aws_sdk_s3::types::Error| error.code() != Some("NoSuchKey");
            if let Some(error) = answer.errors().iter().find(is_there) {
                let detail = format!("{}: {}", error.code().unwrap_or("?"), error.message().unwrap_or(""));
                return Err(StoreError::Bucket {
                    action: "delete",
                    key: error.key().unwrap_or(folder).to_owned(),
                    fault: BucketFault::Refused,
                    detail,
                });
            }
        }
        Ok(())
    }

    async fn read(&self, key: String) -> Result<Option<Bytes>, StoreError> {
        let get = async {
            match self.client.get_object().bucket(&self.bucket).key(&key).send().await {
                Ok(object) => object.body.collect().await.map(|body| Some(body.into_bytes())).map_err(|error| {
                    let detail = error.to_string();
                    StoreError::Bucket { action: "get", key: key.clone(), fault: BucketFault::Unreachable, detail }
                }),
                Err(SdkError::ServiceError(error)) if error.err().is_no_such_key() => Ok(None),
                Err(error) => Err(fault("get", &key)(error)),
            }
        };
        self.within("get", &key, get).await?
    }

    fn key(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Keys that begin with `prefix`, page by page.
    async fn keys_below(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let (mut keys, mut next) = (Vec::new(), None);
        loop {
            let page = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
            let page = page.set_continuation_token(next.take()).send();
            let page = self.within("list", prefix, page).await?.map_err(fault("list", prefix))?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            match page.next_continuation_token() {
                Some(token) if page.is_truncated() == Some(true) => next = Some(token.to_owned()),
                _ => return Ok(keys),
            }
        }
    }
}

#[async_trait]
impl SegmentStore for S3Store {
    async fn put(&self, key: &ObjectKey, chunks: Vec<Bytes>) -> Result<(), StoreError> {
        self.put_as(self.key(key), joined(chunks), key.object.content_type(key.rendition.kind), IMMUTABLE).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, StoreError> {
        self.read(self.key(key)).await
    }

    async fn list(&self, broadcast: &BroadcastId) -> Result<Vec<ObjectKey>, StoreError> {
        let folder = format!("{}{broadcast}/", self.prefix);
        let keys = self.keys_below(&folder).await?;
        Ok(keys.iter().filter_map(|key| parse_key(broadcast, key.strip_prefix(&folder)?)).collect())
    }

    /// By listing what begins with its name; where a journal says what there is, [`Self::remove`] asks for less.
    async fn delete(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
        let folder = format!("{}{broadcast}/", self.prefix);
        self.delete_keys(&folder, &self.keys_below(&folder).await?).await
    }
}

fn joined(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() == 1 {
        return chunks.remove(0);
    }
    let mut whole = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
    whole.freeze()
}

/// `<rendition>/<epoch>/<object>`; playlists are none.
fn parse_key(broadcast: &BroadcastId, path: &str) -> Option<ObjectKey> {
    let mut words = path.split('/');
    let key = ObjectKey {
        broadcast: broadcast.clone(),
        rendition: RenditionId::parse(words.next()?)?,
        epoch: super::parse_number(words.next()?)?,
        object: ObjectName::parse(words.next()?)?,
    };
    words.next().is_none().then_some(key)
}

/// What the SDK says, in our words: without bodies and headers, which may hold anything.
fn fault<E>(
    action: &'static str,
    key: &str,
) -> impl FnOnce(SdkError<E, aws_sdk_s3::config::http::HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let key = key.to_owned();
    move |error| {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let fault = match (&error, status) {
            (SdkError::TimeoutError(_), _) => BucketFault::TimedOut,
            (SdkError::DispatchFailure(failure), _) if failure.is_timeout() => BucketFault::TimedOut,
            (SdkError::DispatchFailure(_), _) => BucketFault::Unreachable,
            (_, Some(401 | 403)) => BucketFault::Denied,
            (_, Some(429 | 500..=599)) => BucketFault::Busy,
            _ => BucketFault::Refused,
        };
        let detail = match (&error, status) {
            (SdkError::ServiceError(answer), Some(status)) => {
                let said = answer.err();
                format!("{status} {}: {}", said.code().unwrap_or("?"), said.message().unwrap_or("no reason given"))
            }
            _ => innermost(&error),
        };
        StoreError::Bucket { action, key, fault, detail }
    }
}

/// The last cause in the chain is the one that tells: "connection refused" under "dispatch failure".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_objects_are_listed() {
        let broadcast = BroadcastId::parse("session_1").unwrap();
        let parsed = |path| parse_key(&broadcast, path).map(|key| key.to_string());
        assert_eq!(parsed("v0/3/17.m4s").as_deref(), Some("session_1/v0/3/17.m4s"));
        assert_eq!(parsed("v0/3/17.jpg").as_deref(), Some("session_1/v0/3/17.jpg"));
        assert_eq!(parsed("a0/0/init.mp4").as_deref(), Some("session_1/a0/0/init.mp4"));
        for other in ["index.m3u8", "v0/index.m3u8", "v0/3/17.m4s/x", "v0/03/17.m4s", ""] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }
}
