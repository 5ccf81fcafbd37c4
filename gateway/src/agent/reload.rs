//! The settings that an agent runs with, read anew: whole or not at all. What may change while it
//! runs is its certificate and the log.

use super::settings::{AgentFile, AgentSettings, AgentSettingsError};
use crate::settings::{change_identity, differences};

/// Keys that count from a reload on.
const LIVE: &[&str] = &["log.filter", "routers.cert", "routers.key", "tls.accept_open_keys"];

/// The settings of an agent.
#[derive(Debug)]
pub struct AgentRunning {
    file: AgentFile,
    settings: AgentSettings,
}

impl AgentRunning {
    /// Checks a complete file ([`AgentFile::complete`]).
    ///
    /// # Errors
    /// [`AgentSettingsError`] names the setting.
    pub fn new(file: AgentFile) -> Result<Self, AgentSettingsError> {
        let settings = AgentSettings::of(&file)?;
        Ok(Self { file, settings })
    }

    /// What the agent is started with.
    #[must_use]
    pub const fn settings(&self) -> &AgentSettings {
        &self.settings
    }

    /// Takes over what another file says. Returns a line for each difference.
    ///
    /// # Errors
    /// What is wrong with it, or needs a restart. Nothing was changed.
    pub fn reload(&mut self, file: AgentFile) -> Result<Vec<String>, String> {
        let new = AgentSettings::of(&file).map_err(|error| error.to_string())?;
        let restart = |lines: Vec<String>| format!("it needs a restart: {}", lines.join("; "));
        let mut lines = differences(&self.file, &file, LIVE).map_err(restart)?;
        let identity = change_identity(&self.settings.routers, &new.routers, true);
        lines.extend(identity.map_err(|line| restart(vec![line]))?);
        self.settings.log_filter = new.log_filter;
        self.settings.warnings = new.warnings;
        self.file = file;
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_may_change_and_the_spool_may_not() {
        let file = |text: &str| AgentFile::parse(text).unwrap().complete("web-1");
        let mut running = AgentRunning::new(file("")).unwrap();
        let lines = running.reload(file("log.filter = 'debug'")).unwrap();
        assert_eq!(lines, ["log.filter: \"info\" becomes \"debug\""]);
        let refused = running.reload(file("spool.max_bytes = '2GiB'")).unwrap_err();
        assert!(refused.contains("restart: spool.max_bytes"), "{refused}");
        assert!(running.reload(file("log.filter = 'dbug'")).unwrap_err().contains("dbug"));
        assert_eq!(running.settings().log_filter, "debug", "nothing was changed");
    }
}
