"""What all pages share: bytes kept in memory, sent with a validator, and the templates that they are made of."""

import gzip
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import jinja2
import msgspec
from jinja2.bccache import Bucket
from litestar import HttpMethod, Request, Response

from keyfold import __version__
from keyfold.web import words
from keyfold.web.pages.joined import joined
from keyfold.web.texts import has, t

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "png": "image/png"}
_GZIP = re.compile(r"(?:^|[\s,])gzip\s*(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))(?:;|,|$)", re.IGNORECASE)
READ = [HttpMethod.GET, HttpMethod.HEAD]
REVALIDATE = "no-cache"
"""Kept by the browser, and asked about each time: a new version shows at once, an old one costs 304."""


class Content(msgspec.Struct, frozen=True):
    """A finished body. `tag` identifies its bytes, `packed` are the same by gzip where there is something to gain."""

    body: bytes
    media_type: str
    tag: str
    packed: bytes = b""

    @classmethod
    def of(cls, body: bytes, media_type: str) -> "Content":
        return cls(body, media_type, sha256(body).hexdigest()[:16])

    @classmethod
    def kept(cls, body: bytes, media_type: str) -> "Content":
        """Of what is sent often and holds no secret."""
        packed = gzip.compress(body, mtime=0) if media_type.startswith("text/") else b""
        return msgspec.structs.replace(cls.of(body, media_type), packed=packed)


def html(text: str) -> Content:
    return Content.of(text.encode(), "text/html")


def deliver(request: Request[Any, Any, Any], content: Content, cache_control: str = REVALIDATE) -> Response[bytes]:
    """The content, or 304 for whoever has it."""
    packed = bool(content.packed) and _takes_gzip(request)
    tag = f'"{content.tag}-gzip"' if packed else f'"{content.tag}"'
    headers = {"ETag": tag, "Cache-Control": cache_control, **({"Vary": "Accept-Encoding"} if content.packed else {})}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(b"", status_code=304, headers=headers)
    if packed:
        return Response(content.packed, media_type=content.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(content.body, media_type=content.media_type, headers=headers)


def _takes_gzip(request: Request[Any, Any, Any]) -> bool:
    """RFC 9110, 12.5.3; what is named with a weight of 0 isn't taken."""
    return bool(_GZIP.search(request.headers.get("accept-encoding", "")))


@cache
def assets() -> dict[str, Content]:
    """Every static file by its path: `keyfold.css`, `portal/main.js`; the handbook's as `pictures/…`.

    All modules of the portal together are `portal/portal.js`.
    """
    static = files("keyfold.web") / "static"
    pictures = _found(files("keyfold") / "docs" / "pictures", "pictures/")
    portal = joined("main", lambda name: (static / "portal" / f"{name}.js").read_text("utf-8"))
    together = ("portal/portal.js", Content.kept(portal.encode(), _TYPES["js"]))
    return dict(sorted([*_found(static, ""), *pictures, together]))


def _found(folder: Traversable, path: str) -> Iterator[tuple[str, Content]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _found(each, f"{path}{each.name}/")
        elif media_type := _TYPES.get(each.name.rpartition(".")[2]):
            yield path + each.name, Content.kept(each.read_bytes(), media_type)


@cache
def release() -> str:
    """Identifies the bytes of all static files together, since modules name one another by relative addresses."""
    return sha256("".join(f"{name}:{each.tag};" for name, each in assets().items()).encode()).hexdigest()[:16]


def asset_url(name: str) -> str:
    """The address of these very bytes of a static file, good for ever; what it imports is found beside it."""
    if name not in assets():
        raise KeyError(name)
    return f"/static/~{release()}/{name}"


class _Compiled(jinja2.FileSystemBytecodeCache):
    """Compiled templates, in a folder of this user's own, so that only the first process compiles them: a second."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):  # a full disk costs time, not the page
            super().dump_bytecode(bucket)


def _compiled() -> _Compiled | None:
    try:
        return _Compiled()
    except (OSError, RuntimeError):  # there is no place for them, or none that is safe from others
        return None


def warm() -> None:
    """Makes ready what the first visitor would wait for."""
    release()
    for name in templates().list_templates():
        templates().get_template(name)


@cache
def templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keyfold.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        bytecode_cache=_compiled(),
    )
    environment.globals |= {"asset": asset_url, "version": __version__, "t": t, "has": has}
    environment.filters |= words.FILTERS
    return environment


def render(template: str, **values: object) -> Content:
    return html(templates().get_template(template).render(**values))
