"""What the server says when it does not do as asked: one JSON shape for every error."""

from __future__ import annotations

import logging

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from mien.errors import ImageReadError, InputError, MienError, UnknownModelError

LOGGER = logging.getLogger("mien.server")


class RefusalError(MienError):
    """A request that is not answered with a result.

    Args:
        status: of HTTP, 4xx or 5xx.
        code: stable, for programs.
        message: what was wrong and what to do, for people.
        retry_after_s: when to try again, in whole seconds; None: trying again is no use.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_s = status, code, retry_after_s

    def to_dict(self) -> dict[str, dict[str, str]]:
        """The body of the answer."""
        return {"error": {"code": self.code, "message": str(self)}}

    def to_response(self) -> JSONResponse:
        """The answer."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="mien"'
        return JSONResponse(self.to_dict(), status_code=self.status, headers=headers)


async def refuse(refusal: RefusalError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or the opening of a WebSocket, with a refusal."""
    response = refusal.to_response()
    if scope["type"] != "websocket":
        await response(scope, receive, send)
        return
    headers = response.raw_headers
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": response.body})


def as_refusal(error: MienError) -> RefusalError:
    """The HTTP answer to an error of mien's own: the caller's fault where it is one, else it is logged."""
    if isinstance(error, RefusalError):
        return error
    if isinstance(error, UnknownModelError):
        return RefusalError(404, error.code, str(error))
    if isinstance(error, ImageReadError | InputError):
        return RefusalError(422, error.code, str(error))
    LOGGER.error("model failed", exc_info=error)
    return RefusalError(500, error.code, "the model failed; the server's log says more.")
