//! The program of a process with the level 1 of many groups, which is killed: it says what it takes
//! before it acknowledges it.
//!
//! ```text
//! ready            all have joined
//! GROUP NUMBER M   took an event; M is 1 when it was marked as a possible duplicate
//! ```

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, Sender, channel};

use millrace_client::{Client, Config, Trust};
use tokio::task::LocalSet;

use super::member::{Place, events, receiver};
use super::settings::Number;
use crate::child::{Process, end_with_run};

/// What the process is told.
#[derive(Debug, Clone)]
pub struct CrowdPart {
    /// Its router.
    pub router: SocketAddr,
    /// The authority of its router's certificate, PEM.
    pub ca: PathBuf,
    /// The first of its groups.
    pub first: u32,
    /// How many follow each other.
    pub groups: u32,
}

/// Joins, takes and acknowledges until it is killed.
///
/// # Errors
/// What keeps a member from joining, or from telling.
pub fn play_crowd(part: &CrowdPart) -> anyhow::Result<()> {
    end_with_run();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, join_all(part))
}

async fn join_all(part: &CrowdPart) -> anyhow::Result<()> {
    let config = Config::new([part.router.to_string().parse()?]).trust(Trust::File(part.ca.clone()));
    let client = Client::new(config)?;
    let mut tasks = Vec::new();
    for group in part.first..part.first + part.groups {
        let mut member = receiver(&client, Place { group, level: 1 }).await?;
        tasks.push(tokio::task::spawn_local(async move {
            while let Some(batch) = member.next_batch().await {
                let lines: String = events(&batch)
                    .map(|(number, marked)| format!("{group} {number} {}\n", u8::from(marked)))
                    .collect();
                say(&lines)?;
                member.acknowledge();
            }
            anyhow::Ok(())
        }));
    }
    say("ready\n")?;
    for task in tasks {
        task.await??;
    }
    Ok(())
}

fn say(lines: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    out.flush()
}

/// What a crowd said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Ready,
    Took { group: Number, number: u64, marked: bool },
}

/// A crowd's process. It is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Crowd {
    process: Option<(Process, ChildStdin)>,
    said: Receiver<Said>,
    pub(super) is_ready: bool,
}

impl Crowd {
    /// Starts one.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn start(part: &CrowdPart, folder: &Path) -> io::Result<Self> {
        let mut arguments = vec!["group-crowd".to_owned()];
        for (flag, value) in [
            ("--router", part.router.to_string()),
            ("--ca", part.ca.display().to_string()),
            ("--first", part.first.to_string()),
            ("--groups", part.groups.to_string()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        let (process, input, output) = Process::start(&arguments, folder, &folder.join("crowd.log"))?;
        let (sender, said) = channel();
        std::thread::spawn(move || tell(output, &sender));
        Ok(Self { process: Some((process, input)), said, is_ready: false })
    }

    /// Kills it. What it had said before is still to be heard.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// What it has said since the last time.
    pub(super) fn listen(&mut self, mut took: impl FnMut(Number, u64, bool)) {
        while let Ok(said) = self.said.try_recv() {
            match said {
                Said::Ready => self.is_ready = true,
                Said::Took { group, number, marked } => took(group, number, marked),
            }
        }
    }
}

/// Tells what a process says until it ends; what stands behind the last end of a line was cut.
fn tell(output: ChildStdout, said: &Sender<Said>) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
        if let Some(word) = read(line.trim_end())
            && said.send(word).is_err()
        {
            return;
        }
        line.clear();
    }
}

fn read(line: &str) -> Option<Said> {
    if line == "ready" {
        return Some(Said::Ready);
    }
    let mut words = line.split(' ');
    let (group, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let marked = words.next()? == "1";
    words.next().is_none().then_some(Said::Took { group, number, marked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_crowd_read_as_they_are_written() {
        assert_eq!(read("ready"), Some(Said::Ready));
        assert_eq!(read("3 17 1"), Some(Said::Took { group: 3, number: 17, marked: true }));
        assert_eq!(read("3 17 0"), Some(Said::Took { group: 3, number: 17, marked: false }));
        for line in ["", "3", "3 17", "3 17 0 0", "x 1 0"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
