//! Log lines that nobody asks for: a certificate nears its end, or log lines were lost.

use std::time::{Duration, Instant, SystemTime};

use crate::logs;

/// Between two lines about a certificate that ends soon.
const CERTIFICATE_SAID_FOR: Duration = Duration::from_secs(24 * 3600);
/// Between two lines about one that ends within a day.
const LAST_DAY_SAID_FOR: Duration = Duration::from_secs(3600);
/// Between two lines about lost lines.
const LOST_SAID_FOR: Duration = Duration::from_secs(10);

/// When each was last logged.
#[derive(Debug)]
pub(crate) struct Watch {
    certificate_said: Instant,
    lost_said: Instant,
    lost: u64,
}

impl Default for Watch {
    /// The start reports its certificates itself.
    fn default() -> Self {
        let now = Instant::now();
        Self { certificate_said: now, lost_said: now, lost: logs::lost() }
    }
}

impl Watch {
    /// Logs what is due. `expiry` is the end of the certificate, `renewal` when it should have been
    /// renewed, both in seconds since 1970.
    pub(crate) fn look(&mut self, expiry: i64, renewal: i64) {
        let now = Instant::now();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let left = expiry.saturating_sub(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        if is_due(left, expiry.saturating_sub(renewal), now.duration_since(self.certificate_said)) {
            self.certificate_said = now;
            if left < 0 {
                tracing::error!(
                    "the certificate has expired: nobody accepts it; renew it, then reload (SIGHUP)"
                );
            } else {
                tracing::warn!(
                    seconds = left,
                    "the certificate expires soon: renew it, then reload (SIGHUP)"
                );
            }
        }
        let lost = logs::lost();
        if lost > self.lost && now.duration_since(self.lost_said) >= LOST_SAID_FOR {
            tracing::warn!(lines = lost - self.lost, "log lines could not be written to standard error");
            (self.lost, self.lost_said) = (lost, now);
        }
    }
}

/// Whether it is time for a line about a certificate that has `left` seconds, and is warned of in
/// its last `warned` ones.
fn is_due(left: i64, warned: i64, since: Duration) -> bool {
    let day = 24 * 3600;
    // What is warned of for minutes is said several times in them.
    let parts = Duration::from_secs(warned.unsigned_abs() / 4);
    left <= warned && since >= parts.min(if left < day { LAST_DAY_SAID_FOR } else { CERTIFICATE_SAID_FOR })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_the_end_of_a_certificate_the_more_often_it_is_said() {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
        let days = |days: i64| days * 24 * 3600;
        let is_due_of_a_year = |left, since| is_due(left, days(14), since);
        assert!(!is_due_of_a_year(days(15), day * 30));
        assert!(is_due_of_a_year(days(13), day) && !is_due_of_a_year(days(13), hour * 23));
        assert!(is_due_of_a_year(days(1) - 1, hour) && is_due_of_a_year(-5, hour));
        assert!(!is_due_of_a_year(-5, hour / 2));
        let is_due_of_an_hour = |left, since| is_due(left, 900, since);
        assert!(!is_due_of_an_hour(901, day) && !is_due_of_an_hour(800, hour / 20));
        assert!(is_due_of_an_hour(800, hour / 16));
    }
}
