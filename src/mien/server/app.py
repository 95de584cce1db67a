"""FastAPI application: routes, middleware and error handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from mien._version import __version__
from mien.errors import MienError
from mien.server import schemas
from mien.server.admission import AccessMiddleware, Admission
from mien.server.auth import read_tokens
from mien.server.batching import Batcher, BatchKey
from mien.server.errors import HTTPProblem, shutting_down, to_problem
from mien.server.logs import RequestLog
from mien.server.metrics import Metrics
from mien.server.model_pool import ModelPool
from mien.server.settings import ServerSettings
from mien.server.static import PAGE, PAGE_NOT_BUILT, ModelFiles, PageFiles, SecurityHeaders, model_files, model_index
from mien.server.uploads import Upload, read_images
from mien.server.websocket import Streams

DESCRIPTION = """Predict the perceived expression of every face in images: what people would see in a face, not what
the person feels. Do not use it to judge people at work or in education (EU AI Act). Images are not stored or logged."""

POSE = "false skips the head pose: faster, but rotated faces are not straightened and their predictions may be wrong"

ModelName = Annotated[str | None, Query(description="name of a model in /v1/models; default: its `default`")]
MaxFaces = Annotated[int | None, Query(ge=1, le=10_000, description="return at most this many, the largest")]
Pose = Annotated[bool, Query(description=POSE)]


class Service:
    """Components of one server, not yet started; the application holds them as `app.state.service`."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.pool = ModelPool(settings)
        self.metrics = Metrics()
        self.batcher = Batcher(settings, self.pool.analyze, self.metrics.observe_batch)
        self.admission = Admission(settings, self.batcher.wait_s)
        self.metrics.waiting.set_function(lambda: self.admission.images)
        self.streams = Streams(settings, self.pool, self.batcher, self.metrics)

    async def drain(self) -> None:
        """Reject new requests, close the WebSocket connections, and wait until all admitted images are answered."""
        self.admission.is_draining = True
        await self.streams.close()
        while self.admission.images:
            await asyncio.sleep(0.02)

    async def analyze(self, request: Request, key: BatchKey, max_faces: int | None) -> dict[str, Any]:
        """Return the response body of `/v1/analyze`."""
        with self.admission.reserve() as reservation:
            images, is_single = await read_images(request, self.settings, reservation)
            results = await self._analyze(key, images)
        request.state.fields["images"] = len(results)
        for result in results:
            self.metrics.images.labels("unreadable" if result["error"] else "read").inc()
            self.metrics.faces.inc(len(result["faces"]))
            result["faces"] = result["faces"][:max_faces]
        if is_single and (error := results[0]["error"]):
            raise HTTPProblem(422, error["code"], error["message"])
        return {"model": key.model, "results": results}

    async def _analyze(self, key: BatchKey, images: list[Upload]) -> list[dict[str, Any]]:
        timeout_s = self.settings.request_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                results = await self.batcher.analyze(key, [image.data for image in images])
        except TimeoutError:
            message = f"the images were not analyzed within {timeout_s:g} s; try again later."
            retry_after_s = self.admission.retry_after_s
            raise HTTPProblem(503, "slow", message, retry_after_s=retry_after_s) from None
        return [replace(result, source=image.name).to_dict() for image, result in zip(images, results, strict=True)]


class _App(FastAPI):
    """FastAPI application with the records of `mien.server.schemas` in its OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas.components())
        return document


def create_app(settings: ServerSettings) -> FastAPI:
    """Build the application for any ASGI server; the default model is loaded at startup.

    Raises:
        InputError: when the token file is invalid.
        ModelError: when a model is unknown or broken.
    """
    tokens = read_tokens(settings.token_file)
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.pool.analyzer, service.pool.default)
        service.batcher.start()
        yield
        await service.batcher.stop()

    app = _App(
        title="mien",
        version=__version__,
        summary="Perceived facial expression over HTTP.",
        description=DESCRIPTION,
        # the documentation pages would load scripts from other hosts
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    _add_api(app, service)
    _add_monitoring(app, service)
    _add_static_files(app, service)
    _add_error_handlers(app)
    # the middleware added last handles a request first
    app.add_middleware(AccessMiddleware, admission=service.admission, origins=settings.allow_origin, tokens=tokens)
    if settings.allow_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origin,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestLog, metrics=service.metrics)
    return app


def _add_api(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/analyze",
        responses={
            200: schemas.json_response(schemas.AnalyzeResponse),
            **schemas.error_responses(400, 401, 403, 404, 408, 413, 415, 422, 429, 503),
        },
        openapi_extra=schemas.BODY,
        summary="Analyze the faces of one or several images.",
    )
    async def analyze(
        request: Request, model: ModelName = None, max_faces: MaxFaces = None, pose: Pose = True
    ) -> Response:
        """Send a form with files named `images`, or one image as the body.

        An unreadable image of a form has an `error` in its result; an unreadable body is answered 422.
        """
        key = BatchKey(service.pool.resolve(model), pose)
        return JSONResponse(await service.analyze(request, key, max_faces))

    @app.get(
        "/v1/models",
        responses={200: schemas.json_response(schemas.ModelsResponse), **schemas.error_responses(401, 403, 503)},
        summary="List the models with their accuracy, training data and license.",
    )
    async def models() -> Response:
        return JSONResponse(service.pool.to_dict())

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket, model: str | None = None) -> None:
        await service.streams.serve(websocket, model)


def _add_monitoring(app: FastAPI, service: Service) -> None:
    @app.get(
        "/healthz", responses={200: schemas.json_response(schemas.Health)}, summary="Check that the process is alive."
    )
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get(
        "/readyz",
        responses={200: schemas.json_response(schemas.Health), **schemas.error_responses(503)},
        summary="Check that the server accepts images.",
    )
    async def readyz() -> Response:
        if service.admission.is_draining:
            raise shutting_down()
        return JSONResponse({"status": "ready"})

    @app.get(
        "/metrics",
        responses={200: {"content": {"text/plain": {}}}, **schemas.error_responses(401, 403)},
        response_class=Response,
        summary="Export Prometheus metrics.",
    )
    async def metrics() -> Response:
        return Response(service.metrics.to_text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _add_static_files(app: FastAPI, service: Service) -> None:
    @app.get("/models/index.json", include_in_schema=False)
    async def index() -> Response:
        return JSONResponse(model_index(service.pool), headers={"Cache-Control": "no-cache"})

    app.mount("/models", ModelFiles(model_files(service.pool)))
    if (PAGE / "index.html").is_file():
        # as the default, because a mount on / would answer 404 instead of 405
        app.router.default = PageFiles(directory=PAGE, html=True)
    else:

        @app.get("/", include_in_schema=False)
        async def page_not_built() -> None:
            raise HTTPProblem(404, "page", PAGE_NOT_BUILT)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(MienError)
    async def on_mien_error(request: Request, error: MienError) -> Response:
        return to_problem(error).to_response()

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return HTTPProblem(422, "parameter", f"{first['loc'][-1]}: {first['msg'].lower()}.").to_response()

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method"}.get(error.status_code, "http")
        response = HTTPProblem(error.status_code, code, f"{error.detail.lower()}.").to_response()
        response.headers.update(error.headers or {})
        return response
