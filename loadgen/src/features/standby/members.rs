//! The members' processes, and how they stand.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::said::Said;
use crate::child::Process;

/// What a process said, and which one.
#[derive(Debug)]
struct Word {
    member: usize,
    life: u32,
    said: Result<Said, String>,
}

/// One member.
#[derive(Debug)]
struct Member {
    /// With what it reads.
    running: Option<(Process, ChildStdin)>,
    /// Which start of it this is.
    life: u32,
    /// How its present process stands: the last that it said of it.
    stands: Option<Said>,
    /// Since when it waits.
    waits_since: Option<Instant>,
    ended: Option<u64>,
}

/// Who takes part.
#[derive(Debug, Clone)]
pub(crate) struct MembersPlan {
    /// The routers of each member.
    pub(crate) routers: Vec<Vec<SocketAddr>>,
    /// Numbers per second.
    pub(crate) rate: u64,
    /// The authority of routers' certificates, PEM.
    pub(crate) ca: PathBuf,
    /// Where logs are kept.
    pub(crate) folder: PathBuf,
}

/// All members.
#[derive(Debug)]
pub(crate) struct Members {
    plan: MembersPlan,
    epoch_us: u64,
    members: Vec<Member>,
    words: Receiver<Word>,
    sender: Sender<Word>,
    /// The first number of the first process of each.
    begins: Vec<Option<u64>>,
    /// What is no line of a member, and processes that ended by themselves.
    pub(crate) complaints: Vec<String>,
}

impl Members {
    /// Nobody yet. Number 0 is due at `epoch_us`, microseconds since 1970.
    pub(crate) fn new(plan: MembersPlan, epoch_us: u64) -> Self {
        let (sender, words) = channel();
        let member = |_: &Vec<SocketAddr>| Member {
            running: None,
            life: 0,
            stands: None,
            waits_since: None,
            ended: None,
        };
        Self {
            epoch_us,
            members: plan.routers.iter().map(member).collect(),
            words,
            sender,
            begins: vec![None; plan.routers.len()],
            plan,
            complaints: Vec::new(),
        }
    }

    /// Starts a member, again if it has been killed.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn start(&mut self, at: usize) -> std::io::Result<()> {
        let mut arguments = vec!["standby-member".to_owned()];
        for (flag, value) in [
            ("--ca", self.plan.ca.display().to_string()),
            ("--rank", (at + 1).to_string()),
            ("--rate", self.plan.rate.to_string()),
            ("--epoch-us", self.epoch_us.to_string()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        let routers = self.plan.routers[at].iter();
        arguments.extend(routers.flat_map(|router| ["--router".to_owned(), router.to_string()]));
        let folder = &self.plan.folder;
        let (process, input, output) =
            Process::start(&arguments, folder, &folder.join(format!("member-{at}.log")))?;
        let member = &mut self.members[at];
        (member.life, member.stands, member.waits_since) = (member.life + 1, None, None);
        member.running = Some((process, input));
        let (life, words) = (member.life, self.sender.clone());
        std::thread::spawn(move || tell(at, life, output, &words));
        Ok(())
    }

    /// Kills a member.
    pub(crate) fn kill(&mut self, at: usize) {
        self.members[at].running = None;
        self.members[at].stands = None;
    }

    /// Takes what members have said.
    pub(crate) fn listen(&mut self) {
        while let Ok(Word { member: at, life, said }) = self.words.try_recv() {
            let member = &mut self.members[at];
            match said {
                Err(complaint) => self.complaints.push(complaint),
                Ok(Said::Begins(number)) => {
                    self.begins[at].get_or_insert(number);
                }
                // What a killed process had said before.
                Ok(_) if life != member.life || member.running.is_none() => {}
                Ok(Said::Ended(number)) => member.ended = Some(number),
                Ok(stands) => {
                    member.stands = Some(stands);
                    let waits = !matches!(stands, Said::Active(_));
                    member.waits_since = waits.then(|| member.waits_since.unwrap_or_else(Instant::now));
                }
            }
        }
    }

    /// Who holds the set, and in which generation: the newest, where two say so.
    pub(crate) fn holder(&self) -> Option<(usize, u64)> {
        let active = |(at, member): (usize, &Member)| match member.stands {
            Some(Said::Active(generation)) => Some((at, generation)),
            _ => None,
        };
        self.members.iter().enumerate().filter_map(active).max_by_key(|&(_, generation)| generation)
    }

    /// Whether a member has waited for so long.
    pub(crate) fn one_has_waited(&self, time: Duration) -> bool {
        self.members.iter().filter_map(|member| member.waits_since).any(|since| since.elapsed() >= time)
    }

    /// Whether one holds the set, and all others wait.
    pub(crate) fn all_stand(&self) -> bool {
        self.holder().is_some() && self.members.iter().all(|member| member.stands.is_some())
    }

    /// The first number that a member had when it began first.
    pub(crate) fn first_number(&self, at: usize) -> Option<u64> {
        self.begins[at]
    }

    /// Tells all to end behind a number.
    pub(crate) fn stop(&mut self, number: u64) {
        for (_, input) in self.members.iter_mut().filter_map(|member| member.running.as_mut()) {
            // One that has ended by itself is noticed by `have_ended`.
            let _ = writeln!(input, "stop {number}").and_then(|()| input.flush());
        }
    }

    /// Whether all have ended behind the number that they were told.
    pub(crate) fn have_ended(&self) -> bool {
        self.members.iter().all(|member| member.ended.is_some())
    }
}

/// Tells what a process says until it ends.
fn tell(member: usize, life: u32, output: ChildStdout, words: &Sender<Word>) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    // What stands behind the last end of a line was cut when it was killed.
    while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
        let said = line.trim_end().parse().map_err(|error: super::said::SaidError| error.to_string());
        if words.send(Word { member, life, said }).is_err() {
            return;
        }
        line.clear();
    }
}
