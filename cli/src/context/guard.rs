//! Files and folders that others may write: whoever can change a context sends events elsewhere.

use std::fs::Metadata;
use std::path::Path;

/// Why what is here may not be believed, and the cure.
#[cfg(unix)]
pub(super) fn objection(path: &Path, metadata: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    /// Bits of a mode that let others change a file or folder.
    const OTHERS_WRITE: u32 = 0o022;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let (mode, shown) = (metadata.mode(), path.display());
    // What is root's, root could change in any case: contexts may come with the system.
    if owner != user && owner != 0 {
        return Some(format!(
            "{shown} is user {owner}'s, and this is user {user}: whoever can change it sends events elsewhere; make it \
             your own (`chown {user} {shown}`), or remove it"
        ));
    }
    (mode & OTHERS_WRITE != 0).then(|| {
        format!(
            "other users may change {shown} (mode {:o}), and so send events elsewhere: `chmod go-w {shown}`",
            mode & 0o777
        )
    })
}

/// Elsewhere the system's own folder of each user says who may write.
#[cfg(not(unix))]
pub(super) fn objection(_: &Path, _: &Metadata) -> Option<String> {
    None
}
