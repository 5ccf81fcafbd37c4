//! `/tags`: which tags and shards most events have, from the samples of all cores.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::look::Look;
use super::query::Query;
use crate::canary;
use crate::metrics::CoreSnapshot;
use crate::view::View;

/// Tags on one page, at most: a core counts 64.
const TOP_MAX: usize = 64;
/// Tags on one page unless another number is asked for.
const TOP: usize = 20;

/// The page.
///
/// # Errors
/// What is wrong with the query.
pub(super) fn page(view: &View, look: &Look, query: Option<&str>) -> Result<Value, String> {
    let query = Query::read(query, &["top"])?;
    let top = query.count("top", TOP, TOP_MAX)?;
    let cores = &look.seen.cores;
    let all = weight(cores);
    let mut shards: Vec<(u16, u16, u64)> = cores
        .iter()
        .flat_map(|core| core.hot.shards.iter().map(|&(shard, weight)| (shard, core.core, weight)))
        .collect();
    shards.sort_by_key(|&(shard, _, weight)| (Reverse(weight), shard));
    shards.truncate(top);
    Ok(json!({
        "schema": "millrace-router-tags/1",
        "router": view.router.to_string(),
        "name": view.name,
        "sampled_events": all,
        "tags": hottest(cores, top).iter().map(|(tag, share)| json!({ "tag": tag, "share": share })).collect::<Vec<_>>(),
        "shards": shards.iter().map(|&(shard, core, weight)| json!({
            "shard": shard,
            "core": core,
            "share": share(weight, all),
        })).collect::<Vec<_>>(),
    }))
}

/// The tags that most events have, and the part of all events that has them: at most `most`. Those
/// of canaries are left out: on a quiet cluster there would be no others.
pub(super) fn hottest(cores: &[CoreSnapshot], most: usize) -> Vec<(String, f64)> {
    let mut weights: BTreeMap<&str, u64> = BTreeMap::new();
    for tag in cores.iter().flat_map(|core| &core.hot.tags).filter(|tag| !canary::has_tag(&tag.tag)) {
        *weights.entry(&tag.tag).or_default() += tag.weight;
    }
    let mut tags: Vec<(&str, u64)> = weights.into_iter().collect();
    tags.sort_by_key(|&(tag, weight)| (Reverse(weight), tag));
    let all = weight(cores);
    tags.into_iter().take(most).map(|(tag, weight)| (tag.to_owned(), share(weight, all))).collect()
}

fn weight(cores: &[CoreSnapshot]) -> u64 {
    cores.iter().map(|core| core.hot.weight).sum()
}

/// Of sets with many tags, those that are counted stand for others: a share may come out above 1.
fn share(weight: u64, all: u64) -> f64 {
    (weight as f64 / all.max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use millrace_engine::core::{HotPicture, HotTag};

    use super::*;

    #[test]
    fn samples_of_all_cores_are_added() {
        let core = |weight, tags: &[(&str, u64)]| CoreSnapshot {
            hot: HotPicture {
                weight,
                tags: tags.iter().map(|&(tag, weight)| HotTag { tag: tag.to_owned(), weight }).collect(),
                shards: Vec::new(),
            },
            ..CoreSnapshot::default()
        };
        let canary = ("millrace/lap=3", 90);
        let cores = [core(60, &[("a=1", 30), ("b=2", 20), canary]), core(40, &[("b=2", 30)])];
        assert_eq!(hottest(&cores, 5), [("b=2".to_owned(), 0.5), ("a=1".to_owned(), 0.3)]);
        assert_eq!(hottest(&cores, 1).len(), 1);
        assert_eq!(hottest(&[], 5), []);
    }
}
