//! The routers' admin pages: where they are, how they are asked, and what they answer.
//!
//! | module | what it is |
//! |---|---|
//! | `address` | URLs of the command line |
//! | `http` | one request, its bounds, and what its failure means |
//! | `ask` | the same question to several routers |
//! | `operator` | who asks over TLS, and whom it believes |
//! | `secure` | a connection over TLS |
//! | `pages` | what the pages say, as far as the commands read it |

mod address;
mod ask;
mod http;
mod operator;
pub(crate) mod pages;
mod secure;

pub(crate) use address::{AdminArgs, AdminUrl};
pub(crate) use ask::{Answer, all, one};
pub(crate) use http::{AskError, Method};
pub(crate) use operator::equipped;
