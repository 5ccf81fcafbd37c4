//! `millrace sub --cursor FILE`: where the last `sub` had come to, kept in a file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use millrace_certs::{FILE_BYTES_MAX, read_file};
use millrace_client::Cursor;

use crate::failure::Failure;

/// How often the file is written while the cursor advances.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The file of a cursor.
#[derive(Debug)]
pub(crate) struct CursorFile {
    path: PathBuf,
    written: Cursor,
}

impl CursorFile {
    /// Reads the file; one that does not exist is a cursor without positions.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Failure> {
        let written = match read_file(&path, FILE_BYTES_MAX) {
            Ok(bytes) => {
                String::from_utf8_lossy(&bytes).parse().map_err(|error: millrace_client::CursorError| {
                    Failure::usage(anyhow!("{}: {error}", path.display()))
                })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Cursor::default(),
            Err(error) => {
                return Err(Failure::usage(
                    anyhow!(error).context(format!("cannot read {}", path.display())),
                ));
            }
        };
        Ok(Self { path, written })
    }

    /// What it says; `None` when it says nothing yet.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        (!self.written.is_empty()).then(|| self.written.clone())
    }

    /// Writes the cursor if it has advanced: to a file beside it that takes its place, so that
    /// there is a whole one at any time.
    pub(crate) fn write(&mut self, cursor: Cursor) -> Result<(), Failure> {
        if cursor == self.written || cursor.is_empty() {
            return Ok(());
        }
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let replace = || -> io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(cursor.to_string().as_bytes())?;
            file.sync_data()?;
            fs::rename(&beside, &self.path)
        };
        replace().with_context(|| format!("cannot write {}", self.path.display())).map_err(Failure::other)?;
        self.written = cursor;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().expect("this works");
        let path = folder.path().join("cursor");
        let mut file = CursorFile::open(path.clone()).expect("this works");
        assert_eq!(file.cursor(), None);
        let cursor: Cursor =
            "millrace-cursor 1\n0000000000000001 0000000000000002 0 300\n".parse().expect("this works");
        file.write(cursor.clone()).expect("this works");
        assert_eq!(CursorFile::open(path.clone()).expect("it can be read").cursor(), Some(cursor));
        fs::write(&path, "no cursor").expect("this works");
        assert_eq!(CursorFile::open(path).map_err(|failure| failure.code).err(), Some(2));
    }
}
