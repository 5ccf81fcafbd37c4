//! The known word that somebody may have meant.

use strsim::damerau_levenshtein;

/// The candidate with the fewest differences, if those are few.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = candidates.map(|candidate| (damerau_levenshtein(word, candidate), candidate)).min()?;
    (near.0 <= 2 + word.len() / 4 && near.0 < near.1.len()).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_letters_apart_is_near() {
        let near = |word| nearest(word, ["prod", "stage", "a"].into_iter());
        assert_eq!((near("prd"), near("porduction"), near("satge")), (Some("prod"), None, Some("stage")));
        assert_eq!(near("zz"), None, "another word of one letter is not near");
    }
}
