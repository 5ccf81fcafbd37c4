//! Layers of settings: defaults, then the file, then the environment, then flags; the last one
//! counts.
//!
//! A value that cannot be read is refused with its place, even where a later layer would replace
//! it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use millrace_certs::read_file;
use millrace_proto::rule::RuleText;
use toml::de::{DeArray, DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::declare::Setting;
use super::nearest::nearest;
use super::rules;
use super::settings::{self, Settings};
use super::tables::read_all;

/// Where the AWS Load Balancer Controller writes the server id of a pod.
const AWS_SERVER_ID: &str = "AWS_LBC_QUIC_SERVER_ID";

/// Most bytes of a configuration file; a larger file is a mistake.
const FILE_MAX: u64 = 1 << 20;

/// Keys whose value is a list of tables.
const LISTS: [&str; 3] = ["identity", "forward", "accept"];

/// Where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A line of the configuration file.
    File { path: PathBuf, line: usize },
    /// An environment variable.
    Environment(&'static str),
    /// A flag of the command line.
    Flag(&'static str),
    /// `--set`.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Set => f.write_str("--set"),
        }
    }
}

/// Settings, with the place of each that somebody has given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    pub(crate) settings: Settings,
    given: BTreeSet<&'static str>,
}

impl Layers {
    /// Whether somebody has given this setting.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// Puts one value over the setting.
    ///
    /// # Errors
    ///
    /// The setting, its place, and what is wrong with the value.
    pub(crate) fn put(
        &mut self,
        setting: &Setting<Settings>,
        value: &Value,
        origin: &Origin,
    ) -> Result<(), String> {
        let read = (setting.read)(&mut self.settings, value);
        read.map_err(|problem| format!("setting `{}` ({origin}): {problem}", setting.name))?;
        self.given.insert(setting.name);
        Ok(())
    }

    /// Puts a file over the settings.
    ///
    /// # Errors
    ///
    /// The file, and each line with what is wrong there.
    pub(crate) fn put_file(&mut self, path: &Path) -> Result<(), String> {
        let text = read_text(path)?;
        self.put_text(path, &text)
    }

    fn put_text(&mut self, path: &Path, text: &str) -> Result<(), String> {
        let wrong = |error: toml::de::Error| format!("{} is not valid: {error}", path.display());
        let values: Table = toml::from_str(text).map_err(wrong)?;
        let places = DeTable::parse(text).map_err(wrong)?;
        let line_of = |key: &Spanned<_>| line(text, key);
        let mut problems: Vec<(usize, String)> = Vec::new();
        for (key, place) in places.get_ref() {
            let origin = |line| Origin::File { path: path.to_owned(), line };
            let Some(value) = values.get(key.get_ref().as_ref()) else { continue };
            let done = match (place.get_ref(), value) {
                (DeValue::Array(places), Value::Array(entries)) if LISTS.contains(&&**key.get_ref()) => {
                    let place_at = |start| origin(line_at(text, start)).to_string();
                    let Settings { identities, forwards, accepts, .. } = &mut self.settings;
                    match &**key.get_ref() {
                        "forward" => read_all(places, entries, place_at).map(|read| *forwards = read),
                        "accept" => read_all(places, entries, place_at).map(|read| *accepts = read),
                        _ => read_all(places, entries, place_at).map(|read| *identities = read),
                    }
                }
                (DeValue::Array(places), Value::Array(entries)) if key.get_ref() == "rule" => {
                    let place_at = |start| origin(line_at(text, start)).to_string();
                    read_rules(places, entries, place_at).map(|read| self.settings.rule = read)
                }
                (DeValue::Table(inner_places), Value::Table(inner)) => {
                    let section = key.get_ref();
                    for (key, _) in inner_places {
                        let Some(value) = inner.get(key.get_ref().as_ref()) else { continue };
                        let name = format!("{section}.{}", key.get_ref());
                        let put = self.put_named(&name, value, &origin(line_of(key)));
                        problems.extend(put.err().map(|problem| (line_of(key), problem)));
                    }
                    let known = if inner_places.is_empty() { known_section(section) } else { Ok(()) };
                    known.map_err(|problem| format!("{}: {problem}", origin(line_of(key))))
                }
                (_, value) => self.put_named(key.get_ref(), value, &origin(line_of(key))),
            };
            problems.extend(done.err().map(|problem| (line_of(key), problem)));
        }
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|(line, _)| *line);
        let problems: Vec<String> = problems.into_iter().map(|(_, problem)| problem).collect();
        Err(problems.join("\n"))
    }

    /// Puts one value over the setting of this name, if there is one.
    fn put_named(&mut self, name: &str, value: &Value, origin: &Origin) -> Result<(), String> {
        let setting = find(name).map_err(|problem| format!("{origin}: {problem}"))?;
        self.put(setting, value, origin)
    }

    /// Puts the environment over the settings. An empty variable counts as unset.
    ///
    /// # Errors
    ///
    /// The variable, and what is wrong with its value.
    pub(crate) fn put_environment(
        &mut self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), String> {
        for setting in settings::all() {
            let Some(name) = setting.env else { continue };
            let Some(text) = variable(name).filter(|text| !text.is_empty()) else { continue };
            let text = text.into_string().map_err(|text| format!("{name}: {text:?} is not UTF-8"))?;
            self.put(setting, &(setting.value_of)(&text), &Origin::Environment(name))?;
        }
        self.put_balancers_id(variable(AWS_SERVER_ID))
    }

    /// Takes the server id that a balancer's controller has chosen for this pod, unless a setting
    /// says one.
    fn put_balancers_id(&mut self, given: Option<OsString>) -> Result<(), String> {
        let Some(setting) = settings::named("connection_ids.server_id") else { return Ok(()) };
        let given = given.filter(|text| !text.is_empty());
        let given = given.filter(|_| self.settings.connection_ids.server_id.is_empty());
        let Some(text) = given.map(|text| text.to_string_lossy().into_owned()) else { return Ok(()) };
        self.put(setting, &(setting.value_of)(&text), &Origin::Environment(AWS_SERVER_ID))
    }

    /// Puts `section.key=value` over the settings. The value is TOML; any other text is read as the
    /// setting's flag would read it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn put_assignment(&mut self, text: &str) -> Result<(), String> {
        let form = || format!("`--set {text}` is not of the form SECTION.KEY=VALUE");
        let (name, value) = text.split_once('=').ok_or_else(form)?;
        let setting = find(name.trim()).map_err(|problem| format!("--set: {problem}"))?;
        let parsed = toml::from_str::<Table>(&format!("value = {}", value.trim()));
        let parsed = parsed.ok().and_then(|mut table| table.remove("value"));
        let value = parsed.unwrap_or_else(|| (setting.value_of)(value.trim()));
        self.put(setting, &value, &Origin::Set)
    }
}

/// Reads a file as text, whichever editor wrote it.
fn read_text(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let failed =
        |error| format!("cannot read the configuration file {shown} (--config, MILLRACE_CONFIG): {error}");
    let bytes = read_file(path, FILE_MAX).map_err(|error| match error.kind() {
        ErrorKind::IsADirectory => {
            format!("{shown} is a folder; --config names a file, such as {shown}/router.toml")
        }
        ErrorKind::FileTooLarge => format!("{shown} is larger than 1 MiB: that is no configuration file"),
        _ => failed(error),
    })?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(format!("{shown} is UTF-16; save it as UTF-8"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count();
        format!("{shown}, line {line}, is not UTF-8; save the file as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The line of a key, from 1.
fn line<T>(text: &str, key: &Spanned<T>) -> usize {
    line_at(text, key.span().start)
}

/// The line of the byte at `start`, from 1.
fn line_at(text: &str, start: usize) -> usize {
    1 + text.as_bytes().iter().take(start).filter(|&&byte| byte == b'\n').count()
}

/// Reads all `[[rule]]`; `place_at` says in words where a byte of the file stands.
fn read_rules(
    places: &DeArray<'_>,
    entries: &[Value],
    place_at: impl Fn(usize) -> String,
) -> Result<Vec<RuleText>, String> {
    let starts: Vec<usize> = places.iter().map(|place| place.span().start).collect();
    let place_of = |index: usize, name: Option<&str>| {
        let keys = places.get(index).and_then(|place| match place.get_ref() {
            DeValue::Table(keys) => Some(keys),
            _ => None,
        });
        let key = name.and_then(|name| keys?.iter().find(|(key, _)| key.get_ref() == name));
        place_at(key.map_or(starts.get(index).copied().unwrap_or(0), |(key, _)| key.span().start))
    };
    let mut tables = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Value::Table(table) = entry else {
            return Err(format!("{}: a rule is a table: write [[rule]]", place_of(index, None)));
        };
        tables.push(table);
    }
    rules::read(&tables, place_of)
}

fn known_section(section: &str) -> Result<(), String> {
    let mut sections = settings::all().map(|setting| setting.place().0);
    if sections.any(|known| known == section) {
        return Ok(());
    }
    let nearest = nearest(section, settings::all().map(|setting| setting.place().0));
    Err(format!(
        "unknown section `[{section}]`{}",
        nearest.map(|near| format!("; is it `[{near}]`?")).unwrap_or_default()
    ))
}

/// Keys of a section that are told, at most.
const KEYS_TOLD_MAX: usize = 8;

/// The setting of this name.
///
/// # Errors
/// There is none; the error names the nearest.
pub(crate) fn find(name: &str) -> Result<&'static Setting<Settings>, String> {
    if let Some(setting) = settings::named(name) {
        return Ok(setting);
    }
    let unknown = format!("unknown key `{name}`");
    let keys = keys_of(name);
    if let Some(first) = keys.first().filter(|_| !name.is_empty()) {
        return Err(format!("{unknown}: it is the section [{name}], whose first key is `{name}.{first}`"));
    }
    let lists = LISTS.into_iter().chain(["rule"]);
    let section = name.split_once('.').map(|(section, _)| section);
    if let Some(list) = lists.clone().find(|list| section == Some(list)) {
        return Err(format!("{unknown}: write [[{list}]], in two pairs of brackets, for each of them"));
    }
    let key = name.rsplit('.').next().unwrap_or(name);
    // The right key in a wrong section comes before a name that is spelt alike.
    let moved = settings::all().find(|setting| setting.place().1 == key).map(|setting| setting.name);
    match moved.or_else(|| nearest(name, settings::all().map(|setting| setting.name).chain(lists))) {
        Some(near) => Err(format!("{unknown}; is it `{near}`?")),
        None => Err(format!("{unknown}; {}", where_to_look(name))),
    }
}

/// The keys of a section.
fn keys_of(section: &str) -> Vec<&'static str> {
    let places = settings::all().map(|setting| setting.place());
    places.filter(|place| place.0 == section).map(|place| place.1).collect()
}

/// Where somebody finds the key that was meant: among those of the section, if they are few.
fn where_to_look(name: &str) -> String {
    let section = name.rsplit_once('.').map_or("", |(section, _)| section);
    let keys = keys_of(section);
    if section.is_empty() || keys.is_empty() || keys.len() > KEYS_TOLD_MAX {
        return "`millrace-router --print-config` lists every key".to_owned();
    }
    format!("[{section}] has {}", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Pinning;

    fn file(text: &str) -> Result<Layers, String> {
        let mut layers = Layers::default();
        layers.put_text(Path::new("router.toml"), text)?;
        Ok(layers)
    }

    #[test]
    fn all_that_is_wrong_in_a_file_is_told_line_by_line() {
        let text = "[mesh]\nseed = []\njoin_timeout = 3\n[limitz]\na = 1\n[cores]\ncount = 'many'\n";
        let told = file(text).err().unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 4, "{told}");
        for (line, part) in lines.iter().zip(["line 2: unknown key", "line 3", "line 5: unknown", "line 7"]) {
            assert!(line.contains(part), "no `{part}` in {line}");
        }
    }

    #[test]
    fn later_layers_replace_single_keys() {
        let mut layers = file("name = 'a'\n[mesh]\nseeds = ['x:1']\njoin_timeout = '1s'").unwrap();
        let environment = |name: &str| match name {
            "MILLRACE_SEEDS" => Some("y:1,z:1".into()),
            "MILLRACE_NAME" => Some("".into()),
            _ => None,
        };
        layers.put_environment(environment).unwrap();
        for text in ["mesh.join_timeout=50ms", "cores.count=3", "cores.pin=[0, 2, 4]", "tls.cert = a b.pem"] {
            layers.put_assignment(text).unwrap();
        }
        let Settings { general, cores, mesh, tls, .. } = &layers.settings;
        assert_eq!(general.name.as_deref(), Some("a"), "an empty variable is as if unset");
        assert_eq!(
            (mesh.join_timeout, mesh.seeds.as_slice()),
            (Duration::from_millis(50), &["y:1".into(), "z:1".into()][..])
        );
        assert_eq!((cores.count, &cores.pin), (3, &Pinning::Cpus(vec![0, 2, 4])));
        assert_eq!(tls.cert.as_deref(), Some(Path::new("a b.pem")));
        assert!(layers.is_given("mesh.seeds") && !layers.is_given("admin.listen"));
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line_and_the_nearest_known_one() {
        for (text, expected) in [
            ("[mesh]\nseed = []", "router.toml, line 2: unknown key `mesh.seed`; is it `mesh.seeds`?"),
            ("\nseeds = []", "router.toml, line 2: unknown key `seeds`; is it `mesh.seeds`?"),
            ("[meesh]\nseeds = []", "line 2: unknown key `meesh.seeds`; is it `mesh.seeds`?"),
            ("[meesh]", "line 1: unknown section `[meesh]`; is it `[mesh]`?"),
            ("[limits]\nlink_que = '1MiB'", "is it `limits.link_queue`?"),
            ("[limits]\nentirely_else = 1", "--print-config"),
            ("[log]\nlevel = 'warn'", "unknown key `log.level`; [log] has filter, json"),
            ("mesh = 1", "unknown key `mesh`: it is the section [mesh], whose first key is `mesh.seeds`"),
            ("cores = 4", "unknown key `cores`: it is the section [cores], whose first key is `cores.count`"),
            ("identities = []", "is it `identity`?"),
            (
                "[[identity]]\nname = 'a'\npublich = []",
                "router.toml, line 3: unknown key `publich` of [[identity]]",
            ),
            ("[[identity]]\nname = 'a'\n[[identity]]\nname = 'a'", "line 3: a second [[identity]]"),
            ("[[identity]]\npublish = []", "line 1: an [[identity]] has no `name`"),
            ("identity = ['a']", "write [[identity]]"),
            (
                "[identity]\nname = 'a'",
                "line 2: unknown key `identity.name`: write [[identity]], in two pairs",
            ),
            ("[rule]\nname = 'a'", "write [[rule]], in two pairs of brackets"),
            ("rule = ['a']", "router.toml, line 1: a rule is a table: write [[rule]]"),
            (
                "\n[[rule]]\nname = 'a'\nwhen = 'x in ('\nset = { y = '1' }",
                "[[rule]] \"a\" (router.toml, line 4): ",
            ),
            ("[[rule]]\nname = 'a'", "router.toml, line 1: [[rule]] \"a\" has no `when`"),
        ] {
            let problem = file(text).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn bad_values_name_key_place_and_what_was_expected() {
        for (text, expected) in [
            (
                "[mesh]\njoin_timeout = 5",
                "setting `mesh.join_timeout` (router.toml, line 2): `5` is not a duration",
            ),
            ("[cores]\ncount = 'many'", "is not a whole number"),
            ("[cores]\ncount = 0", "0 is not between 1 and"),
            ("advertise = 'quic://a:1'", "is a URL"),
            ("[mesh\nseeds = []", "router.toml is not valid"),
        ] {
            let problem = file(text).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        let problem = Layers::default().put_assignment("mesh.seeds=quic://a:1").unwrap_err();
        assert!(problem.starts_with("setting `mesh.seeds` (--set)"), "{problem}");
        assert!(Layers::default().put_assignment("mesh.seeds").unwrap_err().contains("SECTION.KEY=VALUE"));
    }

    #[test]
    fn files_of_any_editor_are_read_and_others_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("router.toml");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut layers = Layers::default();
            layers.put_file(&path).map(|()| layers.settings.general.name)
        };
        assert_eq!(read(b"\xef\xbb\xbfname = 'a'\r\n[mesh]\r\n"), Ok(Some("a".into())));
        assert!(read(b"\xff\xfen\0").unwrap_err().contains("UTF-16"));
        assert!(read(b"\nname = '\xe4'").unwrap_err().contains("line 2, is not UTF-8"));
        let mut layers = Layers::default();
        assert!(layers.put_file(folder.path()).unwrap_err().contains("is a folder"));
        assert!(layers.put_file(Path::new("/nowhere/x.toml")).unwrap_err().contains("/nowhere/x.toml"));
    }
}
