"""MkDocs hooks: pages that are made from the code or lie outside docs/, and the links between all of them."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import reference  # noqa: E402 - beside this file, which MkDocs loads by its path

COPIES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "benchmarks.md": "benchmarks/README.md",
    "example-images.md": "examples/LICENSE.md",
    "LICENSE.txt": "LICENSE",
    "NOTICE.txt": "NOTICE",
    "CITATION.cff": "CITATION.cff",
}
"""Pages and text files that are files outside docs/, by their name on the site."""
GENERATED = {
    "reference/commands.md": reference.commands,
    "reference/python.md": reference.python_names,
    "reference/columns.md": reference.columns,
    "reference/http.md": reference.http,
}
"""Pages that are made from the code."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
"""Link or image: mark, text, target."""
NOTEBOOK_LINK = re.compile(r'(?<=href=")(?!\w+:)([^"#]+\.md)(?=[#"])')
"""Target of a link to a document in a converted notebook."""


@event_priority(100)  # before the plugin that converts notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for name, source in COPIES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    for name, page in GENERATED.items():
        files.append(File.generated(config, name, content=page()))
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        files.append(File(f"examples/{path.name}", str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point the links of a document, which are relative to its place in the repository, to pages of the site."""
    source = COPIES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return LINK.sub(lambda match: _rewrite(match, source, page.file.src_uri), markdown)


def on_page_content(html: str, page: Page, files: Files, **_: Any) -> str:
    """Point the links of a notebook to documents, which MkDocs does not see, to pages of the site."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    folder = posixpath.dirname(page.file.src_uri)

    def rewrite(match: re.Match[str]) -> str:
        uri = _site_uri(posixpath.normpath(posixpath.join(folder, match[1])))
        file = files.get_file_from_path(uri) if uri else None
        if file is None:
            raise PluginError(f"{page.file.src_uri}: the site has no page {match[1]}")
        return file.url_relative_to(page.file)

    return NOTEBOOK_LINK.sub(rewrite, html)


def _rewrite(match: re.Match[str], source: str, page: str) -> str:
    """Return a link of a document, or its text only where the target is not on the site."""
    mark, text, target = match.groups()
    path, _, fragment = target.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return match[0]
    uri = _site_uri(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
    if uri is None:
        return text
    link = posixpath.relpath(uri, posixpath.dirname(page) or ".")
    return f"{mark}[{text}]({link}{'#' if fragment else ''}{fragment})"


def _site_uri(path: str) -> str | None:
    """Return the page of a file of the repository; None if it is not on the site."""
    names = {source: name for name, source in COPIES.items()}
    if path in names:
        return names[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("examples/") and path.endswith(".ipynb"):
        return path
    return None
