//! Files that one user alone may use: how they are written, and how they are judged when they are
//! found.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Bits of a mode that let others change a file or folder.
pub(crate) const OTHERS_WRITE: u32 = 0o022;
/// Bits of a mode that let everybody use a file.
const EVERYBODY: u32 = 0o007;
/// Bits of a mode that let others use a file at all.
pub(crate) const OTHERS_READ_OR_WRITE: u32 = 0o077;

/// Writes a file that only its owner may read, whole or not at all; a file of that name is
/// replaced.
///
/// # Errors
/// The system's.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("{}.new", std::process::id()));
    // What a killed process of the same number left behind may be a link to elsewhere.
    let _ = fs::remove_file(&new);
    let mut file = private().create_new(true).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}

pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Why a private file of this user's is none: everybody may use it. As ssh looks at its keys, files
/// of other users are their owners' matter, because that is how secrets are mounted, and a group
/// may be the service's own.
#[must_use]
pub fn exposed(what: &str, path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let (name, mode) = (path.display(), metadata.mode() & 0o777);
    (is_own(&metadata) && mode & EVERYBODY != 0).then(|| {
        format!(
            "the {what} {name} is open to every user of this host (mode {mode:o}), who could pose as this router: \
             `chmod 600 {name}`"
        )
    })
}

/// A warning of a private file that others may use: everybody, or a group.
pub(crate) fn open_to_others(what: &str, path: &Path) -> Option<String> {
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

/// Why a file or folder is not this user's own, or is open to others by one of the `forbidden` bits
/// of its mode; as ssh looks at its keys. Links are judged as links: they do not lead out of the
/// folder.
pub(crate) fn not_own(path: &Path, forbidden: u32) -> io::Result<Option<String>> {
    let metadata = fs::symlink_metadata(path)?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    Ok(if metadata.is_symlink() {
        Some("it is a link".to_owned())
    } else if owner != user {
        Some(format!("it is user {owner}'s, and this is user {user}"))
    } else if metadata.mode() & forbidden != 0 {
        Some(format!("it is open to other users (mode {:o})", metadata.mode() & 0o777))
    } else {
        None
    })
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
