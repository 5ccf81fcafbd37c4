//! What several routers answered: objects for programs, tables for people, failures for both.

use std::io::{self, Write};

use anyhow::anyhow;
use serde_json::{Value, json};

use crate::admin::{AdminUrl, Answer, AskError};
use crate::failure::Failure;
use crate::{show, tell};

/// Schema of the object that stands for a router that did not answer.
const ERROR_SCHEMA: &str = "millrace.ctl.error/1";

/// Prints each router's page with its URL, or why there is none, one object a line.
pub(super) fn print_json<T>(answers: &[Result<Answer<T>, AskError>]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for answer in answers {
        match answer {
            Ok(answer) => show::json_line(&mut out, &with_url(&answer.url, answer.page.clone()))?,
            Err(error) => {
                show::json_line(&mut out, &json!({ "schema": ERROR_SCHEMA, "error": error.to_string() }))?
            }
        }
    }
    out.flush()
}

/// A failure that programs find on standard output, too, as an object.
pub(super) fn said_as_json(failure: Failure) -> Failure {
    let mut out = io::stdout().lock();
    let object = json!({ "schema": ERROR_SCHEMA, "error": failure.words() });
    // Whoever has closed the output is told on standard error.
    let _ = show::json_line(&mut out, &object).and_then(|()| out.flush());
    failure
}

/// A page that says which router gave it.
pub(super) fn with_url(url: &AdminUrl, mut page: Value) -> Value {
    if let Value::Object(fields) = &mut page {
        fields.insert("admin".to_owned(), url.to_string().into());
    }
    page
}

/// Prints lines for people; what steers a terminal is escaped.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(tell::safe(text).as_bytes())?;
    out.flush()
}

/// Writes answers for programs or people, and says which routers gave none.
///
/// # Errors
/// A router did not answer: exit code 3 if none did, else 1.
pub(super) fn finish<T>(
    answers: Vec<Result<Answer<T>, AskError>>,
    json: bool,
    words: impl FnOnce(&[Answer<T>]) -> String,
) -> Result<(), Failure> {
    let written = if json { print_json(&answers) } else { Ok(()) };
    let count = answers.len();
    let (mut good, mut errors) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(answer) => good.push(answer),
            Err(error) => errors.push(error),
        }
    }
    let written = written.and_then(|()| if json || good.is_empty() { Ok(()) } else { print(&words(&good)) });
    told(written)?;
    let last = errors.pop();
    for error in errors {
        tell::tell(error);
    }
    match last {
        None => Ok(()),
        Some(error) => Err(failure(error, good.is_empty() || count == 1)),
    }
}

/// What became of writing to standard output. Whoever has closed it has seen enough, and what there
/// is to say besides is said all the same.
///
/// # Errors
/// It could not be written.
pub(super) fn told(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::other(anyhow!(error).context("cannot write")))
        }
        _ => Ok(()),
    }
}

/// Why a router did not do what it was asked for, and what to try next.
pub(super) fn failure(error: AskError, is_only: bool) -> Failure {
    let hint = match &error {
        AskError::Unreachable { .. } => {
            "Is the router running, and is its admin page there (setting `admin.listen`)? \
             Name another with --admin URL or MILLRACE_ADMIN."
        }
        AskError::Refused { status: 404, .. } => {
            "Something else answers there, or an older router: `millrace ctl status` shows its version."
        }
        AskError::Refused { status: 421, .. } => {
            "On loopback, name it as localhost, 127.0.0.1 or [::1]: --admin http://127.0.0.1:7401"
        }
        AskError::Refused { .. } | AskError::Unreadable { .. } => "",
    };
    let is_unreachable = matches!(error, AskError::Unreachable { .. });
    let failure = if is_unreachable && is_only {
        Failure::unreachable(error.into())
    } else {
        Failure::other(error.into())
    };
    let failure = if is_unreachable { failure.about_reach() } else { failure };
    if hint.is_empty() { failure } else { failure.hint(hint) }
}
