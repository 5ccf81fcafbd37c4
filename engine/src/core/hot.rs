//! Which tags and shards most events have: a sketch of bounded size, fed by a sample of the runs.
//!
//! A core samples one of [`SAMPLE_EVERY`] runs that it owns, on average, at random distances, so
//! that a publisher's rhythm cannot hide from it. A sampled run counts with all its events, for
//! each of its tags; of a set with many tags, for [`TAGS_PER_SAMPLE`] in turns, which stand for the
//! others.
//!
//! Tags are counted by Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient Computation of
//! Frequent and Top-k Elements in Data Streams", 2005): [`TAGS_MAX`] counters, of which a new tag
//! takes over the smallest with its count, and remembers that count as its possible error.
//!
//! ```text
//! counters of 2    a:5  b:2(0)     comes c: takes over b     a:5  c:3(2)     c has 1 to 3
//! ```
//!
//! All weights are halved every [`FADE_AFTER`] samples: what is shown is what is hot, and not what
//! once was. A run that is not sampled costs one comparison.

use millrace_proto::TagSetRef;
use millrace_proto::tag::SHARDS;
use xxhash_rust::xxh3::xxh3_64;

/// Runs for one that is sampled, on average.
const SAMPLE_EVERY: u64 = 1024;
/// Tags of a sampled run that are counted, some hundred instructions each: three for each run.
const TAGS_PER_SAMPLE: usize = 8;
/// Tags that are counted: a tag with 1 in 64 of all weight is never missed.
const TAGS_MAX: usize = 64;
/// Samples after which weights are halved: a million runs.
const FADE_AFTER: u32 = 4_096;
/// Bytes of a tag that are kept: pages show them.
const TAG_BYTES_MAX: usize = 128;
/// Shards that a picture has.
const SHARDS_SHOWN: usize = 8;

/// A tag and its weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotTag {
    /// `key=value`, cut at some 128 bytes.
    pub tag: String,
    /// Events that have it among those sampled, at least.
    pub weight: u64,
}

/// What a core's sample says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HotPicture {
    /// Events that were sampled, faded.
    pub weight: u64,
    /// Tags with the most weight, most first.
    pub tags: Vec<HotTag>,
    /// Shards with the most weight, most first.
    pub shards: Vec<(u16, u64)>,
}

#[derive(Debug)]
struct Counter {
    hash: u64,
    tag: Box<str>,
    weight: u64,
    /// What it took over.
    error: u64,
}

/// The sketch of one core.
#[derive(Debug)]
pub(super) struct HotTags {
    /// Position of the next run that is sampled.
    next: u64,
    /// State of the distances between samples: a Weyl sequence through a hash.
    dice: u64,
    samples: u32,
    weight: u64,
    counters: Vec<Counter>,
    shards: Box<[u64]>,
}

impl HotTags {
    /// Nothing yet. Cores with different seeds sample different runs.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            next: 1 + seed % SAMPLE_EVERY,
            dice: seed,
            samples: 0,
            weight: 0,
            counters: Vec::with_capacity(TAGS_MAX),
            shards: vec![0; usize::from(SHARDS)].into_boxed_slice(),
        }
    }

    /// Whether the run at this position is sampled.
    #[inline]
    pub(super) const fn is_due(&self, position: u64) -> bool {
        position == self.next
    }

    /// Counts the run at the position that was due.
    #[cold]
    pub(super) fn sample(&mut self, tags: TagSetRef<'_>, events: u64) {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.next += 1 + xxh3_64(&self.dice.to_le_bytes()) % (2 * SAMPLE_EVERY - 1);
        self.samples += 1;
        self.weight += events;
        self.shards[usize::from(tags.shard().number())] += events;
        let count = tags.len();
        let counted = count.min(TAGS_PER_SAMPLE);
        let first = if count > counted { self.samples as usize % count } else { 0 };
        for (key, value) in tags.iter().chain(tags.iter()).skip(first).take(counted) {
            self.count(key, value, events * count as u64 / counted as u64);
        }
        if self.samples.is_multiple_of(FADE_AFTER) {
            self.fade();
        }
    }

    fn count(&mut self, key: &str, value: &str, weight: u64) {
        let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
        hasher.update(key.as_bytes());
        hasher.update(b"=");
        hasher.update(value.as_bytes());
        let hash = hasher.digest();
        if let Some(counter) = self.counters.iter_mut().find(|counter| counter.hash == hash) {
            counter.weight += weight;
            return;
        }
        let mut tag = format!("{key}={value}");
        tag.truncate(tag.floor_char_boundary(TAG_BYTES_MAX));
        let mut counter = Counter { hash, tag: tag.into_boxed_str(), weight, error: 0 };
        if self.counters.len() < TAGS_MAX {
            self.counters.push(counter);
        } else if let Some(least) = self.counters.iter_mut().min_by_key(|counter| counter.weight) {
            counter.error = least.weight;
            counter.weight += least.weight;
            *least = counter;
        }
    }

    fn fade(&mut self) {
        self.weight /= 2;
        for counter in &mut self.counters {
            counter.weight /= 2;
            counter.error /= 2;
        }
        self.counters.retain(|counter| counter.weight > 0);
        self.shards.iter_mut().for_each(|weight| *weight /= 2);
    }

    /// What the sample says.
    pub(super) fn picture(&self) -> HotPicture {
        let sure = |counter: &Counter| counter.weight - counter.error;
        let mut tags: Vec<HotTag> = self
            .counters
            .iter()
            .filter(|counter| sure(counter) > 0)
            .map(|counter| HotTag { tag: counter.tag.clone().into(), weight: sure(counter) })
            .collect();
        tags.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.tag.cmp(&b.tag)));
        let mut shards: Vec<(u16, u64)> = (0..)
            .zip(&*self.shards)
            .map(|(shard, &weight)| (shard, weight))
            .filter(|&(_, weight)| weight > 0)
            .collect();
        shards.sort_by_key(|&(shard, weight)| (std::cmp::Reverse(weight), shard));
        shards.truncate(SHARDS_SHOWN);
        HotPicture { weight: self.weight, tags, shards }
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::TagSet;

    use super::*;

    fn set(texts: &[&str]) -> TagSet {
        TagSet::from_texts(texts.iter().copied()).unwrap()
    }

    /// Feeds runs at every position; returns how many were sampled.
    fn feed(hot: &mut HotTags, runs: u64, mut tags: impl FnMut(u64) -> TagSet) -> u64 {
        let mut sampled = 0;
        for position in 1..=runs {
            if hot.is_due(position) {
                hot.sample(tags(position).borrow(), 1);
                sampled += 1;
            }
        }
        sampled
    }

    #[test]
    fn one_run_in_1024_is_sampled_at_distances_that_no_rhythm_meets() {
        let mut hot = HotTags::new(7);
        let sampled = feed(&mut hot, 1 << 22, |position| set(&[&format!("rhythm={}", position % 256)]));
        assert!((3_600..4_600).contains(&sampled), "{sampled} of 4,096");
        let picture = hot.picture();
        assert!(picture.tags.iter().all(|tag| tag.weight * 8 < picture.weight), "{picture:?}");
    }

    #[test]
    fn hot_tags_are_found_among_thousands_with_their_share() {
        let mut hot = HotTags::new(3);
        let mut dice = 0_u64;
        // Half of the runs are of one host, a fifth of another, the rest of ten thousand.
        feed(&mut hot, 2_400_000, |_| {
            dice = xxh3_64(&dice.to_le_bytes());
            match dice % 10 {
                0..=4 => set(&["host=hot", "zone=a"]),
                5 | 6 => set(&["host=warm", "zone=b"]),
                _ => set(&[&format!("host=cold-{}", dice % 10_007), "zone=b"]),
            }
        });
        let picture = hot.picture();
        let share = |tag: &str| {
            let found = picture.tags.iter().find(|found| found.tag == tag);
            found.map_or(0.0, |found| found.weight as f64 / picture.weight as f64)
        };
        for (tag, expected) in [("host=hot", 0.5), ("zone=a", 0.5), ("zone=b", 0.5), ("host=warm", 0.2)] {
            assert!((share(tag) - expected).abs() < 0.08, "{tag}: {} of {expected}", share(tag));
        }
        assert_eq!(picture.shards[0].0, set(&["host=hot", "zone=a"]).shard().number());
        assert!(picture.tags.len() <= TAGS_MAX && picture.shards.len() <= SHARDS_SHOWN);
    }

    #[test]
    fn what_was_hot_fades() {
        let mut hot = HotTags::new(1);
        for _ in 0..FADE_AFTER {
            hot.sample(set(&["host=old"]).borrow(), 1);
        }
        for _ in 0..3 * FADE_AFTER {
            hot.sample(set(&["host=new"]).borrow(), 1);
        }
        let picture = hot.picture();
        assert_eq!(picture.tags[0].tag, "host=new");
        assert!(picture.tags[1].weight * 8 <= picture.weight, "{picture:?}");
        let long = "x".repeat(1_000);
        hot.sample(set(&[&format!("key={long}")]).borrow(), 1);
        assert!(hot.picture().tags.iter().all(|tag| tag.tag.len() <= TAG_BYTES_MAX));
    }
}
