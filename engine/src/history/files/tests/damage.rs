//! Torn ends, flipped bits, and files of others: what can be read is read, the rest is named.

use super::{BEGIN, LIMITS, MemoryStorage, ask, block, open, positions, read_all, source};
use crate::history::Found;
use crate::history::files::{Archive, FileLimits};

/// A folder with one file of three blocks of an earlier life, and the file's name.
fn three_blocks() -> (MemoryStorage, String) {
    let storage = MemoryStorage::default();
    let mut archive = open(&storage, 1, BEGIN);
    for round in 0..3 {
        archive.keep(0, &block(round * 4..round * 4 + 4, BEGIN, 30), BEGIN);
    }
    let name = storage.names().remove(0);
    (storage, name)
}

#[test]
fn an_end_that_is_torn_anywhere_costs_what_was_not_finished_alone() {
    let (whole, name) = three_blocks();
    let length = whole.0.borrow().files[&name].len();
    let mut seen = std::collections::BTreeSet::new();
    for cut in 0..=length {
        for zeroes in [0, 64] {
            let storage = whole.copy();
            let mut file = whole.0.borrow().files[&name][..cut].to_vec();
            file.resize((cut + zeroes).min(length), 0);
            storage.0.borrow_mut().files.insert(name.clone(), file);
            let mut archive = open(&storage, 2, BEGIN);
            let (runs, _) = read_all(&mut archive, source(1, 0), "*");
            let kept = runs.len() as u64;
            assert!(kept.is_multiple_of(4), "whole blocks");
            assert_eq!(positions(&runs), (0..kept).collect::<Vec<_>>());
            seen.insert(kept);
            // The next life writes behind it.
            archive.keep(0, &block(0..4, BEGIN, 30), BEGIN);
            assert_eq!(read_all(&mut archive, source(2, 0), "*").0.len(), 4);
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 4, 8, 12]);
}

#[test]
fn a_flipped_bit_costs_its_block_alone_and_is_named() {
    let (whole, name) = three_blocks();
    let (mut archive, length) = (open(&whole.copy(), 2, BEGIN), whole.0.borrow().files[&name].len());
    let original = read_all(&mut archive, source(1, 0), "*").0;
    let record = (length - 64) / 3;
    for at in 0..length {
        let storage = whole.copy();
        storage.0.borrow_mut().files.get_mut(&name).unwrap()[at] ^= 1 << (at % 8);
        let mut archive = open(&storage, 2, BEGIN);
        let (runs, is_cut) = read_all(&mut archive, source(1, 0), "*");
        assert!(runs.iter().all(|run| original.contains(run)), "at {at}: nothing is made up");
        let troubles = archive.take_troubles();
        assert!(troubles.iter().all(|trouble| trouble.file == name), "{troubles:?}");
        assert_eq!(archive.counts().damaged, troubles.len() as u64);
        match at.checked_sub(64).map(|at| at / record) {
            // Zeroes at its end.
            _ if (12..16).contains(&at) || runs.len() == 12 => {}
            None => {
                assert_eq!((runs.len(), troubles.len()), (0, 1), "at {at}: the file is set aside");
                assert!(storage.names().iter().any(|name| name.ends_with(".bad")) || at == 7);
            }
            Some(damaged) => {
                assert_eq!(runs.len(), 8, "at {at}");
                let is_last = damaged == 2;
                assert!(is_cut || is_last || damaged == 0, "at {at}: a gap stands for it");
                assert!(!troubles.is_empty() || is_last, "at {at}: it is named");
            }
        }
    }
}

#[test]
fn who_reads_towards_a_block_that_others_have_found_damaged_comes_to_an_end() {
    let (storage, name) = three_blocks();
    let mut archive = open(&storage, 2, BEGIN);
    *storage.0.borrow_mut().files.get_mut(&name).unwrap().last_mut().unwrap() ^= 1;
    assert_eq!(read_all(&mut archive, source(1, 0), "*").0.len(), 8);
    let Found::Read { chunk, .. } = archive.find(&ask(source(1, 0), 8, 12, "*")) else { panic!("lost") };
    assert_eq!((chunk.next, chunk.is_cut, chunk.runs.len()), (12, true, 0));
}

#[test]
fn what_a_later_version_or_somebody_else_wrote_is_left_alone() {
    let (storage, name) = three_blocks();
    let mut later = storage.0.borrow().files[&name].clone();
    later[7] = 2;
    storage.0.borrow_mut().files.insert("00000000000000ff.history".to_owned(), later.clone());
    storage.0.borrow_mut().files.insert("notes.txt".to_owned(), b"mine".to_vec());
    let mut archive = open(&storage, 2, BEGIN);
    let troubles = archive.take_troubles();
    assert_eq!(troubles.len(), 1);
    assert!(troubles[0].what.contains("version 2"), "{troubles:?}");
    archive.keep(0, &block(0..4, BEGIN, 30), BEGIN);
    assert_eq!(storage.0.borrow().files["00000000000000ff.history"], later);
    assert_eq!(storage.0.borrow().files["notes.txt"], b"mine");
    assert!(storage.names().contains(&"0000000000000100.history".to_owned()), "{:?}", storage.names());
}

#[test]
fn any_bytes_are_read_without_a_panic() {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let (whole, name) = three_blocks();
    for _ in 0..300 {
        let storage = whole.copy();
        {
            let mut folder = storage.0.borrow_mut();
            let file = folder.files.get_mut(&name).unwrap();
            for _ in 0..=random() % 9 {
                let (from, to) = (random() % file.len(), random() % file.len());
                file[to] = file[from];
            }
        }
        let mut archive = open(&storage, 2, BEGIN);
        let (runs, _) = read_all(&mut archive, source(1, 0), "*");
        assert!(positions(&runs).is_sorted());
    }
}

#[test]
fn a_packed_block_that_is_damaged_is_left_out_and_named() {
    let storage = MemoryStorage::default();
    let packs = FileLimits { packs: true, ..LIMITS };
    let mut archive = Archive::open(storage.clone(), packs, source(1, 0), BEGIN).unwrap();
    archive.keep(0, &block(0..20, BEGIN, 300), BEGIN);
    archive.keep(0, &block(20..40, BEGIN, 300), BEGIN);
    let name = storage.names().remove(0);
    let length = storage.0.borrow().files[&name].len();
    for at in 64..length {
        let copy = storage.copy();
        copy.0.borrow_mut().files.get_mut(&name).unwrap()[at] ^= 1 << (at % 8);
        let (runs, _) = read_all(&mut open(&copy, 2, BEGIN), source(1, 0), "*");
        assert!([20, 40].contains(&runs.len()), "at {at}: {}", runs.len());
    }
}
