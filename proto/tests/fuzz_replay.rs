//! Replays the committed fuzz corpus, and feeds the fuzz targets random and nearly valid bytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[expect(unreachable_pub, reason = "the fuzz targets use this file as a library")]
#[path = "../../fuzz/bodies.rs"]
mod bodies;

use std::path::PathBuf;

use proptest::prelude::*;

/// Every seed of a target, in order of file names.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn the_corpus_of_every_target_replays() {
    for (target, body) in bodies::TARGETS {
        let seeds = corpus(target);
        assert!(!seeds.is_empty(), "{target} has no corpus");
        for (_, bytes) in seeds {
            body(&bytes);
        }
    }
}

#[test]
fn seeds_cut_short_or_with_one_bit_flipped_are_survived() {
    for (target, body) in bodies::TARGETS {
        for (_, bytes) in corpus(target) {
            for at in 0..bytes.len().min(512) {
                body(&bytes[..at]);
                let mut flipped = bytes.clone();
                for bit in 0..8 {
                    flipped[at] = bytes[at] ^ (1 << bit);
                    body(&flipped);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (_, body) in bodies::TARGETS {
            body(&bytes);
        }
    }

    #[test]
    fn tables_of_writer_and_reader_agree(
        entries in 0u8..24, space in any::<u8>(), keys in prop::collection::vec(0u8..40, 0..400),
    ) {
        let mut bytes = vec![entries, space];
        bytes.extend(keys);
        bodies::table(&bytes);
    }

    #[test]
    fn streams_cut_anywhere_give_the_same_frames(
        cuts in any::<[u8; 8]>(), frames in prop::collection::vec((0u64..200, 0usize..1100), 0..8),
    ) {
        let mut bytes = cuts.to_vec();
        for (kind, len) in frames {
            millrace_proto::frame::put(&mut bytes, kind, |body| body.resize(len, 0xa5));
        }
        bodies::frame_reader(&bytes);
    }
}
