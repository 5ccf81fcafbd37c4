//! What a context says, and how its file says it: TOML, one key for each option.

use std::path::{Path, PathBuf};

use millrace_client::RouterLevels;
use toml::Value;
use toml::de::{DeTable, DeValue};

use crate::admin::AdminUrl;
use crate::nearest::nearest;

/// The keys of a file: the options' names, with `_` for `-`.
const KEYS: [&str; 9] =
    ["router", "admin", "ca", "cert", "key", "token_file", "accept_open_key", "server_name", "zone"];

/// What a file begins with.
const HEAD: &str = "# A context of `millrace`. `millrace context --help` says what it is for.\n";

/// What a context says; everything may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) router: Option<RouterLevels>,
    pub(super) admin: Vec<AdminUrl>,
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) accept_open_key: bool,
    pub(super) server_name: Option<String>,
    pub(super) zone: Option<String>,
}

/// Where paths of a file begin that are not absolute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base<'a> {
    /// The file's folder.
    pub(super) folder: &'a Path,
    /// For `~/`.
    pub(super) home: Option<&'a Path>,
}

impl Settings {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The line, the key, and the cure.
    pub(super) fn read(text: &str, base: Base<'_>) -> Result<Self, String> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            format!("line {line}: {}", error.message())
        })?;
        let mut settings = Self::default();
        for (key, value) in table.get_ref() {
            let put = settings.put(key.get_ref(), value.get_ref(), base);
            put.map_err(|problem| format!("line {}: {problem}", line_at(text, key.span().start)))?;
        }
        settings.check()?;
        Ok(settings)
    }

    fn put(&mut self, key: &str, value: &DeValue<'_>, base: Base<'_>) -> Result<(), String> {
        let path = || text(key, value).and_then(|text| base.path(&text));
        match key {
            "router" => {
                let levels = texts(key, value)?.iter().try_fold(RouterLevels::default(), |all, text| {
                    text.parse().map(|more| all.and(more)).map_err(|error| format!("`router`: {error}"))
                });
                self.router = Some(levels?);
            }
            "admin" => {
                let urls = texts(key, value)?;
                let urls = urls.iter().flat_map(|text| text.split(',')).map(|url| url.trim().parse());
                self.admin = urls.collect::<Result<_, _>>().map_err(|error| format!("`admin`: {error}"))?;
            }
            "ca" => self.ca = Some(path()?),
            "cert" => self.cert = Some(path()?),
            "key" => self.key = Some(path()?),
            "token_file" => self.token_file = Some(path()?),
            "accept_open_key" => match value {
                DeValue::Boolean(yes) => self.accept_open_key = *yes,
                _ => return Err("`accept_open_key` is true or false, without quotes".to_owned()),
            },
            "server_name" => self.server_name = Some(text(key, value)?),
            "zone" => self.zone = Some(text(key, value)?),
            _ => return Err(unknown(key)),
        }
        Ok(())
    }

    /// Whether what it says fits together, as the same options on a command line would have to.
    ///
    /// # Errors
    /// What does not, and the cure.
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.cert, &self.key, &self.token_file) {
            (Some(_), None, _) => Err("`cert` needs `key`, the file with its key"),
            (None, Some(_), _) => Err("`key` needs `cert`, the certificate that it belongs to"),
            (Some(_), Some(_), Some(_)) => {
                Err("`token_file` and `cert` both say who this client is: keep one of them")
            }
            _ => Ok(()),
        }
        .map_err(str::to_owned)
    }

    /// Whether a client of this context says who it is.
    pub(super) const fn has_identity(&self) -> bool {
        self.cert.is_some() || self.key.is_some() || self.token_file.is_some()
    }

    /// These, with what they do not say from `below`. Who the client is comes from one of the two.
    pub(super) fn over(self, below: Self) -> Self {
        let mut identity = &below;
        if self.has_identity() {
            identity = &self;
        }
        let [cert, key, token_file] = [&identity.cert, &identity.key, &identity.token_file].map(Clone::clone);
        Self {
            cert,
            key,
            token_file,
            accept_open_key: self.accept_open_key || identity.accept_open_key,
            router: self.router.or(below.router),
            admin: if self.admin.is_empty() { below.admin } else { self.admin },
            ca: self.ca.or(below.ca),
            server_name: self.server_name.or(below.server_name),
            zone: self.zone.or(below.zone),
        }
    }

    /// The file's text.
    ///
    /// # Errors
    /// A path that is no text.
    pub(super) fn to_toml(&self) -> Result<String, String> {
        let mut toml = HEAD.to_owned();
        for path in [&self.ca, &self.cert, &self.key, &self.token_file].into_iter().flatten() {
            if path.to_str().is_none() {
                return Err(format!("{} is no UTF-8, which a context's file is", path.display()));
            }
        }
        for (key, value) in self.values() {
            toml.extend([key, " = ", &value.to_string(), "\n"]);
        }
        Ok(toml)
    }

    /// What it says, by key.
    pub(super) fn values(&self) -> Vec<(&'static str, Value)> {
        let path = |path: &PathBuf| Value::String(path.display().to_string());
        let urls = || self.admin.iter().map(|url| Value::String(url.to_string())).collect();
        let values = [
            self.router.as_ref().map(|levels| Value::String(router_words(levels))),
            (!self.admin.is_empty()).then(|| Value::Array(urls())),
            self.ca.as_ref().map(path),
            self.cert.as_ref().map(path),
            self.key.as_ref().map(path),
            self.token_file.as_ref().map(path),
            self.accept_open_key.then_some(Value::Boolean(true)),
            self.server_name.clone().map(Value::String),
            self.zone.clone().map(Value::String),
        ];
        KEYS.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

impl Base<'_> {
    fn path(self, text: &str) -> Result<PathBuf, String> {
        match (text.strip_prefix("~/"), self.home) {
            (Some(below), Some(home)) => Ok(home.join(below)),
            (Some(_), None) => Err(format!("{text}: HOME is not set; write the whole path")),
            (None, _) => Ok(self.folder.join(text)),
        }
    }
}

/// Routers as `--router` has them.
pub(super) fn router_words(levels: &RouterLevels) -> String {
    let level = |routers: Vec<_>| {
        routers
            .iter()
            .map(|router: &millrace_client::RouterAddress| router.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    levels.clone().into_levels().into_iter().map(level).collect::<Vec<_>>().join(";")
}

/// The text of a key.
fn text(key: &str, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) if text.is_empty() => Err(format!("`{key}` is empty: leave the line out")),
        DeValue::String(text) => Ok(text.clone().into_owned()),
        _ => Err(format!("`{key}` is a text: write {key} = \"…\"")),
    }
}

/// The texts of a key that may have several.
fn texts(key: &str, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let texts: Vec<String> = match value {
        DeValue::Array(values) => {
            values.iter().map(|value| text(key, value.get_ref())).collect::<Result<_, _>>()?
        }
        value => vec![text(key, value)?],
    };
    if texts.is_empty() { Err(format!("`{key}` is empty: leave the line out")) } else { Ok(texts) }
}

/// What is wrong with a key that contexts do not have.
fn unknown(key: &str) -> String {
    if key == "token" {
        return "a token itself is in no context: write it into a file of mode 600, and its path as \
                `token_file`"
            .to_owned();
    }
    match nearest(key, KEYS.into_iter()) {
        Some(near) => format!("unknown key `{key}`; is it `{near}`?"),
        None => format!("unknown key `{key}`; a context has {}", KEYS.join(", ")),
    }
}

/// The number of the line in which this byte stands.
fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        Settings::read(text, Base { folder: Path::new("/c"), home: Some(Path::new("/home/ann")) })
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = "router = \"a:7400,b:1;c:7400\"\nadmin = [\"http://a:7401\", \"https://b:7402\"]\nca = '/x/ca \"1\".pem'\n\
                   cert = \"/x/c.pem\"\nkey = \"/x/c.key\"\naccept_open_key = true\nserver_name = \"r\"\nzone = \"eu\"\n";
        let settings = read(all).expect("it is right");
        assert_eq!(settings.to_toml(), Ok(format!("{HEAD}{all}")));
        assert_eq!(read(&format!("{HEAD}{all}")), Ok(settings));
        assert_eq!(read(""), Ok(Settings::default()));
    }

    #[test]
    fn people_write_lists_and_short_paths() {
        let settings =
            read("router = ['a', 'b;c']\nadmin = 'a, https://b'\nca = '~/ca.pem'\ntoken_file = 't/oken'");
        let settings = settings.expect("it is right");
        assert_eq!(settings.router.as_ref().map(router_words).as_deref(), Some("a:7400,b:7400;c:7400"));
        let urls: Vec<String> = settings.admin.iter().map(ToString::to_string).collect();
        assert_eq!(urls, ["http://a:7401", "https://b:7402"]);
        assert_eq!(settings.ca.as_deref(), Some(Path::new("/home/ann/ca.pem")));
        assert_eq!(settings.token_file.as_deref(), Some(Path::new("/c/t/oken")), "below the file's folder");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_its_key_and_the_cure() {
        for (text, words) in [
            ("\nroutre = 'a'", "line 2: unknown key `routre`; is it `router`?"),
            ("servername = 'a'", "line 1: unknown key `servername`; is it `server_name`?"),
            ("colour = 'red'", "line 1: unknown key `colour`; a context has router, admin, ca, "),
            ("[tls]\nca = 'x'", "line 1: unknown key `tls`; "),
            ("token = 'secret'", "line 1: a token itself is in no context: "),
            ("ca = 7", "line 1: `ca` is a text: write ca = \"…\""),
            ("zone = ''", "line 1: `zone` is empty: leave the line out"),
            ("router = []", "line 1: `router` is empty"),
            ("router = '::1:7400'", "line 1: `router`: \"::1:7400\" is not a router's address: "),
            ("admin = 'ftp://a'", "line 1: `admin`: ftp:// is not spoken by admin pages"),
            ("accept_open_key = 'yes'", "line 1: `accept_open_key` is true or false"),
            ("ca = 'x'\nzone = ", "line 2: "),
            ("ca = 'x'\nca = 'y'", "line 2: duplicate key"),
            ("cert = 'x'", "`cert` needs `key`"),
            ("key = 'x'", "`key` needs `cert`"),
            ("cert = 'x'\nkey = 'y'\ntoken_file = 'z'", "keep one of them"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains('\n') && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn who_the_client_is_comes_from_one_of_two() {
        let below = read("router = 'a'\ncert = '/c'\nkey = '/k'\naccept_open_key = true\nzone = 'eu'")
            .expect("right");
        let token = read("token_file = '/t'\nrouter = 'b'").expect("right").over(below.clone());
        assert_eq!(token, read("token_file = '/t'\nrouter = 'b'\nzone = 'eu'").expect("right"));
        let zone = read("zone = 'us'").expect("right").over(below);
        let expected = "router = 'a'\ncert = '/c'\nkey = '/k'\naccept_open_key = true\nzone = 'us'";
        assert_eq!(zone, read(expected).expect("right"));
    }
}
