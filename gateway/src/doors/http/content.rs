//! Which mode a request has: its content type says it, and nothing else of the body is looked at.

use axum::http::{HeaderMap, header};

use super::binary::PREFIX;

/// How a request carries events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The body is the payload; tags are in the query string.
    Plain,
    /// The body is the payload; attributes are in `ce-…` headers.
    Binary,
    /// The body is one CloudEvent in JSON.
    Structured,
    /// The body is a list of CloudEvents in JSON.
    Batch,
}

/// A content type that no mode has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// One that is not read here.
    #[error(
        "content type {0:?} is not read here: send application/cloudevents+json, application/cloudevents-batch+json, any \
         type with ce-… headers, or text with ?tag=key=value"
    )]
    Type(String),
    /// JSON that may be a CloudEvent, a batch, or a payload.
    #[error(
        "application/json may be anything: send a CloudEvent as application/cloudevents+json or with ce-… headers, or add \
         ?tag=key=value to publish the text as it is"
    )]
    PlainJson,
    /// A compressed body.
    #[error("content encoding {0:?} is not read here: send the body as it is")]
    Encoding(String),
}

impl Mode {
    /// The mode of a request. `has_tags`: its query string has tags.
    ///
    /// # Errors
    /// [`ContentError`] names what is read instead.
    pub fn of(headers: &HeaderMap, has_tags: bool) -> Result<Self, ContentError> {
        let encoding = headers.get(header::CONTENT_ENCODING);
        if let Some(encoding) =
            encoding.filter(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return Err(ContentError::Encoding(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
        }
        let given = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let media = given.as_deref().unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_binary = || headers.keys().any(|name| name.as_str().starts_with(PREFIX));
        match media.as_str() {
            "application/cloudevents+json" => Ok(Self::Structured),
            "application/cloudevents-batch+json" => Ok(Self::Batch),
            other if other.starts_with("application/cloudevents") => Err(ContentError::Type(media)),
            _ if is_binary() => Ok(Self::Binary),
            "" | "application/x-www-form-urlencoded" | "application/octet-stream" => Ok(Self::Plain),
            text if text.starts_with("text/") => Ok(Self::Plain),
            "application/json" if has_tags => Ok(Self::Plain),
            "application/json" => Err(ContentError::PlainJson),
            _ => Err(ContentError::Type(media)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(pairs: &[(&'static str, &str)], has_tags: bool) -> Option<Mode> {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Mode::of(&headers, has_tags).ok()
    }

    #[test]
    fn the_content_type_alone_says_the_mode() {
        const CE: (&str, &str) = ("ce-specversion", "1.0");
        let of = |media: &str| mode(&[("content-type", media)], false);
        assert_eq!(of("application/cloudevents+json"), Some(Mode::Structured));
        assert_eq!(of("Application/CloudEvents+JSON; charset=UTF-8"), Some(Mode::Structured));
        assert_eq!(of("application/cloudevents-batch+json;charset=utf-8"), Some(Mode::Batch));
        assert_eq!(
            mode(&[("content-type", "application/cloudevents-batch+json"), CE], false),
            Some(Mode::Batch)
        );
        assert_eq!(mode(&[("content-type", "image/png"), CE], false), Some(Mode::Binary));
        assert_eq!(mode(&[CE], false), Some(Mode::Binary));
        assert_eq!(mode(&[("content-type", "application/cloudevents+avro"), CE], true), None);
        assert_eq!(of("application/xml"), None);
        assert_eq!(mode(&[("content-type", "application/xml")], true), None);
        assert_eq!(of("application/json"), None);
        assert_eq!(mode(&[("content-type", "application/json")], true), Some(Mode::Plain));
        assert_eq!(of("application/x-www-form-urlencoded"), Some(Mode::Plain));
        assert_eq!(mode(&[], false), Some(Mode::Plain));
        assert_eq!(mode(&[("content-encoding", "gzip")], true), None);
    }
}
