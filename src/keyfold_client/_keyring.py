"""The key that a client goes by, which may change while it runs."""

import asyncio
import re

_FORM = re.compile(r"kf_[a-z]+_([0-9a-z]{26})_")


class Keyring:
    """`secret` is the key of now. While `turning` is held, a rotation is under way: nobody gives up on the old key."""

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("An access key is needed: kf_…")
        self.secret = secret
        self.turning = asyncio.Lock()

    def __repr__(self) -> str:
        form = _FORM.match(self.secret)
        return f"Keyring(key_{form[1]})" if form else "Keyring(…)"

    async def has_turned(self, used: str) -> bool:
        """Whether the key is another than the one used, once no rotation is under way."""
        async with self.turning:
            return self.secret != used
