//! One template: `"logs.{host}.{severity}"`, with fixed tags beside it.

use millrace_client::{TagSet, TagSetRef};

use super::subject::is_subject;

/// A token of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// It stands in the subject as it is.
    Literal(String),
    /// It is the value of this tag.
    Tag(String),
}

/// Says which subjects are which tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    tokens: Vec<Token>,
    /// Tags that every event of these subjects has.
    fixed: Vec<(String, String)>,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {text:?}: {problem}")]
pub struct TemplateError {
    text: String,
    problem: String,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] says what is wrong.
    pub fn parse(
        text: &str,
        fixed: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, TemplateError> {
        let error = |problem: String| TemplateError { text: text.to_owned(), problem };
        let token = |token: &str| match token.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(key) => Token::Tag(key.to_owned()),
            None => Token::Literal(token.to_owned()),
        };
        if !is_subject(text) {
            return Err(error("write tokens between dots, each a word or {key}".to_owned()));
        }
        let template =
            Self { tokens: text.split('.').map(token).collect(), fixed: fixed.into_iter().collect() };
        // The sample has every key that an event will have.
        let sample = template.tokens.iter().filter_map(|token| match token {
            Token::Tag(key) => Some((key.as_str(), "x")),
            Token::Literal(_) => None,
        });
        let fixed = template.fixed.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let set = TagSet::new(sample.chain(fixed)).map_err(|problem| error(problem.to_string()))?;
        if set.borrow().is_empty() {
            return Err(error("it has no {key}, and no tags beside it".to_owned()));
        }
        if let Some(key) = set.borrow().reserved_key() {
            return Err(error(format!("tag {key:?} is set by routers only")));
        }
        Ok(template)
    }

    /// The tags of a subject; `None` if it does not fit.
    #[must_use]
    pub fn tags<'a>(&'a self, subject: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut tags: Vec<(&str, &str)> =
            self.fixed.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut found = subject.split('.');
        for token in &self.tokens {
            match (token, found.next()?) {
                (Token::Literal(literal), token) if literal == token => {}
                (Token::Literal(_), _) => return None,
                (Token::Tag(key), value) => tags.push((key, value)),
            }
        }
        found.next().is_none().then_some(tags)
    }

    /// The subject of tags; `None` if they do not fit.
    #[must_use]
    pub fn subject(&self, tags: TagSetRef<'_>) -> Option<String> {
        let has = |(key, value): &(String, String)| tags.get(key) == Some(value);
        if !self.fixed.iter().all(has) {
            return None;
        }
        let mut subject = String::new();
        for token in &self.tokens {
            let token = match token {
                Token::Literal(literal) => literal.as_str(),
                Token::Tag(key) => tags.get(key).filter(|value| !value.contains('.'))?,
            };
            if !subject.is_empty() {
                subject.push('.');
            }
            subject.push_str(token);
        }
        is_subject(&subject).then_some(subject)
    }

    /// The selector for events of this template that a pattern may match; `None` if it matches none.
    #[must_use]
    pub fn selector(&self, pattern: &str) -> Option<String> {
        let mut parts: Vec<String> =
            self.fixed.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
        let mut wanted = pattern.split('.');
        let mut is_rest = false;
        for token in &self.tokens {
            let want = if is_rest { "*" } else { wanted.next()? };
            is_rest |= want == ">";
            let is_any = is_rest || want == "*";
            match token {
                Token::Literal(literal) if is_any || literal == want => {}
                Token::Literal(_) => return None,
                Token::Tag(key) if is_any => parts.push(key.clone()),
                Token::Tag(key) => parts.push(format!("{key}={}", quoted(want))),
            }
        }
        (is_rest || wanted.next().is_none()).then(|| parts.join(","))
    }
}

/// A value of a selector that stands for itself.
pub(super) fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
