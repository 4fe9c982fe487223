"""Key policies: what keys are called, when they end, and what they are reminded of."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies

from keyfold.domain.policy import LONGEST, KeyPolicy, Upkeep, policy_faults
from keyfold.domain.rates import Rate

from .given import NOW

TEXTS = strategies.text(strategies.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


def name(template: str, *, app: str = "Orders", environment: str = "prod", integration: str = "Shop") -> str:
    policy = KeyPolicy(name_template=template)
    return policy.name_for(app=app, environment=environment, integration=integration)


def test_a_name_is_the_template_with_what_it_names() -> None:
    named = KeyPolicy().name_for(app="Orders", environment="dev", integration="Shop")
    assert named == "Orders dev"
    assert name("{integration}/{app}/{app} ({environment}) {other} {}") == "Shop/Orders/Orders (prod) {other} {}"


@pytest.mark.parametrize("app", ["{environment}", "{app}", "{{app}}", "{integration}{integration}", "\\1 \\g<1>"])
def test_an_app_called_like_a_field_is_only_called_so(app: str) -> None:
    assert name("{app} {environment}", app=app) == f"{app} prod"
    assert name("{integration}: {app}", app=app, integration="{app}") == f"{{app}}: {app}"


def test_of_a_name_that_gets_too_long_the_apps_is_cut_so_that_the_rest_still_tells_keys_apart() -> None:
    assert name("{app} {environment}", app="x" * 256) == "x" * 251 + " prod"
    assert name("{app}" + "y" * 251, app="abc") == "abc" + "y" * 251
    assert name("{app}" + "y" * 255, app="abc") == "a" + "y" * 255
    assert name("{app}" + "y" * 256, app="abc") == "y" * 256


def test_no_apps_name_turns_the_words_behind_it() -> None:
    turning = [chr(each) for each in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
    assert len(turning) == 9
    for each in turning:
        assert name("{app} {environment}", app=f"a{each}b") == "ab prod"
        assert name("{integration} {app} {environment}", integration=f"{each}Shop") == "Shop Orders prod"
    assert name("{app} {environment}", app="\u200eשלם\u200f") == "\u200eשלם\u200f prod"  # marks turn nothing else
    assert name("{app} {environment}", app="\u202e" * 200 + "x" * 256) == "x" * 251 + " prod"  # before it is cut


@given(TEXTS, TEXTS, TEXTS)
def test_a_name_is_never_too_long(template: str, app: str, integration: str) -> None:
    assert len(name("{app}" + template + "{integration}{app}", app=app, integration=integration)) <= 256


def test_keys_end_and_are_rotated_so_long_after_they_were_issued() -> None:
    assert KeyPolicy().expiry(NOW) is None
    assert KeyPolicy(lifetime_seconds=3600).expiry(NOW) == NOW + timedelta(hours=1)
    assert KeyPolicy().upkeep(NOW) == Upkeep()
    policy = KeyPolicy(rotation_seconds=60, lead_days=(3,), idle_seconds=120)
    assert policy.upkeep(NOW) == Upkeep(NOW + timedelta(minutes=1), (3,), 120)


@pytest.mark.parametrize(
    ("field", "pointer", "sound", "unsound"),
    [
        ("lifetime_seconds", "lifetimeSeconds", [None, 60, LONGEST], [-1, 0, 59, LONGEST + 1]),
        ("rotation_seconds", "rotationSeconds", [None, 60, LONGEST], [59, LONGEST + 1]),
        ("idle_seconds", "idleSeconds", [None, 60, LONGEST], [59, LONGEST + 1]),
        ("overlap_seconds", "overlapSeconds", [0, 30 * 86_400], [-1, 30 * 86_400 + 1]),
        ("live_keys", "liveKeys", [None, 1, 1000], [0, 1001]),
        ("event_bytes", "eventBytes", [1024, 2**20], [0, 1023, 2**20 + 1]),
        ("connections", "connections", [1, 10_000], [0, -1, 10_001]),
        ("lead_days", "leadDays", [(), (1, 365), tuple(range(1, 11))], [(0,), (366,), (7, -1), tuple(range(1, 12))]),
        ("name_template", "nameTemplate", ["x", "{app}", "y" * 256], ["", "  ", "a\nb", "y" * 257]),
        ("rate", "rate/requests", [None, Rate(1, 1), Rate(1_000_000, 86_400)], [Rate(0, 1), Rate(1_000_001, 1)]),
        ("rate", "rate/seconds", [Rate(1, 1)], [Rate(1, 0), Rate(1, 86_401)]),
    ],
)
def test_each_part_of_a_policy_has_its_limits(field: str, pointer: str, sound: list[Any], unsound: list[Any]) -> None:
    def faults(value: Any) -> list[str]:
        return [at for at, _ in policy_faults("/policy", KeyPolicy(**{field: value}))]

    assert [faults(value) for value in sound] == [[]] * len(sound)
    assert [faults(value) for value in unsound] == [[f"/policy/{pointer}"]] * len(unsound)


def test_all_that_is_wrong_with_a_policy_is_said_at_once() -> None:
    wrong = KeyPolicy(lifetime_seconds=0, overlap_seconds=-1, live_keys=0, name_template="")
    fields = ["lifetimeSeconds", "overlapSeconds", "liveKeys", "nameTemplate"]
    assert [at for at, _ in policy_faults("", wrong)] == [f"/{field}" for field in fields]
