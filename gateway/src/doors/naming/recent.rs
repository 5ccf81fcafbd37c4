//! What names and tags became lately: a client publishes on few names, and hears of few tag sets,
//! many times each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use millrace_client::TagSet;

use super::mapping::Mapping;
use crate::admission::Admitted;

/// Names, and tag sets, that are remembered for a client. Beyond it they are forgotten at once, and
/// remembered anew: who uses more of them in turn pays for looking each of them up.
const REMEMBERED_MAX: usize = 64;

/// The tags of the names that one client has published on.
#[derive(Debug, Default)]
pub(crate) struct RecentTags {
    by_name: HashMap<String, TagSet>,
    /// The identity that the client had: its tags are among those of each name.
    admitted: Option<Admitted>,
}

impl RecentTags {
    /// The tags of a name that a client of this identity publishes on; only those that `make`
    /// allows are remembered.
    pub(crate) fn of<E>(
        &mut self,
        name: &str,
        admitted: &Admitted,
        make: impl FnOnce() -> Result<TagSet, E>,
    ) -> Result<TagSet, E> {
        if !self.admitted.as_ref().is_some_and(|known| known.is_same(admitted)) {
            self.by_name.clear();
            self.admitted = Some(admitted.clone());
        }
        if let Some(tags) = self.by_name.get(name) {
            return Ok(tags.clone());
        }
        let tags = make()?;
        if self.by_name.len() == REMEMBERED_MAX {
            self.by_name.clear();
        }
        self.by_name.insert(name.to_owned(), tags.clone());
        Ok(tags)
    }
}

/// The names of the tag sets that one client was sent.
#[derive(Debug, Default)]
pub(crate) struct RecentNames(HashMap<TagSet, Option<String>>);

impl RecentNames {
    /// As [`Mapping::name`].
    pub(crate) fn of(&mut self, tags: &TagSet, mapping: &Mapping) -> Option<&str> {
        if self.0.len() == REMEMBERED_MAX && !self.0.contains_key(tags) {
            self.0.clear();
        }
        match self.0.entry(tags.clone()) {
            Entry::Occupied(known) => known.into_mut().as_deref(),
            Entry::Vacant(unknown) => unknown.insert(mapping.name(tags.borrow())).as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Access, Peer, Proof, Rule};
    use crate::doors::naming::Dialect;

    fn admitted(tags: &[(&str, &str)]) -> Admitted {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let rule = Rule {
            name: "a".to_owned(),
            proofs: vec![Proof::token("a token that is long enough")],
            may_publish: true,
            may_subscribe: true,
            tags,
        };
        let peer = Peer {
            ip: "192.0.2.1".parse().unwrap(),
            on_loopback: false,
            certificate: None,
            waiting: Default::default(),
        };
        Access::new([rule]).admit(&peer, Some("a token that is long enough")).unwrap()
    }

    #[test]
    fn tags_are_made_once_for_each_name_and_anew_for_another_identity() {
        let mapping = Mapping::new(Dialect::Nats, Vec::new());
        let (mut recent, mut made) = (RecentTags::default(), 0);
        let (one, other) = (admitted(&[("by", "one")]), admitted(&[("by", "other")]));
        let mut of = |name: &str, admitted: &Admitted| {
            let make = || {
                made += 1;
                mapping.tags(name, &[], admitted.tags())
            };
            (recent.of(name, admitted, make).unwrap().to_string(), made)
        };
        assert_eq!(of("a.b", &one), ("by=one,subject=a.b".to_owned(), 1));
        assert_eq!(of("a.b", &one), ("by=one,subject=a.b".to_owned(), 1));
        assert_eq!(of("a.c", &one), ("by=one,subject=a.c".to_owned(), 2));
        assert_eq!(of("a.b", &other), ("by=other,subject=a.b".to_owned(), 3));
        for number in 0..3 * REMEMBERED_MAX {
            let name = format!("many.{number}");
            assert_eq!(of(&name, &other).0, format!("by=other,subject={name}"));
        }
        assert!(recent.by_name.len() <= REMEMBERED_MAX);
        let refused: Result<TagSet, ()> = recent.of("wrong", &other, || Err(()));
        assert_eq!((refused, recent.by_name.contains_key("wrong")), (Err(()), false));
    }

    #[test]
    fn names_are_those_of_the_mapping_however_many_there_are() {
        let mapping = Mapping::new(Dialect::Nats, Vec::new());
        let mut recent = RecentNames::default();
        for number in (0..3 * REMEMBERED_MAX).chain(0..3) {
            for tags in [format!("subject=a.{number}"), format!("other={number}")] {
                let tags = TagSet::from_texts([tags]).unwrap();
                assert_eq!(recent.of(&tags, &mapping).map(str::to_owned), mapping.name(tags.borrow()));
            }
        }
        assert!(recent.0.len() <= REMEMBERED_MAX);
    }
}
