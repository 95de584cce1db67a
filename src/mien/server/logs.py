"""Request log: one line per request on standard error, text or JSON, without images, file names or tokens."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.server.errors import LOGGER, HTTPProblem, send_problem
from mien.server.metrics import Metrics
from mien.server.settings import LogFormat

PATHS = ("/v1/analyze", "/v1/models", "/v1/stream", "/healthz", "/readyz", "/metrics", "/openapi.json")
"""Paths that appear in logs and metrics; all others are logged as "page", because clients choose them freely."""
METHODS = ("GET", "HEAD", "POST", "OPTIONS")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class JsonFormatter(logging.Formatter):
    """Formatter of log records as JSON lines; `extra={"fields": ...}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Formatter of log records for people: time, level if it is not info, event and fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the lines of a traceback."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f" {record.levelname}"
        fields = dict(getattr(record, "fields", {}))
        if record.getMessage() == "request":
            event = "{method} {path} {status}, {duration_ms} ms".format(**fields)
            fields = {name: value for name, value in fields.items() if name in ("images", "request_id")}
        else:
            event = record.getMessage().strip()
        line = " ".join([f"{time}{level} {event}", *(f"{name}={value}" for name, value in fields.items())])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logs(log_format: LogFormat = "auto") -> None:
    """Log the server's events, and errors of libraries, to standard error."""
    handler = logging.StreamHandler()
    is_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    logging.getLogger().handlers = [handler]
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(_is_fault)
    LOGGER.setLevel(logging.INFO)


def _is_fault(record: logging.LogRecord) -> bool:
    """Return False for tracebacks that uvicorn logs without a fault of the server.

    It logs one for every WebSocket message that is not UTF-8, a client's mistake, and when a second Ctrl-C ends it.
    """
    return not any(text in record.getMessage() for text in ("Invalid UTF-8", "asyncio.exceptions.CancelledError"))


class RequestLog:
    """Middleware that assigns request ids, logs and counts responses, and answers unexpected exceptions with 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an HTTP request or a WebSocket; forward other scopes."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        started_s = time.perf_counter()
        # the client's id if it is short and plain
        request_id = Headers(scope=scope).get("x-request-id", "")
        response = _Response(send, request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex)
        fields = scope.setdefault("state", {})["fields"] = {}
        try:
            await self.app(scope, receive, response.send)
        except Exception:
            if response.is_disconnected:
                return
            LOGGER.exception("failed", extra={"fields": {"request_id": response.request_id}})
            if response.status == 0:
                message = f"internal error; the server's log has it under the id {response.request_id}."
                await send_problem(HTTPProblem(500, "internal", message), scope, receive, response.send)
        finally:
            self._record(scope, response, time.perf_counter() - started_s, fields)

    def _record(self, scope: Scope, response: _Response, seconds: float, fields: dict[str, Any]) -> None:
        path = scope["path"] if scope["path"] in PATHS else "page"
        if scope["type"] == "websocket":
            method = "WEBSOCKET"
        else:
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.seconds.labels(path).observe(seconds)
        self.metrics.requests.labels(path, method, response.status).inc()
        line = {
            "request_id": response.request_id,
            "method": method,
            "path": path,
            "status": response.status,
            "duration_ms": round(seconds * 1e3, 1),
            **fields,
        }
        LOGGER.info("request", extra={"fields": line})


class _Response:
    """State of a response; adds the request id to its headers.

    Attributes:
        status: HTTP status; 0 until the response starts.
        is_disconnected: whether the client disconnected before the response was complete.
    """

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0
        self.is_disconnected = False

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
            self.status = message.get("status", 101)
            MutableHeaders(scope=message).append("X-Request-ID", self.request_id)
        try:
            await self._send(message)
        except OSError:
            self.is_disconnected = True
            raise
