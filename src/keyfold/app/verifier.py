"""The one verification of access keys: from memory while that is certain to be current, else from the truth."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from keyfold.app.limits import Limiter, Throttle
from keyfold.app.memory import Known, Memory
from keyfold.app.ports import Clock, Journal
from keyfold.app.subjects import load_subject
from keyfold.app.usage import Usage
from keyfold.app.vault import Vault
from keyfold.domain.aggregates import KEY
from keyfold.domain.judgement import Decision, Question, Subject
from keyfold.domain.networks import address_group
from keyfold.domain.rates import Rate, Standing
from keyfold.domain.tokens import Token, parse_token

NOTHING = Question()


class Verdict(NamedTuple):
    """What came of a verification. `code` is `valid`, or says why not, as does the `decision`.

    `standing` is how the key stands with its rate, where it has one.
    """

    code: str
    subject: Subject | None = None
    decision: Decision | None = None
    standing: tuple[Rate, Standing] | None = None

    @property
    def valid(self) -> bool:
        return self.code == "valid"


UNKNOWN = Verdict("unknown-key")


class Verifier:
    """`on_first_use` is told the id of a rotation's successor when it is found valid and hasn't been used before."""

    def __init__(
        self,
        *,
        journal: Journal,
        vault: Vault,
        clock: Clock,
        memory: Memory,
        limiter: Limiter,
        throttle: Throttle,
        usage: Usage,
        on_first_use: Callable[[str], None] = lambda key_id: None,
    ) -> None:
        self._journal = journal
        self._vault = vault
        self._clock = clock
        self._memory = memory
        self._limiter = limiter
        self._throttle = throttle
        self._usage = usage
        self._on_first_use = on_first_use

    def known(self, text: str, question: Question = NOTHING) -> Verdict | None:
        """The verdict from memory, or None when the truth must be asked. Takes a few microseconds."""
        known = self.recall(text)
        return None if known is None else self.judge(known, question, self._clock())

    def recall(self, text: str) -> Known | None:
        """What is in memory of the key whose secret this is."""
        known = self._memory.find(text)
        return known if known is not None and self._vault.is_text_of(text, known.digest) else None

    async def verify(self, text: str, question: Question = NOTHING, *, client: str = "") -> Verdict:
        """Whether the key may be used (for this), as a verdict that is true now.

        `client` is the address that attempts at unknown keys are counted against, where one is known. Raises
        `Unavailable` when the truth can't be asked, `TooManyFailures` for an address that has tried too many.
        """
        known = await self.find(text, client)
        return UNKNOWN if known is None else self.judge(known, question, self._clock())

    async def find(self, text: str, client: str) -> Known | None:
        """Whose secret this is, whatever its state: from memory, or from the truth. Raises as `verify` does."""
        known = self.recall(text)
        if known is not None:
            return known
        token = parse_token(text)
        if token is None or not token.mark.startswith("kf_"):
            if client:
                self._throttle.failed(address_group(client))
            return None
        if self._vault.matches(token, self._journal.remembered_digest(token.id)):
            return await self._recall(token.id)
        if not client:
            return await self._try(token)
        async with self._throttle.attempt(address_group(client)) as attempt:
            known = await self._try(token)
            if known is None:
                attempt.failed()
            return known

    def recall_id(self, key_id: str) -> Known | None:
        """What is in memory of a key that somebody else has already told from its secret."""
        return self._memory.find_id(key_id)

    async def find_id(self, key_id: str) -> Known | None:
        """The same from memory, or from the truth. Raises `Unavailable`."""
        return self.recall_id(key_id) or await self.truth(key_id)

    async def truth(self, key_id: str) -> Known | None:
        """What there is to know of an existing key by now, whatever is in memory. Raises `Unavailable`."""
        return await self._recall(key_id)

    async def _try(self, token: Token) -> Known | None:
        """At equal cost for all that is unknown."""
        if self._vault.matches(token, await self._journal.digest(token.id)):
            return await self._recall(token.id)
        await self._journal.load(KEY, token.id)  # as much for an id that exists as for one that doesn't
        return None

    async def _recall(self, key_id: str) -> Known | None:
        """What there is to know of the key by now, kept unless some of it has moved meanwhile."""
        mark = self._memory.mark()
        subject, streams = await load_subject(self._journal.load, key_id)
        if subject is None:
            return None
        digest = self._journal.remembered_digest(key_id) or await self._journal.digest(key_id)
        if digest is None:
            return None
        known = Known(subject, streams, digest)
        self._memory.keep(known, mark)
        return known

    def judge(self, known: Known, question: Question, now: datetime, *, is_trial: bool = False) -> Verdict:
        """The verdict on a key that the truth is known of right now. Counts as a use; a trial, for which nobody has
        shown the key, against its rate alone."""
        subject = known.subject
        decision, standing = known.decision(question, now), None
        key, code = subject.key, decision.code
        if code == "valid" and subject.rate is not None:
            standing = subject.rate, self._limiter.take(key.id, subject.rate)
            code = "valid" if standing[1].allowed else "rate-limited"
        if is_trial:
            return Verdict(code, subject, decision, standing)
        self._usage.note(key.id, code, now, action=question.action, address=question.address)
        if code == "valid" and key.awaits_first_use:
            self._on_first_use(key.id)
        return Verdict(code, subject, decision, standing)
