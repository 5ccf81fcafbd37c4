//! Private files that others may use, too: keys, secrets and tokens.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bits of a mode that let everybody use a file.
const EVERYBODY: u32 = 0o007;
/// Bits of a mode that let others use a file at all.
pub(crate) const OTHERS_READ_OR_WRITE: u32 = 0o077;

/// Why a private file of this user's is none: everybody may use it. As ssh looks at its keys, files
/// of other users are their owners' matter, because that is how secrets are mounted, and a group
/// may be the service's own.
#[must_use]
pub fn exposed(what: &str, path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let (name, mode) = (path.display(), metadata.mode() & 0o777);
    (is_own(&metadata) && mode & EVERYBODY != 0).then(|| {
        format!(
            "the {what} {name} is open to every user of this host (mode {mode:o}), who could pose as its owner: \
             `chmod 600 {name}`"
        )
    })
}

/// A warning of a private file that others may use: everybody, or a group.
#[must_use]
pub fn open_to_others(what: &str, path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let (name, mode) = (path.display(), metadata.mode() & 0o777);
    if mode & EVERYBODY != 0 {
        let cure = if is_own(&metadata) {
            format!("`chmod 600 {name}`")
        } else {
            "its owner should leave it to the service's group (`chmod 640`; in Kubernetes `defaultMode: 0440`)".into()
        };
        return Some(format!("the {what} {name} is open to every user of this host (mode {mode:o}): {cure}"));
    }
    (is_own(&metadata) && mode & OTHERS_READ_OR_WRITE != 0).then(|| {
        format!(
            "the {what} {name} is open to its group (mode {mode:o}): `chmod 600 {name}`, unless the group is this \
             service's alone"
        )
    })
}

fn is_own(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_everybody_may_use_is_exposed_and_one_of_a_group_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("router.key");
        fs::write(&key, "secret").unwrap();
        for (mode, is_exposed, is_warned) in [
            (0o600, false, false),
            (0o400, false, false),
            (0o440, false, true),
            (0o640, false, true),
            (0o644, true, true),
            (0o604, true, true),
            (0o602, true, true),
        ] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(exposed("key", &key).is_some(), is_exposed, "{mode:o}");
            assert_eq!(open_to_others("key", &key).is_some(), is_warned, "{mode:o}");
        }
        assert_eq!(exposed("key", &folder.path().join("none")), None);
    }
}
