//! Which events of this router a link takes: what its rule selects, of that what the far cluster
//! lets in, and of that what somebody wants there.
//!
//! ```text
//! select = host=*        far side accepts severity!=debug        demand: severity=error, host=web-1
//! interest: host,severity=error · host=web-1,severity!=debug
//! ```
//!
//! What is said here is filed in the directory, as a peer's interest is, so that an event that
//! nobody wants costs nothing. Where the parts multiply beyond a bound, the interest is wider.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_proto::{ClusterId, Selector};

use super::rule::LinkRule;

/// Selectors of one link in the directory, at most: a wider interest has fewer.
pub const INTEREST_MAX: usize = 1024;

/// What a cluster wants of what others forward to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterDemand {
    /// Rises with each change.
    pub version: u64,
    /// Selectors of receivers; none: everything.
    pub here: Option<Vec<String>>,
    /// The links of the router: where each leads, if that is known, and what it selects.
    pub links: Vec<(Option<ClusterId>, Vec<String>)>,
}

impl ClusterDemand {
    /// The selectors of what is wanted of the cluster `from`, to which nothing goes back; and
    /// whether links alone select that.
    #[must_use]
    pub fn wanted_from(&self, from: ClusterId) -> BTreeMap<&str, bool> {
        let Some(here) = &self.here else { return BTreeMap::from([("*", false)]) };
        let links = self.links.iter().filter(|(far, _)| *far != Some(from)).flat_map(|(_, select)| select);
        let mut wanted: BTreeMap<&str, bool> = links.map(|selector| (selector.as_str(), true)).collect();
        wanted.extend(here.iter().map(|selector| (selector.as_str(), false)));
        wanted
    }
}

/// The interest of a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkInterest {
    /// Where the link leads, once that is known.
    pub far: Option<ClusterId>,
    /// What the rule selects.
    pub select: Vec<String>,
    /// What is filed in the directory, by canonical text.
    pub selectors: BTreeMap<String, Arc<Selector>>,
    /// Selectors of the rule of which the far cluster lets nothing in.
    pub refused: Vec<String>,
}

/// The interest by a rule; `accepted` and `wanted` are what the far cluster said, none where it
/// said nothing: then everything may be let in, or wanted.
pub(super) fn interest(
    rule: &LinkRule,
    accepted: Option<&[Selector]>,
    wanted: Option<&[Selector]>,
) -> LinkInterest {
    let mut refused = Vec::new();
    let mut parts: Vec<Selector> = Vec::new();
    for select in rule.select.selectors() {
        let let_in = narrowed(rule, std::slice::from_ref(select), accepted);
        if let_in.is_empty() {
            refused.push(select.text().to_owned());
        }
        parts.extend(let_in);
    }
    let selectors = narrowed(rule, &parts, wanted);
    let selectors = selectors.into_iter().map(|selector| (selector.text().to_owned(), Arc::new(selector)));
    let select = rule.select.selectors().iter().map(|selector| selector.text().to_owned()).collect();
    LinkInterest { far: None, select, selectors: selectors.collect(), refused }
}

/// Of `parts`, what meets one of the far selectors.
fn narrowed(rule: &LinkRule, parts: &[Selector], far: Option<&[Selector]>) -> Vec<Selector> {
    let Some(far) = far else { return parts.to_vec() };
    let seen: Option<Vec<Selector>> = far.iter().map(|selector| rule.seen_from_here(selector)).collect();
    let Some(seen) = seen else { return parts.to_vec() };
    let mut narrowed = Vec::new();
    for part in parts {
        if seen.iter().any(|far| part.is_within(far)) {
            narrowed.push(part.clone());
            continue;
        }
        for far in &seen {
            if far.is_within(part) {
                narrowed.push(far.clone());
                continue;
            }
            match part.and(far) {
                Ok(both) if both.is_void() => {}
                Ok(both) => narrowed.push(both),
                // Both together exceed the bounds of one selector: the part alone is wider.
                Err(_) => narrowed.push(part.clone()),
            }
            if narrowed.len() > INTEREST_MAX {
                return parts.to_vec();
            }
        }
    }
    narrowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::AllowList;

    fn said(
        select: &[&str],
        set: &[(&str, &str)],
        accepted: Option<&[&str]>,
        wanted: Option<&[&str]>,
    ) -> String {
        let rule = LinkRule {
            name: "north".to_owned(),
            select: AllowList::read(select).unwrap(),
            confirms: false,
            max_hops: 4,
            spool_bytes: 0,
            set: set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            drop: Vec::new(),
            demand: true,
            packs: false,
        };
        let read = |texts: Option<&[&str]>| {
            texts.map(|texts| texts.iter().map(|text| Selector::parse(text).unwrap()).collect::<Vec<_>>())
        };
        let LinkInterest { selectors, refused, .. } =
            interest(&rule, read(accepted).as_deref(), read(wanted).as_deref());
        let texts: Vec<String> = selectors.into_keys().collect();
        format!("{} refused {}", texts.join(" | "), refused.join(" | "))
    }

    #[test]
    fn a_link_takes_what_is_selected_and_let_in_and_wanted() {
        assert_eq!(said(&["host"], &[], None, None), "host refused ");
        assert_eq!(said(&["*"], &[], None, Some(&["a=1", "b=2"])), "a=1 | b=2 refused ");
        assert_eq!(said(&["a=1"], &[], None, Some(&["*"])), "a=1 refused ");
        assert_eq!(said(&["a=1"], &[], None, Some(&["a=2"])), " refused ");
        assert_eq!(said(&["*"], &[], None, Some(&[])), " refused ");
        assert_eq!(said(&["a=1", "b"], &[], Some(&["b=2"]), Some(&["*"])), "a=1,b=2 | b=2 refused ");
        assert_eq!(said(&["a=1", "b"], &[], Some(&["a=2"]), None), "a=2,b refused a=1");
        assert_eq!(said(&["*"], &[("site", "x")], None, Some(&["site=x,a=1"])), "* refused ");
    }

    #[test]
    fn nothing_is_wanted_of_a_cluster_for_a_link_that_leads_back_to_it() {
        let (north, south) = (ClusterId(1), ClusterId(2));
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let links = vec![(Some(north), texts(&["n"])), (None, texts(&["x"]))];
        let demand = ClusterDemand { version: 1, here: Some(texts(&["a=1", "x"])), links };
        assert_eq!(demand.wanted_from(north), BTreeMap::from([("a=1", false), ("x", false)]));
        let for_south = BTreeMap::from([("a=1", false), ("n", true), ("x", false)]);
        assert_eq!(demand.wanted_from(south), for_south, "links alone select n");
        let everything = ClusterDemand { here: None, ..demand };
        assert_eq!(everything.wanted_from(north), BTreeMap::from([("*", false)]));
    }

    #[test]
    fn a_demand_of_many_selectors_makes_a_wider_interest() {
        let wanted: Vec<String> = (0..=INTEREST_MAX).map(|number| format!("host=h{number}")).collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        assert_eq!(said(&["a"], &[], None, Some(&wanted)), "a refused ");
    }
}
