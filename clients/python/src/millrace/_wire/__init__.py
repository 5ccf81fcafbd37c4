"""The bytes of Millrace, without I/O: integers, frames, tags and runs of docs/wire.md."""
