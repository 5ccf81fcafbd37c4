//! What routers tell each other of receivers' selectors.

use millrace_proto::Selector;

/// What peers are told of a selector.
#[must_use]
pub(super) fn told(selector: &Selector) -> String {
    if selector.patterns().is_empty() {
        selector.text().to_owned()
    } else {
        selector.without_payload().text().to_owned()
    }
}
