"""Projections: tables made from the log and nothing else, so that they can be made again at any time."""

from keyfold.store.projections.audit import AuditTrail
from keyfold.store.projections.current import CurrentState
from keyfold.store.projections.history import History
from keyfold.store.projections.projection import Projection

PROJECTIONS: dict[str, Projection] = {each.name: each for each in (CurrentState(), AuditTrail(), History())}
