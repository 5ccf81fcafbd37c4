//! The selectors of one receiver: by subscription, and the payload patterns among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_proto::{Selector, TagSetRef};

use super::account::Cost;
use super::slot::ReceiverSlot;
use crate::matching::LocalTarget;
use crate::message::{Prepared, Token};
use crate::payload::Desk;

/// One selector of a subscription, filed in the local index.
#[derive(Debug)]
pub(super) struct FiledSelector {
    /// The selector as the local index has it: without its payload patterns.
    pub(super) interest: Arc<Selector>,
    /// Its number among the receiver's selectors.
    pub(super) number: u16,
    /// The charge for it, without its patterns.
    pub(super) cost: Cost,
}

/// The selectors of one receiver. What a delivery touches comes first.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Selectors {
    /// Payload patterns, and runs that wait for their scan; none until a selector of this receiver
    /// has a pattern.
    pub(super) desk: Option<Box<Desk>>,
    by_subscription: BTreeMap<u16, Vec<FiledSelector>>,
    /// The newest request when a subscription ended: earlier requests under its number are void.
    ended: BTreeMap<u16, Token>,
    /// Numbers that are free again.
    free: Vec<u16>,
    next_number: u16,
    /// Selectors that are still being read; they count against the receiver's bound.
    pub(super) pending: usize,
}

impl Selectors {
    /// Whether any of them has, or had, a payload pattern.
    #[inline]
    pub(super) const fn has_patterns(&self) -> bool {
        self.desk.is_some()
    }

    /// Whether a run for these selectors is scanned, or waits behind one that is.
    pub(super) fn is_by_payload(&self, targets: &[LocalTarget]) -> bool {
        self.desk.as_ref().is_some_and(|desk| {
            desk.is_waiting() || targets.iter().any(|target| desk.matcher(target.selector).is_some())
        })
    }

    /// How many are filed.
    pub(super) fn count(&self) -> usize {
        self.by_subscription.values().map(Vec::len).sum()
    }

    /// The text of the selector with this number, without its payload patterns.
    pub(super) fn text(&self, subscription: u16, number: u16) -> Option<&str> {
        let filed = self.by_subscription.get(&subscription)?;
        filed.iter().find(|filed| filed.number == number).map(|filed| filed.interest.text())
    }

    /// The charge for a subscription's selectors, without patterns.
    pub(super) fn cost_of(&self, subscription: u16) -> Cost {
        let filed = self.by_subscription.get(&subscription);
        filed.into_iter().flatten().fold(Cost::default(), |cost, filed| cost.and(filed.cost))
    }

    /// What is filed, for all subscriptions.
    pub(super) fn filed(&self) -> impl Iterator<Item = &Selector> {
        self.by_subscription.values().flatten().map(|filed| &*filed.interest)
    }

    /// How many selectors count against the receiver's bound when `subscription` is replaced.
    pub(super) fn count_without(&self, subscription: Option<u16>) -> usize {
        let all: usize = self.by_subscription.values().map(Vec::len).sum();
        let replaced = subscription.and_then(|number| self.by_subscription.get(&number)).map_or(0, Vec::len);
        all + self.pending - replaced
    }

    /// Numbers a selector. Returns the number, and how many more bytes the patterns take.
    pub(super) fn number(&mut self, prepared: &Prepared) -> (u16, isize) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.next_number += 1;
            self.next_number - 1
        });
        if prepared.payload.is_none() && self.desk.is_none() {
            return (number, 0);
        }
        let desk = self.desk.get_or_insert_default();
        (number, desk.set(number, prepared.payload.clone(), prepared.cover.as_ref()))
    }

    /// Frees a number. Returns how many fewer bytes the patterns take.
    pub(super) fn free(&mut self, number: u16) -> usize {
        self.free.push(number);
        self.desk.as_mut().map_or(0, |desk| desk.set(number, None, None).unsigned_abs())
    }

    /// The targets of one subscription whose tags match; payload patterns are not looked at.
    pub(super) fn targets_for(
        &self,
        receiver: ReceiverSlot,
        subscription: u16,
        tags: TagSetRef<'_>,
    ) -> Vec<LocalTarget> {
        let filed = self.by_subscription.get(&subscription).into_iter().flatten();
        filed
            .filter(|filed| filed.interest.matches_tags(tags))
            .map(|filed| LocalTarget { receiver, subscription, selector: filed.number })
            .collect()
    }

    /// Keeps the selectors of a subscription; returns those that they replace.
    pub(super) fn replace(&mut self, subscription: u16, filed: Vec<FiledSelector>) -> Vec<FiledSelector> {
        self.by_subscription.insert(subscription, filed).unwrap_or_default()
    }

    /// Ends a subscription: requests up to `last` are void. Returns its selectors.
    pub(super) fn end(&mut self, subscription: u16, last: Token) -> Vec<FiledSelector> {
        self.ended.insert(subscription, last);
        self.by_subscription.remove(&subscription).unwrap_or_default()
    }

    /// Whether a subscription ended after the request that `token` names: then the core files none
    /// of the request's selectors, and tells nobody how far they have come.
    pub(super) fn was_ended(&self, subscription: u16, token: Token) -> bool {
        self.ended.get(&subscription).is_some_and(|&ended| token <= ended)
    }

    /// The subscriptions that select a tag set, in ascending order.
    pub(super) fn matched_by(&self, tags: TagSetRef<'_>) -> impl Iterator<Item = u16> + Clone {
        // Who has one subscription is asked for the sake of it.
        let is_one = self.by_subscription.len() == 1;
        let matches = move |filed: &FiledSelector| is_one || filed.interest.matches_tags(tags);
        let matched = self.by_subscription.iter().filter(move |(_, filed)| filed.iter().any(matches));
        matched.map(|(&subscription, _)| subscription)
    }

    /// Takes the selectors of all subscriptions.
    pub(super) fn take_all(&mut self) -> BTreeMap<u16, Vec<FiledSelector>> {
        std::mem::take(&mut self.by_subscription)
    }
}
