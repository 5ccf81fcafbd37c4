//! `millrace ctl rebalance`: clients of routers that have too many move to those that have fewer.
//!
//! Each router is told a number of clients and one router where they go, so that the routers end
//! even after one call, and no client moves twice.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;
use tokio::time::sleep;

use super::answers;
use super::args;
use super::table::{self, Column, counted};
use crate::admin::pages::{Moving, Status};
use crate::admin::{self, AdminUrl, Answer, Method};
use crate::failure::Failure;
use crate::show;

/// Schema of the object that `rebalance --json` prints.
const SCHEMA: &str = "millrace.ctl.rebalance/1";
/// Between two looks at how many clients routers have.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Clients that were asked to move have done so, or will not, this long after the last one's turn.
const MOVED_MAX: Duration = Duration::from_secs(15);
/// Routers are even when none is farther from its share than this part of it.
const EVEN_WITHIN: f64 = 0.05;

/// Clients that go from one router to another, by their places in the list of routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Move {
    from: usize,
    to: usize,
    clients: u64,
}

/// A router that takes part.
struct Member {
    url: AdminUrl,
    name: String,
    advertise: String,
    before: u64,
    share: u64,
    after: u64,
}

impl Member {
    fn is_even(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "numbers of clients are far below 2^52")]
        let (share, off) = (self.share as f64, self.after.abs_diff(self.share) as f64);
        off <= (share * EVEN_WITHIN).max(1.0)
    }
}

pub(super) async fn run(urls: &[AdminUrl], asked: &args::Rebalance, json: bool) -> Result<(), Failure> {
    let mut members = match members(urls).await {
        Ok(members) => members,
        Err(failure) if json => return Err(answers::said_as_json(failure)),
        Err(failure) => return Err(failure),
    };
    let counts: Vec<u64> = members.iter().map(|member| member.before).collect();
    let moves = plan(&counts, asked.dead_band);
    for (member, share) in members.iter_mut().zip(shares(&counts)) {
        member.share = share;
    }
    let began = Instant::now();
    if !asked.dry_run {
        for step in &moves {
            begin(&members[step.from], &members[step.to], step.clients, asked.within).await?;
        }
    }
    let is_watched = !moves.is_empty() && !asked.dry_run && !asked.no_wait;
    if is_watched {
        watch(&mut members, asked.within + MOVED_MAX).await;
    }
    print(&members, &moves, is_watched.then(|| began.elapsed()), json)
        .map_err(|error| Failure::other(error.into()))?;
    if is_watched && !members.iter().all(Member::is_even) {
        return Err(Failure::other(anyhow!(
            "some clients have not moved: they find no way to the address that the other router advertises, or \
             have left; `millrace ctl status` shows both routers"
        )));
    }
    Ok(())
}

/// The routers between which clients may move.
async fn members(urls: &[AdminUrl]) -> Result<Vec<Member>, Failure> {
    let mut members = Vec::new();
    for answer in admin::all::<Status>(urls, Method::Get, "/status").await {
        let Answer { url, read, .. } = answer.map_err(|error| answers::failure(error, urls.len() == 1))?;
        if read.ready && !read.draining {
            let before = read.sum(|core| core.clients);
            let Status { name, advertise, .. } = read;
            members.push(Member { url, name, advertise, before, share: before, after: before });
        }
    }
    if members.len() < 2 {
        return Err(Failure::usage(anyhow!(
            "clients move between routers: name the admin pages of two or more that are ready, each with --admin URL"
        )));
    }
    Ok(members)
}

async fn begin(from: &Member, to: &Member, clients: u64, within: Duration) -> Result<(), Failure> {
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("clients", &clients.to_string())
        .append_pair("to", &to.advertise)
        .append_pair("within", &format!("{}ms", within.as_millis()))
        .finish();
    let asked: Result<Answer<Moving>, _> =
        admin::one(&from.url, Method::Post, &format!("/move?{query}")).await;
    let asked = asked.map_err(|error| answers::failure(error, false))?;
    if asked.read.clients < clients {
        let clients = counted(clients, "client");
        crate::tell::tell(format!("{}: {} of {clients} can be asked", from.name, asked.read.clients));
    }
    Ok(())
}

/// Counts clients until routers are even, but no longer than this.
async fn watch(members: &mut [Member], longest: Duration) {
    let began = Instant::now();
    while began.elapsed() < longest {
        sleep(LOOK_EVERY).await;
        count(members).await;
        if members.iter().all(Member::is_even) {
            return;
        }
    }
}

async fn count(members: &mut [Member]) {
    for member in members {
        if let Ok(now) = admin::one::<Status>(&member.url, Method::Get, "/status").await {
            member.after = now.read.sum(|core| core.clients);
        }
    }
}

/// What each router should have: the same, and one more for those that have most.
fn shares(counts: &[u64]) -> Vec<u64> {
    let (total, routers) = (counts.iter().sum::<u64>(), counts.len() as u64);
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&place| std::cmp::Reverse(counts[place]));
    let mut shares = vec![total / routers.max(1); counts.len()];
    let more = usize::try_from(total % routers.max(1)).unwrap_or(0);
    for place in order.into_iter().take(more) {
        shares[place] += 1;
    }
    shares
}

/// Who moves where. Nobody does while no router is more than `dead_band` percent above the mean.
fn plan(counts: &[u64], dead_band: u8) -> Vec<Move> {
    let (total, routers) = (counts.iter().sum::<u64>(), counts.len() as u64);
    let most = counts.iter().copied().max().unwrap_or(0);
    if most * routers * 100 <= total * (100 + u64::from(dead_band)) {
        return Vec::new();
    }
    let shares = shares(counts);
    let mut room: Vec<u64> =
        counts.iter().zip(&shares).map(|(&count, &share)| share.saturating_sub(count)).collect();
    let mut moves = Vec::new();
    for (from, (&count, &share)) in counts.iter().zip(&shares).enumerate() {
        let mut surplus = count.saturating_sub(share);
        for (to, room) in room.iter_mut().enumerate() {
            let clients = surplus.min(*room);
            if clients > 0 {
                moves.push(Move { from, to, clients });
                surplus -= clients;
                *room -= clients;
            }
        }
    }
    moves
}

fn print(members: &[Member], moves: &[Move], took: Option<Duration>, json: bool) -> std::io::Result<()> {
    if json {
        let router = |member: &Member| {
            json!({
                "admin": member.url.to_string(),
                "name": member.name,
                "clients_before": member.before,
                "clients_share": member.share,
                "clients_after": member.after,
            })
        };
        let step = |step: &Move| {
            json!({
                "from": members[step.from].name,
                "to": members[step.to].name,
                "clients": step.clients,
            })
        };
        let page = json!({
            "schema": SCHEMA,
            "routers": members.iter().map(router).collect::<Vec<_>>(),
            "moves": moves.iter().map(step).collect::<Vec<_>>(),
            "took_s": took.map(|took| took.as_secs_f64()),
        });
        return show::json_line(&mut std::io::stdout().lock(), &page);
    }
    let columns =
        [Column::elastic("ROUTER"), Column::right("BEFORE"), Column::right("SHARE"), Column::right("NOW")];
    let row = |member: &Member| {
        let counts = [member.before, member.share, member.after].map(|count| count.to_string());
        std::iter::once(member.name.clone()).chain(counts).collect()
    };
    let mut text = String::new();
    table::write(&mut text, &columns, &members.iter().map(row).collect::<Vec<_>>());
    for &Move { from, to, clients } in moves {
        // A string takes everything.
        let (from, to) = (&members[from].name, &members[to].name);
        let _ = writeln!(text, "{}: {from} to {to}", counted(clients, "client"));
    }
    if moves.is_empty() {
        text.push_str("even enough: nobody moves\n");
    }
    answers::print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_one_router_become_halves_of_two() {
        assert_eq!(plan(&[100, 0], 10), [Move { from: 0, to: 1, clients: 50 }]);
        assert_eq!(plan(&[0, 101], 10), [Move { from: 1, to: 0, clients: 50 }]);
    }

    #[test]
    fn little_differences_move_nobody() {
        assert_eq!(plan(&[105, 95], 10), []);
        assert_eq!(plan(&[0, 0, 0], 10), []);
        assert_ne!(plan(&[105, 95], 4), []);
    }

    #[test]
    fn only_the_surplus_moves_and_every_router_ends_with_its_share() {
        let counts = [7, 1000, 40, 0, 333];
        let moves = plan(&counts, 0);
        let mut after = counts;
        for step in &moves {
            assert!(step.clients > 0 && step.from != step.to);
            after[step.from] -= step.clients;
            after[step.to] += step.clients;
        }
        assert_eq!(after.to_vec(), shares(&counts));
        assert_eq!(after.iter().sum::<u64>(), counts.iter().sum::<u64>());
        assert!(after.iter().max() <= after.iter().min().map(|least| least + 1).as_ref());
        let surplus: u64 =
            counts.iter().zip(shares(&counts)).map(|(count, share)| count.saturating_sub(share)).sum();
        assert_eq!(moves.iter().map(|step| step.clients).sum::<u64>(), surplus, "nobody moves twice");
    }
}
