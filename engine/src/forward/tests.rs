//! Links against each other: what arrives where, and how often.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millrace_proto::control::{Demand, Received, Welcome};
use millrace_proto::data::{self, DataFrame, GapReason};
use millrace_proto::frame::FrameReader;
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::stream_kind;
use millrace_proto::{
    ClusterId, DecodeError, Epoch, Incarnation, PublisherId, PublisherKey, TagSet, feature,
};

use super::*;
use crate::packing::unpack;
use crate::rights::AllowList;
use crate::time::Time;

const NOW: Time = Time(1_000_000_000);

fn rule(max_hops: u8, spool_bytes: u64) -> LinkRule {
    LinkRule {
        name: "link".to_owned(),
        select: AllowList::read(&["*"]).unwrap(),
        confirms: false,
        max_hops,
        spool_bytes,
        set: BTreeMap::new(),
        drop: Vec::new(),
        demand: true,
        packs: false,
    }
}

fn welcome(cluster: u64) -> Welcome {
    let mut welcome = Welcome { cluster: ClusterId(cluster), ..Welcome::default() };
    welcome.features = welcome.features.with(feature::FORWARDING);
    welcome
}

/// A run of one event that has crossed these clusters.
fn run(seq: u64, path: &[u64]) -> CrossingRun {
    let (mut builder, mut body) = (RunBuilder::default(), Vec::new());
    builder.start(seq, seq, 5);
    builder.push(5, b"payload");
    builder.finish(&mut body);
    CrossingRun {
        tags: TagSet::new([("host", "a")]).unwrap(),
        publisher: PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) },
        flags: 0,
        path: path.iter().fold(ClusterPath::EMPTY, |path, &id| path.with(ClusterId(id)).unwrap()),
        body: Bytes::from(body),
        events: 1,
    }
}

fn hand(runs: Vec<CrossingRun>) -> Handed {
    Handed { link: 0, runs, lost: 0 }
}

/// What a link writes, by seq and path, and the gaps between.
#[derive(Debug, Default, PartialEq, Eq)]
struct Written {
    runs: Vec<(u64, Vec<u64>)>,
    shed: u64,
}

fn written(link: &mut Link) -> Written {
    written_at(link, NOW)
}

fn written_at(link: &mut Link, now: Time) -> Written {
    let (mut written, mut reader) = (Written::default(), FrameReader::new());
    while let Some(chunk) = link.take_output(now) {
        read_frames(&mut reader, &chunk, &mut written);
    }
    written
}

fn read_frames(reader: &mut FrameReader, bytes: &[u8], written: &mut Written) {
    reader
        .feed::<DecodeError>(bytes, data::FRAME_BYTES_MAX, |kind, body| {
            if kind == stream_kind::PUBLISH {
                return Ok(());
            }
            match data::decode(kind, body)? {
                DataFrame::Run { hop, body } => {
                    let path = ClusterPath::read(&hop)?.ids().iter().map(|id| id.0).collect();
                    written.runs.push((body.first_seq(), path));
                }
                DataFrame::Gap(gap) => {
                    assert_eq!(gap.reason, GapReason::Shed);
                    written.shed += gap.events;
                }
                DataFrame::Packed(packed) => {
                    let plain = unpack(packed.packed, packed.plain_bytes).unwrap();
                    read_frames(&mut FrameReader::new(), &plain, written);
                }
                _ => {}
            }
            Ok(())
        })
        .unwrap();
}

fn connected(max_hops: u8, own: u64, far: u64) -> Link {
    let mut link = Link::new(rule(max_hops, 0), ClusterId(own), NOW);
    connect(&mut link, &welcome(far));
    want(&mut link, &["*"]);
    link
}

fn connect(link: &mut Link, welcome: &Welcome) {
    link.welcomed(NOW, welcome).unwrap();
    link.on_credit(1 << 20);
}

/// The far cluster wants this.
fn want(link: &mut Link, selectors: &[&str]) {
    let add = selectors.iter().map(|&selector| selector.to_owned()).collect();
    link.on_demand(NOW, Demand { reset: true, add, ..Demand::default() });
}

/// What it takes from here on, where that has changed.
fn texts(link: &mut Link) -> Option<Vec<String>> {
    link.poll_interest().map(|interest| interest.selectors.into_keys().collect())
}

fn dropped(link: &Link, reason: LinkDrop) -> u64 {
    link.status(NOW).counters.dropped[reason as usize]
}

#[test]
fn a_link_appends_its_cluster_and_sends_to_none_that_was_crossed() {
    let mut link = connected(4, 1, 3);
    link.offer(hand(vec![run(0, &[]), run(1, &[2]), run(2, &[3]), run(3, &[3, 2])]));
    assert_eq!(written(&mut link).runs, [(0, vec![1]), (1, vec![2, 1])]);
    assert_eq!(dropped(&link, LinkDrop::ClusterPath), 2);
    // What was taken before the far cluster was known is looked at again.
    let mut link = Link::new(rule(4, 1 << 20), ClusterId(1), NOW);
    link.offer(hand(vec![run(0, &[3]), run(1, &[])]));
    connect(&mut link, &welcome(3));
    want(&mut link, &["*"]);
    assert_eq!((written(&mut link).runs, dropped(&link, LinkDrop::ClusterPath)), (vec![(1, vec![1])], 1));
}

#[test]
fn events_end_where_they_have_crossed_as_many_clusters_as_they_may() {
    let mut link = connected(2, 1, 9);
    link.offer(hand(vec![run(0, &[2]), run(1, &[2, 3])]));
    assert_eq!(written(&mut link).runs, [(0, vec![2, 1])]);
    assert_eq!(dropped(&link, LinkDrop::MaxHops), 1);
}

#[test]
fn a_cluster_of_the_same_id_or_none_is_not_forwarded_to() {
    let mut link = Link::new(rule(4, 0), ClusterId(1), NOW);
    assert_eq!(link.welcomed(NOW, &welcome(1)), Err(LinkError::SameCluster { id: ClusterId(1) }));
    assert_eq!(link.welcomed(NOW, &welcome(0)), Err(LinkError::NoCluster));
    assert_eq!(
        link.welcomed(NOW, &Welcome { cluster: ClusterId(2), ..Welcome::default() }),
        Err(LinkError::NoCluster)
    );
}

#[test]
fn a_spool_keeps_the_newest_and_a_gap_stands_for_the_rest() {
    let room = 3 * run(0, &[]).bytes();
    let mut link = Link::new(rule(4, room), ClusterId(1), NOW);
    link.offer(hand((0..10).map(|seq| run(seq, &[])).collect()));
    assert_eq!((dropped(&link, LinkDrop::Shed), link.status(NOW).counters.spooled_bytes), (7, room));
    link.welcomed(NOW, &welcome(2)).unwrap();
    want(&mut link, &["*"]);
    assert_eq!(link.take_output(NOW), None, "there is no credit");
    link.on_credit(1 << 20);
    let all = written(&mut link);
    assert_eq!((all.shed, all.runs.iter().map(|(seq, _)| *seq).collect::<Vec<_>>()), (7, vec![7, 8, 9]));
}

#[test]
fn a_link_packs_what_it_gathers_for_a_router_that_reads_it() {
    let packing = |features: &[u64]| {
        let rule = LinkRule { packs: true, ..rule(4, 0) };
        let mut link = Link::new(rule, ClusterId(1), NOW);
        let mut welcome = welcome(3);
        features.iter().for_each(|&feature| welcome.features = welcome.features.with(feature));
        connect(&mut link, &welcome);
        want(&mut link, &["*"]);
        link.offer(hand((0..500).map(|seq| run(seq, &[])).collect()));
        let all = written(&mut link);
        assert_eq!(all.runs, (0..500).map(|seq| (seq, vec![1])).collect::<Vec<_>>());
        let counters = link.status(NOW).counters;
        (counters.frame_bytes, counters.stream_bytes)
    };
    let (frames, stream) = packing(&[]);
    assert_eq!(stream, frames + 3, "the stream's preamble alone is added");
    let (frames_too, packed) = packing(&[feature::PACKED]);
    assert_eq!(frames_too, frames);
    assert!(packed * 4 < frames, "{packed} of {frames}");
}

#[test]
fn what_was_under_way_goes_out_again_and_what_was_received_does_not() {
    let mut link = connected(4, 1, 2);
    link.offer(hand((0..4).map(|seq| run(seq, &[])).collect()));
    assert_eq!(written(&mut link).runs.len(), 4);
    assert!(link.expects_answer());
    link.on_received(&Received { publisher: 0, next_seq: 2 });
    link.disconnected(NOW, false, "gone".to_owned());
    assert_eq!((link.status(NOW).state, link.trouble()), (LinkState::Connecting, Some("gone")));
    connect(&mut link, &welcome(2));
    want(&mut link, &["*"]);
    assert_eq!(written(&mut link).runs.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(link.status(NOW).counters.resent, 2);
    link.on_received(&Received { publisher: 0, next_seq: 4 });
    assert!(link.is_idle());
}

#[test]
fn demand_narrows_what_is_taken_and_a_lost_connection_widens_it() {
    let mut link = connected(4, 1, 2);
    assert_eq!(texts(&mut link), Some(vec!["*".to_owned()]));
    let add = vec!["host=a".to_owned()];
    link.on_demand(NOW, Demand { version: 1, reset: true, more: true, add, ..Demand::default() });
    assert_eq!(texts(&mut link), None, "more is to come");
    let add = vec!["host=b".to_owned()];
    link.on_demand(NOW, Demand { version: 1, add, ..Demand::default() });
    assert_eq!(texts(&mut link), Some(vec!["host=a".to_owned(), "host=b".to_owned()]));
    link.on_demand(NOW, Demand { version: 2, reset: true, ..Demand::default() });
    assert_eq!(texts(&mut link), Some(vec![]), "nobody wants anything");
    link.disconnected(NOW, false, "gone".to_owned());
    assert_eq!(texts(&mut link), Some(vec!["*".to_owned()]));
}

#[test]
fn what_was_kept_waits_for_the_receivers_of_a_router_that_was_started_again() {
    let mut link = Link::new(rule(4, 1 << 20), ClusterId(1), NOW);
    connect(&mut link, &welcome(2));
    want(&mut link, &["host=a"]);
    link.disconnected(NOW, false, "killed".to_owned());
    link.offer(hand(vec![run(0, &[]), run(1, &[])]));
    connect(&mut link, &Welcome { incarnation: Incarnation(9), ..welcome(2) });
    want(&mut link, &[]);
    assert_eq!(written(&mut link), Written::default(), "nobody is back");
    assert_eq!((link.keeps_until(), link.status(NOW).keeps_for), (Some(NOW + WAIT_MAX), Some(WAIT_MAX)));
    want(&mut link, &["host=a"]);
    assert_eq!(link.keeps_until(), None);
    assert_eq!(written(&mut link).runs.len(), 2);
}

#[test]
fn what_comes_while_receivers_are_waited_for_is_taken_for_them() {
    let waiting = || {
        let mut link = Link::new(rule(4, 1 << 20), ClusterId(1), NOW);
        connect(&mut link, &welcome(2));
        want(&mut link, &["host=a", "host=b"]);
        link.disconnected(NOW, false, "killed".to_owned());
        connect(&mut link, &Welcome { incarnation: Incarnation(9), ..welcome(2) });
        assert_eq!(written(&mut link), Written::default());
        want(&mut link, &["host=b", "host=c"]);
        assert_eq!(texts(&mut link), ["host=a", "host=b", "host=c"].map(str::to_owned).to_vec().into());
        link
    };
    let mut link = waiting();
    want(&mut link, &["host=a", "host=c"]);
    assert_eq!(written(&mut link), Written::default());
    assert_eq!(texts(&mut link), Some(vec!["host=a".to_owned(), "host=c".to_owned()]), "all are back");
    let mut link = waiting();
    assert_eq!(written_at(&mut link, NOW + WAIT_MAX), Written::default());
    assert_eq!(texts(&mut link), Some(vec!["host=b".to_owned(), "host=c".to_owned()]), "nobody waits");
}

#[test]
fn what_was_kept_goes_out_at_last_and_at_once_where_there_is_no_time() {
    let kept = || {
        let mut link = Link::new(rule(4, 1 << 20), ClusterId(1), NOW);
        link.offer(hand(vec![run(0, &[])]));
        connect(&mut link, &welcome(2));
        assert_eq!(written(&mut link), Written::default(), "the far router has said nothing");
        link
    };
    assert_eq!(written_at(&mut kept(), NOW + WAIT_MAX).runs.len(), 1);
    let mut link = kept();
    link.hurry();
    assert_eq!(written(&mut link).runs.len(), 1);
}

#[test]
fn a_wait_sheds_nothing_that_the_spool_has_room_for() {
    let bytes = run(0, &[]).bytes();
    let mut link = Link::new(rule(4, 4 * bytes), ClusterId(1), NOW);
    link.offer(hand((0..4).map(|seq| run(seq, &[])).collect()));
    connect(&mut link, &welcome(2));
    link.offer(hand((4..100).map(|seq| run(seq, &[])).collect()));
    assert_eq!((written(&mut link), dropped(&link, LinkDrop::Shed)), (Written::default(), 0));
    want(&mut link, &["*"]);
    assert_eq!(written(&mut link).runs.len(), 100);
}

/// Clusters with links between them, each of one router: what is published in one goes along all
/// links, as far as the guard lets it. Returns how often each cluster got the event.
fn spread(clusters: u64, links: &BTreeSet<(u64, u64)>, origin: u64, max_hops: u8) -> BTreeMap<u64, u64> {
    let mut all: BTreeMap<(u64, u64), Link> =
        links.iter().map(|&(from, to)| ((from, to), connected(max_hops, from, to))).collect();
    let mut copies = BTreeMap::new();
    let mut here = vec![(origin, ClusterPath::EMPTY)];
    while let Some((cluster, path)) = here.pop() {
        *copies.entry(cluster).or_default() += 1;
        for (&(_, to), link) in all.iter_mut().filter(|((from, _), _)| *from == cluster) {
            let crossing = CrossingRun { path, ..run(0, &[]) };
            link.offer(hand(vec![crossing]));
            for (_, path) in written(link).runs {
                let path =
                    path.into_iter().fold(ClusterPath::EMPTY, |path, id| path.with(ClusterId(id)).unwrap());
                assert!(path.may_enter(ClusterId(to), ClusterId(cluster)), "{path:?} to {to}");
                here.push((to, path));
            }
        }
        assert!(copies.values().sum::<u64>() < 1 << 16, "it goes round among {clusters}");
    }
    copies
}

/// Simple paths from a cluster to each other one, of at most so many links.
fn simple_paths(
    links: &BTreeSet<(u64, u64)>,
    path: &mut Vec<u64>,
    max_hops: u8,
    counts: &mut BTreeMap<u64, u64>,
) {
    let last = *path.last().unwrap();
    *counts.entry(last).or_default() += 1;
    if path.len() > usize::from(max_hops) {
        return;
    }
    for &(_, to) in links.iter().filter(|(from, _)| *from == last) {
        if !path.contains(&to) {
            path.push(to);
            simple_paths(links, path, max_hops, counts);
            path.pop();
        }
    }
}

#[test]
fn copies_are_as_many_as_simple_paths_in_any_net_of_clusters() {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(7);
    for _ in 0..60 {
        let clusters = random.random_range(2..=10);
        // Of ten clusters, few enough links that the paths can be counted.
        let share = (2.0 / clusters as f64).min(0.5);
        let mut links = BTreeSet::new();
        for from in 1..=clusters {
            for to in 1..=clusters {
                if from != to && random.random_bool(share) {
                    links.insert((from, to));
                }
            }
        }
        let max_hops = random.random_range(1..=8);
        let mut expected = BTreeMap::new();
        simple_paths(&links, &mut vec![1], max_hops, &mut expected);
        assert_eq!(spread(clusters, &links, 1, max_hops), expected, "{links:?} {max_hops}");
    }
}
