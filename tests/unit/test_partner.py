"""The partner: invited, onboarded, given keys, offboarded for good; and the limits of what an invitation says."""

from datetime import timedelta
from typing import Any

import pytest

from keyfold.domain import partner
from keyfold.domain.consumer_group import (
    GROUPS,
    ConsumerAdded,
    ConsumerRemoved,
    ConsumerTaken,
    Group,
    TooManyConsumers,
)
from keyfold.domain.partner import (
    AddConsumer,
    AddKey,
    AddLink,
    Invitation,
    OffboardPartner,
    OnboardPartner,
    PartnerGone,
    PartnerInvited,
    PartnerKeyAdded,
    PartnerOffboarded,
    PartnerOnboarded,
    RemoveConsumer,
)
from keyfold.domain.permissions import Environment
from keyfold.domain.record import encode
from keyfold.domain.refusals import Invalid, NotFound
from keyfold.domain.rule import Receive

from .given import NOW, Outcome, given, making

THIS: dict[str, Any] = {"workspace_id": "ws_1", "partner_id": "prt_1", "integration_id": "int_1"}
INVITED = PartnerInvited(link_id="lnk_1", app_name="Orders", **THIS)
ONBOARDED = PartnerOnboarded(link_id="lnk_1", key_ids=["key_1", "key_2"], **THIS)
ADDED = PartnerKeyAdded(key_id="key_3", **THIS)
OFFBOARDED = PartnerOffboarded(reason="contract ended", **THIS)


def invite(**said: Any) -> Outcome:
    return making(partner.invite, Invitation(**said), link_id="lnk_1", **THIS)


def invited(**said: Any) -> list[PartnerInvited]:
    return [PartnerInvited(link_id="lnk_1", **said, **THIS)]


def test_an_invitation_may_say_nothing_at_all() -> None:
    invite().then(invited())


def test_an_invitation_is_recorded_as_it_was_said() -> None:
    said: dict[str, Any] = {
        "app_name": "Bücher & Café 書店 👩🏽‍💻",
        "app_description": "Erste Zeile\n\tzweite Zeile",
        "metadata": {"": None, "ключ": [1, 2.5, True, {"nested": "ok\n"}]},
    }
    invite(**said).then(invited(**said))


def test_a_name_has_256_characters_at_the_most() -> None:
    invite(app_name="é" * 256).then(invited(app_name="é" * 256))
    invite(app_name="é" * 257).then_refused(Invalid, "/appName")


def test_a_description_has_4096_characters_at_the_most() -> None:
    invite(app_description="é" * 4096).then(invited(app_description="é" * 4096))
    invite(app_description="é" * 4097).then_refused(Invalid, "/appDescription")


@pytest.mark.parametrize("control", ["\0", "\n", "\t", "\r", "\x1b", "\x7f"])
def test_a_name_has_no_control_characters(control: str) -> None:
    invite(app_name=f"a{control}b").then_refused(Invalid, "/appName")


@pytest.mark.parametrize("control", ["\0", "\r", "\x0b", "\x1b", "\x7f"])
def test_a_description_has_none_but_line_breaks_and_tabs(control: str) -> None:
    invite(app_description=f"a{control}b").then_refused(Invalid, "/appDescription")


def test_everything_that_is_wrong_is_said_at_once() -> None:
    invite(app_name="\0", app_description="\0", metadata={"n": 2**64}).then_refused(
        Invalid, "/appName", "/appDescription", "/metadata/n"
    )


def test_metadata_must_be_an_object() -> None:
    invite(metadata=["not", "one"]).then_refused(Invalid, "/metadata")


def test_metadata_has_16_kib_as_json_at_the_most() -> None:
    fits = {"k": "é" * ((16 * 1024 - len('{"k":""}')) // 2)}
    assert len(encode(fits)) == 16 * 1024
    invite(metadata=fits).then(invited(metadata=fits))
    invite(metadata={"k": fits["k"] + "x"}).then_refused(Invalid, "/metadata")


def nested(levels: int, innermost: Any) -> Any:
    for level in range(levels):
        innermost = {"a": innermost} if level % 2 else [innermost]
    return {"m": innermost}


def test_metadata_is_nested_8_levels_deep_at_the_most_counting_itself() -> None:
    invite(metadata=nested(7, "leaf")).then(invited(metadata=nested(7, "leaf")))
    invite(metadata=nested(8, "leaf")).then_refused(Invalid, "/metadata/m/a/0/a/0/a/0/a")


def test_however_deep_it_is_metadata_is_refused_and_not_recursed_into() -> None:
    invite(metadata=nested(50_000, "leaf")).then_refused(Invalid, "/metadata/m/a/0/a/0/a/0/a")


@pytest.mark.parametrize("number", [-(2**63), 2**64 - 1, 0, True])
def test_integers_that_fit_into_64_bits_are_kept(number: int) -> None:
    invite(metadata={"n": number}).then(invited(metadata={"n": number}))


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**64, 10**40])
def test_integers_that_no_other_reader_could_hold_are_refused(number: int) -> None:
    invite(metadata={"a/b": [{"~": number}]}).then_refused(Invalid, "/metadata/a~1b/0/~0")


def test_metadata_has_no_nul_neither_in_texts_nor_in_names() -> None:
    invite(metadata={"a": ["x\0"]}).then_refused(Invalid, "/metadata/a/0")
    invite(metadata={"a": {"x\0": 1}}).then_refused(Invalid, "/metadata/a")


def test_an_invited_partner_is_onboarded_with_its_keys() -> None:
    given(partner, [INVITED]).when(OnboardPartner("lnk_1", ["key_1", "key_2"])).then([ONBOARDED])


def test_a_partner_may_be_given_one_more_key() -> None:
    given(partner, [INVITED, ONBOARDED]).when(AddKey("key_3")).then([ADDED])


def test_a_partner_leaves_once_and_leaving_again_changes_nothing() -> None:
    given(partner, [INVITED]).when(OffboardPartner("contract ended")).then([OFFBOARDED])
    given(partner, [INVITED, ONBOARDED]).when(OffboardPartner("contract ended")).then([OFFBOARDED])
    given(partner, [INVITED, OFFBOARDED]).when(OffboardPartner("once more")).then_nothing()


@pytest.mark.parametrize("command", [OnboardPartner("lnk_1", ["key_1"]), AddKey("key_3"), AddLink("lnk_2")])
def test_a_partner_that_has_left_gets_no_keys(command: Any) -> None:
    given(partner, [INVITED, ONBOARDED, OFFBOARDED]).when(command).then_refused(PartnerGone)


def test_the_partner_knows_every_key_and_link_that_it_ever_had() -> None:
    state = given(partner, [INVITED, ONBOARDED, ADDED, OFFBOARDED]).state
    assert (state.links, state.keys) == (("lnk_1",), ("key_1", "key_2", "key_3"))


def test_its_status_and_its_times_follow_its_history() -> None:
    later, last = NOW + timedelta(hours=1), NOW + timedelta(days=1)
    state = given(partner, [INVITED]).state
    assert (state.status, state.invited_at, state.onboarded_at) == ("invited", NOW, None)
    state = partner.evolve(state, ONBOARDED, later)
    assert (state.status, state.onboarded_at, state.offboarded_at) == ("onboarded", later, None)
    state = partner.evolve(state, OFFBOARDED, last)
    assert (state.status, state.invited_at, state.onboarded_at, state.offboarded_at) == ("offboarded", NOW, later, last)


def test_a_history_without_its_beginning_is_no_history() -> None:
    with pytest.raises(ValueError, match=r"partner\.onboarded\.v1 before"):
        partner.evolve(None, ONBOARDED, NOW)


def group(name: str = "billing", environment: Environment = "prod") -> Group:
    return Group(environment, name, Receive(topics=("app/*",)), NOW)


def added(of: Group) -> ConsumerAdded:
    return ConsumerAdded(environment=of.environment, name=of.name, topics=of.receive.topics, **THIS)


def test_a_consumer_is_added_once_for_each_environment() -> None:
    there = given(partner, [INVITED, ONBOARDED, added(group())])
    there.when(AddConsumer(group("other"))).then([added(group("other"))])
    there.when(AddConsumer(group(environment="dev"))).then([added(group(environment="dev"))])
    there.when(AddConsumer(group())).then_refused(ConsumerTaken)


def test_a_partner_has_so_many_consumers_in_an_environment() -> None:
    full = given(partner, [INVITED, *[added(group(f"g-{n}")) for n in range(GROUPS)]])
    full.when(AddConsumer(group("more"))).then_refused(TooManyConsumers)
    full.when(AddConsumer(group("more", "dev"))).then([added(group("more", "dev"))])


def test_a_consumer_that_is_there_is_removed() -> None:
    gone = ConsumerRemoved(environment="prod", name="billing", **THIS)
    there = given(partner, [INVITED, added(group()), added(group(environment="dev"))])
    there.when(RemoveConsumer("prod", "billing")).then([gone])
    there.when(RemoveConsumer("stage", "billing")).then_refused(NotFound)
    given(partner, [INVITED, added(group()), gone]).when(RemoveConsumer("prod", "billing")).then_refused(NotFound)
