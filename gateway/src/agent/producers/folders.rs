//! The folders of producers: `00003-uid-1000`, `00004-uid-1000.delivered`.
//!
//! The number is the producer's, for as long as there is the folder.

use std::sync::Arc;

use millrace_client::ConfirmLevel;

/// What the folder of a spool for *delivered* ends with.
const DELIVERED: &str = ".delivered";
/// What a folder that cannot be opened is renamed to.
pub(super) const BAD: &str = ".bad";

/// One spool: whose, and for which level.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) name: Arc<str>,
    pub(super) level: ConfirmLevel,
}

/// The name of a folder.
pub(super) fn folder(index: u64, key: &Key) -> String {
    let end = if key.level == ConfirmLevel::Delivered { DELIVERED } else { "" };
    format!("{index:05}-{}{end}", key.name)
}

/// What the name of a folder says; `None` for what is no producer's.
pub(super) fn read(folder: &str) -> Option<(u64, Key)> {
    let (index, name) = folder.split_once('-')?;
    let index = index.parse().ok()?;
    if name.is_empty() || name.ends_with(BAD) {
        return None;
    }
    let key = match name.strip_suffix(DELIVERED) {
        Some(name) => Key { name: name.into(), level: ConfirmLevel::Delivered },
        None => Key { name: name.into(), level: ConfirmLevel::Routed },
    };
    Some((index, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_whose_it_is() {
        for (level, text) in
            [(ConfirmLevel::Routed, "00003-http-a-b"), (ConfirmLevel::Delivered, "00003-http-a-b.delivered")]
        {
            let key = Key { name: "http-a-b".into(), level };
            assert_eq!(folder(3, &key), text);
            assert_eq!(read(text), Some((3, key)));
        }
        for other in ["lock", "00001-", "x-uid-0", "00001-uid-0.bad"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
