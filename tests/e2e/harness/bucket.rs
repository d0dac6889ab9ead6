//! A bucket of `moto`, an implementation of S3 in Python that shares nothing with the one in the media plane's own tests.

use super::process::{Process, bound_to_test};
use super::server::{Server, free_ports};
use super::wait::{Limit, until};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

const NAME: &str = "chobi-shows";

pub(crate) struct Bucket {
    // Before the folder of its log.
    _process: Process,
    port: u16,
    client: reqwest::Client,
    _dir: TempDir,
}

impl Bucket {
    /// Starts the service and makes the bucket, which anybody may read.
    pub(crate) async fn start() -> Result<Self> {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/python");
        ensure!(python.exists(), "{} is missing; `make deps-test` installs it", python.display());
        let (dir, [port]) = (tempfile::tempdir()?, free_ports()?);
        let mut command = bound_to_test(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        let mut process = Process::start("moto", command, &dir.path().join("moto.log"))?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let address = format!("http://127.0.0.1:{port}/{NAME}");
        until(Limit::PROCESS, "the bucket", async || {
            process.must_run()?;
            let made = client.put(&address).send().await;
            Ok(made.ok().filter(|answer| answer.status().is_success()))
        })
        .await?;
        let anybody = json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{NAME}/*") }],
        });
        client.put(format!("{address}?policy")).body(anybody.to_string()).send().await?.error_for_status()?;
        Ok(Self { _process: process, port, client, _dir: dir })
    }

    /// A server that writes to it, with these settings besides.
    pub(crate) async fn server(&self, settings: &[(&str, &str)]) -> Result<Server> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let own = [
            ("S3_BUCKET", NAME),
            ("AWS_ENDPOINT_URL_S3", &endpoint),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "a secret of the test"),
        ];
        Server::start_with(&[&own, settings].concat(), &[]).await
    }

    /// Where an object is, for whoever may read the bucket.
    pub(crate) fn url(&self, key: &str) -> String {
        format!("http://127.0.0.1:{}/{NAME}/{key}", self.port)
    }

    /// `None`: there is none.
    pub(crate) async fn object(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let answer = self.client.get(self.url(key)).send().await?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let (status, bytes) = (answer.status(), answer.bytes().await?);
        ensure!(status.is_success(), "{key}: {status}: {}", String::from_utf8_lossy(&bytes));
        Ok(Some(bytes.to_vec()))
    }

    pub(crate) async fn text(&self, key: &str) -> Result<Option<String>> {
        self.object(key).await?.map(|bytes| String::from_utf8(bytes).context("text")).transpose()
    }

    /// Keys that begin so.
    pub(crate) async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let listing = self.client.get(self.url(&format!("?list-type=2&prefix={prefix}"))).send().await?;
        let listing = listing.error_for_status()?.text().await?;
        ensure!(listing.contains("<IsTruncated>false</IsTruncated>"), "one page is enough for a test: {listing}");
        let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        Ok(keys.map(|(key, _)| key.to_owned()).collect())
    }
}
