//! The preset from start to end.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use millrace_client::{Item, Requester, TagSet};
use millrace_measure::kernel;

use super::ask::{Answers, answered, ask};
use super::figures::RequestFigures;
use super::responder::{Responder, receiver};
use super::settings::{RequestSettings, SERVICE};
use crate::clock::micros;
use crate::cluster::Cluster;
use crate::features::clients::{client, play, until};
use crate::features::{Check, FeatureError, Report, Spread};
use crate::progress::Progress;

/// How long all requests may take to reach the responder.
const ASKED_WITHIN: Duration = Duration::from_secs(60);
/// Requests after which other tasks have their turn.
const AT_ONCE: u64 = 64;
/// Requests that are on their way to the responder, at most: what routers queue is not what an open
/// request takes, and is the same from the warm-up on.
const ON_THE_WAY_MAX: u64 = 1_024;
/// Requests that nobody has.
const NOBODY: u32 = 20;

/// Runs the preset.
///
/// # Errors
/// [`FeatureError`]; no process is left behind.
pub fn requests(
    settings: &RequestSettings,
    progress: &Progress,
) -> Result<Report<RequestFigures>, FeatureError> {
    let begun = Instant::now();
    progress.stage("starting");
    let cluster = Cluster::processes(settings.routers, 1)?;
    let result = play(run(settings, &cluster, progress));
    cluster.stop();
    let figures = result?;
    let checks = checks(&figures, settings);
    Ok(Report::new(figures, checks, begun.elapsed()))
}

async fn run(
    settings: &RequestSettings,
    cluster: &Cluster,
    progress: &Progress,
) -> Result<RequestFigures, FeatureError> {
    let far = client(cluster, cluster.targets().len() - 1)?;
    let responder = Responder::start(&far, SERVICE).await?;
    let mut requesters = Vec::new();
    for _ in 0..settings.requesters {
        requesters.push(client(cluster, 0)?.requester().await.map_err(FeatureError::client)?);
    }
    let bench = Bench { settings, cluster, responder, requesters };
    let RequestSettings { outstanding, requesters, routers, at_a_time, .. } = *settings;
    let mut figures =
        RequestFigures { outstanding, requesters, routers, at_a_time, ..RequestFigures::default() };
    let mut answers = Answers::default();
    progress.stage("asking");
    answers.add(bench.outstanding(&mut figures, progress).await?);
    progress.stage("in turn");
    answers.add(bench.in_turn(&mut figures).await?);
    progress.stage("asking who has just subscribed");
    let fresh = bench.fresh(&far, &mut figures).await?;
    figures.false_no_receiver = answers.no_receiver + fresh.no_receiver;
    answers.add(fresh);
    progress.stage("asking nobody");
    bench.nobody(&mut figures).await?;
    if let Some(failed) = bench.responder.desk.borrow_mut().failed.take() {
        return Err(FeatureError::Client(failed));
    }
    (figures.asked, figures.answered) = (answers.asked, answers.answered);
    (figures.unanswered, figures.wrong) = (answers.unanswered, answers.wrong);
    Ok(figures)
}

/// What all parts work with.
struct Bench<'a> {
    settings: &'a RequestSettings,
    cluster: &'a Cluster,
    responder: Responder,
    requesters: Vec<Requester>,
}

impl Bench<'_> {
    /// All requests are asked, then all are answered.
    async fn outstanding(
        &self,
        figures: &mut RequestFigures,
        progress: &Progress,
    ) -> Result<Answers, FeatureError> {
        let count = u64::from(self.settings.outstanding);
        let tags = tags(SERVICE)?;
        self.responder.desk.borrow_mut().holds = true;
        let begun = Instant::now();
        let mut open = Vec::new();
        let mut before = (0, 0);
        // The first fifth warms up: buffers grow with it.
        for (end, is_first) in [(count / 5, true), (count, false)] {
            for number in open.len() as u64..end {
                let requester = &self.requesters[open.len() % self.requesters.len()];
                open.push((number, ask(requester, &tags, number).await?));
                if number % AT_ONCE == 0 {
                    self.have_arrived(number.saturating_sub(ON_THE_WAY_MAX)).await;
                }
            }
            if !self.have_arrived(end).await {
                let within_s = ASKED_WITHIN.as_secs();
                return Err(FeatureError::Late { what: "the responder had not all requests", within_s });
            }
            let now = (self.cluster.usage().resident_bytes.unwrap_or(0), kernel::resident_bytes());
            if is_first {
                before = now;
            } else {
                let each =
                    |now: u64, before: u64| now.saturating_sub(before) as f64 / (end - end / 5).max(1) as f64;
                figures.router_bytes_each = each(now.0, before.0);
                figures.client_bytes_each = each(now.1, before.1);
            }
        }
        figures.asked_in_s = begun.elapsed().as_secs_f64();
        figures.open_at_routers = self.cluster.counted().get("open_requests").copied().unwrap_or(0);
        progress.stage("replying");
        let begun = Instant::now();
        let replies = async {
            let mut answers = Answers::default();
            for (number, replies) in open {
                answers.add(answered(replies, number).await);
            }
            answers
        };
        let (released, answers) = tokio::join!(self.responder.release(), replies);
        released?;
        figures.replied_in_s = begun.elapsed().as_secs_f64();
        Ok(answers)
    }

    /// Waits until the responder has so many requests; false when that takes too long.
    async fn have_arrived(&self, count: u64) -> bool {
        tokio::task::yield_now().await;
        let have_arrived = || self.responder.desk.borrow().held.len() as u64 >= count;
        have_arrived() || until(ASKED_WITHIN, have_arrived).await
    }

    /// Some at a time, each asked when the one before was answered.
    async fn in_turn(&self, figures: &mut RequestFigures) -> Result<Answers, FeatureError> {
        let tags = tags(SERVICE)?;
        let begun = Instant::now();
        let (mut answers, mut times) = (Answers::default(), Vec::new());
        let all = (0..self.settings.at_a_time).map(|first| self.one_in_turn(first, &tags));
        for part in join_all(all).await {
            let (more, their) = part?;
            answers.add(more);
            times.extend(their);
        }
        figures.in_turn_per_s = times.len() as f64 / begun.elapsed().as_secs_f64().max(1e-9);
        figures.in_turn_us = Spread::of(times);
        Ok(answers)
    }

    /// One request after the other.
    async fn one_in_turn(&self, first: u32, tags: &TagSet) -> Result<(Answers, Vec<u64>), FeatureError> {
        let requester = &self.requesters[first as usize % self.requesters.len()];
        let (mut answers, mut times) = (Answers::default(), Vec::new());
        let mut number = u64::from(first) << 32;
        let begun = Instant::now();
        while begun.elapsed() < self.settings.duration {
            let asked = Instant::now();
            answers.add(answered(ask(requester, tags, number).await?, number).await);
            times.push(micros(asked.elapsed()));
            number += 1;
        }
        Ok((answers, times))
    }

    /// Somebody subscribes at the last router, and is asked at the first one as soon as that is
    /// effective.
    async fn fresh(
        &self,
        far: &millrace_client::Client,
        figures: &mut RequestFigures,
    ) -> Result<Answers, FeatureError> {
        let (mut answers, mut times) = (Answers::default(), Vec::new());
        for number in 0..self.settings.fresh {
            let tag = format!("service=fresh-{number}");
            let mut receiver = receiver(far, &tag).await?;
            let asked = Instant::now();
            let replies = ask(&self.requesters[0], &tags(&tag)?, number.into()).await?;
            let answer = async {
                while let Some(item) = receiver.next().await {
                    let Item::Event(event) = item else { continue };
                    if let Some(reply_to) = &event.reply_to {
                        return self.responder.reply(reply_to, &event.payload).await;
                    }
                }
                Ok(())
            };
            // It may hear nothing, when a router took it for nobody.
            let more = tokio::select! {
                more = answered(replies, number.into()) => more,
                Err(error) = answer => return Err(error),
            };
            times.push(micros(asked.elapsed()));
            answers.add(more);
        }
        figures.fresh_us = Spread::of(times);
        Ok(answers)
    }

    /// Requests that nobody has.
    async fn nobody(&self, figures: &mut RequestFigures) -> Result<(), FeatureError> {
        let mut times = Vec::new();
        for number in 0..NOBODY {
            let asked = Instant::now();
            let tags = tags(&format!("service=nobody-{number}"))?;
            let ended = answered(ask(&self.requesters[0], &tags, number.into()).await?, number.into()).await;
            if ended.no_receiver == 1 {
                times.push(micros(asked.elapsed()));
            }
        }
        figures.nobody_us = Spread::of(times);
        Ok(())
    }
}

fn tags(tag: &str) -> Result<TagSet, FeatureError> {
    TagSet::from_texts([tag]).map_err(FeatureError::client)
}

/// What must hold.
fn checks(figures: &RequestFigures, settings: &RequestSettings) -> Vec<Check> {
    vec![
        Check::new(
            "replies",
            figures.answered == figures.asked && figures.wrong == 0 && figures.asked > 0,
            format!(
                "{} of {} requests have none, {} replies were wrong",
                figures.unanswered, figures.asked, figures.wrong
            ),
        ),
        Check::new(
            "open",
            figures.open_at_routers == u64::from(figures.outstanding),
            format!("routers had {} open requests of {}", figures.open_at_routers, figures.outstanding),
        ),
        Check::new(
            "memory",
            figures.router_bytes_each <= settings.bytes_max as f64,
            format!("{:.0} bytes each at routers, at most {}", figures.router_bytes_each, settings.bytes_max),
        ),
        Check::new(
            "nobody",
            figures.false_no_receiver == 0 && figures.nobody_us.count == NOBODY as usize,
            format!(
                "{} were said to be nobody, and {} of {NOBODY} that are nobody",
                figures.false_no_receiver, figures.nobody_us.count
            ),
        ),
    ]
}
