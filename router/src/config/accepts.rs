//! `[[accept]]`: who may forward events of other clusters into this one.

use std::sync::Arc;

use millrace_engine::rights::{Accept, AllowList, Grant, Quota};
use millrace_proto::ClusterId;
use millrace_proto::limits::IDENTITY_BYTES_MAX;
use toml::Value;

use super::cluster::Cluster;
use super::kinds::Kind;
use super::tables::{Entry, Key, list, number, shown_number, text, texts};

/// Events per second, at most: more than a router routes.
const RATE_MAX: u64 = 1_000_000_000;

/// Who may forward: one `[[accept]]` of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptEntry {
    /// A name; `*` in it is any text, `?` any one character.
    pub identity: String,
    /// The cluster that it forwards from; none: any.
    pub cluster: Option<ClusterId>,
    /// Selectors of which each event must meet one; none: everything is taken.
    pub select: Option<Vec<String>>,
    /// Events per second that each name may bring to this router; none: no bound.
    pub rate: Option<u64>,
}

impl AcceptEntry {
    /// Lets these names forward everything, from any cluster.
    #[must_use]
    pub fn new(identity: impl Into<String>) -> Self {
        Self { identity: identity.into(), cluster: None, select: None, rate: None }
    }

    /// What the engine makes of it.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub(crate) fn accept(&self) -> Result<Accept, String> {
        if self.identity.len() > IDENTITY_BYTES_MAX {
            return Err(format!("`identity`: it is longer than {IDENTITY_BYTES_MAX} bytes"));
        }
        let publish = self.select.as_ref().map(|texts| AllowList::read(texts)).transpose();
        let publish = publish.map_err(|problem| format!("`select`: {problem}"))?;
        let grant = Grant {
            publish: publish.map(Arc::new),
            subscribe: Some(Arc::default()),
            quota: Quota { events_per_second: self.rate, ..Quota::default() },
            ..Grant::everything(self.identity.clone())
        };
        Ok(Accept { cluster: self.cluster, grant: Arc::new(grant) })
    }
}

static KEYS: [Key<AcceptEntry>; 4] = [
    Key {
        name: "identity",
        meaning: "Who may forward: the NAME of `millrace://client/NAME` in the certificate that the link shows, or \
                  `router/NAME` where it shows a router's. `*` in it is any text, `?` any one character. The first \
                  entry that fits identity and cluster counts.",
        range: "a name or pattern; must be given",
        read: |entry, value| {
            entry.identity = text(value)?;
            Ok(())
        },
        show: |entry| Some(Value::String(entry.identity.clone())),
    },
    Key {
        name: "cluster",
        meaning: "The id of the cluster that it forwards from.",
        range: "16 hexadecimal digits; unset: any cluster",
        read: |entry, value| {
            entry.cluster = Cluster.read(value)?;
            Ok(())
        },
        show: |entry| Cluster.show(&entry.cluster),
    },
    Key {
        name: "select",
        meaning: "Selectors of tags: an event must meet one of them to be let in. The link is told, sends nothing \
                  else, and names those of its own selectors of which nothing is let in.",
        range: "a list of at most 16 selectors without payload patterns; unset: everything",
        read: |entry, value| {
            entry.select = Some(texts(value)?);
            Ok(())
        },
        show: |entry| entry.select.as_deref().map(list),
    },
    Key {
        name: "rate",
        meaning: "Events that each name may bring to this router per second. Beyond it the link waits, and \
                  its own spool decides what becomes of events.",
        range: "a number from 1 to 1000000000; unset: no bound",
        read: |entry, value| {
            entry.rate = Some(number(value, 1, RATE_MAX)?);
            Ok(())
        },
        show: |entry| entry.rate.and_then(shown_number),
    },
];

impl Entry for AcceptEntry {
    const TABLE: &'static str = "accept";
    const ABOUT: &'static str = "Who may forward events of other clusters into this one: a list of tables. Without any, \
        nobody may. `cluster` must be set. A reload applies the list to links that stand, too.";
    const MAX: usize = 256;
    const REQUIRED: &'static [(&'static str, &'static str)] =
        &[("identity", "it is the name in the link's certificate, or router/NAME")];

    fn keys() -> &'static [Key<Self>] {
        &KEYS
    }

    fn blank() -> Self {
        Self::new("")
    }

    fn label(&self) -> String {
        match self.cluster {
            Some(cluster) => format!("{} from {cluster}", self.identity),
            None => self.identity.clone(),
        }
    }

    fn check(&self) -> Result<(), String> {
        self.accept().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tables::{read, shown};

    #[test]
    fn an_entry_reads_back_from_what_is_shown() {
        let text =
            "identity = \"edge-*\"\ncluster = \"00000000000000aa\"\nselect = [\"host=*\"]\nrate = 1000\n";
        let table: toml::Table = toml::from_str(text).unwrap();
        let entry: AcceptEntry = read(&table, |_| "line 1".to_owned()).unwrap();
        assert_eq!(shown(std::slice::from_ref(&entry)), format!("\n[[accept]]\n{text}"));
        let table: toml::Table = toml::from_str("select = ['*']").unwrap();
        let problem = read::<AcceptEntry>(&table, |_| "line 1".to_owned()).unwrap_err();
        assert!(problem.contains("an [[accept]] has no `identity`"), "{problem}");
    }
}
