"""Whether a Ray cluster can be behind an address, asked before Ray is, which would wait for a minute and more."""

from __future__ import annotations

import os
import socket
import time

_PATIENCE_S = 5.0
# What both sides of HTTP/2, and so of gRPC, begin with (RFC 9113, 3.4 and 4.1).
_SETTINGS = 4
_HEAD_BYTES = 9
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))


def knock(address: str) -> None:
    """Look whether a server of gRPC listens at HOST:PORT; other names that Ray knows are left to it.

    Raises:
        ValueError: it is no such address.
        OSError: nobody listens there, or something that is not Ray.
    """
    host, _, port = address.rpartition(":")
    if "/" in host or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"got {address}")
    with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0") in ("", "0"):  # else it speaks first to who has its certificate
            _expect_settings(connection)


def _expect_settings(connection: socket.socket) -> None:
    try:
        connection.sendall(_PREFACE)
        head = _received(connection)
    except TimeoutError:
        raise OSError(f"what listens there is silent for {_PATIENCE_S:g} s") from None
    except OSError:  # hung up
        head = b""
    if len(head) < _HEAD_BYTES or head[3] != _SETTINGS:
        raise OSError("what listens there is not Ray")


def _received(connection: socket.socket) -> bytes:
    """The head of the first frame, as far as it comes in time."""
    deadline, head = time.monotonic() + _PATIENCE_S, b""
    while len(head) < _HEAD_BYTES:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        piece = connection.recv(_HEAD_BYTES - len(head))
        if not piece:
            break
        head += piece
    return head
