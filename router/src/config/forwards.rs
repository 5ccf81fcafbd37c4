//! `[[forward]]`: links to other clusters.

use std::collections::BTreeMap;
use std::path::PathBuf;

use millrace_client::RouterAddress;
use millrace_engine::forward::{HOPS_DEFAULT, LinkRule};
use millrace_engine::rights::AllowList;
use millrace_proto::TagSet;
use millrace_proto::limits::{CLUSTER_PATH_MAX, NAME_BYTES_MAX};
use millrace_proto::tag::RESERVED_PREFIX;
use toml::Value;

use super::compression::Compression;
use super::kinds::Kind;
use super::size::Size;
use super::tables::{Entry, Key, list, not, number, tags, tags_shown, text, texts};

/// Bytes of one link's spool.
const SPOOL: Size = Size { min: 0, max: 1 << 40 };

/// A link to another cluster: one `[[forward]]` of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardEntry {
    /// Its name, for people and in metrics.
    pub name: String,
    /// Where routers of the far cluster are: `host`, or `host:port`.
    pub to: String,
    /// Selectors of tags: which events cross.
    pub select: Vec<String>,
    /// Whether the far cluster confirms every event (`routed`), or those alone whose publishers ask
    /// (`none`).
    pub confirms: bool,
    /// Clusters that an event may have crossed when it arrives.
    pub max_hops: u8,
    /// Bytes that are kept while the far cluster cannot be reached.
    pub spool_bytes: u64,
    /// Tags that each event gets.
    pub set: BTreeMap<String, String>,
    /// Keys of tags that no event keeps.
    pub drop: Vec<String>,
    /// Whether only what the far cluster wants is sent.
    pub demand: bool,
    /// How what crosses is made smaller.
    pub compression: Compression,
    /// Certificate chain, key, and the authorities of the far cluster; none: this router's own.
    pub tls: ForwardTls,
}

/// Files of a link that shows another certificate than its router.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForwardTls {
    /// Certificate chain (PEM).
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    pub key: Option<PathBuf>,
    /// Authorities that are believed (PEM).
    pub ca: Option<PathBuf>,
}

impl ForwardEntry {
    /// A link that takes everything.
    #[must_use]
    pub fn new(name: impl Into<String>, to: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            to: to.into(),
            select: vec!["*".to_owned()],
            confirms: false,
            max_hops: HOPS_DEFAULT,
            spool_bytes: 0,
            set: BTreeMap::new(),
            drop: Vec::new(),
            demand: true,
            compression: Compression::None,
            tls: ForwardTls::default(),
        }
    }

    /// Where it leads.
    ///
    /// # Errors
    /// The key, and what is wrong.
    pub(crate) fn address(&self) -> Result<RouterAddress, String> {
        self.to.parse().map_err(|error| format!("`to`: {error}"))
    }

    /// What the engine makes of it.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub(crate) fn rule(&self) -> Result<LinkRule, String> {
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            return Err(format!("`name`: it has 1 to {NAME_BYTES_MAX} bytes"));
        }
        let select = AllowList::read(&self.select).map_err(|problem| format!("`select`: {problem}"))?;
        if select.is_empty() {
            return Err("`select`: it selects nothing; `[\"*\"]` selects everything".to_owned());
        }
        TagSet::new(&self.set).map_err(|error| format!("`set`: {error}"))?;
        if let Some(key) = self.set.keys().find(|key| key.starts_with(RESERVED_PREFIX)) {
            return Err(format!(
                "`set`: keys under {RESERVED_PREFIX} belong to routers, so {key} cannot be set"
            ));
        }
        if let Some(key) = self.drop.iter().find(|key| self.set.contains_key(*key)) {
            return Err(format!("`drop`: {key} is set, too, which replaces it already"));
        }
        Ok(LinkRule {
            name: self.name.clone(),
            select,
            confirms: self.confirms,
            max_hops: self.max_hops,
            spool_bytes: self.spool_bytes,
            set: self.set.clone(),
            drop: self.drop.clone(),
            demand: self.demand,
            packs: self.compression == Compression::Zstd,
        })
    }
}

/// A file as a value of the settings.
fn file(value: &Value) -> Result<Option<PathBuf>, String> {
    text(value).map(|path| Some(path.into()))
}

fn file_shown(path: Option<&PathBuf>) -> Option<Value> {
    path.map(|path| Value::String(path.display().to_string()))
}

static KEYS: [Key<ForwardEntry>; 13] = [
    Key {
        name: "name",
        meaning: "The link's name, in logs, metrics and `millrace ctl forwards`.",
        range: "a name of at most 64 bytes; must be given",
        read: |entry, value| {
            entry.name = text(value)?;
            Ok(())
        },
        show: |entry| Some(Value::String(entry.name.clone())),
    },
    Key {
        name: "to",
        meaning: "Where routers of the far cluster are: a name of DNS, all of whose addresses are tried, or an \
                  address. The link moves to another router when the one that it is at goes away.",
        range: "`HOST` or `HOST:PORT` (7400 unless given); must be given",
        read: |entry, value| {
            entry.to = text(value)?;
            Ok(())
        },
        show: |entry| Some(Value::String(entry.to.clone())),
    },
    Key {
        name: "select",
        meaning: "Selectors of tags: an event that entered at this router crosses when it meets one of them.",
        range: "a list of at most 16 selectors without payload patterns; must be given",
        read: |entry, value| {
            entry.select = texts(value)?;
            Ok(())
        },
        show: |entry| Some(list(&entry.select)),
    },
    Key {
        name: "min_level",
        meaning: "The confirm level that the far cluster is asked for, for events whose publishers ask for less. \
                  `none`: an event that the far router has read is done with. `routed`: the link keeps it until \
                  the far cluster says that it is with all receivers there, and writes it again after a lost \
                  connection.",
        range: "`\"none\"` or `\"routed\"`; default `\"none\"`",
        read: |entry, value| {
            entry.confirms = match value.as_str() {
                Some("none") => false,
                Some("routed") => true,
                _ => return Err(not("\"none\" or \"routed\"", value)),
            };
            Ok(())
        },
        show: |entry| entry.confirms.then(|| Value::String("routed".to_owned())),
    },
    Key {
        name: "max_hops",
        meaning: "Clusters that an event may have crossed when it arrives, the one where it was published \
                  counted. Beyond it an event is dropped, counted as `max_hops`.",
        range: "a number from 1 to 8; default 4",
        read: |entry, value| {
            let hops = number(value, 1, CLUSTER_PATH_MAX as u64)?;
            entry.max_hops = u8::try_from(hops).unwrap_or(HOPS_DEFAULT);
            Ok(())
        },
        show: |entry| (entry.max_hops != HOPS_DEFAULT).then(|| Value::Integer(entry.max_hops.into())),
    },
    Key {
        name: "spool_bytes",
        meaning: "Bytes of events that wait in memory while the far cluster cannot be reached. Beyond them the \
                  oldest are shed, counted as `shed`, and receivers there find a gap. What was under way when the \
                  connection was lost is kept in any case.",
        range: "a size, `0` to `\"1TiB\"`; default `0`",
        read: |entry, value| {
            entry.spool_bytes = SPOOL.read(value)?;
            Ok(())
        },
        show: |entry| if entry.spool_bytes == 0 { None } else { SPOOL.show(&entry.spool_bytes) },
    },
    Key {
        name: "set",
        meaning: "Tags that each event gets in the far cluster, in place of its own of the same keys.",
        range: "a table of tags, e.g. `{ site = \"north\" }`; unset: none",
        read: |entry, value| {
            entry.set = tags(value)?;
            Ok(())
        },
        show: |entry| tags_shown(&entry.set),
    },
    Key {
        name: "drop",
        meaning: "Keys of tags that no event keeps. Keys under `millrace/` never cross.",
        range: "a list of keys, e.g. `[\"secret\"]`; unset: none",
        read: |entry, value| {
            let keys = value.as_array().ok_or_else(|| not("a list of keys", value))?;
            entry.drop = keys.iter().map(text).collect::<Result<_, _>>()?;
            Ok(())
        },
        show: |entry| (!entry.drop.is_empty()).then(|| list(&entry.drop)),
    },
    Key {
        name: "demand",
        meaning: "Whether events that nobody wants in the far cluster stay here: its interest flows back, in \
                  coarse form. Without, `select` alone decides.",
        range: "`true` or `false`; default `true`",
        read: |entry, value| {
            entry.demand = value.as_bool().ok_or_else(|| not("true or false", value))?;
            Ok(())
        },
        show: |entry| (!entry.demand).then_some(Value::Boolean(false)),
    },
    Key {
        name: "compression",
        meaning: "Whether what crosses is packed. `zstd` packs what is gathered for one write, up to 64 KiB, which \
                  costs both sides processor time and pays where links between sites are narrow or dear; \
                  `millrace_forward_frame_bytes_total` and `millrace_forward_stream_bytes_total` show what it \
                  saves. A far router that does not read it gets plain frames.",
        range: "`\"none\"` or `\"zstd\"`; default `\"none\"`",
        read: |entry, value| {
            let named = value.as_str().and_then(Compression::named);
            entry.compression = named.ok_or_else(|| not("\"none\" or \"zstd\"", value))?;
            Ok(())
        },
        show: |entry| {
            let is_packed = entry.compression != Compression::None;
            is_packed.then(|| Value::String(entry.compression.name().to_owned()))
        },
    },
    Key {
        name: "cert",
        meaning: "The certificate chain (PEM) that the link shows, where the far cluster has another authority: its \
                  name is the identity that the far side lists under `[[accept]]`.",
        range: "a path; unset: this router's own certificate",
        read: |entry, value| {
            entry.tls.cert = file(value)?;
            Ok(())
        },
        show: |entry| file_shown(entry.tls.cert.as_ref()),
    },
    Key {
        name: "key",
        meaning: "Its private key (PEM).",
        range: "a path; unset: this router's own key",
        read: |entry, value| {
            entry.tls.key = file(value)?;
            Ok(())
        },
        show: |entry| file_shown(entry.tls.key.as_ref()),
    },
    Key {
        name: "ca",
        meaning: "The authorities (PEM) of which one has signed the certificates of the far routers.",
        range: "a path; unset: those of this router",
        read: |entry, value| {
            entry.tls.ca = file(value)?;
            Ok(())
        },
        show: |entry| file_shown(entry.tls.ca.as_ref()),
    },
];

impl Entry for ForwardEntry {
    const TABLE: &'static str = "forward";
    const ABOUT: &'static str = "Links to other clusters: a list of tables. A router forwards what entered at it, so \
        each router of a cluster has the list. `cluster` must be set. A reload adds, changes and removes links, and \
        touches no other.";
    const MAX: usize = 64;
    const REQUIRED: &'static [(&'static str, &'static str)] = &[
        ("name", "it names the link in logs and metrics"),
        ("to", "it says where routers of the far cluster are"),
        ("select", "[\"*\"] selects everything"),
    ];

    fn keys() -> &'static [Key<Self>] {
        &KEYS
    }

    fn blank() -> Self {
        Self::new("", "")
    }

    fn label(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Result<(), String> {
        self.rule()?;
        self.address()?;
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            return Err("`cert`: a certificate and its `key` go together".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tables::{read, shown};

    fn read_text(text: &str) -> Result<ForwardEntry, String> {
        let table: toml::Table = toml::from_str(text).unwrap();
        read(&table, |key| key.map_or_else(|| "line 1".to_owned(), |key| format!("the line of {key}")))
    }

    #[test]
    fn an_entry_reads_back_from_what_is_shown() {
        let text = "name = \"north\"\nto = \"north.example:7400\"\nselect = [\"host=*\"]\nmin_level = \"routed\"\n\
                    max_hops = 2\nspool_bytes = \"8MiB\"\nset = { site = \"south\" }\ndrop = [\"secret\"]\n\
                    demand = false\ncert = \"a.pem\"\nkey = \"a.key\"\nca = \"ca.pem\"\n";
        let entry = read_text(text).unwrap();
        assert_eq!(shown(std::slice::from_ref(&entry)), format!("\n[[forward]]\n{text}"));
        assert_eq!((entry.max_hops, entry.spool_bytes, entry.confirms), (2, 8 << 20, true));
        let plain = read_text("name = 'x'\nto = 'y'\nselect = ['*']").unwrap();
        assert_eq!(plain, ForwardEntry::new("x", "y"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let base = "name = 'x'\nto = 'y'\nselect = ['*']\n";
        for (more, expected) in [
            ("min_level = 'delivered'", "is not \"none\" or \"routed\""),
            ("max_hops = 0", "0 is not between 1 and 8"),
            ("max_hops = 9", "9 is not between 1 and 8"),
            ("set = { 'millrace/identity' = 'a' }", "belong to routers"),
            ("set = { a = 'b' }\ndrop = ['a']", "a is set, too"),
            ("cert = 'a.pem'", "go together"),
            ("selects = []", "is it `select`?"),
        ] {
            let problem = read_text(&format!("{base}{more}")).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        for (text, expected) in [
            ("name = 'x'\nto = 'y'", "an [[forward]] has no `select`"),
            ("name = 'x'\nto = 'y'\nselect = []", "selects nothing"),
            ("name = 'x'\nto = 'y'\nselect = ['payload ~ /x/']", "tags alone"),
            ("name = 'x'\nto = 'quic://y'\nselect = ['*']", "`to`"),
        ] {
            let problem = read_text(text).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
