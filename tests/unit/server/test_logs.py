"""Formats of the request log."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from mien.server.logs import JsonFormatter, TextFormatter, configure_logs

FIELDS = {"request_id": "a1", "method": "POST", "path": "/v1/analyze", "status": 200, "duration_ms": 45.1, "images": 2}


def record(event, level=logging.INFO, **fields):
    made = logging.LogRecord("mien.server", level, "", 0, event, (), None)
    made.fields = fields
    return made


def test_text_is_one_readable_line_per_request():
    line = TextFormatter().format(record("request", **FIELDS))
    time, _, rest = line.partition(" ")
    assert len(time.split(":")) == 3
    assert rest == "POST /v1/analyze 200, 45.1 ms request_id=a1 images=2"
    assert TextFormatter().format(record("no token", logging.WARNING)).endswith(" WARNING no token")


def test_text_has_the_traceback_of_an_exception():
    try:
        raise ValueError("broken")
    except ValueError:
        failed = record("failed", logging.ERROR, request_id="a1")
        failed.exc_info = sys.exc_info()
    first, *rest = TextFormatter().format(failed).splitlines()
    assert first.endswith("ERROR failed request_id=a1")
    assert rest[-1] == "ValueError: broken"


def test_json_has_all_fields():
    assert json.loads(JsonFormatter().format(record("request", **FIELDS))).items() >= FIELDS.items()


@pytest.fixture
def keep_logging():
    root, filters = logging.getLogger(), list(logging.getLogger("uvicorn.error").filters)
    handlers, level, own = root.handlers, root.level, logging.getLogger("mien.server").level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("mien.server").setLevel(own)
    logging.getLogger("uvicorn.error").filters = filters


@pytest.mark.parametrize(
    ("log_format", "is_terminal", "formatter"),
    [
        ("auto", True, TextFormatter),
        ("auto", False, JsonFormatter),
        ("text", False, TextFormatter),
        ("json", True, JsonFormatter),
    ],
)
def test_format_depends_on_the_terminal_and_the_option(keep_logging, monkeypatch, log_format, is_terminal, formatter):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    configure_logs(log_format)
    [handler] = logging.getLogger().handlers
    assert type(handler.formatter) is formatter
