//! `[[identity]]`: what clients may do, by name. A list of tables, so its keys are declared here
//! and not among the single settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_engine::rights::{AllowList, Grant, Quota, STAMPS_MAX};
use millrace_proto::TagSet;
use millrace_proto::limits::IDENTITY_BYTES_MAX;
use millrace_proto::tag::RESERVED_PREFIX;
use toml::Value;

use super::kinds::Kind;
use super::size::Size;
use super::tables::{Entry, Key, list, not, number, shown_number, tags, tags_shown, texts};

/// What clients may do whose name a pattern matches: one `[[identity]]` of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityEntry {
    /// A name; `*` in it is any text, `?` any one character. The first entry that matches counts.
    pub name: String,
    /// Selectors of which each published event must meet one; none: everything may be published.
    pub publish: Option<Vec<String>>,
    /// Selectors that each subscription is narrowed to; none: everything may be received.
    pub subscribe: Option<Vec<String>>,
    /// Tags that routers put on each event.
    pub stamp: BTreeMap<String, String>,
    /// Whether the name is stamped, too, as `millrace/identity`.
    pub stamp_identity: bool,
    /// How much each name may take of this router.
    pub quota: Quota,
    /// Whether tag rules are applied to their events.
    pub rules: bool,
}

impl IdentityEntry {
    /// Everything is allowed to these names, which are stamped on their events.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            publish: None,
            subscribe: None,
            stamp: BTreeMap::new(),
            stamp_identity: true,
            quota: Quota::default(),
            rules: true,
        }
    }

    /// What the engine makes of it.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub(crate) fn grant(&self) -> Result<Grant, String> {
        if self.name.len() > IDENTITY_BYTES_MAX {
            return Err(format!("`name`: it is longer than {IDENTITY_BYTES_MAX} bytes"));
        }
        let list = |key: &str, texts: &Option<Vec<String>>| match texts {
            None => Ok(None),
            Some(texts) => {
                let read = AllowList::read(texts);
                read.map(|list| Some(Arc::new(list))).map_err(|problem| format!("`{key}`: {problem}"))
            }
        };
        if self.stamp.len() > STAMPS_MAX {
            return Err(format!("`stamp`: at most {STAMPS_MAX} tags can be stamped"));
        }
        TagSet::new(&self.stamp).map_err(|error| format!("`stamp`: {error}"))?;
        if let Some(key) = self.stamp.keys().find(|key| key.starts_with(RESERVED_PREFIX)) {
            return Err(format!(
                "`stamp`: keys under {RESERVED_PREFIX} belong to routers, so {key} cannot be stamped by setting"
            ));
        }
        Ok(Grant {
            pattern: self.name.clone(),
            publish: list("publish", &self.publish)?,
            subscribe: list("subscribe", &self.subscribe)?,
            stamps: self.stamp.clone().into_iter().collect(),
            stamps_identity: self.stamp_identity,
            quota: self.quota,
            rules: self.rules,
        })
    }
}

/// Events per second, at most: more than a router routes.
const EVENTS_PER_SECOND_MAX: u64 = 1_000_000_000;
/// Sessions, and selectors, at most: more than a router has.
const SESSIONS_MAX: u64 = 1 << 24;
/// Bytes per second. Less than the least would be a run each few seconds.
const BYTES_PER_SECOND: Size = Size { min: 1 << 10, max: 1 << 40 };

/// The keys of an entry.
static KEYS: [Key<IdentityEntry>; 13] = [
    Key {
        name: "name",
        meaning: "Whose rights they are: the NAME of `millrace://client/NAME` in a client's certificate, or that \
                  which the token file gives to its token. `*` in it is any text, `?` any one character. The \
                  first entry that matches counts. Clients without certificate and token have the empty name, \
                  which `*` matches; a router's certificate gives `router/NAME`.",
        range: "a name or pattern; must be given",
        read: |entry, value| {
            value.as_str().ok_or_else(|| not("a text in quotes", value))?.clone_into(&mut entry.name);
            Ok(())
        },
        show: |entry| Some(Value::String(entry.name.clone())),
    },
    Key {
        name: "publish",
        meaning: "Selectors of tags: an event must meet one of them, with its stamps on it, or it is dropped, \
                  counted as `not_allowed`, and its publisher told. `[]` allows nothing.",
        range: "a list of at most 16 selectors without payload patterns; unset: everything",
        read: |entry, value| {
            entry.publish = Some(texts(value)?);
            Ok(())
        },
        show: |entry| entry.publish.as_deref().map(list),
    },
    Key {
        name: "subscribe",
        meaning: "Selectors of tags: a subscription gets what it asks for AND one of these allows, so that `*` \
                  means all that is allowed. One that can get nothing is refused. `[]` allows nothing.",
        range: "a list of at most 16 selectors without payload patterns; unset: everything",
        read: |entry, value| {
            entry.subscribe = Some(texts(value)?);
            Ok(())
        },
        show: |entry| entry.subscribe.as_deref().map(list),
    },
    Key {
        name: "stamp",
        meaning: "Tags that the router puts on each event where it enters. An event that says another value for \
                  such a key is dropped, counted as `stamped_key`, and its publisher told.",
        range: "a table of at most 8 tags, e.g. `{ tenant = \"a\" }`; unset: none",
        read: |entry, value| {
            entry.stamp = tags(value)?;
            Ok(())
        },
        show: |entry| tags_shown(&entry.stamp),
    },
    Key {
        name: "stamp_identity",
        meaning: "Whether the client's name is stamped on each event, too, as the tag `millrace/identity`: \
                  receivers can select by it, and `millrace sub --show-identity` shows it. Equal events of many \
                  names are then of as many tag sets.",
        range: "`true` or `false`; default `true`",
        read: |entry, value| {
            entry.stamp_identity = value.as_bool().ok_or_else(|| not("true or false", value))?;
            Ok(())
        },
        show: |entry| (!entry.stamp_identity).then_some(Value::Boolean(false)),
    },
    Key {
        name: "rules",
        meaning: "Whether tag rules (`[[rule]]`) are applied to their events.",
        range: "`true` or `false`; default `true`",
        read: |entry, value| {
            entry.rules = value.as_bool().ok_or_else(|| not("true or false", value))?;
            Ok(())
        },
        show: |entry| (!entry.rules).then_some(Value::Boolean(false)),
    },
    Key {
        name: "events_per_second",
        meaning: "Events that each name may publish per second on this router, over all its sessions. Beyond it a \
                  run of its events waits until the rate has paid for it, and publishers are held back by credit: no \
                  event is dropped.",
        range: "a number from 1 to 1000000000; unset: no bound",
        read: |entry, value| {
            entry.quota.events_per_second = Some(number(value, 1, EVENTS_PER_SECOND_MAX)?);
            Ok(())
        },
        show: |entry| entry.quota.events_per_second.and_then(shown_number),
    },
    Key {
        name: "bytes_per_second",
        meaning: "Bytes that each name may publish per second on this router, in the same way: payloads, tags and \
                  framing as they are sent, without what QUIC adds.",
        range: "a size, `\"1KiB\"` to `\"1TiB\"`; unset: no bound",
        read: |entry, value| {
            entry.quota.bytes_per_second = Some(BYTES_PER_SECOND.read(value)?);
            Ok(())
        },
        show: |entry| entry.quota.bytes_per_second.and_then(|bytes| BYTES_PER_SECOND.show(&bytes)),
    },
    Key {
        name: "sessions",
        meaning: "Sessions that each name may have on this router: connections that have said hello. One more is closed \
                  with `limit` and the reason. A reload closes none.",
        range: "a number from 0 to 16777216; unset: no bound",
        read: |entry, value| {
            entry.quota.sessions = Some(number(value, 0, SESSIONS_MAX)?);
            Ok(())
        },
        show: |entry| entry.quota.sessions.and_then(shown_number),
    },
    Key {
        name: "selectors",
        meaning: "Selectors that each name may have on this router, over all its receivers and as `subscribe` makes \
                  them: one that is narrowed by two of a list counts as two. A subscription beyond is refused with \
                  `limit` and the reason. A reload ends none.",
        range: "a number from 0 to 16777216; unset: no bound",
        read: |entry, value| {
            entry.quota.selectors = Some(number(value, 0, SESSIONS_MAX)?);
            Ok(())
        },
        show: |entry| entry.quota.selectors.and_then(shown_number),
    },
    Key {
        name: "groups",
        meaning: "Groups that receivers of each name may be members of on this router; several members of one group \
                  count once. A member of one more is refused with `limit` and the reason. A reload ends none. A \
                  cluster has room for 4,096 groups.",
        range: "a number from 0 to 16777216; unset: no bound",
        read: |entry, value| {
            entry.quota.groups = Some(number(value, 0, SESSIONS_MAX)?);
            Ok(())
        },
        show: |entry| entry.quota.groups.and_then(shown_number),
    },
    Key {
        name: "sets",
        meaning: "Sets of standby publishers that publishers of each name may have joined on this router; several \
                  members of one set count once. A member of one more is refused with `limit` and the reason. A \
                  reload ends none. A cluster has room for 4,096 sets.",
        range: "a number from 0 to 16777216; unset: no bound",
        read: |entry, value| {
            entry.quota.sets = Some(number(value, 0, SESSIONS_MAX)?);
            Ok(())
        },
        show: |entry| entry.quota.sets.and_then(shown_number),
    },
    Key {
        name: "names",
        meaning: "Names that receivers of each name may have on this router. A receiver with one more is refused \
                  with `limit` and the reason. A reload ends none. A core has room for 65,536 names.",
        range: "a number from 0 to 16777216; unset: no bound",
        read: |entry, value| {
            entry.quota.names = Some(number(value, 0, SESSIONS_MAX)?);
            Ok(())
        },
        show: |entry| entry.quota.names.and_then(shown_number),
    },
];

impl Entry for IdentityEntry {
    const TABLE: &'static str = "identity";
    const ABOUT: &'static str = "What clients may do, by name: a list of tables, of which the first counts whose name \
        matches. Without any, everybody may do everything; with any, a client that none matches is refused. A reload \
        applies the list to sessions that stand, too: who loses a right that it uses is closed with the reason, and \
        what somebody gains counts for what it asks for afterwards.";
    const MAX: usize = 1024;
    const REQUIRED: &'static [(&'static str, &'static str)] = &[("name", "\"*\" matches everybody")];

    fn keys() -> &'static [Key<Self>] {
        &KEYS
    }

    fn blank() -> Self {
        Self::new("")
    }

    fn label(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Result<(), String> {
        self.grant().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tables::{differences, read, shown};

    fn read_text(text: &str) -> Result<IdentityEntry, String> {
        let table: toml::Table = toml::from_str(text).unwrap();
        read(&table, |key| key.map_or_else(|| "line 1".to_owned(), |key| format!("the line of {key}")))
    }

    #[test]
    fn an_entry_reads_back_from_what_is_shown() {
        let text = "name = \"tenant-*\"\npublish = [\"tenant=a\"]\nsubscribe = []\nstamp = { tenant = \"a\" }\n\
                    stamp_identity = false\nrules = false\nevents_per_second = 1000\nbytes_per_second = \"1MiB\"\n\
                    sessions = 10\nselectors = 0\ngroups = 5\nsets = 2\nnames = 1\n";
        let entry = read_text(text).unwrap();
        assert_eq!(shown(std::slice::from_ref(&entry)), format!("\n[[identity]]\n{text}"));
        let plain = read_text("name = 'x'").unwrap();
        assert_eq!(
            (plain.clone(), shown(&[plain])),
            (IdentityEntry::new("x"), "\n[[identity]]\nname = \"x\"\n".into())
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            ("publish = []", "line 1: an [[identity]] has no `name`"),
            (
                "name = 'x'\npublich = []",
                "the line of publich: unknown key `publich` of [[identity]]; is it `publish`?",
            ),
            ("name = 'x'\nentirely_else = 1", "an entry has name, publish"),
            ("name = 'x'\npublish = 'a=1'", "`publish` (the line of publish): `\"a=1\"` is not a list"),
            (
                "name = 'x'\nsubscribe = ['a in (']",
                "[[identity]] \"x\" (line 1): `subscribe`: selector \"a in (\"",
            ),
            ("name = 'x'\npublish = ['payload ~ /x/']", "tags alone"),
            ("name = 'x'\nstamp = { 'millrace/identity' = 'a' }", "belong to routers"),
            ("name = 'x'\nstamp = { a = 1 }", "not a text"),
            ("name = 'x'\nstamp = { 'a b' = 'c' }", "`stamp`"),
            ("name = 'x'\nevents_per_second = 0", "0 is not between 1 and"),
            ("name = 'x'\nsessions = 'many'", "not a whole number"),
            ("name = 'x'\nbytes_per_second = '1b'", "1B is not between 1KiB and 1TiB"),
        ] {
            let problem = read_text(text).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn differences_name_entry_and_key() {
        let (a, b) = (IdentityEntry::new("a"), IdentityEntry::new("b"));
        let narrowed = IdentityEntry { publish: Some(vec!["x=1".to_owned()]), ..a.clone() };
        let old = [a, b.clone()];
        assert_eq!(differences(&old, &old), [""; 0]);
        assert_eq!(
            differences(&old, &[narrowed, IdentityEntry::new("c")]),
            [
                "identity \"a\": publish unset becomes [\"x=1\"]",
                "identity \"c\": added",
                "identity \"b\": removed"
            ]
        );
        assert_eq!(differences(&old, &[b, old[0].clone()]).len(), 1);
    }
}
