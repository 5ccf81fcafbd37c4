//! The known key that somebody may have meant.

/// The candidate with the fewest differences, if those are few.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = candidates.map(|candidate| (distance(name, candidate), candidate)).min()?;
    (near.0 <= 2 + name.len() / 4).then_some(near.1)
}

/// How many letters are added, left out, or differ (Levenshtein 1966).
pub(super) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_letters_apart_is_near() {
        let near = |name| nearest(name, ["publish", "subscribe", "name"].into_iter());
        assert_eq!(
            (near("publich"), near("nam"), near("subscribed")),
            (Some("publish"), Some("name"), Some("subscribe"))
        );
        assert_eq!(near("entirely_else"), None);
    }
}
