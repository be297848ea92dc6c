"""What becomes of the exercises of a track, told event by event: no process is started here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from autograder.engine.border.rounds import Ending, Observations, Round
from autograder.engine.inside.records import Begun, Defined, Event, NoTorch, Record, Running, Waiting

NAMES = ("a", "b", "c", "d")
NEEDING = {"a": {"a", "b"}, "b": {"b"}, "c": {"c"}, "d": {"d"}}  # b needs a
SLOW = Ending("timeout", "It ran too long.")
DEAD = Ending("crashed", "It is gone.")


def begun(name: str) -> Begun:
    return Begun(name, "probe", 0)


def record(name: str, seed: int = 30) -> Record:
    return Record(name, "probe", 0, seed, "", {})


@dataclass(frozen=True)
class Story:
    """What a process says, how it ends (if it does), and what is known then."""

    events: list[Event]
    ending: Ending | None = None
    late: bool = False
    remaining: str = ""
    ended: dict[str, Ending] = field(default_factory=dict)
    spoiled: dict[str, str] = field(default_factory=dict)
    records: str = ""
    place: tuple[int, int] | None = None
    torch: bool = True


STORIES = {
    "nothing_is_said": Story([], remaining="abcd"),
    "all_goes_well": Story(
        [Running(1, 1), Defined(), begun("a"), record("a"), begun("b"), record("b"), Waiting()], records="ab"
    ),
    "what_was_begun_is_not_done": Story([begun("a"), record("a")], remaining="abcd", records="a"),
    "the_next_one_ends_the_last": Story([begun("a"), record("a"), begun("b")], remaining="bcd", records="a"),
    "an_exercise_without_a_record_is_over_all_the_same": Story([begun("a"), begun("c")], remaining="cd"),
    "a_stranger_is_not_begun": Story([begun("z")], remaining="abcd"),
    "an_earlier_one_does_not_come_back": Story([begun("c"), begun("a")], remaining="cd"),
    "only_its_own_names_are_spoiled": Story(
        [Defined({"a": "raised", "z": "raised"})], spoiled={"a": "raised"}, remaining="abcd"
    ),
    "without_torch_nothing_remains": Story([NoTorch()], torch=False),
    "a_case_that_ends_it_takes_what_needs_it": Story(
        [begun("a")], DEAD, remaining="cd", ended={"a": replace(DEAD, case=("probe", 0))}
    ),
    "and_nothing_else": Story(
        [begun("a"), begun("b")], SLOW, remaining="cd", ended={"b": replace(SLOW, case=("probe", 0))}
    ),
    "after_a_record_it_is_the_same_exercise": Story(
        [begun("c"), record("c")], DEAD, remaining="d", ended={"c": DEAD}, records="c"
    ),
    "late_is_late_for_all": Story([begun("b")], SLOW, late=True, ended=dict.fromkeys("bcd", SLOW)),
    "nobody_is_guilty": Story([Defined()], DEAD, ended=dict.fromkeys(NAMES, DEAD)),
    "it_never_began": Story([], DEAD, ended=dict.fromkeys(NAMES, DEAD)),
    "a_statement_is_left_out": Story(
        [Running(3, 7)],
        SLOW,
        remaining="abcd",
        spoiled={"cell 3, line 7": "Cell 3, line 7: It ran too long."},
        place=(3, 7),
    ),
    "a_statement_that_crashes_late": Story(
        [Running(3, 7)],
        DEAD,
        late=True,
        remaining="abcd",
        spoiled={"cell 3, line 7": "Cell 3, line 7: It is gone."},
        place=(3, 7),
    ),
    "a_statement_that_uses_up_all_time": Story(
        [Running(3, 7)],
        SLOW,
        late=True,
        ended=dict.fromkeys(NAMES, Ending("timeout", "Cell 3, line 7: It ran too long.")),
        place=(3, 7),
    ),
    "an_end_after_the_end": Story([begun("d"), record("d"), Waiting()], DEAD, records="d"),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_what_is_known_after(story):
    found = Observations()
    track = Round(NAMES, 30, lambda name: NEEDING[name], found)
    for event in story.events:
        track.take(event)
    if story.ending:
        last = story.events[-1] if story.events else None
        assert track.stopped(last, story.ending, late=story.late) == story.place
    assert "".join(track.remaining) == story.remaining
    assert found.ended == story.ended
    assert found.spoiled == story.spoiled
    assert "".join(case[0] for case, _ in found.records) == story.records
    assert found.torch is story.torch


def test_a_record_is_kept_under_the_seed_that_was_asked_for():
    found = Observations()
    Round(["a"], 77, lambda name: set(), found).take(record("a", seed=30))
    assert list(found.records) == [(("a", "probe", 0), 77)]


def test_what_ended_a_process_is_not_tried_again_whatever_needs_it():
    track = Round(NAMES, 30, lambda name: set(), Observations())
    track.stopped(begun("a"), DEAD, late=False)
    assert track.remaining == ["b", "c", "d"]
