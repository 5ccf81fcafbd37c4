//! The id of a cluster, as people write it.

use millrace_proto::ClusterId;
use toml::Value;

use super::kinds::{Form, Kind, form, text_of};

/// A cluster's id: 64 bits as hexadecimal digits.
pub(crate) struct Cluster;

impl Kind<Option<ClusterId>> for Cluster {
    fn form(&self) -> Form {
        form("ID", "16 hexadecimal digits, not all of them 0, e.g. `\"9f86d081884c7d65\"`")
    }

    fn read(&self, value: &Value) -> Result<Option<ClusterId>, String> {
        let text = text_of(value)?;
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let is_plain = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = u64::from_str_radix(digits, 16).ok().filter(|&id| is_plain && id != 0);
        id.map(|id| Some(ClusterId(id))).ok_or_else(|| {
            format!("`{text}` is not 16 hexadecimal digits such as 9f86d081884c7d65; `millrace certs init` makes an id")
        })
    }

    fn show(&self, value: &Option<ClusterId>) -> Option<Value> {
        value.map(|id| Value::String(id.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_shown_and_anything_else_refused() {
        let read = |text: &str| Cluster.read(&Value::String(text.to_owned()));
        let id = Some(ClusterId(0x9f86_d081_884c_7d65));
        assert_eq!((read("9f86d081884c7d65"), read("0x9F86D081884C7D65")), (Ok(id), Ok(id)));
        assert_eq!(Cluster.show(&id), Some(Value::String("9f86d081884c7d65".to_owned())));
        for text in ["", "0000000000000000", "9f86d081884c7d6", "+f86d081884c7d65", "north"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
