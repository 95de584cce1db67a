"""Color theme: one source of colors, and contrast of text."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest

import mien
from mien.emotions import EXPRESSIONS
from mien.theme import CLASS_COLORS, DARK, LIGHT, class_color, css_variables, rgb

SOURCE = Path(mien.__file__).parent


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colors by WCAG 2.2."""

    def luminance(color: str) -> float:
        shares = [value / 255 for value in rgb(color)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_unknown_class_has_color_of_its_own():
    assert class_color("cat") == class_color("") not in CLASS_COLORS.values()


def test_every_expression_has_a_different_color():
    assert set(CLASS_COLORS) == set(EXPRESSIONS)
    assert len(set(CLASS_COLORS.values())) == len(EXPRESSIONS)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_enough_contrast(theme):
    for text in (theme.ink, theme.quiet, theme.accent, theme.correct, theme.wrong):
        assert contrast(text, theme.paper) >= 4.5
    assert contrast(theme.quiet, theme.page) >= 4.5
    assert contrast(theme.on_accent, theme.accent) >= 4.5
    assert contrast(theme.warn, theme.warn_page) >= 4.5


def test_css_defines_every_color_in_both_themes():
    css = css_variables()
    for name, value in asdict(DARK).items():
        assert css.count(f"--{name.replace('_', '-')}:") == 2
        assert f"--{name.replace('_', '-')}:{value};" in css


def test_theme_file_is_the_only_source_with_colors():
    paths = [path for path in SOURCE.rglob("*") if path.suffix in {".py", ".html", ".css", ".js", ".json"}]
    paths = [path for path in paths if not {"page", "assets"} & set(path.relative_to(SOURCE).parts)]
    with_colors = [path.name for path in paths if re.search(r"#[0-9a-fA-F]{6}\b", path.read_text("utf-8"))]
    assert with_colors == ["theme.json"]


def test_html_is_only_in_templates():
    tag = re.compile(r"</?(div|span|p|table|tr|td|th|b|i|ul|li|svg|path|img|section|html|body|h[1-6])[ />]")
    assert [path.name for path in SOURCE.rglob("*.py") if tag.search(path.read_text("utf-8"))] == []
