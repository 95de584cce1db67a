"""The images of a request, out of a form or the bare body, counted while they arrive; nothing touches a disk."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import NamedTuple

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mien.server.admission import Ticket
from mien.server.errors import RefusalError
from mien.server.settings import ServerSettings

FIELD = "images"
_MAX_TEXT_FIELDS = 16
_CHARSET = re.compile(r";\s*charset\s*=[^;]*", re.IGNORECASE)


class Upload(NamedTuple):
    """One encoded image and its name in the answer."""

    name: str
    data: bytes


async def read_images(
    request: Request, settings: ServerSettings, ticket: Ticket
) -> tuple[list[Upload], bool]:
    """The images of a request's body, and whether it was a bare one.

    Raises:
        RefusalError: 400 when the form is broken, 408 when the body comes too slowly, 413 when it is too large or has
            too many images, 415 when it is of another kind, 422 without an image, 429 when it has no room.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    stream = _counted(request, settings, ticket)
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            if kind == "multipart/form-data":
                images = await _read_form(request, stream, settings)
            elif kind.startswith("image/") or kind == "application/octet-stream":
                data = b"".join([chunk async for chunk in stream])
                images = [Upload("image 0", data)] if data else []
            else:
                raise RefusalError(
                    415,
                    "body_kind",
                    f"send a form (multipart/form-data) with files named {FIELD!r}, or one image as image/jpeg, "
                    "image/png, ... or application/octet-stream.",
                )
    except TimeoutError:
        raise RefusalError(
            408, "body_slow", f"the body did not come within {settings.body_timeout_s:g} s."
        ) from None
    if not images:
        raise RefusalError(
            422, "no_image", f"no image: send files named {FIELD!r}, or one image as the body."
        )
    ticket.add_images(len(images) - 1)
    return images, kind != "multipart/form-data"


async def _counted(request: Request, settings: ServerSettings, ticket: Ticket) -> AsyncGenerator[bytes, None]:
    """The body's pieces, as long as it is not too large."""
    most = settings.max_body_bytes
    too_large = RefusalError(413, "body_large", f"the body is larger than {most} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > most):
        raise too_large
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > most:
                raise too_large
            ticket.add_bytes(len(chunk))
            yield chunk
    except ClientDisconnect:
        raise RefusalError(400, "body_cut", "the client went away before its body was whole.") from None


async def _read_form(
    request: Request, stream: AsyncGenerator[bytes, None], settings: ServerSettings
) -> list[Upload]:
    kind = _CHARSET.sub("", request.headers["content-type"])  # or else a client names any of Python's codecs
    parser = MultiPartParser(
        Headers({"Content-Type": kind}), stream, max_files=settings.max_images, max_fields=_MAX_TEXT_FIELDS
    )
    parser.spool_max_size = settings.max_body_bytes + 1  # Starlette would write what is larger into a file
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise RefusalError(
                413, "too_many_images", f"more than {settings.max_images} images in one request."
            ) from None
        raise RefusalError(400, "body_broken", f"the form cannot be read: {error.message}") from None
    images = []
    try:
        for name, value in form.multi_items():
            if name != FIELD or not isinstance(value, UploadFile):
                raise RefusalError(422, "field", f"the form has a field that is no file named {FIELD!r}.")
            images.append(Upload(value.filename or f"image {len(images)}", await value.read()))
    finally:
        await form.close()
    return images
