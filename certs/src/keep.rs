//! Files of the authority that one user alone may use: how they are written, and how they are
//! judged when they are found.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Bits of a mode that let others change a file or folder.
pub(crate) const OTHERS_WRITE: u32 = 0o022;

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
