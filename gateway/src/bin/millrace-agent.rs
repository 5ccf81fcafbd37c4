//! `millrace-agent`: everything that it does is in the library.
//!
//! Exit codes: 0 stopped by SIGTERM or SIGINT, 1 it could not start, 2 the settings are wrong.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::CommandFactory;
use millrace_gateway::agent::Agent;
use millrace_gateway::agent::settings::{AgentCli, AgentCliError, AgentSettings};
use millrace_gateway::program::{Signals, log, parse, say, tell, tell_service_manager};
use sd_notify::NotifyState;

/// Cheap frees across the runtime's threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads: local programs are few, and each event is written to the disk under one lock.
const THREADS: usize = 2;
/// Time that requests under way and pending events get when the agent stops. What is left stays in
/// the spool.
const GRACE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let cli: AgentCli = parse();
    if cli.print_man {
        let page = clap_mangen::Man::new(AgentCli::command()).section("8");
        return page.render(&mut std::io::stdout()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let settings = match settings(&cli) {
        Ok(settings) => settings,
        Err(error) => {
            tell(&format!("millrace-agent: {error}"));
            return ExitCode::from(2);
        }
    };
    let Some(settings) = settings else { return ExitCode::SUCCESS };
    if cli.check {
        tell("the settings are valid");
        return ExitCode::SUCCESS;
    }
    match run(settings, cli.ready_json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("millrace-agent: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The settings; `None` when they were to be printed.
fn settings(cli: &AgentCli) -> Result<Option<AgentSettings>, AgentCliError> {
    let settings = cli.settings()?;
    if cli.print_config {
        say(cli.file()?.to_text().map_err(AgentCliError::File)?.trim_end());
        return Ok(None);
    }
    Ok(Some(settings))
}

fn run(settings: AgentSettings, ready_json: bool) -> anyhow::Result<()> {
    log(&settings.log_filter).context("log.filter")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::heed()?;
        let agent = Agent::start(settings).await?;
        let addresses = agent.addresses();
        if ready_json {
            say(&serde_json::to_string(addresses)?);
        }
        if let Some(unix) = &addresses.unix {
            tracing::info!(
                "publish with: curl --unix-socket {} -d TEXT 'http://agent/events?tag=key=value'",
                unix.display()
            );
        }
        tell_service_manager(&NotifyState::Ready);
        signals.interrupted().await;
        tracing::info!("stopping");
        tell_service_manager(&NotifyState::Stopping);
        agent.stop(GRACE).await;
        Ok(())
    })
}
