//! From the command line to the question.

use super::args::{Ctl, What};
use super::{change, forwards, groups, names, rebalance, routes, rules, sessions, standby, status, why};
use crate::admin;
use crate::failure::Failure;
use crate::options::Reach;

/// Does what the command line asks for.
pub(crate) async fn run(reach: &Reach, command: &Ctl) -> Result<(), Failure> {
    let json = reach.json;
    let urls = &admin::equipped(&command.admin.admin, reach)?;
    match &command.what {
        What::Status => status::run(urls, json).await,
        What::Sessions(sessions) => sessions::run(urls, sessions, json).await,
        What::Routes(routes) => routes::run(urls, routes, json).await,
        What::Groups => groups::run(urls, json).await,
        What::Forwards => forwards::run(urls, json).await,
        What::Names => names::run(urls, json).await,
        What::Rules => rules::run(urls, json).await,
        What::Standby(standby) => standby::run(urls, standby, json).await,
        What::Why(why) => why::run(urls, why, json).await,
        What::Reload => change::reload(urls, json).await,
        What::Drain(drain) => change::drain(urls, drain, json).await,
        What::Rebalance(rebalance) => rebalance::run(urls, rebalance, json).await,
    }
}
