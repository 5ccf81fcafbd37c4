//! One process of a run: how it starts, the signals that it gets, and that it ends with the run.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// A process that this one started. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

/// The calling process is killed when the run that started it is gone, also when it is stopped.
pub fn end_with_run() {
    // Where the kernel cannot do so, the run kills what it started when it ends.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

impl Process {
    /// Starts this program with other arguments; what it says on standard error is added to `log`.
    /// To be called by a thread that lives as long as the run, because the process ends with it.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn start(
        arguments: &[String],
        folder: &Path,
        log: &Path,
    ) -> io::Result<(Self, ChildStdin, ChildStdout)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        // What this process was told is not meant for the others.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MILLRACE_"))
        {
            command.env_remove(name);
        }
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        command.env("XDG_RUNTIME_DIR", folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let process = Self { child };
        match (input, output) {
            (Some(input), Some(output)) => Ok((process, input, output)),
            _ => Err(io::Error::other("a process has no pipes")),
        }
    }

    /// Stops it where it stands.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end.
    pub(crate) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        // A process that has ended by itself hears nothing; whoever looks finds it gone.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
