"""One JSON line a request on standard error. What clients send is never in it: no image, file name or token."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.server.errors import LOGGER, RefusalError, refuse
from mien.server.metrics import Metrics

PATHS = ("/v1/analyze", "/v1/models", "/v1/stream", "/healthz", "/readyz", "/metrics", "/openapi.json")
"""Paths that logs and metrics name; all others are "page", because a path may be anything."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON; the fields of a request come from its `extra={"fields": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logs() -> None:
    """Send the server's logs, and the errors of the libraries below it, to standard error as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.getLogger().handlers = [handler]
    logging.getLogger().setLevel(logging.ERROR)
    LOGGER.setLevel(logging.INFO)


class RequestLog:
    """Middleware: gives every request an id, and logs and counts how it was answered.

    An exception that nobody expected is logged with its traceback and answered 500.

    Args:
        app: what answers.
        metrics: what counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a WebSocket; other scopes pass."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        started_s, answer = time.perf_counter(), _Answer(send, _request_id(scope))
        scope.setdefault("state", {})["fields"] = fields = {}
        try:
            await self.app(scope, receive, answer.send)
        except Exception:
            if answer.is_gone:
                return
            LOGGER.exception("failed", extra={"fields": {"request_id": answer.request_id}})
            if answer.status == 0:
                failed = RefusalError(
                    500, "internal", f"something went wrong; its id is {answer.request_id}."
                )
                await refuse(failed, scope, receive, answer.send)
        finally:
            self._tell(scope, answer, time.perf_counter() - started_s, fields)

    def _tell(self, scope: Scope, answer: _Answer, seconds: float, fields: dict[str, Any]) -> None:
        path = scope["path"] if scope["path"] in PATHS else "page"
        method = scope["method"] if scope.get("method") in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        method = "WEBSOCKET" if scope["type"] == "websocket" else method
        self.metrics.requests.labels(path, method, answer.status).inc()
        if method != "WEBSOCKET":  # these last as long as the client likes
            self.metrics.seconds.labels(path).observe(seconds)
        line = {
            "request_id": answer.request_id,
            "method": method,
            "path": path,
            "status": answer.status,
            "duration_ms": round(seconds * 1e3, 1),
            **fields,
        }
        LOGGER.info("request", extra={"fields": line})


class _Answer:
    """Passes an answer on, with the request's id among its headers.

    Attributes:
        status: of HTTP; 0 until the answer begins.
        is_gone: whether the client went away before it had its answer.
    """

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self.request_id, self.status, self.is_gone = send, request_id, 0, False

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
            self.status = message.get("status", 101)
            MutableHeaders(scope=message).append("X-Request-ID", self.request_id)
        try:
            await self._send(message)
        except OSError:
            self.is_gone = True
            raise


def _request_id(scope: Scope) -> str:
    """The client's own when it is short and plain, or else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
