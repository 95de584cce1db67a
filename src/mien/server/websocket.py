"""Live images over a WebSocket: every connection is one source whose faces are followed."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from mien.errors import InputError, MienError
from mien.inference.analyzer import Analyzer
from mien.server.batching import Batcher, Kind
from mien.server.errors import RefusalError, as_refusal
from mien.server.metrics import Metrics
from mien.server.model_pool import ModelShelf
from mien.server.settings import ServerSettings
from mien.video.follower import DETECT_EVERY, FaceFollower
from mien.video.io.sources import DecodedFrame

PROTOCOL = "mien.v1"
GOING_AWAY, TOO_SLOW, FAILED = 1001, 1008, 1011
"""Codes with which a WebSocket is closed: the server ends; the client sent nothing for too long; a mistake of ours."""
READ_S = 0.12
"""Faces are searched and read about so often, in one image of `EVERY` at most: who sends few has all of them read."""
_UNSENT = 64
"""Answers that may wait to be sent; then no more messages are read until the client takes some."""


class Streams:
    """All open WebSockets of a server.

    Args:
        settings: their limits.
        shelf: the models, shared by all of them.
        batcher: its workers read the images, in turn with those of requests.
        metrics: counts connections and images.
    """

    def __init__(
        self, settings: ServerSettings, shelf: ModelShelf, batcher: Batcher, metrics: Metrics
    ) -> None:
        self._settings, self._shelf, self._batcher, self._metrics = settings, shelf, batcher, metrics
        self._open: set[_Stream] = set()
        metrics.streams.set_function(lambda: len(self._open))

    async def serve(self, websocket: WebSocket, model: str | None) -> None:
        """Answer one connection until either side ends it.

        Raises:
            Nothing for what the client does; it is told in the protocol.
        """
        stream = _Stream(websocket, self._settings, self._shelf, self._batcher, self._metrics)
        try:
            name = self._check(websocket, model)
            self._open.add(stream)  # before anything is waited for: the place is taken
            analyzer = await self._batcher.run(lambda: self._shelf.analyzer(Kind(name, pose=True)))
            await stream.serve(name, analyzer, PROTOCOL if websocket.scope.get("subprotocols") else None)
        except MienError as error:
            await websocket.send_denial_response(as_refusal(error).to_response())
        finally:
            self._open.discard(stream)

    def _check(self, websocket: WebSocket, model: str | None) -> str:
        """The name of the model that a connection asks for; a MienError when the connection cannot be served."""
        offers = websocket.scope.get("subprotocols")
        if offers and PROTOCOL not in offers:
            raise RefusalError(400, "protocol", f"offer the subprotocol {PROTOCOL}.")
        if len(self._open) >= self._settings.max_streams:
            raise RefusalError(
                503, "busy", f"{len(self._open)} connections are open already.", retry_after_s=10
            )
        name = self._shelf.default if model is None else model
        self._shelf.manifest(name)
        return name

    async def close(self) -> None:
        """Tell every client that the server ends, once its image in work is answered."""
        while self._open:
            for stream in self._open:  # some may only have come
                stream.end(GOING_AWAY)
            await asyncio.sleep(0.02)


@dataclass(frozen=True)
class _Frame:
    """An image that came, not decoded; `timestamp_s` is None when the client did not tell."""

    index: int
    timestamp_s: float | None
    arrived_s: float
    data: bytes


class _Stream:
    """One connection: one task takes messages, one reads the newest image, one sends the answers."""

    def __init__(
        self,
        websocket: WebSocket,
        settings: ServerSettings,
        shelf: ModelShelf,
        batcher: Batcher,
        metrics: Metrics,
    ) -> None:
        self._websocket, self._settings, self._shelf = websocket, settings, shelf
        self._batcher, self._metrics = batcher, metrics
        self._answers: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._has_work, self._is_ending = asyncio.Event(), False
        self._newest: _Frame | None = None
        self._exchange = threading.Lock()
        self._must_reset = False
        self._told_s: float | None = None
        self._code = 1000
        self._frames = 0

    def end(self, code: int) -> None:
        """Take nothing more; answer the image in work and close."""
        self._code, self._is_ending = code, True
        self._has_work.set()

    async def serve(self, model: str, analyzer: Analyzer, subprotocol: str | None) -> None:
        """Talk until the end of the connection."""
        await self._websocket.accept(subprotocol=subprotocol)
        manifest = analyzer.manifest
        ready = {"model": model, "labels": list(manifest.labels), "version": manifest.version}
        self._answers.put_nowait({"type": "ready", **ready})
        receiver = asyncio.create_task(self._receive())
        reader = asyncio.create_task(self._read(analyzer))
        sender = asyncio.create_task(self._send())
        # the reader ends by itself when it is told to; the sender, when the client takes nothing or is gone
        await asyncio.wait([reader, sender], return_when=asyncio.FIRST_COMPLETED)
        self._answers.put_nowait(None)
        await sender
        for task in (receiver, reader):
            task.cancel()
        failures = await asyncio.gather(receiver, reader, return_exceptions=True)
        failure = next((one for one in failures if isinstance(one, Exception)), None)
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect, RuntimeError):
                await self._websocket.close(self._code if failure is None else FAILED)
        if failure is not None:
            raise failure

    async def _receive(self) -> None:
        """Messages until the client goes or is silent for too long."""
        while True:
            if self._answers.qsize() >= _UNSENT:
                await self._answers.join()
            try:
                async with asyncio.timeout(self._settings.stream_idle_s):
                    message = await self._websocket.receive()
            except TimeoutError:
                return self.end(TOO_SLOW)
            if message["type"] == "websocket.disconnect":
                return self.end(1000)
            if (data := message.get("bytes")) is not None:
                self._take_image(data)
            else:
                self._take_text(message["text"])

    def _take_image(self, data: bytes) -> None:
        self._drop_for(_Frame(self._frames, self._told_s, time.monotonic(), data))
        self._frames, self._told_s = self._frames + 1, None
        self._has_work.set()

    def _drop_for(self, frame: _Frame | None) -> None:
        """The image that waits gives way to a newer one, or to nothing."""
        with self._exchange:  # a worker's thread takes the image when it begins, and not before
            dropped, self._newest = self._newest, frame
        if dropped is not None:
            self._metrics.frames.labels("dropped").inc()
            self._answers.put_nowait({"type": "dropped", "frame_index": dropped.index})

    def _take_text(self, text: str) -> None:
        try:
            message = _parse(text)
        except InputError as error:
            self._answers.put_nowait({"type": "error", "code": "message", "message": str(error)})
            return
        if message["type"] == "frame":
            self._told_s = message["timestamp_s"]
            return
        with self._exchange:
            self._must_reset, self._told_s = True, None
        self._drop_for(None)
        self._has_work.set()

    async def _read(self, analyzer: Analyzer) -> None:
        """Read the newest image, again and again, until the connection ends."""
        source = _Source(self._shelf, FaceFollower(analyzer))
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            if self._is_ending:
                return self._drop_for(None)
            if self._must_reset:
                self._must_reset, source = False, _Source(self._shelf, FaceFollower(analyzer))
                self._answers.put_nowait({"type": "reset"})
            if self._newest is not None and (
                answer := await self._batcher.run(lambda source=source: self._step(source))
            ):
                self._metrics.frames.labels("read" if answer["type"] == "frame" else "unreadable").inc()
                self._answers.put_nowait(answer)

    def _step(self, source: _Source) -> dict[str, Any] | None:
        """The answer to the newest image; in a worker's thread. None when it was dropped meanwhile."""
        with self._exchange:  # an image that came after a reset is not for the source before it
            if self._must_reset or (frame := self._newest) is None:
                return None
            self._newest = None
        try:
            seen = source.step(frame)
        except MienError as error:
            refusal = as_refusal(error)
            told = {"code": refusal.code, "message": str(refusal)}
            return {"type": "error", **told, "frame_index": frame.index}
        latency_ms = round((time.monotonic() - frame.arrived_s) * 1e3, 1)
        return {"type": "frame", **seen, "latency_ms": latency_ms}

    async def _send(self) -> None:
        """Send what there is to say until the client takes nothing any more."""
        while (answer := await self._answers.get()) is not None:
            try:
                async with asyncio.timeout(self._settings.write_timeout_s):
                    await self._websocket.send_text(json.dumps(answer, separators=(",", ":")))
            except (TimeoutError, WebSocketDisconnect, RuntimeError):
                return
            self._answers.task_done()


class _Source:
    """One source's images, in order; used by one thread at a time."""

    def __init__(self, shelf: ModelShelf, follower: FaceFollower) -> None:
        self._shelf, self._follower = shelf, follower
        self._first_s: float | None = None
        self._last_s = -math.inf

    def step(self, frame: _Frame) -> dict[str, Any]:
        """The answer to an image; in a worker's thread.

        Raises:
            ImageReadError: when the image cannot be read.
            InputError: when its time is before the last one's.
            ModelError: when a network fails.
        """
        image = self._shelf.decode(frame.data)
        if self._first_s is None:
            self._first_s = frame.arrived_s
        now = frame.arrived_s - self._first_s if frame.timestamp_s is None else frame.timestamp_s
        if now < self._last_s:
            raise InputError(
                f"timestamp_s {now:g} is before the last image's {self._last_s:g}; send a reset first."
            )
        if now > self._last_s:
            self._follower.detect_every = min(DETECT_EVERY, max(1, round(READ_S / (now - self._last_s))))
        self._last_s = now
        seen = self._follower.step(DecodedFrame(frame.index, now, image))
        height, width = image.shape[:2]
        return {
            "frame_index": frame.index,
            "timestamp_s": round(now, 6),
            "width": width,
            "height": height,
            "faces": [face.to_dict() for face in seen.faces],
        }


def _parse(text: str) -> dict[str, Any]:
    """A text message of the client.

    Raises:
        InputError: when it is none that the protocol has.
    """
    expected = 'expected {"type": "reset"} or {"type": "frame", "timestamp_s": 1.25}.'
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"no JSON; {expected}") from None
    match message:
        case {"type": "reset"}:
            return message
        case {"type": "frame", "timestamp_s": bool()}:
            pass
        case {"type": "frame", "timestamp_s": int() | float() as timestamp_s} if 0 <= timestamp_s < 1e9:
            return message
    raise InputError(expected)
