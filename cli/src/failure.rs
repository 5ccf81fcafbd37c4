//! Why a command failed.

use std::process::ExitCode;

use crate::tell;

/// Why a command failed, and the exit code that says so.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// None: everything was said already.
    error: Option<anyhow::Error>,
    /// What to try next.
    pub(crate) hint: Option<String>,
    /// Whether it is about the way to routers: addresses, certificates, keys.
    pub(crate) is_about_reach: bool,
}

impl Failure {
    /// Something was not delivered, or was refused.
    pub(crate) fn other(error: anyhow::Error) -> Self {
        Self::of(1, Some(error))
    }

    /// The command line asks for something that cannot be.
    pub(crate) fn usage(error: anyhow::Error) -> Self {
        Self::of(2, Some(error))
    }

    /// No router could be reached.
    pub(crate) fn unreachable(error: anyhow::Error) -> Self {
        Self::of(3, Some(error)).about_reach()
    }

    /// Interrupted before everything was done.
    pub(crate) fn interrupted(error: anyhow::Error) -> Self {
        Self::of(130, Some(error))
    }

    /// Everything was said already; only the exit code is left.
    pub(crate) const fn said(code: u8) -> Self {
        Self::of(code, None)
    }

    const fn of(code: u8, error: Option<anyhow::Error>) -> Self {
        Self { code, error, hint: None, is_about_reach: false }
    }

    /// The same, about the way to routers.
    pub(crate) const fn about_reach(mut self) -> Self {
        self.is_about_reach = true;
        self
    }

    /// The same, with another exit code: `check` has its own.
    pub(crate) const fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Says what to try next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a line to what to try next.
    pub(crate) fn add_hint(mut self, line: String) -> Self {
        self.hint = Some(match self.hint {
            Some(hint) => format!("{hint}\n{line}"),
            None => line,
        });
        self
    }

    /// What went wrong, in one line; nothing, when it was said already.
    pub(crate) fn words(&self) -> String {
        self.error.as_ref().map(told).unwrap_or_default()
    }

    /// Says it on standard error; the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if self.error.is_some() {
            tell::tell(self.words());
        }
        if let Some(hint) = self.hint {
            tell::line(hint);
        }
        ExitCode::from(self.code)
    }
}

/// An error and its causes in one line; many errors say their cause themselves, which is not
/// repeated.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.ends_with(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let cause = std::io::Error::other("no such name");
        let error =
            anyhow::Error::new(cause).context("cannot resolve x: no such name").context("unreachable");
        assert_eq!(told(&error), "unreachable: cannot resolve x: no such name");
    }
}
