//! The command line of `millrace check`.

use std::str::FromStr;
use std::time::Duration;

use super::figures::Figure;
use super::range::Range;
use crate::admin::AdminArgs;
use crate::options::some_time;

/// Check routers for a monitoring system.
///
/// Looks at each router twice and prints one line with performance data. Exit codes: 0 ok, 1
/// warning, 2 critical (also: a router does not answer), 3 unknown (also: wrong usage).
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// When a figure is worth a warning, as FIGURE=RANGE. May be given several times; an empty
    /// range means never.
    #[arg(long, short, value_name = "FIGURE=RANGE", value_delimiter = ',')]
    pub(crate) warning: Vec<Limit>,
    /// When a figure is critical, as FIGURE=RANGE.
    #[arg(long, short, value_name = "FIGURE=RANGE", value_delimiter = ',')]
    pub(crate) critical: Vec<Limit>,
    /// Look at these figures alone.
    #[arg(long, value_name = "FIGURE", value_delimiter = ',')]
    pub(crate) only: Vec<Figure>,
    /// Time between the two looks: rates are means over it.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = some_time)]
    pub(crate) over: Duration,
}

const FIGURES: &str = "\
Figures, and the ranges outside of which they are bad unless given:
  ready        1 when clients should come                  critical 1:
  degraded     1 when its place in the mesh is wrong       warning 0
  peers        routers that it is linked with
  drops        events dropped, per second                  warning 0
  udp_drops    datagrams that the kernel dropped, /s       warning 0
  queue        what waits for receivers, % of the budget   warning 80, crit. 95
  busy         the busiest core, % of the time             warning 95
  certificate  days until its certificate ends; of one     warning 14:, crit. 3:
               that lives for days: a quarter of them
  in, out      events per second

Ranges: 10 is 0 to 10; 10: is 10 and more; ~:10 is 10 and less;
10:20 is 10 to 20, @10:20 all but that.
Example, for one router of a cluster of three:
  millrace check --admin http://router-0:7401 -c peers=2: -w drops=10";

/// A figure and the range within which it is good.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    pub(crate) figure: Figure,
    /// None: it is never bad.
    pub(crate) range: Option<Range>,
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (figure, range) =
            text.split_once('=').ok_or_else(|| format!("{text:?}: write FIGURE=RANGE, such as drops=10"))?;
        let range = if range.is_empty() { None } else { Some(range.parse()?) };
        Ok(Self { figure: figure.parse()?, range })
    }
}
