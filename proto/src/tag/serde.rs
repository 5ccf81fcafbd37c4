//! Tag sets for serde: a map of texts, `{"host": "web-1", "rack": "r7"}`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::TagSet;
use crate::limits::TAGS_PER_SET_MAX;

impl Serialize for TagSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for TagSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = TagSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map of at most {TAGS_PER_SET_MAX} tags")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TagSet, A::Error> {
                let mut tags: Vec<(String, String)> = Vec::new();
                while let Some(tag) = map.next_entry()? {
                    if tags.len() == TAGS_PER_SET_MAX {
                        return Err(A::Error::custom(format_args!("more than {TAGS_PER_SET_MAX} tags")));
                    }
                    tags.push(tag);
                }
                TagSet::new(tags).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_sets_are_maps_of_texts() {
        let tags = TagSet::new([("rack", "r7"), ("host", "web-1")]).unwrap();
        let json = serde_json::to_string(&tags).unwrap();
        assert_eq!(json, r#"{"host":"web-1","rack":"r7"}"#);
        assert_eq!(serde_json::from_str::<TagSet>(&json).unwrap(), tags);
        for json in [r#"{"a":"1","a":"2"}"#, r#"{"a b":"1"}"#, r#"["a"]"#, r#"{"a":1}"#] {
            assert!(serde_json::from_str::<TagSet>(json).is_err(), "{json}");
        }
    }
}
