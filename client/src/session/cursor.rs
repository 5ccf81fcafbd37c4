//! Cursors: how far a receiver has come, to go on from there later, or elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use millrace_proto::control::SourcePosition;
use millrace_proto::data::Source;
use millrace_proto::{Incarnation, RouterId, SubscriptionNumber, varint};

/// The first line of a cursor as text.
const FIRST_LINE: &str = "millrace-cursor 1";
/// Positions that a cursor has, at most: what one frame carries.
const POSITIONS_MAX: usize = millrace_proto::limits::POSITIONS_PER_FRAME_MAX;

/// How far a receiver has come with each source: an owner of a router, in one process life of it.
///
/// As text it has a line for each source (router, incarnation, owner, position), so that programs
/// can keep it in a file.
///
/// ```
/// use millrace_client::Cursor;
///
/// let text = "millrace-cursor 1\n0000000000000001 0000000000000002 0 300\n";
/// let cursor: Cursor = text.parse()?;
/// assert_eq!(cursor.to_string(), text);
/// # Ok::<(), millrace_client::CursorError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(BTreeMap<Source, u64>);

/// How far each subscription of a receiver has come.
#[derive(Debug, Default)]
pub struct Passed {
    /// All but those that follow.
    pub(super) live: Cursor,
    /// Those with a replay under way.
    pub(super) behind: BTreeMap<SubscriptionNumber, Cursor>,
}

impl Passed {
    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Whether a subscription has had what stands there.
    pub(super) fn has(&self, subscription: SubscriptionNumber, (source, position): &(Source, u64)) -> bool {
        self.behind.get(&subscription).unwrap_or(&self.live).has(source, *position)
    }
}

/// A text is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no line of a cursor; remove the file to begin anew")]
pub struct CursorError {
    /// The line, from 1.
    pub line: usize,
}

impl Cursor {
    /// Whether it has no position.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As few bytes, for where a text of lines is too long: 17 for each router and about 5 for each
    /// owner.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = self.0.iter().peekable();
        while let Some(&(&Source { router, incarnation, .. }, _)) = rest.peek() {
            let of_life =
                |place: &(&Source, &u64)| (place.0.router, place.0.incarnation) == (router, incarnation);
            let mut owners = Vec::new();
            while let Some((source, &position)) = rest.next_if(of_life) {
                owners.push((u64::from(source.owner), position.min(varint::MAX)));
            }
            out.extend_from_slice(&router.0.to_be_bytes());
            out.extend_from_slice(&incarnation.0.to_be_bytes());
            varint::put(&mut out, owners.len() as u64);
            for (owner, position) in owners {
                varint::put(&mut out, owner);
                varint::put(&mut out, position);
            }
        }
        out
    }

    /// The cursor that [`Cursor::to_bytes`] gave these bytes for; `None` for others.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut cursor = Self::default();
        while !bytes.is_empty() {
            let (router, rest) = bytes.split_first_chunk()?;
            let (incarnation, rest) = rest.split_first_chunk()?;
            bytes = rest;
            let router = RouterId(u64::from_be_bytes(*router));
            let incarnation = Incarnation(u64::from_be_bytes(*incarnation));
            for _ in 0..varint::take(&mut bytes).ok()? {
                let owner = varint::take(&mut bytes).ok()?.try_into().ok()?;
                let position = varint::take(&mut bytes).ok()?;
                if cursor.0.len() == POSITIONS_MAX {
                    return None;
                }
                cursor.0.insert(Source { router, incarnation, owner }, position);
            }
        }
        Some(cursor)
    }

    /// Everything of a source below a position has come. An earlier life of the source is over
    /// then.
    pub(crate) fn pass(&mut self, source: Source, position: u64) {
        if let Some(known) = self.0.get_mut(&source) {
            *known = position.max(*known);
            return;
        }
        self.0.retain(|other, _| other.router != source.router || other.incarnation == source.incarnation);
        if self.0.len() < POSITIONS_MAX {
            self.0.insert(source, position);
        }
    }

    /// Whether what stands there has come.
    pub(super) fn has(&self, source: &Source, position: u64) -> bool {
        self.0.get(source).is_some_and(|&to| position < to)
    }

    /// Everything that another cursor says has come, too.
    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(&source, &position)| self.pass(source, position));
    }

    /// What both say: the sources that both have, with the lower position of each.
    pub(super) fn lower(mut self, other: &Self) -> Self {
        self.0.retain(|source, position| {
            let theirs = other.0.get(source);
            *position = theirs.map_or(*position, |theirs| (*position).min(*theirs));
            theirs.is_some()
        });
        self
    }

    /// The positions, as a frame has them.
    pub(crate) fn positions(&self) -> Vec<SourcePosition> {
        let place = |(source, &position): (&Source, &u64)| SourcePosition {
            router: source.router,
            incarnation: source.incarnation,
            owner: source.owner,
            position,
        };
        self.0.iter().map(place).collect()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{FIRST_LINE}")?;
        for (source, position) in &self.0 {
            let Source { router, incarnation, owner } = source;
            writeln!(out, "{:016x} {:016x} {owner} {position}", router.0, incarnation.0)?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(CursorError { line: 1 });
        }
        let mut cursor = Self::default();
        for (line, text) in (2..).zip(lines) {
            let (source, position) = place(text).ok_or(CursorError { line })?;
            cursor.0.insert(source, position);
        }
        if cursor.0.len() > POSITIONS_MAX {
            return Err(CursorError { line: POSITIONS_MAX + 1 });
        }
        Ok(cursor)
    }
}

fn place(line: &str) -> Option<(Source, u64)> {
    let mut words = line.split_ascii_whitespace();
    let router = RouterId(u64::from_str_radix(words.next()?, 16).ok()?);
    let incarnation = Incarnation(u64::from_str_radix(words.next()?, 16).ok()?);
    let (owner, position) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some((Source { router, incarnation, owner }, position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cursor_is_named_by_its_line() {
        for (text, line) in [
            ("", 1),
            ("millrace-cursor 2\n", 1),
            ("millrace-cursor 1\n1 2 3\n", 2),
            ("millrace-cursor 1\n1 2 3 4\n1 2 3 x\n", 3),
            ("millrace-cursor 1\n1 2 3 4 5\n", 2),
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError { line }), "{text:?}");
        }
    }

    #[test]
    fn a_later_life_of_a_router_takes_the_place_of_the_earlier_one() {
        let source =
            |incarnation, owner| Source { router: RouterId(1), incarnation: Incarnation(incarnation), owner };
        let mut cursor = Cursor::default();
        cursor.pass(source(1, 0), 9);
        cursor.pass(source(1, 1), 8);
        cursor.pass(source(1, 1), 3);
        assert_eq!(cursor.positions().iter().map(|place| place.position).collect::<Vec<_>>(), [9, 8]);
        cursor.pass(source(2, 0), 1);
        assert_eq!(cursor.positions().len(), 1);
    }

    #[test]
    fn bytes_read_as_they_are_written_and_nothing_else_does() {
        let mut text = format!("{FIRST_LINE}\n");
        for (router, incarnation, owner, position) in
            [(1, 7, 0, 0), (1, 7, 1, 300), (2, 9, 0, 1_u64 << 40), (u64::MAX, 0, 65535, 5)]
        {
            text.push_str(&format!("{router:016x} {incarnation:016x} {owner} {position}\n"));
        }
        let cursor: Cursor = text.parse().unwrap();
        let bytes = cursor.to_bytes();
        assert_eq!(bytes.len(), 3 * 17 + (1 + 1) + (1 + 2) + (1 + 8) + (4 + 1));
        assert_eq!(Cursor::from_bytes(&bytes), Some(cursor));
        assert_eq!(Cursor::from_bytes(&[]), Some(Cursor::default()));
        for length in (1..bytes.len()).filter(|length| ![22, 48].contains(length)) {
            assert_eq!(Cursor::from_bytes(&bytes[..length]), None, "{length}");
        }
        assert_eq!(Cursor::from_bytes(&[255; 100]), None);
    }
}
