//! Logs that grow while they are read, through `millrace pub --lines` into a mesh of three routers,
//! and `millrace sub` on each of them: exactly the lines that were asked for, each once, in the
//! order of their log.
//!
//! Order holds within a tag set, so that is how lines are compared. A receiver has got all that it
//! ever will when the end marks have come that are published through every router once all logs are
//! over.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use serde_json::Value;

/// Longer than anything here takes, on a busy machine, too.
const LONG: Duration = Duration::from_secs(30);

/// Lines by the tag set that they were published with.
type Logs = BTreeMap<String, Vec<String>>;

/// Three routers of one core that know each other.
struct Mesh {
    routers: Vec<RouterHandle>,
    folder: tempfile::TempDir,
    ca: PathBuf,
}

impl Mesh {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::open(folder.path()).unwrap();
        let mut routers: Vec<RouterHandle> = Vec::new();
        for name in ["a", "b", "c"] {
            let mut config = RouterConfig::new(authority.router(name, &[]).unwrap());
            config.mesh.seeds = routers.first().map(|first| first.addr().to_string()).into_iter().collect();
            routers.push(Router::start(config).unwrap());
        }
        for router in &routers {
            let linked = router.wait_until(LONG, |seen| {
                seen.status.peers.iter().filter(|peer| peer.state.name() == "linked").count() == 2
            });
            linked.unwrap();
        }
        let ca = authority.ca_path().unwrap().to_owned();
        Self { routers, folder, ca }
    }

    /// `millrace`, connected to a router by its index.
    fn millrace(&self, router: usize, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.env("MILLRACE_CONTEXT", "none");
        command.args(args).arg("--json").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("MILLRACE_ROUTER", self.routers[router].addr().to_string()).env("MILLRACE_CA", &self.ca);
        command
    }

    /// A receiver that is effective in the whole cluster. It gets the end marks, too.
    fn subscribe(&self, router: usize, selectors: &[&str]) -> Receiving {
        let mut args = vec!["sub", "end"];
        args.extend(selectors);
        let mut child = self.millrace(router, &args).spawn().unwrap();
        let errors = lines_of(child.stderr.take().unwrap());
        let output = lines_of(child.stdout.take().unwrap());
        let receiving = Receiving { child, output, errors, logs: Logs::new(), ends: 0 };
        receiving.wait_for_the_cluster();
        receiving
    }

    /// A publisher of a log: what is written into it becomes lines.
    fn publish(&self, router: usize, tags: &[&str]) -> Publishing {
        let args: Vec<_> =
            ["pub", "--lines"].into_iter().chain(tags.iter().flat_map(|tag| ["--tag", tag])).collect();
        let mut child = self.millrace(router, &args).stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        Publishing { child, input }
    }

    /// Marks the end of everything that was published before, through each router.
    fn mark_the_end(&self) {
        for router in 0..self.routers.len() {
            let tag = format!("end={router}");
            let published = self.millrace(router, &["pub", "--tag", &tag, ""]).output().unwrap();
            assert!(published.status.success(), "{published:?}");
        }
    }
}

/// Lines as they come; the channel ends with them.
fn lines_of(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(from).lines().try_for_each(|line| sender.send(line.unwrap())));
    lines
}

struct Receiving {
    child: Child,
    output: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
    logs: Logs,
    ends: usize,
}

impl Receiving {
    fn wait_for_the_cluster(&self) {
        loop {
            let line = self.errors.recv_timeout(LONG).expect("an acknowledgement");
            let acknowledgement: Value = serde_json::from_str(&line).expect(&line);
            if acknowledgement["stage"] == "cluster" {
                assert_eq!(acknowledgement["left_out"], serde_json::json!([]));
                return;
            }
        }
    }

    /// Takes events until one has this payload.
    fn wait_for(&mut self, payload: &str) {
        while self.take() != payload {}
    }

    /// Takes an event, and returns its payload.
    fn take(&mut self) -> String {
        let line = self.output.recv_timeout(LONG).expect("an event");
        let object: Value = serde_json::from_str(&line).expect(&line);
        assert_eq!(object["type"], "event", "{line}");
        let payload = object["payload"].as_str().unwrap().to_owned();
        let tags = object["tags"].as_object().unwrap();
        if tags.contains_key("end") {
            self.ends += 1;
        } else {
            let set: Vec<_> =
                tags.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap())).collect();
            self.logs.entry(set.join(",")).or_default().push(payload.clone());
        }
        payload
    }

    /// All lines that came before the end marks; the command is interrupted after that, and ends in
    /// order.
    fn all(mut self) -> Logs {
        while self.ends < 3 {
            self.take();
        }
        let interrupted = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(interrupted.success());
        assert!(self.child.wait().unwrap().success());
        assert_eq!(self.output.iter().next(), None, "something came after the end");
        assert_eq!(self.errors.iter().next(), None, "something was said on standard error");
        std::mem::take(&mut self.logs)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Publishing {
    child: Child,
    input: Option<ChildStdin>,
}

impl Publishing {
    fn write(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Ends the input; everything must have been received by the router.
    fn end(mut self, lines: usize) {
        drop(self.input.take());
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let counts = ["published", "received", "unknown", "skipped", "connections"]
            .map(|key| summary[key].as_u64().unwrap());
        assert_eq!(counts, [lines as u64, lines as u64, 0, 0, 1]);
    }
}

/// What `tail -n +1 -f` does: everything that is in the file, and what is added, until nobody can
/// add any more.
fn follow(path: &Path, changes: &mpsc::Receiver<()>, mut into: impl Write) {
    let mut file = File::open(path).unwrap();
    while changes.recv().is_ok() {
        std::io::copy(&mut file, &mut into).unwrap();
        into.flush().unwrap();
    }
    std::io::copy(&mut file, &mut into).unwrap();
}

/// Steps in which the logs of the test grow; the lines of a step.
const STEPS: usize = 20;
const STEP_LINES: usize = 50;

fn build_log(step: usize, host: &str) -> String {
    let line = |number: usize| match number % 10 {
        0 => format!("   Compiling widget-{number} v1.{step}.0 (/src/{host})\n"),
        3 => format!(
            "\u{1b}[31merror[E{:04}]\u{1b}[0m: mismatched types – größer als erwartet\n",
            300 + number % 7
        ),
        5 => format!("warning: unused variable: `error{number}`\n"),
        7 => "\n".to_owned(),
        8 => format!("error: could not compile `widget-{number}` [E]\n"),
        _ => format!("note: step {step},\tline {number}\n"),
    };
    (0..STEP_LINES).map(|index| line(step * STEP_LINES + index)).collect()
}

fn web_log(step: usize, host: &str) -> String {
    let line = |number: usize| {
        let status = [200, 304, 200, 503, 404, 200, 500][number % 7];
        format!("{host} GET /cart/{number} status={status} time={}ms\n", number * 13 % 997)
    };
    (0..STEP_LINES).map(|index| line(step * STEP_LINES + index)).collect()
}

/// The lines of logs that a receiver should get; a log of which it gets nothing is left out.
fn expected(logs: &[(&str, &String)], wanted: impl Fn(&str, &str) -> bool) -> Logs {
    let lines = |(tags, log): &(&str, &String)| {
        let lines: Vec<_> = log.lines().filter(|line| wanted(tags, line)).map(str::to_owned).collect();
        (!lines.is_empty()).then(|| ((*tags).to_owned(), lines))
    };
    logs.iter().filter_map(lines).collect()
}

/// The pattern of compiler errors, checked by hand.
fn is_compiler_error(line: &str) -> bool {
    let code = line.split_once("error[E").and_then(|(_, rest)| rest.split_once(']'));
    code.is_some_and(|(code, _)| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit()))
}

#[test]
fn growing_logs_reach_receivers_on_other_routers_by_tag_and_by_pattern() {
    const BUILD_1: &str = "file=build.log,fqdn=build-1";
    const BUILD_2: &str = "file=build.log,fqdn=build-2";
    const WEB_1: &str = "fqdn=web-1,service=shop";
    const WEB_2: &str = "fqdn=web-2,service=shop";
    let mesh = Mesh::new();
    let mut one_host = mesh.subscribe(1, &["fqdn=build-1"]);
    let errors = mesh.subscribe(2, &[r"payload ~ /error\[E[0-9]+\]/"]);
    let mut failures = mesh.subscribe(2, &[r"service=shop,fqdn=web-*,payload ~ /status=5\d\d/"]);
    let either =
        mesh.subscribe(1, &["fqdn in (build-2,web-2)", "payload ~ /^warning:/", "fqdn=web-2,service"]);
    let nothing = mesh.subscribe(0, &["fqdn=build-3", "service,!fqdn", r"fqdn=web-1,payload ~ /error\[E/"]);

    let path = mesh.folder.path().join("build.log");
    let mut file = File::create(&path).unwrap();
    let (grew, changes) = mpsc::channel();
    let mut followed = mesh.publish(0, &["fqdn=build-1", "file=build.log"]);
    let into = followed.input.take().unwrap();
    let tail = std::thread::spawn(move || follow(&path, &changes, into));
    let mut build_2 = mesh.publish(2, &["fqdn=build-2", "file=build.log"]);
    let mut web_1 = mesh.publish(0, &["service=shop", "fqdn=web-1"]);
    let mut web_2 = mesh.publish(1, &["service=shop", "fqdn=web-2"]);
    let mut logs = [(); 4].map(|()| String::new());
    for step in 0..STEPS {
        let grown = [
            build_log(step, "build-1"),
            build_log(step, "build-2"),
            web_log(step, "web-1"),
            web_log(step, "web-2"),
        ];
        file.write_all(grown[0].as_bytes()).unwrap();
        grew.send(()).unwrap();
        build_2.write(&grown[1]);
        web_1.write(&grown[2]);
        // Half a line now, the rest when others have moved on.
        let (now, later) = grown[3].split_at(grown[3].len() / 2 + step);
        web_2.write(now);
        // The logs are live: what was just written is there before anything else is.
        one_host.wait_for(grown[0].lines().last().unwrap());
        failures.wait_for(grown[2].lines().rfind(|line| line.contains("status=5")).unwrap());
        web_2.write(later);
        for (log, grown) in logs.iter_mut().zip(grown) {
            log.push_str(&grown);
        }
    }
    drop((file, grew));
    tail.join().unwrap();
    for publishing in [followed, build_2, web_1, web_2] {
        publishing.end(STEPS * STEP_LINES);
    }
    mesh.mark_the_end();

    let [build_1, build_2, web_1, web_2] = &logs;
    let logs = [(BUILD_1, build_1), (BUILD_2, build_2), (WEB_1, web_1), (WEB_2, web_2)];
    let check = |receiving: Receiving, wanted: &dyn Fn(&str, &str) -> bool| {
        assert_eq!(receiving.all(), expected(&logs, wanted));
    };
    check(one_host, &|tags, _| tags == BUILD_1);
    check(errors, &|_, line| is_compiler_error(line));
    check(failures, &|tags, line| tags.contains("web-") && line.contains("status=5"));
    check(either, &|tags, line| [BUILD_2, WEB_2].contains(&tags) || line.starts_with("warning:"));
    check(nothing, &|_, _| false);
}

#[test]
fn errors_of_a_running_build_reach_those_who_asked_for_errors() {
    let mesh = Mesh::new();
    let errors = mesh.subscribe(1, &[r"fqdn=build-1,payload ~ /error\[E[0-9]+\]/"]);
    let everything = mesh.subscribe(2, &["*"]);
    let source = mesh.folder.path().join("broken.rs");
    let mistakes =
        (0..25).map(|n| format!("pub fn f{n}() -> u8 {{ \"{n}\" }}\npub type T{n} = Missing{n};\n"));
    std::fs::write(&source, mistakes.collect::<String>()).unwrap();

    let mut publishing = mesh.publish(0, &["fqdn=build-1"]);
    let mut build = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--crate-type", "lib", "--emit", "metadata", "--out-dir"])
        .args([mesh.folder.path(), &source])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    for line in lines_of(build.stderr.take().unwrap()) {
        publishing.write(&format!("{line}\n"));
        log.push_str(&line);
        log.push('\n');
    }
    assert!(!build.wait().unwrap().success());
    publishing.end(log.lines().count());
    mesh.mark_the_end();

    let logs = [("fqdn=build-1", &log)];
    let wanted = expected(&logs, |_, line| is_compiler_error(line));
    assert!(wanted["fqdn=build-1"].len() >= 25, "{wanted:?}");
    assert_eq!(errors.all(), wanted);
    assert_eq!(everything.all(), expected(&logs, |_, _| true));
}
