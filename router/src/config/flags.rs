//! The flags that settings declare, for clap: each takes its help text, default and environment
//! variable from the declaration. `-h` has the first sentence of a meaning, `--help` all of it.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::declare::Setting;
use super::kinds::Switch;
use super::layers::{Layers, Origin};
use super::settings::{self, Settings};

/// What was given by flags, in the order of the declarations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    given: Vec<(&'static str, Vec<String>)>,
}

impl Flags {
    /// Puts the given flags over the layers.
    ///
    /// # Errors
    ///
    /// The flag, and what is wrong with its value.
    pub(crate) fn put_into(&self, layers: &mut Layers) -> Result<(), String> {
        for (name, texts) in &self.given {
            let Some(setting) = settings::named(name) else { continue };
            let origin = Origin::Flag(setting.flag.unwrap_or_default());
            // A flag that repeats is a list.
            layers.put(setting, &(setting.value_of)(&texts.join(",")), &origin)?;
        }
        Ok(())
    }
}

fn flagged() -> impl Iterator<Item = (&'static Setting<Settings>, &'static str)> {
    settings::all().filter_map(|setting| Some((setting, setting.flag?)))
}

fn is_list(setting: &Setting<Settings>) -> bool {
    (setting.value_of)("").is_array()
}

/// What `-h` says of a flag, and `--help`.
fn help(setting: &Setting<Settings>) -> (String, String) {
    let mut facts = Vec::new();
    if is_list(setting) {
        facts.push("[repeatable]".to_owned());
    } else if let Some(value) = (setting.show)(&Settings::default()) {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        facts.push(format!("[default: {shown}]"));
    }
    facts.extend(setting.env.map(|env| format!("[env: {env}]")));
    let (meaning, facts) = (setting.meaning(), facts.join(" "));
    let meaning = meaning.trim_end_matches('.');
    let first = meaning.split_once(". ").map_or(meaning, |(first, _)| first);
    (format!("{first} {facts}"), format!("{meaning}\n\n{facts}"))
}

/// Under which heading a section's flags stand.
fn heading(setting: &Setting<Settings>) -> &'static str {
    match setting.place().0 {
        "" => "Router",
        "cores" => "Cores",
        "admin" => "Admin page",
        "tls" => "Certificates",
        "connection_ids" => "Behind balancers",
        "mesh" => "Mesh",
        "history" => "History",
        "canary" => "Canary",
        "log" => "Log",
        _ => "Others",
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        flagged().fold(command, |command, (setting, flag)| {
            let action = if is_list(setting) { ArgAction::Append } else { ArgAction::Set };
            let (short, long) = help(setting);
            let arg = Arg::new(setting.name).long(flag).help(short).long_help(long).action(action);
            let arg = arg.help_heading(heading(setting));
            let placeholder = (setting.form)().placeholder;
            let arg = arg.value_name(placeholder);
            // A switch by itself is switched on.
            let is_switch = placeholder == Switch::PLACEHOLDER;
            let on = || arg.clone().num_args(0..=1).require_equals(true).default_missing_value("true");
            command.arg(if is_switch { on() } else { arg })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let given = |(setting, _): (&'static Setting<Settings>, _)| {
            let texts = matches.get_many::<String>(setting.name)?;
            Some((setting.name, texts.cloned().collect()))
        };
        self.given = flagged().filter_map(given).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_help_has_one_sentence_and_where_the_value_comes_from() {
        let pin = settings::named("cores.pin").unwrap();
        let (short, long) = help(pin);
        assert_eq!(short, "CPUs for them [default: auto] [env: MILLRACE_PIN]");
        assert!(
            long.contains("isolated") && long.ends_with("\n\n[default: auto] [env: MILLRACE_PIN]"),
            "{long}"
        );
    }

    #[test]
    fn every_flag_stands_under_the_heading_of_its_section() {
        for (setting, _) in flagged() {
            assert_ne!(heading(setting), "Others", "{}", setting.name);
        }
    }
}
