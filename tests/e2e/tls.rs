//! TLS by one flag and from files: an encoder pushes RTMPS, the pages and the playlists come over HTTPS with HTTP/2. Files are
//! replaced while a show is on.

use crate::harness::server::free_ports;
use crate::harness::wait::holds;
use crate::harness::{Api, Encoder, Limit, Picture, Server, Show, report, until};
use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn one_flag_gives_https_and_rtmps() -> Result<()> {
    let [https, rtmps] = free_ports()?;
    let (https_listen, rtmps_listen) = (format!("127.0.0.1:{https}"), format!("127.0.0.1:{rtmps}"));
    let settings =
        [("CHOBI_TLS__HTTP_LISTEN", https_listen.as_str()), ("CHOBI_TLS__RTMP_LISTEN", rtmps_listen.as_str())];
    let server = Server::start_with(&settings, &["--self-signed"]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Behind TLS").await?;
    let push = format!("rtmps://127.0.0.1:{rtmps}/live/{}", show.stream_key);
    let mut encoder = Encoder::ffmpeg(&Picture::CLOCK, &push, server.scratch())?;
    show.listed(&api).await?;
    encoder.must_run()?;
    let address = format!("https://127.0.0.1:{https}/hls/{}/index.m3u8", show.session_id);
    let answer = until(Limit::MEDIA, "the playlist over HTTPS", async || {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--insecure",
                "--http2",
                "--max-time",
                "10",
                "--write-out",
                "%{http_version} %{http_code}",
            ])
            .arg(&address)
            .output()
            .context("curl runs")?;
        let answer = String::from_utf8(output.stdout)?;
        Ok(answer.ends_with(" 200").then_some(answer))
    })
    .await?;
    ensure!(answer.contains("#EXTM3U") && answer.ends_with("2 200"), "HTTP/2 by ALPN: {answer}");
    Ok(())
}

/// A certificate for loopback and its key, in files.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn make(folder: &Path, name: &str) -> Result<Self> {
        let (key, params) = (KeyPair::generate()?, CertificateParams::new(["127.0.0.1".to_owned()])?);
        let pair = Self { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) };
        std::fs::write(&pair.certificate, params.self_signed(&key)?.pem())?;
        std::fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }

    /// As a renewal does it: the files of `other` take the place of these.
    fn replace_by(&self, other: &Self) -> Result<()> {
        for (here, there) in [(&self.key, &other.key), (&self.certificate, &other.certificate)] {
            let beside = here.with_extension("beside");
            std::fs::copy(there, &beside)?;
            std::fs::rename(&beside, here)?;
        }
        Ok(())
    }
}

/// A handshake by somebody who trusts this certificate and no other.
async fn presents(port: u16, certificate: &Path) -> Result<()> {
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from_pem_file(certificate)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1")?, socket).await?;
    Ok(())
}

#[tokio::test]
async fn files_are_replaced_while_a_show_is_on_and_a_broken_one_changes_nothing() -> Result<()> {
    let ([https, rtmps], folder) = (free_ports()?, tempfile::tempdir()?);
    let [used, first, second, third] = ["used", "first", "second", "third"].map(|name| Pair::make(folder.path(), name));
    let (used, first, second, third) = (used?, first?, second?, third?);
    used.replace_by(&first)?;
    let (https_listen, rtmps_listen) = (format!("127.0.0.1:{https}"), format!("127.0.0.1:{rtmps}"));
    let (certificate, key) = (used.certificate.to_string_lossy(), used.key.to_string_lossy());
    let settings = [
        ("CHOBI_TLS__HTTP_LISTEN", https_listen.as_str()),
        ("CHOBI_TLS__RTMP_LISTEN", rtmps_listen.as_str()),
        ("CHOBI_TLS__CERTIFICATE", &*certificate),
        ("CHOBI_TLS__KEY", &*key),
    ];
    let server = Server::start_with(&settings, &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Renewed").await?;
    let push = format!("rtmps://127.0.0.1:{rtmps}/live/{}", show.stream_key);
    let mut encoder = Encoder::ffmpeg(&Picture::CLOCK, &push, server.scratch())?;
    show.listed(&api).await?;
    let viewer = show.viewer()?;
    let video = until(Limit::MEDIA, "the playlists", async || Ok(viewer.renditions().await?.video)).await?;

    // Both ports present this one, and not that one.
    let in_use = async |this: &Pair, that: &Pair| {
        holds(Limit::EVENT, "both ports to present the certificate", async || {
            presents(https, &this.certificate).await.context("HTTPS")?;
            presents(rtmps, &this.certificate).await.context("RTMPS")?;
            Ok(true)
        })
        .await?;
        for port in [https, rtmps] {
            ensure!(presents(port, &that.certificate).await.is_err(), "port {port} presents another one too");
        }
        Ok(())
    };
    let reloads = async |outcome: &str| server.metric_where("chobi_tls_reloads_total", outcome).await;
    in_use(&first, &second).await?;
    let version = Command::new("curl")
        .args(["--silent", "--http2", "--max-time", "10", "--output", "/dev/null", "--write-out"])
        .arg("%{http_version} %{http_code}")
        .arg("--cacert")
        .arg(&first.certificate)
        .arg(format!("https://127.0.0.1:{https}/"))
        .output()
        .context("curl runs")?;
    ensure!(version.stdout == b"2 200", "trusted, and HTTP/2 by ALPN: {version:?}");

    let replaced = Instant::now();
    used.replace_by(&second)?;
    in_use(&second, &first).await?;
    report!("a renewed certificate is presented {:.1?} later", replaced.elapsed());

    std::fs::write(&used.certificate, "-----BEGIN CERTIFICATE-----\nhalf a fi")?;
    holds(Limit::EVENT, "the broken file to be found", async || Ok(reloads("kept").await? == 1.0)).await?;
    let log = server.log();
    let line = log.lines().find(|line| line.contains("the old one stays in use")).context("the log says so")?;
    ensure!(line.contains(&*certificate) && line.contains("ERROR"), "and which file: {line}");
    in_use(&second, &first).await.context("the one before is kept")?;

    used.replace_by(&third)?;
    in_use(&third, &second).await.context("mended")?;
    ensure!(reloads("reloaded").await? == 2.0 && reloads("kept").await? == 1.0, "each change once");

    // All the while, over the connection of before.
    encoder.must_run()?;
    let last = viewer.playlist(&video).await?.last_number();
    holds(Limit::MEDIA, "the show to go on", async || Ok(viewer.playlist(&video).await?.last_number() > last)).await?;
    let playlist = viewer.playlist(&video).await?;
    ensure!(playlist.discontinuities() == 0, "it was never interrupted:\n{}", playlist.text);
    Ok(())
}
