//! The query string: `tag=service=web&tag=host=a&level=routed`.

use percent_encoding::percent_decode_str;

/// Parameters that one request may have: far more than an event has tags.
const PARAMETERS_MAX: usize = 256;

/// What is wrong with a query string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is not text behind its percent signs.
    #[error("the query string is not UTF-8 behind its percent signs")]
    NotText,
    /// It has too many parameters.
    #[error("more than {PARAMETERS_MAX} parameters in the query string")]
    TooMany,
}

/// The parameters of a request, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Reads the query string of a URL, without its question mark.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut parameters = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            if parameters.len() == PARAMETERS_MAX {
                return Err(QueryError::TooMany);
            }
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            parameters.push((decode(key)?, decode(value)?));
        }
        Ok(Self { parameters })
    }

    /// All values of a parameter, in their order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters.iter().filter(move |(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn first(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// The tags of `tag=…` parameters: `key=value`, several separated by commas, `\,` for a comma
    /// within a value, as `millrace pub --tag` reads them.
    pub fn tags(&self) -> impl Iterator<Item = String> {
        self.all("tag").flat_map(split)
    }
}

fn decode(text: &str) -> Result<String, QueryError> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned()).map_err(|_| QueryError::NotText)
}

fn split(tags: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut characters = tags.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(tag) = found.last_mut() else { break };
        match character {
            '\\' if characters.next_if_eq(&',').is_some() => tag.push(','),
            ',' => found.push(String::new()),
            other => tag.push(other),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_their_order_and_are_decoded() {
        let query = Query::parse("tag=service=web&tag=note=a%20b+c&level=none&&flag").unwrap();
        let tags: Vec<String> = query.tags().collect();
        assert_eq!(tags, ["service=web", "note=a b c"]);
        assert_eq!(
            (query.first("level"), query.first("flag"), query.first("x")),
            (Some("none"), Some(""), None)
        );
        assert_eq!(Query::parse("a=%ff"), Err(QueryError::NotText));
        assert_eq!(Query::parse(&"a&".repeat(257)), Err(QueryError::TooMany));
    }

    #[test]
    fn commas_separate_tags_unless_they_are_escaped() {
        let tags = |text: &str| Query::parse(text).unwrap().tags().collect::<Vec<_>>();
        assert_eq!(tags("tag=a=b,c=d"), ["a=b", "c=d"]);
        assert_eq!(tags("tag=a=b%5C,c"), ["a=b,c"]);
    }
}
