//! Files that use each other, directly or by others: strongly connected components of the uses.

use std::collections::BTreeSet;
use std::path::Path;

use crate::edges::{Edge, Uses};

/// Files of which each reaches each.
#[derive(Debug)]
pub(crate) struct Circle<'a> {
    pub(crate) files: BTreeSet<&'a Path>,
    /// The uses among them.
    pub(crate) edges: Vec<&'a Edge>,
}

/// All circles, by their first file. Crates are small: reachability is computed for each file.
pub(crate) fn find(uses: &Uses) -> Vec<Circle<'_>> {
    let mut circles: Vec<Circle<'_>> = Vec::new();
    for file in uses.files() {
        if circles.iter().any(|circle| circle.files.contains(file)) {
            continue;
        }
        let from_here = reachable(uses, file);
        let files: BTreeSet<_> =
            from_here.iter().copied().filter(|other| reachable(uses, other).contains(file)).collect();
        if files.len() > 1 {
            let edges = files.iter().flat_map(|from| uses.from(from));
            let edges = edges.filter(|edge| files.contains(edge.to.as_path())).collect();
            circles.push(Circle { files, edges });
        }
    }
    circles
}

/// Files that a file uses, those use, and so on.
fn reachable<'a>(uses: &'a Uses, file: &'a Path) -> BTreeSet<&'a Path> {
    let mut reached = BTreeSet::new();
    let mut next = vec![file];
    while let Some(file) = next.pop() {
        for edge in uses.from(file) {
            if reached.insert(edge.to.as_path()) {
                next.push(&edge.to);
            }
        }
    }
    reached
}
