"""That of a workspace's records none is missing, by the numbers that they have in what was hashed."""

from .memory import Entry
from .merkle import leaf_hash
from .records import UNPLACED, Line, Place, misplaced, place_of
from .trust import AlteredError, LackingError

NOT_SIGNED = "The record isn't the one that was signed here."


class Chain:
    """A workspace's records as they come, by position and by number: those before may be known already."""

    def __init__(self, workspace_id: str | None, known: list[Entry] | None = None) -> None:
        self.workspace_id = workspace_id or ""
        self.entries = [*(known or ())]
        self._complaints: list[tuple[int, str]] = []

    @property
    def next(self) -> int:
        """The first position at which the next record can be."""
        return self.entries[-1].position + 1 if self.entries else 1

    def complain(self, why: str, position: int) -> None:
        self._complaints.append((position, why))

    def lose(self, position: int) -> None:
        """A record that is known to be at a position, and isn't there."""
        self.complain("The record is missing.", position)
        self.entries.append(Entry(position, b""))

    def add(self, line: Line, wrong: str) -> None:
        """The next record; `wrong` is why it isn't proved, if it isn't. What it says counts only if it is."""
        place = place_of(line.record)
        if wrong:
            self.complain(wrong, line.position)
        else:
            self._demand(line.position, place)
        self.entries.append(Entry(line.position, leaf_hash(line.record)))

    def _demand(self, position: int, place: Place | None) -> None:
        if place is None:
            self.complain(UNPLACED, position)
            return
        self.workspace_id = self.workspace_id or place.workspace_id
        wanted = len(self.entries) + 1
        if place.workspace_id != self.workspace_id:
            self.complain(f"The record is of another workspace, {place.workspace_id}.", position)
        elif position < self.next:
            self.complain("The record stands behind one of a later position.", position)
        elif place.number < wanted:
            self.complain(misplaced(place.number, wanted), position)
        elif place.number > wanted:
            self.complain(f"{misplaced(place.number, wanted)} between here and {position}.", self.next)
            self.entries += [Entry(position, b"")] * min(place.number - wanted, position)

    def demand_whole(self, what: str) -> None:
        """`AlteredError` for the first complaint."""
        if self._complaints:
            position, why = min(self._complaints, key=lambda each: each[0])
            raise AlteredError(why, position, bad=len(self._complaints))
        if not self.entries:
            raise LackingError(f"There is no record of {what}: nothing can be said of it.")
