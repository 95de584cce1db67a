"""The socket that a server listens on."""

from __future__ import annotations

import asyncio
import socket

from mien.server.run import _bind


def test_answers_do_not_wait_for_the_client_to_confirm_their_headers():
    """Nagle's algorithm with a client's delayed confirmation cost every answer 40 ms."""

    async def is_undelayed() -> bool:
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

    assert asyncio.run(is_undelayed())
