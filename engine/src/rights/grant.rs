//! What identities of one name, or pattern of names, may do, and what one client may.

use std::sync::{Arc, LazyLock};

use millrace_proto::data::flag;
use millrace_proto::tag::{IDENTITY_KEY, INTERNAL_KEY};
use millrace_proto::{ClusterId, TagSet, TagSetRef};

use super::allow::AllowList;
use super::quota::Quota;

/// Tags that are stamped for one identity, besides its name: room for what clients say of
/// themselves remains in each set of 32.
pub const STAMPS_MAX: usize = 8;

/// What identities may do whose name the pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// A name; `*` in it is any text, `?` any one character.
    pub pattern: String,
    /// What they may publish, as it stands when stamps are on it; none: everything.
    pub publish: Option<Arc<AllowList>>,
    /// What they may receive; none: everything.
    pub subscribe: Option<Arc<AllowList>>,
    /// Tags that routers put on each of their events, at most [`STAMPS_MAX`].
    pub stamps: Vec<(String, String)>,
    /// Whether their name is stamped, too, as `millrace/identity`.
    pub stamps_identity: bool,
    /// How much each of them may take.
    pub quota: Quota,
    /// Whether tag rules are applied to their events.
    pub rules: bool,
}

impl Grant {
    /// Everything is allowed, and nothing stamped.
    #[must_use]
    pub fn everything(pattern: impl Into<String>) -> Self {
        Self {
            pattern: pattern.into(),
            publish: None,
            subscribe: None,
            stamps: Vec::new(),
            stamps_identity: false,
            quota: Quota::default(),
            rules: true,
        }
    }
}

/// The grant of clients to whom none applies, which they share.
static EVERYTHING: LazyLock<Arc<Grant>> = LazyLock::new(|| Arc::new(Grant::everything("*")));

/// What one client may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Whom the router takes it for; empty: nobody in particular.
    pub identity: String,
    /// By which grant.
    pub grant: Arc<Grant>,
    /// Whether it is a router's own session, which may publish events with `millrace/internal`.
    pub is_router: bool,
    /// The cluster that it forwards from; 0: it is a client of this one.
    pub from: ClusterId,
}

/// A tag set as it enters the router.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entered {
    /// With stamps on it; none where it stays as it was sent.
    pub stamped: Option<TagSet>,
    /// Why its events are dropped, if they are.
    pub refusal: Option<Refusal>,
}

/// Why events of a tag set may not enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A key that only routers set.
    ReservedKey(String),
    /// A key that is stamped, with another value than the stamp's.
    StampedKey(String),
    /// With stamps, it has more tags than a set may have.
    TooLarge,
    /// It meets none of the selectors that the identity may publish.
    NotAllowed,
}

impl Rights {
    /// The flags that runs of such a client have between the cores of a router.
    pub(crate) fn entry_flags(&self) -> u16 {
        if self.grant.rules { 0 } else { (flag::UNRULED & 0xffff) as u16 }
    }

    /// What a client may do to whom nothing applies.
    #[must_use]
    pub fn everything() -> Self {
        Self { identity: String::new(), grant: Arc::clone(&EVERYTHING), is_router: false, from: ClusterId(0) }
    }

    /// What becomes of events with these tags.
    #[must_use]
    pub fn enter(&self, tags: TagSetRef<'_>) -> Entered {
        if self.is_router && tags.get(INTERNAL_KEY).is_some() {
            return Entered::default();
        }
        if let Some(key) = tags.reserved_key() {
            return Entered { stamped: None, refusal: Some(Refusal::ReservedKey(key.to_owned())) };
        }
        let Grant { publish, stamps, stamps_identity, .. } = &*self.grant;
        if publish.is_none() && stamps.is_empty() && !stamps_identity {
            return Entered::default();
        }
        let stamped = match self.stamp(tags) {
            Ok(stamped) => stamped,
            Err(refusal) => return Entered { stamped: None, refusal: Some(refusal) },
        };
        let as_it_stands = stamped.as_ref().map_or(tags, TagSet::borrow);
        let refusal = (!self.may_publish(as_it_stands)).then_some(Refusal::NotAllowed);
        Entered { stamped, refusal }
    }

    /// Whether events may be published whose tags, with stamps on them, are these.
    #[must_use]
    pub fn may_publish(&self, tags: TagSetRef<'_>) -> bool {
        let is_own = self.is_router && tags.get(INTERNAL_KEY).is_some();
        is_own || self.grant.publish.as_ref().is_none_or(|allowed| allowed.permits(tags))
    }

    /// Whether it forwards events from another cluster.
    #[must_use]
    pub const fn forwards(&self) -> bool {
        self.from.0 != 0
    }

    /// The kind of entry that its rights come from.
    #[must_use]
    pub const fn entry(&self) -> &'static str {
        if self.forwards() { "[[accept]]" } else { "[[identity]]" }
    }

    /// Whether events of both are stamped alike.
    #[must_use]
    pub fn stamps_like(&self, other: &Self) -> bool {
        self.stamps().eq(other.stamps())
    }

    /// The tags that are put on each event.
    fn stamps(&self) -> impl Iterator<Item = (&str, &str)> {
        let identity = self.grant.stamps_identity && !self.identity.is_empty();
        let stamps = self.grant.stamps.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        stamps.chain(identity.then_some((IDENTITY_KEY, self.identity.as_str())))
    }

    fn stamp(&self, tags: TagSetRef<'_>) -> Result<Option<TagSet>, Refusal> {
        let mut missing: Vec<(&str, &str)> = Vec::new();
        for (key, value) in self.stamps() {
            match tags.get(key) {
                None => missing.push((key, value)),
                Some(said) if said == value => {}
                Some(_) => return Err(Refusal::StampedKey(key.to_owned())),
            }
        }
        if missing.is_empty() {
            return Ok(None);
        }
        TagSet::new(tags.iter().chain(missing)).map(Some).map_err(|_| Refusal::TooLarge)
    }
}

impl Refusal {
    /// What the publisher is told of it.
    #[must_use]
    pub fn message(&self, tags: TagSetRef<'_>, rights: &Rights) -> String {
        let Rights { identity, grant, .. } = rights;
        match self {
            Self::ReservedKey(key) => {
                format!("only routers set the tag {key}: choose a key that does not begin with millrace/")
            }
            Self::StampedKey(key) => format!(
                "the router stamps the tag {key} on events of identity \"{identity}\": leave it out, or give it \
                 the stamp's value"
            ),
            Self::TooLarge => format!(
                "with the tags that the router stamps for identity \"{identity}\", a set has too many: publish \
                 with fewer"
            ),
            Self::NotAllowed => {
                let allowed = grant.publish.as_ref().map_or_else(String::new, |allowed| allowed.shown());
                format!(
                    "identity \"{identity}\" may not publish {}: its {} entry \"{}\" allows {allowed}",
                    shown(tags),
                    rights.entry(),
                    grant.pattern
                )
            }
        }
    }
}

/// A tag set in words, cut where it is long.
fn shown(tags: TagSetRef<'_>) -> String {
    const MOST: usize = 200;
    let mut text = tags.to_string();
    if text.len() > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push('…');
    }
    if text.is_empty() { "events without tags".to_owned() } else { text }
}
