//! `millrace-agent`: everything that it does is in the library.
//!
//! Exit codes: 0 stopped by SIGTERM or SIGINT, 1 it could not start, 2 the settings are wrong.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::CommandFactory;
use millrace_gateway::agent::reload::AgentRunning;
use millrace_gateway::agent::settings::{AgentCli, AgentCliError};
use millrace_gateway::agent::{Agent, problems, taken};
use millrace_gateway::program::{Log, Signals, parse, say, serve, tell, with_causes};

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
    let running = match running(&cli) {
        Ok(running) => running,
        Err(error) => {
            tell(&format!("millrace-agent: {error}"));
            return ExitCode::from(2);
        }
    };
    let Some(running) = running else { return ExitCode::SUCCESS };
    if cli.check {
        return check(&running);
    }
    match run(&cli, running) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("millrace-agent: {}", with_causes(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The settings; `None` when they were to be printed.
fn running(cli: &AgentCli) -> Result<Option<AgentRunning>, AgentCliError> {
    let file = cli.file()?;
    if cli.print_config {
        cli.settings()?;
        say(file.to_text().map_err(AgentCliError::File)?.trim_end());
        return Ok(None);
    }
    Ok(Some(AgentRunning::new(file)?))
}

fn check(running: &AgentRunning) -> ExitCode {
    running.settings().warnings.iter().for_each(|warning| tell(&format!("warning: {warning}")));
    taken(running.settings()).iter().for_each(|taken| tell(&format!("warning: {taken}")));
    let problems = problems(running.settings());
    problems.iter().for_each(|problem| tell(&format!("millrace-agent: {problem}")));
    if !problems.is_empty() {
        return ExitCode::from(2);
    }
    tell("the settings are valid");
    ExitCode::SUCCESS
}

fn run(cli: &AgentCli, mut running: AgentRunning) -> anyhow::Result<()> {
    let log = Log::begin(&running.settings().log_filter).map_err(anyhow::Error::msg).context("log.filter")?;
    running.settings().warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::heed()?;
        let agent = Agent::start(running.settings().clone()).await?;
        let addresses = agent.addresses();
        if cli.ready_json {
            say(&serde_json::to_string(addresses)?);
        }
        if let Some(unix) = &addresses.unix {
            tracing::info!(
                "publish with: curl --unix-socket {} -d TEXT 'http://agent/events?tag=key=value'",
                unix.display()
            );
        }
        let reload = || {
            let file = cli.file().map_err(|error| error.to_string())?;
            let lines = running.reload(file)?;
            log.change(&running.settings().log_filter)?;
            Ok(lines)
        };
        serve(signals, reload).await;
        agent.stop(GRACE).await;
        Ok(())
    })
}
