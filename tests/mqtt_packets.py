"""Bytes of MQTT for scripts whose clients are sockets that write prepared bytes."""


def packet(first, *parts):
    """A control packet: its first byte, the length of the rest, the rest."""
    body, length = b"".join(parts), b""
    rest = len(body)
    while True:
        length += bytes([rest % 128 | (128 if rest > 127 else 0)])
        rest //= 128
        if not rest:
            return bytes([first]) + length + body


def text(content):
    """A string: two bytes of length in front."""
    return len(content).to_bytes(2, "big") + content
