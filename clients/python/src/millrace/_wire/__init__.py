"""The bytes of Millrace, without I/O: what docs/wire.md says about integers, frames, tags and runs."""
