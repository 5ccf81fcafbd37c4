//! The query of a page's address: known names, each at most once, with values within bounds.

use std::time::Duration;

/// What stands behind the `?`.
#[derive(Debug)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a query that may have these names.
    ///
    /// # Errors
    /// A name that the page does not know, or that stands twice, in words.
    pub(super) fn read(text: Option<&str>, known: &[&str]) -> Result<Self, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return Err(format!("{name:?} is not known here; known: {}", known.join(", ")));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(format!("{name:?} is given twice"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    /// The text under a name; empty when there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.pairs.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    /// The number under a name, between 1 and `most`.
    pub(super) fn count(&self, name: &str, default: usize, most: usize) -> Result<usize, String> {
        match self.text(name) {
            "" => Ok(default),
            text => match text.parse() {
                Ok(count) if (1..=most).contains(&count) => Ok(count),
                _ => Err(format!("{name}={text}: a number from 1 to {most} is expected")),
            },
        }
    }

    /// The duration under a name, such as `10s`.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        match self.text(name) {
            "" => Ok(None),
            text => humantime::parse_duration(text)
                .map(Some)
                .map_err(|_| format!("{name}={text}: a duration such as 10s is expected")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_bounded_and_unknown_names_refused() {
        let read = |text| Query::read(Some(text), &["top", "tags", "grace"]);
        let query = read("tags=host%3Dweb-1%2Ca%3D+x&top=7&grace=1m").unwrap();
        assert_eq!(query.text("tags"), "host=web-1,a= x");
        assert_eq!(query.count("top", 20, 100), Ok(7));
        assert_eq!(query.count("tops", 20, 100), Ok(20));
        assert_eq!(query.duration("grace"), Ok(Some(Duration::from_secs(60))));
        assert!(query.count("top", 1, 6).unwrap_err().contains("1 to 6"));
        assert!(read("top=0").unwrap().count("top", 1, 6).is_err());
        assert_eq!(read("to=1").unwrap_err(), "\"to\" is not known here; known: top, tags, grace");
        assert_eq!(read("top=1&top=2").unwrap_err(), "\"top\" is given twice");
        assert!(Query::read(None, &[]).is_ok());
    }
}
