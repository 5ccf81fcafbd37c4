//! Lists of tables in the configuration file, such as `[[identity]]`: their keys are declared once,
//! and what reads, prints and compares entries is derived from that.

use std::collections::BTreeMap;
use std::fmt::Write;

use millrace_engine::rights::ALLOWED_MAX;
use toml::de::{DeArray, DeValue};
use toml::{Table, Value};

use super::nearest::nearest;

/// One key of an entry.
pub(crate) struct Key<E: 'static> {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) range: &'static str,
    pub(crate) read: fn(&mut E, &Value) -> Result<(), String>,
    /// Its value in the file; none where it has its default.
    pub(crate) show: fn(&E) -> Option<Value>,
}

/// One entry of a list.
pub(crate) trait Entry: Clone + PartialEq + 'static {
    /// What the list is called in the file.
    const TABLE: &'static str;
    /// What it is about.
    const ABOUT: &'static str;
    /// Entries, at most.
    const MAX: usize;
    /// Keys that an entry must have, each with a hint.
    const REQUIRED: &'static [(&'static str, &'static str)];

    /// Its keys.
    fn keys() -> &'static [Key<Self>];
    /// An entry without any.
    fn blank() -> Self;
    /// What tells it from others.
    fn label(&self) -> String;
    /// Looks for what cannot work; the error names the key.
    ///
    /// # Errors
    /// What is wrong.
    fn check(&self) -> Result<(), String>;
}

/// Reads all entries of a list; `place_at` says in words where a byte of the file stands.
///
/// # Errors
/// The place, the key, and what is wrong.
pub(crate) fn read_all<E: Entry>(
    places: &DeArray<'_>,
    entries: &[Value],
    place_at: impl Fn(usize) -> String,
) -> Result<Vec<E>, String> {
    let mut all: Vec<E> = Vec::new();
    for (entry, place) in entries.iter().zip(places.iter()) {
        let here = place.span().start;
        let (Value::Table(table), DeValue::Table(keys)) = (entry, place.get_ref()) else {
            return Err(format!(
                "{}: `{table}` is a list of tables: write [[{table}]]",
                place_at(here),
                table = E::TABLE
            ));
        };
        let place_of = |name: Option<&str>| {
            let key = name.and_then(|name| keys.iter().find(|(key, _)| key.get_ref() == name));
            place_at(key.map_or(here, |(key, _)| key.span().start))
        };
        let entry: E = read(table, place_of)?;
        if all.len() >= E::MAX {
            return Err(format!("{}: more than {} [[{}]]", place_at(here), E::MAX, E::TABLE));
        }
        let label = entry.label();
        if all.iter().any(|other| other.label() == label) {
            return Err(format!("{}: a second [[{}]] has the name \"{label}\"", place_at(here), E::TABLE));
        }
        all.push(entry);
    }
    Ok(all)
}

/// Reads one entry; `place_of` gives the place of a key, or of the entry.
///
/// # Errors
/// The place, the key, and what is wrong.
pub(crate) fn read<E: Entry>(table: &Table, place_of: impl Fn(Option<&str>) -> String) -> Result<E, String> {
    let mut entry = E::blank();
    for (name, value) in table {
        let place = || place_of(Some(name));
        let Some(key) = E::keys().iter().find(|key| key.name == name) else {
            let near = nearest(name, E::keys().iter().map(|key| key.name));
            let near = near.map_or_else(
                || {
                    let names: Vec<&str> = E::keys().iter().map(|key| key.name).collect();
                    format!("; an entry has {}", names.join(", "))
                },
                |near| format!("; is it `{near}`?"),
            );
            return Err(format!("{}: unknown key `{name}` of [[{}]]{near}", place(), E::TABLE));
        };
        (key.read)(&mut entry, value)
            .map_err(|problem| format!("[[{}]] `{name}` ({}): {problem}", E::TABLE, place()))?;
    }
    if let Some((key, hint)) = E::REQUIRED.iter().find(|(key, _)| !table.contains_key(*key)) {
        return Err(format!("{}: an [[{}]] has no `{key}`; {hint}", place_of(None), E::TABLE));
    }
    entry.check().map_err(|problem| {
        format!("[[{}]] \"{}\" ({}): {problem}", E::TABLE, entry.label(), place_of(None))
    })?;
    Ok(entry)
}

/// The entries as they stand in the file.
pub(crate) fn shown<E: Entry>(entries: &[E]) -> String {
    let mut text = String::new();
    for entry in entries {
        let _ = write!(text, "\n[[{}]]\n", E::TABLE);
        for key in E::keys() {
            if let Some(value) = (key.show)(entry) {
                let _ = writeln!(text, "{} = {value}", key.name);
            }
        }
    }
    text
}

/// A line for each difference between two lists.
pub(crate) fn differences<E: Entry>(old: &[E], new: &[E]) -> Vec<String> {
    let named = |entries: &[E], label: &str| entries.iter().find(|entry| entry.label() == label).cloned();
    let mut lines = Vec::new();
    for entry in new {
        let label = entry.label();
        let Some(before) = named(old, &label) else {
            lines.push(format!("{} \"{label}\": added", E::TABLE));
            continue;
        };
        for key in E::keys() {
            let (before, after) = ((key.show)(&before), (key.show)(entry));
            if before != after {
                let text = |value: Option<Value>| {
                    value.map_or_else(|| "unset".to_owned(), |value| value.to_string())
                };
                lines.push(format!(
                    "{} \"{label}\": {} {} becomes {}",
                    E::TABLE,
                    key.name,
                    text(before),
                    text(after)
                ));
            }
        }
    }
    let removed = old.iter().map(Entry::label).filter(|label| named(new, label).is_none());
    lines.extend(removed.map(|label| format!("{} \"{label}\": removed", E::TABLE)));
    if lines.is_empty() && old != new {
        lines.push(format!("[[{}]]: the order has changed; the first that matches counts", E::TABLE));
    }
    lines
}

/// What is said of a value of another kind.
pub(crate) fn not(expected: &str, value: &Value) -> String {
    format!("`{value}` is not {expected}")
}

/// A whole number within bounds.
pub(crate) fn number(value: &Value, min: u64, max: u64) -> Result<u64, String> {
    let number = value.as_integer().ok_or_else(|| not("a whole number", value))?;
    let fits = u64::try_from(number).ok().filter(|number| (min..=max).contains(number));
    fits.ok_or_else(|| format!("{number} is not between {min} and {max}"))
}

/// A number as a value of the file.
pub(crate) fn shown_number(number: u64) -> Option<Value> {
    i64::try_from(number).ok().map(Value::Integer)
}

/// A text.
pub(crate) fn text(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| not("a text in quotes", value))
}

/// A list of selectors, as long as an allow list may be.
pub(crate) fn texts(value: &Value) -> Result<Vec<String>, String> {
    let expected = || not("a list of selectors such as [\"tenant=a\"]", value);
    let values = value.as_array().ok_or_else(expected)?;
    if values.len() > ALLOWED_MAX {
        return Err(format!("a list has at most {ALLOWED_MAX} selectors"));
    }
    values.iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(expected)).collect()
}

/// A list of texts as a value of the file.
pub(crate) fn list(texts: &[String]) -> Value {
    Value::Array(texts.iter().cloned().map(Value::String).collect())
}

/// A table of tags.
pub(crate) fn tags(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let tags = value.as_table().ok_or_else(|| not("a table such as { tenant = \"a\" }", value))?;
    tags.iter().map(|(key, value)| Ok((key.clone(), text(value)?))).collect()
}

/// Tags as a value of the file; none when there are none.
pub(crate) fn tags_shown(tags: &BTreeMap<String, String>) -> Option<Value> {
    let table: Table = tags.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
    (!table.is_empty()).then_some(Value::Table(table))
}
