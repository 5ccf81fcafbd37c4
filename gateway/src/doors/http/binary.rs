//! A CloudEvent in binary mode: attributes in headers, the payload in the body (CloudEvents HTTP
//! binding, section 3.1).

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode;

use super::cloud_event::{Attributes, CloudEventError};

/// What the names of headers with attributes begin with.
pub const PREFIX: &str = "ce-";

/// The attributes in the headers of a request. `Content-Type` is the attribute `datacontenttype`,
/// which an event need not have.
///
/// # Errors
/// [`CloudEventError`] names the header.
pub fn attributes(headers: &HeaderMap) -> Result<Attributes, CloudEventError> {
    let mut attributes = Attributes::default();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(PREFIX) {
            attributes.add(name, text(name, value.as_bytes())?)?;
        }
    }
    if let Some(media) = headers.get(header::CONTENT_TYPE) {
        attributes.add("datacontenttype", text("datacontenttype", media.as_bytes())?)?;
    }
    Ok(attributes)
}

/// Values are percent-encoded UTF-8 (section 3.1.3.2).
fn text(name: &str, value: &[u8]) -> Result<String, CloudEventError> {
    let decoded = percent_decode(value).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| CloudEventError::NotText(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_attributes_and_their_percent_signs_are_read() {
        let mut headers = HeaderMap::new();
        headers.insert("ce-subject", "Euro%20%E2%82%AC".parse().unwrap());
        headers.insert("x-other", "no".parse().unwrap());
        headers.insert("content-type", "text/plain; charset=utf-8".parse().unwrap());
        let found = attributes(&headers).unwrap();
        assert_eq!(found.get("subject"), Some("Euro €"));
        assert_eq!(found.get("datacontenttype"), Some("text/plain; charset=utf-8"));
        headers.insert("ce-bad", "%ff".parse().unwrap());
        assert_eq!(attributes(&headers), Err(CloudEventError::NotText("bad".into())));
    }
}
