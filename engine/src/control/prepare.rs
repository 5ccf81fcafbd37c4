//! Reads selectors and compiles their payload patterns: work that a core has no time for.

use std::sync::Arc;

use millrace_proto::Selector;
use millrace_proto::limits::SELECTORS_PER_RECEIVER_MAX;

use crate::message::Prepared;

/// Reads selectors for a [`ToControl::Prepare`](crate::message::ToControl::Prepare). It can take seconds: a program whose
/// control must not wait calls this elsewhere, and gives the core its [`ToCore::Prepared`](crate::message::ToCore::Prepared)
/// itself.
///
/// # Errors
/// Which is the first bad one, where, and what is wrong.
pub fn prepare(texts: &[String]) -> Result<Vec<Prepared>, String> {
    if texts.len() > SELECTORS_PER_RECEIVER_MAX {
        return Err(format!("{} selectors, at most {SELECTORS_PER_RECEIVER_MAX} are allowed", texts.len()));
    }
    texts
        .iter()
        .map(|text| prepare_one(text).map_err(|error| format!("selector \"{text}\": {error}")))
        .collect()
}

fn prepare_one(text: &str) -> Result<Prepared, String> {
    let selector = Arc::new(Selector::parse(text).map_err(|error| error.to_string())?);
    let payload = selector.compile_payload().map_err(|error| error.to_string())?.map(Arc::new);
    let interest = match &payload {
        Some(_) => Arc::new(selector.without_payload()),
        None => Arc::clone(&selector),
    };
    Ok(Prepared { selector, interest, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_compiled_and_left_out_of_the_interest() {
        let prepared = prepare(&["a=1, payload ~ /x+/".to_owned(), "b=2".to_owned()]).unwrap();
        assert_eq!(prepared[0].interest.text(), "a=1");
        assert!(prepared[0].payload.as_ref().unwrap().matches(b"wxxy"));
        assert!(prepared[1].payload.is_none());
        assert!(Arc::ptr_eq(&prepared[1].interest, &prepared[1].selector));
    }

    #[test]
    fn the_error_names_the_selector_and_the_column() {
        let error = prepare(&["a=1".to_owned(), "b in (".to_owned()]).unwrap_err();
        assert!(error.contains("\"b in (\"") && error.contains("column"), "{error}");
    }
}
