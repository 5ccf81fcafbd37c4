//! `millrace spool` on a folder that a publisher left.
#![cfg(unix)]

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use assert_cmd::Command;
use millrace_client::spool::{DiskStorage, Identity, Spool, SpoolConfig};
use millrace_proto::TagSet;

/// A spool of ten events, three of them final, and the time of its events.
fn spooled(folder: &Path) -> (Spool<DiskStorage>, u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let hour_ago = u64::try_from(now.as_nanos()).expect("before 2554") - 3_600_000_000_000;
    let storage = DiskStorage::open(folder).expect("a folder");
    let config = SpoolConfig { free_percent: 0, max_bytes: 40 << 20, ..SpoolConfig::default() };
    let (mut spool, _) = Spool::open(storage, config, Identity::random()).expect("a spool");
    let tags = TagSet::from_texts(["host=a"]).expect("a tag set");
    for _ in 0..10 {
        spool.append(hour_ago, tags.borrow(), b"hello").expect("room");
    }
    spool.finish(0..3).expect("a disk");
    (spool, hour_ago)
}

fn millrace(args: &[&str], folder: &Path) -> (i32, String, String) {
    let mut command = Command::cargo_bin("millrace").expect("it is built");
    let output = command
        .env("MILLRACE_CONTEXT", "none")
        .arg("spool")
        .args(args)
        .arg(folder)
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("an end"), text(output.stdout), text(output.stderr))
}

#[test]
fn a_spool_is_shown_while_it_is_used_and_its_secret_is_not() {
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("spool");
    let (spool, oldest) = spooled(&folder);
    let (code, out, _) = millrace(&["inspect"], &folder);
    assert_eq!(code, 0);
    for shown in ["7 events", "3..10", "1h", "done 3", "epoch"] {
        assert!(out.contains(shown), "{shown}: {out}");
    }
    let (code, out, _) = millrace(&["inspect", "--json"], &folder);
    assert_eq!(code, 0);
    let json: serde_json::Value = serde_json::from_str(&out).expect("an object");
    assert_eq!(json["schema"], "millrace.spool/1");
    assert_eq!((&json["pending"], &json["first_seq"], &json["next_seq"]), (&7.into(), &3.into(), &10.into()));
    assert_eq!(json["oldest_time_ns"], oldest);
    let secret = spool.identity().secret.0;
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!out.contains(&hex));
}

#[test]
fn a_spool_is_emptied_when_that_is_meant() {
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("spool");
    let (spool, _) = spooled(&folder);
    let (code, _, told) = millrace(&["drop", "--yes"], &folder);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("in use by another process"), "{told}");
    spool.close().expect("a disk");
    let (code, _, told) = millrace(&["drop"], &folder);
    assert_eq!(code, 2);
    assert!(told.contains("7 events") && told.contains("--yes"), "{told}");
    let (code, _, told) = millrace(&["drop", "--yes"], &folder);
    assert_eq!((code, told.trim()), (0, "7 events given up"));
    let (_, out, _) = millrace(&["inspect"], &folder);
    assert!(out.contains("0 events") && out.contains("dropped 7"), "{out}");
}

#[test]
fn what_is_no_spool_is_said_so() {
    let base = tempfile::tempdir().expect("a folder");
    let (code, _, told) = millrace(&["inspect"], base.path());
    assert_eq!(code, 1);
    assert!(told.contains("is no spool"), "{told}");
}
