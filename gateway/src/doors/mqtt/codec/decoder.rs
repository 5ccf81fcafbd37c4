//! Packets out of what arrives.

use bytes::{Buf, BytesMut};

use super::field::varint;
use super::packet::{self, Packet, Version};
use super::wrong::Wrong;
use crate::admission::HEAD_BYTES_MAX;

/// A packet's first byte and its length.
const FIXED_BYTES_MAX: usize = 5;

/// Reads packets. Holds what has arrived of one, and what one reading takes besides; of a client
/// without an identity, [`HEAD_BYTES_MAX`] at most.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Known from `CONNECT` on.
    version: Option<Version>,
    packet_bytes_max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), version: None, packet_bytes_max: HEAD_BYTES_MAX - FIXED_BYTES_MAX }
    }
}

impl Decoder {
    /// The client has an identity: its packets may have so many bytes.
    pub const fn admit(&mut self, packet_bytes_max: usize) {
        self.packet_bytes_max = packet_bytes_max;
    }

    /// How many bytes of a client without an identity may be put there next. There are some while
    /// its packet is not whole.
    #[must_use]
    pub fn room(&self) -> usize {
        HEAD_BYTES_MAX.saturating_sub(self.buffer.len())
    }

    /// Where to put what arrives.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next packet, once all of it has arrived. The first one is `CONNECT`.
    ///
    /// # Errors
    /// [`Wrong`]: the connection is to be closed.
    pub fn packet(&mut self) -> Result<Option<Packet>, Wrong> {
        let Some(&first) = self.buffer.first() else { return Ok(None) };
        if self.version.is_none() && first != 0x10 {
            return Err(Wrong::Protocol("the first packet is not CONNECT"));
        }
        let Some((length, bytes)) = varint(&self.buffer[1..])? else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.packet_bytes_max {
            return Err(Wrong::TooLarge);
        }
        let head = 1 + bytes;
        if self.buffer.len() < head + length {
            return Ok(None);
        }
        self.buffer.advance(head);
        let body = self.buffer.split_to(length).freeze();
        match self.version {
            Some(version) => packet::read(version, first, body).map(Some),
            None => {
                let connect = packet::connect(body)?;
                self.version = Some(connect.version);
                Ok(Some(Packet::Connect(Box::new(connect))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Publish, Qos, Wish};
    use super::super::properties::Properties;
    use super::*;

    const CONNECT_3: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c";
    const CONNECT_5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c";

    fn packets(pieces: &[&[u8]]) -> Result<Vec<Packet>, Wrong> {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.buffer().extend_from_slice(piece);
            while let Some(packet) = decoder.packet()? {
                found.push(packet);
            }
        }
        Ok(found)
    }

    fn after(connect: &[u8], packet: &[u8]) -> Result<Packet, Wrong> {
        packets(&[connect, packet]).map(|mut found| {
            assert_eq!(found.len(), 2, "{found:?}");
            found.remove(1)
        })
    }

    #[test]
    fn all_packets_are_read_however_they_arrive() {
        let all = [
            CONNECT_5,
            b"\x30\x07\x00\x03a/b\x00x",
            b"\x32\x0b\x00\x00\x00\x07\x03\x23\x00\x02xyz",
            b"\x40\x02\x00\x09",
            b"\x82\x09\x00\x01\x00\x00\x03a/#\x01",
            b"\xa2\x08\x00\x02\x00\x00\x03a/#",
            b"\xc0\x00",
            b"\xe0\x01\x04",
        ]
        .concat();
        let whole = packets(&[&all]).unwrap();
        assert_eq!(whole.len(), 8);
        let message = |topic: &str, packet, payload: &'static str, topic_alias| {
            let properties = Properties { topic_alias, ..Properties::default() };
            let (topic, payload) = (topic.to_owned(), payload.into());
            Packet::Publish(Box::new(Publish {
                topic,
                packet,
                is_once: false,
                retain: false,
                payload,
                properties,
            }))
        };
        assert_eq!(whole[1], message("a/b", None, "x", None));
        assert_eq!(whole[2], message("", Some(7), "xyz", Some(2)));
        assert_eq!(whole[3], Packet::PubAck(9));
        let wish = Wish { filter: "a/#".to_owned(), qos: Qos::AtLeastOnce, no_local: false };
        assert_eq!(whole[4], Packet::Subscribe { packet: 1, subscription: None, wishes: vec![wish] });
        assert_eq!(whole[7], Packet::Disconnect { with_will: true, session_expiry: None });
        for at in 0..all.len() {
            let (first, second) = all.split_at(at);
            assert_eq!(packets(&[first, second]).as_ref(), Ok(&whole), "cut at {at}");
        }
    }

    #[test]
    fn the_largest_first_packet_fits_into_a_head_and_one_byte_more_does_not() {
        let first = |body: usize| {
            let seven = |shift: usize| u8::try_from(body >> shift & 0x7f).unwrap();
            let mut decoder = Decoder::default();
            decoder.buffer().extend_from_slice(&[0x10, seven(0) | 0x80, seven(7) | 0x80, seven(14)]);
            let read = decoder.packet();
            (read, decoder.room())
        };
        let body = HEAD_BYTES_MAX - FIXED_BYTES_MAX;
        let (read, room) = first(body);
        assert_eq!(read, Ok(None));
        assert!(room >= body, "{room}");
        assert_eq!(first(body + 1).0, Err(Wrong::TooLarge));
    }

    #[test]
    fn what_clients_may_not_send_is_refused() {
        for (bytes, wrong) in [
            (&b"\xc0\x00"[..], Wrong::Protocol("the first packet is not CONNECT")),
            (b"\x10\xff\xff\x7f", Wrong::TooLarge),
            (b"\x10\x0d\x00\x04MQTT\x03\x02\x00\x3c\x00\x01c", Wrong::Version),
            (b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01c", Wrong::Version),
        ] {
            assert_eq!(packets(&[bytes]), Err(wrong), "{bytes:?}");
        }
        assert_eq!(after(CONNECT_3, CONNECT_3), Err(Wrong::Protocol("a second CONNECT")));
        assert_eq!(after(CONNECT_5, b"\x34\x08\x00\x03a/b\x00\x01\x00"), Err(Wrong::Qos));
        assert_eq!(after(CONNECT_3, b"\x62\x02\x00\x01"), Ok(Packet::PubRel(1)));
        for wrong in [
            &b"\x80\x02\x00\x01"[..],
            b"\x82\x02\x00\x01",
            b"\x82\x08\x00\x01\x00\x03a/b\x03",
            b"\x32\x07\x00\x03a/b\x00\x00",
            b"\x30\x02\x00\x00",
            b"\x38\x05\x00\x03a/b",
            b"\x30\x03\x00\x03a",
            b"\x20\x02\x00\x00",
            b"\xf0\x00",
            b"\x40\x03\x00\x01\x00",
        ] {
            assert!(after(CONNECT_3, wrong).is_err(), "{wrong:?}");
        }
    }
}
