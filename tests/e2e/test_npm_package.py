"""The npm package, packed and installed into an empty folder: same faces as Python, in Node.js and Chromium.

`pytest tests/e2e/test_npm_package.py -s` prints the differences and the sizes of the scripts.
"""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import mien
from mien import Analyzer
from mien.imaging import read_image
from support import browser, npm_package

BOX_PX = 0.5
PROBABILITY = 0.005
EXAMPLES = ("astronaut.jpg", "biden.jpg", "group.jpg", "obama.jpg")
RUNTIMES = {"onnxruntime-web": "wasm", "onnxruntime-node": "cpu"}

needs_npm = pytest.mark.skipif(
    npm_package.missing_requirement() is not None, reason=str(npm_package.missing_requirement())
)
needs_browser = pytest.mark.skipif(browser.missing_requirement() is not None, reason=str(browser.missing_requirement()))


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    return npm_package.install_package(tmp_path_factory.mktemp("npm"))


@pytest.fixture(scope="module")
def images(examples):
    return [read_image(examples / name) for name in EXAMPLES]


@pytest.fixture(scope="module")
def expected(images):
    analyzer = Analyzer(precision="float32")
    return [[face.to_dict() for face in analyzer.analyze(image)] for image in images]


def assert_same_faces(name, faces, expected):
    assert len(faces) == len(expected) > 0
    box_px = max(
        np.abs(np.subtract(a["bbox_xyxy"], b["bbox_xyxy"])).max() for a, b in zip(faces, expected, strict=True)
    )
    probability = max(
        abs(face["expression"]["probabilities"][label] - value)
        for face, expected_face in zip(faces, expected, strict=True)
        for label, value in expected_face["expression"]["probabilities"].items()
    )
    labels = [face["expression"]["label"] for face in faces]
    print(f"{name}: {len(faces)} faces, boxes within {box_px:.1f} px, probabilities within {probability:.6f}")
    assert labels == [face["expression"]["label"] for face in expected]
    assert box_px <= BOX_PX
    assert probability <= PROBABILITY


@needs_npm
@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_faces_in_node_match_python(installation, images, expected, runtime):
    if not (installation / "node_modules" / runtime).exists():
        pytest.skip(f"{runtime} is not installed: npm --prefix examples/phone ci --ignore-scripts")
    options = {"runtime": runtime, "provider": RUNTIMES[runtime], "model": "expression"}
    results = npm_package.analyze_in_node(installation, images, **options)
    for name, result, faces, image in zip(EXAMPLES, results, expected, images, strict=True):
        assert (result["height"], result["width"]) == image.shape[:2]
        assert_same_faces(f"{runtime} {name}", result["faces"], faces)


@pytest.fixture(scope="module")
def site(installation):
    return npm_package.build_example(installation)


@needs_npm
@pytest.mark.slow
def test_bundle_contains_the_code_but_no_models(site):
    sizes = npm_package.script_sizes(site)
    for name, (size, compressed) in sizes.items():
        print(f"{name}: {size / 1000:.1f} kB, gzip {compressed / 1000:.1f} kB")
    assert sizes.keys() == {"index", "workerScript"}
    # The page needs only the worker's client; engine and ONNX Runtime are in the worker.
    assert sizes["index"][0] < 10_000
    assert sizes["workerScript"][0] < 150_000


@needs_npm
@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["worker and Vite", "script tag"])
def test_faces_in_chromium_match_python(installation, site, images, expected, tmp_path, kind):
    # One image suffices for the second way to load the same code.
    count = 1 if kind == "script tag" else len(EXAMPLES)
    shutil.copy(npm_package.PROGRAMS / "script.html", installation)
    folder, page = (installation, "script.html") if kind == "script tag" else (site, "index.html")
    with npm_package.serve_folder(folder) as url, browser.launch_chromium() as chromium:
        tab = chromium.new_page()
        tab.goto(f"{url}/{page}?model=expression")
        output = tab.locator("output")
        for name, image, faces in list(zip(EXAMPLES, images, expected, strict=True))[:count]:
            tab.wait_for_function("() => /^Ready|^\\[/.test(document.querySelector('output').textContent)")
            output.evaluate("(element) => { element.textContent = ''; }")
            path = tmp_path / f"{name}.png"
            Image.fromarray(image).save(path)
            tab.set_input_files("input", path)
            tab.wait_for_function("() => document.querySelector('output').textContent.startsWith('[')")
            assert_same_faces(f"{kind}, {name}", json.loads(str(output.text_content())), faces)


def test_version_is_that_of_the_python_package(root):
    package = json.loads((root / "web/packages/browser/package.json").read_text(encoding="utf-8"))
    assert package["version"] == re.sub(r"\.dev(\d+)$", r"-dev.\1", mien.__version__)
