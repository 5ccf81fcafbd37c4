//! The process's log: a thread of its own writes the lines, so that no other thread waits for
//! standard error or ends because of it.
//!
//! The reader of standard error may end, stop reading, or sit on a full disk. The log counts a line
//! that cannot be written as lost ([`lost`]), and tries the next one again.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tracing::level_filters::STATIC_MAX_LEVEL;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Most lines that wait for standard error: a burst of every thread, about 1 MiB.
const LINES_MAX: usize = 4096;
/// How long the end of the process waits for lines to be written.
const FLUSH_MAX: Duration = Duration::from_millis(250);
/// Between two looks at whether they are written.
const LOOK_EVERY: Duration = Duration::from_millis(2);

static LOST: AtomicU64 = AtomicU64::new(0);

/// Lines of this process that could not be written.
pub(crate) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// The process's log and its filter.
pub(crate) struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
    pipe: LinePipe,
}

static LOGS: OnceLock<Logs> = OnceLock::new();

impl Logs {
    /// Begins the log of this process once; later calls change its filter. A program that embeds
    /// the router and has a log of its own keeps that one.
    ///
    /// # Errors
    ///
    /// The filter cannot be read.
    pub(crate) fn begin(filter: &str, json: bool) -> Result<&'static Self, String> {
        let parsed = parse(filter)?;
        if let Some(logs) = LOGS.get() {
            logs.set_filter(filter)?;
            return Ok(logs);
        }
        let logs = LOGS.get_or_init(|| {
            let (filter, handle) = reload::Layer::new(parsed);
            let pipe = LinePipe::to(Box::new(io::stderr()));
            let writer = pipe.clone();
            let lines = tracing_subscriber::fmt::layer()
                .log_internal_errors(false)
                .with_ansi(io::stderr().is_terminal())
                .with_writer(move || writer.clone());
            let subscriber = tracing_subscriber::registry().with(filter);
            let _ = if json {
                subscriber.with(lines.json()).try_init()
            } else {
                subscriber.with(lines).try_init()
            };
            Self { filter: handle, pipe }
        });
        Ok(logs)
    }

    /// Changes the filter on all threads at once.
    ///
    /// # Errors
    ///
    /// The filter cannot be read; nothing is changed.
    pub(crate) fn set_filter(&self, filter: &str) -> Result<(), String> {
        let parsed = parse(filter)?;
        // An embedding program with its own log has no such layer.
        let _ = self.filter.reload(parsed);
        Ok(())
    }

    /// Says a line to who reads the log, without its form. Standard error itself is not for this
    /// while the log runs: its thread may hold it for as long as nobody reads.
    pub(crate) fn say(&self, line: &str) {
        // The pipe never fails: what it has no room for is counted as lost.
        let _ = self.pipe.clone().write_all(format!("{line}\n").as_bytes());
    }

    /// The log of this process, once it has begun.
    pub(crate) fn current() -> Option<&'static Self> {
        LOGS.get()
    }

    /// Waits until earlier lines are written, for a quarter of a second at most.
    pub(crate) fn flush(&self) {
        self.pipe.flush_within(FLUSH_MAX);
    }
}

/// Reads a filter such as `info` or `warn,millrace_router=debug`.
pub(crate) fn parse(filter: &str) -> Result<EnvFilter, String> {
    // `EnvFilter` takes a misspelt level for the name of a module, of which nothing is ever logged.
    let words = filter.split(',').map(str::trim).filter(|word| !word.is_empty());
    for word in words {
        let is_target = word.contains(['=', ':', '_', '[']);
        if !is_target && word.parse::<LevelFilter>().is_err() {
            return Err(format!(
                "`{word}` is not a level: write off, error, warn, info, debug or trace, or `module=level`"
            ));
        }
    }
    EnvFilter::builder()
        .parse(built(filter, STATIC_MAX_LEVEL))
        .map_err(|error| format!("`{filter}` is not a filter of the log: {error}"))
}

/// The filter with levels of at most `most`: release programs are built without lines of level
/// trace, and `EnvFilter` would print advice for programmers where one asks for them.
fn built(filter: &str, most: LevelFilter) -> String {
    let level_of = |word: &str| {
        let is_more = word.trim().parse::<LevelFilter>().is_ok_and(|level| level > most);
        if is_more { most.to_string() } else { word.to_owned() }
    };
    let words = filter.split(',').map(|word| match word.rsplit_once('=') {
        Some((target, level)) => format!("{target}={}", level_of(level)),
        None => level_of(word),
    });
    words.collect::<Vec<_>>().join(",")
}

/// Takes lines from any thread and never fails, blocks or panics.
#[derive(Clone)]
struct LinePipe {
    lines: SyncSender<Vec<u8>>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    taken: AtomicU64,
    done: AtomicU64,
}

impl LinePipe {
    /// A pipe to `sink`, which a thread of its own writes.
    fn to(mut sink: Box<dyn Write + Send>) -> Self {
        let (lines, waiting): (_, Receiver<Vec<u8>>) = sync_channel(LINES_MAX);
        let progress = Arc::new(Progress::default());
        let done = progress.clone();
        let write = move || {
            for line in waiting {
                if sink.write_all(&line).and_then(|()| sink.flush()).is_err() {
                    LOST.fetch_add(1, Ordering::Relaxed);
                }
                done.done.fetch_add(1, Ordering::Release);
            }
        };
        // Without the thread every line counts as lost, because its receiver is gone.
        let _ = thread::Builder::new().name("millrace-log".into()).spawn(write);
        Self { lines, progress }
    }

    fn flush_within(&self, patience: Duration) {
        let (wanted, end) = (self.progress.taken.load(Ordering::Acquire), Instant::now() + patience);
        while self.progress.done.load(Ordering::Acquire) < wanted && Instant::now() < end {
            thread::park_timeout(LOOK_EVERY);
        }
    }
}

impl Write for LinePipe {
    /// A formatted event comes in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.lines.try_send(line.to_vec()) {
            Ok(()) => self.progress.taken.fetch_add(1, Ordering::Release),
            Err(_) => LOST.fetch_add(1, Ordering::Relaxed),
        };
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_level_that_is_not_built_in_is_the_next_one() {
        let filter = "trace, warn,millrace_router=TRACE,a=5,b[span]=info,off";
        let least = "debug, warn,millrace_router=debug,a=debug,b[span]=info,off";
        assert_eq!(built(filter, LevelFilter::DEBUG), least);
        assert_eq!(built(filter, LevelFilter::TRACE), filter);
    }

    /// Takes what the test allows.
    struct Sink {
        fails: bool,
        held: Option<Arc<Mutex<()>>>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _held = self.held.as_ref().map(|held| held.lock().unwrap());
            if self.fails {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.text.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let text = Arc::new(Mutex::new(Vec::new()));
        let mut pipe = LinePipe::to(Box::new(Sink { fails: false, held: None, text: text.clone() }));
        pipe.write_all(b"one\n").unwrap();
        pipe.write_all(b"two\n").unwrap();
        pipe.flush_within(Duration::from_secs(20));
        assert_eq!(*text.lock().unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_never_block() {
        let (before, text) = (lost(), Arc::default());
        let mut gone = LinePipe::to(Box::new(Sink { fails: true, held: None, text: Arc::clone(&text) }));
        gone.write_all(b"nobody reads this\n").unwrap();
        gone.flush_within(Duration::from_secs(20));
        let lock = Arc::new(Mutex::new(()));
        let stalled = lock.lock().unwrap();
        let mut full = LinePipe::to(Box::new(Sink { fails: false, held: Some(lock.clone()), text }));
        for _ in 0..LINES_MAX + 5 {
            full.write_all(b"the reader has stopped\n").unwrap();
        }
        // One line may be on its way to the sink.
        assert!(lost() - before >= 5, "{}", lost() - before);
        drop(stalled);
    }

    #[test]
    fn misspelt_levels_are_refused() {
        assert!(parse("info").is_ok() && parse("warn,millrace_router=debug").is_ok() && parse("off").is_ok());
        assert!(parse("inof").unwrap_err().contains("`inof` is not a level"));
        assert!(parse("millrace_router=loud").is_err());
    }
}
