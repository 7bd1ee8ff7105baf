"""`report.md` and `report.html`: the same sections, rendered by two templates."""

import base64
from pathlib import Path
from typing import Protocol

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from membench.report import text
from membench.report.contents import Contents
from membench.report.parts import Section
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


class Heading(Protocol):
    """What a page opens with."""

    @property
    def about(self) -> str:
        """What stands above the question."""
        ...

    @property
    def question(self) -> str:
        """What the page answers, in one sentence."""
        ...


def markdown_page(contents: Contents) -> str:
    """Return the text of `report.md`, which shows the plots and names the tables that lie beside it."""
    return _render("report.md.j2", contents.heading, contents.answer, sections(contents))


def html_page(contents: Contents) -> str:
    """Return the text of `report.html`, which needs no other file and no network."""
    return html_page_of(contents.heading, contents.answer, sections(contents))


def html_page_of(heading: Heading, answer: list[str], parts: list[Section]) -> str:
    """Return a page like `report.html` of an answer in sentences of plain text and sections."""
    return _render("report.html.j2", heading, answer, parts)


def _render(template: str, heading: Heading, answer: list[str], parts: list[Section]) -> str:
    return TEMPLATES.get_template(template).render(heading=heading, answer=answer, sections=parts)
