"""Images written in the format of their suffix."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mien.cli.outputs import save_image
from mien.errors import InputError


@pytest.mark.parametrize(("name", "limit"), [("a.webp", "16,383"), ("a.JPG", "65,500")])
def test_an_image_too_large_for_its_format_is_one_line_that_names_png(tmp_path, capfd, name, limit):
    path = tmp_path / name
    with pytest.raises(InputError) as caught:
        save_image(np.zeros((70_000, 8, 3), dtype=np.uint8), path)
    assert f"8 x 70,000 pixels, and a {path.suffix} file at most {limit} per side; use a name" in str(caught.value)
    assert capfd.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []
    save_image(np.zeros((int(limit.replace(",", "")), 8, 3), dtype=np.uint8), path)
    save_image(np.zeros((70_000, 8, 3), dtype=np.uint8), path.with_suffix(".png"))
    with Image.open(path.with_suffix(".png")) as image:
        assert image.height == 70_000
