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
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What it wrote to standard output, if that was piped.
    pub(crate) output: Vec<u8>,
    /// How it ended.
    pub(crate) status: ExitStatus,
}

/// Runs a command line in the shell for an event, with this standard output. What it says on
/// standard error is passed on. Whoever drops the future kills it.
///
/// # Errors
/// The shell cannot be run, or its output cannot be read.
pub(crate) async fn run(line: &OsStr, event: &Event, stdout: Stdio) -> io::Result<Ran> {
    let mut command = if cfg!(windows) { Command::new("cmd") } else { Command::new("/bin/sh") };
    command.arg(if cfg!(windows) { "/C" } else { "-c" }).arg(line).envs(variables(event));
    command.stdin(Stdio::piped()).stdout(stdout).kill_on_drop(true);
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command need not read the payload.
            let _ = stdin.write_all(&event.payload).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output?;
    Ok(Ran { output: output.stdout, status: output.status })
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
