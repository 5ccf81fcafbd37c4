//! A screen that stays open, or one look.

use std::io::IsTerminal;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::sync::watch;
use tokio::time::timeout;

use super::args::Top;
use super::gather::Round;
use super::model::View;
use super::{once, screen};
use crate::admin::{self, AdminUrl};
use crate::failure::Failure;
use crate::options::Reach;

/// Between two looks, at least: routers have other things to do.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// Shows the cluster until somebody quits, or once.
pub(crate) async fn run(reach: &Reach, command: &Top) -> Result<(), Failure> {
    let json = reach.json;
    let urls = admin::equipped(&command.admin.admin, reach)?;
    let every = command.every.max(EVERY_MIN);
    if command.once {
        return look_once(command, &urls, every, json).await;
    }
    if json || !std::io::stdout().is_terminal() {
        let why = anyhow!("top draws on a terminal");
        return Err(Failure::usage(why).hint("For programs and files: millrace top --once --json"));
    }
    let (pace, paced) = watch::channel(every);
    let (sender, rounds) = mpsc::channel();
    let asking = tokio::spawn(ask(urls, paced, sender));
    let shown = tokio::task::spawn_blocking(move || screen::show(&rounds, &pace, every)).await;
    asking.abort();
    shown
        .context("the screen has failed")
        .and_then(|shown| shown.context("cannot draw"))
        .map_err(Failure::other)
}

/// Asks everybody again and again, until nobody wants to know.
async fn ask(urls: Vec<AdminUrl>, mut pace: watch::Receiver<Duration>, rounds: mpsc::Sender<Round>) {
    let mut round = Round::default();
    loop {
        let begun = Instant::now();
        round.ask(&urls).await;
        if rounds.send(round.clone()).is_err() {
            return;
        }
        let every = *pace.borrow_and_update();
        // Another pace counts at once.
        let _ = timeout(every.saturating_sub(begun.elapsed()), pace.changed()).await;
    }
}

async fn look_once(command: &Top, urls: &[AdminUrl], every: Duration, json: bool) -> Result<(), Failure> {
    let mut round = Round::default();
    round.ask(urls).await;
    tokio::time::sleep(every).await;
    round.ask(urls).await;
    let view = View::of(&round, Instant::now());
    let printed = if json { once::object(&view) } else { once::text(&view, command.width, every) };
    printed.map_err(Failure::other)?;
    if view.routers.iter().all(|row| row.why_silent.is_some()) {
        return Err(Failure::unreachable(anyhow!("no router answers")).hint(
            "Is the router running, and is its admin page there (setting `admin.listen`)? \
             Name another with --admin URL or MILLRACE_ADMIN.",
        ));
    }
    Ok(())
}
