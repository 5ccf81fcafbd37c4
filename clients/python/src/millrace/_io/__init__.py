"""Sockets and tasks: QUIC connections, sessions on them, and the search for a router."""
