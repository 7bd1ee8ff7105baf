"""`report.md` and `report.html`: the same sections, rendered by two templates."""

import base64
from pathlib import Path

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from membench.report import text
from membench.report.contents import Contents
from membench.report.sections import sections
from membench.report.sortable import sortable_rows

MARKDOWN = MarkdownIt("commonmark", {"html": False})


def _prose(markdown: str) -> Markup:
    """Return a paragraph of Markdown as HTML; what is HTML in it stays text."""
    return Markup(MARKDOWN.renderInline(markdown))


def _data_address(svg: bytes) -> str:
    """Return the address of a picture that is its own content; what an SVG names within stays within."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=jinja2.select_autoescape(["html.j2"], default=False),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {
    "data_address": _data_address,
    "line": text.one_line,
    "markdown": text.to_markdown,
    "plain": text.escape_markdown,
    "prose": _prose,
    "sortable_rows": sortable_rows,
}
TEMPLATES.tests["of_numbers"] = text.is_of_numbers


def markdown_page(contents: Contents) -> str:
    """Return the text of `report.md`, which shows the plots and names the tables that lie beside it."""
    return _render("report.md.j2", contents)


def html_page(contents: Contents) -> str:
    """Return the text of `report.html`, which needs no other file and no network."""
    return _render("report.html.j2", contents)


def _render(template: str, contents: Contents) -> str:
    return TEMPLATES.get_template(template).render(
        heading=contents.heading, answer=contents.answer, sections=sections(contents)
    )
