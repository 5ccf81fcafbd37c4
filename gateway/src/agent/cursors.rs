//! How far named subscriptions have come: a file for each, which the agent keeps.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use millrace_client::Cursor;

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 64;
/// Names whose cursors are kept: each is a file.
const NAMES_MAX: usize = 1024;

/// Why a named subscription is not possible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CursorsError {
    /// A name that no subscription can have.
    #[error(
        "name {0:?}: write 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, `.`, `_` and `-`, not beginning with `.`"
    )]
    Name(String),
    /// The name has a reader.
    #[error("{0:?} has a reader already: end that one, or take another name")]
    Taken(String),
    /// There are too many names.
    #[error("{NAMES_MAX} names have cursors: remove those that nobody reads from the folder cursors")]
    TooMany,
    /// The file cannot be used.
    #[error("the cursor of {name:?} cannot be read: {source}")]
    File {
        /// The name.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// All named subscriptions. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Cursors {
    folder: Arc<PathBuf>,
    taken: Arc<Mutex<BTreeSet<String>>>,
}

impl Cursors {
    /// Cursors in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder: Arc::new(folder), taken: Arc::default() })
    }

    /// Takes a name for one reader.
    ///
    /// # Errors
    /// [`CursorsError`].
    pub(crate) fn take(&self, name: &str) -> Result<Place, CursorsError> {
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_name_byte);
        if !is_name || name.starts_with('.') {
            return Err(CursorsError::Name(name.chars().take(NAME_BYTES_MAX).collect()));
        }
        let path = self.folder.join(name);
        if !path.exists() && fs::read_dir(&*self.folder).is_ok_and(|files| files.count() >= NAMES_MAX) {
            return Err(CursorsError::TooMany);
        }
        if !self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            return Err(CursorsError::Taken(name.to_owned()));
        }
        Ok(Place { cursors: self.clone(), name: name.to_owned(), path, written: None })
    }
}

/// The place of a named subscription while it has a reader.
#[derive(Debug)]
pub(crate) struct Place {
    cursors: Cursors,
    name: String,
    path: PathBuf,
    written: Option<Cursor>,
}

impl Place {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How far it has come; `None` for a new name. A file that cannot be read begins anew.
    ///
    /// # Errors
    /// [`CursorsError::File`].
    pub(crate) fn read(&self) -> Result<Option<Cursor>, CursorsError> {
        let failed = |source| CursorsError::File { name: self.name.clone(), source };
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.parse().map_or_else(
                |error| {
                    tracing::warn!(name = self.name, %error, "a cursor cannot be read, and begins anew");
                    None
                },
                Some,
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Notes how far it has come: whole, or not at all.
    pub(crate) fn write(&mut self, cursor: Cursor) {
        if cursor.is_empty() || self.written.as_ref() == Some(&cursor) {
            return;
        }
        let new = self.path.with_file_name(format!(".{}.new", self.name));
        let write = || {
            let mut file = fs::File::create(&new)?;
            file.write_all(cursor.to_string().as_bytes())?;
            fs::rename(&new, &self.path)
        };
        match write() {
            Ok(()) => self.written = Some(cursor),
            Err(error) => tracing::error!(name = self.name, %error, "a cursor cannot be written"),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.cursors.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
