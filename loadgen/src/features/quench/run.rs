//! The preset from start to end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use millrace_client::publisher::Quench;
use millrace_client::{Item, Receiver, ReceiverConnection, ReceiverOptions};
use millrace_verify::payload::Stamp;

use super::emitters::{Emitters, Offered};
use super::figures::{QuenchFigures, Stretch};
use super::listener::{Heard, listen};
use super::settings::QuenchSettings;
use crate::clock::micros;
use crate::cluster::Cluster;
use crate::features::clients::{client, play, until};
use crate::features::{Check, FeatureError, Report, Spread};
use crate::progress::Progress;

/// How long publishers may take to be told, beyond the time that their routers take to tell them.
const TOLD_WITHIN: Duration = Duration::from_secs(15);
/// Tag sets of a publisher that a router tells about in a second, at most.
const TOLD_PER_SECOND: u32 = 1_000;
/// How long the last wanted events may take.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// How long the next event of an emitter may take before it is missed.
const NEXT_WITHIN: Duration = Duration::from_secs(5);
/// Publishers send one event of what nobody wants so often.
const SAMPLE_EVERY: f64 = 10.0;
/// What silence costs varies; so much more is the same.
const LIKE_SILENCE: f64 = 1.5;
/// Datagrams that a connection may take beside: an acknowledgement that waited.
const BESIDE_PER_CONNECTION: f64 = 4.0;

/// Runs the preset.
///
/// # Errors
/// [`FeatureError`]; no process is left behind.
pub fn quench(settings: &QuenchSettings, progress: &Progress) -> Result<Report<QuenchFigures>, FeatureError> {
    let begun = Instant::now();
    progress.stage("starting");
    // Without canaries, because every event that comes in is accounted for.
    let cluster = Cluster::processes_with(settings.routers, 1, &["--canary-every", "0s"])?;
    let result = play(Run { settings, cluster: &cluster, progress }.play());
    cluster.stop();
    let (figures, sampled_for) = result?;
    let checks = checks(&figures, sampled_for);
    Ok(Report::new(figures, checks, begun.elapsed()))
}

struct Run<'a> {
    settings: &'a QuenchSettings,
    cluster: &'a Cluster,
    progress: &'a Progress,
}

impl Run<'_> {
    /// The figures, and for how long samples may have been sent.
    async fn play(self) -> Result<(QuenchFigures, Duration), FeatureError> {
        let Self { settings, cluster, progress } = self;
        let mut figures = QuenchFigures::new(settings);
        let (all, unwanted): (Vec<u32>, Vec<u32>) = (
            (0..settings.emitters).collect(),
            (0..settings.emitters).filter(|&e| !settings.wants(e)).collect(),
        );

        progress.stage("connecting and subscribing");
        let heard = Rc::new(RefCell::new(Heard::default()));
        for emitter in all.iter().filter(|&&emitter| settings.wants(emitter)) {
            heard.borrow_mut().streams.begin_at(*emitter, 0);
        }
        let listener = self.receiver().await?;
        self.subscribe(&listener, QuenchSettings::selector()).await?;
        tokio::task::spawn_local(listen(listener, settings.clone(), Rc::clone(&heard)));
        let one_more = self.receiver().await?;

        let numbers = vec![0; all.len()];
        let mut emitters = Emitters::connect(settings, cluster, Quench::Off, numbers).await?;
        progress.stage("sending everything");
        figures.sent = self.stretch(&mut emitters, &all).await?;
        let numbers = emitters.close().await;

        let mut emitters = Emitters::connect(settings, cluster, Quench::Auto, numbers).await?;
        progress.stage("telling publishers");
        let samples_since = Instant::now();
        emitters.offer(&all, Duration::ZERO, true).await?;
        let told = Instant::now();
        let within = TOLD_WITHIN
            + Duration::from_secs(u64::from(settings.emitters / settings.connections / TOLD_PER_SECOND));
        let quenched = || cluster.counted().get("quenched_tag_sets").copied().unwrap_or(0);
        until(within, || quenched() >= unwanted.len() as u64).await;
        figures.told_within_s = told.elapsed().as_secs_f64();
        figures.quenched_emitters = quenched();

        progress.stage("with quench");
        figures.quenched = self.stretch(&mut emitters, &all).await?;
        figures.unwanted = self.stretch(&mut emitters, &unwanted).await?;
        figures.silent = self.stretch(&mut emitters, &[]).await?;
        let sampled_for = samples_since.elapsed();

        progress.stage("switching");
        self.switch(&mut emitters, &unwanted, one_more, &mut figures).await?;
        progress.stage("settling");
        let ends: Vec<_> = emitters.ends().collect();
        until(SETTLE_WITHIN, || heard.borrow().streams.came(ends.iter().copied()).missing == 0).await;
        emitters.close().await;
        figures.came = heard.borrow().streams.came(ends);
        figures.unexpected = heard.borrow().unexpected;
        figures.work_out();
        Ok((figures, sampled_for))
    }

    /// A receiver at the last router.
    async fn receiver(&self) -> Result<Receiver, FeatureError> {
        let options = ReceiverOptions::default().connection(ReceiverConnection::Own);
        let client = client(self.cluster, self.cluster.targets().len() - 1)?;
        client.receiver(options).await.map_err(FeatureError::client)
    }

    async fn subscribe(&self, receiver: &Receiver, selector: &str) -> Result<u64, FeatureError> {
        let mut subscription = receiver.subscribe([selector]).map_err(FeatureError::client)?;
        let coverage = subscription.in_cluster().await.map_err(FeatureError::client)?;
        Ok(coverage.left_out_publishers.len() as u64)
    }

    /// Offers for a stretch, and looks at what routers had of it.
    async fn stretch(&self, emitters: &mut Emitters, who: &[u32]) -> Result<Stretch, FeatureError> {
        let look = || (self.cluster.counted(), self.cluster.usage().cpu_ns, Instant::now());
        let (before, cpu_ns, begun) = look();
        let Offered { events, wanted, sent, skipped } =
            emitters.offer(who, self.settings.duration, false).await?;
        let (after, cpu_ns_after, ended) = look();
        let counted = |name: &str| {
            let of = |all: &std::collections::BTreeMap<String, u64>| all.get(name).copied().unwrap_or(0);
            of(&after).saturating_sub(of(&before))
        };
        Ok(Stretch {
            seconds: (ended - begun).as_secs_f64(),
            offered: events,
            wanted,
            sent,
            skipped,
            router_events_in: counted("ingress_events"),
            router_datagrams_in: counted("datagrams_in"),
            router_datagram_in_bytes: counted("datagram_in_bytes"),
            router_cpu_s: (cpu_ns_after - cpu_ns) as f64 / 1e9,
        })
    }

    /// Somebody wants one more emitter, again and again, and gets the event that it publishes at
    /// once.
    async fn switch(
        &self,
        emitters: &mut Emitters,
        unwanted: &[u32],
        mut receiver: Receiver,
        figures: &mut QuenchFigures,
    ) -> Result<(), FeatureError> {
        let (mut effective, mut next) = (Vec::new(), Vec::new());
        let every = (unwanted.len() / self.settings.switches.max(1) as usize).max(1);
        for &emitter in unwanted.iter().step_by(every).take(self.settings.switches as usize) {
            let begun = Instant::now();
            let selector = &self.settings.tags(emitter)[0];
            figures.left_out_publishers += self.subscribe(&receiver, selector).await?;
            effective.push(micros(begun.elapsed()));
            let published = Instant::now();
            while !emitters.publish(emitter)? {
                tokio::task::yield_now().await;
            }
            match tokio::time::timeout(NEXT_WITHIN, one_of(&mut receiver, emitter)).await {
                Ok(true) => next.push(micros(published.elapsed())),
                Ok(false) | Err(_) => figures.switches_missed += 1,
            }
        }
        figures.effective_us = Spread::of(effective);
        figures.next_event_us = Spread::of(next);
        Ok(())
    }
}

/// Whether an event of this emitter comes, before the receiver ends.
async fn one_of(receiver: &mut Receiver, emitter: u32) -> bool {
    while let Some(item) = receiver.next().await {
        let Item::Event(event) = item else { continue };
        if Stamp::decode(&event.payload).is_ok_and(|stamp| stamp.emitter == emitter) {
            return true;
        }
    }
    false
}

/// What must hold.
fn checks(figures: &QuenchFigures, sampled_for: Duration) -> Vec<Check> {
    let unwanted_emitters = u64::from(figures.emitters - figures.wanted_emitters);
    let QuenchFigures { quenched, unwanted, silent, came, .. } = figures;
    // One at most of each emitter in each time that has begun.
    let samples_max =
        unwanted_emitters * millrace_measure::figures::whole(sampled_for.as_secs_f64() / SAMPLE_EVERY);
    let samples = quenched.samples() + unwanted.samples();
    let silence = silent.router_datagrams_in as f64 / silent.seconds.max(0.1);
    let spent = unwanted.router_datagrams_in as f64 / unwanted.seconds.max(0.1);
    let beside = BESIDE_PER_CONNECTION * (f64::from(figures.connections) + unwanted.samples() as f64);
    vec![
        Check::new(
            "told",
            figures.quenched_emitters >= unwanted_emitters,
            format!("{} of {unwanted_emitters} emitters were told", figures.quenched_emitters),
        ),
        Check::new(
            "sent",
            figures.sent.router_events_in == figures.sent.offered && figures.sent.skipped == 0,
            format!(
                "without quench {} of {} events came in",
                figures.sent.router_events_in, figures.sent.offered
            ),
        ),
        Check::new(
            "skipped",
            quenched.router_events_in == quenched.sent
                && quenched.sent + quenched.skipped == quenched.offered,
            format!(
                "of {} events {} were sent, {} skipped, {} came in",
                quenched.offered, quenched.sent, quenched.skipped, quenched.router_events_in
            ),
        ),
        Check::new(
            "samples",
            samples <= samples_max,
            format!("{samples} events that nobody wants were sent, at most {samples_max} are samples"),
        ),
        Check::new(
            "silence",
            spent <= silence * LIKE_SILENCE + beside,
            format!("{spent:.0} datagrams per second for what nobody wants, {silence:.0} for nothing"),
        ),
        Check::new(
            "wanted",
            came.is_clean(),
            format!("{} missing, {} twice, {} out of order", came.missing, came.duplicated, came.reordered),
        ),
        Check::new("unwanted", figures.unexpected == 0, format!("{} came", figures.unexpected)),
        Check::new(
            "switches",
            figures.switches_missed == 0 && figures.next_event_us.count > 0,
            format!("{} next events were missed", figures.switches_missed),
        ),
    ]
}
