"""The notebooks of examples/, executed."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")


def execute(examples, name):
    """Return the executed code cells of a notebook; an error in a cell is raised."""
    notebook = nbformat.read(examples / name, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(examples)}})
    client.execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def cells(examples):
    return execute(examples, "quickstart.ipynb")


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


def test_video_notebook_follows_seven_faces(examples):
    *_, follow, plot = execute(examples, "video.ipynb")
    assert outputs(follow, "text/html")[0].count("<tr") == 2 + 7
    assert outputs(plot, "image/png")


def test_evaluation_notebook_has_results_by_group(examples):
    cells = execute(examples, "evaluate.ipynb")
    assert "accuracy" in outputs(cells[1], "text/plain")[0]
    assert "bright" in outputs(cells[2], "text/html")[0]


def test_adaptation_notebook_uses_the_new_model(examples):
    *_, adapted, used = execute(examples, "adapt.ipynb")
    assert outputs(adapted, "text/plain")[0].endswith("True)")
    assert "happiness" in outputs(used, "text/plain")[0]


def test_group_notebook_compares_within_people(examples):
    *_, means, _ = execute(examples, "groups.ipynb")
    assert outputs(means, "text/html")[0].count("<tr") == 2 + 3


def test_notebooks_are_stored_with_their_output(examples):
    for path in examples.glob("*.ipynb"):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert any(cell.outputs for cell in cells), path.name
        assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"], path.name
