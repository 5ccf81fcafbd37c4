//! Levels of routers as people write them: `a,b;c`.

use std::str::FromStr;

use crate::address::{AddressError, RouterAddress};

/// Routers in levels, the first for as long as one of it takes the client. Reads addresses that are
/// separated by commas, and levels by semicolons: `near-1,near-2;far`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouterLevels {
    levels: Vec<Vec<RouterAddress>>,
}

impl RouterLevels {
    /// The levels, in order.
    #[must_use]
    pub fn into_levels(self) -> Vec<Vec<RouterAddress>> {
        self.levels
    }

    /// These routers and those of `other`, level by level.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (at, routers) in other.levels.into_iter().enumerate() {
            match self.levels.get_mut(at) {
                Some(level) => level.extend(routers),
                None => self.levels.push(routers),
            }
        }
        self
    }
}

impl FromStr for RouterLevels {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let level = |text: &str| text.split(',').map(|router| router.trim().parse()).collect();
        Ok(Self { levels: text.split(';').map(level).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_separated_by_semicolons_and_join_level_by_level() {
        let levels = |text: &str| text.parse::<RouterLevels>().unwrap();
        let joined = levels("a,b:1;c").and(levels("d;e;f")).into_levels();
        let shown: Vec<Vec<String>> =
            joined.iter().map(|level| level.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(shown, [vec!["a:7400", "b:1", "d:7400"], vec!["c:7400", "e:7400"], vec!["f:7400"]]);
        assert!(";a".parse::<RouterLevels>().is_err() && "a;".parse::<RouterLevels>().is_err());
    }
}
