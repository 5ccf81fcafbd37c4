//! Publishers as processes on spools, which are killed and start again.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use crate::chaos::note::Note;
use crate::chaos::settings::ChaosSettings;
use crate::child::Process;

/// One publisher's present process.
#[derive(Debug)]
struct Running {
    process: Process,
    /// Publishing stops when it is closed.
    input: Option<ChildStdin>,
    reader: JoinHandle<()>,
}

/// All publishers of a run.
#[derive(Debug)]
pub(in crate::chaos) struct Publishers {
    running: Vec<Option<Running>>,
    lives: Vec<u16>,
    settings: ChaosSettings,
    routers: Vec<SocketAddr>,
    ca: PathBuf,
    folder: PathBuf,
    epoch_us: u64,
    notes: Sender<Note>,
}

impl Publishers {
    /// Starts all of them. Their spools are in `folder`.
    ///
    /// # Errors
    /// What the system said.
    pub(in crate::chaos) fn start(
        settings: &ChaosSettings,
        routers: Vec<SocketAddr>,
        ca: &Path,
        folder: &Path,
        epoch_us: u64,
        notes: &Sender<Note>,
    ) -> std::io::Result<Self> {
        let mut all = Self {
            running: Vec::new(),
            lives: Vec::new(),
            settings: settings.clone(),
            routers,
            ca: ca.to_owned(),
            folder: folder.to_owned(),
            epoch_us,
            notes: notes.clone(),
        };
        for number in 0..settings.publishers {
            let running = all.begin(number, 0)?;
            all.running.push(Some(running));
            all.lives.push(0);
        }
        Ok(all)
    }

    fn begin(&self, number: u16, life: u16) -> std::io::Result<Running> {
        let Self { settings, .. } = self;
        let spool = self.folder.join(format!("spool-{number}"));
        let rate = settings.rate as f64 / f64::from(settings.publishers.max(1));
        let mut arguments = vec!["chaos-publisher".to_owned()];
        for (flag, value) in [
            ("--number", number.to_string()),
            ("--life", life.to_string()),
            ("--ca", self.ca.display().to_string()),
            ("--spool", spool.display().to_string()),
            ("--rate", rate.to_string()),
            ("--payload-bytes", settings.payload_bytes.to_string()),
            ("--confirm", settings.confirm.name().to_owned()),
            ("--parts", settings.parts().to_string()),
            ("--epoch-us", self.epoch_us.to_string()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        arguments.extend(self.routers.iter().flat_map(|front| ["--router".to_owned(), front.to_string()]));
        let log = self.folder.join(format!("publisher-{number}.log"));
        let (process, input, output) = Process::start(&arguments, &self.folder, &log)?;
        let notes = self.notes.clone();
        let reader = std::thread::spawn(move || tell(number, life, output, &notes));
        Ok(Running { process, input: Some(input), reader })
    }

    /// Kills a publisher and starts it again, behind the last that it said.
    ///
    /// # Errors
    /// What the system said.
    pub(in crate::chaos) fn kill(&mut self, number: u16) -> std::io::Result<()> {
        let at = usize::from(number);
        self.end(at);
        self.lives[at] += 1;
        self.running[at] = Some(self.begin(number, self.lives[at])?);
        Ok(())
    }

    /// Starts those again that have ended by themselves, and names them.
    ///
    /// # Errors
    /// What the system said.
    pub(in crate::chaos) fn restart_ended(&mut self) -> std::io::Result<Vec<u16>> {
        let mut ended = Vec::new();
        for number in (0..).take(self.running.len()) {
            let running = &mut self.running[usize::from(number)];
            if running.as_mut().is_some_and(|running| running.process.has_ended()) {
                ended.push(number);
                self.kill(number)?;
            }
        }
        Ok(ended)
    }

    /// Lets all finish what is pending, and end.
    pub(in crate::chaos) fn finish(&mut self) {
        self.running.iter_mut().flatten().for_each(|running| running.input = None);
    }

    /// Whether all have ended.
    pub(in crate::chaos) fn have_ended(&mut self) -> bool {
        self.running.iter_mut().flatten().all(|running| running.process.has_ended())
    }

    /// Kills those that run, behind the last that they said.
    pub(in crate::chaos) fn end_all(&mut self) {
        (0..self.running.len()).for_each(|at| self.end(at));
    }

    fn end(&mut self, at: usize) {
        if let Some(Running { process, input, reader }) = self.running[at].take() {
            drop((process, input));
            // A reader that panicked has told less.
            let _ = reader.join();
        }
    }
}

/// Tells what a publisher's process says, line by line. What stands behind the last end of a line
/// was cut when it was killed.
fn tell(publisher: u16, life: u16, output: ChildStdout, notes: &Sender<Note>) {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
        let note = match line.trim_end().parse() {
            Ok(said) => Note::Said { publisher, life, said },
            Err(error) => Note::Complaint(format!("publisher {publisher}: {error}")),
        };
        if notes.send(note).is_err() {
            return;
        }
        line.clear();
    }
}
