//! What presets run on: routers as processes, and a folder, of which nothing is left behind.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Instant;

use super::check::Check;
use super::error::FeatureError;
use super::report::{Figures, Report};
use crate::cluster::Cluster;
use crate::progress::Progress;

/// Where so many routers may listen: ports that are free, all of them at once.
pub(super) fn free_addresses(count: u32) -> std::io::Result<Vec<SocketAddr>> {
    let held: Vec<_> =
        (0..count).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    held.iter().map(UdpSocket::local_addr).collect()
}

/// Plays a preset in a folder of its own, and reports what held of its figures.
pub(super) fn in_folder<F: Figures>(
    name: &str,
    progress: &Progress,
    play: impl FnOnce(&Path) -> Result<F, FeatureError>,
    checks: impl FnOnce(&F) -> Vec<Check>,
) -> Result<Report<F>, FeatureError> {
    let begun = Instant::now();
    progress.stage("starting");
    let folder = std::env::temp_dir().join(format!("millrace-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let figures = play(&folder);
    // What stays behind among temporary files is the system's business.
    let _ = std::fs::remove_dir_all(&folder);
    let figures = figures?;
    let checks = checks(&figures);
    Ok(Report::new(figures, checks, begun.elapsed()))
}

/// As [`in_folder`], with so many routers that know each other; their authority is in the folder as
/// `ca.pem`, for processes.
pub(super) fn with_routers<F: Figures>(
    (name, routers): (&str, u16),
    progress: &Progress,
    play: impl FnOnce(&Cluster, &Path) -> Result<F, FeatureError>,
    checks: impl FnOnce(&F) -> Vec<Check>,
) -> Result<Report<F>, FeatureError> {
    let play = |folder: &Path| {
        let cluster = Cluster::processes(routers, 1)?;
        std::fs::write(folder.join("ca.pem"), cluster.ca_pem())?;
        let figures = play(&cluster, folder);
        cluster.stop();
        figures
    };
    in_folder(name, progress, play, checks)
}
