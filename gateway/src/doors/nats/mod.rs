//! The NATS door: the core protocol (publish, subscribe, queue groups, request and reply), for
//! clients as they are.
//!
//! A subject is a tag set. A template of the settings says which (`"logs.{host}.{severity}"`); a
//! subject that fits none is the tag `subject`. One subject is one tag set and the other way round,
//! so events of other doors reach NATS clients, too. A pattern with wildcards becomes selectors.
//!
//! ```text
//! PUB logs.web-1.err 5   ─► tags host=web-1,severity=err
//! SUB logs.*.err 7       ─► selectors `host,severity=err` and `subject=logs.*.err`
//! ```
//!
//! Headers and the reply subject travel in front of the payload, in the form that `HPUB` has
//! ([`envelope`]). A request that reaches no receiver is answered 503 at once, as servers since 2.12
//! do. JetStream is not available, and its API says so at once.
//!
//! | file | what it has |
//! |---|---|
//! | [`parser`] | bytes of a client to commands |
//! | [`subject`] | subjects and patterns |
//! | [`mapping`] | subjects to tags and back, patterns to selectors |
//! | [`template`] | one template |
//! | [`envelope`] | headers and reply subject in front of a payload |
//! | `greeting` | `INFO` and `CONNECT` |
//! | `writer` | what a client is sent |
//! | `subscriptions` | what one client is subscribed to |
//! | `session` | one client |
//! | `serve` | the door's listener |

pub mod envelope;
mod greeting;
pub mod mapping;
pub mod parser;
mod serve;
mod session;
pub mod subject;
mod subscriptions;
pub mod template;
mod writer;

pub(crate) use serve::serve;
