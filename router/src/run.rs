//! Runs a router as a process: logs, signals, the ready line, and the end in order.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use millrace_engine::control::PeerState;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Plan};
use crate::handle::RouterHandle;
use crate::start::{Router, StartError};

/// Between two looks at whether the router is ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between two looks at whether all threads live.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Exit code for settings that are not valid.
const BAD_SETTINGS: u8 = 2;

/// Runs until a signal ends it. Exit code 2 means settings that are not valid, 1 any other failure.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    let plan = match cli.plan() {
        Ok(plan) => plan,
        Err(error) => return failed(&error, BAD_SETTINGS),
    };
    match serve(cli, plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    // Nobody can be told when standard error is closed.
    let _ = writeln!(io::stderr(), "millrace-router: {}", told(error).trim_end());
    ExitCode::from(code)
}

/// An error and its causes in one line; many errors say their cause themselves, which is not repeated.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.ends_with(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}

fn serve(cli: &Cli, mut plan: Plan) -> Result<()> {
    if cli.print_config {
        io::stdout().write_all(plan.printed.as_bytes())?;
    }
    if cli.check && !cli.print_config {
        writeln!(io::stdout(), "the settings are valid")?;
    }
    if cli.check || cli.print_config {
        return Ok(());
    }
    start_logs(cli, plan.dev.is_some());
    let signals = signals()?;
    let handle = start(&mut plan)?;
    if !wait_for_ready(&handle, &signals) {
        let failed = handle.has_failed();
        handle.stop(Duration::ZERO);
        return if failed { Err(defect()) } else { Ok(()) };
    }
    tracing::info!(addr = %handle.addr(), advertise = handle.advertise(), router = %handle.router_id(), "ready");
    announce(cli, &plan, &handle)?;
    while signals.recv_timeout(WATCH_EVERY).is_err() {
        if handle.has_failed() {
            return Err(defect());
        }
    }
    if plan.dev.is_some() && !cli.ready_json {
        // Clients may take their time to move; a person should not wonder.
        let _ = writeln!(io::stderr(), "Going away; Ctrl-C again ends at once.");
    }
    end(&handle, &signals, plan.grace);
    Ok(())
}

fn defect() -> anyhow::Error {
    anyhow::anyhow!("a thread of the router has ended by a defect, see above; start it anew")
}

/// Starts the router, on another admin port where the usual one is taken and nobody asked for it.
fn start(plan: &mut Plan) -> Result<RouterHandle> {
    let started = match Router::start(plan.config.clone()) {
        Err(StartError::Admin { address, .. }) if plan.any_admin_port && plan.dev.is_some() => {
            plan.config.admin = Some((address.ip(), 0).into());
            Router::start(plan.config.clone())
        }
        started => started,
    };
    started.map_err(|error| match &error {
        StartError::Listen { source, address } if source.kind() == io::ErrorKind::AddrInUse => {
            let next = if plan.dev.is_some() {
                format!(
                    "To start a second router that joins the first:\n    \
                     millrace-router --listen 127.0.0.1:0 --seed {address}"
                )
            } else {
                "Stop that process, or choose another port with --listen".to_owned()
            };
            anyhow::anyhow!("{error}\n{next}")
        }
        _ => error.into(),
    })
}

/// Each signal that asks for the end.
fn signals() -> Result<mpsc::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, receiver) = mpsc::channel();
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let listen = move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
    };
    thread::Builder::new()
        .name("millrace-signals".into())
        .spawn(listen)
        .context("cannot listen to signals")?;
    Ok(receiver)
}

/// `false` when a signal, or a defect, came first.
fn wait_for_ready(handle: &RouterHandle, signals: &mpsc::Receiver<()>) -> bool {
    loop {
        if handle.status().is_ok_and(|status| status.ready()) {
            return true;
        }
        if handle.has_failed() {
            return false;
        }
        if !matches!(signals.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout)) {
            return false;
        }
    }
}

/// Ends in order; a second signal ends at once.
fn end(handle: &RouterHandle, signals: &mpsc::Receiver<()>, grace: Duration) {
    tracing::info!(?grace, "going away; once more ends at once");
    thread::scope(|scope| {
        let stopping = scope.spawn(|| handle.stop(grace));
        while !stopping.is_finished() {
            if signals.recv_timeout(LOOK_EVERY).is_ok() {
                handle.hurry();
            }
        }
    });
}

fn start_logs(cli: &Cli, dev: bool) {
    let default = if dev { "warn" } else { "info" };
    let filter = EnvFilter::try_from_env("MILLRACE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    // An embedding program may have set up logs already; its choice stands.
    let _ = if cli.log_json { logs.json().try_init() } else { logs.try_init() };
}

fn announce(cli: &Cli, plan: &Plan, handle: &RouterHandle) -> io::Result<()> {
    let mut out = io::stdout();
    if cli.ready_json {
        let line = json!({
            "schema": "millrace-router-ready/1",
            "addr": handle.addr().to_string(),
            "advertise": handle.advertise(),
            "admin": handle.admin_addr().map(|addr| addr.to_string()),
            "router": handle.router_id().to_string(),
            "incarnation": handle.incarnation().to_string(),
            "ca": plan.ca_path,
            "cores": plan.config.cores,
            "dev": plan.dev.is_some(),
            "pid": std::process::id(),
        });
        writeln!(out, "{line}")?;
    } else if plan.dev.is_some() {
        out.write_all(welcome(plan, handle).as_bytes())?;
    }
    out.flush()
}

/// What a person needs next.
fn welcome(plan: &Plan, handle: &RouterHandle) -> String {
    let addr = handle.addr();
    let usual = addr == std::net::SocketAddr::from(([127, 0, 0, 1], millrace_proto::DEFAULT_PORT));
    let router = if usual { String::new() } else { format!(" --router {addr}") };
    let admin = handle
        .admin_addr()
        .map_or_else(|| "off".to_owned(), |addr| format!("http://{addr}/ (lists what there is to see)"));
    let ca = plan.ca_path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let seeds = plan.config.mesh.seeds.join(", ");
    let linked = handle
        .status()
        .map_or(0, |status| status.peers.iter().filter(|peer| peer.state == PeerState::Linked).count());
    let mesh = match linked {
        0 if seeds.is_empty() => String::new(),
        0 => format!("No router has answered at {seeds}; it keeps trying.\n"),
        1 => "It has joined another router.\n".to_owned(),
        linked => format!("It has joined {linked} other routers.\n"),
    };
    format!(
        "Millrace router {version} is ready on {addr} (development mode: this machine only).\n{mesh}\n\
         Receive everything, in a second terminal:\n    millrace sub{router} '*'\n\
         Publish an event, in a third:\n    millrace pub{router} --tag host=$(hostname) hello\n\
         Start another router that joins this one:\n    \
         millrace-router --listen 127.0.0.1:0 --seed {addr}\n\n\
         admin      {admin}\n\
         authority  {ca}\n\
         Ctrl-C ends in order, twice at once.\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}
