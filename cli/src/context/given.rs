//! Which connection options the command line and the environment say.

use std::collections::BTreeSet;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::options::REACH;

/// Where admin pages are named, beside the options that all commands have.
const ADMIN: &str = "admin";
/// Holds a token itself; it has no option.
const TOKEN: &str = "MILLRACE_TOKEN";
/// Variables that come before what a context says, and the key of each.
const VARIABLES: [(&str, &str); 8] = [
    ("router", "MILLRACE_ROUTER"),
    (ADMIN, "MILLRACE_ADMIN"),
    ("ca", "MILLRACE_CA"),
    ("cert", "MILLRACE_CERT"),
    ("key", "MILLRACE_KEY"),
    ("accept_open_key", "MILLRACE_ACCEPT_OPEN_KEY"),
    ("zone", "MILLRACE_ZONE"),
    ("token_file", TOKEN),
];

/// The options that are given, by their ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    command_line: BTreeSet<&'static str>,
    environment: BTreeSet<&'static str>,
    /// The environment has a token.
    token: bool,
}

impl Given {
    /// What these matches say.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let mut given = Self { token: is_set(TOKEN), ..Self::default() };
        for id in REACH {
            given.add(id, matches.value_source(id));
        }
        if let Some((_, command)) = matches.subcommand()
            && let Ok(true) = command.try_contains_id(ADMIN)
        {
            given.add(ADMIN, command.value_source(ADMIN));
        }
        given
    }

    fn add(&mut self, id: &'static str, source: Option<ValueSource>) {
        match source {
            Some(ValueSource::CommandLine) => _ = self.command_line.insert(id),
            Some(ValueSource::EnvVariable) => _ = self.environment.insert(id),
            _ => {}
        }
    }

    /// Whether the command line or the environment says this option.
    pub(super) fn has(&self, id: &str) -> bool {
        self.has_here(id) || self.environment.contains(id)
    }

    /// Whether the command line says it.
    pub(super) fn has_here(&self, id: &str) -> bool {
        self.command_line.contains(id)
    }

    /// The first option of the command line that a context could have.
    pub(super) fn first_here(&self) -> Option<&'static str> {
        self.command_line.iter().copied().find(|&id| id != "context")
    }

    /// Whether the command line or the environment says who this client is.
    pub(super) fn has_identity(&self) -> bool {
        self.token || ["cert", "key", "token_file"].iter().any(|id| self.has(id))
    }
}

/// The variables of this environment that come before what a context says under these keys.
pub(super) fn before<'a>(keys: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = &'static str> + 'a {
    VARIABLES.into_iter().filter(move |(key, name)| keys(key) && is_set(name)).map(|(_, name)| name)
}

/// Whether a variable says something. An empty one counts as unset.
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}
