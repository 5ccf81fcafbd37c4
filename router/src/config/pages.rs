//! Pages that are printed from the declarations: a configuration file with every key, and the
//! reference page.

use std::fmt::Write;

use toml::Value;

use super::accepts::AcceptEntry;
use super::declare::{Section, Setting};
use super::forwards::ForwardEntry;
use super::identities::IdentityEntry;
use super::rules;
use super::settings::{SECTIONS, Settings};
use super::tables::{self, Entry};

/// Lines of pages are at most this long, where words allow it.
const WIDTH: usize = 98;

/// The settings as a file: every key with its meaning. A key that is unset stands as a comment.
pub(crate) fn file(settings: &Settings) -> String {
    let mut page = String::from(
        "# Settings of millrace-router. Defaults < file < environment (MILLRACE_...) < flags; the last one counts.\n",
    );
    for Section { about, settings: declared } in &SECTIONS {
        page.push('\n');
        wrap(&mut page, "# ", &joined(about));
        let section = declared.first().map_or("", |setting| setting.place().0);
        if !section.is_empty() {
            let _ = writeln!(page, "[{section}]");
        }
        for setting in *declared {
            page.push('\n');
            wrap(&mut page, "# ", &setting.meaning());
            wrap(&mut page, "# ", &plain(&facts(setting)));
            let key = setting.place().1;
            let _ = match (setting.show)(settings) {
                Some(value) => writeln!(page, "{key} = {}", shown(&value)),
                None => writeln!(page, "# {key} = \"{}\"", (setting.form)().placeholder),
            };
        }
    }
    file_list(&mut page, &settings.identities);
    file_list(&mut page, &settings.forwards);
    file_list(&mut page, &settings.accepts);
    page.push('\n');
    wrap(&mut page, "# ", rules::ABOUT);
    wrap(&mut page, "# ", "Change: live. A [[rule]] has the keys:");
    for key in &rules::KEYS {
        wrap(&mut page, "#   ", &plain(&format!("{}: {} Value: {}.", key.name, key.meaning, key.range)));
    }
    page.push_str(&rules::shown(&settings.rule));
    page
}

/// A list of tables in the file.
fn file_list<E: Entry>(page: &mut String, entries: &[E]) {
    page.push('\n');
    wrap(page, "# ", &plain(E::ABOUT));
    wrap(page, "# ", &format!("Change: live. An [[{}]] has the keys:", E::TABLE));
    for key in E::keys() {
        wrap(page, "#   ", &plain(&format!("{}: {} Value: {}.", key.name, key.meaning, key.range)));
    }
    page.push_str(&tables::shown(entries));
}

/// A list of tables on the reference page.
fn reference_list<E: Entry>(page: &mut String) {
    let _ = write!(page, "## `[[{}]]`\n\n", E::TABLE);
    wrap(page, "", E::ABOUT);
    page.push_str("\nChange: live.\n");
    for key in E::keys() {
        let _ = write!(page, "\n### `{}.{}`\n\n", E::TABLE, key.name);
        wrap(page, "", key.meaning);
        page.push('\n');
        wrap(page, "", &format!("Value: {}.", key.range));
    }
    page.push('\n');
}

/// The reference page, in Markdown.
pub(crate) fn reference() -> String {
    let mut page = String::from("# Settings of the router\n\n");
    for paragraph in [
        "This page is printed by `millrace-router --print-reference`; a test compares the two.",
        "A setting is given by the configuration file (TOML, `--config FILE` or `MILLRACE_CONFIG`), by its environment \
         variable, by its flag, or by `--set SECTION.KEY=VALUE`. Defaults < file < environment < flags: the last one \
         counts. An empty environment variable is as if unset. Unknown keys are refused.",
        "`millrace-router --check` looks for what start would refuse and for what the first hour would bring; \
         `--print-config` prints what counts, as a file.",
        "SIGHUP makes a router read file, environment and certificates anew, whole or not at all, and log the \
         difference. How a change counts: **live**, at once; **drain**, for connections that begin afterwards; \
         **restart**, from the next start (a reload that would change it is refused).",
    ] {
        wrap(&mut page, "", paragraph);
        page.push('\n');
    }
    let defaults = Settings::default();
    for Section { about, settings } in &SECTIONS {
        let section = settings.first().map_or("", |setting| setting.place().0);
        let _ = match section {
            "" => write!(page, "## Top of the file\n\n"),
            section => write!(page, "## `[{section}]`\n\n"),
        };
        wrap(&mut page, "", &joined(about));
        for setting in *settings {
            let _ = write!(page, "\n### `{}`\n\n", setting.name);
            wrap(&mut page, "", &setting.meaning());
            page.push('\n');
            let default = match (setting.show)(&defaults) {
                Some(value) => format!("default `{}`", shown(&value)),
                None => "unset by default".to_owned(),
            };
            wrap(&mut page, "", &format!("{}; {default}.", facts(setting)));
        }
        page.push('\n');
    }
    reference_list::<IdentityEntry>(&mut page);
    reference_list::<ForwardEntry>(&mut page);
    reference_list::<AcceptEntry>(&mut page);
    page.push_str("## `[[rule]]`\n\n");
    wrap(&mut page, "", rules::ABOUT);
    page.push_str("\nChange: live.\n");
    for key in &rules::KEYS {
        let _ = write!(page, "\n### `rule.{}`\n\n", key.name);
        wrap(&mut page, "", key.meaning);
        page.push('\n');
        wrap(&mut page, "", &format!("Value: {}.", key.range));
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// Range, change, flag and variable of a setting.
fn facts(setting: &Setting<Settings>) -> String {
    let mut facts = format!("Value: {}; change: {}", (setting.form)().range, setting.change.name());
    if let Some(flag) = setting.flag {
        let _ = write!(facts, "; `--{flag}`");
    }
    if let Some(env) = setting.env {
        let _ = write!(facts, "; `{env}`");
    }
    facts
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// The text without the marks of Markdown.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// A value as TOML.
pub(crate) fn shown(value: &Value) -> String {
    value.to_string()
}

/// Adds a text in lines of [`WIDTH`].
fn wrap(page: &mut String, prefix: &str, text: &str) {
    let mut line = String::from(prefix);
    for word in text.split_whitespace() {
        if line.len() > prefix.len() && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(page, "{line}");
            line = String::from(prefix);
        }
        if line.len() > prefix.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(page, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Layers;
    use millrace_proto::rule::RuleText;

    #[test]
    fn printed_settings_are_a_file_that_gives_the_same_settings() {
        let mut layers = Layers::default();
        for text in [
            "name = \"a \\\"quoted\\\" name\"",
            "advertise = a.example:1",
            "mesh.seeds = [\"b.example\", \"[::1]:5\"]",
            "cores.pin = [0, 2]",
            "admin.listen = off",
            "limits.receiver_queue = 3KiB",
            "mesh.suspect_after = 1m 30s",
            "tls.require_client_certificate = true",
        ] {
            layers.put_assignment(text).unwrap();
        }
        layers.settings.identities = vec![
            IdentityEntry { publish: Some(vec!["tenant=\"a b\"".into()]), ..IdentityEntry::new("tenant-*") },
            IdentityEntry { stamp_identity: false, ..IdentityEntry::new("*") },
        ];
        layers.settings.rule = vec![RuleText {
            name: "disk".into(),
            when: "a, payload ~ /\\d \"(?<x>.)/".into(),
            set: [("x".into(), "${x}".into())].into(),
        }];
        layers.settings.forwards = vec![ForwardEntry::new("north", "north.example")];
        layers.settings.accepts = vec![AcceptEntry::new("edge-*")];
        let printed = file(&layers.settings);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("router.toml");
        std::fs::write(&path, &printed).unwrap();
        let mut again = Layers::default();
        again.put_file(&path).unwrap();
        assert_eq!(again.settings, layers.settings);
        assert_eq!(file(&again.settings), printed);
    }

    #[test]
    fn printed_file_has_every_key_with_its_meaning() {
        let printed = file(&Settings::default());
        for setting in super::super::settings::all() {
            let key = setting.place().1;
            let lines = [format!("{key} = "), format!("# {key} = ")];
            assert!(
                printed.lines().any(|line| lines.iter().any(|key| line.starts_with(key))),
                "no {}",
                setting.name
            );
        }
        assert!(printed.contains("suspect_after = \"1s\"") && printed.contains("receiver_queue = \"16MiB\""));
    }

    #[test]
    fn reference_page_is_what_the_declarations_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/config.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == reference(),
            "stale: cargo run -p millrace-router -- --print-reference > docs/reference/config.md"
        );
    }
}
