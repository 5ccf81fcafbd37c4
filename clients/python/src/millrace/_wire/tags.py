"""Tag sets and their canonical form (docs/wire.md, section 4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from .codec import Malformed, Reader, integer, text_of

TAGS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX = 32, 128, 1_024

_KEY = re.compile(r"[A-Za-z0-9._/-]{1,128}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def canonical_of(tags: Mapping[str, str]) -> bytes:
    """The canonical form; ValueError says which tag is none, and what to do."""
    return _canonical(tuple(tags.items()))


# A publisher has few tag sets: a form that was made lately is found again.
@lru_cache(maxsize=4_096)
def _canonical(pairs: tuple[tuple[str, str], ...]) -> bytes:
    tags = dict(pairs)
    if len(tags) > TAGS_MAX:
        raise ValueError(
            f"{len(tags)} tags: an event has at most {TAGS_MAX}; put the rest into its payload"
        )
    out = [integer(len(tags))]
    for key in sorted(tags):
        if not _KEY.fullmatch(key):
            raise ValueError(f"tag key {key!r}: write 1 to {KEY_BYTES_MAX} of A-Z a-z 0-9 . _ - /")
        value = tags[key].encode()
        if len(value) > VALUE_BYTES_MAX:
            raise ValueError(
                f"tag {key}: a value has at most {VALUE_BYTES_MAX} bytes; the payload takes long text"
            )
        if _CONTROL.search(tags[key]):
            raise ValueError(
                f"tag {key}: a value has no control characters; put such text into the payload"
            )
        out += (integer(len(key)), key.encode(), integer(len(value)), value)
    return b"".join(out)


def tags_of(canonical: bytes) -> Mapping[str, str]:
    """The tags in canonical bytes; Malformed when they have another form."""
    reader, tags = Reader(canonical), {}
    for _ in range(min(reader.integer(), TAGS_MAX + 1)):
        key = text_of(reader.prefixed())
        tags[key] = text_of(reader.prefixed())
    reader.end()
    try:
        is_canonical = canonical_of(tags) == canonical
    except ValueError as error:
        raise Malformed(f"a tag set: {error}") from error
    if not is_canonical:
        raise Malformed("a tag set is not in its canonical form")
    return MappingProxyType(tags)
