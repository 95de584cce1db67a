"""The quick-start notebook, executed."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")


@pytest.fixture(scope="module")
def cells(examples):
    notebook = nbformat.read(examples / "quickstart.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(examples)}})
    client.execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cell, mime):
    return [output["data"][mime] for output in cell.outputs if mime in output.get("data", {})]


def test_result_is_displayed_as_annotated_image(cells):
    (encoded,) = outputs(cells[0], "image/png")
    image = Image.open(io.BytesIO(base64.b64decode(encoded)))
    assert max(image.size) > 600


def test_table_has_one_row_per_face(cells):
    (table,) = outputs(cells[3], "text/html")
    assert table.count("<tr") == 1 + 11


def test_unreadable_image_is_a_row_with_an_error(cells):
    (table,) = outputs(cells[5], "text/html")
    assert "image_unreadable" in table
