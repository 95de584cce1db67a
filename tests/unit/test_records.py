import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from mien.errors import ConfigError
from mien.records import convert_record


@dataclass(frozen=True, kw_only=True)
class Point:
    x: float
    y: float = 0.0

    def __post_init__(self):
        if self.x > 100:
            raise ConfigError(f"x is {self.x}; expected at most 100.")


@dataclass(frozen=True, kw_only=True)
class Shape:
    name: str = ""
    count: int = 1
    origin: Point | None = None
    points: tuple[Point, ...] = ()
    tags: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def test_empty_record_gives_the_defaults():
    assert convert_record({}, Shape, error=ConfigError) == Shape()


def test_converts_nested_records_and_integers_for_floats():
    record = {"origin": {"x": 1}, "points": [{"x": 2, "y": 3.5}], "tags": ["a"], "options": {"any": [1]}}
    shape = convert_record(record, Shape, error=ConfigError)
    assert shape == Shape(origin=Point(x=1.0), points=(Point(x=2.0, y=3.5),), tags=("a",), options={"any": [1]})
    assert isinstance(shape.origin.x, float)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"nam": "a"}, "unknown key shape.nam. Did you mean shape.name?"),
        ({"zzz": 1}, "unknown key shape.zzz. Known: name, count, origin, points, tags, options."),
        ({"origin": {"x": 1, "yy": 2}}, "unknown key shape.origin.yy. Did you mean shape.origin.y?"),
        ({"points": [{"x": 1}, {"z": 1}]}, "unknown key shape.points[1].z. Known: x, y."),
        ({"count": "three"}, "shape.count: expected int, got str."),
        ({"count": True}, "shape.count: expected int, got bool."),
        ({"count": 1.0}, "shape.count: expected int, got float."),
        ({"tags": "a"}, "shape.tags: expected list, got str."),
        ({"tags": ["a", 3]}, "shape.tags[1]: expected str, got int."),
        ({"origin": 3}, "shape.origin: expected mapping | null, got int."),
        ({"origin": {"y": 1}}, "shape.origin: missing key x."),
        ({"points": [{"x": 1000}]}, "x is 1000.0; expected at most 100."),
        (3, "shape: expected mapping, got int."),
    ],
)
def test_message_names_the_key_and_the_expected_type(record, message):
    with pytest.raises(ConfigError) as caught:
        convert_record(record, Shape, where="shape", error=ConfigError)
    assert str(caught.value) == message


def test_messages_at_the_top_level_have_no_prefix():
    with pytest.raises(ConfigError, match=r"^unknown key nam\. Did you mean name\?$"):
        convert_record({"nam": "a"}, Shape, error=ConfigError)
    with pytest.raises(ConfigError, match=r"^missing key x\.$"):
        convert_record({}, Point, error=ConfigError)


def test_threads_can_convert_at_once():
    """In a new process, because msgspec builds its description of a type only once."""
    code = (
        "import sys; sys.setswitchinterval(1e-6)\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from mien.manifest import read_manifest\n"
        "from mien.runtime import find_model\n"
        "names = ['expression', 'face-detector', 'face-landmarks'] * 4\n"
        "with ThreadPoolExecutor(12) as pool:\n"
        "    list(pool.map(lambda name: read_manifest(find_model(name)), names))\n"
    )
    for _ in range(8):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
        assert result.returncode == 0, result.stderr
