//! Settings, certificates and log of a router that runs.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::process::{Child, ChildStderr, Stdio};

use crate::process::{command, files, send, terminate};
use crate::raw::Raw;
use crate::world::Certificates;

/// A router that reads this file and logs to the test; its ready line is in the log.
fn logging(
    folder: &tempfile::TempDir,
    file: &str,
    arguments: &[&str],
) -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut child = command(folder)
        .args(["--config", file, "--listen", "127.0.0.1:0", "--grace", "1s"])
        .env("MILLRACE_ADMIN", "off")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    (child, lines)
}

/// The next line with this in it.
fn line(lines: &mut Lines<BufReader<ChildStderr>>, text: &str) -> String {
    lines.map(Result::unwrap).find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line `{text}`"))
}

fn write_settings(folder: &tempfile::TempDir, text: &str) -> String {
    let path = folder.path().join("router.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn hang_up_reloads_whole_or_not_at_all_and_logs_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_settings(&folder, "[log]\nfilter = 'info'\n");
    let (child, mut lines) = logging(&folder, &file, &[]);
    let ready = line(&mut lines, "ready");
    for part in ["version=", "name=", "advertise=\"127.0.0.1:", "cores=1"] {
        assert!(ready.contains(part), "no `{part}` in {ready}");
    }
    send(&child, "-HUP");
    line(&mut lines, "nothing has changed");
    write_settings(&folder, "[cores]\ncount = 2\n[log]\nfilter = 'debug'\n");
    send(&child, "-HUP");
    let refused = line(&mut lines, "refused");
    assert!(refused.contains("cores.count: 1 becomes 2") && refused.contains("needs a restart"), "{refused}");
    write_settings(&folder, "[log]\nfiltre = 'debug'\n");
    send(&child, "-HUP");
    assert!(line(&mut lines, "refused").contains("is it `log.filter`?"));
    write_settings(&folder, "[log]\nfilter = 'info,millrace_router=debug'\n");
    send(&child, "-HUP");
    let applied = line(&mut lines, "log.filter");
    assert!(applied.contains("\"info\" becomes \"info,millrace_router=debug\""), "{applied}");
    terminate(child);
}

/// The answer to a request without a body: its head and its body.
pub(crate) fn post(addr: std::net::SocketAddr, path: &str, more: &str) -> String {
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\n{more}Connection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn admin_page_reloads_and_says_what_has_changed_or_why_nothing_did() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_settings(&folder, "[log]\nfilter = 'info'\n");
    let (child, mut lines) = logging(&folder, &file, &["--set", "admin.listen=127.0.0.1:0"]);
    let ready = line(&mut lines, "ready");
    let admin = ready.split("admin=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    write_settings(&folder, "grace = '2s'\n[log]\nfilter = 'info'\n");
    // The flag `--grace` of the test comes after the file.
    assert!(post(admin, "/reload", "").contains("\"changes\": []"));
    write_settings(&folder, "[log]\nfilter = 'warn'\n");
    let changed = post(admin, "/reload", "");
    assert!(changed.contains("log.filter"), "{changed}");
    write_settings(&folder, "[cores]\ncount = 2\n");
    let refused = post(admin, "/reload", "");
    assert!(refused.contains("409") && refused.contains("needs a restart: cores.count"), "{refused}");
    assert!(post(admin, "/reload", "Origin: https://elsewhere.example\r\n").contains("403"));
    terminate(child);
}

#[test]
fn renewed_certificates_count_for_newcomers_and_disturb_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, cert, key] = files(&folder);
    let old_ca = fs::read_to_string(&ca).unwrap();
    let file = write_settings(&folder, "");
    let (child, mut lines) =
        logging(&folder, &file, &["--ca", &ca, "--cert", &cert, "--key", &key, "--cores", "2"]);
    let ready = line(&mut lines, "ready");
    let addr = ready.split("addr=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let mut early = Raw::welcomed_at(addr, &old_ca);
    let renewed = Certificates::new(&["localhost"]);
    fs::write(&cert, &renewed.cert).unwrap();
    send(&child, "-HUP");
    let refused = line(&mut lines, "refused");
    assert!(refused.contains("is not that of the certificate"), "{refused}");
    Raw::welcomed_at(addr, &old_ca);
    fs::write(&key, &renewed.key).unwrap();
    fs::write(&ca, &renewed.ca).unwrap();
    send(&child, "-HUP");
    line(&mut lines, "certificates: new ones");
    // On each of the cores: connections are spread over them.
    for _ in 0..4 {
        Raw::welcomed_at(addr, &renewed.ca);
    }
    early.is_served();
    terminate(child);
}

#[test]
fn router_whose_log_nobody_reads_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_settings(&folder, "[log]\nfilter = 'info'\n");
    let (mut child, mut lines) = logging(&folder, &file, &[]);
    let ready = line(&mut lines, "ready");
    let addr = ready.split("addr=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    drop(lines);
    let ca = fs::read_to_string(folder.path().join("millrace/dev-ca.pem")).unwrap();
    let mut early = Raw::welcomed_at(addr, &ca);
    // Each of these is logged.
    for _ in 0..3 {
        send(&child, "-HUP");
        early.is_served();
    }
    Raw::welcomed_at(addr, &ca);
    assert_eq!(child.try_wait().unwrap(), None);
    terminate(child);
}

#[test]
fn empty_variables_are_as_if_unset_and_bad_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let check = |variable: &str, value: &str| {
        let output = command(&folder).env(variable, value).arg("--check").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for variable in [
        "CONFIG",
        "LISTEN",
        "ADVERTISE",
        "SEEDS",
        "CORES",
        "PIN",
        "ADMIN",
        "CERT",
        "KEY",
        "CA",
        "GRACE",
        "LOG",
    ] {
        assert_eq!(check(&format!("MILLRACE_{variable}"), ""), (Some(0), String::new()), "{variable}");
    }
    for (variable, value) in
        [("LISTEN", "localhost:1"), ("SEEDS", "a,quic://b"), ("LOG", "inof"), ("CORES", "many")]
    {
        let variable = format!("MILLRACE_{variable}");
        let (code, words) = check(&variable, value);
        assert!(code == Some(2) && words.contains(&variable), "{words}");
    }
}
