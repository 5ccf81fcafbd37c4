//! Names of recipients, checked before an event goes out that a router would refuse.

use millrace_proto::limits::RECIPIENTS_MAX;
use millrace_proto::selector::Claim;

use crate::session::PublishError;

/// The recipients of an event.
pub(crate) fn names<S: AsRef<str>>(recipients: &[S]) -> Result<Vec<&str>, PublishError> {
    let names: Vec<&str> = recipients.iter().map(AsRef::as_ref).collect();
    let is_fit =
        (1..=RECIPIENTS_MAX).contains(&names.len()) && names.iter().all(|name| Claim::check(name).is_ok());
    if is_fit { Ok(names) } else { Err(PublishError::Recipients) }
}
