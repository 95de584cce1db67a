"""Live analysis over WebSocket connections; each connection is one video source with tracked faces."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette import status
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from mien.errors import InputError, MienError
from mien.geometry import bbox_area
from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.server.errors import HTTPProblem, to_problem
from mien.server.metrics import Metrics
from mien.server.model_pool import ModelPool, Selection
from mien.server.parameters import StreamParameters, parse
from mien.server.settings import ServerSettings, flag, left_out_note
from mien.server.workers import Workers
from mien.video.follower import FaceFollower
from mien.video.io.sources import DecodedFrame

PROTOCOL = "mien.v1"
_FAILED = (status.WS_1011_INTERNAL_ERROR, "internal error; see the server's log")
MAX_UNSENT = 64
"""Maximum number of queued answers; above it no messages are received."""


class Streams:
    """All WebSocket connections of a server; their images are analyzed before those of HTTP requests."""

    def __init__(self, settings: ServerSettings, pool: ModelPool, workers: Workers, metrics: Metrics) -> None:
        self._settings = settings
        self._pool = pool
        self._workers = workers
        self._metrics = metrics
        self._open: set[_Stream] = set()
        metrics.streams.set_function(lambda: len(self._open))

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection until either side closes it; errors of the client are answered in the protocol."""
        stream = _Stream(websocket, self._settings, self._workers, self._metrics)
        try:
            model, options = self._check(websocket)
            # before the first await, so that the limit counts this connection
            self._open.add(stream)
            analyzer = await self._workers.run(lambda: self._pool.analyzer(model).with_options(**vars(options)))
            await stream.serve(model, analyzer, PROTOCOL if websocket.scope.get("subprotocols") else None)
        except MienError as error:
            await websocket.send_denial_response(to_problem(error).to_response())
        finally:
            self._open.discard(stream)

    def _check(self, websocket: WebSocket) -> Selection:
        """Return the requested model and options, or raise a MienError when the connection is refused."""
        offers = websocket.scope.get("subprotocols")
        if offers and PROTOCOL not in offers:
            raise HTTPProblem(400, "protocol", f"unsupported subprotocol; offer {PROTOCOL}.")
        if len(self._open) >= self._settings.max_streams:
            message = f"{len(self._open)} streams are already open ({flag('max_streams')}); try again later."
            raise HTTPProblem(503, "busy", message, retry_after_s=10)
        return self._pool.resolve(parse(websocket.query_params.multi_items(), StreamParameters))

    async def close(self) -> None:
        """Close every connection once its current image is answered."""
        while self._open:
            for stream in self._open:
                stream.end(status.WS_1001_GOING_AWAY, "the server is shutting down")
            await asyncio.sleep(0.02)


@dataclass(frozen=True)
class _Frame:
    """An encoded image; `timestamp_s` is None when the client did not send one."""

    index: int
    timestamp_s: float | None
    arrived_s: float
    data: bytes


class _Stream:
    """One connection: a task receives messages, one analyzes the newest image, and one sends the answers."""

    def __init__(self, websocket: WebSocket, settings: ServerSettings, workers: Workers, metrics: Metrics) -> None:
        self._websocket = websocket
        self._settings = settings
        self._workers = workers
        self._metrics = metrics
        self._answers: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._has_work = asyncio.Event()
        self._lock = threading.Lock()
        self._pending: _Frame | None = None
        self._timestamp_s: float | None = None
        self._frame_count = 0
        self._resets = 0
        self._is_ending = False
        self._close: tuple[int, str] = (status.WS_1000_NORMAL_CLOSURE, "")

    def end(self, code: int, reason: str = "") -> None:
        """Stop accepting images, answer the current one, and close with a code and a reason."""
        self._close = (code, reason)
        self._is_ending = True
        self._has_work.set()

    async def serve(self, model: str, analyzer: Analyzer, subprotocol: str | None) -> None:
        """Accept the connection and serve it until it ends."""
        await self._websocket.accept(subprotocol=subprotocol)
        manifest = analyzer.manifest
        ready = {"model": model, "labels": list(manifest.labels), "version": manifest.version}
        self._answers.put_nowait({"type": "ready", **ready})
        receiver = asyncio.create_task(self._receive())
        worker = asyncio.create_task(self._analyze(analyzer))
        sender = asyncio.create_task(self._send())
        # the worker finishes after `end`; the sender, when the client disconnects or stops reading
        await asyncio.wait([worker, sender], return_when=asyncio.FIRST_COMPLETED)
        self._answers.put_nowait(None)
        await sender
        for task in (receiver, worker):
            task.cancel()
        outcomes = await asyncio.gather(receiver, worker, return_exceptions=True)
        failure = next((outcome for outcome in outcomes if isinstance(outcome, Exception)), None)
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect, RuntimeError):
                await self._websocket.close(*(self._close if failure is None else _FAILED))
        if failure is not None:
            raise failure

    async def _receive(self) -> None:
        """Receive messages until the client disconnects or the idle timeout expires."""
        while True:
            if self._answers.qsize() >= MAX_UNSENT:
                await self._answers.join()
            while self._resets >= MAX_UNSENT:
                await asyncio.sleep(0.02)
            try:
                async with asyncio.timeout(self._settings.stream_idle_s):
                    message = await self._websocket.receive()
            except TimeoutError:
                reason = f"no message for {self._settings.stream_idle_s:g} s ({flag('stream_idle_s')})"
                return self.end(status.WS_1008_POLICY_VIOLATION, reason)
            if message["type"] == "websocket.disconnect":
                return self.end(status.WS_1000_NORMAL_CLOSURE)
            if (data := message.get("bytes")) is not None:
                self._on_image(data)
            else:
                self._on_text(message["text"])

    def _on_image(self, data: bytes) -> None:
        self._replace_pending(_Frame(self._frame_count, self._timestamp_s, time.monotonic(), data))
        self._frame_count += 1
        self._timestamp_s = None
        self._has_work.set()

    def _on_text(self, text: str) -> None:
        try:
            message = _parse(text)
        except InputError as error:
            self._answers.put_nowait({"type": "error", "code": "message", "message": str(error)})
            return
        if isinstance(message, _Timestamp):
            self._timestamp_s = message.timestamp_s
            return
        with self._lock:
            self._resets += 1
        self._timestamp_s = None
        self._replace_pending(None)
        self._has_work.set()

    def _replace_pending(self, frame: _Frame | None) -> None:
        """Replace the image that waits for analysis; report the old one as dropped."""
        with self._lock:
            dropped = self._pending
            self._pending = frame
        if dropped is not None:
            self._metrics.frames.labels("dropped").inc()
            self._answers.put_nowait({"type": "dropped", "frame_index": dropped.index})

    async def _analyze(self, analyzer: Analyzer) -> None:
        """Analyze the newest image repeatedly until the connection ends."""
        source = _Source(FaceFollower(analyzer), self._settings.max_faces)
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            if self._is_ending:
                return self._replace_pending(None)
            if self._resets:
                source = _Source(FaceFollower(analyzer), self._settings.max_faces)
            for _ in range(self._resets):
                self._answers.put_nowait({"type": "reset"})
            self._resets = 0
            if self._pending is not None and (
                answer := await self._workers.run(lambda source=source: self._analyze_pending(source))
            ):
                self._metrics.frames.labels("read" if answer["type"] == "frame" else "unreadable").inc()
                self._answers.put_nowait(answer)

    def _analyze_pending(self, source: _Source) -> dict[str, Any] | None:
        """Return the answer to the pending image, or None if it was dropped; runs in a worker thread."""
        with self._lock:
            # an image that arrived after a reset belongs to the next source
            if self._resets or (frame := self._pending) is None:
                return None
            self._pending = None
        try:
            result = source.step(frame)
        except MienError as error:
            problem = to_problem(error)
            message = {"code": problem.code, "message": str(problem)}
            return {"type": "error", **message, "frame_index": frame.index}
        latency_ms = round((time.monotonic() - frame.arrived_s) * 1e3, 1)
        return {"type": "frame", **result, "latency_ms": latency_ms}

    async def _send(self) -> None:
        """Send queued answers until a None, a write timeout or a disconnect."""
        while (answer := await self._answers.get()) is not None:
            try:
                async with asyncio.timeout(self._settings.write_timeout_s):
                    await self._websocket.send_text(json.dumps(answer, separators=(",", ":")))
            except (TimeoutError, WebSocketDisconnect, RuntimeError):
                return
            self._answers.task_done()


class _Source:
    """Images of one video source, in order; used by one thread at a time.

    Args:
        follower: detects and tracks its faces.
        max_faces: number of faces in an answer, the largest.
    """

    def __init__(self, follower: FaceFollower, max_faces: int) -> None:
        self._follower = follower
        self._max_faces = max_faces
        self._first_s: float | None = None
        self._is_timed = False
        self._last_s = -math.inf

    def step(self, frame: _Frame) -> dict[str, Any]:
        """Analyze an image and return its answer; runs in a worker thread."""
        image = read_image(frame.data, max_pixels=self._follower.analyzer.options.max_pixels)
        is_timed = frame.timestamp_s is not None
        if self._first_s is None:
            self._first_s = frame.arrived_s
            self._is_timed = is_timed
        if is_timed != self._is_timed:
            raise InputError("timestamp_s is given for some images only; send it for all or none, or a reset first.")
        now_s = frame.arrived_s - self._first_s if frame.timestamp_s is None else frame.timestamp_s
        if now_s < self._last_s:
            raise InputError(
                f"timestamp_s {now_s:g} is before the previous image's {self._last_s:g}; send a reset first."
            )
        self._last_s = now_s
        started_s = time.perf_counter()
        result = self._follower.step(DecodedFrame(frame.index, now_s, image))
        if self._follower.has_detected:
            self._follower.schedule.slow_down(time.perf_counter() - started_s)
        largest_first = sorted(result.faces, key=lambda face: -bbox_area(face.bbox_xyxy))
        kept = {face.track_id for face in largest_first[: self._max_faces]}
        height, width = image.shape[:2]
        answer: dict[str, Any] = {
            "frame_index": frame.index,
            "timestamp_s": round(now_s, 6),
            "width": width,
            "height": height,
            "faces": [face.to_dict() for face in result.faces if face.track_id in kept],
        }
        if len(result.faces) > self._max_faces:
            answer["note"] = left_out_note(self._max_faces)
        return answer


class _Reset(Struct, tag="reset", forbid_unknown_fields=True):
    """Message before the first image of another source."""


class _Timestamp(Struct, tag="frame", forbid_unknown_fields=True):
    """Message before an image."""

    timestamp_s: Annotated[float, Meta(ge=0, lt=1e9)]


_MESSAGES = msgspec.json.Decoder(_Reset | _Timestamp)


def _parse(text: str) -> _Reset | _Timestamp:
    """Parse a text message of the client, or raise an InputError."""
    expected = (
        'expected {"type": "reset"} or {"type": "frame", "timestamp_s": 1.25}; options are parameters of the '
        "connection, /v1/stream?max_faces=1."
    )
    try:
        return _MESSAGES.decode(text)
    except msgspec.ValidationError:
        raise InputError(expected) from None
    except (msgspec.DecodeError, RecursionError):
        raise InputError(f"not JSON; {expected}") from None
