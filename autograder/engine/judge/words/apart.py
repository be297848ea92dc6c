"""What sets the cases that fail apart from those that don't, in words: a fact that whoever reads it can check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autograder.engine.judge.traits import Traits
from autograder.engine.judge.words.explain import listed

_MOST = 2  # facts: more of them are no cause, but another kind of case
_ACCIDENT, _BOUND = 3, 5  # from here on many a case shares a fact by accident; and what is larger or smaller
_Fact = tuple[int, str, str]  # how little it tells, a pattern, and what it is of

_FLAGS = {  # flag of an array → how little it tells, and how it is said
    "NaN": (1, "NaN in {}"),
    "inf": (1, "inf in {}"),
    "-inf": (1, "-inf in {}"),
    "empty item": (1, "an empty item in {}"),
    "read-only": (2, "a read-only {}"),
    "training": (2, "{} in training"),
    "zeros": (3, "zeros in {}"),
    "negative": (3, "negative numbers in {}"),
    "equal": (4, "equal elements in {}"),
}


def set_apart(cases: Sequence[Traits], fails: Sequence[bool]) -> str | None:
    """What holds in all failing cases and no other, or the reverse: `just those with axis = 1`, or `all but those …`.

    Args:
        cases: what the arguments are like in each.
        fails: whether each fails.

    One case that passes differs from the others in much, and says nothing. Negative numbers and the like set inputs
    that were drawn apart from those by hand: they are named only where few cases have them and fail.
    """
    failing = [case for case, failed in zip(cases, fails, strict=True) if failed]
    passing = [case for case, failed in zip(cases, fails, strict=True) if not failed]
    if not failing or len(passing) < 2:
        return None
    if said := _said(failing, passing):
        return f"just {'the one' if len(failing) == 1 else 'those'} with {said}"
    if len(failing) > 1 and (said := _said(passing, failing)):
        return f"all but those with {said}"
    return None


def _said(these: Sequence[Traits], others: Sequence[Traits]) -> str | None:
    """What holds in all of `these` and in none of the `others`, the most telling first."""
    of_these = [{*_facts(case), *_kinds(case)} for case in these]
    of_others = {fact for case in others for fact in (*_facts(case), *_kinds(case))}
    there = {name for case in others for _, _, name in _kinds(case)}  # else it says only that another method is called
    kinds = {fact for case in these for fact in _kinds(case) if fact[2] not in there}
    facts = [*(set.intersection(*of_these) - of_others - kinds), *_bounds(these, others)]
    if len(these) >= len(others):
        facts = [fact for fact in facts if fact[0] < _ACCIDENT or fact[0] == _BOUND]
    told: dict[str, tuple[int, list[str]]] = {}  # pattern → how little it tells, and of what
    known: set[str] = set()
    for rank, pattern, name in sorted(facts):
        if name not in known:  # what is equal is also bounded
            known.add(name)
            told.setdefault(pattern, (rank, []))[1].append(name)
    if not 0 < sum(len(names) for _, names in told.values()) <= _MOST:
        return None
    return " and ".join(pattern.format(listed(names)) for pattern, (_, names) in told.items())


def _facts(case: Traits) -> Iterator[_Fact]:
    for name, traits in case.items():
        if "is" in traits and float(traits.get("number", 0)).is_integer():
            yield 0, f"{{}} = {traits['is']}", name
        if "[" in name:  # one of many weights
            continue
        for flag, (rank, pattern) in _FLAGS.items():
            if traits.get(flag):
                yield rank, pattern, name
        if "layout" in traits:
            yield 2, f"{traits['layout']} of {{}}", name
        shape = traits.get("shape")
        if shape is not None:
            if len(shape) == 2 and shape[0] == shape[1] > 1:
                yield 2, "a square {}", name
            for axis, items in enumerate(shape):
                if items < 2:
                    yield 1, f"{{}} = {items}", f"{name}.shape[{axis}]"


def _kinds(case: Traits) -> Iterator[_Fact]:
    """Of what kind the arrays are."""
    for name, traits in case.items():
        if "[" in name:  # one of many weights
            continue
        if "dtype" in traits:
            yield 2, f"{traits['dtype']} for {{}}", name
        if (shape := traits.get("shape")) is not None:
            yield 2, f"{len(shape)} {'axis' if len(shape) == 1 else 'axes'} in {{}}", name


def _bounds(these: Sequence[Traits], others: Sequence[Traits]) -> Iterator[_Fact]:
    """Lengths and numbers that are larger, or smaller, in all of `these` than in all `others`."""
    mine, theirs = [_numbers(case) for case in these], [_numbers(case) for case in others]
    for name in set.intersection(*map(set, [*mine, *theirs])):
        smallest, largest = (pick(case[name] for case in mine) for pick in (min, max))
        lowest, highest = (pick(case[name] for case in theirs) for pick in (min, max))
        counts = all(case[name].is_integer() for case in [*mine, *theirs]) and not name.startswith("abs(")
        between = 10.0 if not counts else 1.0 if highest <= 1 else 4.0 if len(these) == 1 else 1.4  # so far by chance
        if smallest > between * max(0.0, highest):
            yield _BOUND, f"{{}} ≥ {smallest:g}", name
        elif 0 <= between * largest < lowest:
            yield _BOUND, f"{{}} ≤ {largest:g}", name


def _numbers(case: Traits) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, traits in case.items():
        if "[" in name:  # one of many weights
            continue
        if "number" in traits:
            found[name] = float(traits["number"])
        if "size" in traits:
            found[f"abs({name}).max()"] = traits["size"]
        found |= {f"{name}.shape[{axis}]": float(length) for axis, length in enumerate(traits.get("shape", ()))}
    return found
