//! Reads selectors and compiles their payload patterns, for which a core has no time.
//!
//! Subscriptions with equal patterns share one, on whichever core and connection they are, so that
//! a thousand receivers with one pattern take its memory and its compiler's time once.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use millrace_proto::Selector;
use millrace_proto::limits::SELECTORS_PER_RECEIVER_MAX;
use millrace_proto::selector::{Pattern, PatternError, PayloadMatcher};

use crate::message::Prepared;
use crate::payload::combine;
use crate::rights::AllowList;

/// Entries from which on the book sweeps patterns that nobody uses: it also needs twice as many
/// entries as after the last sweep.
const SWEEP_MIN: usize = 256;

/// The payload patterns in use, by text.
#[derive(Debug, Default)]
pub struct PatternBook {
    /// At most twice as many as the patterns in use, which connections account for.
    patterns: HashMap<Box<str>, Weak<Pattern>, ahash::RandomState>,
    sweep_at: usize,
}

impl PatternBook {
    /// Reads one selector, narrows it to what is allowed, and compiles those of its patterns that
    /// nobody uses yet, which takes up to a tenth of a second each. Appends what becomes of it to
    /// `read`: one selector, as many as the list has, or none where nothing of it is allowed.
    ///
    /// # Errors
    ///
    /// The selector, where in it, and what is wrong.
    pub fn read(
        &mut self,
        text: &str,
        allowed: Option<&AllowList>,
        read: &mut Vec<Prepared>,
    ) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("selector \"{text}\": {error}");
        let asked = Selector::parse(text).map_err(|error| failed(&error))?;
        let narrowed = match allowed {
            None => vec![asked],
            Some(allowed) => allowed
                .narrow(&asked)
                .map_err(|error| failed(&format!("with what this client is allowed to receive: {error}")))?,
        };
        for selector in narrowed {
            read.push(self.compile(selector).map_err(|error| failed(&error))?);
        }
        Ok(())
    }

    fn compile(&mut self, selector: Selector) -> Result<Prepared, PatternError> {
        let selector = Arc::new(selector);
        if selector.patterns().is_empty() {
            return Ok(Prepared { interest: Arc::clone(&selector), selector, payload: None, cover: None });
        }
        let patterns = selector.patterns().iter().map(|pattern| self.pattern(pattern));
        let patterns = patterns.collect::<Result<_, _>>()?;
        let interest = Arc::new(selector.interest());
        Ok(Prepared {
            selector,
            interest,
            payload: Some(Arc::new(PayloadMatcher::new(patterns))),
            cover: None,
        })
    }

    fn pattern(&mut self, text: &str) -> Result<Arc<Pattern>, PatternError> {
        if let Some(pattern) = self.patterns.get(text).and_then(Weak::upgrade) {
            return Ok(pattern);
        }
        let pattern = Arc::new(Pattern::compile(text)?);
        if self.patterns.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.patterns.retain(|_, pattern| pattern.strong_count() > 0);
            self.sweep_at = 2 * self.patterns.len();
        }
        self.patterns.insert(text.into(), Arc::downgrade(&pattern));
        Ok(pattern)
    }
}

/// Reads all selectors of a [`PrepareOrder`](crate::message::PrepareOrder). That can take minutes:
/// a program whose control must not wait reads them on another thread, one by one, and gives the
/// core its [`ToCore::Prepared`](crate::message::ToCore::Prepared) itself.
///
/// # Errors
///
/// The first bad selector, the column, and what is wrong there.
pub fn prepare(
    book: &mut PatternBook,
    texts: &[String],
    allowed: Option<&AllowList>,
) -> Result<Vec<Prepared>, String> {
    if texts.len() > SELECTORS_PER_RECEIVER_MAX {
        return Err(format!("{} selectors, at most {SELECTORS_PER_RECEIVER_MAX} are allowed", texts.len()));
    }
    let mut prepared = Vec::with_capacity(texts.len());
    texts.iter().try_for_each(|text| book.read(text, allowed, &mut prepared))?;
    cover(&mut prepared);
    Ok(prepared)
}

/// Combines the patterns of a subscription where that takes fewer passes. Takes up to half a
/// second.
pub fn cover(prepared: &mut [Prepared]) {
    let patterns = prepared.iter().filter_map(|prepared| prepared.payload.as_ref());
    let patterns: Vec<_> = patterns.flat_map(|payload| payload.patterns().iter().cloned()).collect();
    if patterns.len() < 2 {
        return;
    }
    let cover = combine(patterns);
    if cover.automata() == 0 {
        return;
    }
    let cover = Arc::new(cover);
    for prepared in prepared.iter_mut().filter(|prepared| prepared.payload.is_some()) {
        prepared.cover = Some(Arc::clone(&cover));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_compiled_and_left_out_of_the_interest() {
        let prepared =
            prepare(&mut PatternBook::default(), &["a=1, payload ~ /x+/".to_owned(), "b=2".to_owned()], None)
                .unwrap();
        assert_eq!(prepared[0].interest.text(), "a=1");
        assert!(prepared[0].payload.as_ref().unwrap().matches(b"wxxy"));
        assert!(prepared[1].payload.is_none());
        assert!(Arc::ptr_eq(&prepared[1].interest, &prepared[1].selector));
    }

    #[test]
    fn the_error_names_the_selector_and_the_column() {
        let error =
            prepare(&mut PatternBook::default(), &["a=1".to_owned(), "b in (".to_owned()], None).unwrap_err();
        assert!(error.contains("\"b in (\"") && error.contains("column"), "{error}");
    }

    #[test]
    fn what_is_read_is_narrowed_to_what_is_allowed() {
        let allowed = AllowList::read(&["tenant=a", "tenant=b"]).unwrap();
        let read = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            let read = prepare(&mut PatternBook::default(), &texts, Some(&allowed)).unwrap();
            read.iter().map(|read| format!("{} {}", read.selector, read.interest)).collect::<Vec<_>>()
        };
        assert_eq!(read(&["tenant=c"]), [""; 0]);
        assert_eq!(
            read(&["payload ~ /[0-9]+/", "tenant=c", "tenant=a,x"]),
            [
                "tenant=a,payload ~ /[0-9]+/ tenant=a",
                "tenant=b,payload ~ /[0-9]+/ tenant=b",
                "tenant=a,x tenant=a,x"
            ]
        );
    }

    #[test]
    fn equal_patterns_are_one_while_somebody_uses_them() {
        let mut book = PatternBook::default();
        let pattern = |prepared: &Prepared| Arc::clone(&prepared.payload.as_ref().unwrap().patterns()[0]);
        let read = |book: &mut PatternBook, text: &str| {
            let mut read = Vec::new();
            book.read(text, None, &mut read).unwrap();
            read.remove(0)
        };
        let first = read(&mut book, "a=1,payload ~ /x+/");
        let second = read(&mut book, "b=2,payload ~ /y/,payload ~ /x+/");
        assert!(Arc::ptr_eq(&pattern(&first), &pattern(&second)));
        let gone = Arc::downgrade(&pattern(&first));
        drop((first, second));
        assert_eq!(gone.strong_count(), 0);
        for number in 0..2000 {
            read(&mut book, &format!("payload ~ /{number}/"));
        }
        assert!(book.patterns.len() <= SWEEP_MIN);
    }
}
