//! The `chobi` command.

use anyhow::Context;
use chobi::app::{App, Mode};
use chobi::bench::Bench;
use chobi::config::{self, Flags, Loaded};
use chobi::{shutdown, telemetry};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A live-streaming server: RTMP and WHIP in, WHEP and low-latency HLS out, and the app's API beside it.
#[derive(Debug, Parser)]
#[command(name = "chobi", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve {
        #[command(flatten)]
        source: Source,
        /// Make a demo host and show a looping clip live, so that there is something to see at once
        #[arg(long)]
        demo: bool,
        /// Serve HTTPS and RTMPS too, with a certificate that this server makes for itself; for a LAN
        #[arg(long)]
        self_signed: bool,
    },
    /// Look at the configuration without starting anything
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Measure a WHEP, WHIP or HLS server, this one or another, with many viewers or publishers
    Bench {
        #[command(subcommand)]
        bench: Bench,
    },
    /// Bring the database to this version's tables, then stop
    Migrate {
        #[command(flatten)]
        source: Source,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check file and environment; exit code 2 and every fault when something is wrong
    Check {
        #[command(flatten)]
        source: Source,
    },
}

#[derive(Debug, clap::Args)]
struct Source {
    /// A TOML file; config/default.toml documents every key. Without it the defaults hold
    #[arg(long, value_name = "FILE", env = "CHOBI_CONFIG_FILE")]
    config: Option<PathBuf>,
}

/// The configuration is wrong, as opposed to the surroundings.
const EXIT_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve { source, demo, self_signed } => with_config(&source, Flags { self_signed }, |loaded| {
            serve(loaded, if demo { Mode::Demo } else { Mode::Plain })
        }),
        Command::Config { command: ConfigCommand::Check { source } } => {
            with_config(&source, Flags::default(), |loaded| check(&loaded))
        }
        Command::Bench { bench } => bench.run(),
        Command::Migrate { source } => with_config(&source, Flags::default(), migrate),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("chobi: {error:#}");
        ExitCode::FAILURE
    })
}

fn with_config(
    source: &Source,
    flags: Flags,
    run: impl FnOnce(Loaded) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let environment: Vec<_> = std::env::vars().collect();
    match config::load(source.config.as_deref(), &environment, flags) {
        Ok(loaded) => run(loaded).map(|()| ExitCode::SUCCESS),
        Err(faults) => {
            let count = faults.len();
            eprintln!("chobi: {count} {} in the configuration\n", if count == 1 { "fault" } else { "faults" });
            for fault in faults {
                eprintln!("  {}\n", fault.to_string().replace('\n', "\n  "));
            }
            Ok(ExitCode::from(EXIT_CONFIGURATION))
        }
    }
}

fn check(loaded: &Loaded) -> anyhow::Result<()> {
    for notice in &loaded.notices {
        println!("note: {notice}");
    }
    println!("the configuration is good");
    Ok(())
}

fn serve(loaded: Loaded, mode: Mode) -> anyhow::Result<()> {
    let metrics = telemetry::start(&loaded.config.server.log).context("logging cannot start")?;
    runtime()?.block_on(async move {
        let cancel = shutdown::on_signal()?;
        for notice in &loaded.notices {
            tracing::warn!("{notice}");
        }
        let app = App::start(loaded.config, mode, metrics).await?;
        app.run(cancel).await
    })
}

fn migrate(loaded: Loaded) -> anyhow::Result<()> {
    runtime()?.block_on(async move {
        let config = loaded.config;
        std::fs::create_dir_all(&config.server.data_dir)
            .with_context(|| format!("cannot make the data directory {}", config.server.data_dir.display()))?;
        let control = chobi_control::config::ControlConfig { data_dir: config.server.data_dir, ..config.control };
        chobi_control::migrate(&control).await.context("the database cannot be brought up to date")?;
        println!("the database is up to date");
        Ok(())
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot start")
}
