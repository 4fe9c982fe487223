"""The onboarding link: redeemed once, within its time, or withdrawn before."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from keyfold.domain import link
from keyfold.domain.link import (
    IssueLink,
    LinkEvent,
    LinkExpired,
    LinkGone,
    LinkIssued,
    LinkRedeemed,
    LinkUsed,
    LinkWithdrawn,
    RedeemLink,
    WithdrawLink,
)
from keyfold.domain.refusals import Refusal

from .given import NOW, given, making

IDS: dict[str, Any] = {"workspace_id": "ws_1", "link_id": "lnk_1", "integration_id": "int_1", "partner_id": "prt_1"}
EXPIRY = NOW + timedelta(minutes=30)
MOMENT = timedelta(microseconds=1)
ISSUED = LinkIssued(expires_at=EXPIRY, **IDS)
REDEEMED = LinkRedeemed(key_ids=["key_1", "key_2"], **IDS)
WITHDRAWN = LinkWithdrawn(reason="wrong address", **IDS)
REDEEM = RedeemLink(["key_1", "key_2"])
WITHDRAW = WithdrawLink("wrong address")
HISTORIES: dict[str, list[LinkEvent]] = {
    "open": [ISSUED],
    "redeemed": [ISSUED, REDEEMED],
    "withdrawn": [ISSUED, WITHDRAWN],
}


def test_issuing_says_whom_it_invites_to_what_until_when() -> None:
    making(link.issue, IssueLink(expires_at=EXPIRY, **IDS)).then([ISSUED])


def test_an_open_link_is_redeemed() -> None:
    given(link, [ISSUED]).when(REDEEM, NOW).then([REDEEMED])


def test_a_redeemed_link_is_not_redeemed_again() -> None:
    given(link, [ISSUED, REDEEMED]).when(REDEEM, NOW).then_refused(LinkUsed)


def test_a_withdrawn_link_is_not_redeemed() -> None:
    given(link, [ISSUED, WITHDRAWN]).when(REDEEM, NOW).then_refused(LinkGone)


def test_a_link_can_be_redeemed_until_the_last_microsecond() -> None:
    given(link, [ISSUED]).when(REDEEM, EXPIRY - MOMENT).then([REDEEMED])


def test_at_the_very_instant_of_its_expiry_a_link_has_expired() -> None:
    given(link, [ISSUED]).when(REDEEM, EXPIRY).then_refused(LinkExpired)


def test_a_used_link_stays_used_and_a_withdrawn_one_withdrawn_when_its_time_is_over() -> None:
    given(link, [ISSUED, REDEEMED]).when(REDEEM, EXPIRY).then_refused(LinkUsed)
    given(link, [ISSUED, WITHDRAWN]).when(REDEEM, EXPIRY).then_refused(LinkGone)


def test_an_open_link_is_withdrawn() -> None:
    given(link, [ISSUED]).when(WITHDRAW, NOW).then([WITHDRAWN])


def test_withdrawing_a_link_that_is_over_changes_nothing() -> None:
    given(link, [ISSUED, WITHDRAWN]).when(WITHDRAW, NOW).then_nothing()
    given(link, [ISSUED]).when(WITHDRAW, EXPIRY).then_nothing()


def test_a_used_link_is_not_withdrawn() -> None:
    given(link, [ISSUED, REDEEMED]).when(WITHDRAW, NOW).then_refused(LinkUsed)


def test_its_status_follows_time_only_while_it_is_open() -> None:
    states = {name: given(link, events).state for name, events in HISTORIES.items()}
    assert {name: state.status_at(NOW) for name, state in states.items()} == {
        "open": "open",
        "redeemed": "redeemed",
        "withdrawn": "withdrawn",
    }
    assert states["open"].status_at(EXPIRY - MOMENT) == "open"
    assert {name: state.status_at(EXPIRY) for name, state in states.items()} == {
        "open": "expired",
        "redeemed": "redeemed",
        "withdrawn": "withdrawn",
    }


def test_preview_and_redemption_refuse_for_the_same_reasons() -> None:
    link.demand_open(given(link, [ISSUED]).state, NOW)
    refusals: list[tuple[str, datetime, type[Refusal]]] = [
        ("redeemed", NOW, LinkUsed),
        ("withdrawn", NOW, LinkGone),
        ("open", EXPIRY, LinkExpired),
    ]
    for history, now, refusal in refusals:
        with pytest.raises(refusal):
            link.demand_open(given(link, HISTORIES[history]).state, now)


def test_the_end_of_a_link_is_remembered() -> None:
    later = NOW + timedelta(minutes=3)
    assert link.evolve(given(link, [ISSUED]).state, REDEEMED, later).ended_at == later
    assert link.evolve(given(link, [ISSUED]).state, WITHDRAWN, later).ended_at == later


def test_a_history_without_its_beginning_is_no_history() -> None:
    with pytest.raises(ValueError, match=r"link\.redeemed\.v1 before"):
        link.evolve(None, REDEEMED, NOW)
