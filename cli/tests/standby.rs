//! `millrace pub --standby` with the real programs: a holder that is killed, and one that is
//! stopped and goes on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use serde_json::Value;

/// Longer than anything here takes, on a busy machine, too.
const LONG: Duration = Duration::from_secs(60);

/// A router, and who may reach it.
struct World {
    router: RouterHandle,
    ca: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::open(folder.path()).unwrap();
        let router = Router::start(RouterConfig::new(authority.router("one", &[]).unwrap())).unwrap();
        let ca = authority.ca_path().unwrap().to_owned();
        Self { router, ca, _folder: folder }
    }

    fn millrace(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.env("MILLRACE_CONTEXT", "none");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("MILLRACE_ROUTER", self.router.addr().to_string()).env("MILLRACE_CA", &self.ca);
        command
    }

    fn start(&self, args: &[&str]) -> Running {
        let mut child = self.millrace(args).spawn().unwrap();
        let input = child.stdin.take();
        let errors = lines_of(child.stderr.take().unwrap());
        let output = lines_of(child.stdout.take().unwrap());
        Running { child, input, output, errors }
    }

    fn member(&self, more: &[&str]) -> Running {
        let args = ["pub", "--lines", "--tag", "kind=tick", "--standby", "feed"];
        self.start(&[&args[..], more].concat())
    }
}

/// Lines as they come; the channel ends with them.
fn lines_of(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
}

impl Running {
    /// Waits until it says this on its standard error.
    fn says(&self, words: &str) {
        let end = Instant::now() + LONG;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.errors.recv_timeout(left).unwrap_or_else(|_| panic!("it never says {words:?}"));
            if line.contains(words) {
                return;
            }
        }
    }

    fn reads(&mut self, lines: impl IntoIterator<Item = String>) {
        let input = self.input.as_mut().unwrap();
        lines.into_iter().for_each(|line| writeln!(input, "{line}").unwrap());
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// The payloads of the next events.
    fn payloads(&self, count: usize) -> Vec<String> {
        let mut got = Vec::new();
        while got.len() < count {
            let line = self.output.recv_timeout(LONG).unwrap_or_else(|_| panic!("{} of {count}", got.len()));
            let said: Value = serde_json::from_str(&line).unwrap();
            got.push(said["payload"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned());
        }
        got
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn numbered(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| format!("{number} tick")).collect()
}

#[test]
fn a_killed_or_stopped_holder_is_replaced_and_every_number_comes_once() {
    let world = World::new();
    let receiver = world.start(&["sub", "--json", "kind=tick"]);
    receiver.says("cluster");
    let mut one = world.member(&["--source-seq", "start"]);
    one.says("feed: active, generation 1");
    let mut two = world.member(&["--rank", "2", "--source-seq", "start"]);
    two.says("feed: on standby, another member is active, generation 1");
    one.reads(numbered(1..101));
    two.reads(numbered(1..121));
    assert_eq!(receiver.payloads(100), numbered(1..101));
    one.child.kill().unwrap();
    two.says("feed: active, generation 2");
    assert_eq!(receiver.payloads(20), numbered(101..121));

    let mut three = world.member(&["--rank", "3", "--source-seq", "start"]);
    three.says("on standby");
    two.signal("-STOP");
    three.reads(numbered(1..131));
    three.says("feed: active, generation 3");
    assert_eq!(receiver.payloads(10), numbered(121..131));
    two.reads(numbered(121..125));
    two.signal("-CONT");
    two.says("feed: fenced, another member took over in generation 3");
    three.reads(numbered(131..141));
    assert_eq!(receiver.payloads(10), numbered(131..141), "and nothing of the old holder between");
}

#[test]
fn without_numbers_what_is_read_on_standby_is_not_published_and_the_summary_says_so() {
    let world = World::new();
    let receiver = world.start(&["sub", "--json", "kind=tick"]);
    receiver.says("cluster");
    let mut one = world.member(&[]);
    one.says("active");
    let mut two = world.member(&["--json"]);
    two.says("on standby");
    two.reads(["unheard".to_owned()]);
    drop(two.input.take());
    let summary: Value = serde_json::from_str(&two.output.recv_timeout(LONG).unwrap()).unwrap();
    assert_eq!((&summary["on_standby"], &summary["published"]), (&1.into(), &0.into()));
    assert!(two.child.wait().unwrap().success());
    one.reads(["heard".to_owned()]);
    assert_eq!(receiver.payloads(1), ["heard"]);
    drop(one.input.take());
    assert!(one.child.wait().unwrap().success());
    // Nobody else is there: a line that comes before this member is active waits for that.
    let mut alone = world.member(&["--source-seq", "line", "--rank", "3"]);
    alone.reads(["first".to_owned(), "second".to_owned()]);
    drop(alone.input.take());
    assert!(alone.child.wait().unwrap().success());
    let line = receiver.output.recv_timeout(LONG).unwrap();
    let gap_or_event: Value = serde_json::from_str(&line).unwrap();
    assert!(gap_or_event["payload"] == "first", "{line}");
    assert_eq!(receiver.payloads(1), ["second"]);
}

#[test]
fn a_spool_that_comes_back_to_another_holder_is_fenced_and_says_so() {
    let world = World::new();
    let receiver = world.start(&["sub", "--json", "kind=tick"]);
    receiver.says("cluster");
    // It acknowledges nothing, so that what is published stays pending.
    receiver.signal("-STOP");
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    // The file system may be fuller than spools like it.
    let spooled = ["--confirm", "delivered", "--spool-free", "0", "--spool", spool.to_str().unwrap()];
    let mut old = world.member(&[&spooled[..], &["--timeout", "1s"]].concat());
    old.says("feed: active, generation 1");
    old.reads(numbered(1..4));
    drop(old.input.take());
    old.says("3 pending in the spool");
    let new = world.member(&[]);
    new.says("feed: active, generation 2");
    let late = world.member(&[&spooled[..], &["--rank", "2"]].concat());
    late.says("3 events are fenced: another member of the set took over");
}

#[test]
fn what_cannot_be_is_said_at_once() {
    let world = World::new();
    for (args, words) in [
        (&["pub", "--rank", "2", "x"][..], "--standby"),
        (&["pub", "--standby", "feed", "--rank", "17", "x"], "17"),
        (&["pub", "--standby", "feed", "--source-seq", "line", "x"], "cannot be used with"),
        (&["pub", "--standby", "feed", "--connections", "per-core", "x"], "one connection"),
    ] {
        let output = world.millrace(args).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{args:?}: {said}");
    }
}
