"""FastAPI application: routes, middleware and error handlers."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from mien._version import __version__
from mien.errors import MienError
from mien.server import schemas
from mien.server.admission import AccessMiddleware
from mien.server.auth import read_tokens
from mien.server.errors import HTTPProblem, shutting_down, to_problem
from mien.server.logs import PATHS, RequestLog
from mien.server.methods import HeadRequests, method_problem
from mien.server.parameters import AnalyzeParameters, NoParameters, describe, parse
from mien.server.service import Service
from mien.server.settings import ServerSettings
from mien.server.static import PAGE, PAGE_NOT_BUILT, ModelFiles, PageFiles, SecurityHeaders, model_files, model_index

DESCRIPTION = """Predict the perceived expression of every face in images: what people would see in a face, not what
the person feels. Do not use it to judge people at work or in education (EU AI Act). Images are not stored or logged."""


def _check_no_parameters(request: Request) -> None:
    parse(request.query_params.multi_items(), NoParameters)


NO_PARAMETERS = Depends(_check_no_parameters)
"""Dependency of routes without parameters: rejects all."""


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
        service.workers.start()
        yield
        await service.workers.stop()

    app = _App(
        title="mien",
        version=__version__,
        summary="Perceived facial expression over HTTP.",
        description=DESCRIPTION,
        # the documentation pages would load scripts from other hosts
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.is_protected = bool(tokens)
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
    app.add_middleware(HeadRequests)
    app.add_middleware(RequestLog, metrics=service.metrics)
    return app


def _add_api(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/analyze",
        responses={
            200: schemas.ANALYZED,
            **schemas.error_responses(400, 401, 403, 404, 406, 408, 413, 415, 422, 429, 503),
        },
        openapi_extra={**schemas.BODY, "parameters": describe(AnalyzeParameters)},
        summary="Analyze the faces of one or several images.",
    )
    async def analyze(request: Request) -> Response:
        """Send a form with files named `images`, JSON with base64, or one image as the body.

        Parameters are given in the query, as fields of the form or as items of the JSON object. With `Accept:
        image/png` (image/jpeg, image/webp) the answer for one image is its annotated copy. An unreadable image of
        several has an `error` in its result; a single one is answered 422.
        """
        return await service.analyze(request)

    @app.get(
        "/v1/models",
        responses={200: schemas.json_response(schemas.ModelsResponse), **schemas.error_responses(401, 403, 422, 503)},
        dependencies=[NO_PARAMETERS],
        summary="List the models with their accuracy, training data and license.",
    )
    async def models() -> Response:
        return JSONResponse(service.pool.to_dict())

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await service.streams.serve(websocket)


def _add_monitoring(app: FastAPI, service: Service) -> None:
    @app.get(
        "/healthz",
        responses={200: schemas.json_response(schemas.Health), **schemas.error_responses(422)},
        dependencies=[NO_PARAMETERS],
        summary="Check that the process is alive.",
    )
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get(
        "/readyz",
        responses={200: schemas.json_response(schemas.Health), **schemas.error_responses(422, 503)},
        dependencies=[NO_PARAMETERS],
        summary="Check that the server accepts images.",
    )
    async def readyz() -> Response:
        if service.admission.is_draining:
            raise shutting_down()
        return JSONResponse({"status": "ready"})

    @app.get(
        "/metrics",
        responses={200: {"content": {"text/plain": {}}}, **schemas.error_responses(401, 403, 422)},
        dependencies=[NO_PARAMETERS],
        response_class=Response,
        summary="Export Prometheus metrics.",
    )
    async def metrics() -> Response:
        return Response(service.metrics.to_text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.get("/openapi.json", dependencies=[NO_PARAMETERS], include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(app.openapi())


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

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            return method_problem(request.method, (error.headers or {}).get("Allow", "GET"))
        if error.status_code == 404:
            return HTTPProblem(404, "not_found", _not_found(request.url.path)).to_response()
        return HTTPProblem(error.status_code, "http", f"{error.detail.lower()}.").to_response()


def _not_found(path: str) -> str:
    nearest = difflib.get_close_matches(path[:64], PATHS, n=1)
    return f"nothing is at {path[:64]}." + (f" Did you mean {nearest[0]}?" if nearest else " See /openapi.json.")
