"""A real S3 server for these tests, and the proxy that makes it worse than it is."""

from collections.abc import Iterator

import pytest

from ...s3_server import FaultyProxy, running_server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of the server."""
    with running_server(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.fixture
def proxy(s3: str) -> Iterator[FaultyProxy]:
    """In front of it; passes everything on until it is told otherwise."""
    proxy = FaultyProxy(s3)
    yield proxy
    proxy.close()
