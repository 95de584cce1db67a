"""Jinja2 templates of the HTML reports."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError
from mien.number_format import count, decimal, duration, interval, p_value, percent, signed_points, whole_percent
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
    """Return the template environment, with number formats and class colors as filters; see `check_installed`."""
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
        function.__name__: function
        for function in (class_color, decimal, duration, interval, p_value, percent, signed_points, whole_percent)
    }
    templates.filters["thousands"] = "{:,}".format
    templates.filters["counted"] = count  # `count` of Jinja2 is the length
    return templates
