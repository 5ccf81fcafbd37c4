//! How a simulated router is set up.

use std::time::Duration;

use millrace_engine::control::ControlConfig;
use millrace_engine::core::CoreConfig;
use millrace_proto::RouterId;

use crate::files::Disk;
use crate::rules::RuleReload;

/// How a router is set up; the same after each restart.
#[derive(Debug, Clone)]
pub struct RouterSetup {
    /// Its number.
    pub index: u32,
    /// Its id.
    pub id: RouterId,
    /// Its address.
    pub address: String,
    /// Its cores' settings; ids and the core are filled in.
    pub core: CoreConfig,
    /// Its control's settings; ids are filled in.
    pub control: ControlConfig,
    /// Its tag rules; none: it adds no tags.
    pub rules: Option<RuleReload>,
    /// Where it keeps history files; none: it keeps history in memory alone.
    pub disk: Option<Disk>,
    /// Longest time that mail waits, usually.
    pub mail_delay: Duration,
}
