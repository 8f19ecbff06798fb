"""Which version to load or unload next, so that a model is never without one.

The decision of TensorFlow Serving's AvailabilityPreservingPolicy
(core/availability_preserving_policy.cc): the new one is loaded before the old one goes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Protocol, TypeVar

from serving.model_server.management.servable import State


class Action(enum.Enum):
    """What can be done with a version."""

    LOAD = "load"
    UNLOAD = "unload"


class Candidate(Protocol):
    """What the decision looks at."""

    version: int
    state: State
    aspired: bool


C = TypeVar("C", bound=Candidate)


def next_action(versions: Iterable[C]) -> tuple[Action, C] | None:
    """Return the next thing to do with the versions of one model; None if there is nothing.

    The lowest version that serves and is not wanted is unloaded if no version is wanted, or a
    wanted one serves, or several serve that are not wanted. Otherwise the highest wanted version
    that was not tried yet is loaded.
    """
    versions = list(versions)
    aspired = [v for v in versions if v.aspired]
    leaving = [v for v in versions if not v.aspired and v.state == State.AVAILABLE]
    replaced = any(v.state == State.AVAILABLE for v in aspired)
    if leaving and (not aspired or replaced or len(leaving) > 1):
        return Action.UNLOAD, min(leaving, key=lambda v: v.version)
    coming = [v for v in aspired if v.state == State.START]
    if coming:
        return Action.LOAD, max(coming, key=lambda v: v.version)
    return None
