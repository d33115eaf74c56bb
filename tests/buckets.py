"""An S3 server for a test, on this machine and with nothing in it but an empty bucket."""

import logging
import os
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager

import obstore
import pytest
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

BUCKET = "cells"


@contextmanager
def bucket(patch: pytest.MonkeyPatch) -> Generator[str]:
    """Run the server; the usual variables name it, and the address of a place in the bucket is given."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        told = {"ENDPOINT_URL": f"http://{host}:{port}", "ACCESS_KEY_ID": "ada", "SECRET_ACCESS_KEY": "lovelace"}
        for name, value in {**told, "DEFAULT_REGION": "us-east-1"}.items():
            patch.setenv(f"AWS_{name}", value)
        # The servers of one process share what they hold.
        _ask(f"http://{host}:{port}/moto-api/reset", "POST")
        _ask(f"http://{host}:{port}/{BUCKET}", "PUT")
        yield f"s3://{BUCKET}/table/one"
    finally:
        server.stop()


def contents() -> dict[str, int]:
    """Everything in the bucket, and its bytes."""
    return {one["path"]: one["size"] for some in obstore.list(_opened()) for one in some}


def spoil(key: str, content: bytes) -> None:
    """Write something else over what is in the bucket."""
    obstore.put(_opened(), key, content)


def lose(key: str) -> None:
    """Take something out of the bucket."""
    obstore.delete(_opened(), key)


def _opened() -> S3Store:
    return S3Store(BUCKET, client_options={"allow_http": True})


def _ask(address: str, method: str) -> None:
    asks = {"Authorization": "AWS4-HMAC-SHA256 Credential=ada/20260501/us-east-1/s3/aws4_request"}
    with urllib.request.urlopen(urllib.request.Request(address, method=method, headers=asks)):
        pass
