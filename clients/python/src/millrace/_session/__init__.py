"""Everything that a client decides, without I/O: bytes and times go in, bytes and items come out."""
