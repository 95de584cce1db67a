"""The web application: what answers on which path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from mien._version import __version__
from mien.errors import MienError
from mien.server import schemas
from mien.server.admission import Admission, Gate, ending
from mien.server.auth import read_tokens
from mien.server.batching import Batcher, Kind
from mien.server.errors import RefusalError, as_refusal
from mien.server.logs import RequestLog
from mien.server.metrics import CONTENT_TYPE, Metrics
from mien.server.model_pool import ModelShelf
from mien.server.settings import ServerSettings
from mien.server.static import (
    PAGE,
    PAGE_IS_MISSING,
    ModelFiles,
    PageFiles,
    SafeHeaders,
    model_files,
    model_index,
)
from mien.server.uploads import Upload, read_images
from mien.server.websocket import Streams

DESCRIPTION = """Reads the perceived expression of every face in images: what people would see in a face, not
what the person feels. It must not be used to judge people at work or in education (EU AI Act). No image is stored or
logged."""

NO_POSE = "false leaves the head pose out: faster, but faces on their side are not straightened and may be read wrongly"

ModelName = Annotated[str | None, Query(description="a name of /v1/models; its default unless told")]
MaxFaces = Annotated[int | None, Query(ge=1, le=10_000, description="tell only so many, the largest")]
Pose = Annotated[bool, Query(description=NO_POSE)]


@dataclass
class Service:
    """The parts of one running server; the app holds it as `app.state.service`."""

    settings: ServerSettings
    shelf: ModelShelf
    metrics: Metrics
    batcher: Batcher
    admission: Admission
    streams: Streams

    @classmethod
    def build(cls, settings: ServerSettings) -> Service:
        """All parts, not started yet; see `create_app` for what it raises."""
        shelf, metrics = ModelShelf(settings), Metrics()

        def on_batch(images: int, seconds: float) -> None:
            metrics.batch_images.observe(images)
            metrics.batch_seconds.observe(seconds)

        batcher = Batcher(
            shelf.read,
            workers=settings.worker_count,
            window_s=settings.batch_window_ms / 1e3,
            batch_images=settings.batch_images,
            on_batch=on_batch,
        )
        admission = Admission(settings, batcher.wait_s)
        metrics.waiting.set_function(lambda: admission.images)
        streams = Streams(settings, shelf, batcher, metrics)
        return cls(settings, shelf, metrics, batcher, admission, streams)

    async def drain(self) -> None:
        """Take nothing new, close the WebSockets, and wait until all that was taken in is answered."""
        self.admission.is_draining = True
        await self.streams.close()
        while self.admission.images:
            await asyncio.sleep(0.02)

    async def analyze(self, request: Request, kind: Kind, max_faces: int | None) -> dict[str, Any]:
        """The answer of `/v1/analyze`."""
        with self.admission.ticket() as ticket:
            images, is_bare = await read_images(request, self.settings, ticket)
            results = await self._read(kind, images)
        request.state.fields["images"] = len(results)
        for result in results:
            self.metrics.images.labels("unreadable" if result["error"] else "read").inc()
            self.metrics.faces.inc(len(result["faces"]))
            result["faces"] = result["faces"][:max_faces]
        if is_bare and (error := results[0]["error"]):
            raise RefusalError(422, error["code"], error["message"])
        return {"model": kind.model, "results": results}

    async def _read(self, kind: Kind, images: list[Upload]) -> list[dict[str, Any]]:
        limit_s = self.settings.request_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                found = await self.batcher.read(kind, [image.data for image in images])
        except TimeoutError:
            raise RefusalError(
                503,
                "slow",
                f"the images could not be read within {limit_s:g} s; try again later.",
                retry_after_s=self.admission.retry_after_s,
            ) from None
        return [
            replace(analysis, source=image.name).to_dict()
            for image, analysis in zip(images, found, strict=True)
        ]


def create_app(settings: ServerSettings) -> FastAPI:
    """The application, ready to be run by any ASGI server; it opens the default model when it starts.

    Raises:
        InputError: when the token file holds no proper tokens.
        ModelError: when a model is unknown or broken.
    """
    tokens = read_tokens(settings.token_file)
    service = Service.build(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.shelf.open_default)
        service.batcher.start()
        yield
        await service.batcher.stop()

    app = FastAPI(
        title="mien",
        version=__version__,
        summary="Perceived facial expression, over HTTP.",
        description=DESCRIPTION,
        docs_url=None,  # these pages load scripts of others
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    _add_api(app, service)
    _add_watching(app, service)
    _add_files(app, service)
    _add_errors(app)
    # the last one added sees a request first
    app.add_middleware(Gate, admission=service.admission, origins=settings.allow_origin, tokens=tokens)
    if settings.allow_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origin,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )
    app.add_middleware(SafeHeaders)
    app.add_middleware(RequestLog, metrics=service.metrics)
    return app


def _add_api(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/analyze",
        responses={
            200: {"model": schemas.AnalyzeAnswer},
            **schemas.refusals(400, 401, 403, 404, 408, 413, 415, 422, 429, 503),
        },
        openapi_extra=schemas.BODY,
        summary="The faces of one or many images.",
    )
    async def analyze(
        request: Request, model: ModelName = None, max_faces: MaxFaces = None, pose: Pose = True
    ) -> Response:
        """Send a form with files named `images`, or one image as the body.

        A broken image of a form is told in its own `error`; one that is the whole body is answered 422.
        """
        name = service.shelf.default if model is None else model
        service.shelf.manifest(name)
        return JSONResponse(await service.analyze(request, Kind(name, pose), max_faces))

    @app.get(
        "/v1/models",
        responses={200: {"model": schemas.ModelsAnswer}, **schemas.refusals(401, 403, 503)},
        summary="The models and what they promise.",
    )
    async def models() -> Response:
        return JSONResponse(service.shelf.to_dict())

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket, model: str | None = None) -> None:
        await service.streams.serve(websocket, model)


def _add_watching(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", responses={200: {"model": schemas.Health}}, summary="Whether the process lives.")
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get(
        "/readyz",
        responses={200: {"model": schemas.Health}, **schemas.refusals(503)},
        summary="Whether it takes images.",
    )
    async def readyz() -> Response:
        if service.admission.is_draining:
            raise ending()
        return JSONResponse({"status": "ready"})

    @app.get(
        "/metrics",
        responses={200: {"content": {"text/plain": {}}}, **schemas.refusals(401, 403)},
        response_class=Response,
        summary="Counters for Prometheus.",
    )
    async def metrics() -> Response:
        return Response(service.metrics.to_text(), headers={"Content-Type": CONTENT_TYPE})


def _add_files(app: FastAPI, service: Service) -> None:
    @app.get("/models/index.json", include_in_schema=False)
    async def index() -> Response:
        return JSONResponse(model_index(service.shelf), headers={"Cache-Control": "no-cache"})

    app.mount("/models", ModelFiles(model_files(service.shelf)))
    if (PAGE / "index.html").is_file():
        app.router.default = PageFiles(directory=PAGE, html=True)  # mounted on / it would hide a 405
    else:

        @app.get("/", include_in_schema=False)
        async def no_page() -> None:
            raise RefusalError(404, "page", PAGE_IS_MISSING)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(MienError)
    async def on_mien_error(request: Request, error: MienError) -> Response:
        return as_refusal(error).to_response()

    @app.exception_handler(RequestValidationError)
    async def on_bad_parameter(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        problem = f"{first['loc'][-1]}: {first['msg'].lower()}."
        return RefusalError(422, "parameter", problem).to_response()

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method"}.get(error.status_code, "http")
        response = RefusalError(error.status_code, code, f"{error.detail.lower()}.").to_response()
        response.headers.update(error.headers or {})
        return response
