//! Why a subscription failed, with the place in the selector that cannot be read.

use anyhow::anyhow;
use millrace_client::SubscribeError;

use crate::failure::Failure;

/// A selector that cannot be read is shown with a mark below the place.
pub(crate) fn refusal(error: SubscribeError) -> Failure {
    match error {
        SubscribeError::Selector { text, source } => {
            let mark = format!("  {text}\n  {:>column$}", '^', column = source.column);
            let usage = Failure::usage(anyhow!("selector {text:?}, {source}"));
            usage.hint(format!("{mark}\n`millrace sub --help` shows what selectors can say."))
        }
        SubscribeError::Plan(error) => Failure::usage(error.into()),
        other => Failure::other(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_selector_is_marked_at_its_column() {
        let source = millrace_proto::SelectorError { column: 6, message: "expected a value".into() };
        let failure = refusal(SubscribeError::Selector { text: "host=".into(), source });
        let hint = failure.hint.unwrap_or_default();
        assert!(hint.starts_with("  host=\n       ^\n"), "{hint}");
        assert_eq!(failure.code, 2);
    }
}
