//! The NATS door: the core protocol (publish, subscribe, queue groups, request and reply), for
//! clients as they are.
//!
//! A subject is a tag set, and the other way round ([`naming`](super::naming)), so events of other
//! doors reach NATS clients, too. A pattern with wildcards becomes selectors.
//!
//! ```text
//! PUB logs.web-1.err 5   ─► tags host=web-1,severity=err
//! SUB logs.*.err 7       ─► selectors `host,severity=err` and `subject=logs.*.err`
//! ```
//!
//! Headers and the reply subject travel in front of the payload, in the form that `HPUB` has
//! ([`envelope`]). A request that reaches no receiver is answered 503 at once, as servers since
//! 2.12 do. JetStream is not available, and its API says so at once.
//!
//! | file | what it has |
//! |---|---|
//! | [`parser`] | bytes of a client to commands |
//! | [`envelope`] | headers and reply subject in front of a payload |
//! | `greeting` | `INFO` and `CONNECT` |
//! | `writer` | what a client is sent |
//! | `subscriptions` | what one client is subscribed to |
//! | `session` | one client |
//! | `serve` | the door's listener |

pub mod envelope;
mod greeting;
pub mod parser;
mod serve;
mod session;
mod subscriptions;
mod writer;

pub(crate) use serve::serve;
