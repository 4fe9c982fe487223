"""Commands that meet on the real store: decided anew, bounded, and answered once per idempotency key."""

import asyncio
import secrets

import msgspec
import pytest

from keyfold.app import work
from keyfold.app.vault import ReplayKey
from keyfold.app.views import InvitationView, KeyView
from keyfold.app.work import Answer, Cause, Work
from keyfold.domain.aggregates import KEY, PARTNER
from keyfold.domain.integration import Terms
from keyfold.domain.link import LinkUsed
from keyfold.domain.partner import AddKey, Invitation, decide
from keyfold.domain.refusals import Conflict
from keyfold.web.services import Services

from .support import CAUSE, Life, value


class Done(msgspec.Struct):
    attempts: int


def replay_key(services: Services, key: str, body: bytes = b"body") -> ReplayKey:
    return services.vault.replay_key(key, "tests", body)


async def test_a_conflict_is_decided_anew_on_what_is_there_then(life: Life, services: Services) -> None:
    """Somebody comes in between twice; the third decision stands on all of theirs."""
    partner_id = (await life.onboard()).partner.id
    attempts = 0

    async def command(this: Work) -> Done:
        nonlocal attempts
        attempts += 1
        state = await this.load(PARTNER, partner_id)
        if attempts < 3:
            await services.office.carry_out(CAUSE, Done, add_key)
        this.append(PARTNER, partner_id, decide(state, AddKey("key_mine")))
        return Done(attempts)

    async def add_key(this: Work) -> Done:
        state = await this.load(PARTNER, partner_id)
        this.append(PARTNER, partner_id, decide(state, AddKey(f"key_other_{attempts}")))
        return Done(0)

    answer = await services.office.carry_out(CAUSE, Done, command)
    assert answer.view == Done(3)
    state = (await services.journal.load(PARTNER, partner_id)).state
    assert state is not None
    assert state.keys[3:] == ("key_other_1", "key_other_2", "key_mine")


async def test_after_so_many_conflicts_the_command_is_refused_with_409_and_nothing_was_done(
    life: Life, services: Services
) -> None:
    partner_id = (await life.onboard()).partner.id
    attempts = 0

    async def interrupted(this: Work) -> Done:
        nonlocal attempts
        attempts += 1
        state = await this.load(PARTNER, partner_id)
        this.append(PARTNER, partner_id, decide(state, AddKey("key_never")))

        async def faster(other: Work) -> Done:
            other.append(PARTNER, partner_id, decide(await other.load(PARTNER, partner_id), AddKey("key_faster")))
            return Done(0)

        await services.office.carry_out(CAUSE, Done, faster)
        return Done(attempts)

    with pytest.raises(Conflict, match="try again") as refusal:
        await services.office.carry_out(CAUSE, Done, interrupted)
    assert (refusal.value.status, attempts) == (409, work.ATTEMPTS)
    state = (await services.journal.load(PARTNER, partner_id)).state
    assert state is not None
    assert "key_never" not in state.keys


async def test_many_commands_for_one_stream_all_succeed_or_say_that_they_did_not(
    life: Life, services: Services
) -> None:
    partner_id = (await life.onboard()).partner.id

    async def add(number: int) -> Answer[Done]:
        async def command(this: Work) -> Done:
            state = await this.load(PARTNER, partner_id)
            this.append(PARTNER, partner_id, decide(state, AddKey(f"key_{number}")))
            return Done(number)

        return await services.office.carry_out(CAUSE, Done, command)

    outcomes = await asyncio.gather(*[add(number) for number in range(20)], return_exceptions=True)
    state = (await services.journal.load(PARTNER, partner_id)).state
    assert state is not None
    done = {f"key_{each.view.attempts}" for each in outcomes if isinstance(each, Answer)}
    assert all(isinstance(each, (Answer, Conflict)) for each in outcomes)
    assert sorted(state.keys[3:]) == sorted(done)
    assert len(done) >= work.ATTEMPTS


async def test_a_link_is_redeemed_once_by_a_hundred_at_once(life: Life, services: Services) -> None:
    token = await life.invite()
    outcomes = await asyncio.gather(*[life.redeem(token) for _ in range(100)], return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, BaseException)]
    assert {type(each) for each in refused} == {LinkUsed}
    assert len(refused) == 99
    count = "SELECT count(*) FROM keyfold.log WHERE stream LIKE 'key%'"
    assert await value(services.settings.database_url, count) == 2 + 3


async def test_one_idempotency_key_at_the_same_time_is_one_command_with_one_answer(
    life: Life, services: Services
) -> None:
    """Twenty at once and one later: one partner, and everybody gets the same link."""
    cause = msgspec.structs.replace(CAUSE, replay=replay_key(services, secrets.token_hex()))
    caller = msgspec.structs.replace(life.inviter, cause=cause)

    async def invite() -> Answer[InvitationView]:
        return await services.onboarding.invite(caller, Invitation(app_name="One"))

    answers = [*await asyncio.gather(*[invite() for _ in range(20)]), await invite()]
    assert len({answer.view.url for answer in answers}) == 1
    assert len({answer.position for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    stored = "SELECT count(*) FROM keyfold.log WHERE stream LIKE 'prt%'"
    assert await value(services.settings.database_url, stored) == 1


async def test_an_idempotency_key_for_another_request_is_422(life: Life, services: Services) -> None:
    key = secrets.token_hex()
    for body in (b"one", b"two"):
        cause = Cause(CAUSE.actor, "req", replay_key(services, key, body))
        asked = services.workspaces.found(cause, "Acme", Terms(name="Shop"))
        if body == b"one":
            await asked
            continue
        with pytest.raises(work.KeyReused) as refusal:
            await asked
        assert refusal.value.status == 422


async def test_a_command_that_changes_nothing_appends_nothing_and_still_names_a_position(
    life: Life, services: Services
) -> None:
    key_id = await life.issue()
    await life.revoke(key_id)
    head = await services.journal.head()
    answer: Answer[KeyView] = await services.key_life.revoke(life.manager, key_id, "again")
    assert answer.position == head == await services.journal.head()
    assert answer.view.id == key_id
    assert (await services.journal.load(KEY, key_id)).version == 2
