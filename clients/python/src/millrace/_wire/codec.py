"""Integers, fields and frames (docs/wire.md, section 2)."""

from __future__ import annotations

from collections.abc import Iterator

INTEGER_MAX = 2**62 - 1
CONTROL_FRAME_BYTES_MAX = 65_536
DATA_FRAME_BYTES_MAX = 1_110_417

_SIZES = ((1, 6), (2, 14), (4, 30), (8, 62))


class Malformed(Exception):
    """Bytes that no router sends; `code` is what the connection is closed with."""

    def __init__(self, message: str, code: int = 0x02) -> None:
        super().__init__(message)
        self.code = code


def integer(value: int) -> bytes:
    """An integer in its shortest form."""
    if 0 <= value < 64:
        return bytes((value,))
    for power, (size, bits) in enumerate(_SIZES):
        if 0 <= value < 1 << bits:
            return (value | power << (size * 8 - 2)).to_bytes(size, "big")
    raise ValueError(f"{value} does not fit into 62 bits")


def _peek(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """The integer at `at` and where it ends; None when bytes are missing."""
    if at >= len(data):
        return None
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        return None
    if size == 1:
        return data[at], at + 1
    return int.from_bytes(data[at : at + size], "big") & ((1 << (size * 8 - 2)) - 1), at + size


class Reader:
    """Takes values off the front of some bytes; what is missing is Malformed."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def integer(self) -> int:
        found = _peek(self._data, self._at)
        if found is None:
            raise Malformed("bytes are missing")
        value, self._at = found
        return value

    def take(self, size: int) -> bytes:
        start = self._at
        if start + size > len(self._data):
            raise Malformed("bytes are missing")
        self._at = start + size
        return self._data[start : self._at]

    def prefixed(self) -> bytes:
        """As many bytes as the integer before them says."""
        return self.take(self.integer())

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def is_done(self) -> bool:
        return self._at == len(self._data)

    def end(self) -> None:
        """Nothing may follow."""
        if not self.is_done():
            raise Malformed("bytes are left over")


def field(number: int, value: int | str | bytes) -> bytes:
    """One field."""
    if isinstance(value, int):
        value = integer(value)
    elif isinstance(value, str):
        value = value.encode()
    return integer(number) + integer(len(value)) + value


def fixed64(value: int) -> bytes:
    """The value of a field that names a router or one of its lives."""
    return value.to_bytes(8, "big")


class Fields:
    """The fields of a body, by number. What is absent is 0, empty or false."""

    __slots__ = ("_values",)

    def __init__(self, body: bytes) -> None:
        self._values: dict[int, list[bytes]] = {}
        reader = Reader(body)
        while not reader.is_done():
            self._values.setdefault(reader.integer(), []).append(reader.prefixed())

    def all(self, number: int) -> list[bytes]:
        return self._values.get(number, [])

    def octets(self, number: int) -> bytes:
        values = self._values.get(number)
        return values[-1] if values else b""

    def has(self, number: int) -> bool:
        return number in self._values

    def number(self, number: int, default: int = 0) -> int:
        values = self._values.get(number)
        return integer_of(values[-1]) if values else default

    def numbers(self, number: int) -> list[int]:
        return [integer_of(value) for value in self.all(number)]

    def fixed64(self, number: int) -> int:
        value = self.octets(number)
        if len(value) not in (0, 8):
            raise Malformed("a router's name has 8 bytes")
        return int.from_bytes(value, "big")

    def text(self, number: int) -> str:
        return text_of(self.octets(number))

    def texts(self, number: int) -> list[str]:
        return [text_of(value) for value in self.all(number)]


def integer_of(value: bytes) -> int:
    """Bytes that are one integer."""
    reader = Reader(value)
    number = reader.integer()
    reader.end()
    return number


def text_of(value: bytes) -> str:
    """Bytes that are text."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"a text is not UTF-8: {error}") from error


def frame(kind: int, body: bytes = b"") -> bytes:
    """One frame."""
    return integer(kind) + integer(len(body)) + body


class FrameReader:
    """Cuts a stream that arrives in pieces into frames, none larger than `body_max`."""

    __slots__ = ("_body_max", "_partial")

    def __init__(self, body_max: int) -> None:
        self._body_max, self._partial = body_max, bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes, int]]:
        """Yields type, body and size on the wire of every frame that is complete."""
        partial = self._partial
        partial += data
        start = 0
        try:
            while True:
                kind = _peek(partial, start)
                length = kind and _peek(partial, kind[1])
                if kind is None or length is None:
                    return
                size, body = length
                if size > self._body_max:
                    raise Malformed(f"a frame of {size} bytes exceeds {self._body_max}", 0x03)
                if body + size > len(partial):
                    return
                begun, start = start, body + size
                yield kind[0], bytes(partial[body:start]), start - begun
        finally:
            del partial[:start]


def skip_unknown(kind: int) -> None:
    """A frame of unknown type: odd ones may be skipped, even ones not."""
    if kind % 2 == 0:
        raise Malformed(f"a frame of unknown type {kind:#x}", 0x04)
