"""Where a request comes from is what the connection says, or a proxy that the operator trusts; never the client."""

import httpx
import pytest

from .system import Process, System, another_api

ELSEWHERE = "203.0.113.7"


async def status(process: Process, key: str, said: str | None = None) -> int:
    """Of a request with a key, by a client that says where it comes from."""
    headers = {"Authorization": f"Bearer {key}"} | ({"X-Forwarded-For": said} if said else {})
    async with httpx.AsyncClient(base_url=process.url) as client:
        return (await client.get("/api/v1/keys/self", headers=headers)).status_code


@pytest.mark.long
async def test_a_client_cant_say_where_it_comes_from_unless_a_trusted_proxy_says_so(system: System) -> None:
    async with system.client() as client:
        wanted = {"kind": "account", "name": "bound", "role": "viewer", "sourceNetworks": ["203.0.113.0/24"]}
        issued = await client.post("/api/v1/keys", json=wanted, headers=system.owner)
    key = issued.json()["data"]["secret"]
    assert [await status(system.api, key, said) for said in (None, ELSEWHERE)] == [401, 401]
    async with another_api(system, trusted_proxies="127.0.0.1") as behind_a_proxy:
        assert [await status(behind_a_proxy, key, said) for said in (None, ELSEWHERE, "198.51.100.1")] == [
            401,
            200,
            401,
        ]
