"""Where a server listens: [HOST:]PORT."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple

from ..errors import MediaError

LOCALHOST = "127.0.0.1"

_QUEUE_BYTES = 1 << 18  # that wait for a client, so that none is shown what is long past
_PATIENCE_MS = 20_000  # with a client that takes nothing, such as a telephone that has left

_PATTERN = re.compile(r"(?:(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]/\s]+)):)?(\d{1,5})")


class Address(NamedTuple):
    """A host's name or number, and a port; 0 means any that is free."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether nobody can get there from another machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """What to open in a browser on this machine."""
        host = {"0.0.0.0": LOCALHOST, "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


def parse_address(text: str) -> Address:
    """Read [HOST:]PORT, localhost by default; raises ValueError."""
    match = _PATTERN.fullmatch(text)
    if not match or int(match[3]) > 65535:
        raise ValueError(f"expected [HOST:]PORT, such as 8080 or 0.0.0.0:8080, got {text!r}")
    return Address(match[1] or match[2] or LOCALHOST, int(match[3]))


def listening_socket(address: Address) -> socket.socket:
    """A socket that listens there; raises MediaError."""
    name = f"[HOST:]PORT {address.host}:{address.port}"
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise MediaError(f"{name}: expected a name or number of this machine: {error.strerror}") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Those who connect inherit both.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _QUEUE_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PATIENCE_MS)
    try:
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise MediaError(f"{name}: cannot listen there: {error.strerror}; choose another port") from error
    return listener
