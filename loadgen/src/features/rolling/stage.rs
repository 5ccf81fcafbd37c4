//! The routers of the preset: processes that are restarted where they were.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::settings::RollingSettings;
use crate::cluster::RouterProcess;
use crate::features::error::FeatureError;
use crate::features::stage::free_addresses;

/// How long a router may take to be linked with all others.
const LINK_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at that.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Routers, each at an address of its own. They end with the thread that started them.
pub(super) struct Stage {
    addresses: Vec<SocketAddr>,
    /// None: it is away.
    routers: Vec<Option<RouterProcess>>,
    folder: PathBuf,
    options: Vec<String>,
}

impl Stage {
    /// Starts all routers, and waits until each is linked with each.
    pub(super) fn start(settings: &RollingSettings, folder: &Path) -> Result<Self, FeatureError> {
        let options = [
            ("--cores", settings.cores.to_string()),
            ("--grace", format!("{}ms", settings.grace.as_millis())),
            // Nobody else moves clients.
            ("--rebalance", "off".to_owned()),
        ];
        let mut stage = Self {
            addresses: free_addresses(settings.routers.into())?,
            routers: Vec::new(),
            folder: folder.to_owned(),
            options: options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect(),
        };
        for router in 0..stage.addresses.len() {
            let process = stage.process(router, &stage.addresses[..router])?;
            stage.routers.push(Some(process));
        }
        for router in 0..stage.addresses.len() {
            stage.until_linked(router)?;
        }
        Ok(stage)
    }

    fn process(&self, router: usize, seeds: &[SocketAddr]) -> Result<RouterProcess, FeatureError> {
        let own = self.addresses[router];
        let mut arguments = self.options.clone();
        arguments.extend(["--listen".to_owned(), own.to_string()]);
        let seeds = seeds.iter().filter(|&&seed| seed != own);
        arguments.extend(seeds.flat_map(|seed| ["--seed".to_owned(), seed.to_string()]));
        Ok(RouterProcess::start_as(&arguments, &self.folder)?)
    }

    fn until_linked(&self, router: usize) -> Result<(), FeatureError> {
        let begun = Instant::now();
        let is_linked = || {
            let linked = self.routers[router].as_ref().map_or(0, RouterProcess::linked);
            linked + 1 >= self.addresses.len() as u64
        };
        while !is_linked() {
            if begun.elapsed() > LINK_WITHIN {
                let what = "a router was not linked with all others";
                return Err(FeatureError::Late { what, within_s: LINK_WITHIN.as_secs() });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Restarts one. Returns how long it took to end, and until it was linked with all again.
    pub(super) fn restart(&mut self, router: usize) -> Result<(Duration, Duration), FeatureError> {
        let begun = Instant::now();
        if let Some(process) = self.routers[router].take() {
            process.end();
        }
        let ended = begun.elapsed();
        self.routers[router] = Some(self.process(router, &self.addresses)?);
        self.until_linked(router)?;
        Ok((ended, begun.elapsed()))
    }

    /// Where they are.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The authority that clients trust.
    pub(super) fn ca(&self) -> Result<PathBuf, FeatureError> {
        let first = self.routers.iter().flatten().next();
        first.map(|router| router.ca.clone()).ok_or_else(|| FeatureError::client("no router is there"))
    }
}
