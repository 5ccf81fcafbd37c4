//! Bytes as hexadecimal digits.

use toml::Value;

use super::kinds::{Form, Kind, form, text_of};

/// Bytes as hexadecimal digits, such as `0x0123abcd`.
pub(crate) struct Hex {
    pub(crate) max: usize,
}

impl Kind<Vec<u8>> for Hex {
    fn form(&self) -> Form {
        form("HEX", format!("1 to {} bytes as hexadecimal digits, e.g. `\"0x0123456789abcdef\"`", self.max))
    }

    fn read(&self, value: &Value) -> Result<Vec<u8>, String> {
        let text = text_of(value)?;
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
        let wrong = || format!("`{text}` is not bytes as hexadecimal digits, such as 0x0123abcd");
        let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(wrong)?;
        if bytes.len() > self.max {
            return Err(format!("it has {} bytes, and {} are the most", bytes.len(), self.max));
        }
        Ok(bytes)
    }

    fn show(&self, value: &Vec<u8>) -> Option<Value> {
        let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        (!value.is_empty()).then(|| Value::String(format!("0x{digits}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_and_shown_and_anything_else_refused() {
        let kind = Hex { max: 8 };
        let read = |text: &str| kind.read(&Value::String(text.to_owned()));
        let bytes = vec![0x01, 0x23, 0xab, 0xcd, 0xef, 0, 1, 2];
        assert_eq!(read("0x0123ABcdef000102"), Ok(bytes.clone()));
        assert_eq!(kind.show(&bytes), Some(Value::String("0x0123abcdef000102".to_owned())));
        assert_eq!((read("07"), kind.show(&Vec::new())), (Ok(vec![7]), None));
        for text in ["", "0x", "0x123", "0x0g", "0x010203040506070809", "0xé1"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
