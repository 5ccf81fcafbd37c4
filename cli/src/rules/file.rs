//! Rules in a router's configuration file. Its other settings are the router's to check.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use millrace_certs::{FILE_BYTES_MAX, read_file};
use millrace_proto::rule::{RuleText, Rules};
use serde::Deserialize;

use crate::options::bytes;

/// Bytes of a payload that rules look at, unless the file says another number.
const PAYLOAD_BYTES: u64 = 4 << 10;
/// Values of a captured tag, unless the file says another number.
const DISTINCT_MAX: usize = 1_000;

/// Rules that were read, and what bounds them.
#[derive(Debug)]
pub(super) struct File {
    pub(super) rules: Rules,
    pub(super) payload_bytes: usize,
    pub(super) distinct_max: usize,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    rule: Vec<Entry>,
    #[serde(default)]
    rules: Bounds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    when: String,
    set: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct Bounds {
    payload: Option<String>,
    max_distinct: Option<usize>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// The file, the rule, what is wrong, and the cure.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let bytes = read_file(path, FILE_BYTES_MAX).with_context(|| format!("cannot read {shown}"))?;
        let text = String::from_utf8(bytes).with_context(|| format!("{shown} is not UTF-8"))?;
        Self::parse(&text).with_context(|| format!("{shown} has rules that cannot be used"))
    }

    fn parse(text: &str) -> Result<Self> {
        let Config { rule, rules: bounds } = toml::from_str(text)?;
        if rule.is_empty() {
            bail!("it has no [[rule]]");
        }
        let texts: Vec<RuleText> =
            rule.into_iter().map(|Entry { name, when, set }| RuleText { name, when, set }).collect();
        let payload = bounds.payload.as_deref().map_or(Ok(PAYLOAD_BYTES), bytes);
        let payload = payload.map_err(|problem| anyhow!("rules.payload: {problem}"))?;
        Ok(Self {
            rules: Rules::compile(&texts)?,
            payload_bytes: usize::try_from(payload)?,
            distinct_max: bounds.max_distinct.unwrap_or(DISTINCT_MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_far_as_rules_go() {
        let file = File::parse(
            "name = 'r1'\n[rules]\npayload = '1KiB'\n[[rule]]\nname = 'a'\nwhen = 'x'\nset = { y = '1' }\n",
        );
        let file = file.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((file.rules.all().len(), file.payload_bytes, file.distinct_max), (1, 1024, 1_000));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("name = 'r1'", "it has no [[rule]]"),
            ("[[rule]]\nname = 'a'\nwhen = 'x'", "missing field `set`"),
            ("[[rule]]\nname = 'a'\nwhen = 'x'\nset = { y = '${z}' }", "rule \"a\": `y`: unknown capture"),
        ] {
            let error = File::parse(text).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(expected), "{error}");
        }
    }
}
