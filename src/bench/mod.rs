//! `chobi bench`: many viewers or publishers against a WHEP, WHIP or HLS server, this one or another.
//!
//! In: an address and how many. Out: a table or one JSON object; exit code 1 when a peer failed or nothing arrived. `peers`
//! speaks WHEP and WHIP, `hls` fetches; both over `web`, with the server's process as the system sees it (`process`) and
//! numbers as people read them (`quantity`, `progress`).

mod hls;
mod peers;
mod process;
mod progress;
mod quantity;
mod web;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use chobi_media::load::{Clip, Identity, Offering, Part};
use peers::{Endpoint, Plan, Start};
use quantity::{parse_bit_rate, parse_duration, parse_verify};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use web::Web;

/// What is measured.
#[derive(Debug, clap::Subcommand)]
pub enum Bench {
    /// Viewers: offers by WHEP, then counts what arrives, what is lost and how soon it begins
    Whep {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        audience: Audience,
        /// Whose packets are all opened and so proved authentic: one viewer in so many, or `all`
        #[arg(long, default_value = "20", value_name = "N|all", value_parser = parse_verify)]
        verify: u32,
    },
    /// Viewers by HLS: follow the live edge, part by part where there are parts, or play a recording
    Hls {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        audience: Audience,
        /// Whole segments, even where the server offers parts
        #[arg(long)]
        plain: bool,
        /// A recording again and again, as fast as it comes, instead of in its own time
        #[arg(long)]
        unpaced: bool,
    },
    /// Publishers: a clip with H.264 and Opus by WHIP, in a loop
    Whip {
        #[command(flatten)]
        load: Load,
        /// Stream key of one publisher
        #[arg(long, required_unless_present = "keys", env = "CHOBI_BENCH_KEY", hide_env_values = true)]
        key: Option<String>,
        /// Stream keys of several, one a line
        #[arg(long, value_name = "FILE", conflicts_with = "key")]
        keys: Option<PathBuf>,
        /// How many of the keys publish; all of them when not said
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=2_000))]
        publishers: Option<u32>,
        /// Of each publisher's picture and sound: 2.4M, 800k
        #[arg(long, default_value = "2.4M", value_parser = parse_bit_rate)]
        bitrate: u64,
        /// An FLV file with H.264 (no B-frames) and AAC, instead of the built-in clip
        #[arg(long, value_name = "FILE")]
        clip: Option<PathBuf>,
    },
}

/// Who watches.
#[derive(Debug, clap::Args)]
pub struct Audience {
    /// How many watch
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    viewers: u32,
    /// Bearer token, where the show needs one
    #[arg(long, env = "CHOBI_BENCH_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// What all have in common.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// Where the show is, or is to be: http://127.0.0.1:3000/whep/SESSION, /whip, /hls/SESSION/index.m3u8
    #[arg(long)]
    url: String,
    /// How long is measured, once everybody has joined
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    duration: Duration,
    /// Peers that join per second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    ramp: u32,
    /// Threads that carry the peers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// The server's process on this machine: its CPU and memory are measured too
    #[arg(long)]
    pid: Option<u32>,
    /// Do not check the certificate of an https address
    #[arg(long)]
    insecure: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

impl Bench {
    /// Runs it and prints what came out.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (Self::Whep { load, .. } | Self::Whip { load, .. } | Self::Hls { load, .. }) = &self;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(load.threads as usize).enable_all().build();
        runtime.context("the runtime cannot start")?.block_on(self.measure())
    }

    async fn measure(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Hls { load, audience: Audience { viewers, token }, plain, unpaced } => {
                let Load { url, duration, ramp, pid, json, insecure, threads: _ } = load;
                let url = web::parse_address(&url, "http://HOST:PORT/hls/SESSION/index.m3u8")?;
                let web = Web::new(insecure)?;
                hls::run(hls::Plan { url, web, token, viewers, duration, ramp, pid, plain, unpaced, json }).await
            }
            Self::Whep { load, audience: Audience { viewers, token }, verify } => {
                let endpoint = Arc::new(Endpoint::parse(&load.url, load.insecure)?);
                let identity = Identity::generate()?;
                let starts = (0..viewers).map(move |number| Start {
                    offering: Offering::viewer(&identity),
                    part: Part::Watch { verify: number % verify == 0 },
                    token: token.clone(),
                });
                peers::run(load.plan("whep", viewers, endpoint), starts).await
            }
            Self::Whip { load, key, keys, publishers, bitrate, clip } => {
                let endpoint = Arc::new(Endpoint::parse(&load.url, load.insecure)?);
                let keys = read_keys(key, keys.as_deref(), publishers)?;
                let clip = Arc::new(read_clip(clip.as_deref(), bitrate)?);
                let identity = Identity::generate()?;
                let count = keys.len() as u32;
                let starts = keys.into_iter().map(move |key| Start {
                    offering: Offering::publisher(&identity, &clip),
                    part: Part::Publish(Arc::clone(&clip)),
                    token: Some(key),
                });
                peers::run(load.plan("whip", count, endpoint), starts).await
            }
        }
    }
}

impl Load {
    fn plan(self, kind: &'static str, peers: u32, endpoint: Arc<Endpoint>) -> Plan {
        let Self { url, duration, ramp, threads, pid, json, insecure: _ } = self;
        Plan { kind, url, endpoint, peers, duration, ramp, threads: threads as usize, pid, json }
    }
}

fn read_keys(
    key: Option<String>,
    file: Option<&std::path::Path>,
    publishers: Option<u32>,
) -> anyhow::Result<Vec<String>> {
    let mut keys = match (key, file) {
        (Some(key), _) => vec![key],
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.map(str::to_owned).collect()
        }
        (None, None) => bail!("a stream key is needed: --key or --keys"),
    };
    ensure!(!keys.is_empty(), "there is no stream key in the file");
    if let Some(publishers) = publishers {
        let there = keys.len();
        ensure!(publishers as usize <= there, "{publishers} publishers need as many stream keys; here are {there}");
        keys.truncate(publishers as usize);
    }
    Ok(keys)
}

fn read_clip(file: Option<&std::path::Path>, bitrate: u64) -> anyhow::Result<Clip> {
    let (bytes, name) = match file {
        Some(file) => {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            (Bytes::from(bytes), file.display().to_string())
        }
        None => (Bytes::from_static(crate::demo::CLIP), "the built-in clip".to_owned()),
    };
    Clip::load(&bytes, bitrate).with_context(|| format!("{name} cannot be published"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_the_flag_or_from_the_lines_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        std::fs::write(&file, "# mine\nfirst\n\n  second \n").unwrap();
        assert_eq!(read_keys(None, Some(&file), None).unwrap(), ["first", "second"]);
        assert_eq!(read_keys(None, Some(&file), Some(1)).unwrap(), ["first"]);
        let error = read_keys(Some("only".to_owned()), None, Some(2)).unwrap_err();
        assert_eq!(error.to_string(), "2 publishers need as many stream keys; here are 1");
        std::fs::write(&file, "\n").unwrap();
        assert!(read_keys(None, Some(&file), None).unwrap_err().to_string().contains("no stream key"));
    }

    #[test]
    fn the_built_in_clip_can_be_published() {
        assert!(read_clip(None, 2_400_000).is_ok());
        let error = format!("{:#}", read_clip(None, 1_000).unwrap_err());
        assert!(error.starts_with("the built-in clip cannot be published: it has "), "{error}");
    }
}
