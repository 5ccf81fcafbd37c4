//! Names to tags and back, and patterns to selectors.
//!
//! Templates are tried in their order, for names and for tags. What fits none is the dialect's own
//! tag. A selector may match more than its pattern does, because `*` of a selector crosses
//! separators: whoever delivers compares the pattern with the name.

use millrace_client::{Selector, TagError, TagSet, TagSetRef};

use super::dialect::{Dialect, Wildcard};
use super::template::{Template, quoted};

/// All templates of a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    dialect: Dialect,
    templates: Vec<Template>,
}

/// A name, and the tags that are no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<'a> {
    /// The name.
    pub name: String,
    /// Keys and values, in the order of the keys.
    pub besides: Vec<(&'a str, &'a str)>,
}

impl Mapping {
    /// The mapping of templates in this order.
    #[must_use]
    pub const fn new(dialect: Dialect, templates: Vec<Template>) -> Self {
        Self { dialect, templates }
    }

    /// How names are written.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The tags of a name, and others `besides`, which give way to the name's; `stamped` are those
    /// of the client's identity, to which all give way.
    ///
    /// # Errors
    /// [`TagError`]: one of those besides is not allowed, or there is no room for all.
    pub fn tags(
        &self,
        name: &str,
        besides: &[(&str, &str)],
        stamped: &[(String, String)],
    ) -> Result<TagSet, TagError> {
        let tags = self.templates.iter().find_map(|template| template.tags(name));
        let mut tags = tags.unwrap_or_else(|| vec![(self.dialect.tag(), name)]);
        let named = tags.len();
        for tag in besides {
            if tags[..named].iter().all(|(key, _)| *key != tag.0) {
                tags.push(*tag);
            }
        }
        tags.retain(|(key, _)| stamped.iter().all(|(stamped, _)| stamped != key));
        tags.extend(stamped.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        TagSet::new(tags)
    }

    /// The name of tags; `None` if they have none.
    #[must_use]
    pub fn name(&self, tags: TagSetRef<'_>) -> Option<String> {
        self.template_of(tags).map(|(name, _)| name)
    }

    /// The name of tags, and those that are no part of it; `None` if they have none.
    #[must_use]
    pub fn named<'a>(&self, tags: TagSetRef<'a>) -> Option<Named<'a>> {
        let (name, template) = self.template_of(tags)?;
        let is_besides = |key: &str| match template {
            Some(template) => !template.has_key(key),
            None => key != self.dialect.tag(),
        };
        Some(Named { name, besides: tags.iter().filter(|(key, _)| is_besides(key)).collect() })
    }

    fn template_of(&self, tags: TagSetRef<'_>) -> Option<(String, Option<&Template>)> {
        let templated =
            self.templates.iter().find_map(|template| Some((template.name(tags)?, Some(template))));
        templated.or_else(|| {
            let name = tags.get(self.dialect.tag()).filter(|name| self.dialect.is_name(name))?;
            Some((name.to_owned(), None))
        })
    }

    /// Selectors, any of which an event meets whose name a pattern matches.
    #[must_use]
    pub fn selectors(&self, pattern: &str) -> Vec<String> {
        let templated = self.templates.iter().filter_map(|template| template.selector(pattern));
        templated.chain([self.default_selector(pattern)]).collect()
    }

    fn default_selector(&self, pattern: &str) -> String {
        let (tag, separator) = (self.dialect.tag(), self.dialect.separator());
        if !self.dialect.has_wildcards(pattern) {
            return format!("{tag}={}", quoted(pattern));
        }
        let mut glob = String::new();
        for (number, token) in pattern.split(separator).enumerate() {
            let wildcard = self.dialect.wildcard(token);
            let may_be_none = wildcard == Some(Wildcard::Rest) && self.dialect.rest_may_be_none();
            if number > 0 && !may_be_none {
                glob.push(separator);
            }
            glob.push_str(if wildcard.is_some() { "*" } else { token });
        }
        let selector = format!("{tag}={glob}");
        // Where a token has characters that only quotes may hold, there is no glob: all names are
        // asked for then.
        if Selector::parse(&selector).is_ok() { selector } else { tag.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        let fixed = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        let template = |text, fixed| Template::parse(Dialect::Nats, text, fixed).unwrap();
        Mapping::new(
            Dialect::Nats,
            vec![
                template("logs.{host}.{severity}", vec![]),
                template("metrics.{host}.cpu", fixed("kind", "cpu")),
            ],
        )
    }

    fn topics() -> Mapping {
        let template = Template::parse(Dialect::Mqtt, "sensors/{room}/{kind}", []).unwrap();
        Mapping::new(Dialect::Mqtt, vec![template])
    }

    #[test]
    fn a_subject_is_a_tag_set_and_the_other_way_round() {
        let mapping = mapping();
        for (subject, tags) in [
            ("logs.web-1.err", "host=web-1,severity=err"),
            ("metrics.web-1.cpu", "host=web-1,kind=cpu"),
            ("logs.web-1", "subject=logs.web-1"),
            ("logs.web-1.err.more", "subject=logs.web-1.err.more"),
            ("_INBOX.abc.1", "subject=_INBOX.abc.1"),
        ] {
            let found = mapping.tags(subject, &[], &[]).unwrap();
            assert_eq!(
                (found.to_string().as_str(), mapping.name(found.borrow()).as_deref()),
                (tags, Some(subject))
            );
        }
        let other = TagSet::from_texts(["host=a", "severity=err", "app=x"]).unwrap();
        assert_eq!(mapping.name(other.borrow()).as_deref(), Some("logs.a.err"));
        for none in ["a=b", "subject=a b", "subject=a.>"] {
            assert_eq!(mapping.name(TagSet::from_texts([none]).unwrap().borrow()), None);
        }
    }

    #[test]
    fn what_a_pattern_matches_meets_its_selectors() {
        let mapping = mapping();
        let subjects = [
            "a",
            "a.b",
            "a.b.c",
            "logs.web-1.err",
            "logs.web-1.info",
            "logs.x",
            "metrics.web-1.cpu",
            "$JS.API.INFO",
            "_INBOX.x.1",
            "a?.b",
            "a\"b.c",
            "x(y).b",
            "ü.b",
        ];
        let patterns = [
            "a",
            "a.*",
            "a.>",
            ">",
            "*.*",
            "logs.*.err",
            "logs.>",
            "*.web-1.*",
            "*.*.cpu",
            "metrics.*.cpu",
            "$JS.>",
            "_INBOX.x.*",
            "a?.*",
            "a\"b.c",
            "a\"b.*",
            "x(y).>",
            "ü.*",
            "*",
        ];
        for pattern in patterns {
            let selectors: Vec<Selector> =
                mapping.selectors(pattern).iter().map(|text| Selector::parse(text).unwrap()).collect();
            for subject in subjects {
                let tags = mapping.tags(subject, &[], &[]).unwrap();
                let is_met = selectors.iter().any(|selector| selector.matches_tags(tags.borrow()));
                assert!(
                    is_met || !Dialect::Nats.matches(pattern, subject),
                    "{pattern} {subject}: {selectors:?}"
                );
            }
        }
        assert_eq!(mapping.selectors("logs.*.err"), ["host,severity=\"err\"", "subject=logs.*.err"]);
        assert_eq!(mapping.selectors("metrics.a.mem"), ["subject=\"metrics.a.mem\""]);
    }

    #[test]
    fn wrong_templates_are_named() {
        for wrong in ["", "a.*", "a b", "plain", "{a}.{a}", "{no key}", "{millrace/x}"] {
            assert!(Template::parse(Dialect::Nats, wrong, []).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_filter_matches_meets_its_selectors() {
        let mapping = topics();
        let topics =
            ["a", "a/b", "a/b/c", "/a", "a/", "sensors/k/t", "sensors/k", "sensors//", "a b/c", "$S/a"];
        let filters = [
            "a",
            "a/+",
            "a/#",
            "#",
            "+",
            "+/+",
            "/+",
            "sensors/+/t",
            "sensors/#",
            "sensors/k/t/#",
            "sensors/+/#",
            "+/b/#",
            "a b/+",
            "$S/#",
            "sensors//+",
        ];
        for filter in filters {
            let selectors: Vec<Selector> =
                mapping.selectors(filter).iter().map(|text| Selector::parse(text).unwrap()).collect();
            for topic in topics {
                let tags = mapping.tags(topic, &[], &[]).unwrap();
                assert_eq!(mapping.name(tags.borrow()).as_deref(), Some(topic));
                let is_met = selectors.iter().any(|selector| selector.matches_tags(tags.borrow()));
                assert!(is_met || !Dialect::Mqtt.matches(filter, topic), "{filter} {topic}: {selectors:?}");
            }
        }
        assert_eq!(mapping.selectors("a/#"), ["topic=a*"]);
    }

    #[test]
    fn other_tags_stand_beside_a_name_and_give_way_to_it() {
        let mapping = topics();
        let besides = [("unit", "C"), ("room", "attic"), ("site", "x")];
        let stamped = [("site".to_owned(), "berlin".to_owned())];
        let tags = mapping.tags("sensors/kitchen/temp", &besides, &stamped).unwrap();
        assert_eq!(tags.to_string(), "kind=temp,room=kitchen,site=berlin,unit=C");
        let named = mapping.named(tags.borrow()).unwrap();
        assert_eq!(named.name, "sensors/kitchen/temp");
        assert_eq!(named.besides, [("site", "berlin"), ("unit", "C")]);
        assert!(mapping.tags("a", &[("b", "1"), ("b", "2")], &[]).is_err());
    }
}
