//! The binary: settings, the ready line, signals.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_proto::CloseCode;
use millrace_proto::control::ControlFrame;

use crate::raw::Raw;
use crate::world::{Certificates, get};

pub(crate) fn command(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-router"));
    command.env("XDG_RUNTIME_DIR", folder.path()).env_remove("MILLRACE_CONFIG");
    command
}

pub(crate) fn ready(folder: &tempfile::TempDir, arguments: &[&str]) -> (Child, serde_json::Value) {
    let mut child = command(folder)
        .args(["--listen", "127.0.0.1:0", "--admin", "off", "--ready-json", "--grace", "1s"])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

fn signal(child: &Child) {
    send(child, "-TERM");
}

pub(crate) fn send(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

pub(crate) fn terminate(mut child: Child) {
    signal(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn two_processes_in_development_mode_share_an_authority_and_join() {
    let folder = tempfile::tempdir().unwrap();
    let (first, line) = ready(&folder, &[]);
    assert_eq!(line["schema"], "millrace-router-ready/1");
    assert!(line["ca"].as_str().unwrap().ends_with("dev-ca.pem"));
    assert!(std::fs::exists(line["ca"].as_str().unwrap()).unwrap());
    // Ready means joined: with a join timeout beyond the test's patience, only a link makes it so.
    let seed = line["addr"].as_str().unwrap();
    let (second, line) = ready(&folder, &["--seed", seed, "--set", "mesh.join_timeout=1h"]);
    assert_ne!(line["addr"], seed);
    terminate(second);
    terminate(first);
}

#[test]
fn seed_of_another_authority_is_named_in_one_line_with_what_to_do() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, line) = ready(&other, &[]);
    let seed = line["addr"].as_str().unwrap();
    let mut child = command(&folder)
        .args(["--listen", "127.0.0.1:0", "--admin", "off", "--ready-json", "--grace", "1s", "--seed", seed])
        .args(["--set", "mesh.redial_max=100ms"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let warning = lines.find(|line| line.contains("WARN")).unwrap();
    for part in [seed, "another authority", "mesh.seeds", "tls.ca"] {
        assert!(warning.contains(part), "no `{part}` in {warning}");
    }
    terminate(child);
    assert_eq!(lines.filter(|line| line.contains(seed)).count(), 0, "it is said once in a while");
    terminate(first);
}

#[test]
fn second_process_on_the_port_says_how_to_join_instead() {
    let folder = tempfile::tempdir().unwrap();
    let (first, line) = ready(&folder, &[]);
    let addr = line["addr"].as_str().unwrap();
    let output = command(&folder).args(["--listen", addr, "--admin", "off"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        words.contains(&format!("--seed {addr}")) && words.contains("another process holds this port"),
        "{words}"
    );
    terminate(first);
}

#[test]
fn service_manager_hears_ready_reloading_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let next = || {
        let mut datagram = [0; 1024];
        let length = manager.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    };
    let mut child = command(&folder)
        .args(["--listen", "127.0.0.1:0", "--admin", "off", "--grace", "1s"])
        .env("NOTIFY_SOCKET", &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ready = next();
    assert!(ready.starts_with("READY=1\nSTATUS=ready on 127.0.0.1:"), "{ready}");
    send(&child, "-HUP");
    let reloading = next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(next(), ready);
    signal(&child);
    assert_eq!(next().trim_end(), "STOPPING=1\nSTATUS=clients have 1 s to move");
    assert!(child.wait().unwrap().success());
}

#[test]
fn manual_page_names_every_flag() {
    let folder = tempfile::tempdir().unwrap();
    let printed = command(&folder).arg("--print-man").output().unwrap();
    let page = String::from_utf8(printed.stdout).unwrap();
    assert!(page.contains(".TH millrace-router 8"), "{page}");
    assert!(page.contains("history\\-bytes") && page.contains("ready\\-json"), "{page}");
}

#[test]
fn settings_are_checked_and_printed_without_starting() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.toml");
    std::fs::write(&file, "[mesh]\nseeds = ['mesh.example']\nsuspect_after = '2s'\n").unwrap();
    let file = file.to_str().unwrap();
    let output = command(&folder)
        .args(["--config", file, "--print-config", "--set", "cores.count=2"])
        .env("MILLRACE_SEEDS", "a.example,b.example")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for line in ["count = 2", "suspect_after = \"2s\"", "listen = \"127.0.0.1:7400\""] {
        assert!(printed.lines().any(|found| found == line), "no `{line}` in\n{printed}");
    }
    assert!(printed.contains("b.example") && !printed.contains("mesh.example"), "{printed}");
}

#[test]
fn bad_settings_are_refused_with_their_name_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.toml");
    std::fs::write(&file, "[mesh]\nseed = ['x']\n").unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&["--config", file.to_str().unwrap()], "line 2: unknown key `mesh.seed`; is it `mesh.seeds`?"),
        (&["--listen", "0.0.0.0:0"], "development mode listens on loopback addresses only"),
        (&["--cert", "only.pem"], "all of --cert, --key and --ca"),
        (&["--cores", "0"], "cores.count"),
        (&["--set", "mesh.suspect_after=1ms"], "mesh.suspect_after"),
        (&["--history-dir", "/nowhere/history"], "history.bytes is 0"),
        (&["--history-bytes", "1MiB", "--history-dir", "/dev/null/history"], "history.dir"),
        (&["--history-bytes", "1MiB", "--history-dir", "/proc/none/history"], "history.dir"),
    ];
    for (arguments, expected) in cases {
        let output = command(&folder).args(arguments).arg("--check").output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(words.contains(expected), "{arguments:?}: {words}");
    }
}

#[test]
fn a_folder_of_history_files_that_a_router_uses_is_found_by_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history");
    let history = history.to_str().unwrap();
    let settings = ["--history-bytes", "1MiB", "--history-dir", history];
    let nowhere = ["--listen", "127.0.0.1:0", "--admin", "off"];
    let check = || command(&folder).args(settings).args(nowhere).arg("--check").output().unwrap();
    assert!(check().stderr.is_empty(), "{:?}", check());
    assert!(!std::path::Path::new(history).exists(), "looking makes nothing");
    let (mut child, _) = ready(&folder, &settings);
    let words = String::from_utf8_lossy(&check().stderr).into_owned();
    assert!(words.contains("a router uses"), "{words}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(check().stderr.is_empty(), "{:?}", check());
}

#[test]
fn what_this_host_does_not_have_is_warned_of_by_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, line) = ready(&folder, &[]);
    let taken = line["addr"].as_str().unwrap().to_owned();
    // No host has as many CPUs as the kernel can count.
    let settings = ["--listen", &taken, "--admin", "off", "--pin", "1023", "--history-bytes", "16TiB"];
    let output = command(&folder).args(settings).arg("--check").output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    for expected in ["may not use CPU 1023", "`history.bytes`", &format!("UDP {taken} is in use now")] {
        assert!(words.contains(expected), "no `{expected}` in {words}");
    }
}

/// Files of a cluster as an operator would have them: authority, certificate, key.
pub(crate) fn files(folder: &tempfile::TempDir) -> [String; 3] {
    let made = Certificates::new(&["router.example", "localhost"]);
    [("ca.pem", made.ca), ("cert.pem", made.cert), ("key.pem", made.key)].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        chmod(&path, 0o600);
        path.to_str().unwrap().to_owned()
    })
}

fn chmod(path: impl AsRef<std::path::Path>, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_that_everybody_may_read_is_refused_by_check_and_start_alike() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, cert, key] = files(&folder);
    let secret = folder.path().join("cluster.secret").to_str().unwrap().to_owned();
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    chmod(&secret, 0o600);
    let real = ["--ca", &ca, "--cert", &cert, "--key", &key, "--secret", &secret];
    let run = |more: &[&str]| {
        let listen = if more.contains(&"--listen") { &[][..] } else { &["--listen", "0.0.0.0:0"] };
        let output =
            command(&folder).args(real).args(["--admin", "off"]).args(listen).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for file in [&key, &secret] {
        chmod(file, 0o644);
        // A start would go on for ever if it were not refused.
        for more in [&["--check"][..], &[]] {
            let (code, words) = run(more);
            assert_eq!(code, Some(2), "{words}");
            assert!(words.contains(&format!("`chmod 600 {file}`")) && words.contains("644"), "{words}");
        }
        let on_loopback = ["--check", "--listen", "127.0.0.1:0"];
        for warned in [&["--check", "--set", "tls.accept_open_keys=true"][..], &on_loopback] {
            let (code, words) = run(warned);
            assert!(code == Some(0) && words.contains("warning") && words.contains(file.as_str()), "{words}");
        }
        chmod(file, 0o640);
        let (code, words) = run(&["--check"]);
        assert!(code == Some(0) && words.contains("open to its group"), "{words}");
        chmod(file, 0o600);
    }
    let (code, words) = run(&["--check"]);
    assert!(code == Some(0) && !words.contains("open to"), "{words}");
}

#[test]
fn addresses_that_this_host_does_not_have_are_found_by_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str]| {
        let output = command(&folder).args(arguments).arg("--check").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // RFC 5737 and RFC 3849 keep these for pages: no host has them.
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--admin", "192.0.2.1:7401"], &["admin.listen", "192.0.2.1", "not an address of this host"]),
        (&["--admin", "[2001:db8::1]:0"], &["admin.listen", "2001:db8::1"]),
        (&["--listen", "[::1%nowhere]:7400"], &["listen", "no interface `nowhere`"]),
        (&["--listen", "[::1%4000000000]:7400"], &["listen", "no interface `4000000000`"]),
        (&["--admin", "[::1%nowhere]:0"], &["admin.listen", "no interface `nowhere`"]),
    ];
    for (arguments, expected) in cases {
        let (code, words) = check(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {words}");
        assert!(expected.iter().all(|word| words.contains(word)), "{arguments:?}: {words}");
    }
    let [ca, cert, key] = files(&folder);
    let real = ["--ca", &ca, "--cert", &cert, "--key", &key, "--advertise", "router.example:7400"];
    let (code, words) = check(&[&real[..], &["--listen", "192.0.2.1:7400"]].concat());
    assert!(code == Some(2) && words.contains("setting `listen`") && words.contains("ip addr"), "{words}");
    let (code, words) = check(&["--seed", "[fe80::1%nowhere]:7400"]);
    assert!(code == Some(0) && words.contains("`mesh.seeds`") && words.contains("`nowhere`"), "{words}");
}

#[test]
fn the_check_does_not_disturb_a_router_that_has_the_ports() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, line) = ready(&folder, &["--set", "admin.listen=127.0.0.1:0"]);
    let (addr, admin) = (line["addr"].as_str().unwrap(), line["admin"].as_str().unwrap());
    let output = command(&folder).args(["--listen", addr, "--admin", admin, "--check"]).output().unwrap();
    let is_alive = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(output.status.success() && is_alive, "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!([addr, admin].iter().all(|addr| words.contains(addr)), "{words}");
}

#[test]
fn routers_with_real_certificates_join_by_name_whatever_their_certificates_call_them() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, cert, key] = files(&folder);
    let real = ["--ca", &ca, "--cert", &cert, "--key", &key];
    let (first, line) = ready(&folder, &real);
    assert_eq!((line["dev"].as_bool(), line["ca"].as_str()), (Some(false), Some(ca.as_str())));
    let port = line["addr"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let seed = format!("localhost:{port}");
    let (second, _) =
        ready(&folder, &[&real[..], &["--seed", &seed, "--set", "mesh.join_timeout=1h"]].concat());
    terminate(second);
    terminate(first);
}

#[test]
fn certificate_without_the_role_of_a_router_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["router.example".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    chmod(&key, 0o600);
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let output =
        command(&folder).args(["--check", "--ca", cert, "--cert", cert, "--key", key]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(words.contains("millrace://router/NAME"), "{words}");
}

#[test]
fn terminated_process_tells_its_clients_when_it_goes_and_closes_at_the_end_of_its_grace() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, line) = ready(&folder, &[]);
    let ca = std::fs::read_to_string(line["ca"].as_str().unwrap()).unwrap();
    let mut client = Raw::welcomed_at(line["addr"].as_str().unwrap().parse().unwrap(), &ca);
    signal(&child);
    client.frame("goaway", |frame| match frame {
        ControlFrame::Goaway(goaway) => goaway.grace_us == 1_000_000 && !goaway.reason.is_empty(),
        _ => false,
    });
    assert_eq!(client.close().0, CloseCode::GoingAway);
    assert!(child.wait().unwrap().success());
}

/// What a person sees who starts the router in development mode.
fn shown(folder: &tempfile::TempDir) -> (Child, Vec<String>) {
    let mut child = command(folder)
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--grace", "1s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().starts_with("Ctrl-C") {
            break;
        }
    }
    (child, lines)
}

#[test]
fn what_development_mode_shows_can_be_used_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let (child, lines) = shown(&folder);
    let after = |prefix: &str| {
        let found = lines.iter().find_map(|line| line.trim().strip_prefix(prefix));
        found.unwrap_or_else(|| panic!("no line `{prefix}` in {lines:#?}")).trim()
    };
    let second = after("millrace-router");
    let addr = second.rsplit_once("--seed ").unwrap().1;
    // The usual port is the client's default; this one is another and has to be named.
    assert_eq!(after("millrace sub"), format!("--router {addr} '*'"));
    assert_eq!(after("millrace pub"), format!("--router {addr} --tag host=$(hostname) hello"));
    let admin: std::net::SocketAddr =
        after("admin").split(['/', ' ']).find_map(|part| part.parse().ok()).unwrap();
    assert_eq!(get(admin, "/readyz").0, 200);
    let ca = std::fs::read_to_string(after("authority")).unwrap();
    Raw::welcomed_at(addr.parse().unwrap(), &ca);
    // Ready means joined: with a join timeout beyond the test's patience, only a link makes it so.
    let arguments: Vec<&str> = second.split(' ').collect();
    let (second, _) = ready(&folder, &[&arguments[2..], &["--set", "mesh.join_timeout=1h"]].concat());
    terminate(second);
    terminate(child);
}

/// CPUs that a thread of a process may use, as the kernel lists them.
fn cpus_of(pid: u32, thread: &str) -> String {
    let named = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread)
    };
    // Threads that begin and end meanwhile make the listing skip others.
    let look = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.filter_map(|task| Some(task.ok()?.path())).find(named)
    };
    let task = (0..1000).find_map(|_| look()).unwrap();
    let status = std::fs::read_to_string(task.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    line.trim().to_owned()
}

#[test]
fn cores_are_pinned_where_the_process_may_run_and_control_stays_off_them() {
    let folder = tempfile::tempdir().unwrap();
    let allowed = core_affinity::get_core_ids().unwrap();
    let (first, last) = (allowed[0].id.to_string(), allowed[allowed.len() - 1].id.to_string());
    let (child, _) = ready(&folder, &["--pin", &last]);
    assert_eq!(cpus_of(child.id(), "millrace-core-0"), last);
    if allowed.len() > 1 {
        let others = cpus_of(child.id(), "millrace-contro");
        assert!(others.starts_with(&first) && !others.split([',', '-']).any(|cpu| cpu == last), "{others}");
    }
    terminate(child);
    let (child, _) = ready(&folder, &["--pin", "on"]);
    assert_eq!(cpus_of(child.id(), "millrace-core-0"), first);
    terminate(child);
    let (child, line) = ready(&folder, &["--pin", "off"]);
    assert_eq!(line["placement"], "off (set by cores.pin)");
    let own = std::fs::read_to_string("/proc/self/comm").unwrap();
    let whole = cpus_of(std::process::id(), own.trim());
    assert_eq!(cpus_of(child.id(), "millrace-core-0"), whole);
    terminate(child);
}

#[test]
fn within_a_cpuset_the_first_core_is_on_its_first_cpu() {
    let last = core_affinity::get_core_ids().unwrap().pop().unwrap();
    // A process may run where the thread may that starts it.
    let started = std::thread::spawn(move || {
        assert!(core_affinity::set_for_current(last));
        let folder = tempfile::tempdir().unwrap();
        let (child, _) = ready(&folder, &["--pin", "on"]);
        (child, folder)
    });
    let (child, _folder) = started.join().unwrap();
    assert_eq!(cpus_of(child.id(), "millrace-core-0"), last.id.to_string());
    terminate(child);
}

#[test]
fn a_router_ends_in_order_while_nobody_reads_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let (unread, words) = std::io::pipe().unwrap();
    let mut filler = words.try_clone().unwrap();
    // The pipe is full from the beginning; the filler ends when its other end is closed.
    let filling = std::thread::spawn(move || filler.write_all(&[b'\n'; 1 << 20]));
    let mut child = command(&folder)
        .args(["--listen", "127.0.0.1:0", "--admin", "off", "--grace", "0s", "--log", "debug"])
        .stdout(Stdio::piped())
        .stderr(words)
        .spawn()
        .unwrap();
    let said = child.stdout.take().unwrap();
    let ready = BufReader::new(said).lines().map(Result::unwrap).find(|line| line.contains("is ready"));
    assert!(ready.is_some());
    signal(&child);
    assert!(child.wait().unwrap().success());
    drop(unread);
    assert!(filling.join().unwrap().is_err());
}
