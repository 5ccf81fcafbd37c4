//! Bytes in settings: a number, or `64MiB`.

use serde::{Deserialize, Serialize};

/// Bytes as they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Size {
    /// A number of bytes.
    Bytes(u64),
    /// A number and a unit: `KiB`, `MiB`, `GiB`, `TiB`.
    Text(String),
}

impl Size {
    /// How many bytes; `None` for what is none.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(*bytes),
            Self::Text(text) => {
                let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
                let of = |(unit, shift): (&str, u32)| {
                    let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
                    number.checked_mul(1 << shift)
                };
                units.into_iter().find_map(of).or_else(|| text.parse().ok())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_two() {
        let bytes = |text: &str| Size::Text(text.to_owned()).bytes();
        assert_eq!((bytes("1GiB"), bytes("64 KiB"), bytes("10")), (Some(1 << 30), Some(65_536), Some(10)));
        for wrong in ["", "GiB", "1GB", "1.5GiB", "-1MiB", "99999999999TiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
