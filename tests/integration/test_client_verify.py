"""`keyfold_client` verifies others' keys, for gateways."""

import pytest

import keyfold_client
from keyfold_client import KeyfoldError

from .client_support import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_revoked_key_is_called_valid_no_longer_than_was_agreed_to(keyfold: House) -> None:
    partner = await keyfold.partner("http")
    async with keyfold_client.connect(keyfold.api.url, key=keyfold.tenant.owner_key) as app:
        first = await app.verify(partner.secret, action="send", topic="app/order/created", max_age=60)
        assert (first.valid, first.key_id, first.environment) == (True, partner.key_id, "prod")
        revoked = await keyfold.tenant.post(f"/api/v1/keys/{partner.key_id}/revoke", {"reason": "test"})
        assert revoked.status_code == 200
        remembered = await app.verify(partner.secret, action="send", topic="app/order/created", max_age=60)
        assert remembered.valid
        assert remembered.age > first.age
        now = await app.verify(partner.secret, action="send", topic="app/order/created", max_age=0)
        assert (now.valid, now.code) == (False, "revoked")
        assert not (await app.verify(partner.secret, action="send", topic="app/order/created", max_age=60)).valid


async def test_a_key_that_may_not_verify_is_told_so(keyfold: House) -> None:
    partner = await keyfold.partner("http")
    async with partner.connect() as app:
        with pytest.raises(KeyfoldError) as refused:
            await app.verify(partner.secret)
    assert (refused.value.code, refused.value.status) == ("permission-missing", 403)
