//! Whether a server keeps to WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep), requirement by requirement, over HTTP alone.
//!
//! `cargo test --test whip` asks our own server. Any other:
//! `CHOBI_WHIP_URL=https://host/whip CHOBI_WHIP_TOKEN=… CHOBI_WHEP_URL=… CHOBI_WHEP_TOKEN=… cargo test --test whip`
//! A word behind `--` picks the requirements whose line has it. It prints a table, and fails when a line of it does.

#[allow(dead_code, unused_imports, unused_macros, reason = "the walks of e2e use what is not used here")]
#[path = "../e2e/harness/mod.rs"]
mod harness;

mod answer;
mod endpoint;
mod http_usage;
mod ice;
mod offer;
mod requirement;
mod set_up;
mod subject;
mod surroundings;
mod tunnel;
mod webrtc;

use anyhow::{Result, bail};
use endpoint::Endpoint;
use requirement::{Finding, Requirement};
use std::process::ExitCode;
use subject::Subject;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // `--list` is asked by cargo-nextest, which is told that there is one test.
    if words.iter().any(|word| word == "--list") {
        println!("conformance: test");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> =
        words.into_iter().filter(|word| !word.starts_with('-') && word != "conformance").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    match runtime.block_on(run(&filters)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("{failed} requirements are not met");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("the suite could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table and gives back how many requirements are not met.
async fn run(filters: &[String]) -> Result<usize> {
    let requirements = [
        http_usage::REQUIREMENTS,
        set_up::REQUIREMENTS,
        ice::REQUIREMENTS,
        webrtc::REQUIREMENTS,
        surroundings::REQUIREMENTS,
    ]
    .concat();
    let wanted = |line: &str| filters.is_empty() || filters.iter().any(|word| line.contains(word.as_str()));
    let lines = |document: &'static str| {
        let in_document = requirements.iter().filter_map(move |one| Some((one.section(document)?, one)));
        in_document
            .filter(move |(section, one)| wanted(&format!("{document} {section} {}", one.text)))
            .collect::<Vec<_>>()
    };
    let (whip, whep) = (lines("WHIP"), lines("WHEP"));
    if whip.is_empty() && whep.is_empty() {
        return Ok(0);
    }
    let subject = Subject::from_environment_or_ours().await?;
    let mut failed = 0;
    for (document, endpoint, private, lines) in
        [("WHIP", &subject.whip, None, whip), ("WHEP", &subject.whep, subject.private.as_ref(), whep)]
    {
        println!("\n{document:<5}{:<8}{:<8}{:<6}requirement", "section", "level", "");
        for (section, requirement) in lines {
            let finding = judge(requirement, endpoint.as_ref(), private).await;
            failed += usize::from(finding.is_err());
            show(document, section, requirement, &finding);
        }
    }
    Ok(failed)
}

/// Of our own server, what cannot be told: it redirects no POST, is not busy, and WHIP has no registered extension that it
/// speaks. The other two are decisions, which the table tells. Anything else that is left open of ours is a failure.
const OPEN_OF_OURS: [&str; 5] = [
    "rtcp-mux-only in the answer",
    "a POST is redirected with 307 or 308 only",
    "503 has a Retry-After in seconds",
    "extensions are Links with a registered rel and an address",
    "an offer of nothing but unknown codecs is refused (422)",
];

async fn judge(requirement: &Requirement, endpoint: Option<&Endpoint>, private: Option<&Endpoint>) -> Result<Finding> {
    let Some(endpoint) = endpoint else { return Ok(Finding::Open("no address was given".to_owned())) };
    let mut finding = ask(requirement, endpoint).await;
    if let (Ok(Finding::Open(_)), Some(private)) = (&finding, private) {
        finding = ask(requirement, private).await;
    }
    if let (Ok(Finding::Open(why)), true) = (&finding, endpoint.ours && !OPEN_OF_OURS.contains(&requirement.text)) {
        bail!("it is not to be left open of our own server: {why}");
    }
    finding
}

async fn ask(requirement: &Requirement, endpoint: &Endpoint) -> Result<Finding> {
    let finding = (requirement.check)(endpoint).await;
    endpoint.close_all().await;
    finding
}

fn show(document: &str, section: &str, requirement: &Requirement, finding: &Result<Finding>) {
    let (verdict, remark) = match finding {
        Ok(Finding::Met) => ("PASS", String::new()),
        Ok(Finding::Open(why)) => ("SKIP", format!(" [{why}]")),
        Err(error) => ("FAIL", format!("\n{:27}{error:#}", "")),
    };
    println!("{document:<5}{section:<8}{:<8}{verdict:<6}{}{remark}", requirement.level.name(), requirement.text);
}
