"""HTTP methods: HEAD requests, and the answers to OPTIONS and to methods that a path does not have."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.server.errors import HTTPProblem
from mien.server.logs import PATHS


class HeadRequests:
    """Middleware that answers HEAD as GET without the body; FastAPI would answer 405."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a HEAD request of the API as GET; forward others as they are."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"] not in PATHS:
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self.app({**scope, "method": "GET"}, receive, send_without_body)


def method_problem(method: str, allowed: str) -> Response:
    """Return the methods of a path for OPTIONS, and a 405 for other methods that it does not have."""
    methods = {name.strip() for name in allowed.split(",")}
    methods |= {"OPTIONS", "HEAD"} if "GET" in methods else {"OPTIONS"}
    headers = {"Allow": ", ".join(sorted(methods))}
    if method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    message = f"{method[:16]} is not possible here; use {allowed}."
    response = HTTPProblem(405, "method", message).to_response()
    response.headers.update(headers)
    return response
