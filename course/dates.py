"""Dates in several languages, from Babel: a small translation task with a reordering in it.

Nothing is stored here: Babel, which JupyterLab brings along, writes the dates out by the Unicode Consortium's locale
data (CLDR).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from babel.dates import format_date

PAD, BOS, EOS = 0, 1, 2
SPECIAL = ("<pad>", "<s>", "</s>")
LANGUAGES = {"hu": "Hungarian", "fr": "French", "de": "German"}
FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
FORMATS = ("full", "long")  # with the day of the week, and without
_WORD = re.compile(r" ?[^\W\d_]+| ?\d| ?[^\w\s]")


@dataclass(frozen=True)
class Pair:
    """One date in English and in another language.

    Attributes:
        day: the date itself.
        locale: of the translation, such as "hu".
        source: the English words, digits and signs, after a first one that asks for the language, such as "<hu>".
        target: those of the translation; "".join(target) is what Babel wrote.
        partner: for every part of the target the place in the source that it translates; -1 for signs, which have none.
    """

    day: datetime.date
    locale: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    partner: tuple[int, ...]


def words(text: str) -> tuple[str, ...]:
    """A text as words, single digits and signs, each with the space before it, so that "".join gives it back."""
    return tuple(_WORD.findall(text))


def is_held_out(day: datetime.date) -> bool:
    """Whether a date is kept for testing: all dates of every eleventh year, 1907, 1918, …, 2094 among them."""
    return day.year % 11 == 4


def pair(day: datetime.date, locale: str, form: str) -> Pair:
    """A date of 1900 to 2099 in English and in one of `LANGUAGES`; the form is one of `FORMATS`."""
    source, target = (words(format_date(day, form, locale=where)) for where in ("en", locale))
    source = (f"<{locale}>", *source)
    kinds = _kinds(source, day, "en")
    at = {kind: place for place, kind in enumerate(kinds) if kind}
    return Pair(day, locale, source, target, tuple(at.get(kind, -1) for kind in _kinds(target, day, locale)))


def _kinds(parts: Sequence[str], day: datetime.date, locale: str) -> list[str]:
    """What each part of a date is: "weekday", "month", "day 0", "year 3"; "" for signs."""
    weekday = format_date(day, "EEEE", locale=locale)
    found = [""] * len(parts)
    for run in _runs(parts):
        kind = "year" if len(run) == 4 else "day"
        for k, place in enumerate(run):
            found[place] = f"{kind} {k}"
    for place, part in enumerate(parts):
        if part.strip().isalpha():
            found[place] = "weekday" if part.strip() == weekday else "month"
    return found


def _runs(parts: Sequence[str]) -> Iterator[list[int]]:
    """The places of digits that stand side by side; a space begins a new number."""
    run: list[int] = []
    for place, part in enumerate([*parts, ""]):
        if run and not (part.isdigit() and not part.startswith(" ")):
            yield run
            run = []
        if part.strip().isdigit():
            run.append(place)


def draw(
    rng: np.random.Generator, count: int, locales: Sequence[str] = tuple(LANGUAGES), *, held_out: bool = False
) -> list[Pair]:
    """Pairs of random dates, languages and forms; with or without the day of the week is equally likely.

    Args:
        rng: where the draws come from.
        count: how many.
        locales: keys of `LANGUAGES`.
        held_out: from the years that are kept for testing, or from all the others.
    """
    found: list[Pair] = []
    while len(found) < count:
        day = datetime.date.fromordinal(int(rng.integers(FIRST.toordinal(), LAST.toordinal() + 1)))
        locale, form = locales[int(rng.integers(len(locales)))], FORMATS[int(rng.integers(len(FORMATS)))]
        if is_held_out(day) == held_out:
            found.append(pair(day, locale, form))
    return found


def vocabularies(locales: Iterable[str] = tuple(LANGUAGES)) -> tuple[list[str], list[str]]:
    """All parts of the English dates and of the others; `SPECIAL` first, then sorted. A part's index is its token."""
    source, target = set[str](), set[str]()
    for ordinal in range(FIRST.toordinal(), LAST.toordinal() + 1, 37):
        day = datetime.date.fromordinal(ordinal)
        for locale in locales:
            for form in FORMATS:
                target.update(words(format_date(day, form, locale=locale)))
        source.update(
            words(format_date(day, FORMATS[0], locale="en")), words(format_date(day, FORMATS[1], locale="en"))
        )
    tags = [f"<{locale}>" for locale in locales]
    return [*SPECIAL, *tags, *sorted(source)], [*SPECIAL, *sorted(target)]


def encode(
    pairs: Sequence[Pair], source_words: Sequence[str], target_words: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of pairs, padded with `PAD`.

    Returns:
        src (B, S), lengths (B,), and tgt (B, T), each of whose rows ends with `EOS` before the padding; int64.
    """
    lengths = np.array([len(p.source) for p in pairs], dtype=np.int64)
    src = np.full((len(pairs), lengths.max()), PAD, dtype=np.int64)
    tgt = np.full((len(pairs), max(len(p.target) for p in pairs) + 1), PAD, dtype=np.int64)
    token_of, word_of = ({word: k for k, word in enumerate(listed)} for listed in (source_words, target_words))
    for row, p in enumerate(pairs):
        src[row, : len(p.source)] = [token_of[word] for word in p.source]
        tgt[row, : len(p.target) + 1] = [*(word_of[word] for word in p.target), EOS]
    return src, lengths, tgt


def text(tokens: Iterable[int], target_words: Sequence[str]) -> str:
    """What tokens say, up to the first `EOS`."""
    said: list[str] = []
    for token in tokens:
        if token == EOS:
            break
        said.append(target_words[int(token)])
    return "".join(said)
