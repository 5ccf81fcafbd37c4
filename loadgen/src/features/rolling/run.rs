//! The preset from start to end: this thread restarts routers while another one has the load.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::figures::RollingFigures;
use super::load::{self, Part};
use super::settings::RollingSettings;
use super::signs::{NEVER, Signs};
use super::stage::Stage;
use crate::clock::Clock;
use crate::features::stage::in_folder;
use crate::features::{Check, FeatureError, Report};
use crate::progress::Progress;

/// Copies that may come before removal, for each event.
const REMOVED_SHARE_MAX: f64 = 0.01;
/// Events that may end without a confirm: what an application acknowledges only when its old router
/// has gone ends as partial, although it has it.
const UNCONFIRMED_SHARE_MAX: f64 = 0.01;
/// Between two looks at whether the load has begun.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs the preset.
///
/// # Errors
/// [`FeatureError`]; no process is left behind.
pub fn rolling(
    settings: &RollingSettings,
    progress: &Progress,
) -> Result<Report<RollingFigures>, FeatureError> {
    let play = |folder: &Path| play(settings, folder, progress);
    in_folder("rolling", progress, play, |figures| checks(figures, settings))
}

fn play(
    settings: &RollingSettings,
    folder: &Path,
    progress: &Progress,
) -> Result<RollingFigures, FeatureError> {
    let mut stage = Stage::start(settings, folder)?;
    let clock = Clock::start();
    let signs = Arc::new(Signs {
        has_begun: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        restarts_from_us: AtomicU64::new(NEVER),
        restarts_until_us: AtomicU64::new(NEVER),
    });
    let part = Part {
        settings: settings.clone(),
        routers: stage.addresses().to_vec(),
        ca: stage.ca()?,
        clock,
        signs: Arc::clone(&signs),
    };
    progress.stage("connecting");
    let load = thread::Builder::new().name("load".to_owned()).spawn(move || load::play(&part))?;
    while !signs.has_begun.load(Ordering::Acquire) && !load.is_finished() {
        thread::sleep(LOOK_EVERY);
    }
    let restarted = restart_all(&mut stage, settings, progress, (&signs, clock));
    signs.is_over.store(true, Ordering::Release);
    progress.stage("settling");
    let figures = load.join().map_err(|_| FeatureError::client("the load ended with a panic"))?;
    let times = restarted?;
    let ms = |times: &mut dyn Iterator<Item = Duration>| times.map(millis).collect();
    let mut figures = figures?;
    figures.ended_ms = ms(&mut times.iter().map(|&(ended, _)| ended));
    figures.back_ms = ms(&mut times.iter().map(|&(_, back)| back));
    Ok(figures)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Restarts one router behind the other; how long each took to end and to be back.
fn restart_all(
    stage: &mut Stage,
    settings: &RollingSettings,
    progress: &Progress,
    (signs, clock): (&Signs, Clock),
) -> Result<Vec<(Duration, Duration)>, FeatureError> {
    progress.stage("watching");
    thread::sleep(settings.watch);
    signs.restarts_from_us.store(clock.now_us(), Ordering::Release);
    progress.stage("restarting routers");
    let mut times = Vec::new();
    for router in 0..usize::from(settings.routers) {
        times.push(stage.restart(router)?);
        thread::sleep(settings.pause);
    }
    signs.restarts_until_us.store(clock.now_us(), Ordering::Release);
    progress.stage("watching");
    thread::sleep(settings.watch);
    Ok(times)
}

/// What must hold.
fn checks(figures: &RollingFigures, settings: &RollingSettings) -> Vec<Check> {
    let RollingFigures { came, published, confirmed, .. } = figures;
    let gaps: u64 = figures.gaps.values().sum();
    vec![
        Check::new(
            "delivered",
            came.is_clean() && came.delivered == *published && figures.corrupted == 0,
            format!(
                "{} missing, {} twice, {} out of order, {} corrupted",
                came.missing, came.duplicated, came.reordered, figures.corrupted
            ),
        ),
        Check::new("gaps", gaps == 0, format!("{:?}", figures.gaps)),
        Check::new(
            "confirmed",
            *published > 0 && figures.unconfirmed_share() <= UNCONFIRMED_SHARE_MAX,
            format!("{confirmed} of {published}"),
        ),
        Check::new(
            "duplicates",
            figures.removed_share() <= REMOVED_SHARE_MAX,
            format!("{:.2} % before removal", figures.removed_share() * 100.0),
        ),
        Check::new(
            "latency",
            figures.slower() <= settings.slower_max,
            format!(
                "p99 {:.1} ms while routers restarted, {:.1} times that of before",
                figures.during_us.p99_us as f64 / 1e3,
                figures.slower()
            ),
        ),
    ]
}
