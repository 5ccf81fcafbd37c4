//! Real files: folders, locks, and processes that are killed.
//!
//! The long ones are ignored: `cargo test -p millrace-client --lib spool::tests::files --
//! --ignored`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::super::{AppendError, Compression, DiskStorage, Fate, Inspection, OpenError, Spool, SpoolConfig};
use super::model::Random;
use super::{identity, payload, small, tags};

/// Names the folder, and what to do there, to a process that a test starts.
const FOLDER: &str = "SPOOL_TEST_FOLDER";
const TASK: &str = "SPOOL_TEST_TASK";
/// How that process stores payloads.
const COMPRESSION: &str = "SPOOL_TEST_COMPRESSION";

fn open(folder: &Path) -> Spool<DiskStorage> {
    let storage = DiskStorage::open(folder).unwrap();
    let (spool, opened) = Spool::open(storage, config(), identity()).unwrap();
    assert_eq!((opened.lost, opened.doubtful), (vec![], None), "nothing is lost with a process");
    spool
}

fn config() -> SpoolConfig {
    let said = std::env::var(COMPRESSION).map(|said| said.parse().unwrap());
    SpoolConfig { free_percent: 0, compression: said.unwrap_or_default(), ..small() }
}

fn pending(spool: &mut Spool<DiskStorage>) -> BTreeSet<u64> {
    let mut seqs = BTreeSet::new();
    spool
        .visit(0, |record| {
            assert_eq!(record.payload, payload(record.seq));
            seqs.insert(record.seq)
        })
        .unwrap();
    seqs
}

#[test]
fn a_folder_is_private_locked_and_a_spool() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("spool");
    let mut spool = open(&folder);
    for seq in 0..500 {
        spool.append(seq, tags().borrow(), &payload(seq)).unwrap();
    }
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in folder.read_dir().unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    assert!(matches!(DiskStorage::open(&folder), Err(OpenError::Locked { .. })));
    let look = Inspection::take(&DiskStorage::look(&folder).unwrap()).unwrap();
    assert_eq!((look.pending, look.seqs, look.oldest_time_ns), (500, 0..500, Some(0)));
    spool.finish(0..7).unwrap();
    let look = Inspection::take(&DiskStorage::look(&folder).unwrap()).unwrap();
    assert_eq!((look.pending, look.seqs, look.oldest_time_ns), (493, 7..500, Some(7)));
    spool.close().unwrap();
    assert_eq!(pending(&mut open(&folder)), (7..500).collect());

    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    assert!(matches!(DiskStorage::open(&folder), Err(OpenError::Exposed { mode: 0o755, .. })));
    let other = base.path().join("other");
    std::fs::DirBuilder::new().mode(0o700).create(&other).unwrap();
    std::fs::write(other.join("letter"), "hello").unwrap();
    assert!(matches!(DiskStorage::open(&other), Err(OpenError::Foreign { .. })));
    assert!(matches!(DiskStorage::look(&other), Err(OpenError::Missing { .. })));
}

/// What a process of these tests does; nothing when nobody started it for that.
#[test]
#[ignore = "a part of other tests"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    match std::env::var(TASK).as_deref() {
        Ok("publish") => publish(folder),
        Ok("start") => start(folder),
        other => panic!("{other:?}"),
    }
}

fn child_command(folder: &Path, task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "spool::tests::files::child", "--ignored", "--nocapture", "--quiet"]);
    command.env(FOLDER, folder).env(TASK, task).stdout(Stdio::piped());
    command
}

/// Publishes until it is killed, and says what it was told.
fn publish(folder: &Path) {
    let mut spool = open(folder);
    let mut out = std::io::stdout().lock();
    for turn in 0_u64.. {
        let seq = spool.seqs().end;
        spool.append(seq * 10, tags().borrow(), &payload(seq)).unwrap();
        writeln!(out, "\nappended {seq}").unwrap();
        if turn % 16 == 0 {
            let below = seq.saturating_sub(200);
            writeln!(out, "\nfinishing {below}").unwrap();
            spool.finish(0..below).unwrap();
            writeln!(out, "\nfinished {below}").unwrap();
        }
        if turn % 64 == 0 {
            spool.sync().unwrap();
        }
    }
}

fn check_kills(kills: u64) {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("spool");
    drop(open(&folder));
    let mut random = Random(5);
    for kill in 0..kills {
        let before = { pending(&mut open(&folder)) };
        let compression = if kill % 2 == 0 { Compression::Zstd } else { Compression::None };
        let mut command = child_command(&folder, "publish");
        let mut child = command.env(COMPRESSION, compression.to_string()).spawn().unwrap();
        let (mut appended, mut finishing, mut finished) = (before, 0, 0);
        let reader = BufReader::new(child.stdout.take().unwrap());
        let wanted = 1 + random.below(1500);
        let mut lines = 0;
        for line in reader.lines().map_while(Result::ok) {
            match line.split_once(' ').map(|(word, number)| (word, number.parse::<u64>())) {
                Some(("appended", Ok(seq))) => drop(appended.insert(seq)),
                Some(("finishing", Ok(below))) => finishing = below,
                Some(("finished", Ok(below))) => finished = below,
                _ => {}
            }
            lines += 1;
            if lines == wanted {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success());
        let found = pending(&mut open(&folder));
        for seq in appended.range(finishing..) {
            assert!(found.contains(seq), "kill {kill}: event {seq} is lost");
        }
        assert!(found.range(..finished).next().is_none(), "kill {kill}: final events are back");
        let newest = appended.last().copied().unwrap_or(0);
        assert!(found.range(newest + 2..).next().is_none(), "kill {kill}: at most one event in doubt");
    }
}

#[test]
fn ten_killed_publishers_lose_nothing() {
    check_kills(10);
}

#[test]
#[ignore = "takes minutes"]
fn five_hundred_killed_publishers_lose_nothing() {
    check_kills(500);
}

/// Opens a spool and says what memory that took, KiB.
fn start(folder: &Path) {
    let began = Instant::now();
    let mut spool = Spool::open(
        DiskStorage::open(folder).unwrap(),
        SpoolConfig { max_bytes: 11 << 30, ..config() },
        identity(),
    )
    .unwrap()
    .0;
    let took = began.elapsed();
    let mut first = None;
    spool
        .visit(0, |record| {
            first = Some(record.seq);
            false
        })
        .unwrap();
    assert_eq!(first, Some(0));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB");
    writeln!(std::io::stdout(), "\npeak {peak} {}", took.as_millis()).unwrap();
}

#[test]
#[ignore = "writes 10 GiB"]
fn ten_gibibytes_are_opened_within_64_mebibytes() {
    let base = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let folder = base.path().join("spool");
    let config = SpoolConfig { max_bytes: 11 << 30, segment_bytes: None, ..config() };
    let (mut spool, _) = Spool::open(DiskStorage::open(&folder).unwrap(), config, identity()).unwrap();
    let body = vec![b'x'; 1 << 20];
    while spool.bytes() < 10 << 30 {
        spool.append(0, tags().borrow(), &body).unwrap();
    }
    drop(spool);
    let output = child_command(&folder, "start").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().find_map(|line| line.strip_prefix("peak ")).expect("a peak");
    eprintln!("peak KiB, milliseconds of the start: {told}");
    let peak: u64 = told.split(' ').next().unwrap().parse().unwrap();
    assert!(peak <= 64 * 1024, "{peak} KiB");
}

#[test]
#[ignore = "mounts a file system, for which it must be root"]
fn a_file_system_of_16_mebibytes_that_fills_is_told_and_emptied() {
    let base = tempfile::tempdir().unwrap();
    let at = base.path().join("small");
    std::fs::create_dir(&at).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs"]).arg(&at);
    assert!(mount.status().unwrap().success(), "root only");
    let outcome = std::panic::catch_unwind(|| {
        let folder = at.join("spool");
        let mut spool = open(&folder);
        let full = (0_u64..).find_map(|seq| spool.append(seq * 10, tags().borrow(), &payload(seq)).err());
        assert!(matches!(full, Some(AppendError::WouldBlock(_))), "{full:?}");
        // Another program takes the rest.
        let rest = std::fs::write(at.join("rest"), vec![0; 16 << 20]);
        assert!(rest.is_err());
        let count = spool.pending();
        assert_eq!(pending(&mut spool).len() as u64, count);
        spool.finish(0..count).unwrap();
        spool.sync().unwrap();
        assert_eq!((spool.pending(), spool.total(Fate::Done)), (0, count));
        spool.append(0, tags().borrow(), b"there is room again").unwrap();
    });
    let unmounted = Command::new("umount").arg("-l").arg(&at).status();
    assert!(unmounted.unwrap().success());
    outcome.unwrap();
}

#[test]
fn a_sync_happens_beside_the_spool() {
    let base = tempfile::tempdir().unwrap();
    let mut spool = open(&base.path().join("spool"));
    spool.append(0, tags().borrow(), b"one").unwrap();
    let mut order = spool.begin_sync().unwrap().unwrap();
    let order = std::thread::spawn(move || {
        order.run();
        order
    });
    spool.append(0, tags().borrow(), b"two").unwrap();
    spool.end_sync(order.join().unwrap()).unwrap();
    assert!(spool.wants_sync(), "the second is not in the first's sync");
    spool.sync().unwrap();
    assert!(!spool.wants_sync());
}
