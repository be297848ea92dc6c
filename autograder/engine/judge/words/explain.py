"""What a verdict says: a headline and reasons for every way in which an exercise can end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autograder.engine.assignment import Exercise
from autograder.engine.border.rounds import Ending
from autograder.engine.inside.notebook import BrokenCell, Statement
from autograder.engine.inside.records import EARLIER, OTHERWISE, Raised
from autograder.engine.inside.shortcuts import NUMPY_ALONE, why_not
from autograder.engine.inside.wire import WireError
from autograder.engine.judge.compare import Difference
from autograder.engine.judge.verdict import Label, Reason, Status


@dataclass(frozen=True)
class Told:
    """A headline and reasons; `cause` is set apart because a known mistake has a better one."""

    headline: str
    reasons: tuple[Reason, ...] = ()
    cause: str | None = None


MAX_LINE = 3000  # characters of one reason


def printable(line: str) -> str:
    """A line that any file and terminal can show, whatever a learner's code put into it."""
    line = line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} … ({len(line):,} characters)"
    return _UNSHOWN.sub(" ", line)


# Control characters, halves of characters, and what turns the direction in which a line is read
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069]+")


def _told(headline: str, *reasons: Reason | None, cause: str | None = None) -> Told:
    return Told(headline, tuple(reason for reason in reasons if reason is not None), cause)


# What the text alone shows ------------------------------------------------------------------------------------------


def broken(exercise: Exercise, cell: BrokenCell) -> Told:
    """Its cell is no Python."""
    return _told(f"`{exercise.name}` can't be read.", Reason(Label.WHERE, f"{cell}."))


def missing(exercise: Exercise) -> Told:
    """Nothing defines it."""
    advice = f"was it renamed, or its cell deleted? Get the stub back from release/, the cell `{exercise.name}`."
    return _told(f"No cell defines `{exercise.name}`.", Reason(Label.TO_DO, advice))


def untouched(exercise: Exercise) -> Told:
    """It is as it was released."""
    return _told(f"`{exercise.name}` is still the stub.")


def shortcut(exercise: Exercise, dotted: str, where: Statement) -> Told:
    """It mentions what it may not use."""
    numpy_alone = dotted.split(".")[0] in NUMPY_ALONE and not exercise.torch
    said = f"`{dotted}` can't be used here: a NumPy exercise is solved with NumPy and Python's own library."
    place = f"cell {where.cell.number}, in the statement at line {where.node.lineno}."
    return _told(said if numpy_alone else why_not(dotted), Reason(Label.WHERE, place))


def unreadable(sentence: str) -> Told:
    """The file is no notebook."""
    return _told(sentence)


# What kept it from being observed -----------------------------------------------------------------------------------


def undefined(exercise: Exercise, trouble: str) -> Told:
    """Its definition raised."""
    return _told(f"`{exercise.name}` could not be defined.", Reason(Label.WHY, trouble))


def no_torch(exercise: Exercise) -> Told:
    """Torch is not installed."""
    advice = Reason(Label.TO_DO, "pip install -c constraints.txt torch")
    return _told(f"`{exercise.name}` is skipped: PyTorch is not installed.", advice)


def stopped(exercise: Exercise, ending: Ending, called: str) -> Told:
    """It took time, memory or its process with it, in the case that is described if one had begun."""
    measured = exercise.track == "backward" and ending.status in (Status.TIMEOUT, Status.MEMORY)
    cause = "a gradient that is measured by differences, or a whole Jacobian: the largest case is too large for them."
    return _told(
        f"`{exercise.name}` was stopped.",
        Reason(Label.CALLED, called) if called else None,
        Reason(Label.WHY, ending.sentence),
        Reason(Label.CAUSE, cause) if measured else None,
    )


def blocked(exercise: Exercise, by: str, status: Status, *, consistent: bool) -> Told:
    """Something that it needs is not right; `consistent`: a gradient agrees with the forward pass all the same.

    It is said for the learner, and for whoever gives credit by hand.
    """
    how = status.replace("_", " ")
    own = f"finite differences of your own {f'`{by}`' if by in exercise.needs else 'forward pass'}"
    if consistent:
        said = f"it agrees with {own} as that is now, so taken by itself it may be right, and pass once `{by}` does."
    else:
        said = f"it was not seen to agree with {own} as that is now, so look at it, too."
    return _told(
        f"`{exercise.name}` calls `{by}`, which is not right yet ({how}): solve that one first.",
        Reason(Label.GOOD_TO_KNOW, said) if consistent or exercise.track == "backward" else None,
    )


# What a case shows --------------------------------------------------------------------------------------------------


def not_run() -> Told:
    """A case has no record."""
    return _told("It was not run.")


def other_inputs() -> Told:
    """A case drew other inputs than the reference's."""
    return _told(
        "Its inputs differ from those that the key was made with, so it can't be compared.",
        Reason(
            Label.TO_DO,
            "the installed NumPy draws other random numbers; pip install -c constraints.txt numpy",
        ),
    )


Wrong = Difference | WireError | None  # how a value differs; that it can't be read; or that it is not there
_KINDS = {
    "shape": "has the wrong shape",
    "dtype": "has the wrong dtype",
    "type": "has the wrong type",
    "length": "has the wrong length",
    "keys": "has the wrong keys",
    "nonfinite": "has NaN or inf values",
}


def wrong_values(
    wrong: dict[str, Wrong], right: Sequence[str], *, changed: Sequence[str] = (), remembered: bool = False
) -> Told:
    """Some of the values that it returned are wrong; the first is told of.

    Besides, arguments may have been changed, and the values depend on an earlier call.
    """
    first, *more = wrong
    found, compared = wrong[first], None
    also = changed_arguments(changed) if changed else None  # a call that changes its cache depends on those before, too
    if remembered and (not also or EARLIER in changed):
        also = changed_arguments([OTHERWISE])
    if found is None:
        headline = f"`{first}` is missing from what it returned."
    elif isinstance(found, WireError):
        headline = f"`{first}` can't be read: {found}."
    elif found.kind == "judged":
        headline = f"`{first}`: {found.text}"
    else:
        said = _KINDS.get(found.kind, "is wrong")
        if found.kind == "nonfinite" and found.got is not None and np.isfinite(found.got).all():
            said = "is finite where it should not be"
        headline = f"`{first}{found.path}` {said}."
        compared = Reason(Label.COMPARED, found.text)
    return _told(
        headline,
        compared,
        Reason(Label.ALSO_WRONG, listed(more)) if more else None,
        Reason(Label.RIGHT, listed(right)) if right else None,
        cause=f"{also.headline.removeprefix(_RIGHT)[:-1]}: {also.cause}" if also else "",
    )


_RIGHT = "The values are right, but "


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


_SEED = "torch.initial_seed()"


def changed_arguments(changed: Sequence[str]) -> Told:
    """The values are right, but arguments, or torch's modes, are not what they were."""
    modes = [name for name in changed if name.startswith(("torch.", "np.")) or name.endswith(".training")]
    if modes == [_SEED]:
        return _told(
            f"{_RIGHT}afterwards torch's generator has another seed.",
            cause="`torch.manual_seed` is called, so whoever draws next gets other numbers. Leave the seed alone; what "
            "draws the same numbers again puts the generator's state back (`torch.random.fork_rng`).",
        )
    if modes:
        return _told(
            f"{_RIGHT}afterwards {listed(modes)} is not what it was.",
            cause="a mode that is switched and not put back. Let a `with` block switch it, or restore it in `finally`.",
        )
    if set(changed) == {OTHERWISE}:
        return _told(
            f"{_RIGHT}the same call returns something else when others were made before.",
            cause="something that is kept between calls (in a global, a default argument, an attribute), drawn anew "
            "by a generator of its own, or changed in what was given, such as the cache; or a part of an `np.empty` "
            "that is never set.",
        )
    changed = [name for name in changed if name != OTHERWISE]
    if EARLIER in changed:
        return _told(
            f"{_RIGHT}the next call changes what an earlier one returned.",
            cause="an array or a list that is made once and filled anew by every call. Make a new one in each.",
        )
    held = [name for name in changed if name.endswith("()")]
    if held:
        cause = "a value that is set, or a layer that changes itself when it is called (batch norm in training)."
        return _told(f"{_RIGHT}the call changes {listed(held)}.", cause=cause)
    return _told(
        f"{_RIGHT}the call changes its argument {listed(changed)} in place.",
        cause="`+=` or an assignment into it, or a method that changes it, such as `sort` or `pop`. Work on a copy.",
    )


def raised(exercise: Exercise, found: Raised) -> Told:
    """A case ended with an exception."""
    name, said, where = exercise.name, f"{found.type}: {found.text}" if found.text else found.type, None
    if found.line:
        cell = found.file.strip("<>")
        place = f"{cell}, line {found.line}" if cell else f"line {found.line} of the cell"
        below = f"; it was raised in {found.below}" if found.below else ""
        where = Reason(Label.WHERE, f"{place}, in `{found.function}`: `{found.source}`{below}")
    if found.memory:
        return _told(f"`{name}` ran out of memory.", Reason(Label.WHY, found.text) if found.text else None, where)
    if found.type == "Shortcut":
        return _told(found.sentence, where)
    if found.type == "WrongReturn":
        return _told(found.sentence)
    if found.type == "NotImplementedError":
        return _told(f"`{name}` still raises NotImplementedError: delete that line once your code stands.", where)
    if found.type in ("SystemExit", "EOFError"):
        what = "calls exit()" if found.type == "SystemExit" else "asks for input()"
        return _told(f"`{name}` {what}, which an exercise can't do.", where)
    if found.misfit:
        why, advice = Reason(Label.WHY, said), Reason(Label.TO_DO, "keep the stub's arguments.")
        return _told(f"`{name}` can't be called as its docstring says.", why, advice)
    if found.unusable:
        return _told(f"What `{name}` returned can't be used as its docstring says.", Reason(Label.WHY, said))
    return _told(found.sentence or f"`{name}` raised {said}", where)


# All of it ----------------------------------------------------------------------------------------------------------


def passed(exercise: Exercise) -> Told:
    """It is right."""
    return _told(f"`{exercise.name}` is right.")


def nothing_compared(exercise: Exercise) -> Told:
    """Nothing was wrong, and nothing that earns points was seen."""
    return _told(f"Nothing that `{exercise.name}` returned could be compared.")


def wrong_on_others(exercise: Exercise) -> Told:
    """Right on the public inputs only. That is all that is said, whatever happened: resubmitting tells no more."""
    return _told(
        f"`{exercise.name}` is right on the public inputs, but wrong on others of the same kind.",
        Reason(Label.CAUSE, "a value that should be computed from the arguments is fixed in the code."),
        Reason(Label.GOOD_TO_KNOW, "what takes much more time or memory there, or raises, counts as wrong, too."),
    )


@dataclass(frozen=True)
class Shown:
    """The case that is shown, and what is known of the others.

    Attributes:
        told: what the case shows.
        call, described: the call under test, and the case's parameters, in words.
        causes: why, as far as is known.
        failed, cases: how many fail, of how many.
        apart: which these are, if anything sets them apart.
    """

    told: Told
    call: str
    described: str
    failed: int
    cases: int
    causes: Sequence[str] = field(default_factory=tuple)
    apart: str | None = None


def called_in_words(call: str, described: str) -> str:
    """The call under test, or else the case's parameters."""
    return call or (f"with {described}" if described else "")


def wrong(exercise: Exercise, shown: Shown) -> Told:
    """It is wrong on public inputs, of which one case is shown."""
    called = called_in_words(shown.call, shown.described)
    which = f", {shown.apart}" if shown.apart else ""
    counted = f"{shown.failed} of {shown.cases} fail{which}; this is the first."
    return _told(
        shown.told.headline,
        Reason(Label.CALLED, called) if called else None,
        *shown.told.reasons,
        *(Reason(Label.CAUSE, cause) for cause in shown.causes),
        Reason(Label.CASES, counted) if shown.cases > 1 else None,
        Reason(Label.REREAD, exercise.reread) if exercise.reread else None,
    )


def also_right(told: Told, parts: Sequence[str]) -> Told:
    """Some parts of its points are earned."""
    return Told(told.headline, (*told.reasons, Reason(Label.PARTS, f"{', '.join(f'`{part}`' for part in parts)}.")))


def of_value(name: str, cause: str) -> str:
    """A cause that is seen in one of the values."""
    acronym = cause[:2] != cause[:2].capitalize() or cause.startswith("NaN")
    return f"in `{name}`: {cause if acronym else cause[0].lower() + cause[1:]}"
