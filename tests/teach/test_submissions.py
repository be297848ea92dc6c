"""Submissions as they come: nbgrader's folders, what learning management systems give, and what is wrong with both."""

import errno
import functools
import io
import json
import os
import shutil
import time
import tracemalloc
import unicodedata
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from lms import SYSTEMS, a_class, handed_in, write_class
from nbgrader.utils import parse_utc

from autograder.engine.inside.errors import UserError
from course.base.project import Project
from course.teach import sources, submissions
from course.teach.reading import MAX_SUBMITTED_BYTES
from course.teach.roster import Roster, Student
from course.teach.submissions import EARLIER, Collected, collect, received, settle, submitted

SLUG = "03_lstm_understanding"
NOBODY = Roster()
NOTHING = Collected()


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def pack(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def taken(course_dir: Path) -> dict[str, str]:
    return {student: path.read_text() for student, path in submitted(SLUG, course_dir).items() if path.is_file()}


def take(tmp_path: Path, files: dict[str, str | bytes], roster: Roster = NOBODY) -> Collected:
    """What comes of a zip, taken into the class in tmp_path/class."""
    return collect(pack(tmp_path / "all.zip", files), SLUG, tmp_path / "class", roster)


@functools.cache
def done(count: int, mark: str = "") -> str:
    """The assignment with so many exercises done, as a notebook of an editor that keeps no metadata."""
    project = Project()
    solved = {e.name: e for e in project.assignment(SLUG).exercises[:count]}
    cells = json.loads(project.release(SLUG).read_bytes())["cells"]
    worked = {c["id"]: c for c in json.loads(project.solution(SLUG).read_bytes())["cells"]}
    sources = [
        worked[c["id"]]["source"] if c["id"] in solved else c["source"] for c in cells if c["cell_type"] == "code"
    ]
    code = [
        {"cell_type": "code", "source": source, "outputs": [], "metadata": {}} for source in [*sources, f"# {mark}"]
    ]
    return json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


LAYOUTS = {
    "nbgrader": ({f"ada/{SLUG}/{SLUG}.ipynb": "a", f"ben/{SLUG}/{SLUG}.ipynb": "b"}, {"ada": "a", "ben": "b"}),
    "nbgrader, renamed": ({f"ada/{SLUG}/my homework.ipynb": "a"}, {"ada": "a"}),
    "a file each": ({f"ada_{SLUG}.ipynb": "a", "ben.ipynb": "b"}, {"ada": "a", "ben": "b"}),
    "a folder each": ({"Ada L./lstm.ipynb": "a", "Ben/hw/03.ipynb": "b"}, {"Ada_L": "a", "Ben": "b"}),
    "Canvas": (
        {"lovelaceada_1234_5678_lstm.ipynb": "a", "doeben_LATE_77_88_lstm-1.ipynb": "b"},
        {"lovelaceada_1234": "a", "doeben_77": "b"},
    ),
    "Moodle": (
        {
            "Ada Lovelace_41_assignsubmission_file_/lstm.ipynb": "a",
            "Ada Lovelace_42_assignsubmission_file_/lstm.ipynb": "b",
        },
        {"Ada_Lovelace_41": "a", "Ada_Lovelace_42": "b"},
    ),
    "Moodle, with a group, translated, without the last _": (
        {
            "Group A-Ada Lovelace_41_assignsubmission_file/lstm.ipynb": "a",
            "Teilnehmerin 12_42_assignsubmission_file/lstm.ipynb": "b",
        },
        {"Group_A-Ada_Lovelace_41": "a", "Teilnehmerin_12_42": "b"},
    ),
    "Moodle, without folders": (
        {
            "Ada Lovelace_41_assignsubmission_file_lstm_7_8_x.ipynb": "a",
            "Participant_42_assignsubmission_file_lstm_43_assignsubmission_file_x.ipynb": "b",
        },
        {"Ada_Lovelace_41": "a", "Participant_42": "b"},
    ),
    "Canvas, anonymous": (
        {
            "anon_3fB9x_5501_03_lstm.ipynb": "a",
            "LATE_anon_12345_5502_03_lstm.ipynb": "b",
            "anon_a1B2c_LATE_5_l.ipynb": "c",
        },
        {"anon_3fB9x": "a", "anon_12345": "b", "anon_a1B2c": "c"},
    ),
    "Canvas, a quiz": (
        {"roe_ann12345_question_678_5501_lstm.ipynb": "a", "van_dam_bo9_question_678_5502_03_1_x.ipynb": "b"},
        {"roe_ann12345": "a", "van_dam_bo9": "b"},
    ),
    "Canvas, a name with _": (
        {"roe_x_ann_12_900_l.ipynb": "a", "li_13_901_l.ipynb": "b"},
        {"roe_x_ann_12": "a", "li_13": "b"},
    ),
    "in one folder": (
        {"export/roeann_1_2_l.ipynb": "a", "export/roebo_3_4_l.ipynb": "b"},
        {"roeann_1": "a", "roebo_3": "b"},
    ),
    "one student's folder of Moodle": (
        {"Ada Lovelace_41_assignsubmission_file_/lstm.ipynb": "a"},
        {"Ada_Lovelace_41": "a"},
    ),
    "one of many that looks like Canvas": (
        {**{f"eve_1_2_x/{n}.ipynb": "e" for n in range(5)}, "ada.ipynb": "a", "ben.ipynb": "b"},
        {"eve_1_2_x": "e", "ada": "a", "ben": "b"},
    ),
    "Sakai, with a title like a name": (
        {f"Nets,part(2)/Roe, {n}({n.lower()})/Submission attachment(s)/x.ipynb": n for n in ("Ann", "Bo")},
        {"ann": "Ann", "bo": "Bo"},
    ),
    "nbgrader's folder of a whole class": (
        {f"class/submitted/ada/{SLUG}/x.ipynb": "a", "class/gradebook.db": "x", "class/release/x.ipynb": "x"},
        {"ada": "a"},
    ),
    "noise": (
        {"ada.ipynb": "a", "__MACOSX/._ada.ipynb": "x", ".ipynb_checkpoints/ada.ipynb": "x", "Thumbs.db": "x"},
        {"ada": "a"},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_layout_is_understood_in_a_folder_and_in_a_zip(tmp_path, layout, packed):
    files, expected = LAYOUTS[layout]
    source = pack(tmp_path / "all.zip", files) if packed else write(tmp_path / "all", files)
    assert collect(source, SLUG, tmp_path / "class", NOBODY) == NOTHING
    assert taken(tmp_path / "class") == expected


def test_a_zip_with_one_folder_round_everything(tmp_path):
    source = pack(tmp_path / "all.zip", {"export/ada.ipynb": "a", "export/ben/x.ipynb": "b"})
    assert collect(source, SLUG, tmp_path / "class", NOBODY) == NOTHING
    assert taken(tmp_path / "class") == {"ada": "a", "ben": "b"}


def test_names_in_a_zip_lead_nowhere(tmp_path):
    source = pack(tmp_path / "all.zip", {"../../evil.ipynb": "x", "/root/evil.ipynb": "y", "a\\..\\b.ipynb": "z"})
    collect(source, SLUG, tmp_path / "class", NOBODY)
    assert {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*.ipynb")} == {"class"}
    assert not (tmp_path.parent / "evil.ipynb").exists()


def test_a_link_to_somebody_elses_file_is_no_submission(tmp_path):
    secret = write(tmp_path, {"solutions.ipynb": "answers"}) / "solutions.ipynb"
    source = write(tmp_path / "all", {"ben.ipynb": "b"})
    os.symlink(secret, source / "ada.ipynb")
    os.symlink(tmp_path, source / "cleo")
    assert "is a link or a folder" in collect(source, SLUG, tmp_path / "class", NOBODY).problems["ada"]
    assert taken(tmp_path / "class") == {"ben": "b"}


def test_the_one_that_bears_the_assignments_name_counts_where_nothing_else_tells(tmp_path):
    came = take(tmp_path, {f"ada/{SLUG}.ipynb": "a", "ada/x.ipynb": "x", "ben/y.ipynb": "b"})
    assert came == Collected(notes=["passed over beside ada's notebook: x.ipynb."])
    assert taken(tmp_path / "class") == {"ada": "a", "ben": "b"}


def test_a_name_that_looks_like_a_systems_takes_nobodys_place(tmp_path):
    files = {
        "Ann Roe_77_assignsubmission_file_/x.ipynb": "a",
        "Ann Roe_77_assignsubmission_file__78_assignsubmission_file_/x.ipynb": "e",
    }
    assert collect(pack(tmp_path / "all.zip", files), SLUG, tmp_path / "class", NOBODY) == NOTHING
    assert sorted(taken(tmp_path / "class").values()) == ["a", "e"]


def test_two_names_that_make_one_id_are_refused(tmp_path):
    source = write(tmp_path / "all", {"Ann Roe/x.ipynb": "a", "Ann_Roe/x.ipynb": "e", "ben.ipynb": "b"})
    came = collect(source, SLUG, tmp_path / "class", NOBODY)
    why = "Ann Roe and Ann_Roe are one id, Ann_Roe. Rename all but one of them."
    assert came == Collected(unplaced=[("Ann Roe/x.ipynb", why), ("Ann_Roe/x.ipynb", why)])
    assert taken(tmp_path / "class") == {"ben": "b"}


def test_a_name_in_either_form_of_unicode_is_one_id(tmp_path):
    for form in ("NFC", "NFD"):
        collect(
            pack(tmp_path / f"{form}.zip", {unicodedata.normalize(form, "Jörg") + ".ipynb": form}),
            SLUG,
            tmp_path / "class",
            NOBODY,
        )
    assert taken(tmp_path / "class") == {"Jörg": "NFD"}


def test_names_may_be_long_and_hold_what_moves_a_cursor(tmp_path):
    long = {f"{'a' * 300}{end}.ipynb": end for end in ("1", "2")}
    source = pack(tmp_path / "all.zip", {**long, "eve/\x1b[2J\x1b[31mone.ipynb": "1", "eve/two\r\n.ipynb": "2"})
    problems = collect(source, SLUG, tmp_path / "class", NOBODY).problems
    assert all(text.isprintable() for pair in problems.items() for text in pair)
    assert "?[2J" in problems["eve"]
    assert sorted(taken(tmp_path / "class").values()) == ["1", "2"]


def damaged(path: Path, damage: str) -> Path:
    """A zip with a good notebook of ben's, and one of ada's that can't be read."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ada.ipynb", "some text " * 50)
        archive.writestr("ben.ipynb", "b")
    raw = bytearray(path.read_bytes())
    first, listed = raw.index(b"PK\x03\x04"), raw.index(b"PK\x01\x02")
    if damage == "deflate":
        start = first + 30 + len("ada.ipynb")
        raw[start : start + 8] = b"\xff" * 8
    elif damage == "method":
        raw[first + 8 : first + 10] = raw[listed + 10 : listed + 12] = (97).to_bytes(2, "little")
    elif damage == "password":
        raw[first + 6] |= 1
        raw[listed + 8] |= 1
    elif damage == "header":
        raw[first : first + 4] = b"no!!"
    path.write_bytes(bytes(raw))
    return path


@pytest.mark.parametrize("damage", ["deflate", "method", "password", "header"])
def test_one_that_cannot_be_unpacked_is_named_and_the_rest_are_taken(tmp_path, damage):
    problems = collect(damaged(tmp_path / "all.zip", damage), SLUG, tmp_path / "class", NOBODY).problems
    assert problems["ada"].startswith("ada.ipynb can't be read: ")
    assert taken(tmp_path / "class") == {"ben": "b"}


def test_what_a_zip_unpacks_to_is_limited_in_all(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_UNPACKED_BYTES", 250)
    files = {f"{name}.ipynb": name * 100 for name in "abcde"}
    problems = collect(pack(tmp_path / "all.zip", files), SLUG, tmp_path / "class", NOBODY).problems
    assert set(taken(tmp_path / "class")) == {"a", "b"}
    assert set(problems) == {"c", "d", "e"}
    assert "was not taken" in problems["d"]
    monkeypatch.setattr(sources, "MAX_ENTRIES", 4)
    with pytest.raises(UserError, match="more than 4 files"):
        take(tmp_path, files)


def test_notebooks_of_a_zip_are_in_memory_one_at_a_time(tmp_path):
    source = pack(tmp_path / "all.zip", {f"{number}.ipynb": "x" * 10**7 for number in range(12)})
    tracemalloc.start()
    assert collect(source, SLUG, tmp_path / "class", NOBODY) == NOTHING
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5 * 10**7


def test_which_of_several_counts_is_for_a_human(tmp_path):
    source = write(tmp_path / "all", {"ada/one.ipynb": "1", "ada/two.ipynb": "2", "ben.ipynb": "b"})
    problems = collect(source, SLUG, tmp_path / "class", NOBODY).problems
    assert "one.ipynb, two.ipynb" in problems["ada"]
    assert taken(tmp_path / "class") == {"ben": "b"}


def test_a_later_submission_takes_the_place_of_the_earlier_which_is_kept(tmp_path):
    folder = tmp_path / "class"
    for text in ("first", "first", "second"):
        collect(write(tmp_path / "all", {"ada.ipynb": text}), SLUG, folder, NOBODY)
    assert taken(folder) == {"ada": "second"}
    assert [p.read_text() for p in (folder / EARLIER).rglob("*.ipynb")] == ["first"]


def test_what_cannot_be_read_is_named(tmp_path):
    source = pack(tmp_path / "all.zip", {"ada.ipynb": "some text", "ben.ipynb": "b"})
    raw = source.read_bytes()
    source.write_bytes(raw.replace(b"some text", b"some tex!", 1))  # its checksum is wrong now
    assert "can't be read" in collect(source, SLUG, tmp_path / "class", NOBODY).problems["ada"]
    huge = write(tmp_path / "all", {"cleo.ipynb": ""})
    os.truncate(huge / "cleo.ipynb", MAX_SUBMITTED_BYTES + 1)
    assert "larger than 100 MB" in collect(huge, SLUG, tmp_path / "class", NOBODY).problems["cleo"]
    for wrong, sentence in (("nowhere", "there is no such"), ("empty", "no notebook"), ("no.zip", "as a zip")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "no.zip").write_text("no zip")
        with pytest.raises(UserError, match=sentence):
            collect(tmp_path / wrong, SLUG, tmp_path / "class", NOBODY)


# Nothing is silent ----------------------------------------------------------------------------------------------------


def zipped(files: dict[str, str | bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


TAKEN_THOUGH = {  # what a notebook is called, or lies in
    "lstm.ipynb.txt": lambda: done(2),
    "lstm.ipynb.json": lambda: done(2),
    "lstm.IPYNB": lambda: done(2),
    "lstm.json": lambda: done(2),
    "lstm": lambda: done(2).encode("utf-16"),
    "lstm.txt": lambda: "\ufeff" + done(2),
}


@pytest.mark.parametrize("called", TAKEN_THOUGH)
def test_a_notebook_under_another_ending_is_taken_and_it_is_said(tmp_path, called):
    came = take(tmp_path, {f"roeann_1_2_{called}": TAKEN_THOUGH[called](), "roebo_3_4_l.ipynb": done(2)})
    assert came == Collected(notes=[f"roeann_1: taken although it is called roeann_1_2_{called}."])
    assert set(taken_bytes(tmp_path / "class")) == {"roeann_1", "roebo_3"}


def taken_bytes(course_dir: Path) -> dict[str, bytes]:
    return {student: path.read_bytes() for student, path in submitted(SLUG, course_dir).items() if path.is_file()}


ASK = "ask roeann_1 for the .ipynb file."
IN_VAIN = {  # what is handed in, and what is said of it
    "lstm.py": ("x", f"roeann_1_2_lstm.py is no notebook: {ASK}"),
    "lstm.html": ("<html>", f"roeann_1_2_lstm.html is no notebook: {ASK}"),
    "lstm.pdf": ("%PDF", f"roeann_1_2_lstm.pdf is no notebook: {ASK}"),
    "lstm.docx": (
        zipped({"word/document.xml": "x"}),
        f"roeann_1_2_lstm.docx is no notebook: {ASK}",
    ),
    "data.json": ('{"a": 1}', f"roeann_1_2_data.json is no notebook: {ASK}"),
    "work.rar": (
        "Rar!",
        "roeann_1_2_work.rar is an archive that can't be opened here: ask roeann_1 for the .ipynb file.",
    ),
    "work.tar.gz": (
        b"\x1f\x8b",
        "roeann_1_2_work.tar.gz is an archive that can't be opened here: ask roeann_1 for the .ipynb file.",
    ),
    "work.zip": (
        b"PK",
        "roeann_1_2_work.zip can't be read as a zip: File is not a zip file: ask roeann_1 for the .ipynb file.",
    ),
    "inner.zip": (
        zipped({"b.py": "x", "in.zip": zipped({"x.ipynb": "x"})}),
        "roeann_1_2_inner.zip/b.py is no notebook; "
        "roeann_1_2_inner.zip/in.zip is an archive in an archive, and was not opened: "
        "ask roeann_1 for the .ipynb file.",
    ),
    "lstm.ipynb": ("", "roeann_1_2_lstm.ipynb is empty: ask roeann_1 for the .ipynb file."),
}


@pytest.mark.parametrize("called", IN_VAIN)
def test_what_is_no_notebook_is_named_with_what_to_do(tmp_path, called):
    content, why = IN_VAIN[called]
    came = take(tmp_path, {f"roeann_1_2_{called}": content, "roebo_3_4_l.ipynb": done(2)})
    assert came == Collected(problems={"roeann_1": why})
    assert set(taken(tmp_path / "class")) == {"roebo_3"}


def test_a_students_own_zip_is_read_wherever_it_lies(tmp_path):
    inner = zipped({"work/lstm.ipynb": done(3), "work/data.csv": "a,b", "__MACOSX/work/._lstm.ipynb": "x"})
    files = {"Ann Roe_41_assignsubmission_file_/work.zip": inner, "Bo Li_42_assignsubmission_file_/l.ipynb": done(1)}
    assert take(tmp_path, files).notes == ["passed over beside Ann_Roe_41's notebook: work.zip/work/data.csv."]
    assert taken(tmp_path / "class") == {"Ann_Roe_41": done(3), "Bo_Li_42": done(1)}
    assert received(SLUG, tmp_path / "class")["Ann_Roe_41"]["name"] == "Ann Roe_41_assignsubmission_file_/work.zip"
    other, folder = tmp_path / "other", tmp_path / "folder"
    folder.mkdir()
    (folder / "ann.zip").write_bytes(inner)
    collect(folder, SLUG, other, NOBODY)
    assert taken(other) == {"ann": done(3)}


def test_what_unpacks_to_more_than_a_student_may_hand_in_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_STUDENT_BYTES", 1000)
    came = take(tmp_path, {"eve/a.zip": zipped({"x.ipynb": done(1)}), "ada/x.ipynb": "a" * 900})
    assert "all of one together have more than" in came.problems["eve"]
    one = zipped({f"{n}.ipynb": "x" * 400 for n in range(5)})
    assert "3.ipynb (was not taken: all of one" in take(tmp_path, {"eve/a.zip": one, "ada/x.ipynb": "a"}).notes[0]
    assert set(taken(tmp_path / "class")) == {"ada", "eve"}


def test_a_name_in_a_zip_is_utf8_also_where_it_does_not_say_so(tmp_path):
    source = pack(tmp_path / "all.zip", {"J__rg.ipynb": "a", "ben.ipynb": "b"})
    source.write_bytes(source.read_bytes().replace(b"J__rg", "Jörg".encode()))
    collect(source, SLUG, tmp_path / "class", NOBODY)
    assert taken(tmp_path / "class") == {"Jörg": "a", "ben": "b"}


def test_what_nobody_can_be_given_is_listed_and_makes_no_student(tmp_path):
    files = {"roeann_1_2_l.ipynb": done(1), "roebo_3_4_l.ipynb": done(1), "stray.ipynb": done(1)}
    (stray,) = take(tmp_path, files).unplaced
    assert stray[0] == "stray.ipynb"
    assert "rename it" in stray[1]
    (notes,) = take(tmp_path, {"ada.ipynb": done(1), "notes.txt": "x"}).unplaced
    assert notes[0] == "notes.txt"
    assert set(submitted(SLUG, tmp_path / "class")) == {"roeann_1", "roebo_3", "ada"}


@pytest.mark.parametrize("packed", [False, True])
def test_what_jupyter_keeps_beside_a_notebook_is_nobodys_submission_and_is_named_where_it_is_all(tmp_path, packed):
    files = {"ada/x.ipynb": done(1), "ada/.ipynb_checkpoints/x-checkpoint.ipynb": done(2)}
    files |= {"ben/.ipynb_checkpoints/x-checkpoint.ipynb": done(2), "__MACOSX/cyd/._x.ipynb": done(1)}
    source = write(tmp_path / "all", files)
    if packed:
        source = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", source))
    said = collect(source, SLUG, tmp_path / "class", NOBODY)
    assert taken(tmp_path / "class") == {"ada": done(1)}
    assert list(said.problems) == ["ben"]
    assert "only .ipynb_checkpoints" in said.problems["ben"]


def test_an_empty_folder_and_a_text_typed_in_are_named(tmp_path):
    source = write(tmp_path / "all", {"ada/x.ipynb": done(1)})
    (source / "ben").mkdir()
    assert "is an empty folder" in collect(source, SLUG, tmp_path / "class", NOBODY).problems["ben"]
    files = {
        "Ann Roe_41_assignsubmission_file_/lstm.ipynb": done(1),
        "Ann Roe_41_assignsubmission_onlinetext_/onlinetext.html": "<p>hi",
        "Bo Li_42_assignsubmission_onlinetext_/onlinetext.html": "<p>hi",
    }
    came = take(tmp_path, files)
    assert came.notes == [
        "passed over beside Ann_Roe_41's notebook: onlinetext.html (is what they typed in, and no file)."
    ]
    assert set(came.problems) == {"Bo_Li_42"}
    assert set(take(tmp_path, {"roeann_12_text.html": "x", "roebo_3_4_l.ipynb": done(1)}).problems) == {"roeann_12"}


# Whose it is ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_and_every_attempt_end_with_one_row_per_student_of_the_roster(tmp_path, system):
    students, folder = a_class(24), tmp_path / "class"
    roster = Roster(tuple(students))
    for attempt in (1, 2):
        notebooks = {s.id: done(attempt, s.id).encode() for s in students[:22]}
        late = {students[3].id}
        source = write_class(system, tmp_path / "all.zip", notebooks, students=students, late=late, attempt=attempt)
        came = collect(source, SLUG, folder, roster)
        assert (came.problems, came.unplaced) == ({}, [])
        assert came.missing == [students[22].id, students[23].id]
        assert taken_bytes(folder) == notebooks
    entries = received(SLUG, folder)
    assert {e["system"] for e in entries.values()} == {system}
    assert set(zipfile.ZipFile(source).namelist()) >= {e["name"] for e in entries.values()}
    assert entries["s003"]["late"] is (system == "canvas")
    stamps = {s: p.with_name("timestamp.txt") for s, p in submitted(SLUG, folder).items()}
    if system in ("canvas", "moodle"):
        assert not any(stamp.exists() for stamp in stamps.values())
    else:
        assert parse_utc(stamps["s005"].read_text().strip()).replace(microsecond=0) == handed_in(5, attempt=2)
        assert datetime.fromisoformat(entries["s005"]["moment"]).utcoffset().total_seconds() == 0
    assert len(list((folder / EARLIER).rglob("*.ipynb"))) == 22


@pytest.mark.parametrize("system", SYSTEMS)
def test_without_a_roster_a_resubmission_is_no_new_student(tmp_path, system):
    students = a_class(12)
    for attempt in (1, 2):
        notebooks = {s.id: done(attempt, s.id).encode() for s in students}
        source = write_class(system, tmp_path / "all.zip", notebooks, students=students, attempt=attempt)
        came = collect(source, SLUG, tmp_path / "class", NOBODY)
        assert (came.problems, came.unplaced, came.missing) == ({}, [], [])
        assert sorted(taken_bytes(tmp_path / "class").values()) == sorted(notebooks.values())


ROSTER = Roster(
    (
        Student("Ann Roe_41", "Ann"),
        Student("Jörg_42", "Jörg"),
        Student("cyd", "Cyd", "van Dam", "cyd.vd@uni.example", "7003"),
        Student("dee", "Dee", "Li", "d.li@uni.example", "7004"),
    )
)
PLACED = {
    "Ann Roe_41_assignsubmission_file_/x.ipynb": "Ann Roe_41",
    "Ann_Roe_41/x.ipynb": "Ann Roe_41",
    unicodedata.normalize("NFD", "Jörg_42_assignsubmission_file_/x.ipynb"): "Jörg_42",
    "vandamcyd_7003_9_x.ipynb": "cyd",
    "vandamcyd_1_9_x.ipynb": "cyd",
    "somebody_7004_9_x.ipynb": "dee",
    "Dee Li_77_assignsubmission_file_/x.ipynb": "dee",
    "Group B-Dee Li_77_assignsubmission_file_/x.ipynb": "dee",
    "d.li/x.ipynb": "dee",
    "van Dam, Cyd(cyd)/Submission attachment(s)/x.ipynb": "cyd",
}


@pytest.mark.parametrize("name", PLACED)
def test_a_name_is_found_in_the_roster_however_a_system_writes_it(tmp_path, name):
    came = take(tmp_path, {name: done(1)}, ROSTER)
    assert list(taken(tmp_path / "class")) == [PLACED[name]]
    assert (came.problems, came.unplaced) == ({}, [])
    assert came.missing == [student for student in ROSTER.ids if student != PLACED[name]]


def test_who_is_not_in_the_roster_is_named_and_who_is_nearly_in_it_is_not_recorded(tmp_path):
    came = take(tmp_path, {"zed.ipynb": done(1), "Ann Ro_41.ipynb": done(1), "Li Dee/x.ipynb": done(1)}, ROSTER)
    assert "not in the roster: zed (graded)" in came.notes
    assert came.unplaced == [
        (
            "Ann Ro_41.ipynb",
            "Ann Ro_41 is not in the roster; near: Ann Roe_41. "
            "Rename the file, or enter them with s30 gradebook --roster.",
        )
    ]
    assert list(taken(tmp_path / "class")) == ["dee", "zed"]


def test_two_who_can_be_one_of_the_roster_are_given_to_nobody_unless_one_is_sure(tmp_path):
    twins = {f"Dee Li_{n}_assignsubmission_file_/x.ipynb": done(n) for n in (1, 2)}
    assert len(take(tmp_path, twins, ROSTER).unplaced) == 2
    assert taken(tmp_path / "class") == {}
    files = {"dee_1_assignsubmission_file_/x.ipynb": done(1), "Dee Li_2_assignsubmission_file_/x.ipynb": done(2)}
    (unplaced,) = take(tmp_path, files, ROSTER).unplaced
    assert unplaced[0].startswith("Dee Li_2_")
    assert taken(tmp_path / "class") == {"dee": done(1)}


def test_somebodys_files_in_a_zip_do_not_say_how_the_others_are_named(tmp_path):
    evil = {f"eve/vandamcyd_7003_{n}_x.ipynb": done(1, str(n)) for n in range(9)}
    take(tmp_path, {**evil, "dee/x.ipynb": done(1), "li/x.ipynb": done(1)}, ROSTER)
    assert "cyd" not in taken(tmp_path / "class")


def test_whose_a_submission_of_gradescope_is_stands_in_its_metadata_alone(tmp_path):
    (lost,) = take(tmp_path, {"export/submission_111/lstm.ipynb": done(1)}).unplaced
    assert "submission_metadata.yml, which is not there" in lost[1]
    people = "  :submitters:\n  - :name: Dee Li\n    :sid:\n  - :name: Cyd\n    :sid: cyd\n"
    files = {
        "a/submission_metadata.yml": f"submission_1:\n{people}  :x: !ruby/object:Evil {{}}\nsubmission_2: 7\n",
        "a/submission_1/x.ipynb": done(1),
        "a/submission_2/x.ipynb": done(1),
        "a/submission_1/submission_metadata.yml": "submission_1: {}\n",
    }
    came = take(tmp_path, files, ROSTER)
    assert [name for name, _ in came.unplaced] == ["a/submission_2/x.ipynb"]
    assert taken(tmp_path / "class") == {"cyd": done(1), "dee": done(1)}  # a group


# Which of several -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("a.ipynb", "b.ipynb"), ("b.ipynb", "a.ipynb"), ("x.ipynb", f"{SLUG}.ipynb")])
@pytest.mark.parametrize("stub_is_later", [False, True])
def test_a_solved_copy_beats_a_stub_whatever_it_is_called_and_whenever_it_came(tmp_path, names, stub_is_later):
    solved, stub = names
    source = write(tmp_path / "all", {f"ada/{solved}": done(3), f"ada/{stub}": done(0), "ada/less.ipynb": done(2)})
    os.utime(source / "ada" / stub, (time.time() + (3600 if stub_is_later else -3600),) * 2)
    came = collect(source, SLUG, tmp_path / "class", NOBODY)
    assert taken(tmp_path / "class") == {"ada": done(3)}
    assert stub in came.notes[0]
    assert "less.ipynb" in came.notes[0]


def test_of_equally_solved_ones_the_latest_counts_and_a_tie_is_for_a_human(tmp_path):
    source = write(tmp_path / "all", {"ada/one.ipynb": done(2, "1"), "ada/two.ipynb": done(2, "2")})
    for name, moment in (("one", 2000), ("two", 1000)):
        os.utime(source / "ada" / f"{name}.ipynb", (moment, moment))
    assert collect(source, SLUG, tmp_path / "class", NOBODY).problems == {}
    assert taken(tmp_path / "class") == {"ada": done(2, "1")}
    os.utime(source / "ada" / "one.ipynb", (1000, 1000))
    assert "Several notebooks" in collect(source, SLUG, tmp_path / "c2", NOBODY).problems["ada"]
    write(source, {"ada/two.ipynb": done(2, "1")})  # the same twice is no tie
    os.utime(source / "ada" / "two.ipynb", (1000, 1000))
    assert collect(source, SLUG, tmp_path / "c3", NOBODY).problems == {}


def test_a_notebook_of_another_assignment_counts_for_nothing(tmp_path):
    other = "04_rnn_regularization"
    wrong = Project().release(other).read_text()
    came = take(tmp_path, {"ada/x.ipynb": wrong, "ben/x.ipynb": wrong, "ben/y.ipynb": done(1)})
    assert came.problems == {"ada": f"x.ipynb is a notebook of {other}, not of {SLUG}: ask ada for the .ipynb file."}
    assert taken(tmp_path / "class") == {"ben": done(1)}
    assert other in came.notes[0]


def test_of_blackboards_attempts_the_latest_counts_that_is_no_stub(tmp_path):
    files = {
        "HW 3_ann_attempt_2026-03-01-10-00-00_x.ipynb": done(3),
        "HW 3_ann_attempt_2026-03-02-10-00-00_x.ipynb": done(2),
        "HW 3_ann_attempt_2026-03-03-10-00-00_x.ipynb": done(0),
    }
    take(tmp_path, files)
    assert taken(tmp_path / "class") == {"ann": done(2)}


def test_logins_of_blackboard_are_read_from_its_receipts_and_else_given_to_nobody(tmp_path):
    heads = {name: f"HW_3_{name}_roe_attempt_2026-03-01-10-00-00" for name in ("ann", "bo")}
    files = {f"{head}_x.ipynb": done(1, name) for name, head in heads.items()}
    assert len(take(tmp_path, files).unplaced) == 2
    files |= {
        f"{h}.txt": f"Name: X Y ({n}_roe)\nDate Submitted: Sunday, 1 March 2026 10:00:00 EST\n"
        for n, h in heads.items()
    }
    assert take(tmp_path, files) == NOTHING
    assert set(taken(tmp_path / "class")) == {"ann_roe", "bo_roe"}
    assert received(SLUG, tmp_path / "class")["bo_roe"]["moment"] == "2026-03-01T15:00:00+00:00"


# When it came ---------------------------------------------------------------------------------------------------------


def test_a_timestamp_travels_with_the_notebook_and_an_unreadable_one_is_said(tmp_path):
    files = {f"hub/submitted/{name}/{SLUG}/x.ipynb": done(1, name) for name in ("ada", "ben")}
    files[f"hub/submitted/ada/{SLUG}/timestamp.txt"] = "2026-03-03 10:00:00 Europe/Berlin\n"
    files[f"hub/submitted/ben/{SLUG}/timestamp.txt"] = "last \x1b[2J Tuesday"
    came = collect(write(tmp_path, files) / "hub", SLUG, tmp_path / "class", NOBODY)
    stamp = tmp_path / "class" / "submitted" / "ada" / SLUG / "timestamp.txt"
    assert stamp.read_text() == "2026-03-03 09:00:00 UTC\n"
    assert len(came.notes) == 1
    assert "ben" in came.notes[0]
    assert came.notes[0].isprintable()
    assert not (tmp_path / "class" / "submitted" / "ben" / SLUG / "timestamp.txt").exists()


def canvas(order: int) -> str:
    return f"roeann_1_{order}_x.ipynb"


def hub(day: int) -> dict[str, str]:
    return {f"ann/{SLUG}/timestamp.txt": f"2026-03-{day:02d} 10:00:00 UTC"}


OLDER = {  # what comes first, and what comes then, and is older
    "by the moment": ({f"ann/{SLUG}/x.ipynb": done(2), **hub(5)}, {f"ann/{SLUG}/x.ipynb": done(3), **hub(4)}),
    "by Canvas' count": ({canvas(900): done(2)}, {canvas(899): done(3)}),
    "a stub": ({"ann.ipynb": done(2)}, {"ann.ipynb": done(0)}),
}


@pytest.mark.parametrize("case", OLDER)
def test_an_older_file_and_a_stub_replace_nothing_and_are_kept(tmp_path, case):
    first, then = OLDER[case]
    take(tmp_path, first)
    (student,) = taken(tmp_path / "class")
    before = received(SLUG, tmp_path / "class")
    came = take(tmp_path, then)
    assert taken(tmp_path / "class") == {student: done(2)}
    assert received(SLUG, tmp_path / "class") == before
    assert "did not replace" in came.notes[-1]
    assert student in came.notes[-1]
    (kept,) = (tmp_path / "class" / EARLIER).rglob("*.ipynb")
    assert kept.read_text() in (done(3), done(0))


def test_by_its_date_alone_an_older_file_replaces_nothing_either(tmp_path):
    source = write(tmp_path / "all", {"ann.ipynb": done(2)})
    collect(source, SLUG, tmp_path / "class", NOBODY)
    for text, moment, expected in ((done(3), 1000.0, done(2)), (done(4), time.time() + 9, done(4))):
        write(source, {"ann.ipynb": text})
        os.utime(source / "ann.ipynb", (moment, moment))
        collect(source, SLUG, tmp_path / "class", NOBODY)
        assert taken(tmp_path / "class") == {"ann": expected}


def test_a_timestamp_goes_with_the_file_that_it_is_of(tmp_path):
    take(tmp_path, {f"ann/{SLUG}/x.ipynb": done(1), **hub(4)})
    stamp = tmp_path / "class" / "submitted" / "ann" / SLUG / "timestamp.txt"
    take(tmp_path, {"ann/x.ipynb": done(1)})  # the same again, from where no date is known
    assert stamp.is_file()
    take(tmp_path, {"ann/x.ipynb": done(2)})
    assert not stamp.exists()
    assert next((tmp_path / "class" / EARLIER).rglob("*.txt")).read_text() == "2026-03-04 10:00:00 UTC\n"


def test_receipts_are_merged_over_runs(tmp_path):
    take(tmp_path, {"roeann_LATE_1_900_x.ipynb": done(1), "roebo_3_4_x.ipynb": done(1)})
    take(tmp_path, {"roebo_3_5_x-1.ipynb": done(2)})
    none = {"system": "canvas", "moment": None}
    assert received(SLUG, tmp_path / "class") == {
        "roeann_1": {"name": "roeann_LATE_1_900_x.ipynb", "late": True, "order": 900, **none},
        "roebo_3": {"name": "roebo_3_5_x-1.ipynb", "late": False, "order": 5, **none},
    }


@pytest.mark.parametrize(("number", "stops"), [(errno.ENOSPC, True), (errno.EACCES, False)])
def test_what_cannot_be_written_is_one_sentence_and_loses_nothing(tmp_path, monkeypatch, number, stops):
    take(tmp_path, {"ada.ipynb": done(1), "ben.ipynb": done(1)})

    def full(path: Path, content: bytes | str) -> None:
        if "ada" in path.parts and "submitted" in path.parts:
            raise OSError(number, os.strerror(number), str(path))
        write_whole(path, content)

    write_whole = submissions.write_whole
    monkeypatch.setattr(submissions, "write_whole", full)
    files = {"ada.ipynb": done(2), "ben.ipynb": done(2)}
    if stops:
        with pytest.raises(UserError, match=r"ada\.ipynb of ada can't be written .*No space left"):
            take(tmp_path, files)
        assert taken(tmp_path / "class") == {"ada": done(1), "ben": done(1)}
    else:
        assert "Permission denied" in take(tmp_path, files).problems["ada"]
        assert taken(tmp_path / "class") == {"ada": done(1), "ben": done(2)}


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    source = write(tmp_path / "all", {"ada/x.ipynb": done(1), "ben/x.ipynb": done(1)})
    scandir = os.scandir

    def refused(path: str) -> object:
        if Path(path).name == "ada":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    came = collect(source, SLUG, tmp_path / "class", NOBODY)
    assert came.problems == {"ada": "ada/ can't be read: Permission denied: ask ada for the .ipynb file."}


# What lies in submitted/ already --------------------------------------------------------------------------------------


def test_of_what_is_there_already_the_right_one_is_copied_and_the_files_stay(tmp_path):
    there = {
        f"ada/{SLUG}/mine.ipynb": done(2),
        f"ada/{SLUG}/stub.ipynb": done(0),
        f"ben/{SLUG}/{SLUG}.ipynb": done(1),
        f"ben/{SLUG}/more.ipynb": done(3),
        f"cleo/{SLUG}/{SLUG}.ipynb": done(0),
        f"cleo/{SLUG}/{SLUG}-Copy1.ipynb": done(3),
        f"dan/{SLUG}/dan.py": "x",
    }
    write(tmp_path / "submitted", there)
    (tmp_path / "submitted" / "eve" / SLUG).mkdir(parents=True)
    came = settle(SLUG, tmp_path, Roster((*(Student(n) for n in ("ada", "ben", "cleo", "dan", "eve", "finn")),)))
    assert taken(tmp_path) == {"ada": done(2), "ben": done(1), "cleo": done(3)}
    assert all((tmp_path / "submitted" / name).is_file() for name in there)
    assert [p.read_text() for p in (tmp_path / EARLIER).rglob("*.ipynb")] == [done(0)]
    assert came.problems["dan"] == "dan.py is no notebook: ask dan for the .ipynb file."
    assert came.problems["eve"].endswith(f"has no file {SLUG}.ipynb: it is empty.")
    assert came.missing == ["finn"]
    assert settle(SLUG, tmp_path, NOBODY).notes == []


def test_who_is_there_already_and_not_in_the_roster_is_named(tmp_path):
    write(tmp_path / "submitted", {f"{name}/{SLUG}/{SLUG}.ipynb": done(1) for name in ("zed", "Ann_Roe_41", "dee")})
    notes = settle(SLUG, tmp_path, ROSTER).notes
    assert notes == ["not in the roster: Ann_Roe_41 (graded); near: Ann Roe_41", "not in the roster: zed (graded)"]
