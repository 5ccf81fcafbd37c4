//! Files that people name, read as a whole. A name may lead to a device or a pipe that never ends:
//! nobody reads more than a file of its kind has.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Certificates, keys, tokens and bundles of authorities are no larger than this; what is, is
/// another file.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads a file of at most so many bytes.
///
/// # Errors
/// The system's, or in words what is there instead: a folder, or more than that.
pub fn read_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder; name the file in it"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let words = format!("it is larger than {} MiB: that is another file", bytes_max >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, words));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_a_file_may_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (bytes, is_read) in [(0, true), (1 << 20, true), ((1 << 20) + 1, false)] {
            std::fs::write(&path, vec![b'x'; bytes]).unwrap();
            assert_eq!(read_file(&path, 1 << 20).is_ok(), is_read, "{bytes}");
        }
        let endless = read_file(Path::new("/dev/zero"), 1 << 20).unwrap_err();
        assert_eq!(endless.to_string(), "it is larger than 1 MiB: that is another file");
        assert!(read_file(folder.path(), 1).unwrap_err().to_string().contains("folder"));
        assert_eq!(read_file(&folder.path().join("none"), 1).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
