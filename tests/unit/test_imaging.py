from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from mien.errors import ImageReadError, ImageTooLargeError, InputError
from mien.image_decoding import _suppress_pillow_warnings
from mien.imaging import check_image, read_image, resize, warp
from mien.media_formats import IMAGE_SUFFIXES
from support.images import corrupt_files, encoded, large_png, portrait, stored_rotated

IDENTITY = np.array([[1.0, 0, 0], [0, 1.0, 0]])


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.ascontiguousarray(portrait("astronaut")[60:160, 170:300])


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


# --- decoding


def test_returns_pixels_unchanged(image: np.ndarray):
    assert read_image(image) is image


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "PPM"])
def test_reads_lossless_formats(image: np.ndarray, format_name: str):
    np.testing.assert_array_equal(read_image(encoded(image, format_name)), image)


def test_reads_webp(image: np.ndarray):
    np.testing.assert_array_equal(read_image(encoded(image, "WEBP", lossless=True)), image)


def test_reads_jpeg(image: np.ndarray):
    assert mean_difference(read_image(encoded(image, "JPEG", quality=95, subsampling=0)), image) < 2


def test_accepts_every_source_type(image: np.ndarray, tmp_path: Path):
    data = encoded(image, "PNG")
    path = tmp_path / "an image with ü.png"
    path.write_bytes(data)
    opened = Image.open(io.BytesIO(data))
    sources = (path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), opened)
    for source in sources:
        np.testing.assert_array_equal(read_image(source), image)
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_image(file), image)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_reads_gray_images(image: np.ndarray, format_name: str):
    pillow_image = Image.fromarray(image).convert("L")
    decoded = read_image(encoded(pillow_image, format_name))
    assert (decoded == decoded[:, :, :1]).all() or format_name == "WEBP"
    assert mean_difference(decoded, np.array(pillow_image.convert("RGB"))) < 5


def test_reads_one_bit_images():
    bits = np.array([[0, 255], [255, 0]], dtype=np.uint8)
    decoded = read_image(encoded(Image.fromarray(bits).convert("1"), "PNG"))
    np.testing.assert_array_equal(decoded[:, :, 1], bits)


def test_scales_ten_bit_gray():
    header = b"P5 4 2 1023\n"
    pixels = read_image(header + np.arange(0, 1024, 146, dtype=">u2").tobytes())
    assert pixels[:, :, 0].ravel().tolist() == [0, 36, 73, 109, 146, 182, 218, 255]


def values_in(name: str, gray: np.ndarray) -> Image.Image:
    """Return an image of more than 8 bits whose values in use are a part of what the mode can hold."""
    values = {
        "10 of 16 bits": (gray * 4).astype(np.uint16),
        "thermal": (7000 + gray * 8).astype(np.uint16),
        "32 bits": (gray * 1000).astype(np.int32),
        "signed": (gray * 10 - 500).astype(np.int32),
        "degrees": (20 + gray / 15).astype(np.float32),
        "shares": (gray / 255).astype(np.float32),
    }[name]
    return Image.fromarray(values)


@pytest.mark.parametrize("name", ["10 of 16 bits", "thermal", "32 bits", "signed", "degrees", "shares"])
def test_scales_gray_of_any_depth_by_the_range_in_use(name: str):
    gray = np.asarray(Image.fromarray(portrait("astronaut")).convert("L")).astype(float)
    deep = values_in(name, gray)
    sources = [deep, encoded(deep, "TIFF"), *([encoded(deep, "PNG")] if deep.mode == "I;16" else [])]
    for source in sources:
        assert mean_difference(read_image(source)[:, :, 0], gray.astype(np.uint8)) < 3


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("alpha", [False, True])
def test_scales_color_of_any_depth(image: np.ndarray, bits: int, suffix: str, alpha: bool):
    cv2 = pytest.importorskip("cv2")
    deep = (image[:, :, ::-1] / 255 * (2**bits - 1)).round().astype(np.uint16)
    if alpha:
        deep = np.dstack([deep, np.full(deep.shape[:2], 65535, np.uint16)])
    assert np.abs(read_image(cv2.imencode(suffix, deep)[1].tobytes()).astype(int) - image).max() <= 1


def test_scales_color_of_a_narrow_range_as_its_array_and_despite_hot_pixels(image: np.ndarray):
    cv2 = pytest.importorskip("cv2")
    deep = 30_000 + image.astype(np.uint16) * 20
    deep[0, 0] = (0, 65535, 0)
    decoded = read_image(cv2.imencode(".png", deep[:, :, ::-1])[1].tobytes())
    np.testing.assert_array_equal(decoded, read_image(deep))
    assert np.ptp(decoded) == 255


def test_color_of_16_bits_with_a_wide_range_keeps_its_high_bytes(image: np.ndarray):
    cv2 = pytest.importorskip("cv2")
    deep = image[:, :, ::-1].astype(np.uint16) * 256 + 255
    np.testing.assert_array_equal(read_image(cv2.imencode(".png", deep)[1].tobytes()), image)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_scales_gray_and_alpha_of_any_depth(image: np.ndarray, bits: int):
    gray = image[:, :, 0]
    deep = (gray / 255 * (2**bits - 1)).round().astype(np.uint16)
    data = gray_alpha_png(np.dstack([deep, np.full(deep.shape, 65535, np.uint16)]))
    assert np.abs(read_image(data).astype(int) - gray[:, :, None]).max() <= 1


def gray_alpha_png(pixels: np.ndarray) -> bytes:
    """Return a PNG of 16-bit gray and alpha (H, W, 2), which Pillow and OpenCV do not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 4, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_reads_pfm_files():
    data = b"Pf\n16 16\n-1.0\n" + np.linspace(0, 1, 256, dtype="<f4").tobytes()
    assert sorted(set(read_image(data)[:, :, 0].ravel())) == list(range(256))


def test_error_for_heic_suggests_jpeg():
    with pytest.raises(ImageReadError, match=r"HEIC.*convert it to JPEG"):
        read_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_accepts_directory_entries(tmp_path):
    Image.fromarray(portrait("obama")).save(tmp_path / "a.png")
    [entry] = os.scandir(tmp_path)
    np.testing.assert_array_equal(read_image(entry), portrait("obama"))


def test_error_states_pillows_own_limit():
    with pytest.raises(ImageReadError, match="the limit is 179 million pixels"):
        read_image(large_png(14_000, 14_000), max_pixels=300_000_000)


def test_composites_premultiplied_gray_over_white():
    image = Image.fromarray(np.tile(np.array([60, 128], dtype=np.uint8), (4, 5, 1)))
    np.testing.assert_allclose(read_image(image.convert("La")), read_image(image), atol=1)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize(("alpha", "expected"), [(255, 60), (0, 255), (128, 157)])
def test_composites_transparency_over_white(mode: str, alpha: int, expected: int):
    channels = [60] * (len(mode) - 1) + [alpha]
    image = Image.fromarray(np.tile(np.array(channels, dtype=np.uint8), (4, 5, 1)), mode=None)
    assert image.mode == mode
    decoded = read_image(encoded(image, "PNG"))
    assert decoded.shape == (4, 5, 3)
    assert np.abs(decoded.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("format_name", ["PNG", "GIF", "TIFF", "BMP"])
def test_reads_palette_images(image: np.ndarray, format_name: str):
    palette = Image.fromarray(image).quantize(64)
    np.testing.assert_array_equal(read_image(encoded(palette, format_name)), np.array(palette.convert("RGB")))


@pytest.mark.parametrize("format_name", ["PNG", "GIF"])
@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_composites_palette_transparency_over_white(format_name: str, transparency: int | bytes):
    if format_name == "GIF" and isinstance(transparency, bytes):
        transparency = 1
    image = Image.new("P", (3, 2), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((2, 1), 1)
    decoded = read_image(encoded(image, format_name, transparency=transparency))
    assert decoded[0, 0].tolist() == [10, 20, 30]
    assert decoded[1, 2].tolist() == [255, 255, 255]


def test_scales_sixteen_bit_gray():
    values = np.array([[0, 257, 65535], [32896, 128, 129]], dtype=np.uint16)
    for format_name in ("PNG", "TIFF"):
        decoded = read_image(encoded(values_image(values), format_name))
        assert decoded[:, :, 0].tolist() == [[0, 1, 255], [128, 0, 1]]
        assert (decoded == decoded[:, :, :1]).all()


def values_image(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values)
    assert image.mode == "I;16"
    return image


def test_reads_sixteen_bit_big_endian_tiff():
    values = np.array([[0, 65535], [257, 32896]], dtype=">u2")
    image = Image.frombytes("I;16B", (2, 2), values.tobytes())
    assert read_image(encoded(image, "TIFF"))[:, :, 2].tolist() == [[0, 255], [1, 128]]


def test_reads_sixteen_bit_color(image: np.ndarray):
    cv2 = pytest.importorskip("cv2")
    wide = image[:, :, ::-1].astype(np.uint16) * 257
    data = cv2.imencode(".png", wide)[1].tobytes()
    assert np.abs(read_image(data).astype(int) - image).max() <= 1


def test_reads_cmyk_jpeg(image: np.ndarray):
    pillow_image = Image.fromarray(image).convert("CMYK")
    assert mean_difference(read_image(encoded(pillow_image, "JPEG", quality=95)), image) < 4


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "TIFF"])
def test_reads_the_first_frame_of_an_animation(format_name: str):
    frames = [Image.new("RGB", (6, 4), color) for color in ((200, 10, 10), (10, 200, 10))]
    options = {"lossless": True} if format_name == "WEBP" else {}
    decoded = read_image(encoded(frames[0], format_name, save_all=True, append_images=frames[1:], **options))
    assert np.abs(decoded.astype(int) - (200, 10, 10)).max() <= 1


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_applies_every_exif_orientation(image: np.ndarray, orientation: int, format_name: str):
    assert mean_difference(read_image(stored_rotated(image, orientation, format_name)), image) < 6


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_ignores_invalid_exif_orientations(image: np.ndarray, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert mean_difference(read_image(encoded(image, "JPEG", exif=exif)), image) < 6


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0rubbish, rubbish, rubbish",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",
    ],
)
def test_ignores_corrupt_exif_blocks(image: np.ndarray, block: bytes):
    data = encoded(image, "JPEG", quality=95)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    assert mean_difference(read_image(data), image) < 6


def test_reads_a_single_pixel():
    assert read_image(encoded(np.full((1, 1, 3), 7, np.uint8), "PNG")).tolist() == [[[7, 7, 7]]]


# --- rejected input


@pytest.mark.parametrize("name", corrupt_files())
def test_error_names_the_corrupt_file(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(corrupt_files()[name])
    with pytest.raises(ImageReadError) as raised:
        read_image(path)
    message = str(raised.value)
    assert name in message
    assert "\n" not in message
    assert raised.value.code == "image_unreadable"


def test_rejects_jpeg_with_too_many_scans(image: np.ndarray):
    data = encoded(image, "JPEG", progressive=True)
    with pytest.raises(ImageReadError, match="more than 100 scans"):
        read_image(data[:-2] + b"\xff\xda\0\x08\1\1\0\1\x3f\0" * 101 + data[-2:])


def test_ignores_scan_markers_behind_the_end_of_a_jpeg(image: np.ndarray):
    """As in motion photos, which append a video."""
    data = encoded(image, "JPEG", quality=95)
    assert mean_difference(read_image(data + b"\xff\xda\0\x08" * 500), image) < 6


def test_rejects_missing_files_and_directories(tmp_path: Path):
    with pytest.raises(ImageReadError, match=r"none\.jpg: no such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(ImageReadError, match="directory"):
        read_image(tmp_path)
    with pytest.raises(ImageReadError, match="null"):
        read_image("a\0b.jpg")


def test_rejects_too_large_images_before_decoding():
    data = large_png(20_000, 20_000)
    assert len(data) < 100_000
    with pytest.raises(ImageReadError, match=r"too large.*limit is 120 million"):
        read_image(data)
    with pytest.raises(ImageReadError, match=r"too large: 300 x 200 pixels, the limit"):
        read_image(large_png(300, 200), max_pixels=59_999)
    assert read_image(large_png(300, 200), max_pixels=60_000).shape == (200, 300, 3)


def test_rejects_vector_images_without_starting_a_renderer(image: np.ndarray):
    with pytest.raises(ImageReadError, match="EPS"):
        read_image(encoded(image, "EPS"))


@pytest.mark.parametrize(
    "data",
    [
        b"P6 0 0 255\n",
        b"GIF89a" + bytes(7) + b",\0\0\0\0\0\0\0\0\0\x02\x02L\x01\0;",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 58, 0, 54, 40, 0, 0, 1, 24, 0, 4, 0, 0, 0, 0) + bytes(4),
    ],
    ids=["PPM", "GIF", "BMP"],
)
def test_rejects_images_without_pixels(data: bytes):
    with pytest.raises(ImageReadError):
        read_image(data)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_check_image_rejects_other_shapes_and_types(pixels: np.ndarray):
    with pytest.raises(InputError):
        check_image(pixels)


@pytest.mark.parametrize("source", [None, 7, [], object(), np.float32(1), io.StringIO("text")])
def test_rejects_other_source_types(source: object):
    with pytest.raises(InputError, match=f"got {type(source).__name__}"):
        read_image(source)


def test_validates_pillow_images(image: np.ndarray):
    rotated = Image.open(io.BytesIO(stored_rotated(image, 6, "PNG")))
    np.testing.assert_array_equal(read_image(rotated), image)
    with pytest.raises(InputError, match="empty"):
        read_image(Image.new("RGB", (0, 4)))
    with pytest.raises(ImageReadError, match="too large"):
        read_image(Image.new("RGB", (30, 20)), max_pixels=599)
    with pytest.raises(ImageReadError, match="corrupt"):
        read_image(Image.open(io.BytesIO(encoded(image, "PNG")[:3000])))
    with pytest.raises(ImageReadError, match="EPS"):
        read_image(Image.open(io.BytesIO(encoded(image, "EPS"))))


def test_reads_files_from_their_start(image: np.ndarray, tmp_path: Path):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    assert buffer.tell() > 0
    for _ in range(2):
        np.testing.assert_array_equal(read_image(buffer), image)
    path = tmp_path / "a.png"
    path.write_bytes(buffer.getvalue())
    with path.open("rb") as file:
        file.read(4)
        for _ in range(2):
            np.testing.assert_array_equal(read_image(file), image)


def test_reads_files_that_are_not_seekable(image: np.ndarray):
    class Pipe(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return encoded(image, "PNG")

    np.testing.assert_array_equal(read_image(Pipe()), image)


def test_error_on_closed_pillow_image_says_when_to_load(image: np.ndarray, tmp_path: Path):
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    with Image.open(path) as behind_block:
        pass
    closed = Image.open(path)
    closed.close()
    with path.open("rb") as file:
        behind_file = Image.open(file)
    for source in (behind_block, closed, behind_file):
        with pytest.raises(ImageReadError, match=r"whose file is closed; use it in its `with` block or call load\(\)"):
            read_image(source)
    with Image.open(path) as loaded:
        loaded.load()
    np.testing.assert_array_equal(read_image(loaded), image)


class Tensor:
    """Array of another library, which converts to numpy unless it is on a GPU."""

    def __init__(self, values: np.ndarray, error: Exception | None = None) -> None:
        self.values = values
        self.shape = values.shape
        self.error = error

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        if self.error is not None:
            raise self.error
        return self.values


def test_reads_arrays_of_other_libraries(image: np.ndarray):
    np.testing.assert_array_equal(read_image(Tensor(image)), image)
    with pytest.raises(InputError, match=r"can't convert cuda.*pass|Pass image\.detach\(\)\.cpu\(\)\.numpy"):
        read_image(Tensor(image, TypeError("can't convert cuda:0 device type tensor to numpy.")))


def test_reads_gray_and_sixteen_bit_arrays(image: np.ndarray):
    gray = image[:, :, 0]
    expected = np.repeat(gray[:, :, None], 3, axis=2)
    for pixels in (gray, gray[:, :, None], gray.astype(np.uint16) * 257):
        np.testing.assert_array_equal(read_image(pixels), expected)
    np.testing.assert_array_equal(read_image(image.astype(np.uint16)), image)
    np.testing.assert_array_equal(read_image(image.astype(np.uint16) * 257), image)


def test_bgr_applies_to_arrays_only(image: np.ndarray):
    np.testing.assert_array_equal(read_image(image[:, :, ::-1], color="bgr"), image)
    np.testing.assert_array_equal(read_image(encoded(image, "PNG"), color="bgr"), image)
    np.testing.assert_array_equal(read_image(Image.fromarray(image), color="bgr"), image)
    with pytest.raises(InputError, match="expected 'rgb' or 'bgr'"):
        read_image(image, color="hsv")


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_limits_the_pixels_of_arrays(shape, dtype):
    array = np.zeros(shape, dtype)
    assert read_image(array, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(ImageTooLargeError, match=r"30 x 20 pixels, the limit is"):
        read_image(array, max_pixels=599)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0), (0,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_empty_arrays_are_called_empty(shape, dtype):
    with pytest.raises(InputError, match="the image is empty"):
        read_image(np.zeros(shape, dtype))


def test_hints_for_tensors_hold_after_a_conversion_to_numpy(image: np.ndarray):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    hint = r"set image = np\.asarray\(image\), then move the channels to the end: image\.transpose\(1, 2, 0\)"
    with pytest.raises(InputError, match=hint):
        read_image(tensor)
    np.testing.assert_array_equal(read_image(np.asarray(tensor).transpose(1, 2, 0)), image)
    with pytest.raises(InputError, match=r"BFloat16\. Pass image\.detach\(\)\.cpu\(\)\.float\(\)\.numpy\(\)"):
        read_image(tensor.bfloat16())


@pytest.mark.parametrize(
    ("convert", "hint"),
    [
        (lambda image: image.transpose(2, 0, 1), r"image\.transpose\(1, 2, 0\)"),
        (lambda image: image[None], "analyze_many"),
        (lambda image: np.dstack([image, image[:, :, 0]]), r"image\[:, :, :3\]"),
        (lambda image: image / 255, r"\(image \* 255\)\.astype\(np\.uint8\)"),
        (lambda image: image.astype(np.float32), r"image\.astype\(np\.uint8\)"),
        (lambda image: image.astype(np.int64), r"image\.astype\(np\.uint8\)"),
        (lambda image: image > 9, r"image\.astype\(np\.uint8\) \* 255"),
        (lambda image: (image.transpose(2, 0, 1) / 255).astype(np.float32), r"transpose.*\* 255"),
        (lambda image: np.ma.array(image, mask=image > 9), r"image\.filled"),
        (lambda image: image.astype(object), "array of numbers"),
        (lambda image: image[:, :, :2], "three channels"),
        (lambda image: [image, image], "analyze_many for several images"),
        (lambda image: image.tolist(), r"np\.array\(image, np\.uint8\)"),
        (lambda image: (image, "label"), "analyze_many"),
    ],
    ids=[
        *("channels first", "batch", "alpha", "shares", "float", "integers", "bool", "tensor", "masked", "objects"),
        *("two channels", "list of arrays", "nested list", "tuple"),
    ],
)
def test_errors_on_arrays_say_how_to_convert(image: np.ndarray, convert, hint: str):
    with pytest.raises(InputError, match=hint):
        read_image(convert(image))


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        *(("https://example.org/a.jpg", "addresses are not fetched"), ("data:image/png;base64,AAAA", "not fetched")),
        *(("~/none.jpg", "expanduser"), ("photos/*.jpg", "pattern"), ("", "empty")),
    ],
)
def test_errors_on_paths_say_what_to_pass(path: str, hint: str):
    with pytest.raises(ImageReadError, match=hint):
        read_image(path)


def test_error_on_asynchronous_files_says_to_await_them():
    class Upload:
        async def read(self) -> bytes:
            return b""

    with pytest.raises(InputError, match=r"await image\.read\(\)"):
        read_image(Upload())


def test_errors_of_foreign_files_and_paths_are_read_errors():
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise RuntimeError("the connection was lost")

    class BrokenPath(os.PathLike):
        def __fspath__(self) -> str:
            raise RuntimeError("no path")

    with pytest.raises(ImageReadError, match="the connection was lost"):
        read_image(Broken())
    with pytest.raises(InputError, match="no path"):
        read_image(BrokenPath())


@pytest.mark.parametrize("tags", [{254: 1}, {50706: b"\1\4\0\0"}], ids=["preview", "DNG"])
def test_rejects_the_preview_of_a_raw_camera_file(image: np.ndarray, tags: dict[int, object]):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "TIFF", tiffinfo=tags)
    with pytest.raises(ImageReadError, match="raw camera file; export it"):
        read_image(buffer.getvalue())


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.CR2", b"", "empty"),
        ("a.nef", b"II*\0", "raw camera file"),
        ("a.jxl", b"\xff\x0a123456", "JPEG XL"),
        ("a.svg", b"<?xml version='1.0'?><svg/>", r"vector image \(SVG\)"),
        ("a.jpg", b"\0\0\0\x18ftypmif1", "HEIC"),
        ("a.jpg", b"\0\0\0\x18ftypisom", "is a video; give it to mien video"),
        ("clip.mp4", b"\0\0\0\x18ftypmp42", "is a video"),
        ("clip", b"\x1aE\xdf\xa3", "is a video"),
        ("clip.avi", b"RIFF\0\0\0\0AVI LIST", "is a video"),
        ("notes.txt", b"hello", "not an image in a supported format"),
    ],
)
def test_names_the_format_of_an_unsupported_file(tmp_path: Path, name: str, data: bytes, problem: str):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageReadError, match=problem) as error:
        read_image(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_rejects_closed_and_text_files(tmp_path: Path):
    closed = io.BytesIO(b"data")
    closed.close()
    with pytest.raises(ImageReadError, match="closed"):
        read_image(closed)
    (tmp_path / "a.png").write_bytes(b"data")
    with (tmp_path / "a.png").open() as text, pytest.raises(InputError, match="binary mode"):
        read_image(text)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_reads_every_image_suffix(image: np.ndarray, tmp_path: Path, suffix: str):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow is built without AVIF")
    path = tmp_path / f"a{suffix}"
    if suffix == ".psd":
        # Pillow reads this format and does not write it
        header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, *image.shape[:2], 8, 3) + bytes(12) + b"\0\0"
        path.write_bytes(header + image.transpose(2, 0, 1).tobytes())
    elif suffix in (".pbm", ".pgm"):
        Image.fromarray(image).convert("1" if suffix == ".pbm" else "L").save(path)
    else:
        Image.fromarray(image).save(path)
    assert read_image(path).shape == image.shape


def test_threads_restore_the_warning_filters(image: np.ndarray):
    before = list(warnings.filters)
    block = b"Exif\0\0II*\0\xff\xff\xff\xff"
    data = encoded(image, "JPEG", quality=95)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(read_image, [data] * 200))
    assert all(pixels.shape == image.shape for pixels in decoded)
    assert list(warnings.filters) == before


# --- warp and resize


def test_warp_by_identity_keeps_the_image(image: np.ndarray):
    np.testing.assert_array_equal(warp(image, IDENTITY, image.shape[:2]), image)


def test_warp_translates_by_whole_pixels(image: np.ndarray):
    shifted = warp(image, np.array([[1.0, 0, -7], [0, 1.0, -5]]), (40, 50))
    np.testing.assert_array_equal(shifted, image[5:45, 7:57])


@pytest.mark.parametrize("k", [2, 3, 5, 16, 17, 40])
def test_warp_averages_blocks(k: int):
    image = np.random.default_rng(k).integers(0, 256, (4 * k, 6 * k, 3), dtype=np.uint8)
    image[:k] = 255
    blocks = image.reshape(4, k, 6, k, 3).astype(np.int64).sum(axis=(1, 3))
    expected = (blocks + k * k // 2) // (k * k)
    np.testing.assert_array_equal(warp(image, IDENTITY / k, (4, 6)), expected)


def test_warp_repeats_the_border():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    far = warp(image, np.array([[1.0, 0, 30], [0, 1.0, 30]]), (62, 62))
    assert far[0, 0].tolist() == image[0, 0].tolist()
    assert far[0, -1].tolist() == image[0, -1].tolist()
    assert far[-1, 0].tolist() == image[-1, 0].tolist()
    assert far[-1, -1].tolist() == image[-1, -1].tolist()


@pytest.mark.parametrize("scale", [0.07, 0.3, 0.49, 0.9, 1.0, 2.3])
def test_warp_of_a_uniform_image_is_uniform(scale: float):
    image = np.full((70, 90, 3), 131, dtype=np.uint8)
    matrix = np.array([[0.8, -0.6, 3.0], [0.6, 0.8, -9.0]]) * scale
    assert (warp(image, matrix, (64, 48)) == 131).all()


@pytest.mark.parametrize("factor", [0.11, 0.26, 0.5, 0.8])
def test_warp_keeps_coordinates_when_it_shrinks(factor: float):
    """A ramp keeps its values at its coordinates, without a half-pixel shift."""
    columns = np.arange(256, dtype=np.uint8)
    image = np.repeat(np.repeat(columns[None, :, None], 200, axis=0), 3, axis=2)
    width = int(256 * factor) - 2
    shrunk = warp(image, IDENTITY * factor, (20, width))[10, :, 0]
    expected = (np.arange(width) + 0.5) / factor - 0.5
    inside = slice(2, -2)
    assert np.abs(shrunk[inside] - expected[inside]).max() <= 1.0


def test_warp_rejects_transforms_that_shrink_to_nothing(image: np.ndarray):
    for scale in (0.0, 1e-9):
        with pytest.raises(InputError, match="shrinks"):
            warp(image, IDENTITY * scale, (64, 64))


@pytest.mark.parametrize("size_hw", [(1, 1), (50, 65), (100, 130), (333, 20)])
def test_resize_keeps_the_mean_color(image: np.ndarray, size_hw: tuple[int, int]):
    resized = resize(image, size_hw)
    assert resized.shape == (*size_hw, 3)
    assert np.abs(resized.mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < 3


def test_filters_of_warnings_set_meanwhile_stay():
    filters = list(warnings.filters)
    try:
        with _suppress_pillow_warnings():
            warnings.filterwarnings("ignore", message="set meanwhile")
        assert "set meanwhile" in str(warnings.filters[0])
        assert len(warnings.filters) == len(filters) + 1
    finally:
        warnings.filters[:] = filters
