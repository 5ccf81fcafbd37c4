//! History files: a folder, the thread that keeps them, and what cores have to do with it.
//!
//! The engine decides what is kept and how (`engine/src/history/files`). A core hands over blocks
//! and requests at the end of its turn and never waits: the thread alone touches the disk. Blocks
//! that wait for it are bounded in bytes; those beyond are not kept in files, and are counted.
//!
//! | file | what |
//! |---|---|
//! | `disk.rs` | the folder, which one process at a time uses |
//! | `open.rs` | opens it at the router's start, or says what is wrong with it |
//! | `post.rs` | the mailbox of the thread |
//! | `thread.rs` | the thread |
//! | `book.rs` | what is shown of it |

mod book;
mod disk;
mod open;
mod post;
mod thread;

pub(crate) use book::{FilesBook, FilesMetrics};
pub(crate) use open::{Opened, check, open};
pub(crate) use post::FilesPost;
pub(crate) use thread::FilesThread;
