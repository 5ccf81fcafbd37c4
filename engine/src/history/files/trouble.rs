//! What goes wrong with files, as the log is told of it.

/// Something that went wrong with a file, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The file.
    pub file: String,
    /// Where in it.
    pub at: u64,
    /// What.
    pub what: String,
}

impl Trouble {
    pub(super) fn new(file: &str, at: u64, what: String) -> Self {
        Self { file: file.to_owned(), at, what }
    }
}
