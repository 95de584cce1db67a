"""The components of a server, and the analysis of a request's images."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mien.errors import MienError
from mien.inference.result import Result
from mien.server.admission import Admission, Reservation
from mien.server.annotated import accepted_image, annotate
from mien.server.errors import HTTPProblem, to_problem
from mien.server.metrics import Metrics
from mien.server.model_pool import ModelPool, Selection
from mien.server.parameters import AnalyzeParameters, parse
from mien.server.settings import ServerSettings, flag, left_out_note
from mien.server.uploads import Upload, read_body
from mien.server.websocket import Streams
from mien.server.workers import AnalyzeImage, Workers

T = TypeVar("T")

_JSON_IMAGE = "image/jpeg"
"""Format of the annotated images in a JSON response."""


class Service:
    """Components of one server, not yet started; the application holds them as `app.state.service`.

    Args:
        settings: models, workers and limits.
        analyze: analyzes an encoded image; by default the models of this process do.
    """

    def __init__(self, settings: ServerSettings, analyze: AnalyzeImage | None = None) -> None:
        self.settings = settings
        self.pool = ModelPool(settings)
        self.metrics = Metrics()
        self.workers = Workers(settings, analyze or self.pool.analyze, self.metrics.image_seconds.observe)
        self.admission = Admission(settings, self.workers.wait_s)
        self.metrics.waiting.set_function(lambda: self.admission.images)
        self.streams = Streams(settings, self.pool, self.workers, self.metrics)

    async def drain(self) -> None:
        """Reject new requests, close the WebSocket connections, and wait until all admitted images are answered."""
        self.admission.is_draining = True
        await self.streams.close()
        while self.admission.images:
            await asyncio.sleep(0.02)

    async def analyze(self, request: Request) -> Response:
        """Return the response of `/v1/analyze`: JSON, or an annotated image when the client accepts only that.

        Raises:
            MienError: when the request is invalid or cannot be served.
        """
        query = request.query_params.multi_items()
        # before the body is read
        parameters = parse(query, AnalyzeParameters)
        selection = self.pool.resolve(parameters)
        media_type = accepted_image(request.headers.get("accept", ""))
        with self.admission.reserve() as reservation:
            images, fields, is_single = await read_body(request, self.settings, reservation)
            if fields:
                parameters = parse([*query, *fields], AnalyzeParameters, also=("image", "images"))
                selection = self.pool.resolve(parameters)
            if media_type and len(images) > 1:
                message = f"{media_type} is available for one image; accept application/json with annotated=true."
                raise HTTPProblem(406, "accept", message)
            results = await self._within_time(self._analyze(selection, images))
            request.state.fields["images"] = len(results)
            if (is_single or media_type) and (error := results[0].error):
                raise to_problem(error)
            if media_type:
                data = await self._annotate(results[0], images[0], media_type, reservation)
                return Response(data, media_type=media_type)
            records = [self._to_dict(result) for result in results]
            if parameters.annotated:
                for record, result, image in zip(records, results, images, strict=True):
                    record["annotated"] = await self._annotated_url(result, image, reservation)
            return JSONResponse({"model": selection.model, "results": records})

    async def _analyze(self, selection: Selection, images: list[Upload]) -> list[Result]:
        results = await self.workers.analyze(selection, [image.data for image in images])
        for result in results:
            self.metrics.images.labels("unreadable" if result.error else "read").inc()
            self.metrics.faces.inc(len(self._within_limit(result).faces))
        return [replace(result, source=image.name) for image, result in zip(images, results, strict=True)]

    def _to_dict(self, result: Result) -> dict[str, Any]:
        """Return a result as JSON values; a note states when faces were left out."""
        error: MienError | None = result.error and to_problem(result.error)
        record = replace(self._within_limit(result), error=error).to_dict()
        if len(result.faces) > self.settings.max_faces:
            record["note"] = left_out_note(self.settings.max_faces)
        return record

    def _within_limit(self, result: Result) -> Result:
        return replace(result, faces=result.faces[: self.settings.max_faces])

    async def _annotated_url(self, result: Result, image: Upload, reservation: Reservation) -> str | None:
        if result.error:
            return None
        data = await self._annotate(result, image, _JSON_IMAGE, reservation)
        return f"data:{_JSON_IMAGE};base64,{base64.b64encode(data).decode('ascii')}"

    async def _annotate(self, result: Result, image: Upload, media_type: str, reservation: Reservation) -> bytes:
        """Draw in a worker thread; the annotated image counts as waiting bytes."""
        data = await self._within_time(
            self.workers.run(lambda: annotate(self._within_limit(result), image.data, media_type))
        )
        reservation.add(size=len(data))
        return data

    async def _within_time(self, task: Awaitable[T]) -> T:
        timeout_s = self.settings.request_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await task
        except TimeoutError:
            message = f"not finished within {timeout_s:g} s ({flag('request_timeout_s')}); try again later."
            retry_after_s = self.admission.retry_after_s
            raise HTTPProblem(503, "slow", message, retry_after_s=retry_after_s) from None
