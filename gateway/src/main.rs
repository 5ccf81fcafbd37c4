//! `millrace-gateway`: everything that it does is in the library.
//!
//! Exit codes: 0 stopped by SIGTERM or SIGINT, 1 it could not start, 2 the settings are wrong.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches};
use millrace_gateway::settings::Cli;
use millrace_gateway::{Gateway, Settings};
use sd_notify::NotifyState;
use tracing_subscriber::EnvFilter;

/// Cheap frees across the runtime's threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Time that requests and events under way get when the gateway stops. Service managers usually kill
/// after 30 s or more.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let cli = parse();
    if cli.print_man {
        let page = clap_mangen::Man::new(Cli::command()).section("8");
        return page.render(&mut std::io::stdout()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let settings = match cli.settings() {
        Ok(settings) => settings,
        Err(error) => {
            tell(&format!("millrace-gateway: {error}"));
            return ExitCode::from(2);
        }
    };
    if cli.check {
        tell("the settings are valid");
        return ExitCode::SUCCESS;
    }
    match run(settings, cli.ready_json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("millrace-gateway: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The command line. A variable of the environment that is empty counts as unset: that is how
/// shells and unit files unset one.
fn parse() -> Cli {
    let command = Cli::command().mut_args(|arg| {
        let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { arg.env(Resettable::Reset) } else { arg }
    });
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

fn run(settings: Settings, ready_json: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log_filter).context("log.filter")?;
    // A program that has a log already keeps it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let gateway = Gateway::start(settings).await?;
        let addresses = gateway.addresses();
        if ready_json {
            let line = serde_json::to_string(&addresses)?;
            // Nobody may be listening.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
        if let Some(http) = addresses.http {
            tracing::info!("publish and receive at http://{http}/events; live events at http://{http}/");
        }
        tell_service_manager(&NotifyState::Ready);
        interrupted().await?;
        tracing::info!("stopping");
        tell_service_manager(&NotifyState::Stopping);
        gateway.stop(GRACE).await;
        Ok(())
    })
}

/// Tells systemd where the gateway stands, if it started the gateway (`NOTIFY_SOCKET`).
fn tell_service_manager(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "cannot tell the service manager (NOTIFY_SOCKET)");
    }
}

/// Waits for SIGTERM or SIGINT.
async fn interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// Says something on standard error, whose reader may be gone.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
