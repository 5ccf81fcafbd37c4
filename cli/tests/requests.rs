//! Named receivers, requests and replies through the real `millrace`, across routers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use serde_json::Value;

/// Longer than anything here takes, on a busy machine, too.
const LONG: Duration = Duration::from_secs(60);

/// Routers that know each other.
struct Cluster {
    routers: Vec<RouterHandle>,
    _folder: tempfile::TempDir,
    ca: PathBuf,
}

impl Cluster {
    fn new(names: &[&str], cores: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::open(folder.path()).unwrap();
        let mut routers: Vec<RouterHandle> = Vec::new();
        for name in names {
            let mut config = RouterConfig::new(authority.router(name, &[]).unwrap());
            config.cores = cores;
            config.mesh.seeds = routers.first().map(|first| first.addr().to_string()).into_iter().collect();
            routers.push(Router::start(config).unwrap());
        }
        for router in &routers {
            let linked = router.wait_until(LONG, |seen| {
                let linked = seen.status.peers.iter().filter(|peer| peer.state.name() == "linked");
                linked.count() == names.len() - 1
            });
            linked.unwrap();
        }
        let ca = authority.ca_path().unwrap().to_owned();
        Self { routers, _folder: folder, ca }
    }

    fn millrace(&self, router: usize, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.env("MILLRACE_CONTEXT", "none");
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("MILLRACE_ROUTER", self.routers[router].addr().to_string()).env("MILLRACE_CA", &self.ca);
        command
    }

    /// A command that is effective in the whole cluster.
    fn listening(&self, router: usize, args: &[&str]) -> Listening {
        let mut child = self.millrace(router, args).spawn().unwrap();
        let errors = lines_of(child.stderr.take().unwrap());
        let output = lines_of(child.stdout.take().unwrap());
        let listening = Listening { child, output, errors };
        listening.hears("whole cluster");
        listening
    }

    fn run(&self, router: usize, args: &[&str]) -> Output {
        self.millrace(router, args).output().unwrap()
    }
}

/// Lines as they come; the channel ends with them.
fn lines_of(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(from).lines().try_for_each(|line| sender.send(line.unwrap())));
    lines
}

struct Listening {
    child: Child,
    output: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
}

impl Listening {
    /// Waits for a line on standard error that has this.
    fn hears(&self, text: &str) {
        while !self.errors.recv_timeout(LONG).expect("it says something").contains(text) {}
    }

    fn line(&self) -> String {
        self.output.recv_timeout(LONG).expect("it prints something")
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_object(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().next_back().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn direct_messages_reach_their_names_on_any_router_and_core_and_nobody_else() {
    let cluster = Cluster::new(&["a", "b"], 2);
    let here = cluster.listening(0, &["sub", "--name", "here"]);
    let there = cluster.listening(1, &["sub", "--name", "there"]);
    let everything = cluster.listening(1, &["sub", "*"]);
    for round in 0..4 {
        let text = format!("hello {round}");
        let args = ["--json", "pub", "-t", "a=1", "--to", "here", "--to", "there", "--to", "nobody", &text];
        let told = cluster.run(0, &args);
        assert_eq!(told.status.code(), Some(1), "{told:?}");
        let recipients = &last_object(&told)["recipients"];
        assert_eq!(recipients["here"]["delivered"], 1, "{told:?}");
        assert_eq!(recipients["there"]["delivered"], 1);
        assert_eq!(recipients["nobody"]["no_receiver"], 1);
        assert!(here.line().ends_with(&text) && there.line().ends_with(&text));
    }
    let told = cluster.run(1, &["pub", "--to", "here", "alone"]);
    assert!(told.status.success(), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stderr).contains("here: 1 delivered"), "{told:?}");
    assert!(cluster.run(0, &["pub", "-t", "end=1", "end"]).status.success());
    assert!(everything.line().ends_with("end"), "it gets no direct message");
}

#[test]
fn a_name_moves_to_the_receiver_that_takes_it_last() {
    let cluster = Cluster::new(&["a", "b"], 1);
    let first = cluster.listening(0, &["sub", "--name", "desk"]);
    let second = cluster.listening(1, &["sub", "--name", "desk"]);
    first.hears("taken its name");
    assert!(cluster.run(0, &["pub", "--to", "desk", "hello"]).status.success());
    assert!(second.line().ends_with("hello"));
}

#[test]
fn requests_are_answered_across_routers_by_one_by_all_and_by_name() {
    let cluster = Cluster::new(&["a", "b"], 2);
    let exec = "echo \"$MILLRACE_TAG_ITEM $(cat)\"";
    let _first = cluster.listening(0, &["reply", "service=price", "--exec", exec]);
    let _second = cluster.listening(1, &["reply", "service=price", "--exec", exec, "--name", "till"]);
    let one = cluster.run(0, &["request", "service=price,item=7", "please"]);
    assert_eq!((one.status.code(), &one.stdout[..]), (Some(0), &b"7 please\n"[..]), "{one:?}");
    let all = cluster.run(1, &["--json", "request", "service=price,item=8", "?", "--replies", "all"]);
    assert!(all.status.success(), "{all:?}");
    let end = last_object(&all);
    assert_eq!((&end["end"], &end["replies"], &end["receivers"]), (&"complete".into(), &2.into(), &2.into()));
    let named = cluster.run(0, &["--json", "request", "--to", "till", "item=9", "?", "--replies", "all"]);
    let end = last_object(&named);
    assert_eq!((&end["replies"], &end["recipients"]["till"]), (&1.into(), &"delivered".into()), "{named:?}");
    let begun = Instant::now();
    for args in [&["request", "service=none", "?"][..], &["request", "--to", "nobody", "?"]] {
        let nobody = cluster.run(0, &[args, &["--timeout", "50s"]].concat());
        assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
        assert!(String::from_utf8_lossy(&nobody.stderr).contains("no_receiver"), "{nobody:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(40), "nobody waits for nobody");
}

#[test]
fn a_request_that_is_not_answered_ends_with_its_time_and_a_late_reply_is_told() {
    let cluster = Cluster::new(&["a"], 1);
    let slow = cluster.listening(0, &["reply", "service=slow", "--exec", "sleep 1; echo late"]);
    let asked = cluster.run(0, &["request", "service=slow", "?", "--timeout", "200ms"]);
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
    assert!(String::from_utf8_lossy(&asked.stderr).contains("deadline"), "{asked:?}");
    slow.hears("requester_gone");
}

#[test]
fn a_group_shares_requests() {
    let cluster = Cluster::new(&["a", "b"], 1);
    let reply = ["reply", "service=price", "--exec", "echo yes", "--group", "prices"];
    let _members = [0, 1].map(|router| cluster.listening(router, &reply));
    for _ in 0..3 {
        let all = cluster.run(0, &["--json", "request", "service=price", "?", "--replies", "all"]);
        let end = last_object(&all);
        assert_eq!((&end["end"], &end["replies"]), (&"complete".into(), &1.into()), "{all:?}");
    }
}
