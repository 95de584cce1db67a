from pathlib import Path

import pytest

from abuse_made import serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`mien serve` in a process of its own, whose memory can be read."""
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(autouse=True)
def still_serves(server):
    """After every test the server answers, and has not grown."""
    with server.staying_well():
        yield
