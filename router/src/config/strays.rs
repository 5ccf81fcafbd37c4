//! Environment variables that look like a setting's and are none.
//!
//! They are warned of and not refused: clients have variables of the same beginning, and Kubernetes
//! gives pods some for a Service of this name.

use super::nearest::distance;
use super::settings;

/// What all variables begin with.
const OURS: &str = "MILLRACE_";
/// What other programs read, or this one beside its settings.
const OTHERS: [&str; 4] = ["CONFIG", "ROUTER", "TOKEN", "CERTS"];
/// Programs that have variables of their own.
const PROGRAMS: [&str; 2] = ["AGENT_", "GATEWAY_"];
/// Letters that may differ in a name of [`LONG`] letters or more; in a shorter one it is a single
/// letter.
const DIFFERENCES_MAX: usize = 2;
const LONG: usize = 6;

/// A warning for each of these variables that is a setting's but for a few letters.
pub(crate) fn strays(variables: impl Iterator<Item = String>) -> Vec<String> {
    let mut strays: Vec<String> = variables.filter_map(|variable| stray(&variable)).collect();
    strays.sort_unstable();
    strays
}

fn stray(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(OURS)?;
    let is_others = OTHERS.contains(&name) || PROGRAMS.iter().any(|program| name.starts_with(program));
    let known = settings::all().filter_map(|setting| setting.env);
    let (differences, near) = known.map(|env| (distance(variable, env), env)).min()?;
    let differences_max = if name.len() < LONG { 1 } else { DIFFERENCES_MAX };
    (!is_others && (1..=differences_max).contains(&differences)).then(|| {
        format!("no setting is read from the environment variable {variable}; is it meant to be {near}?")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_letters_apart_from_a_setting_is_told() {
        let told = |names: &[&str]| strays(names.iter().map(|&name| name.to_owned()));
        let found = told(&["MILLRACE_SEED", "MILLRACE_REBALANSE", "HOME"]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("MILLRACE_REBALANSE; is it meant to be MILLRACE_REBALANCE?"), "{found:?}");
        assert!(found[1].contains("MILLRACE_SEED; is it meant to be MILLRACE_SEEDS?"), "{found:?}");
    }

    #[test]
    fn what_other_programs_read_and_kubernetes_gives_is_not() {
        let names = ["SEEDS", "ROUTER", "TOKEN", "CERTS", "CONFIG", "PORT", "SERVICE_HOST", "SERVICE_PORT"];
        let more = ["PORT_7400_UDP_ADDR", "AGENT_LOG", "GATEWAY_LOG", "TAGS", "EVENT", "ADMIN"];
        let all = names.iter().chain(&more).map(|name| format!("{OURS}{name}"));
        assert_eq!(strays(all), [""; 0]);
    }
}
