"""What a notebook's code has yielded so far, and what becomes of the rest when its process ends before its time.

Nothing in here starts a process or waits: a :class:`Round` is told what happened, an event at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from autograder.engine.inside.notebook import place_name
from autograder.engine.inside.records import Begun, CaseId, Defined, Event, NoTorch, Record, Running, Waiting


@dataclass(frozen=True)
class Ending:
    """How a process ended that should not have.

    Attributes:
        status: timeout, memory or crashed.
        sentence: for people.
        case: the probe and the number of the case that was begun, if one was.
    """

    status: str
    sentence: str
    case: tuple[str, int] | None = None


def too_long(seconds: float) -> Ending:
    """How a case ends whose time is up."""
    return Ending(
        "timeout",
        f"It ran longer than {seconds:g} seconds and was stopped. Is a loop endless, or does the work grow too fast?",
    )


@dataclass
class Observations:
    """What a notebook's code yielded.

    Attributes:
        records: (exercise, probe, case index), seed → what the case has seen.
        ended: exercise → how it took time, memory or the process with it.
        spoiled: name → sentence, for names that could not be defined; and :func:`place_name` of a statement that took
            time, memory or the process with it.
        torch: False if torch exercises were skipped because torch is not installed.
    """

    records: dict[tuple[CaseId, int], Record] = field(default_factory=dict)
    ended: dict[str, Ending] = field(default_factory=dict)
    spoiled: dict[str, str] = field(default_factory=dict)
    torch: bool = True


class Round:
    """The exercises of one track, observed at one seed.

    Args:
        exercises: in the order in which they are asked for.
        seed: records are kept under it, whatever they say themselves.
        needing: exercise → all that need it, directly or not.
        found: where what is observed goes.

    Attributes:
        remaining: the exercises that are still to be observed.
    """

    def __init__(
        self, exercises: Sequence[str], seed: int, needing: Callable[[str], set[str]], found: Observations
    ) -> None:
        self.remaining = list(exercises)
        self.seed = seed
        self._graded = frozenset(exercises)
        self._needing = needing
        self._found = found

    def take(self, event: Event) -> None:
        """Take note of what a process says. Once it begins an exercise it is through with those before."""
        if isinstance(event, Record):
            self._found.records[event.id, self.seed] = event
        elif isinstance(event, Defined):  # torch modules are spoiled where torch is kept out
            self._found.spoiled |= {name: text for name, text in event.spoiled.items() if name in self._graded}
        elif isinstance(event, Begun) and event.exercise in self.remaining:
            del self.remaining[: self.remaining.index(event.exercise)]
        elif isinstance(event, Waiting | NoTorch):
            self.remaining.clear()
            self._found.torch &= not isinstance(event, NoTorch)

    def stopped(self, last: Event | None, ending: Ending, *, late: bool) -> tuple[int, int] | None:
        """Take note of how a process ended: what remains is tried in another, but for what ended it.

        Args:
            last: what it said last.
            ending: how it ended.
            late: no time is left for another.

        Returns:
            The place of a statement that is to be left out from now on, if it was one that ended it.
        """
        place = None
        if isinstance(last, Running):
            place = last.cell, last.line
            where = place_name(place)
            ending = Ending(ending.status, f"{where.capitalize()}: {ending.sentence}")
            if ending.status != "timeout" or not late:  # the statement itself, and no call of ours
                self._found.spoiled[where] = ending.sentence
                return place
        guilty = last.exercise if isinstance(last, Begun | Record) else ""
        if late or guilty not in self.remaining:
            self._found.ended |= dict.fromkeys(self.remaining, ending)
            self.remaining.clear()
        else:
            case = (last.probe, last.case) if isinstance(last, Begun) else None
            self._found.ended[guilty] = replace(ending, case=case)
            gone = {guilty, *self._needing(guilty)}  # with it, whatever is said: a round must end
            self.remaining = [name for name in self.remaining if name not in gone]
        return place
