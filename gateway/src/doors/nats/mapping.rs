//! Subjects to tags and back, and patterns to selectors.
//!
//! Templates are tried in their order, for subjects and for tags. What fits none is the tag
//! `subject`. A selector may match more than its pattern does, because `*` of a selector crosses
//! dots: whoever delivers compares the pattern with the subject.

use millrace_client::{Selector, TagError, TagSet, TagSetRef};

use super::subject::{has_wildcards, is_subject};
use super::template::{Template, quoted};

/// The tag of subjects that fit no template.
pub const SUBJECT: &str = "subject";

/// All templates of the door.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    templates: Vec<Template>,
}

impl Mapping {
    /// The mapping of templates in this order.
    #[must_use]
    pub const fn new(templates: Vec<Template>) -> Self {
        Self { templates }
    }

    /// The tags of a subject; `stamped` are those of the client's identity.
    ///
    /// # Errors
    /// [`TagError`], where an identity's tags leave no room.
    pub fn tags(&self, subject: &str, stamped: &[(String, String)]) -> Result<TagSet, TagError> {
        let tags = self.templates.iter().find_map(|template| template.tags(subject));
        let mut tags = tags.unwrap_or_else(|| vec![(SUBJECT, subject)]);
        tags.retain(|(key, _)| stamped.iter().all(|(stamped, _)| stamped != key));
        tags.extend(stamped.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        TagSet::new(tags)
    }

    /// The subject of tags; `None` if they have none.
    #[must_use]
    pub fn subject(&self, tags: TagSetRef<'_>) -> Option<String> {
        let templated = self.templates.iter().find_map(|template| template.subject(tags));
        templated.or_else(|| tags.get(SUBJECT).filter(|subject| is_subject(subject)).map(str::to_owned))
    }

    /// Selectors, any of which an event meets whose subject a pattern matches.
    #[must_use]
    pub fn selectors(&self, pattern: &str) -> Vec<String> {
        let templated = self.templates.iter().filter_map(|template| template.selector(pattern));
        templated.chain([default_selector(pattern)]).collect()
    }
}

fn default_selector(pattern: &str) -> String {
    if !has_wildcards(pattern) {
        return format!("{SUBJECT}={}", quoted(pattern));
    }
    let glob: Vec<&str> = pattern.split('.').map(|token| if token == ">" { "*" } else { token }).collect();
    let selector = format!("{SUBJECT}={}", glob.join("."));
    // Where a token has characters that only quotes may hold, there is no glob: all subjects are asked
    // for then.
    if Selector::parse(&selector).is_ok() { selector } else { SUBJECT.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::subject::matches;
    use super::*;

    fn mapping() -> Mapping {
        let fixed = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        Mapping::new(vec![
            Template::parse("logs.{host}.{severity}", []).unwrap(),
            Template::parse("metrics.{host}.cpu", fixed("kind", "cpu")).unwrap(),
        ])
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
            let found = mapping.tags(subject, &[]).unwrap();
            assert_eq!(
                (found.to_string().as_str(), mapping.subject(found.borrow()).as_deref()),
                (tags, Some(subject))
            );
        }
        let other = TagSet::from_texts(["host=a", "severity=err", "app=x"]).unwrap();
        assert_eq!(mapping.subject(other.borrow()).as_deref(), Some("logs.a.err"));
        for none in ["a=b", "subject=a b", "subject=a.>"] {
            assert_eq!(mapping.subject(TagSet::from_texts([none]).unwrap().borrow()), None);
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
                let tags = mapping.tags(subject, &[]).unwrap();
                let is_met = selectors.iter().any(|selector| selector.matches_tags(tags.borrow()));
                assert!(is_met || !matches(pattern, subject), "{pattern} {subject}: {selectors:?}");
            }
        }
        assert_eq!(mapping.selectors("logs.*.err"), ["host,severity=\"err\"", "subject=logs.*.err"]);
        assert_eq!(mapping.selectors("metrics.a.mem"), ["subject=\"metrics.a.mem\""]);
    }

    #[test]
    fn wrong_templates_are_named() {
        for wrong in ["", "a.*", "a b", "plain", "{a}.{a}", "{no key}", "{millrace/x}"] {
            assert!(Template::parse(wrong, []).is_err(), "{wrong}");
        }
    }
}
