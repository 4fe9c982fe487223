"""The handbook: the Markdown files of `keyfold/docs` as HTML, with headings that can be linked to."""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import msgspec
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from keyfold.web.pages.content import asset_url

PAGES = (
    "index",
    "quickstart",
    "partner-guide",
    "keys",
    "console",
    "app-events",
    "client",
    "topics",
    "api",
    "permissions",
    "errors",
    "events",
    "audit-trail",
    "history",
    "audit",
    "erasure",
    "operations",
    "scale",
    "benchmark",
    "architecture",
)
"""In the order of the navigation."""

_LINK = re.compile(r"(?P<page>[a-z-]+)\.md(?P<anchor>#.*)?")


class Heading(msgspec.Struct, frozen=True):
    anchor: str
    title: str


class Page(msgspec.Struct, frozen=True):
    """One page of the handbook. `headings` are those of the second level; `body` is HTML."""

    name: str
    title: str
    headings: list[Heading]
    body: Markup

    @property
    def path(self) -> str:
        return "/docs" if self.name == "index" else f"/docs/{self.name}"


@cache
def pages() -> dict[str, Page]:
    """Every page by its name, in the order of the navigation."""
    return {name: _page(name, source(name)) for name in PAGES}


def source(name: str) -> str:
    """The Markdown of a page."""
    return (files("keyfold") / "docs" / f"{name}.md").read_text(encoding="utf-8")


def inline(text: str) -> Markup:
    """A sentence with code and emphasis as HTML, for descriptions that aren't a page."""
    return _safe(_markdown().renderInline(text))


def prose(text: str) -> Markup:
    """Paragraphs as HTML."""
    return _safe(_markdown().render(text))


def _safe(rendered: str) -> Markup:
    """What the renderer made: it passes no HTML of the source through."""
    return Markup(rendered)  # noqa: S704


def _page(name: str, text: str) -> Page:
    markdown = _markdown()
    tokens = markdown.parse(text)
    title, headings = name, []
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open":
            plain = _plain(content)
            opening.attrSet("id", slug(plain))
            if opening.tag == "h1":
                title = plain
            elif opening.tag == "h2":
                headings.append(Heading(slug(plain), plain))
    return Page(name, title, headings, _safe(markdown.renderer.render(tokens, markdown.options, {})))


def slug(title: str) -> str:
    """What a heading is linked to by: `Idempotency-Key` becomes `idempotency-key`."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("link_open", _link)
    markdown.add_render_rule("image", _image)
    markdown.add_render_rule("table_open", _table)
    markdown.add_render_rule("table_close", _table)
    return markdown


def _link(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """Files link to each other, so that the repository reads well; their pages do on the web."""
    if file := _LINK.fullmatch(str(tokens[at].attrGet("href"))):
        page = "/docs" if file["page"] == "index" else f"/docs/{file['page']}"
        tokens[at].attrSet("href", page + (file["anchor"] or ""))
    return str(renderer.renderToken(tokens, at, options, env))


def _image(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """Pictures lie beside the files in the repository, and with the static files on the web."""
    tokens[at].attrSet("src", asset_url(str(tokens[at].attrGet("src"))))
    tokens[at].attrSet("loading", "lazy")
    return str(renderer.image(tokens, at, options, env))


def _table(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A wide table scrolls by itself, by keyboard too, instead of widening a narrow page."""
    rendered = str(renderer.renderToken(tokens, at, options, env))
    if tokens[at].nesting == 1:
        return f'<div class="scroll" tabindex="0">{rendered}'
    return f"{rendered}</div>"


def _plain(inline_token: Token) -> str:
    return "".join(each.content for each in inline_token.children or [])
