//! Routers as processes behind the proxy, and what faults do to them.
//!
//! ```text
//! starting ─ ready ─► up ─ SIGKILL ─────────► down ─ pause ─► starting
//!                      ├─ SIGSTOP ─► stopped ─ pause, SIGCONT ─► up
//!                      └─ SIGTERM ─► ending ─ gone ─► starting
//! ```

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::Sender;

use millrace_proto::RouterId;
use serde::Deserialize;

use crate::chaos::note::{Note, Ready};
use crate::chaos::proxy::Proxy;
use crate::chaos::schedule::{Fault, FaultKind};
use crate::chaos::settings::ChaosSettings;
use crate::child::Process;

/// Time that a router leaves its clients when it is asked to end.
const GRACE: &str = "1s";
/// The ids of both clusters.
const NEAR: u64 = 0xa;
const FAR: u64 = 0xb;
/// What a link keeps while the other cluster is away: seconds of the load.
const SPOOL: &str = "64MiB";
/// A router that has not ended so long after it was asked is killed.
const END_MAX_US: u64 = 5_000_000;

/// What a router prints when it is ready.
#[derive(Debug, Deserialize)]
struct ReadyLine {
    router: String,
    ca: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Up,
    Stopped { until_us: u64 },
    Down { until_us: u64 },
    Ending { until_us: u64 },
}

#[derive(Debug)]
struct Router {
    /// With the pipe that it would read.
    process: Option<(Process, ChildStdin)>,
    state: State,
    /// Which start of it this is.
    life: u16,
}

/// All routers of a run.
#[derive(Debug)]
pub(in crate::chaos) struct Routers {
    routers: Vec<Router>,
    /// The router of the far cluster, if there is one.
    far: Option<u16>,
    cores: u16,
    folder: PathBuf,
    notes: Sender<Note>,
}

impl Routers {
    /// Starts all of them.
    ///
    /// # Errors
    /// What the system said.
    pub(in crate::chaos) fn start(
        settings: &ChaosSettings,
        folder: &Path,
        proxy: &Proxy,
        notes: &Sender<Note>,
    ) -> std::io::Result<Self> {
        let router = || Router { process: None, state: State::Starting, life: 0 };
        let routers = (0..settings.processes()).map(|_| router()).collect();
        let (far, cores) = (settings.far(), settings.cores);
        let mut all = Self { routers, far, cores, folder: folder.to_owned(), notes: notes.clone() };
        if let Some(far) = far {
            std::fs::write(all.settings_file(0), links(NEAR, ("far", proxy.front(far))))?;
            std::fs::write(all.settings_file(far), links(FAR, ("near", proxy.front(0))))?;
        }
        for number in 0..settings.processes() {
            all.begin(number, proxy)?;
        }
        Ok(all)
    }

    /// Starts a process of a router, at a port that is free now.
    fn begin(&mut self, number: u16, proxy: &Proxy) -> std::io::Result<()> {
        let listen = free_port()?;
        proxy.aim(number, listen);
        let mut arguments: Vec<String> =
            ["chaos-router", "--ready-json", "--admin", "127.0.0.1:0", "--grace", GRACE]
                .map(str::to_owned)
                .to_vec();
        for (flag, value) in [
            ("--listen", listen.to_string()),
            ("--advertise", proxy.front(number).to_string()),
            ("--name", format!("router-{number}")),
            ("--cores", self.cores.to_string()),
            ("--set", "log.filter=info".to_owned()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        if self.far.is_some() {
            arguments.extend(["--config".to_owned(), self.settings_file(number).display().to_string()]);
        }
        let others = (0..)
            .zip(proxy.fronts())
            .filter(|&(other, _)| other != number && (self.far != Some(other)) && (self.far != Some(number)));
        arguments.extend(others.flat_map(|(_, front)| ["--seed".to_owned(), front.to_string()]));
        let log = self.folder.join(format!("router-{number}.log"));
        let (process, input, output) = Process::start(&arguments, &self.folder, &log)?;
        let router = &mut self.routers[usize::from(number)];
        router.process = Some((process, input));
        router.state = State::Starting;
        let (life, notes) = (router.life, self.notes.clone());
        std::thread::spawn(move || tell_ready(number, life, output, &notes));
        Ok(())
    }

    /// The settings of a router's cluster, where there are two.
    fn settings_file(&self, number: u16) -> PathBuf {
        self.folder.join(if self.far == Some(number) { "far.toml" } else { "near.toml" })
    }

    /// A process said that it is ready.
    pub(in crate::chaos) fn ready(&mut self, number: u16, life: u16) {
        let router = &mut self.routers[usize::from(number)];
        if router.life == life && router.state == State::Starting {
            router.state = State::Up;
        }
    }

    /// A process ended before it was ready: perhaps somebody else has taken its port. Another one
    /// is started.
    ///
    /// # Errors
    /// What the system said.
    pub(in crate::chaos) fn not_ready(
        &mut self,
        number: u16,
        life: u16,
        proxy: &Proxy,
    ) -> std::io::Result<()> {
        let router = &self.routers[usize::from(number)];
        if router.life == life && router.state == State::Starting {
            self.begin_again(number, proxy)
        } else {
            Ok(())
        }
    }

    /// Whether all are up.
    pub(in crate::chaos) fn all_are_up(&self) -> bool {
        self.routers.iter().all(|router| router.state == State::Up)
    }

    /// Does a fault to a router. False when it is not up yet: to be tried again.
    pub(in crate::chaos) fn disturb(&mut self, fault: &Fault, now_us: u64) -> bool {
        let router = &mut self.routers[usize::from(fault.target)];
        let (State::Up, Some((process, _))) = (router.state, &router.process) else { return false };
        match fault.kind {
            FaultKind::Stop => {
                process.stop();
                router.state = State::Stopped { until_us: now_us + fault.pause_us };
            }
            FaultKind::Restart => {
                process.ask_to_end();
                router.state = State::Ending { until_us: now_us + END_MAX_US };
            }
            FaultKind::Kill | FaultKind::PublisherKill | FaultKind::HolderKill => {
                router.process = None;
                router.state = State::Down { until_us: now_us + fault.pause_us };
            }
        }
        true
    }

    /// Does what is due: routers go on, and start again. Calls `gone` for each that has ended as it
    /// was asked to.
    ///
    /// # Errors
    /// What the system said.
    pub(in crate::chaos) fn turn(
        &mut self,
        now_us: u64,
        proxy: &Proxy,
        mut gone: impl FnMut(u16),
    ) -> std::io::Result<()> {
        for number in (0..).take(self.routers.len()) {
            let router = &mut self.routers[usize::from(number)];
            match router.state {
                State::Stopped { until_us } if now_us >= until_us => {
                    if let Some((process, _)) = &router.process {
                        process.resume();
                    }
                    router.state = State::Up;
                }
                State::Down { until_us } if now_us >= until_us => self.begin_again(number, proxy)?,
                State::Ending { until_us } => {
                    let has_ended = router.process.as_mut().is_none_or(|(process, _)| process.has_ended());
                    if has_ended || now_us >= until_us {
                        router.process = None;
                        gone(number);
                        self.begin_again(number, proxy)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn begin_again(&mut self, number: u16, proxy: &Proxy) -> std::io::Result<()> {
        self.routers[usize::from(number)].life += 1;
        self.begin(number, proxy)
    }
}

/// The settings of a cluster's routers: its id, and a link to the other cluster.
fn links(cluster: u64, (name, to): (&str, SocketAddr)) -> String {
    format!(
        "cluster = \"{cluster:016x}\"\n[[forward]]\nname = \"{name}\"\nto = \"{to}\"\nselect = [\"chaos\"]\n\
         min_level = \"routed\"\nspool_bytes = \"{SPOOL}\"\n[[accept]]\nidentity = \"*\"\n"
    )
}

/// A port of loopback that nobody uses now.
fn free_port() -> std::io::Result<SocketAddr> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Waits for a router's ready line, then reads what else it says to nobody.
fn tell_ready(router: u16, life: u16, output: ChildStdout, notes: &Sender<Note>) {
    let mut lines = BufReader::new(output).lines();
    let ready = lines.next().and_then(Result::ok).and_then(|line| read_ready(&line));
    // The run has gone away when nobody listens.
    let _ = notes.send(match ready {
        Some(ready) => Note::Ready { router, life, ready },
        None => Note::NotReady { router, life },
    });
    lines.map_while(Result::ok).for_each(drop);
}

fn read_ready(line: &str) -> Option<Ready> {
    let ReadyLine { router, ca } = serde_json::from_str(line).ok()?;
    Some(Ready { id: RouterId(u64::from_str_radix(&router, 16).ok()?), ca })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_tells_who_is_ready() {
        let ready =
            read_ready(r#"{"schema":"x","router":"00000000000000ff","ca":"/tmp/ca.pem","cores":1}"#).unwrap();
        assert_eq!((ready.id, ready.ca), (RouterId(255), PathBuf::from("/tmp/ca.pem")));
        assert!(read_ready("{}").is_none());
    }
}
