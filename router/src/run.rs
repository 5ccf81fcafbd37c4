//! Runs a router as a process: signals, the ready line, reloads, and the end in order.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use millrace_engine::control::PeerState;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::asked::{Asked, Process, Reloaded};
use crate::bindable;
use crate::cli::{self, Cli, Plan};
use crate::config::pages;
use crate::files;
use crate::handle::RouterHandle;
use crate::host::Host;
use crate::logs::Logs;
use crate::reload::apply;
use crate::service;
use crate::start::Router;
use crate::start_error::StartError;
use crate::terminal;
use crate::watch::Watch;

/// Time between two looks at whether the router is ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time between two looks at whether all threads live.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Exit code for settings that are not valid.
const BAD_SETTINGS: u8 = 2;

/// Runs until a signal ends it. Exit code 2 means that starting again would fail in the same way,
/// as settings that are not valid do; 1 any other failure, such as a port that another process has.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    if cli.print_reference {
        return printed(&pages::reference());
    }
    if cli.print_man {
        return cli::manual().map_or_else(|error| failed(&error.into(), 1), |page| printed(&page));
    }
    // Signals are caught first, because one may come while the router starts.
    let asked = if cli.check || cli.print_config { Ok(mpsc::channel()) } else { signals() };
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return failed(&error, 1),
    };
    let plan = match cli.plan() {
        Ok(plan) => plan,
        Err(error) => return failed(&error, BAD_SETTINGS),
    };
    if cli.check || cli.print_config {
        return look(cli, &plan);
    }
    match serve(cli, plan, asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let is_lasting = error.downcast_ref::<StartError>().is_some_and(StartError::is_lasting);
            failed(&error, if is_lasting { BAD_SETTINGS } else { 1 })
        }
    }
}

/// Prints the settings, or their warnings.
fn look(cli: &Cli, plan: &Plan) -> ExitCode {
    let mut warnings = plan.warnings();
    let unbound: Vec<String> = bindable::problems(&plan.config).iter().map(ToString::to_string).collect();
    if cli.check && !unbound.is_empty() {
        return failed(&anyhow::anyhow!(unbound.join("\n")), BAD_SETTINGS);
    }
    warnings.extend(unbound);
    if cli.check {
        warnings.extend(Host::this().warnings(&plan.config, plan.dev.is_some()));
    }
    match plan.config.history.dir.as_deref().map_or(Ok(None), files::check) {
        Ok(warning) => warnings.extend(warning),
        Err(problem) => return failed(&anyhow::anyhow!(problem), BAD_SETTINGS),
    }
    for warning in &warnings {
        terminal::tell(&format!("millrace-router: warning: {warning}"));
    }
    match (cli.print_config, warnings.len()) {
        (true, _) => printed(&pages::file(&plan.settings)),
        (false, 0) => printed("the settings are valid\n"),
        (false, 1) => printed("the settings are valid, with a warning\n"),
        (false, count) => printed(&format!("the settings are valid, with {count} warnings\n")),
    }
}

fn printed(text: &str) -> ExitCode {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&anyhow::anyhow!("cannot write to standard output: {error}"), 1),
    }
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    let line = format!("millrace-router: {}", told(error).trim_end());
    if let Some(logs) = Logs::current() {
        logs.say(&terminal::fitting(&line));
        logs.flush();
    } else {
        // A closed standard error leaves nobody to tell.
        terminal::tell(&line);
    }
    ExitCode::from(code)
}

/// An error and its causes in one line, without causes that the error already says.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}

fn serve(
    cli: &Cli,
    mut plan: Plan,
    (asking, asked): (mpsc::Sender<Asked>, mpsc::Receiver<Asked>),
) -> Result<()> {
    let logs = Logs::begin(plan.log_filter(), plan.settings.log.json).map_err(anyhow::Error::msg)?;
    let handle = start(&mut plan);
    let served = handle.and_then(|handle| {
        handle.set_process(Process::new(asking));
        serve_until_asked(cli, &mut plan, &handle, &asked, logs)
    });
    logs.flush();
    served
}

fn serve_until_asked(
    cli: &Cli,
    plan: &mut Plan,
    handle: &RouterHandle,
    asked: &mpsc::Receiver<Asked>,
    logs: &Logs,
) -> Result<()> {
    plan.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let reload = |plan: &mut Plan, answer: Option<mpsc::SyncSender<Reloaded>>| {
        service::reloading();
        let result = apply(cli, plan, handle, logs);
        service::ready(handle.addr());
        if let Some(answer) = answer {
            // The sender may have given up.
            let _ = answer.try_send(result);
        }
    };
    let mut watch = Watch::default();
    let mut ready = false;
    let asked_grace = loop {
        if !ready && handle.status().is_ok_and(|status| status.ready()) {
            ready = true;
            say_ready(handle, plan);
            service::ready(handle.addr());
            if let Err(error) = announce(cli, plan, handle) {
                // The reader of the ready line has gone, but the clients have not.
                tracing::warn!(%error, "nobody reads the ready line on standard output");
            }
        }
        match asked.recv_timeout(if ready { WATCH_EVERY } else { LOOK_EVERY }) {
            Ok(Asked::Reload(answer)) => reload(plan, answer),
            Ok(Asked::Drain(grace, answer)) => {
                let grace = grace.unwrap_or(plan.settings.general.grace);
                // The sender may have given up.
                let _ = answer.try_send(grace);
                break Some(grace);
            }
            Ok(Asked::End) | Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) if handle.has_failed() => {
                if !ready {
                    handle.stop(Duration::ZERO);
                }
                return Err(defect());
            }
            Err(RecvTimeoutError::Timeout) => {
                watch.look(handle.certificate_expiry(), handle.certificate_renewal())
            }
        }
    };
    if !ready {
        handle.stop(Duration::ZERO);
        return Ok(());
    }
    if plan.dev.is_some() && !cli.ready_json {
        // Clients may take their time to move, and a person should not wonder.
        logs.say("Going away; Ctrl-C again ends at once.");
    }
    end(handle, asked, asked_grace.unwrap_or(plan.settings.general.grace));
    Ok(())
}

fn say_ready(handle: &RouterHandle, plan: &Plan) {
    let admin = handle.admin_addr().map_or_else(|| "off".to_owned(), |addr| addr.to_string());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        name = handle.name(),
        addr = %handle.addr(),
        advertise = handle.advertise(),
        admin,
        cores = plan.config.cores,
        placement = handle.placement(),
        router = %handle.router_id(),
        "ready"
    );
}

fn defect() -> anyhow::Error {
    anyhow::anyhow!("a thread of the router has ended by a defect, see above; start it anew")
}

/// Starts the router, on another admin port where the usual one is taken and nobody asked for it.
fn start(plan: &mut Plan) -> Result<RouterHandle> {
    let started = match Router::start(plan.config.clone()) {
        Err(StartError::Admin { address, setting: "admin.listen", .. })
            if plan.any_admin_port && plan.dev.is_some() =>
        {
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
                "Stop that process, or choose another port with --listen (setting `listen`)".to_owned()
            };
            anyhow::anyhow!("{error}\n{next}")
        }
        _ => error.into(),
    })
}

/// Turns signals into what they ask for. The sender is for others who ask.
fn signals() -> Result<(mpsc::Sender<Asked>, mpsc::Receiver<Asked>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, receiver) = mpsc::channel();
    let asking = sender.clone();
    let (mut terminate, mut interrupt, mut hang_up, mut first, mut second) = {
        let _entered = runtime.enter();
        // A log that has reached its largest size (`ulimit -f`) is a write that fails, and no end.
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::user_defined1())?,
            signal(SignalKind::user_defined2())?,
        )
    };
    let listen = move || {
        runtime.block_on(async {
            loop {
                let asked = tokio::select! {
                    _ = terminate.recv() => Asked::End,
                    _ = interrupt.recv() => Asked::End,
                    _ = hang_up.recv() => Asked::Reload(None),
                    // The system would end the router; who sends them means another program.
                    _ = first.recv() => continue,
                    _ = second.recv() => continue,
                };
                if sender.send(asked).is_err() {
                    return;
                }
            }
        });
    };
    thread::Builder::new()
        .name("millrace-signals".into())
        .spawn(listen)
        .context("cannot listen to signals")?;
    Ok((asking, receiver))
}

/// Ends in order; a second signal ends at once.
fn end(handle: &RouterHandle, asked: &mpsc::Receiver<Asked>, grace: Duration) {
    tracing::info!(?grace, "going away; once more ends at once");
    service::stopping(grace);
    thread::scope(|scope| {
        let stopping = scope.spawn(|| handle.stop(grace));
        while !stopping.is_finished() {
            if let Ok(Asked::End) = asked.recv_timeout(LOOK_EVERY) {
                handle.hurry();
            }
        }
    });
}

fn announce(cli: &Cli, plan: &Plan, handle: &RouterHandle) -> io::Result<()> {
    let mut out = io::stdout();
    if cli.ready_json {
        let line = json!({
            "schema": "millrace-router-ready/1",
            "version": env!("CARGO_PKG_VERSION"),
            "name": handle.name(),
            "addr": handle.addr().to_string(),
            "advertise": handle.advertise(),
            "admin": handle.admin_addr().map(|addr| addr.to_string()),
            "admin_tls": handle.admin_tls_addr().map(|addr| addr.to_string()),
            "router": handle.router_id().to_string(),
            "incarnation": handle.incarnation().to_string(),
            "ca": plan.ca_path,
            "cores": plan.config.cores,
            "placement": handle.placement(),
            "dev": plan.dev.is_some(),
            "pid": std::process::id(),
        });
        writeln!(out, "{line}")?;
    } else if plan.dev.is_some() {
        out.write_all(welcome(plan, handle).as_bytes())?;
    }
    out.flush()
}

/// The next steps for a person.
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
        "Millrace router {version} is ready on {addr}.\nIt is in development mode: for this machine only.\n{mesh}\n\
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
