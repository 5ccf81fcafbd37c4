//! `millrace ctl status`.

use std::fmt::Write as _;
use std::time::Duration;

use super::answers;
use super::table::{self, Column};
use crate::admin::pages::{History, Status};
use crate::admin::{self, AdminUrl, Answer, Method};
use crate::failure::Failure;
use crate::figures::{age, bytes, share, whole};

pub(super) async fn run(urls: &[AdminUrl], json: bool) -> Result<(), Failure> {
    answers::finish(admin::all::<Status>(urls, Method::Get, "/status").await, json, words)
}

fn words(answers: &[Answer<Status>]) -> String {
    let mut out = String::new();
    routers(&mut out, answers);
    for answer in answers {
        troubles(&mut out, &answer.read);
        history(&mut out, &answer.read);
    }
    if let [only] = answers {
        peers(&mut out, &only.read);
        cores(&mut out, &only.read);
    }
    out
}

fn routers(out: &mut String, answers: &[Answer<Status>]) {
    let columns = [
        Column::elastic("ROUTER"),
        Column::left("STATE"),
        Column::right("PEERS"),
        Column::right("CLIENTS"),
        Column::right("RECEIVERS"),
        Column::right("IN"),
        Column::right("OUT"),
        Column::right("DROPPED"),
        Column::right("QUEUED"),
    ];
    let rows: Vec<Vec<String>> = answers
        .iter()
        .map(|answer| {
            let status = &answer.read;
            vec![
                status.name.clone(),
                status.state().to_owned(),
                format!("{}/{}", status.peers_in("linked"), status.peers.len()),
                whole(status.sum(|core| core.clients)),
                whole(status.sum(|core| core.receivers)),
                whole(status.sum(|core| core.events_in)),
                whole(status.sum(|core| core.events_out)),
                whole(status.sum(|core| core.dropped)),
                bytes(status.sum(|core| core.queued_bytes)),
            ]
        })
        .collect();
    table::write(out, &columns, &rows);
}

/// What needs somebody's attention.
fn troubles(out: &mut String, status: &Status) {
    let mut say = |text: String| {
        // A string takes everything.
        let _ = writeln!(out, "{}: {text}", status.name);
    };
    if let Some(trouble) = &status.trouble {
        say(trouble.about.clone());
    }
    if !status.synced {
        say("publishers wait: not all known routers are linked and synced".to_owned());
    }
    if !status.joined {
        say(format!("linked with fewer than the {} routers that it needs to be ready", status.peers_needed));
    }
    if status.draining {
        say("it goes away".to_owned());
    }
    if status.control_age_s > 1.0 {
        say(format!("control is too busy to answer; its picture is {:.0} s old", status.control_age_s));
    }
    for core in &status.silent_cores {
        say(format!("core {core} does not answer"));
    }
    let by_kernel = status.metric("udp_drops");
    if by_kernel > 0 {
        say(format!(
            "{} datagrams were dropped by the kernel: give its sockets more room (net.core.rmem_max)",
            whole(by_kernel)
        ));
    }
    let reasons: Vec<String> = status
        .cores
        .iter()
        .flat_map(|core| core.labels("dropped_events"))
        .fold(std::collections::BTreeMap::<&str, u64>::new(), |mut sums, (reason, count)| {
            *sums.entry(reason).or_default() += count;
            sums
        })
        .into_iter()
        .map(|(reason, count)| format!("{} {reason}", whole(count)))
        .collect();
    if !reasons.is_empty() {
        say(format!("dropped since its start: {}", reasons.join(", ")));
    }
}

/// How far back a router reaches that keeps history.
fn history(out: &mut String, status: &Status) {
    let History { bytes: kept, span_s, files } = status.history;
    if let Some(span) = span_s.filter(|_| kept > 0) {
        let span = age(Duration::from_secs(span));
        // A string takes everything.
        let _ = writeln!(out, "{}: history of the last {span}, {}", status.name, bytes(kept));
    }
    if let Some(files) = files {
        let span = age(Duration::from_secs(files.history_file_span_seconds));
        let size = bytes(files.history_file_bytes);
        let _ = writeln!(out, "{}: history files of the last {span}, {size}", status.name);
    }
}

fn peers(out: &mut String, status: &Status) {
    if status.peers.is_empty() {
        return;
    }
    let columns = [
        Column::elastic("PEER"),
        Column::left("STATE"),
        Column::right("LANES"),
        Column::right("SELECTORS"),
        Column::left("ADDRESS"),
    ];
    let rows: Vec<Vec<String>> = status
        .peers
        .iter()
        .map(|peer| {
            vec![
                if peer.name.is_empty() { peer.router.clone() } else { peer.name.clone() },
                peer.state.clone(),
                format!("{}/{}", peer.lanes_up, peer.lanes),
                whole(peer.interest),
                peer.advertise.clone(),
            ]
        })
        .collect();
    out.push('\n');
    table::write(out, &columns, &rows);
}

fn cores(out: &mut String, status: &Status) {
    let columns = [
        Column::right("CORE"),
        Column::right("BUSY"),
        Column::right("CPU"),
        Column::right("CLIENTS"),
        Column::right("SELECTORS"),
        Column::right("IN"),
        Column::right("OUT"),
        Column::right("DROPPED"),
        Column::right("QUEUED"),
    ];
    let rows: Vec<Vec<String>> = status
        .cores
        .iter()
        .map(|core| {
            vec![
                core.core.to_string(),
                format!("{:.0} %", core.busy_share * 100.0),
                share_of_time(core.cpu_s, core.uptime_s),
                whole(core.clients),
                whole(core.selectors),
                whole(core.events_in),
                whole(core.events_out),
                whole(core.dropped),
                bytes(core.queued_bytes),
            ]
        })
        .collect();
    out.push('\n');
    table::write(out, &columns, &rows);
    let up = status.cores.first().map_or(0.0, |core| core.uptime_s);
    let _ = writeln!(
        out,
        "\n{} {} at {} (clients: {}), up {}",
        status.version,
        status.router,
        status.addr,
        status.advertise,
        age(Duration::from_secs_f64(up.max(0.0)))
    );
}

fn share_of_time(part: f64, whole: f64) -> String {
    let ms = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0)).as_millis();
    share(u64::try_from(ms(part)).unwrap_or(0), u64::try_from(ms(whole)).unwrap_or(0))
}
