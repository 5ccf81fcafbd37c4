//! Reads settings and certificates anew while the router runs: whole or not at all, and the
//! difference is logged.

use crate::cli::{Cli, Plan};
use crate::config::declare::Change;
use crate::config::pages::shown;
use crate::config::rules;
use crate::config::settings::{self, Settings};
use crate::config::tables;
use crate::handle::RouterHandle;
use crate::logs::Logs;
use crate::start_error::ReloadError;

/// Reads everything anew and applies it. Returns a line for each difference; none where there is
/// nothing new.
///
/// # Errors
/// What is refused; nothing was changed.
pub(crate) fn apply(
    cli: &Cli,
    plan: &mut Plan,
    handle: &RouterHandle,
    logs: &Logs,
) -> Result<Vec<String>, ReloadError> {
    let applied = try_apply(cli, plan, handle, logs);
    match &applied {
        Ok(differences) if differences.is_empty() => tracing::info!("reloaded; nothing has changed"),
        Ok(differences) => {
            differences.iter().for_each(|difference| tracing::info!("reload: {difference}"));
            tracing::info!(changes = differences.len(), "reloaded");
            plan.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        Err(error) => {
            let error = error.to_string().replace('\n', "; ");
            tracing::error!("the reload is refused, and nothing was changed: {error}");
        }
    }
    applied
}

fn try_apply(
    cli: &Cli,
    plan: &mut Plan,
    handle: &RouterHandle,
    logs: &Logs,
) -> Result<Vec<String>, ReloadError> {
    let mut new = cli.plan().map_err(|error| ReloadError::Process(format!("{error:#}")))?;
    let (live, restart) = differences(&plan.settings, &new.settings);
    if !restart.is_empty() {
        return Err(ReloadError::Process(format!("it needs a restart: {}", restart.join("; "))));
    }
    let mut lines = live;
    // In development mode each reading makes a certificate.
    let renewed = plan.dev.is_none() && !plan.config.identity.is_same(&new.config.identity);
    if renewed {
        lines.push("certificates: new ones, for connections from now on".to_owned());
    }
    let (old, new_identity) = (&plan.config.identity, &new.config.identity);
    if plan.dev.is_none() && new_identity.has_shared_secret() && !old.has_same_secrets(new_identity) {
        lines.push("cluster secret: a changed file; its first one makes tickets from now on".to_owned());
    }
    if plan.config.tokens != new.config.tokens {
        let (before, after) = (plan.config.tokens.len(), new.config.tokens.len());
        lines.push(format!("tokens: a changed file, {before} become {after}"));
    }
    if plan.dev.is_some() {
        new.config.identity = plan.config.identity.clone();
    }
    handle.reload(&new.config)?;
    logs.set_filter(new.log_filter()).map_err(ReloadError::Process)?;
    // The port that was bound instead of the usual one stays.
    new.config.admin = plan.config.admin;
    *plan = new;
    Ok(lines)
}

/// What a reload applies, and what it cannot.
fn differences(old: &Settings, new: &Settings) -> (Vec<String>, Vec<String>) {
    let mut differences = (Vec::new(), Vec::new());
    for setting in settings::all() {
        let (before, after) = ((setting.show)(old), (setting.show)(new));
        if before == after {
            continue;
        }
        let text = |value: Option<_>| value.as_ref().map_or_else(|| "unset".to_owned(), shown);
        let line = format!("{}: {} becomes {}", setting.name, text(before), text(after));
        match setting.change {
            Change::Live | Change::Drain => differences.0.push(line),
            Change::Restart => differences.1.push(line),
        }
    }
    differences.0.extend(tables::differences(&old.identities, &new.identities));
    differences.0.extend(tables::differences(&old.forwards, &new.forwards));
    differences.0.extend(tables::differences(&old.accepts, &new.accepts));
    differences.0.extend(rules::differences(&old.rule, &new.rule));
    differences
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn differences_are_told_apart_by_when_they_count() {
        let old = Settings::default();
        let mut new = old.clone();
        assert_eq!(differences(&old, &new), (vec![], vec![]));
        new.general.grace = Duration::from_secs(9);
        new.cores.count = 2;
        new.tls.ca = Some("ca.pem".into());
        let (live, restart) = differences(&old, &new);
        assert_eq!(live, ["grace: \"5s\" becomes \"9s\"", "tls.ca: unset becomes \"ca.pem\""]);
        assert_eq!(restart, ["cores.count: 1 becomes 2"]);
    }
}
