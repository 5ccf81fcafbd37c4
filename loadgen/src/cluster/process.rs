//! A router as a process of its own: this program, started again as one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::cores::CoreUse;
use super::counters::Usage;
use super::error::ClusterError;
use millrace_measure::kernel;

/// The option that says how long a router leaves its clients when it is asked to end.
const GRACE: &str = "--grace";
/// How long a router may take to end in order.
const END_MAX: Duration = Duration::from_secs(3);
/// How long its admin page may take; cores with 100,000 connections count them.
const PAGE_MAX: Duration = Duration::from_secs(10);

/// What a router says when it is ready.
#[derive(Debug, Deserialize)]
struct Ready {
    addr: SocketAddr,
    admin: Option<SocketAddr>,
    ca: Option<PathBuf>,
}

/// One router process. It ends with its owner.
#[derive(Debug)]
pub(crate) struct RouterProcess {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(crate) ca: PathBuf,
    /// About when its cores began.
    since: Instant,
}

impl RouterProcess {
    /// Starts one that joins the routers before it. Certificates are in `folder`.
    pub(super) fn start(
        cores: u16,
        seeds: &[String],
        options: &[&str],
        folder: &Path,
    ) -> Result<Self, ClusterError> {
        let mut arguments = vec!["--listen".to_owned(), "127.0.0.1:0".to_owned()];
        arguments.extend(["--cores".to_owned(), cores.to_string()]);
        arguments.extend(options.iter().copied().map(str::to_owned));
        arguments.extend(seeds.iter().flat_map(|seed| ["--seed".to_owned(), seed.clone()]));
        Self::start_as(&arguments, folder)
    }

    /// Starts one with these arguments, among which is where it listens.
    pub(crate) fn start_as(arguments: &[String], folder: &Path) -> Result<Self, ClusterError> {
        let failed = |reason: String| ClusterError::Start(reason);
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(program);
        command.args(["router", "--ready-json", "--admin", "127.0.0.1:0"]);
        command.args(arguments);
        if !arguments.iter().any(|argument| argument == GRACE) {
            command.args([GRACE, "200ms"]);
        }
        // What this process was told is not meant for its routers.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MILLRACE_"))
        {
            command.env_remove(name);
        }
        command.env("XDG_RUNTIME_DIR", folder).stdin(Stdio::null()).stdout(Stdio::piped());
        let since = Instant::now();
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let mut line = String::new();
        let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        let ready = match read {
            Some(Ok(1..)) => serde_json::from_str::<Ready>(&line).map_err(|error| error.to_string()),
            _ => Err("it ended before it was ready".to_owned()),
        };
        match ready {
            Ok(Ready { addr, admin: Some(admin), ca: Some(ca) }) => {
                Ok(Self { child, addr, admin, ca, since })
            }
            Ok(_) => Err(failed("it has no admin page or no certificates".into())),
            Err(reason) => {
                // It may be gone already.
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(reason))
            }
        }
    }

    /// Adds what it has used and counted so far.
    pub(super) fn add_usage(&self, usage: &mut Usage) {
        let times = kernel::process_times(self.child.id());
        usage.cpu_ns += times.ran_ns;
        usage.waited_ns += times.waited_ns;
        *usage.resident_bytes.get_or_insert(0) += kernel::resident_bytes_of(self.child.id());
    }

    /// Adds its counters by their names in `/metrics`, and drops by reason; its cores, as `router`
    /// of the cluster.
    pub(super) fn add_counters(
        &self,
        router: usize,
        counters: &mut BTreeMap<String, u64>,
        dropped: &mut BTreeMap<String, u64>,
    ) -> Vec<CoreUse> {
        let page = self.page("metrics").unwrap_or_default();
        let uptime_s = self.since.elapsed().as_secs_f64();
        let mut cores: BTreeMap<u16, CoreUse> = BTreeMap::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            let name = name.trim_start_matches("millrace_").trim_end_matches("_total");
            if let (Some(core), Ok(value)) = (label(labels, "core"), value.parse::<f64>())
                && let Ok(core) = core.parse::<u16>()
            {
                let core = cores.entry(core).or_insert_with(|| CoreUse::new(router, core, uptime_s));
                core.read(name, value);
            }
            let Ok(value) = value.parse::<u64>() else { continue };
            match label(labels, "reason").or_else(|| label(labels, "state")) {
                Some(reason) if name == "dropped_events" => {
                    if value > 0 {
                        *dropped.entry(reason.to_owned()).or_insert(0) += value;
                    }
                }
                Some(kind) => *counters.entry(format!("{name} {kind}")).or_insert(0) += value,
                None => *counters.entry(name.to_owned()).or_insert(0) += value,
            }
        }
        cores.into_values().collect()
    }

    /// How many other routers it is linked with.
    pub(crate) fn linked(&self) -> u64 {
        let mut counters = BTreeMap::new();
        self.add_counters(0, &mut counters, &mut BTreeMap::new());
        counters.get("mesh_peers linked").copied().unwrap_or(0)
    }

    /// Ends it at once (SIGKILL).
    pub(crate) fn kill(mut self) {
        // It may be gone already; whoever starts it again is told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it in order (SIGTERM), and waits for that.
    pub(crate) fn end(self) {
        drop(self);
    }

    /// How many clients it has.
    pub(super) fn clients(&self) -> std::io::Result<u64> {
        let page = self.page("status")?;
        let (_, body) = page.split_once("\r\n\r\n").unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(body)?;
        let cores = status["cores"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(cores.iter().filter_map(|core| core["clients"].as_u64()).sum())
    }

    /// Has it ask so many of its clients to go to the router `to`.
    pub(super) fn move_clients(&self, clients: u64, to: SocketAddr, within: Duration) -> std::io::Result<()> {
        let within_ms = within.as_millis();
        let page = ask(self.admin, "POST", &format!("move?clients={clients}&to={to}&within={within_ms}ms"))?;
        match page.split_ascii_whitespace().nth(1) {
            Some("200") => Ok(()),
            _ => Err(std::io::Error::other(format!("the router does not move clients: {page}"))),
        }
    }

    /// A page of its admin interface: its head, and what it says as it came.
    pub(crate) fn page(&self, path: &str) -> std::io::Result<String> {
        ask(self.admin, "GET", path)
    }
}

/// Asks an admin page: its head, and what it says as it came.
pub(super) fn ask(admin: SocketAddr, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PAGE_MAX)?;
    stream.set_read_timeout(Some(PAGE_MAX))?;
    let request = format!("{method} /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

impl Drop for RouterProcess {
    fn drop(&mut self) {
        kernel::ask_to_end(&self.child);
        let end = Instant::now() + END_MAX;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It does not hear; nothing of a run stays behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    Some(rest.split_once('"')?.0)
}
