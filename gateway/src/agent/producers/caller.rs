//! Who a client of a local door is, as far as the host can tell.

use std::sync::Arc;

/// Bytes of a name that a client gives itself.
const NAME_BYTES_MAX: usize = 64;

/// A client of a local door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    name: Arc<str>,
    /// Whose spool it shares when there are too many.
    door: &'static str,
}

/// A name that no producer can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Millrace-Producer: {0:?} is no name: write 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, `.`, `_` and `-`"
)]
pub struct CallerError(String);

impl Caller {
    /// A process of this user, on the unix socket.
    #[must_use]
    pub fn user(uid: u32) -> Self {
        Self { name: format!("uid-{uid}").into(), door: "unix" }
    }

    /// A client of the HTTP door on loopback, under the name that it gives itself, if any.
    ///
    /// # Errors
    /// [`CallerError`]: it is no name.
    pub fn http(name: Option<&str>) -> Result<Self, CallerError> {
        let Some(name) = name else { return Ok(Self { name: "http".into(), door: "http" }) };
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_name_byte) {
            return Err(CallerError(name.chars().take(NAME_BYTES_MAX).collect()));
        }
        Ok(Self { name: format!("http-{name}").into(), door: "http" })
    }

    /// Whoever writes to the syslog door.
    #[must_use]
    pub fn syslog() -> Self {
        Self { name: "syslog".into(), door: "syslog" }
    }

    /// The agent itself.
    #[must_use]
    pub fn agent() -> Self {
        Self { name: "agent".into(), door: "agent" }
    }

    /// Its name in metrics, folders and answers.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// All clients of its door together.
    #[must_use]
    pub fn shared(&self) -> Self {
        Self { name: self.door.into(), door: self.door }
    }

    /// Whether it is all clients of its door already.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        *self.name == *self.door
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_cannot_be_those_of_users_or_doors() {
        assert_eq!(&**Caller::user(0).name(), "uid-0");
        assert_eq!(&**Caller::http(Some("backup.daily")).unwrap().name(), "http-backup.daily");
        assert_eq!(&**Caller::http(None).unwrap().name(), "http");
        for wrong in ["", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(Caller::http(Some(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(&**Caller::user(7).shared().name(), "unix");
        assert!(Caller::user(7).shared().is_shared() && Caller::syslog().is_shared());
    }
}
