"""The trail as a file."""

from typing import get_args

import msgspec
from litestar import get, post
from litestar.types import ASGIApp

from keyfold.domain.reading import ExportFormat
from keyfold.web.console.asking import read
from keyfold.web.console.audit import ABOUT, Position, TrailAsked
from keyfold.web.console.listing import asked
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.console.session import form
from keyfold.web.texts import t
from keyfold.web.v1.audit_export import exported
from keyfold.web.v1.trail import PERMISSION

_NAMES: dict[ExportFormat, str] = {
    "ndjson": "audit.ndjson",
    "records": "records.ndjson",
    "ocsf": "audit-ocsf.ndjson",
    "ecs": "audit-ecs.ndjson",
}


class ExportAsked(msgspec.Struct, frozen=True, kw_only=True):
    format: ExportFormat = "ndjson"
    after: Position = 0


@get("/audit/export", opt={"permission": PERMISSION})
async def export_page(request: Req) -> Page:
    """The form, filled in with what a search of the trail was about."""
    about = {name: value for name, value in asked(request).items() if name in ABOUT}
    formats = [(each, t(f"export.format.{each}")) for each in get_args(ExportFormat)]
    return page(request, "console/audit_export.html", about=about, formats=formats)


@post("/audit/export", status_code=200, opt={"permission": PERMISSION})
async def export(request: Req) -> ASGIApp:
    """The file, as it flows. By a form that is posted: it is written down that it went out."""
    fields = {name: values[-1].strip() for name, values in (await form(request)).items() if values[-1].strip()}
    wanted, how = await read(TrailAsked, fields).filter(), read(ExportAsked, fields)
    name = f'attachment; filename="{_NAMES[how.format]}"'
    return await exported(request, wanted, how.format, how.after, (b"content-disposition", name.encode()))
