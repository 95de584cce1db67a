"""Jinja2 templates of the HTML reports."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from mien import number_format
from mien.errors import MissingExtraError
from mien.theme import class_color, css_variables

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """Render a template of `reports/templates` as HTML; all values are escaped.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    return environment().get_template(template).render(values)


def check_installed() -> None:
    """Check that pages can be rendered, before a long run.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    environment()


@cache
def environment() -> Environment:
    """Return the template environment, with number formats and class colors as filters.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise MissingExtraError("A report", "report") from None
    templates = Environment(
        loader=PackageLoader("mien.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    templates.globals["css_variables"] = Markup(css_variables())
    templates.filters |= {
        "class_color": class_color,
        "thousands": lambda value: f"{value:,}",
        "decimal": number_format.decimal,
        "duration": number_format.duration,
        "interval": number_format.interval,
        "p_value": number_format.p_value,
        "percent": number_format.percent,
        "signed_points": number_format.signed_points,
        "whole_percent": number_format.whole_percent,
    }
    return templates
