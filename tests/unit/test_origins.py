"""Origins that may embed the portal: exact ones, as browsers write them."""

import pytest

from keyfold.domain import integration
from keyfold.domain.integration import Terms
from keyfold.domain.origins import frame_ancestors, origin_faults
from keyfold.domain.refusals import Invalid

from .given import making


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "https://app.example.com:8443",
        "https://a-b.xn--bcher-kva.example",
        "https://192.0.2.7",
        "https://[2001:db8::7]:8443",
        "http://localhost",
        "http://localhost:5173",
        "https://localhost",
    ],
)
def test_an_origin_is_taken_as_browsers_write_it(origin: str) -> None:
    assert [*origin_faults("/origins", [origin])] == []


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "*",
        "null",
        "'self'",
        "https:",
        "https://*",
        "https://*.example.com",
        "https://app.example.com/",
        "https://app.example.com/portal",
        "https://APP.example.com",
        "https://app.example.com:443",
        "https://app.example.com:0",
        "https://app.example.com:65536",
        "https://user@app.example.com",
        "https://app_1.example.com",
        "https://app..example.com",
        "https://-app.example.com",
        "https://app.example.com https://evil.test",
        "https://app.example.com;script-src *",
        "https://app.example.com\n",
        "https://[2001:db8:0::7]",
        "https://[::gg]",
        "http://app.example.com",
        "http://localhost.evil.test",
        "http://localhost:80",
        "http://127.0.0.1:5173",
        "data:text/html,x",
        f"https://{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.example.com",
        "https://bücher.example",
    ],
)
def test_what_no_page_is_of_or_is_not_safe_is_refused_by_its_place(origin: str) -> None:
    assert [pointer for pointer, _ in origin_faults("/origins", ["https://fine.example", origin])] == ["/origins/1"]


def test_an_integration_names_up_to_twenty_and_each_once() -> None:
    many = tuple(f"https://a{n}.example" for n in range(21))
    making(integration.create, "int_1", "ws_1", Terms(name="Shop", origins=many)).then_refused(Invalid, "/origins")
    twice = Terms(name="Shop", origins=("https://a.example", "https://a.example"))
    making(integration.create, "int_1", "ws_1", twice).then_refused(Invalid, "/origins/1")
    [created] = integration.create("int_1", "ws_1", Terms(name="Shop", origins=many[:20]))
    assert isinstance(created, integration.IntegrationCreated)
    assert created.origins == many[:20]


def test_without_origins_nobody_frames_the_portal() -> None:
    assert frame_ancestors(()) == "'none'"
    assert frame_ancestors(("https://a.example", "http://localhost:1")) == "https://a.example http://localhost:1"
