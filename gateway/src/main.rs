//! `millrace-gateway`: everything that it does is in the library.
//!
//! Exit codes: 0 stopped by SIGTERM or SIGINT, 1 it could not start, 2 the settings are wrong.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::CommandFactory;
use millrace_gateway::program::{Signals, log, parse, say, tell, tell_service_manager};
use millrace_gateway::settings::Cli;
use millrace_gateway::{Gateway, Settings};
use sd_notify::NotifyState;

/// Cheap frees across the runtime's threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Time that requests and events under way get when the gateway stops. Service managers usually
/// kill after 30 s or more.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let cli: Cli = parse();
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

fn run(settings: Settings, ready_json: bool) -> anyhow::Result<()> {
    log(&settings.log_filter).context("log.filter")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::heed()?;
        let gateway = Gateway::start(settings).await?;
        let addresses = gateway.addresses();
        if ready_json {
            say(&serde_json::to_string(&addresses)?);
        }
        if let Some(http) = addresses.http {
            tracing::info!("publish and receive at http://{http}/events; live events at http://{http}/");
        }
        tell_service_manager(&NotifyState::Ready);
        signals.interrupted().await;
        tracing::info!("stopping");
        tell_service_manager(&NotifyState::Stopping);
        gateway.stop(GRACE).await;
        Ok(())
    })
}
