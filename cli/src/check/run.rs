//! Two looks at each router, and what they say.

use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;

use super::args::Check;
use super::figures::Looks;
use super::range::State;
use super::{report, verdict};
use crate::admin::pages::Status;
use crate::admin::{self, Answer, AskError, Method};
use crate::failure::Failure;
use crate::options::Reach;
use crate::{show, tell};

/// Between two looks, at least: a rate over less means nothing.
const APART_MIN: Duration = Duration::from_millis(10);

/// Looks twice and prints one line.
///
/// # Errors
/// The state is not ok: the failure has its exit code, and everything is said.
pub(crate) async fn run(reach: &Reach, command: &Check) -> Result<(), Failure> {
    let json = reach.json;
    // Wrong usage is unknown to monitoring systems, for which 2 is critical.
    let urls = admin::equipped(&command.admin.admin, reach);
    let urls = &urls.map_err(|failure| failure.with_code(State::Unknown.code()))?;
    let begun = Instant::now();
    let first = admin::all::<Status>(urls, Method::Get, "/status").await;
    sleep(command.over.max(APART_MIN)).await;
    let second = admin::all::<Status>(urls, Method::Get, "/status").await;
    let apart = begun.elapsed();
    let now = SystemTime::now();
    let verdicts: Vec<_> = urls
        .iter()
        .zip(first.into_iter().zip(second))
        .map(|(url, (first, second))| verdict::judge(url.clone(), looks(first, second, apart), command, now))
        .collect();
    let mut out = io::stdout().lock();
    let written = if json {
        show::json_line(&mut out, &report::object(&verdicts))
    } else {
        writeln!(out, "{}", tell::safe(&report::line(&verdicts)))
    };
    written.and_then(|()| out.flush()).map_err(|error| Failure::other(error.into()))?;
    match report::state(&verdicts) {
        State::Ok => Ok(()),
        state if verdicts.iter().any(|verdict| verdict.is_silent) => {
            Err(Failure::said(state.code()).about_reach())
        }
        state => Err(Failure::said(state.code())),
    }
}

fn looks(
    first: Result<Answer<Status>, AskError>,
    second: Result<Answer<Status>, AskError>,
    apart: Duration,
) -> Result<Looks, AskError> {
    Ok(Looks { before: first?.read, after: second?.read, apart })
}
