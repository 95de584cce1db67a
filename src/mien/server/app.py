"""Starlette application: routes, middleware and error handlers."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from mien.errors import MienError
from mien.server.admission import AccessMiddleware
from mien.server.auth import read_tokens
from mien.server.errors import HTTPProblem, shutting_down, to_problem
from mien.server.logs import PATHS, RequestLog
from mien.server.openapi import describe_api
from mien.server.parameters import NoParameters, parse
from mien.server.service import Service
from mien.server.settings import ServerSettings
from mien.server.static import PAGE, PAGE_NOT_BUILT, ModelFiles, PageFiles, SecurityHeaders, model_files, model_index
from mien.server.workers import AnalyzeImage

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def create_app(settings: ServerSettings, analyze: AnalyzeImage | None = None) -> Starlette:
    """Build the application for any ASGI server.

    Args:
        settings: models, workers and limits.
        analyze: analyzes an encoded image; by default the models of this process do, and the default one is loaded at
            startup.

    Raises:
        InputError: when the token file is invalid.
        ModelError: when a model is unknown or broken.
    """
    tokens = read_tokens(settings.token_file)
    service = Service(settings, analyze)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        if analyze is None:
            await asyncio.to_thread(service.pool.analyzer, service.pool.default)
        service.workers.start()
        yield
        await service.workers.stop()

    app = Starlette(
        routes=_routes(service),
        # the first one handles a request first
        middleware=[
            Middleware(RequestLog, metrics=service.metrics),
            Middleware(SecurityHeaders),
            *([_cors(settings)] if settings.allow_origin else []),
            Middleware(AccessMiddleware, admission=service.admission, origins=settings.allow_origin, tokens=tokens),
        ],
        exception_handlers={MienError: _on_mien_error, HTTPException: _on_http_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    if (PAGE / "index.html").is_file():
        # as the default, because a mount on / would answer 404 instead of 405
        app.router.default = PageFiles(directory=PAGE, html=True)
    app.state.service = service
    app.state.is_protected = bool(tokens)
    return app


def _cors(settings: ServerSettings) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=settings.allow_origin,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
        expose_headers=["Retry-After", "X-Request-ID"],
    )


def _routes(service: Service) -> list[BaseRoute]:
    async def models(request: Request) -> Response:
        return JSONResponse(service.pool.to_dict())

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if service.admission.is_draining:
            raise shutting_down()
        return JSONResponse({"status": "ready"})

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.to_text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def openapi(request: Request) -> Response:
        return JSONResponse(describe_api())

    async def index(request: Request) -> Response:
        return JSONResponse(model_index(service.pool), headers={"Cache-Control": "no-cache"})

    async def page_not_built(request: Request) -> Response:
        raise HTTPProblem(404, "page", PAGE_NOT_BUILT)

    return [
        Route("/v1/analyze", service.analyze, methods=["POST"]),
        WebSocketRoute("/v1/stream", service.streams.serve),
        WebSocketRoute("/{path:path}", _no_websocket),
        Route("/v1/stream", _need_upgrade),
        Route("/v1/models", _without_parameters(models)),
        Route("/healthz", _without_parameters(healthz)),
        Route("/readyz", _without_parameters(readyz)),
        Route("/metrics", _without_parameters(metrics)),
        Route("/openapi.json", _without_parameters(openapi)),
        Route("/models/index.json", index),
        Mount("/models", ModelFiles(model_files(service.pool))),
        *([] if (PAGE / "index.html").is_file() else [Route("/", page_not_built)]),
    ]


async def _need_upgrade(request: Request) -> Response:
    message = f"{request.url.path} is a WebSocket; a proxy in between has to forward the Upgrade header."
    response = HTTPProblem(426, "upgrade", message).to_response()
    response.headers.update({"Upgrade": "websocket", "Connection": "Upgrade"})
    return response


async def _no_websocket(websocket: WebSocket) -> None:
    message = f"no WebSocket is at {websocket.url.path[:64]}; connect to /v1/stream."
    await websocket.send_denial_response(HTTPProblem(404, "not_found", message).to_response())


def _without_parameters(endpoint: Endpoint) -> Endpoint:
    """Reject requests with query parameters."""

    async def check(request: Request) -> Response:
        parse(request.query_params.multi_items(), NoParameters)
        return await endpoint(request)

    return check


async def _on_mien_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, MienError)
    return to_problem(error).to_response()


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return _wrong_method(request.method, (error.headers or {}).get("Allow", "GET"))
    if error.status_code == 404:
        return HTTPProblem(404, "not_found", _not_found(request.url.path)).to_response()
    return HTTPProblem(error.status_code, "http", f"{error.detail.lower()}.").to_response()


def _wrong_method(method: str, allowed: str) -> Response:
    """Return the methods of a path for OPTIONS, and a 405 for other methods that it does not have."""
    methods = sorted(name.strip() for name in allowed.split(","))
    headers = {"Allow": ", ".join(sorted([*methods, "OPTIONS"]))}
    if method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    message = f"{method[:16]} is not possible here; use {' or '.join(methods)}."
    response = HTTPProblem(405, "method", message).to_response()
    response.headers.update(headers)
    return response


def _not_found(path: str) -> str:
    nearest = difflib.get_close_matches(path[:64], PATHS, n=1)
    return f"nothing is at {path[:64]}." + (f" Did you mean {nearest[0]}?" if nearest else " See /openapi.json.")
