"""What can go wrong. Every message says the cause, and what to do next."""

from __future__ import annotations

__all__ = ["Closed", "ConnectError", "Disconnected", "MillraceError", "Refused"]

_AFTER_CLOSE = {
    "version": "update this package or the router, so that both speak one version",
    "forbidden": "show a certificate or token that the router knows, or give this identity rights",
    "busy": "try again later, or another router",
    "limit": "this is a defect of the client: please report it with the router's log",
    "malformed": "this is a defect of the client: please report it with the router's log",
    "unexpected": "this is a defect of the client: please report it with the router's log",
    "overflow": "take events faster, widen queue_bytes, or use the policy drop-oldest",
    "replaced": "connect again with the credentials that are valid now",
}
_AFTER_REFUSAL = {
    "selector": "correct the selector at the column that the message names",
    "limit": "use fewer or shorter selectors, or fewer receivers on one client",
    "forbidden": "ask for a narrower selector, or allow this identity more at the router",
    "unsupported": "update the router, or leave the option out",
    "pattern": "make the payload pattern simpler, or bind it to tags",
    "busy": "ask later, or at another router",
    "history": "start the router with --history-bytes, or leave out since= and cursor=",
    "name": "choose another name",
}


class MillraceError(Exception):
    """What all errors of this package are."""


class ConnectError(MillraceError):
    """No router could be reached. `tried` says what happened at each address."""

    def __init__(self, tried: list[str]) -> None:
        super().__init__("no router was reached: " + ("; ".join(tried) or "no address is given"))
        self.tried = tried


class Disconnected(MillraceError):
    """A connection ended. `code` is the router's word for the reason, or "lost"."""

    def __init__(self, code: str, detail: str = "") -> None:
        said = f"{code} ({detail})" if detail else code
        hint = _AFTER_CLOSE.get(code)
        super().__init__(f"the router closed the connection: {said}; {hint}" if hint else said)
        self.code = code


class Closed(MillraceError):
    """The client is closed: by the application, or because its last attempt cannot succeed."""


class Refused(MillraceError):
    """The router refused a receiver or its selectors. `reason` is one of the words of
    docs/wire.md.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        said = f"{reason} ({detail})" if detail else reason
        hint = _AFTER_REFUSAL.get(reason, "see the router's log")
        super().__init__(f"the router refused the receiver: {said}; {hint}")
        self.reason = reason
