"""How a client reaches its routers: addresses, trust, identity and time limits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aioquic.quic.configuration import QuicConfiguration

from ._session.attachment import Address, parse_levels
from ._wire.numbers import ALPN
from .errors import MillraceError

__all__ = ["Config", "ConfigError"]

# As much of one receiver's stream, and of all streams, as may be on its way: above every grant.
_STREAM_BYTES, _CONNECTION_BYTES = 4 << 20, 16 << 20
# QUIC's own limit of silence; the session notices earlier.
_IDLE_SECONDS = 30.0


class ConfigError(MillraceError, ValueError):
    """A setting cannot be used."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a client; what is None comes from the environment or is the default."""

    levels: list[list[Address]]
    """Routers; those of a further level are for when all before it are unreachable."""
    ca: Path | None = None
    """PEM file of the authorities that are trusted. None: that of a router in dev mode on this
    host.
    """
    cert: Path | None = None
    """PEM file of this client's certificate, for routers that ask for one."""
    key: Path | None = None
    """PEM file of its key."""
    token: str = field(default="", repr=False)
    """Who this client is, for routers that know it. Never logged."""
    server_name: str | None = None
    """The name that the router's certificate must have, instead of the host of its address."""
    connect_timeout: float = 5.0
    """Seconds that making one connection may take, the router's greeting included."""
    connect_within: float = 0.0
    """Seconds that `connect` goes on looking after it has tried each router once."""
    silence: float = 1.5
    """Seconds of silence after which a connection is lost on which something is expected."""
    pause_max: float = 5.0
    """Bound of the longest pause between attempts to reconnect, in seconds."""
    zone: str = ""
    """Where this client is: it prefers routers of the same zone."""
    nearest: bool = True
    """Whether a client without zones looks for the router with the shortest round trip when the
    one that it comes to is far.
    """

    @classmethod
    def of(
        cls,
        router: str | None = None,
        *,
        ca: str | os.PathLike[str] | None = None,
        cert: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        token: str | None = None,
        server_name: str | None = None,
        connect_timeout: float = 5.0,
        connect_within: float = 0.0,
        zone: str | None = None,
        nearest: bool = True,
        environment: Mapping[str, str] = os.environ,
    ) -> Config:
        """Settings, completed from the variables that the command line reads, too: MILLRACE_ROUTER,
        MILLRACE_CA, MILLRACE_CERT, MILLRACE_KEY, MILLRACE_TOKEN, MILLRACE_ZONE. ConfigError says
        what cannot be used.
        """

        def path(given: str | os.PathLike[str] | None, name: str) -> Path | None:
            found = given or environment.get(name)
            return Path(found) if found else None

        try:
            levels = parse_levels(router or environment.get("MILLRACE_ROUTER") or "127.0.0.1")
        except ValueError as error:
            raise ConfigError(str(error)) from error
        config = cls(
            levels=levels,
            ca=path(ca, "MILLRACE_CA"),
            cert=path(cert, "MILLRACE_CERT"),
            key=path(key, "MILLRACE_KEY"),
            token=(token if token is not None else environment.get("MILLRACE_TOKEN", "")).strip(),
            server_name=server_name,
            connect_timeout=connect_timeout,
            connect_within=connect_within,
            zone=zone if zone is not None else environment.get("MILLRACE_ZONE", ""),
            nearest=nearest,
        )
        if (config.cert is None) != (config.key is None):
            raise ConfigError("a certificate and its key go together: give cert= and key=, or none")
        if len(config.zone.encode()) > 256:
            raise ConfigError("a zone has at most 256 bytes")
        if len(config.token.encode()) > 4_096:
            raise ConfigError("a token has at most 4,096 bytes: give the token itself, not a file")
        for file in (config.ca, config.cert, config.key):
            if file and not os.access(file, os.R_OK):
                raise ConfigError(
                    f"cannot read {file}: give the path of a PEM file that this user may read"
                )
        return config

    def quic(self, address: Address) -> QuicConfiguration:
        """QUIC and TLS for one connection; files are read anew, because they may have been
        renewed.
        """
        host = address.host.split("%")[0].rstrip(".")
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=[ALPN],
            server_name=self.server_name or host,
            idle_timeout=_IDLE_SECONDS,
            max_stream_data=_STREAM_BYTES,
            max_data=_CONNECTION_BYTES,
        )
        try:
            configuration.load_verify_locations(cafile=str(self.ca or _dev_authority()))
            if self.cert:
                configuration.load_cert_chain(self.cert, self.key)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self.cert or self.ca}: {error}; give PEM files of a certificate and its key"
            ) from error
        return configuration


def _dev_authority() -> Path:
    """The certificate that a router in dev mode left on this host."""
    places = (("XDG_RUNTIME_DIR", "millrace"), ("HOME", ".cache/millrace"))
    candidates = [
        Path(os.environ[name], below, "dev-ca.pem")
        for name, below in places
        if os.environ.get(name)
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ConfigError(
        "no authority to trust: give ca=, or set MILLRACE_CA, or start a router in dev mode on "
        f"this host (looked for {', '.join(map(str, candidates)) or 'nothing, because HOME is not set'})"
    )
