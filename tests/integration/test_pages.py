"""The handbook, the API reference, the OpenAPI document and the static files, and that what they say is true."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from prometheus_client.metrics import MetricWrapperBase

from keyfold import metrics
from keyfold.bus import subjects
from keyfold.bus.topology import LOGINS
from keyfold.bus.trust import Root
from keyfold.cli.main import COMMANDS
from keyfold.domain import tokens
from keyfold.domain.aggregates import EVENT_TYPES
from keyfold.settings import Secret, Settings
from keyfold.web import problems
from keyfold.web.app import create_app
from keyfold.web.pages.content import asset_url, assets
from keyfold.web.pages.errors import refusals
from keyfold.web.pages.examples import EXAMPLES
from keyfold.web.pages.handbook import PAGES, pages, slug, source
from keyfold.web.services import Services

ADDRESSES = ("/docs", *[page.path for page in pages().values() if page.name != "index"], "/onboard")
SPECIFICATIONS = "https://c2sp.org/"
"""Of the log's formats: what the handbook alone leads away to."""


@asynccontextmanager
async def served() -> AsyncIterator[httpx.AsyncClient]:
    """The application without Postgres and NATS: no page needs them."""
    keys = Secret(Root(bytes(32)).generation(1).setting().encode())
    settings = Settings(
        database_url="postgresql://nobody@127.0.0.1:1/none", peppers={1: Secret(bytes(32))}, nats_keys=keys
    )
    services = Services(settings)
    transport = httpx.ASGITransport(create_app(services))  # type: ignore[arg-type]  # ASGI all the same
    async with httpx.AsyncClient(transport=transport, base_url="http://keyfold.test") as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web() -> AsyncIterator[httpx.AsyncClient]:
    async with served() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def document(web: httpx.AsyncClient) -> Any:
    return (await web.get("/openapi.json")).json()


class Anatomy(HTMLParser):
    """The ids, links and loaded resources of a page, and whatever the content security policy would block."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.resources: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [str(given["id"])] if "id" in given else []
        if tag == "a":
            self.links.append(str(given["href"]))
        elif "src" in given or (tag == "link" and "href" in given):
            self.resources.append(str(given.get("src") or given["href"]))
        is_inline_script = tag == "script" and "src" not in given
        if tag == "style" or is_inline_script or any(name == "style" or name.startswith("on") for name in given):
            self.inline.append(tag)


async def anatomy(web: httpx.AsyncClient, address: str) -> Anatomy:
    answer = await web.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), address
    return Anatomy(answer.text)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_page_loads_nothing_from_elsewhere_and_nothing_inline(web: httpx.AsyncClient, address: str) -> None:
    page = await anatomy(web, address)
    assert page.inline == []
    assert len(page.ids) == len({*page.ids})
    for resource in page.resources:
        assert resource.startswith("/static/")
        answer = await web.get(resource)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("address", ADDRESSES)
async def test_every_link_of_a_page_leads_somewhere(web: httpx.AsyncClient, address: str) -> None:
    targets: dict[str, set[str]] = {}
    for link in (await anatomy(web, address)).links:
        if link.startswith(SPECIFICATIONS):
            continue
        path, _, anchor = link.partition("#")
        assert path.startswith("/") or not path, f"{link} leads away"
        targets.setdefault(path or address, set()).add(anchor)
    for path, anchors in targets.items():
        answer = await web.get(path)
        assert answer.status_code == 200, path
        assert anchors - {""} <= {*Anatomy(answer.text).ids}, path


@pytest.mark.parametrize("address", [*ADDRESSES, "/openapi.json", "/static/keyfold.css"])
async def test_head_answers_like_get_without_a_body(web: httpx.AsyncClient, address: str) -> None:
    get, head = await web.get(address), await web.head(address)
    assert (head.status_code, head.content) == (200, b"")
    same = ("content-type", "content-length", "etag", "cache-control")
    assert [head.headers[name] for name in same] == [get.headers[name] for name in same]


async def test_the_root_leads_to_the_handbook(web: httpx.AsyncClient) -> None:
    answer = await web.get("/")
    assert (answer.status_code, answer.headers["location"]) == (302, "/docs")


@pytest.mark.parametrize("address", ["/docs/nothing", "/docs/..%2f..%2fsettings", "/static/nothing", "/static/%2e%2e"])
async def test_an_unknown_page_is_a_problem(web: httpx.AsyncClient, address: str) -> None:
    answer = await web.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not-found"


async def test_what_a_browser_has_is_not_sent_again(web: httpx.AsyncClient) -> None:
    first = await web.get("/docs")
    again = await web.get("/docs", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "no-cache"


async def test_a_static_file_under_another_version_is_asked_about_each_time(web: httpx.AsyncClient) -> None:
    for address in ("/static/keyfold.css", "/static/keyfold.css?v=other"):
        assert (await web.get(address)).headers["cache-control"] == "no-cache"


async def test_the_page_of_a_link_is_never_kept(web: httpx.AsyncClient) -> None:
    answer = await web.get("/onboard")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_scripts_keep_secrets_out_of_storage_and_markup() -> None:
    forbidden = (
        "sessionStorage",
        "indexedDB",
        "document.cookie",
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "eval(",
    )
    scripts = {name: each.body.decode() for name, each in assets().items() if name.endswith(".js")}
    own = {name: script for name, script in scripts.items() if not name.startswith("vendor/")}
    assert len(own) > 20
    assert [(name, word) for name, script in own.items() for word in forbidden if word in script] == []
    assert {name for name, script in own.items() if "localStorage" in script} == {
        *("theme.js", "portal/theme.js", "portal/portal.js"),
        *("console/saved.js", "console/proof.js"),  # saved filters; the last checkpoint that was seen
    }


async def test_modules_are_kept_for_a_year_under_the_address_of_their_release(web: httpx.AsyncClient) -> None:
    for name in ("portal/portal.js", "portal/home.js", "vendor/uplot.js", "keyfold.css"):
        answer = await web.get(asset_url(name))
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
        other = await web.get(f"/static/~other/{name}")
        assert (other.status_code, other.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize("accepted", ["gzip, br", "br, GZIP;q=0.5", "identity", "gzip;q=0, br", ""])
async def test_static_files_come_packed_to_whoever_takes_that(web: httpx.AsyncClient, accepted: str) -> None:
    plain = assets()["keyfold.css"].body
    answer = await web.get(asset_url("keyfold.css"), headers={"Accept-Encoding": accepted})
    packed = answer.headers.get("content-encoding") == "gzip"
    assert packed == (accepted in ("gzip, br", "br, GZIP;q=0.5"))
    assert (answer.content, answer.headers["vary"]) == (plain, "Accept-Encoding")
    assert (int(answer.headers["content-length"]) < len(plain) / 2) == packed
    again = {"Accept-Encoding": accepted, "If-None-Match": answer.headers["etag"]}
    assert (await web.get(asset_url("keyfold.css"), headers=again)).status_code == 304
    other = {"Accept-Encoding": "identity" if packed else "gzip", "If-None-Match": answer.headers["etag"]}
    assert (await web.get(asset_url("keyfold.css"), headers=other)).status_code == 200


def test_the_handbook_is_the_folder() -> None:
    from importlib.resources import files  # noqa: PLC0415

    found = {file.name for file in (files("keyfold") / "docs").iterdir() if file.is_file()}
    assert found == {f"{name}.md" for name in PAGES}


async def test_html_in_a_page_shows_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfold.web.pages.handbook.source", lambda name: f"# {name}\n\n<b>bold</b> <script>x</script>")
    pages.cache_clear()
    try:
        async with served() as web:
            assert "&lt;b&gt;bold&lt;/b&gt; &lt;script&gt;x" in (await web.get("/docs/quickstart")).text
    finally:
        pages.cache_clear()


def headings(name: str) -> set[str]:
    return {heading.title for heading in pages()[name].headings}


def test_every_code_of_an_error_has_its_section_and_no_section_is_of_none() -> None:
    codes = {refusal.code for refusal in refusals() if refusal.__module__.startswith("keyfold.")}
    codes |= {code for code, _ in problems._BY_STATUS.values()} | {"invalid-json", "internal"}
    assert headings("errors") == codes
    assert {slug(code) for code in codes} == codes


@pytest.mark.parametrize("type_", EVENT_TYPES)
def test_every_lifecycle_event_is_described_with_its_fields(type_: str) -> None:
    section = re.split(r"^## ", source("events"), flags=re.MULTILINE)
    (described,) = [each for each in section if each.startswith(f"{type_}\n")]
    told = {name: bool(mark) for name, mark in re.findall(r"^\| `(\w+)`( \?)? \|", described, re.MULTILINE)}
    assert told == {field.encode_name: not field.required for field in msgspec.structs.fields(EVENT_TYPES[type_])}
    assert headings("events") == {"Subscribing to lifecycle events", *EVENT_TYPES}


def test_every_setting_is_described_with_its_default() -> None:
    rows = re.findall(r"^\| `(KEYFOLD_\w+)` \| (?:`([^`]*)`|(required))? ?\|", source("operations"), re.MULTILINE)
    fields = msgspec.structs.fields(Settings)
    wanted = {
        f"KEYFOLD_{field.name.upper()}": "required" if field.required else str(field.default or "") for field in fields
    }
    assert {name: default or required for name, default, required in rows} == wanted


def test_every_metric_is_described() -> None:
    section = source("operations").partition("\n## Metrics\n")[2].partition("\n## ")[0]
    told = {*re.findall(r"^\| `(keyfold_\w+)` \|", section, re.MULTILINE)}
    families = [next(iter(each.describe())) for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    assert told == {f"{each.name}_total" if each.type == "counter" else each.name for each in families}


def test_the_permissions_at_nats_are_those_that_are_described() -> None:
    said = {*re.findall(r"^\| `\w+` \| `[A-Z]+` \| .* \| .* \|$", source("operations"), re.MULTILINE)}
    assert said == {described(name, *login) for name, login in LOGINS.items()}
    assert f"`{subjects.LIFECYCLE}` (subjects `{subjects.LIFECYCLE_SUBJECTS}`" in source("operations")


def described(name: str, account: str, permissions: dict[str, Any]) -> str:
    """The row of a login in the handbook."""
    publish = ", ".join(f"`{subject}`" for subject in permissions["pub"]["allow"])
    if permissions["pub"].get("deny"):
        publish += " but " + ", ".join(f"`{subject}`" for subject in permissions["pub"]["deny"])
    if "resp" in permissions:
        publish += f"{', and ' if publish else ''}to whoever asks it"
    subscribe = ", ".join(f"`{subject}`" for subject in permissions["sub"]["allow"])
    return f"| `{name}` | `{account}` | {publish} | {subscribe} |"


def test_the_published_patterns_are_those_that_count() -> None:
    assert f"\n{tokens.KEY_PATTERN}\n{tokens.LINK_PATTERN}\n" in source("partner-guide")


def test_commands_in_the_handbook_exist() -> None:
    for name in PAGES:
        fenced = re.findall(r"^(?:```bash\n(.*?)```|    (keyfold .*))$", source(name), re.MULTILINE | re.DOTALL)
        for command in re.findall(r"\bkeyfold ([a-z]+)\b", "\n".join("".join(each) for each in fenced)):
            assert command in COMMANDS, f"{name}: keyfold {command}"


def walk(value: Any) -> list[Any]:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [value, *[each for part in below for each in walk(part)]]


def operations(document: Any) -> list[tuple[str, str, Any]]:
    return [(path, method, each) for path, item in document["paths"].items() for method, each in item.items()]


async def test_the_description_is_sound(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    for reference in [each["$ref"] for each in walk(document) if isinstance(each, dict) and "$ref" in each]:
        assert reference.rpartition("/")[2] in document["components"][reference.split("/")[2]]
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in document["components"]["schemas"])
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len({*ids})
    for path, _, operation in operations(document):
        declared = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert declared == {*re.findall(r"\{(\w+)\}", path)}
        assert operation["summary"]


async def test_the_description_covers_every_route_of_the_api(document: Any) -> None:
    from keyfold.web.v1 import router  # noqa: PLC0415

    described = {(re.sub(r"\{\w+\}", "{}", path), method.upper()) for path, method, _ in operations(document)}
    routed = {
        (re.sub(r"\{[^}]+\}", "{}", route.path), method)
        for route in router.routes
        for method in getattr(route, "methods", ())
        if method != "OPTIONS"
    }
    assert described == routed


async def test_every_error_that_is_described_is_a_problem(document: Any) -> None:
    for response in document["components"]["responses"].values():
        assert [*response["content"]] == ["application/problem+json"]
    for path, method, operation in operations(document):
        statuses = {*operation["responses"]}
        assert {"400", "503"} < statuses, path
        assert ("403" in statuses) == (operation["x-permission"] != "public"), path
        assert (operation.get("security") == []) == (operation["x-permission"] == "public"), path
        assert ("415" in statuses) == (method in ("post", "patch")), path
        assert ({"412", "428"} <= statuses) == (method == "patch"), path


async def test_a_body_with_an_unknown_field_is_none_of_the_description(document: Any) -> None:
    bodies = [operation["requestBody"] for _, _, operation in operations(document) if "requestBody" in operation]
    assert len(bodies) > 5
    ours = [body["content"]["application/json"]["schema"] for body in bodies]
    for schema in [each for each in ours if each]:  # an event's data may be anything
        name = schema["$ref"].rpartition("/")[2]
        assert document["components"]["schemas"][name]["additionalProperties"] is False


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: body.__name__)
def test_the_example_of_a_body_is_one_that_is_taken(body: type[msgspec.Struct]) -> None:
    msgspec.convert(EXAMPLES[body], body)


async def test_the_reference_has_every_operation(web: httpx.AsyncClient, document: Any) -> None:
    text = (await web.get("/docs/api")).text
    for path, _, operation in operations(document):
        assert f'id="{operation["operationId"]}"' in text
        assert f"<code>{path}</code>" in text
        if operation["x-permission"] != "public":
            assert f"<code>{operation['x-permission']}</code>" in text
