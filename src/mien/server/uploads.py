"""Parsing of request bodies: images and parameters in a form or JSON, or one image; with size limits, without disk."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import NamedTuple

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mien.number_format import count
from mien.server.admission import Reservation
from mien.server.errors import HTTPProblem
from mien.server.json_body import decode_base64, read_json
from mien.server.settings import ServerSettings, flag

FIELD = "images"
_MAX_TEXT_FIELDS = 16
_CHARSET = re.compile(r";\s*charset\s*=[^;]*", re.IGNORECASE)


class Upload(NamedTuple):
    """An encoded image and its name in the response."""

    name: str
    data: bytes


class Body(NamedTuple):
    """A parsed body: its images, the parameters in it, and whether it is a single image."""

    images: list[Upload]
    parameters: list[tuple[str, object]]
    is_single: bool


async def read_body(request: Request, settings: ServerSettings, reservation: Reservation) -> Body:
    """Read the body of a request and extend the reservation by its images and bytes.

    Raises:
        HTTPProblem: 400 when the body is malformed, 408 when it is too slow, 413 when it is too large or has too many
            images, 415 for an unsupported content type, 422 without an image, 429 when capacity is exhausted.
    """
    content_type = _content_type(request)
    stream = _limited_stream(request, settings, reservation)
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            if content_type == "multipart/form-data":
                body = await _read_form(request, stream, settings)
            else:
                data = b"".join([chunk async for chunk in stream])
                if content_type == "application/json":
                    body = await asyncio.to_thread(_parse_json, data, settings)
                else:
                    body = Body([Upload("image 0", data)] if data else [], [], is_single=True)
    except TimeoutError:
        limit = f"{settings.body_timeout_s:g} s ({flag('body_timeout_s')})"
        raise HTTPProblem(408, "body_slow", f"the body was not received within {limit}.") from None
    if not body.images:
        message = f"no image: send files named {FIELD!r}, JSON with {FIELD!r}, or one image as the body."
        raise HTTPProblem(422, "no_image", message)
    reservation.add(images=len(body.images) - 1)
    return body


def _parse_json(data: bytes, settings: ServerSettings) -> Body:
    texts, parameters, is_single = read_json(data)
    if len(texts) > settings.max_images:
        raise _too_many_images(settings)
    images = [Upload(f"image {index}", decode_base64(text, index)) for index, text in enumerate(texts)]
    return Body(images, parameters, is_single)


def _content_type(request: Request) -> str:
    """Return the content type in lower case; raise an HTTPProblem when it is unsupported or the body is compressed."""
    values = request.headers.getlist("content-type")
    if len(values) > 1:
        raise HTTPProblem(400, "header_repeated", "the header Content-Type is given twice; give it once.")
    content_type = "".join(values).partition(";")[0].strip().lower()
    known = ("multipart/form-data", "application/json", "application/octet-stream")
    if content_type not in known and not content_type.startswith("image/"):
        name = f"the content type {content_type[:64]!r} is not supported" if content_type else "no content type"
        raise HTTPProblem(
            415,
            "body_kind",
            f"{name}; send a form (multipart/form-data) with files named {FIELD!r}, JSON (application/json), or one "
            "image as image/jpeg, image/png, ... or application/octet-stream: curl -H 'Content-Type: image/jpeg'",
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        message = f"the content encoding {encoding[:64]!r} is not supported; send the body uncompressed."
        raise HTTPProblem(415, "body_encoding", message)
    return content_type


async def _limited_stream(
    request: Request, settings: ServerSettings, reservation: Reservation
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of the body; raise an HTTPProblem when it is too large."""
    limit = settings.max_body_bytes
    message = f"the body is larger than {limit} bytes, the limit of this server ({flag('max_body_bytes')})."
    too_large = HTTPProblem(413, "body_large", message)
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


class _FormParser(MultiPartParser):
    """Parser that refuses a form without its closing boundary; Starlette drops the unfinished part."""

    _is_complete = False

    def on_end(self) -> None:
        """Note the closing boundary."""
        self._is_complete = True

    async def parse(self) -> FormData:
        """Parse the form; raise an HTTPProblem when it ends early."""
        self.stream = self._check_end(self.stream)
        return await super().parse()

    async def _check_end(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        has_content = False
        async for chunk in stream:
            has_content = has_content or bool(chunk)
            yield chunk
        if has_content and not self._is_complete:
            # inside of `parse`, which then closes the files
            raise HTTPProblem(400, "body_cut", "the form ends before its closing boundary; send all of it.")


async def _read_form(request: Request, stream: AsyncGenerator[bytes, None], settings: ServerSettings) -> Body:
    # without the charset, which could name any of Python's codecs
    headers = Headers({"Content-Type": _CHARSET.sub("", request.headers["content-type"])})
    parser = _FormParser(headers, stream, max_files=settings.max_images, max_fields=_MAX_TEXT_FIELDS)
    # Starlette writes larger files to disk
    parser.spool_max_size = settings.max_body_bytes + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise _too_many_images(settings) from None
        raise HTTPProblem(400, "body_broken", f"malformed form: {error.message}") from None
    images: list[Upload] = []
    parameters: list[tuple[str, object]] = []
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) and name == FIELD:
                images.append(Upload(value.filename or f"image {len(images)}", await value.read()))
            elif isinstance(value, UploadFile):
                message = f"unexpected file in the form field {name[:64]!r}; expected files named {FIELD!r}."
                raise HTTPProblem(422, "field", message)
            elif name == FIELD:
                message = f"the form field {FIELD!r} is text; send a file: curl -F {FIELD}=@photo.jpg"
                raise HTTPProblem(422, "field", message)
            else:
                parameters.append((name, value))
    finally:
        await form.close()
    return Body(images, parameters, is_single=False)


def _too_many_images(settings: ServerSettings) -> HTTPProblem:
    limit = f"{count(settings.max_images, 'image')}, the limit of this server ({flag('max_images')})"
    return HTTPProblem(413, "too_many_images", f"one request has more than {limit}; send several requests.")
