//! Runs a command for an event: the payload on its standard input, the tags in its environment.
//!
//! The tag `host.name` is the variable `MILLRACE_TAG_HOST_NAME`: upper case, with `_` for all but
//! letters and digits of ASCII. Of tags whose variables have one name the last one in the order of
//! keys counts. `MILLRACE_TAGS` has all tags, `MILLRACE_EVENT` the event's id, and
//! `MILLRACE_MAYBE_DUPLICATE` is 1 for an event that may have come before.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{ExitStatus, Stdio};

use millrace_client::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Where a command's standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Where this program's own goes.
    Shown,
    /// To who runs it: at most so many bytes.
    Kept(usize),
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Ran {
    /// It ended so, and wrote this to standard output, if that was kept.
    Ended(ExitStatus, Vec<u8>),
    /// It wrote more than it may, and was killed.
    TooMuch,
}

/// Runs a command line in the shell for an event. What it says on standard error is passed on.
/// Whoever drops the future kills it, and what it has started.
///
/// # Errors
/// The shell cannot be run, or its output cannot be read.
pub(crate) async fn run(line: &OsStr, event: &Event, output: Output) -> io::Result<Ran> {
    let (stdout, bytes_max) = match output {
        Output::Shown => (Stdio::inherit(), 0),
        Output::Kept(bytes_max) => (Stdio::piped(), bytes_max),
    };
    let mut command = if cfg!(windows) { Command::new("cmd") } else { Command::new("/bin/sh") };
    command.arg(if cfg!(windows) { "/C" } else { "-c" }).arg(line).envs(variables(event));
    command.stdin(Stdio::piped()).stdout(stdout).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn()?;
    let mut started = Started::by(&child);
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command need not read the payload.
            let _ = stdin.write_all(&event.payload).await;
        }
        // It is over when the command is.
        std::future::pending::<io::Result<Ran>>().await
    };
    let ended = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(bytes_max as u64 + 1).read_to_end(&mut output).await?;
        }
        if output.len() > bytes_max {
            return Ok(Ran::TooMuch);
        }
        let status = child.wait().await?;
        started.may_go_on();
        Ok(Ran::Ended(status, output))
    };
    tokio::select! {
        ended = ended => ended,
        never = feed => never,
    }
}

/// What a command wrote that did what it should.
///
/// # Errors
/// What it did instead.
pub(crate) fn output_of(ran: io::Result<Ran>) -> Result<Vec<u8>, String> {
    match ran {
        Ok(Ran::Ended(status, output)) if status.success() => Ok(output),
        Ok(Ran::Ended(status, _)) => Err(format!("the command failed ({status})")),
        Ok(Ran::TooMuch) => {
            Err("the command was killed, because it wrote more than a payload holds".to_owned())
        }
        Err(error) => Err(format!("the command cannot be run ({error})")),
    }
}

/// The processes of a command, which are killed when this is dropped.
#[derive(Debug)]
struct Started {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

impl Started {
    /// What a child has started that leads a group of its own.
    #[cfg(unix)]
    fn by(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self { leader: pid.and_then(rustix::process::Pid::from_raw) }
    }

    #[cfg(not(unix))]
    const fn by(_: &Child) -> Self {
        Self {}
    }

    /// The command has ended by itself: what it has left behind is its own business.
    #[cfg(unix)]
    const fn may_go_on(&mut self) {
        self.leader = None;
    }

    #[cfg(not(unix))]
    const fn may_go_on(&mut self) {}
}

#[cfg(unix)]
impl Drop for Started {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It has not been waited for, so that the number is still its own.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

/// The variables of an event.
fn variables(event: &Event) -> Vec<(OsString, OsString)> {
    let tags = event.tags.borrow();
    let named = tags.iter().map(|(key, value)| (variable(key).into(), value.into()));
    let all: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let id = format!("{}/{:016x}/{}", event.id.publisher.publisher, event.id.publisher.epoch.0, event.id.seq);
    let others = [("MILLRACE_TAGS".into(), all.join(",").into()), ("MILLRACE_EVENT".into(), id.into())];
    let again = event.maybe_duplicate.then(|| ("MILLRACE_MAYBE_DUPLICATE".into(), "1".into()));
    named.chain(others).chain(again).collect()
}

/// The name of a tag's variable.
fn variable(key: &str) -> String {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' }
    };
    format!("MILLRACE_TAG_{}", key.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_names_that_a_shell_can_say() {
        assert_eq!(variable("host"), "MILLRACE_TAG_HOST");
        assert_eq!(variable("k8s.io/app-name"), "MILLRACE_TAG_K8S_IO_APP_NAME");
    }
}
