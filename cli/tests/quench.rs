//! `millrace pub` of what nobody wants, against two routers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use serde_json::Value;

/// Longer than anything here takes, on a busy machine, too.
const LONG: Duration = Duration::from_secs(60);

struct Cluster {
    routers: [RouterHandle; 2],
    _folder: tempfile::TempDir,
    ca: PathBuf,
}

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::open(folder.path()).unwrap();
        let start = |name: &str, seeds: Vec<String>| {
            let mut config = RouterConfig::new(authority.router(name, &[]).unwrap());
            config.cores = 1;
            config.limits.quench_after = Duration::from_millis(100);
            config.mesh.seeds = seeds;
            Router::start(config).unwrap()
        };
        let first = start("a", Vec::new());
        let second = start("b", vec![first.addr().to_string()]);
        for router in [&first, &second] {
            let linked = router
                .wait_until(LONG, |seen| seen.status.peers.iter().any(|peer| peer.state.name() == "linked"));
            linked.unwrap();
        }
        let ca = authority.ca_path().unwrap().to_owned();
        Self { routers: [first, second], _folder: folder, ca }
    }

    fn millrace(&self, router: usize, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.env("MILLRACE_CONTEXT", "none");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("MILLRACE_ROUTER", self.routers[router].addr().to_string()).env("MILLRACE_CA", &self.ca);
        command.spawn().unwrap()
    }
}

#[test]
fn what_nobody_wants_is_counted_and_what_somebody_wants_arrives() {
    let cluster = Cluster::new();
    let args =
        ["pub", "--json", "--verbose", "--lines", "--confirm", "none", "--linger", "0s", "--tag", "host=a"];
    let mut publisher = cluster.millrace(0, &args);
    let mut input = publisher.stdin.take().unwrap();
    let quenched = |seen: &millrace_router::Seen| seen.sum(|core| core.engine.quenched_tag_sets) == 1;
    writeln!(input, "nobody reads this").unwrap();
    cluster.routers[0].wait_until(LONG, quenched).unwrap();
    // The news may be on its way to the command.
    let skips = 20_000;
    for _ in 0..skips {
        writeln!(input, "nor this").unwrap();
    }
    let mut subscriber = cluster.millrace(1, &["sub", "host=a", "--json"]);
    let errors = BufReader::new(subscriber.stderr.take().unwrap());
    let effective =
        |line: String| serde_json::from_str::<Value>(&line).is_ok_and(|said| said["stage"] == "cluster");
    assert!(errors.lines().map_while(Result::ok).any(effective));
    writeln!(input, "wanted").unwrap();
    drop(input);
    let said = publisher.wait_with_output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let summary: Value = serde_json::from_slice(&said.stdout).unwrap();
    let (published, skipped) = (&summary["published"], summary["quenched"].as_u64().unwrap());
    assert!(skipped > 0 && skipped <= skips, "{published} published, {skipped} skipped");
    let words = String::from_utf8(said.stderr).unwrap();
    assert!(words.contains(&format!("{skipped} skipped: nobody wants them")), "{words}");
    // Lines that the command read after the subscription arrive, too.
    let output = BufReader::new(subscriber.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line.contains(r#""payload":"wanted""#)));
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();
}
