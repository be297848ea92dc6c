"""A verdict as data. Text and HTML are made from it, by :mod:`autograder.engine.judge.words`, and never read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How an exercise ended."""

    PASSED = "passed"
    PARTLY = "partly"
    FAILED = "failed"
    ERROR = "error"
    NOT_ATTEMPTED = "not_attempted"
    MISSING = "missing"
    BLOCKED = "blocked"
    FORBIDDEN = "forbidden"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASHED = "crashed"

    @property
    def untouched(self) -> bool:
        """Whether it says neither right nor wrong."""
        return self in (Status.NOT_ATTEMPTED, Status.BLOCKED)


class Label(StrEnum):
    """What a reason is about."""

    CALLED = "Called"
    COMPARED = "Compared"
    WHY = "Why"
    WHERE = "Where"
    CAUSE = "Likely cause"
    TO_DO = "What to do"
    ALSO_WRONG = "Also wrong"
    RIGHT = "Right"
    PARTS = "Already right"
    CASES = "Cases"
    REREAD = "Reread"
    GOOD_TO_KNOW = "Good to know"


@dataclass(frozen=True)
class Reason:
    """One line of an explanation."""

    label: Label
    text: str


@dataclass(frozen=True)
class Verdict:
    """How one exercise ended.

    Attributes:
        id: `03/lstm_cell_forward`.
        track: forward, backward or torch.
        status: how it ended.
        points, max_points: what it earned, of what.
        headline: that in a sentence. Backticks hold code, as in `reasons`.
        reasons: what else there is to say, in the order in which it is said.
        mistake: the known mistake that explains it, by its name in the mistakes file.
        case: the case that is shown, as its probe and parameters name it.
    """

    id: str
    track: str
    status: Status
    points: float
    max_points: float
    headline: str
    reasons: tuple[Reason, ...] = ()
    mistake: str | None = None
    case: str | None = None

    def __post_init__(self) -> None:
        """Refuse points without a pass, whoever asks for them."""
        bounds = {Status.PASSED: (self.max_points, self.max_points), Status.PARTLY: (0.0, self.max_points)}
        least, most = bounds.get(self.status, (0.0, 0.0))
        if self.status not in list(Status) or not least <= self.points <= most:
            raise ValueError(
                f"{self.id}: status {str(self.status)!r} can't be worth {self.points} of {self.max_points}"
            )

    @property
    def name(self) -> str:
        """The exercise's own name."""
        return self.id.split("/", 1)[1]

    @property
    def message(self) -> str:
        """Headline and reasons as plain text, a line each."""
        return "\n".join([self.headline, *(f"{reason.label}: {reason.text}" for reason in self.reasons)])

    def texts(self, label: Label) -> list[str]:
        """What the reasons of one kind say."""
        return [reason.text for reason in self.reasons if reason.label is label]

    def as_json(self) -> dict[str, Any]:
        """The verdict as it stands in a report, for machines that want the text whole."""
        names = ("id", "track", "status", "points", "max_points", "message", "mistake", "case")
        return {name: getattr(self, name) for name in names} | {"status": self.status.value}

    def as_tree(self) -> dict[str, Any]:
        """All of it in JSON's own types; :meth:`from_tree` reads it back."""
        reasons = [[reason.label.value, reason.text] for reason in self.reasons]
        return {**vars(self), "status": self.status.value, "reasons": reasons}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Verdict:
        """A verdict that was kept. Raises KeyError, TypeError or ValueError for what is none."""
        reasons = tuple(Reason(Label(label), str(text)) for label, text in tree["reasons"])
        return cls(**{**tree, "status": Status(tree["status"]), "reasons": reasons})
