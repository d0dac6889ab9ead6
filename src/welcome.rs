//! What a person reads after the start: where to look, and lines to paste.

use std::fmt::Write;

/// The addresses of a running server.
#[derive(Debug)]
pub(crate) struct Welcome<'a> {
    pub base_url: &'a str,
    pub rtmp_url: &'a str,
    pub ops: std::net::SocketAddr,
    /// Time from start to ready.
    pub started_in: std::time::Duration,
    pub demo: Option<DemoWelcome<'a>>,
    pub tls: Option<&'a TlsWelcome>,
}

/// Where HTTPS and RTMPS answer.
#[derive(Debug)]
pub(crate) struct TlsWelcome {
    pub https_urls: Vec<String>,
    pub rtmps_url: String,
    /// The fingerprint of a certificate that this server made for itself.
    pub self_signed: Option<String>,
}

#[derive(Debug)]
pub(crate) struct DemoWelcome<'a> {
    /// The session that shows the clip.
    pub clip_session: &'a str,
    /// A session that waits for the reader's own encoder.
    pub own_session: &'a str,
    pub own_key: &'a str,
}

impl Welcome<'_> {
    pub(crate) fn text(&self) -> String {
        let Self { base_url, rtmp_url, ops, .. } = self;
        let key = self.demo.as_ref().map_or("<streamKey>", |demo| demo.own_key);
        let mut out = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {name:<10} {value}");
        };
        line("Pages", &format!("{base_url}/"));
        line("API", &format!("{base_url}/api/trpc"));
        line("Metrics", &format!("http://{ops}/metrics"));
        if let Some(tls) = self.tls {
            let pages: Vec<_> = tls.https_urls.iter().map(|url| format!("{url}/")).collect();
            line("HTTPS", &pages.join("   "));
            line("RTMPS", &tls.rtmps_url);
            if let Some(fingerprint) = &tls.self_signed {
                line("SHA-256", fingerprint);
            }
        }
        if let Some(demo) = &self.demo {
            line("Demo", &format!("{base_url}/watch/{}   (a clip, live now)", demo.clip_session));
            line("Your show", &format!("{base_url}/watch/{}   (live as soon as you send)", demo.own_session));
        }
        line("OBS", &format!("Settings > Stream > Custom: server {rtmp_url}   stream key {key}"));
        line(
            "ffmpeg",
            &format!("ffmpeg -re -i FILE -c:v libx264 -preset veryfast -bf 0 -g 60 -c:a aac -f flv {rtmp_url}/{key}"),
        );
        line("WHIP", &format!("{base_url}/whip   bearer token {key}   (OBS 30 and later, browsers)"));
        let mut notes = String::new();
        if self.tls.is_some_and(|tls| tls.self_signed.is_some()) {
            notes += "  The certificate is this server's own: a browser warns once and asks whether to go on. Compare its\n  \
                      SHA-256 fingerprint with the one above, then choose Advanced > Proceed.\n";
        }
        notes += if self.demo.is_some() {
            "  The key above is for trying out on this machine; a new one is made at each start.\n"
        } else {
            "  A stream key comes from streaming.createSession; see README.md.\n"
        };
        format!("\nChobi Live is ready in {} ms\n\n{out}\n{notes}", self.started_in.as_millis())
    }
}
