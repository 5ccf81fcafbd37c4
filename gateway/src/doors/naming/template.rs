//! One template: `"logs.{host}.{severity}"`, with fixed tags beside it.

use millrace_client::{TagSet, TagSetRef};

use super::dialect::{Dialect, Wildcard};

/// A token of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// It stands in the name as it is.
    Literal(String),
    /// It is the value of this tag.
    Tag(String),
}

/// Says which names are which tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    dialect: Dialect,
    tokens: Vec<Token>,
    /// Tags that every event of these names has.
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
        dialect: Dialect,
        text: &str,
        fixed: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, TemplateError> {
        let error = |problem: String| TemplateError { text: text.to_owned(), problem };
        let token = |token: &str| match token.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(key) => Token::Tag(key.to_owned()),
            None => Token::Literal(token.to_owned()),
        };
        let separator = dialect.separator();
        if !dialect.is_name(text) {
            return Err(error(format!("write tokens between `{separator}`, each a word or {{key}}")));
        }
        let tokens = text.split(separator).map(token).collect();
        let template = Self { dialect, tokens, fixed: fixed.into_iter().collect() };
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

    /// Whether a tag is part of the names.
    pub(super) fn has_key(&self, key: &str) -> bool {
        let is_in_name = |token: &Token| matches!(token, Token::Tag(tag) if tag == key);
        self.fixed.iter().any(|(fixed, _)| fixed == key) || self.tokens.iter().any(is_in_name)
    }

    /// The tags of a name; `None` if it does not fit.
    #[must_use]
    pub fn tags<'a>(&'a self, name: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut tags: Vec<(&str, &str)> =
            self.fixed.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut found = name.split(self.dialect.separator());
        for token in &self.tokens {
            match (token, found.next()?) {
                (Token::Literal(literal), token) if literal == token => {}
                (Token::Literal(_), _) => return None,
                (Token::Tag(key), value) => tags.push((key, value)),
            }
        }
        found.next().is_none().then_some(tags)
    }

    /// The name of tags; `None` if they do not fit.
    #[must_use]
    pub fn name(&self, tags: TagSetRef<'_>) -> Option<String> {
        let has = |(key, value): &(String, String)| tags.get(key) == Some(value);
        if !self.fixed.iter().all(has) {
            return None;
        }
        let separator = self.dialect.separator();
        let mut name = String::new();
        for (number, token) in self.tokens.iter().enumerate() {
            let token = match token {
                Token::Literal(literal) => literal.as_str(),
                Token::Tag(key) => tags.get(key).filter(|value| !value.contains(separator))?,
            };
            if number > 0 {
                name.push(separator);
            }
            name.push_str(token);
        }
        self.dialect.is_name(&name).then_some(name)
    }

    /// The selector for events of this template that a pattern may match; `None` if it matches
    /// none.
    #[must_use]
    pub fn selector(&self, pattern: &str) -> Option<String> {
        let mut parts: Vec<String> =
            self.fixed.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
        let mut wanted = pattern.split(self.dialect.separator()).peekable();
        let mut is_rest = false;
        let wildcard = |token: &str| self.dialect.wildcard(token);
        for token in &self.tokens {
            let want = if is_rest { "" } else { wanted.next()? };
            is_rest |= wildcard(want) == Some(Wildcard::Rest);
            let is_any = is_rest || wildcard(want).is_some();
            match token {
                Token::Literal(literal) if is_any || literal == want => {}
                Token::Literal(_) => return None,
                Token::Tag(key) if is_any => parts.push(key.clone()),
                Token::Tag(key) => parts.push(format!("{key}={}", quoted(want))),
            }
        }
        let may_end = |want: &str| self.dialect.rest_may_be_none() && wildcard(want) == Some(Wildcard::Rest);
        (is_rest || wanted.next().is_none_or(may_end)).then(|| parts.join(","))
    }
}

/// A value of a selector that stands for itself.
pub(super) fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
