//! The command line: arguments, what each command prints, and the process's exit code.
//!
//! Exit codes: 0 done, 1 failed while running, 2 wrong usage (from clap), 78 wrong configuration
//! (`EX_CONFIG`; nothing was bound or connected).

mod admin;
mod advice;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::bench::out::ReaderGone;
use crate::bench::peers::{echo, relay};
use crate::bench::{BenchArgs, DemoArgs, EchoArgs, RelayArgs};
use crate::config::{Config, ConfigErrors};
use crate::observe::logs;
use crate::proxy;
use crate::top::TopArgs;

/// Exit code for a configuration with mistakes (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// `upstream.uri` until the private mongod's real one replaces it; reaches nothing if it doesn't.
const EMBEDDED_PLACEHOLDER: &str = "mongodb://embedded.invalid";

/// A transparent MongoDB wire-protocol proxy with a coherent cache.
#[derive(Debug, Parser)]
#[command(name = "petiole", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    Serve {
        #[command(flatten)]
        source: Source,
        /// Run a private mongod behind the proxy instead of connecting to --upstream
        #[arg(long, conflicts_with = "upstream")]
        embedded: bool,
    },
    /// Check the configuration: print "ok", or every mistake
    Check {
        #[command(flatten)]
        source: Source,
    },
    /// Print the configuration in force, secrets masked
    Config {
        #[command(flatten)]
        source: Source,
    },
    /// Run a small application on a private MongoDB, directly and through the proxy, and compare
    Demo(DemoArgs),
    /// Measure the proxy against mongod, haproxy, Redis and the limit of this machine
    Bench(Box<BenchArgs>),
    /// Answer frames with a prepared reply, for `bench`
    #[command(hide = true)]
    BenchEcho(EchoArgs),
    /// Pass bytes on after a delay, for `bench --rtt`
    #[command(hide = true)]
    BenchRelay(RelayArgs),
    /// Show what a running proxy does, in this terminal
    Top(TopArgs),
    /// Print which indexes a running proxy advises to create and to drop
    Advice(advice::AdviceArgs),
    /// Print the version
    Version,
}

/// Where the configuration comes from; later entries win over earlier ones.
#[derive(Debug, Args)]
struct Source {
    /// Configuration file; without it, the defaults
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replace one value of the configuration, such as cache.max_size=1GiB
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Address for applications, as server.listen
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// MongoDB's connection string, as upstream.uri
    #[arg(long, value_name = "URI")]
    upstream: Option<String>,
    /// Address of the HTTP side, as admin.listen; "" switches it off
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
}

impl Source {
    fn load(&self, embedded: bool) -> Result<Config, ConfigErrors> {
        let mut sets = self.set.clone();
        if embedded {
            // Its address isn't known yet; whatever else is configured isn't meant.
            sets.push(format!("upstream.uri={EMBEDDED_PLACEHOLDER}"));
        }
        for (key, value) in [
            ("server.listen", &self.listen),
            ("upstream.uri", &self.upstream),
            ("admin.listen", &self.admin),
        ] {
            if let Some(value) = value {
                sets.push(format!("{key}={}", toml::Value::from(value.as_str())));
            }
        }
        let variable = |name: &str| std::env::var_os(name)?.into_string().ok();
        Config::load_with(self.config.as_deref(), variable, &sets)
    }
}

/// Runs the command named by the process's arguments.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve { source, embedded } => {
            with_config(source.load(embedded), |config| serve(config, embedded))
        }
        Command::Check { source } => {
            with_config(source.load(false), |config| print(&right(&config)))
        }
        Command::Config { source } => {
            with_config(source.load(false), |config| print(&config.to_toml()))
        }
        Command::Demo(args) => finish(crate::bench::demo::run(&args)),
        Command::Bench(args) => finish(crate::bench::run::run(&args)),
        Command::BenchEcho(args) => finish(echo::serve(&args).map_err(Into::into)),
        Command::BenchRelay(args) => finish(relay::serve(&args).map_err(Into::into)),
        Command::Top(args) => finish(crate::top::run(&args)),
        Command::Advice(args) => finish(args.text().and_then(|text| print(&text))),
        Command::Version => finish(print(concat!("petiole ", env!("CARGO_PKG_VERSION"), "\n"))),
    }
}

fn with_config(
    loaded: Result<Config, ConfigErrors>,
    run: impl FnOnce(Config) -> anyhow::Result<()>,
) -> ExitCode {
    match loaded {
        Ok(config) => finish(run(config)),
        Err(errors) => {
            complain(&errors.to_string());
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// What `check` says of a configuration without mistakes.
fn right(config: &Config) -> String {
    let mut text = "ok\n".to_owned();
    for (key, source) in config.secret_sources() {
        text.push_str(&format!("{key} is {source}\n"));
    }
    text
}

/// Runs the proxy until it is told to stop.
fn serve(config: Config, embedded: bool) -> anyhow::Result<()> {
    logs::init(
        config.log.format,
        &config.log.level,
        &config.profile.slow_file,
    )?;
    Ok(proxy::run(config, embedded)?)
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // (`petiole demo | head` is no failure.)
        Err(error) if error.is::<ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("petiole: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. A reader that has gone away (`petiole config | head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn complain(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_definitions_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_wins_over_a_set_of_the_same_key() {
        let cli = Cli::parse_from([
            "petiole",
            "check",
            "--listen",
            "127.0.0.1:7001",
            "--set",
            "server.listen=127.0.0.1:7002",
            "--admin",
            "",
        ]);
        let Command::Check { source } = cli.command else {
            panic!("not check")
        };
        let config = source.load(false).expect("right");
        assert_eq!(config.server.listen.port, 7001);
        assert_eq!(config.admin.listen, None);
    }

    #[test]
    fn an_embedded_proxy_may_listen_where_the_configured_upstream_would_be() {
        let cli = Cli::parse_from([
            "petiole",
            "serve",
            "--embedded",
            "--listen",
            "127.0.0.1:27017",
        ]);
        let Command::Serve { source, embedded } = cli.command else {
            panic!("not serve")
        };
        assert!(source.load(embedded).is_ok());
        assert!(source.load(false).is_err());
    }
}
