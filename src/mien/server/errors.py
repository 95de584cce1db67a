"""HTTP errors: `HTTPProblem`, its JSON body (RFC 9457), and the conversion of mien's other errors to it."""

from __future__ import annotations

import logging
from http import HTTPStatus

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from mien.errors import ImageTooLargeError, InputError, MienError
from mien.server.settings import flag

LOGGER = logging.getLogger("mien.server")
MEDIA_TYPE = "application/problem+json"


class HTTPProblem(MienError):  # noqa: N818 - named after RFC 9457
    """An error response: problem details with a `code`, and both under `error` as in the result of an image.

    Args:
        status: HTTP status, 4xx or 5xx.
        code: stable identifier, for programs.
        message: what is wrong and what to do, for people.
        retry_after_s: value of the Retry-After header, in whole seconds; None omits it.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s

    def to_response(self) -> JSONResponse:
        """Return the HTTP response."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="mien"'
        body = {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": str(self),
            "code": self.code,
            "error": {"code": self.code, "message": str(self)},
        }
        return JSONResponse(body, status_code=self.status, headers=headers, media_type=MEDIA_TYPE)


async def send_problem(problem: HTTPProblem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an HTTP request or a WebSocket handshake with an error."""
    response = problem.to_response()
    if scope["type"] != "websocket":
        await response(scope, receive, send)
        return
    headers = response.raw_headers
    await send({"type": "websocket.http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": response.body})


def to_problem(error: MienError) -> HTTPProblem:
    """Convert an error to an HTTP response: 4xx for invalid input; otherwise 500, and the error is logged."""
    if isinstance(error, HTTPProblem):
        return error
    if isinstance(error, ImageTooLargeError):
        return HTTPProblem(422, error.code, f"{error} {flag('max_pixels')} sets it.")
    if isinstance(error, InputError):
        return HTTPProblem(422, error.code, str(error))
    LOGGER.error("model failed", exc_info=error)
    return HTTPProblem(500, error.code, "the model failed; see the server's log for details.")


def shutting_down() -> HTTPProblem:
    """Return the error for requests that arrive during shutdown."""
    return HTTPProblem(503, "ending", "the server is shutting down; try again later.", retry_after_s=5)
