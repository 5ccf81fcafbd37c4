//! What of a file is not as it was, and whether it may change while the program runs.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::Value;

/// Keys with a table of their own for each entry, which say their differences themselves.
const LISTS: &str = "identity";

/// A line for each key that differs.
///
/// # Errors
/// Lines of keys that are none of `live`: they need a restart.
pub(crate) fn differences<T: Serialize>(old: &T, new: &T, live: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let (old, new) = (flat(old), flat(new));
    let (mut lines, mut restart) = (Vec::new(), Vec::new());
    let added = new.keys().filter(|key| !old.contains_key(*key));
    for key in old.keys().chain(added) {
        let (before, after) = (old.get(key), new.get(key));
        if before == after {
            continue;
        }
        let text = |value: Option<&String>| value.map_or("unset", String::as_str).to_owned();
        let line = format!("{key}: {} becomes {}", text(before), text(after));
        if live.contains(&key.as_str()) { lines.push(line) } else { restart.push(line) }
    }
    if restart.is_empty() { Ok(lines) } else { Err(restart) }
}

/// Each key with its value as it is written.
fn flat(file: &impl Serialize) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    // A file that was read can be written.
    if let Ok(value) = Value::try_from(file) {
        put(&mut keys, String::new(), &value);
    }
    keys
}

fn put(keys: &mut BTreeMap<String, String>, name: String, value: &Value) {
    let Value::Table(table) = value else {
        keys.insert(name, value.to_string());
        return;
    };
    for (key, value) in table {
        if key == LISTS && value.is_array() {
            continue;
        }
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        put(keys, name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::File;

    #[test]
    fn keys_that_are_not_live_need_a_restart() {
        let file = |text| File::parse(text).unwrap();
        let old = file("log.filter = 'info'");
        assert_eq!(differences(&old, &old, &[]), Ok(vec![]));
        let new = file("log.filter = 'debug'\n[[http.identity]]\nname = 'a'");
        let line = "log.filter: \"info\" becomes \"debug\"".to_owned();
        assert_eq!(differences(&old, &new, &["log.filter"]), Ok(vec![line]));
        let moved = file("log.filter = 'debug'\nhttp.listen = '127.0.0.1:1'");
        let line = "http.listen: unset becomes \"127.0.0.1:1\"".to_owned();
        assert_eq!(differences(&old, &moved, &["log.filter"]), Err(vec![line]));
    }
}
