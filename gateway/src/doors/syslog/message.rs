//! What a message says, whatever its format.

use std::borrow::Cow;
use std::time::SystemTime;

use super::priority::Priority;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its severity and facility.
    pub priority: Priority,
    /// When it was written, if it says so.
    pub time: Option<SystemTime>,
    /// Host.
    pub host: Option<Cow<'a, str>>,
    /// Program.
    pub app: Option<Cow<'a, str>>,
    /// Process.
    pub procid: Option<Cow<'a, str>>,
    /// Type of the message.
    pub msgid: Option<Cow<'a, str>>,
    /// Structured data: element, name, value.
    pub data: Vec<(&'a str, &'a str, Cow<'a, str>)>,
    /// The text itself, in whatever encoding.
    pub text: &'a [u8],
}

impl<'a> Message<'a> {
    /// A message of this priority that is nothing but text.
    #[must_use]
    pub const fn plain(priority: Priority, text: &'a [u8]) -> Self {
        let data = Vec::new();
        Self { priority, time: None, host: None, app: None, procid: None, msgid: None, data, text }
    }
}
