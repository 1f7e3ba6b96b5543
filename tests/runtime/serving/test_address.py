"""[HOST:]PORT, and what listening there says."""

from __future__ import annotations

import socket

import pytest

from fcnrt.errors import MediaError
from fcnrt.serving.address import Address, listening_socket, parse_address


@pytest.mark.parametrize(
    ("text", "address", "local", "url"),
    [
        ("8080", Address("127.0.0.1", 8080), True, "http://127.0.0.1:8080/"),
        ("localhost:80", Address("localhost", 80), True, "http://localhost:80/"),
        ("0.0.0.0:8080", Address("0.0.0.0", 8080), False, "http://127.0.0.1:8080/"),
        ("[::]:8080", Address("::", 8080), False, "http://[::1]:8080/"),
        ("[::1]:0", Address("::1", 0), True, "http://[::1]:0/"),
        ("camera-box.lan:65535", Address("camera-box.lan", 65535), False, "http://camera-box.lan:65535/"),
    ],
)
def test_addresses(text: str, address: Address, local: bool, url: str) -> None:
    assert parse_address(text) == address and address.is_local is local and address.url == url


@pytest.mark.parametrize("text", ["", "http", "65536", "host:", ":80", "::1:80", "a b:80", "http://host:80", "-1"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected \[HOST:\]PORT, such as 8080 or 0\.0\.0\.0:8080, got"):
        parse_address(text)


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MediaError, match=f"127.0.0.1:{port}: cannot listen there: Address already in use; choose"):
            listening_socket(Address("127.0.0.1", port))


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_this_one_is_told_in_one_line(host: str) -> None:
    with pytest.raises(MediaError, match=rf"{host}:8080: "):
        listening_socket(Address(host, 8080))
