"""Runs over images that can be resumed."""

from types import SimpleNamespace

import pytest

from mien.cli.image_run import ImageRun
from mien.errors import InputError
from support.recording import FakeAnalyzer


@pytest.mark.parametrize("role", ["face detector", "expression"])
@pytest.mark.parametrize(("name", "value"), [("precision", "int8"), ("device", "cuda")])
def test_refuses_to_resume_on_another_device_or_with_another_precision(tmp_path, role, name, value):
    table = tmp_path / "faces.csv"
    with ImageRun([], FakeAnalyzer(), table=table, output=None, resume=False):
        pass
    other = FakeAnalyzer()
    other.networks = {**other.networks, role: SimpleNamespace(**{**vars(other.networks[role]), name: value})}
    with pytest.raises(InputError, match=rf"other settings \({name}\)"):
        ImageRun([], other, table=table, output=None, resume=True)
    with ImageRun([], FakeAnalyzer(), table=table, output=None, resume=True):
        pass
