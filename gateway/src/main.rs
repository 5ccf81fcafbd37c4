//! `millrace-gateway`: everything that it does is in the library.
//!
//! Exit codes: 0 stopped by SIGTERM or SIGINT, 1 it could not start, 2 the settings are wrong.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::CommandFactory;
use millrace_gateway::program::{Log, Signals, parse, say, serve, tell, with_causes};
use millrace_gateway::reload::Running;
use millrace_gateway::settings::{Cli, CliError};
use millrace_gateway::{Gateway, problems, taken};

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
    let running = match running(&cli) {
        Ok(running) => running,
        Err(error) => {
            tell(&format!("millrace-gateway: {error}"));
            return ExitCode::from(2);
        }
    };
    if cli.check {
        return check(&running);
    }
    match run(&cli, running) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("millrace-gateway: {}", with_causes(&error)));
            ExitCode::FAILURE
        }
    }
}

fn running(cli: &Cli) -> Result<Running, CliError> {
    Ok(Running::new(cli.file()?)?)
}

fn check(running: &Running) -> ExitCode {
    running.settings().warnings.iter().for_each(|warning| tell(&format!("warning: {warning}")));
    taken(running.settings()).iter().for_each(|taken| tell(&format!("warning: {taken}")));
    let problems = problems(running.settings());
    problems.iter().for_each(|problem| tell(&format!("millrace-gateway: {problem}")));
    if !problems.is_empty() {
        return ExitCode::from(2);
    }
    tell("the settings are valid");
    ExitCode::SUCCESS
}

fn run(cli: &Cli, mut running: Running) -> anyhow::Result<()> {
    let log = Log::begin(&running.settings().log_filter).map_err(anyhow::Error::msg).context("log.filter")?;
    running.settings().warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::heed()?;
        let gateway = Gateway::start(running.settings().clone()).await?;
        let addresses = gateway.addresses();
        if cli.ready_json {
            say(&serde_json::to_string(&addresses)?);
        }
        if let Some(http) = addresses.http {
            tracing::info!("publish and receive at http://{http}/events; live events at http://{http}/");
        }
        let reload = || {
            let file = cli.file().map_err(|error| error.to_string())?;
            let lines = running.reload(file)?;
            log.change(&running.settings().log_filter)?;
            Ok(lines)
        };
        serve(signals, reload).await;
        gateway.stop(GRACE).await;
        Ok(())
    })
}
