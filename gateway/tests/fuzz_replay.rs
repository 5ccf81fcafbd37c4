//! Replays the corpus of the doors' fuzz targets, and feeds them random bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../../fuzz/doors.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets use this file, too")]
mod doors;

use std::path::PathBuf;

use doors::TARGETS;
use proptest::prelude::*;

#[test]
fn each_target_has_a_corpus_that_passes() {
    for (target, body) in TARGETS {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let mut inputs = 0;
        for file in std::fs::read_dir(&folder).unwrap() {
            body(&std::fs::read(file.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{target}");
    }
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        for (_, body) in TARGETS {
            body(&bytes);
        }
    }

    /// Bytes that occur in the protocols, so that more than the beginning is read.
    #[test]
    fn likely_bytes_do_no_harm(bytes in "(<[0-9]{1,3}>|1 - |[0-9]{1,2} |SUB |PUB |[a.*>]{1,4}|\\[x|\"|=|\\]|\r\n|\n|NATS/1\\.0|[{}:,])*") {
        for (_, body) in TARGETS {
            body(bytes.as_bytes());
        }
    }

    /// Packets of MQTT with a right length, so that more than the first byte is read.
    #[test]
    fn likely_packets_do_no_harm(packets in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..100)), 0..8)) {
        let mut bytes = Vec::new();
        for (first, body) in packets {
            bytes.push(first);
            bytes.push(u8::try_from(body.len()).unwrap());
            bytes.extend_from_slice(&body);
        }
        doors::door_mqtt(&bytes);
    }
}
