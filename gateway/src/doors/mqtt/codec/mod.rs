//! MQTT 5 and 3.1.1 on the wire: bytes of a client to packets, and what the door says to bytes.
//!
//! Only what a server of this kind needs: packets that clients send are read, packets that servers
//! send are written. Nothing here knows of sessions.
//!
//! | file | what it has |
//! |---|---|
//! | `decoder` | [`Decoder`]: packets out of what arrives |
//! | `encoder` | [`Encoder`]: packets for the client |
//! | `field` | numbers, texts and binary data of a packet |
//! | `packet` | [`Packet`]: what clients send |
//! | `properties` | [`Properties`] of MQTT 5 |
//! | `reason` | [`Code`]: reason codes, and what 3.1.1 has instead |
//! | `wrong` | [`Wrong`]: why a packet is refused |

mod decoder;
mod encoder;
mod field;
mod packet;
mod properties;
mod reason;
mod wrong;

pub use decoder::Decoder;
pub use encoder::{Accepted, Encoder, Outgoing};
pub use packet::{Connect, Packet, Publish, Qos, Version, Will, Wish};
pub use properties::Properties;
pub use reason::Code;
pub use wrong::Wrong;
