//! The MQTT door: MQTT 5 and 3.1.1 with QoS 0 and 1, for clients as they are.
//!
//! A topic is a tag set, and the other way round ([`naming`](super::naming)), so events of other
//! doors reach MQTT clients, too. User properties are tags beside those of the topic. A topic
//! filter becomes selectors, a shared subscription a member of a group of the cluster.
//!
//! ```text
//! PUBLISH sensors/kitchen/temp (unit=C)   ─► tags room=kitchen,kind=temp,unit=C
//! SUBSCRIBE sensors/+/temp                ─► selectors `room,kind=temp` and `topic=sensors/*/temp`
//! SUBSCRIBE $share/workers/jobs/#         ─► group `workers`, level 1, selector `topic=jobs*`
//! ```
//!
//! `PUBACK` of the door says that the event is in the queues of all receivers that match; a client
//! that is not answered sends again. `PUBACK` of a client says that its message is done: a member
//! of a group acknowledges it then. Nothing is retained, and nothing is delivered with QoS 2.
//!
//! A session outlives its connection in this gateway's memory, up to its expiry: subscriptions,
//! messages that are not acknowledged, and as much of what arrives meanwhile as a mailbox holds.
//!
//! | file | what it has |
//! |---|---|
//! | [`codec`] | packets on the wire |
//! | [`event`] | messages to events and back |
//! | `door` | what all clients share |
//! | `connecting` | who a client is, and what it is granted |
//! | `session` | one connection |
//! | `publishing` | what a client publishes, and what it hears of it |
//! | `answers` | what a client is still to hear |
//! | `delivering` | what a client is sent |
//! | `inflight` | messages that a client has not acknowledged |
//! | `aliases` | topic aliases, both ways |
//! | `subscriptions` | what a session is subscribed to |
//! | `sessions` | sessions by the names of their clients |
//! | `will` | what is published when a client is lost |
//! | `writing` | bytes to a client |
//! | `serve` | the door's listener |

mod aliases;
mod answers;
pub mod codec;
mod connecting;
mod delivering;
mod door;
pub mod event;
mod inflight;
mod publishing;
mod serve;
mod session;
mod sessions;
mod subscriptions;
mod will;
mod writing;

pub(crate) use serve::serve;
