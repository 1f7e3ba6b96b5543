"""An S3 server on the loopback, with an empty bucket."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest

BUCKET = "archive"


@contextlib.contextmanager
def s3_server() -> Iterator[Any]:
    """Start it, and set the environment that S3's clients look at; yields a `pyarrow.fs.S3FileSystem`."""
    server_of = pytest.importorskip("moto.server", reason="moto[s3,server] is not installed")
    fs = pytest.importorskip("pyarrow.fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    secrets = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**secrets, "AWS_ENDPOINT_URL": endpoint}.items():
                patch.setenv(name, value)
            urlopen(f"{endpoint}/moto-api/reset", data=b"").close()  # what it holds is the process's
            client = fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True)
            client.create_dir(BUCKET)
            yield client
    finally:
        server.stop()
