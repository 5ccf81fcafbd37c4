//! Links to other clusters: the engine's [`Link`](millrace_engine::forward::Link) with everything
//! around it. What crosses, and what is filed in the directory, is decided there.
//!
//! ```text
//!  cores ─ ForwardPost ─► thread ─► Link ─► relay (client library) ─► far cluster
//!                           │        ▲              │
//!              control ◄────┘        └──────────────┘
//! ```
//!
//! One thread serves all links of a router, beside the cores: a core hands over what links take of
//! its runs at the end of a turn, and never waits for it.
//!
//! | file | what |
//! |---|---|
//! | `post.rs` | the mailbox of the thread, bounded in bytes |
//! | `book.rs` | the links that there are, for the thread and the admin page |
//! | `serving.rs` | one link as a relay of the client library |
//! | `thread.rs` | the thread: links come and go, runs and interest pass |

mod book;
mod post;
mod serving;
mod thread;

pub(crate) use book::Book;
pub(crate) use post::{ForwardInbox, ForwardPost};
pub(crate) use thread::{End, Forwarder, Orders, Parts};
