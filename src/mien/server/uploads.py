"""Parsing of uploads: images of a multipart form or of the request body, with size limits and without disk files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import NamedTuple

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mien.server.admission import Reservation
from mien.server.errors import HTTPProblem
from mien.server.settings import ServerSettings

FIELD = "images"
_MAX_TEXT_FIELDS = 16
_CHARSET = re.compile(r";\s*charset\s*=[^;]*", re.IGNORECASE)


class Upload(NamedTuple):
    """An encoded image and its name in the response."""

    name: str
    data: bytes


async def read_images(
    request: Request, settings: ServerSettings, reservation: Reservation
) -> tuple[list[Upload], bool]:
    """Read the images of a request; the second value states whether the body is a single image.

    Raises:
        HTTPProblem: 400 when the form is malformed, 408 when the body is too slow, 413 when it is too large or has too
            many images, 415 for an unsupported content type, 422 without an image, 429 when capacity is exhausted.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = content_type == "multipart/form-data"
    stream = _limited_stream(request, settings, reservation)
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            if is_form:
                images = await _read_form(request, stream, settings)
            elif content_type.startswith("image/") or content_type == "application/octet-stream":
                data = b"".join([chunk async for chunk in stream])
                images = [Upload("image 0", data)] if data else []
            else:
                raise HTTPProblem(
                    415,
                    "body_kind",
                    f"unsupported content type; send a form (multipart/form-data) with files named {FIELD!r}, or one "
                    "image as image/jpeg, image/png, ... or application/octet-stream.",
                )
    except TimeoutError:
        message = f"the body was not received within {settings.body_timeout_s:g} s."
        raise HTTPProblem(408, "body_slow", message) from None
    if not images:
        message = f"no image: send files named {FIELD!r}, or one image as the body."
        raise HTTPProblem(422, "no_image", message)
    reservation.add(images=len(images) - 1)
    return images, not is_form


async def _limited_stream(
    request: Request, settings: ServerSettings, reservation: Reservation
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of the body; raise an HTTPProblem when it is too large."""
    limit = settings.max_body_bytes
    too_large = HTTPProblem(413, "body_large", f"the body is larger than {limit} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise too_large
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise too_large
            reservation.add(size=len(chunk))
            yield chunk
    except ClientDisconnect:
        raise HTTPProblem(400, "body_cut", "the client disconnected before its body was complete.") from None


async def _read_form(request: Request, stream: AsyncGenerator[bytes, None], settings: ServerSettings) -> list[Upload]:
    # without the charset, which could name any of Python's codecs
    headers = Headers({"Content-Type": _CHARSET.sub("", request.headers["content-type"])})
    parser = MultiPartParser(headers, stream, max_files=settings.max_images, max_fields=_MAX_TEXT_FIELDS)
    # Starlette writes larger files to disk
    parser.spool_max_size = settings.max_body_bytes + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            message = f"more than {settings.max_images} images in one request."
            raise HTTPProblem(413, "too_many_images", message) from None
        raise HTTPProblem(400, "body_broken", f"malformed form: {error.message}") from None
    images = []
    try:
        for name, value in form.multi_items():
            if name != FIELD or not isinstance(value, UploadFile):
                raise HTTPProblem(422, "field", f"unexpected form field; expected files named {FIELD!r} only.")
            images.append(Upload(value.filename or f"image {len(images)}", await value.read()))
    finally:
        await form.close()
    return images
