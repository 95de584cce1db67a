"""Large JPEGs are decoded at a reduced size where that changes no result."""

from __future__ import annotations

import os
import threading
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mien.imaging import read_image
from mien.inference.analyzer import Analyzer

SIZE = (2700, 2601)


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer("expression", threads=1, device="cpu", precision="float32")


def encode(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photo(portrait) -> Image.Image:
    return Image.fromarray(portrait).resize(SIZE, Image.Resampling.BICUBIC)


@pytest.fixture
def decoded_shapes(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of the pixels that are decoded from here on."""
    from mien.inference import reduced

    shapes = []
    original = reduced.read_reduced

    def read(*arguments, **options):
        decoded = original(*arguments, **options)
        shapes.append(decoded.pixels.shape)
        return decoded

    monkeypatch.setattr(reduced, "read_reduced", read)
    return shapes


def assert_agree(one, other) -> None:
    (face,), (same,) = one, other
    assert (one.width, one.height) == (other.width, other.height)
    side = float((same.bbox_xyxy[2:] - same.bbox_xyxy[:2]).max())
    for name in ("bbox_xyxy", "landmarks_xy", "mesh_xyz"):
        np.testing.assert_allclose(getattr(face, name), getattr(same, name), atol=0.02 * side)
    assert face.quality.size_px == pytest.approx(same.quality.size_px, rel=0.02)
    assert face.expression.label == same.expression.label
    np.testing.assert_allclose(face.expression.probabilities, same.expression.probabilities, atol=0.05)


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"exif": 3}, {"exif": 6}, {"exif": 8}, {"mode": "CMYK"}],
    ids=str,
)
def test_reduced_jpeg_has_the_result_of_its_pixels(analyzer, photo, decoded_shapes, options):
    if "exif" in options:
        exif = Image.Exif()
        exif[0x0112] = options["exif"]
        turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
        data = encode(photo.transpose(turn[options["exif"]]), exif=exif)
    elif "mode" in options:
        data = encode(photo.convert(options["mode"]))
    else:
        data = encode(photo, **options)
    expected = analyzer.analyze(read_image(data))
    del decoded_shapes[:]
    result = analyzer.analyze(data)
    assert [max(shape) for shape in decoded_shapes] == [SIZE[0] // 2]
    assert_agree(result, expected)


@pytest.mark.parametrize("kind", ["small face", "no face"])
def test_the_whole_image_is_decoded_for_small_faces_and_without_faces(analyzer, photo, decoded_shapes, kind):
    image = Image.new("RGB", SIZE, "gray")
    if kind == "small face":
        image.paste(photo.resize((600, 580)), (900, 700))
    data = encode(image)
    result = analyzer.analyze(data)
    assert [max(shape) for shape in decoded_shapes] == [SIZE[0] // 2, SIZE[0]]
    assert [face.to_dict() for face in result] == [face.to_dict() for face in analyzer.analyze(read_image(data))]
    assert len(result) == (kind == "small face")


def test_medium_faces_are_decoded_at_the_size_that_they_need(analyzer, photo, decoded_shapes):
    image = Image.new("RGB", (4608, 3456), "gray")
    image.paste(photo.resize((1100, 1060)), (900, 700))
    data = encode(image)
    result = analyzer.analyze(data)
    assert [max(shape) for shape in decoded_shapes] == [4608 // 4, 4608 // 2]
    assert_agree(result, analyzer.analyze(read_image(data)))


def test_only_large_jpegs_are_reduced(analyzer, photo, decoded_shapes):
    analyzer.analyze(encode(photo, "PNG", compress_level=1))
    analyzer.analyze(encode(photo.resize((1919, 750))))
    analyzer.analyze(encode(photo), detector_size=1400)
    analyzer.analyze(BytesIO(encode(photo)))
    assert [max(shape) for shape in decoded_shapes] == [SIZE[0], 1919, SIZE[0], SIZE[0]]


def test_plot_draws_on_the_whole_image(analyzer, photo, tmp_path):
    data = encode(photo)
    (tmp_path / "photo.jpg").write_bytes(data)
    assert analyzer.analyze(data).plot().size == SIZE
    (result,) = analyzer.analyze_many([tmp_path / "photo.jpg"])
    assert result.plot().size == SIZE


def test_limit_of_pixels_counts_the_whole_image(analyzer, photo):
    (result,) = analyzer.analyze_many([encode(photo)], max_pixels=SIZE[0] * SIZE[1] - 1)
    assert f"{SIZE[0]} x {SIZE[1]} pixels" in str(result.error)


def test_thin_jpegs_are_decoded(analyzer):
    result = analyzer.analyze(encode(Image.new("RGB", (8000, 5), "gray")))
    assert (result.width, result.height, len(result)) == (8000, 5, 0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_large_jpeg_from_a_pipe_is_read_once(analyzer, tmp_path):
    pipe = tmp_path / "photo.jpg"
    os.mkfifo(pipe)
    data = encode(Image.new("RGB", (2400, 1500), "gray"))
    writer = threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True)
    writer.start()
    result = analyzer.analyze(pipe)
    writer.join()
    assert (result.width, result.height, len(result)) == (2400, 1500, 0)
