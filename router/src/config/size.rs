//! Sizes in bytes, as people write them.

use std::fmt;

use toml::Value;

use super::kinds::{Form, Kind, form, text_of};

/// Bytes, such as `64KiB`.
pub(crate) struct Size {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Size {
    fn bytes(&self, value: &Value) -> Result<u64, String> {
        let bytes = match value {
            Value::Integer(bytes) => u64::try_from(*bytes).map_err(|_| format!("{bytes} is below 0"))?,
            value => {
                let text = text_of(value)?;
                let parsed: Result<bytesize::ByteSize, String> = text.parse();
                parsed.map_err(|_| format!("`{text}` is not a size such as 64KiB or 8MiB"))?.0
            }
        };
        if !(self.min..=self.max).contains(&bytes) {
            return Err(format!(
                "{} is not between {} and {}",
                Bytes(bytes),
                Bytes(self.min),
                Bytes(self.max)
            ));
        }
        Ok(bytes)
    }
}

impl Kind<u64> for Size {
    fn form(&self) -> Form {
        form("SIZE", format!("a size in bytes, `\"{}\"` to `\"{}\"`", Bytes(self.min), Bytes(self.max)))
    }

    fn read(&self, value: &Value) -> Result<u64, String> {
        self.bytes(value)
    }

    fn show(&self, value: &u64) -> Option<Value> {
        Some(Value::String(Bytes(*value).to_string()))
    }
}

impl Kind<usize> for Size {
    fn form(&self) -> Form {
        Kind::<u64>::form(self)
    }

    fn read(&self, value: &Value) -> Result<usize, String> {
        usize::try_from(self.bytes(value)?).map_err(|error| error.to_string())
    }

    fn show(&self, value: &usize) -> Option<Value> {
        Some(Value::String(Bytes(*value as u64).to_string()))
    }
}

/// Prints bytes in the largest unit that divides them.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let fits = |&&(shift, _): &&(u32, _)| self.0 != 0 && self.0.trailing_zeros() >= shift;
        match units.iter().find(fits) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}
