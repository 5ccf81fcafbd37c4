"""Everything that a client decides, without I/O: bytes go in, bytes and items come out."""
