"""The documentation site is built from docs/, the code and the notebooks; every link and anchor leads somewhere."""

import os
import re
import subprocess
import sys

import pytest

import mien


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=root,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def text_of(page):
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_every_document_is_in_the_navigation(root, site):
    names = {path.relative_to(root / "docs").with_suffix(".html") for path in (root / "docs").rglob("*.md")}
    navigation = (site / "index.html").read_text(encoding="utf-8")
    assert [str(name) for name in sorted(names) if f'href="{name.as_posix()}"' not in navigation] == []


@pytest.mark.slow
def test_python_reference_has_every_public_name(site):
    page = (site / "reference/python.html").read_text(encoding="utf-8")
    names = set(mien.__all__) - {"EXPRESSIONS", "__version__"}
    assert [name for name in sorted(names) if f'id="mien.{name}"' not in page] == []


@pytest.mark.slow
def test_python_reference_shows_values_of_defaults_and_no_doctest_flags(site):
    page = text_of(site / "reference/python.html")
    assert re.search(r"\bmax_pixels: int = \d{8,}", page)
    assert re.search(r"\n\s*detector_size\s+int\s[^|]*?\s640\s", page)
    assert "DETECTOR_SIZE" not in page
    assert "doctest" not in page


@pytest.mark.slow
def test_column_reference_has_every_table_of_a_video(site):
    page = text_of(site / "reference/columns.html")
    assert [name for name in ("s_NAME", "onset_NAME_s", "blinks_per_minute", "voice_p_NAME") if name not in page] == []


@pytest.mark.slow
def test_command_reference_has_every_option_of_predict(site):
    page = text_of(site / "reference/commands.html")
    assert "mien predict [OPTIONS] PATH" in page
    assert "--max-error" in page


@pytest.mark.slow
def test_notebooks_are_shown_with_their_output(site):
    page = (site / "examples/quickstart.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page


@pytest.mark.slow
def test_links_of_notebooks_lead_to_pages(site):
    for page in (site / "examples").glob("*.html"):
        links = re.findall(r'href="(?!\w+:|//)([^"#]+)', page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == [], page.name


@pytest.mark.slow
def test_licenses_are_on_the_site(root, site):
    for name in ("LICENSE", "NOTICE"):
        assert (site / f"{name}.txt").read_text(encoding="utf-8") == (root / name).read_text(encoding="utf-8")
    assert 'href="CITATION.cff"' in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_pages_load_nothing_from_other_hosts(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"""<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]+)""", page.read_text(encoding="utf-8")
        )
        assert loaded == [], page
