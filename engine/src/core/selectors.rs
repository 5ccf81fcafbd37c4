//! The selectors of one receiver: by subscription, and the payload patterns among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_proto::Selector;
use millrace_proto::selector::PayloadMatcher;

use crate::message::Token;

/// One selector of a subscription, filed in the local index.
#[derive(Debug)]
pub(super) struct FiledSelector {
    /// What the local index knows: the selector without its payload patterns.
    pub(super) interest: Arc<Selector>,
    /// Its place among the receiver's selectors.
    pub(super) number: u16,
}

/// The selectors of one receiver. What a delivery touches comes first.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Selectors {
    /// Payload patterns by selector number; empty when no selector of this receiver has one.
    patterns: Vec<Option<Arc<PayloadMatcher>>>,
    by_subscription: BTreeMap<u16, Vec<FiledSelector>>,
    /// The newest request when a subscription was ended: what was asked for under its number up to then is void.
    ended: BTreeMap<u16, Token>,
    /// Numbers that are free again.
    free: Vec<u16>,
    next_number: u16,
    /// Selectors that are still being read; they count against the receiver's bound.
    pub(super) pending: usize,
}

impl Selectors {
    /// Whether any of them has a payload pattern.
    #[inline]
    pub(super) const fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// The pattern of a selector, if it has one.
    #[inline]
    pub(super) fn pattern(&self, number: u16) -> Option<&PayloadMatcher> {
        self.patterns.get(usize::from(number)).and_then(Option::as_deref)
    }

    /// How many count against the receiver's bound when `subscription` is replaced.
    pub(super) fn count_without(&self, subscription: Option<u16>) -> usize {
        let all: usize = self.by_subscription.values().map(Vec::len).sum();
        let replaced = subscription.and_then(|number| self.by_subscription.get(&number)).map_or(0, Vec::len);
        all + self.pending - replaced
    }

    /// A number for a selector with this pattern.
    pub(super) fn number(&mut self, payload: Option<Arc<PayloadMatcher>>) -> u16 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.next_number += 1;
            self.next_number - 1
        });
        if payload.is_some() || self.has_patterns() {
            let index = usize::from(number);
            if self.patterns.len() <= index {
                self.patterns.resize(index + 1, None);
            }
            self.patterns[index] = payload;
        }
        number
    }

    /// Gives a number back.
    pub(super) fn free(&mut self, number: u16) {
        self.free.push(number);
        if let Some(pattern) = self.patterns.get_mut(usize::from(number)) {
            *pattern = None;
        }
    }

    /// Keeps what was filed for a subscription; returns what it replaces.
    pub(super) fn replace(&mut self, subscription: u16, filed: Vec<FiledSelector>) -> Vec<FiledSelector> {
        self.by_subscription.insert(subscription, filed).unwrap_or_default()
    }

    /// Ends a subscription: requests up to `last` are void. Returns what was filed for it.
    pub(super) fn end(&mut self, subscription: u16, last: Token) -> Vec<FiledSelector> {
        self.ended.insert(subscription, last);
        self.by_subscription.remove(&subscription).unwrap_or_default()
    }

    /// Whether a subscription was ended after the request that `token` names: then its selectors are not filed when they come
    /// back, and nobody is told how far they have come.
    pub(super) fn was_ended(&self, subscription: u16, token: Token) -> bool {
        self.ended.get(&subscription).is_some_and(|&ended| token <= ended)
    }

    /// Takes all that is filed.
    pub(super) fn take_all(&mut self) -> BTreeMap<u16, Vec<FiledSelector>> {
        std::mem::take(&mut self.by_subscription)
    }
}
