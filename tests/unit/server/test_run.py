"""Listening socket, and the names of uvicorn that the server depends on."""

from __future__ import annotations

import asyncio
import inspect
import socket

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from mien.errors import InputError
from mien.server.run import _bind

METHODS = {
    uvicorn.Server: ("handle_exit", "startup"),
    H11Protocol: ("data_received", "on_response_complete", "send_400_response"),
    WebSocketsSansIOProtocol: ("data_received", "send"),
}
"""Methods that the server overrides."""
ATTRIBUTES = {
    uvicorn.Server: ("config", "force_exit", "server_state", "should_exit"),
    H11Protocol: ("config", "conn", "connections", "cycle", "transport"),
    WebSocketsSansIOProtocol: ("config", "handshake_complete", "handshake_initiated", "transport"),
}
"""Instance attributes that the server uses."""


def _parameters(method):
    return list(inspect.signature(method).parameters)


@pytest.mark.parametrize("owner", METHODS)
def test_uvicorn_has_every_name_that_the_server_depends_on(owner):
    async def create():
        config = uvicorn.Config(app=lambda: None, timeout_graceful_shutdown=1)
        state = {} if owner is uvicorn.Server else {"server_state": ServerState(), "app_state": {}}
        return owner(config=config, **state)

    instance = asyncio.run(create())
    names = METHODS[owner] + ATTRIBUTES[owner]
    missing = [name for name in names if not hasattr(instance, name)]
    assert not missing, (
        f"uvicorn {uvicorn.__version__} has no {', '.join(missing)} in {owner.__name__}: adapt "
        "mien.server.run and mien.server.connections, and the upper bound of uvicorn in pyproject.toml"
    )


def test_uvicorn_methods_have_the_expected_parameters():
    assert _parameters(uvicorn.Server.handle_exit) == ["self", "sig", "frame"]
    assert _parameters(uvicorn.Server.startup) == ["self", "sockets"]
    assert _parameters(WebSocketsSansIOProtocol.send) == ["self", "message"]
    assert _parameters(H11Protocol.send_400_response) == ["self", "msg"]
    assert _parameters(H11Protocol.on_response_complete) == ["self"]


def test_uvicorn_request_cycle_can_be_disconnected():
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    source = inspect.getsource(RequestResponseCycle.__init__)
    assert "self.disconnected" in source
    assert "self.message_event" in source


def test_accepted_connections_send_without_delay():
    """Nagle's algorithm together with delayed acknowledgments added 40 ms to every response."""

    async def has_no_delay() -> bool:
        accepted: asyncio.Future[asyncio.BaseTransport] = asyncio.get_running_loop().create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                accepted.set_result(transport)

        with _bind("127.0.0.1", 0) as bound:
            async with await asyncio.get_running_loop().create_server(Protocol, sock=bound):
                _, writer = await asyncio.open_connection(*bound.getsockname())
                transport = await accepted
                connection = transport.get_extra_info("socket")
                option = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                transport.close()
                writer.close()
        return option != 0

    assert asyncio.run(has_no_delay())


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_address_may_have_brackets(host):
    try:
        with _bind(host, 0) as bound:
            assert bound.getsockname()[0] == "::1"
    except InputError as error:
        if "assign requested address" in str(error) or "not supported" in str(error):
            pytest.skip("this machine has no IPv6")
        raise


@pytest.mark.parametrize("host", ["", " ", "a..b", "a" * 80, "256.1.1.1", "\0"], ids=range(6))
def test_unusable_host_is_reported(host):
    # an empty host would listen on every address
    with pytest.raises(InputError, match="host"):
        _bind(host, 0)
