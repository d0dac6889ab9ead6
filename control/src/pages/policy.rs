//! What a page may do in the browser: run our scripts, show our styles, talk to us. Nothing else, whoever asks.

use axum::response::Response;
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

/// The headers every answer of the pages carries.
pub(super) struct Policy {
    content: HeaderValue,
}

/// Whether a page may ask for the camera, the microphone and the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Devices {
    Closed,
    /// The page of a show: a viewer may be let in beside the host.
    Talk,
    /// The studio: it is what the page is for.
    Open,
}

impl Devices {
    const fn permissions(self) -> &'static str {
        match self {
            Self::Closed => {
                "autoplay=(self), fullscreen=(self), picture-in-picture=(self), camera=(), microphone=(), \
                 display-capture=(), geolocation=(), payment=(), usb=()"
            }
            Self::Talk => {
                "autoplay=(self), fullscreen=(self), picture-in-picture=(self), camera=(self), microphone=(self), \
                 display-capture=(), screen-wake-lock=(self), geolocation=(), payment=(), usb=()"
            }
            Self::Open => {
                "autoplay=(self), fullscreen=(self), picture-in-picture=(self), camera=(self), microphone=(self), \
                 display-capture=(self), screen-wake-lock=(self), geolocation=(), payment=(), usb=()"
            }
        }
    }
}

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

impl Policy {
    /// `hls_url` adds one more place media may be fetched from.
    pub(super) fn new(hls_url: &str) -> Self {
        let media = origin(hls_url).map(|origin| format!(" {origin}")).unwrap_or_default();
        // Pictures of shows are where their media is.
        // blob: under media-src is the buffer hls.js feeds, not a place things come from. Its worker is a file of ours.
        let content = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:{media}; \
             media-src 'self' blob:{media}; connect-src 'self' ws: wss:{media}; worker-src 'self'; font-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        Self { content: HeaderValue::try_from(content).expect("an origin is header text") }
    }

    pub(super) fn apply(&self, response: Response) -> Response {
        self.apply_with(Devices::Closed, response)
    }

    pub(super) fn apply_with(&self, devices: Devices, mut response: Response) -> Response {
        let out = response.headers_mut();
        out.insert(CONTENT_SECURITY_POLICY, self.content.clone());
        out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // The address of a private show is nobody else's business.
        out.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        out.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
        out.insert(PERMISSIONS_POLICY, HeaderValue::from_static(devices.permissions()));
        response
    }
}

/// `https://cdn.example:8443` of `https://cdn.example:8443/hls`. `None` for what is no http address, or holds anything
/// that could end a source in the policy and begin something else.
fn origin(url: &str) -> Option<&str> {
    let host_at = ["https://", "http://"].into_iter().find(|scheme| url.starts_with(scheme))?.len();
    let host_len = url[host_at..].find(['/', '?', '#']).unwrap_or(url.len() - host_at);
    let host = &url[host_at..host_at + host_len];
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    (!host.is_empty() && host.bytes().all(is_host)).then_some(&url[..host_at + host_len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_host_for_media_is_named_by_its_origin_alone() {
        let policy = Policy::new("https://cdn.example:8443/hls?x=1");
        let content = policy.content.to_str().unwrap();
        assert!(content.contains("connect-src 'self' ws: wss: https://cdn.example:8443; "), "{content}");
        assert!(content.contains("media-src 'self' blob: https://cdn.example:8443; "), "{content}");
    }

    #[test]
    fn nothing_but_an_origin_gets_into_the_policy() {
        let plain = Policy::new("").content;
        assert!(!plain.to_str().unwrap().contains("://"));
        for url in ["ftp://cdn.example", "https://", "https://a;script-src *", "https://a b/", "https://a\n", "//a"] {
            assert_eq!(Policy::new(url).content, plain, "{url:?}");
        }
    }
}
