"""A small HTTP server that keeps silent, breaks off or hangs, as a test wants it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def serving(
    body: bytes,
    *,
    status: str = "200 OK",
    length: int | None = -1,
    send: int | None = None,
    hang: bool = False,
    answer: bool = True,
) -> Iterator[str]:
    """Serve every connection the same.

    Args:
        body: of the answer.
        status: of the answer.
        length: that the header names; -1 the body's; None for none.
        send: bytes of the body to send before the connection is closed; None for all.
        hang: keep the connection open behind the body, in silence.
        answer: whether to answer at all.

    Yields:
        host and port.
    """
    listener, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()
    connections: list[socket.socket] = []

    def serve() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    def handle(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if not answer:
                ended.wait()
            connection.recv(4096)
            declared = len(body) if length == -1 else length
            header = "" if declared is None else f"Content-Length: {declared}\r\n"
            connection.sendall(f"HTTP/1.0 {status}\r\n{header}\r\n".encode() + body[:send])
            if hang:
                ended.wait()
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield "{}:{}".format(*listener.getsockname())
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in connections:
            connection.close()
