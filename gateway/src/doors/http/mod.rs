//! The HTTP door: `POST /events` publishes plain events and CloudEvents 1.0, and answers after the
//! level that was asked for.
//!
//! | content type | what a request carries |
//! |---|---|
//! | `application/cloudevents+json` | one CloudEvent, structured |
//! | `application/cloudevents-batch+json` | a batch of them, all or nothing |
//! | any, with `ce-…` headers | one CloudEvent, binary: the body is its payload |
//! | none, `text/…`, forms, `application/octet-stream`, `application/json` | with `?tag=key=value`, one plain event: the body is its payload |
//!
//! Anything else is answered 415. The mode is chosen by the content type alone; its parameters
//! change nothing.
//!
//! A CloudEvent's `type`, `source`, `subject` and `id` become tags `ce_type`, `ce_source`,
//! `ce_subject`, `ce_id`; extensions become tags of their names; `time` is the event's time.
//!
//! | file | what it has |
//! |---|---|
//! | `serve` | the door's listener and routes |
//! | [`guard`] | who a request is from, and whether a browser sent it for another site |
//! | [`query`] | the query string |
//! | [`content`] | which mode a request has |
//! | [`cloud_event`] | attributes to tags |
//! | [`binary`], [`structured`] | the two ways to write a CloudEvent |
//! | `request` | what a request to publish carries |
//! | [`publish`] | `POST /events` |
//! | [`answer`] | statuses and JSON |
//! | `otherwise` | requests that nothing answers |

pub mod answer;
pub mod binary;
pub mod cloud_event;
pub mod content;
pub mod guard;
pub(crate) mod otherwise;
pub mod publish;
pub mod query;
pub(crate) mod request;
mod serve;
pub mod structured;

pub(crate) use serve::serve;
