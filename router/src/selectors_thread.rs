//! The thread that reads selectors and compiles their payload patterns.
//!
//! One frame of a client can ask for minutes of this work. On a thread of its own it holds up
//! nobody: cores route, control serves the mesh, and clients take turns. A turn is one selector.
//! Clients whose next selector has no pattern, which takes microseconds, come before those whose
//! next has one, which may take a tenth of a second. The latter have a turn after
//! [`PLAIN_PER_TURN`] of the former, so that nobody waits for ever.
//!
//! Orders of one client are answered in their order, because a later one may replace the
//! subscription of an earlier one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use millrace_engine::control::{PatternBook, cover};
use millrace_engine::message::{CoreIndex, Prepared, ToCore, Token};
use millrace_engine::transport::ConnKey;
use millrace_proto::limits::SELECTORS_PER_RECEIVER_MAX;

use crate::mail::{Command, CorePost, Order, SelectorsPost};

/// Time after which a core is told of its answers although more follow. It is also told before a
/// pattern is compiled.
const TELL_AFTER: Duration = Duration::from_millis(1);
/// Selectors without a pattern that are read before one with a pattern has its turn: a few
/// milliseconds.
const PLAIN_PER_TURN: usize = 1024;
/// An order, and the selectors of it that were read.
struct Reading {
    order: Order,
    /// Texts that were read.
    done: usize,
    read: Vec<Prepared>,
}

impl Reading {
    /// Whether its next selector may have a pattern.
    fn is_costly(&self) -> bool {
        self.order.texts.get(self.done).is_some_and(|text| text.contains('~'))
    }
}

type Client = (CoreIndex, ConnKey);

/// Clients with orders, each once, in order of their turns: those whose next selector is plain
/// apart from the others.
#[derive(Default)]
struct Turns {
    orders: HashMap<Client, VecDeque<Reading>, ahash::RandomState>,
    plain: VecDeque<Client>,
    costly: VecDeque<Client>,
    plain_since: usize,
}

/// The result of an order.
struct Answer {
    core: CoreIndex,
    token: Token,
    result: Result<Vec<Prepared>, String>,
}

impl Turns {
    fn add(&mut self, order: Order) {
        let client = (order.core, order.client);
        let orders = self.orders.entry(client).or_default();
        let is_first = orders.is_empty();
        orders.push_back(Reading { order, done: 0, read: Vec::new() });
        if is_first {
            self.put_last(client);
        }
    }

    fn put_last(&mut self, client: Client) {
        let next = self.orders.get(&client).and_then(VecDeque::front);
        match next {
            Some(next) if next.is_costly() => self.costly.push_back(client),
            Some(_) => self.plain.push_back(client),
            None => drop(self.orders.remove(&client)),
        }
    }

    fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Whether the next turn compiles a pattern.
    fn next_is_costly(&self) -> bool {
        self.plain.is_empty() || (self.plain_since >= PLAIN_PER_TURN && !self.costly.is_empty())
    }

    /// Reads one selector of the client whose turn it is. Returns an answer when it was the last
    /// one of its order.
    fn turn(&mut self, book: &mut PatternBook) -> Option<Answer> {
        let client = if self.next_is_costly() {
            self.plain_since = 0;
            self.costly.pop_front()?
        } else {
            self.plain_since += 1;
            self.plain.pop_front()?
        };
        let orders = self.orders.get_mut(&client)?;
        let reading = orders.front_mut()?;
        let Order { texts, allowed, .. } = &reading.order;
        let failed = if texts.len() > SELECTORS_PER_RECEIVER_MAX {
            Some(format!("{} selectors, at most {SELECTORS_PER_RECEIVER_MAX} are allowed", texts.len()))
        } else if let Some(text) = texts.get(reading.done) {
            reading.done += 1;
            book.read(text, allowed.as_deref(), &mut reading.read).err()
        } else {
            None
        };
        let is_done = failed.is_some() || reading.done >= texts.len();
        let answer = if is_done { orders.pop_front() } else { None };
        self.put_last(client);
        answer.map(|Reading { order, read, .. }| Answer {
            core: order.core,
            token: order.token,
            result: failed.map_or_else(|| Ok(covered(read)), Err),
        })
    }
}

/// The selectors of an order, with their patterns combined where that takes fewer passes.
fn covered(mut read: Vec<Prepared>) -> Vec<Prepared> {
    cover(&mut read);
    read
}

/// What the thread runs; the cores are given when it does.
pub(crate) struct SelectorsThread {
    orders: mpsc::Receiver<Vec<Order>>,
    stop: Arc<AtomicBool>,
}

impl SelectorsThread {
    /// The thread, and the mailbox for the cores. Once `stop` is set, the thread drops orders
    /// unread.
    pub(crate) fn new(stop: Arc<AtomicBool>) -> (SelectorsPost, Self) {
        let (post, orders) = SelectorsPost::new();
        (post, Self { orders, stop })
    }

    /// Runs until the last core has ended.
    pub(crate) fn run(self, cores: &[CorePost]) {
        let (mut turns, mut book) = (Turns::default(), PatternBook::default());
        // Cores that were not told of their last answers, and since when.
        let mut untold: Vec<bool> = vec![false; cores.len()];
        let mut since: Option<Instant> = None;
        let tell = |untold: &mut Vec<bool>, since: &mut Option<Instant>| {
            *since = None;
            for (core, untold) in cores.iter().zip(untold) {
                if std::mem::take(untold) {
                    core.waker.wake();
                }
            }
        };
        loop {
            if turns.is_empty() {
                tell(&mut untold, &mut since);
                let Ok(batch) = self.orders.recv() else { return };
                batch.into_iter().for_each(|order| turns.add(order));
            }
            while let Ok(batch) = self.orders.try_recv() {
                batch.into_iter().for_each(|order| turns.add(order));
            }
            if self.stop.load(Ordering::Relaxed) {
                turns = Turns::default();
                continue;
            }
            if turns.next_is_costly() || since.is_some_and(|since| since.elapsed() >= TELL_AFTER) {
                tell(&mut untold, &mut since);
            }
            let Some(Answer { core, token, result }) = turns.turn(&mut book) else { continue };
            let core = usize::from(core);
            if let Some(post) = cores.get(core) {
                post.leave(Command::Engine(ToCore::Prepared { token, result }));
                untold[core] = true;
                since.get_or_insert_with(Instant::now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::budget::Budget;

    use super::*;

    /// Tokens in the order in which they are answered.
    fn answered(orders: &[(u64, u64, &[&str])]) -> Vec<u64> {
        let budget = Budget::new(usize::MAX);
        let (mut turns, mut book) = (Turns::default(), PatternBook::default());
        for &(client, token, texts) in orders {
            let texts = texts.iter().map(|&text| text.to_owned()).collect();
            let _share = budget.take(1);
            turns.add(Order {
                core: 0,
                client: ConnKey(client),
                token: Token(token),
                texts,
                allowed: None,
                _share,
            });
        }
        let mut tokens = Vec::new();
        while !turns.is_empty() {
            tokens.extend(turns.turn(&mut book).map(|answer| answer.token.0));
        }
        tokens
    }

    #[test]
    fn plain_selectors_come_before_others_patterns_and_behind_their_own() {
        let patterns: &[&str] = &["payload ~ /a/", "payload ~ /b/", "payload ~ /c/"];
        assert_eq!(answered(&[(1, 1, patterns), (1, 2, &["x"]), (2, 3, &["a=b"])]), [3, 1, 2]);
    }

    #[test]
    fn clients_with_patterns_take_turns() {
        let many: &[&str] = &["payload ~ /a/", "payload ~ /b/", "payload ~ /c/"];
        assert_eq!(answered(&[(1, 1, many), (1, 2, many), (2, 3, &["payload ~ /d/"])]), [3, 1, 2]);
    }

    #[test]
    fn patterns_have_their_turn_behind_any_number_of_plain_selectors() {
        let plain = ["a=1"; 1000];
        let orders: Vec<(u64, u64, &[&str])> = (2..6).map(|client| (client, client, &plain[..])).collect();
        let orders = [&[(1, 1, &["payload ~ /a/"][..])], &orders[..]].concat();
        assert_eq!(answered(&orders), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_bad_selector_ends_its_order_and_no_other() {
        assert_eq!(answered(&[(1, 1, &["a=1", "b in ("]), (1, 2, &["a"])]), [1, 2]);
    }
}
