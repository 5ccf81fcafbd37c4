//! A stretch of history for a peer, as the bytes of one stream.

use std::sync::Arc;

use millrace_proto::control::TableCapacity;
use millrace_proto::data::{Gap, GapReason, Replay};
use millrace_proto::stream::ReplayPreamble;

use super::encoder::Encoder;
use crate::core::run::RunOut;
use crate::history::{Chunk, KnownSource, PastSource, Place, Span};

/// The answer to a request: which earlier lives are kept, what the whole consists of, a gap when
/// something of it is gone, the runs, and where the next stretch begins.
pub(in crate::core) fn stretch(
    request: u64,
    source: &Arc<KnownSource>,
    (span, chunk): (&Span, &Chunk),
    pasts: &[PastSource],
) -> Vec<u8> {
    let mut encoder = Encoder::new(TableCapacity::CLIENT);
    let mut preamble = Vec::new();
    ReplayPreamble { request }.encode(&mut preamble);
    encoder.preamble(&preamble);
    encoder.tell_places();
    for past in pasts {
        encoder.replay(&Replay {
            router: past.source.router,
            incarnation: past.source.incarnation,
            owner: past.source.owner,
            from: past.span.from,
            to: past.span.to,
            oldest_kept: past.span.oldest,
            // Its end is there.
            joined: past.is_whole,
            ..Replay::default()
        });
    }
    encoder.replay(&Replay {
        router: source.source.router,
        incarnation: source.source.incarnation,
        owner: source.source.owner,
        from: span.from,
        to: span.to,
        oldest_kept: span.oldest,
        ..Replay::default()
    });
    if span.is_cut || chunk.is_cut {
        let router = Some(source.source.router);
        encoder.gap(&Gap { reason: GapReason::Evicted, events: 0, router });
    }
    for kept in (0..chunk.runs.len()).filter_map(|index| chunk.runs.get(index)) {
        let place = Place { source: Arc::clone(source), position: kept.position };
        let run = RunOut {
            tag: kept.tag,
            number: None,
            tags: kept.tags,
            publisher: kept.publisher,
            flags: kept.flags,
            fields: &[],
            body: kept.body,
            buffer: None,
            events: kept.events,
            from: None,
            entry: None,
            place: Some(&place),
        };
        encoder.run(&run, None);
    }
    encoder.cursor(&[(Arc::clone(source), chunk.next)], &[]);
    encoder.take().unwrap_or_default()
}
