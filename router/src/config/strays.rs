//! Environment variables that look like a setting's and are none.
//!
//! They are warned of and not refused: clients have variables of the same beginning, and Kubernetes
//! gives pods some for a Service of this name.

use super::declare::Setting;
use super::nearest::distance;
use super::settings::{self, Settings};

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

/// A warning for each of these variables that is a setting's but for a few letters, or has the name
/// that a setting has in the file.
pub(crate) fn strays(variables: impl Iterator<Item = String>) -> Vec<String> {
    let mut strays: Vec<String> = variables.filter_map(|variable| stray(&variable)).collect();
    strays.sort_unstable();
    strays
}

fn stray(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(OURS)?;
    let is_others = OTHERS.contains(&name) || PROGRAMS.iter().any(|program| name.starts_with(program));
    if is_others || settings::all().any(|setting| setting.env == Some(variable)) {
        return None;
    }
    if let Some(setting) = by_its_name(name) {
        let advice = setting.env.map_or_else(
            || format!("has none: write it in the file, or --set {}=…", setting.name),
            |env| format!("is read from {env}"),
        );
        return Some(format!(
            "no setting is read from the environment variable {variable}; `{}` {advice}",
            setting.name
        ));
    }
    let known = settings::all().filter_map(|setting| setting.env);
    let (differences, near) = known.map(|env| (distance(variable, env), env)).min()?;
    let differences_max = if name.len() < LONG { 1 } else { DIFFERENCES_MAX };
    (differences <= differences_max).then(|| {
        format!("no setting is read from the environment variable {variable}; is it meant to be {near}?")
    })
}

/// The setting that a variable without [`OURS`] is named after: `TLS_CERT` or `TLS__CERT` as
/// `tls.cert`, or a key of several words alone.
fn by_its_name(name: &str) -> Option<&'static Setting<Settings>> {
    let letters = |text: &str| text.replace(['_', '.'], "").to_ascii_lowercase();
    let given = letters(name);
    let is_long = name.trim_matches('_').contains('_');
    let mut all = settings::all();
    all.find(|setting| letters(setting.name) == given)
        .or_else(|| settings::all().find(|setting| is_long && letters(setting.place().1) == given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_with_the_name_of_a_setting_in_the_file_is_told() {
        let told = |name: &str| strays([name.to_owned()].into_iter()).pop().unwrap_or_default();
        for name in ["MILLRACE_MESH_SEEDS", "MILLRACE__MESH__SEEDS"] {
            assert!(told(name).ends_with("`mesh.seeds` is read from MILLRACE_SEEDS"), "{}", told(name));
        }
        for name in ["MILLRACE_TLS_REQUIRE_CLIENT_CERTIFICATE", "MILLRACE_REQUIRE_CLIENT_CERTIFICATE"] {
            let advice = "has none: write it in the file, or --set tls.require_client_certificate=…";
            assert!(told(name).ends_with(advice), "{}", told(name));
        }
    }

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
