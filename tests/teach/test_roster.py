"""Who is in a class: rosters as spreadsheets write them, and which student a name means."""

from __future__ import annotations

import unicodedata

import pytest
from conftest import ROOT, s30
from lms import a_class, write_roster

from autograder.engine.inside.errors import UserError
from course.base.project import Project
from course.teach.folder import ClassFolder
from course.teach.roster import ROSTER, Roster, Student, enter_roster, read_roster

TWO = [Student("ada", "Ada", "Roe", "ada@x.org", "7"), Student("Jörg M_42", "Jörg", "Müller")]
HEAD = "id,first_name,last_name,email,lms_user_id"
LINES = [HEAD, "ada,Ada,Roe,ada@x.org,7", "Jörg M_42,Jörg,Müller,,"]
TEXT = "\r\n".join(LINES)
WRITTEN = {  # the same two students
    "Python": ("\n".join(LINES) + "\n").encode(),
    "Excel, UTF-8": f"{TEXT}\r\n,,,,\r\n".encode("utf-8-sig"),
    "Excel, semicolons": TEXT.replace(",", ";").encode("utf-8-sig"),
    "Excel, Unicode text": TEXT.replace(",", "\t").encode("utf-16"),
    "Excel, its own first line": b"sep=;\r\n" + TEXT.replace(",", ";").encode(),
    "decomposed": unicodedata.normalize("NFD", TEXT).encode(),
    "other columns and order": b'grade,ID ,"Last_Name",first_name,lms_user_id,email\n'
    + '1,ada,Roe,Ada,7,ada@x.org\n"2, or 3", Jörg M_42 ,Müller,Jörg,,\n'.encode(),
}


@pytest.mark.parametrize("writer", WRITTEN)
def test_a_roster_is_read_as_spreadsheets_write_it(tmp_path, writer):
    path = tmp_path / "students.csv"
    path.write_bytes(WRITTEN[writer])
    assert read_roster(path) == TWO


REFUSED = {
    "name\nada\n": "line 2 has no id",
    "id\nada\nada\n": "line 3 repeats 'ada'",
    "id\nJörg\n" + unicodedata.normalize("NFD", "Jörg\n"): "line 3 repeats 'Jörg'",
    "id\n../evil\n": "a folder can't be called so",
    "id\n.evil\n": "a folder can't be called so",
    "id\n" + "x" * 101: "101 characters",
    'id\n"' + "x" * 200_000: "can't be read as CSV",
}


@pytest.mark.parametrize("text", REFUSED)
def test_of_a_roster_with_something_wrong_nothing_is_entered(tmp_path, text):
    folder = ClassFolder.of(Project(), tmp_path)
    path = tmp_path / "students.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=REFUSED[text].replace("(", r"\(")) as problem:
        enter_roster(path, folder)
    assert str(path) in str(problem.value)
    path.write_bytes("id,first_name\nj,Jörg".encode("cp1252"))
    with pytest.raises(UserError, match="save it as “CSV UTF-8”"):
        enter_roster(path, folder)
    assert not folder.has_gradebook()
    assert not (tmp_path / ROSTER).exists()


def test_the_roster_is_what_was_entered_last_with_what_the_gradebook_knows(tmp_path):
    folder = ClassFolder.of(Project(), tmp_path)
    assert not Roster.of(folder)
    assert not folder.has_gradebook()
    with folder.gradebook() as gradebook:
        gradebook.update_or_create_student("graded_once")
    assert not Roster.of(folder)  # an id alone comes from grading, too
    students = a_class(5)
    assert enter_roster(write_roster(tmp_path / "in.csv", students), folder) == 5
    assert Roster.of(folder).students == tuple(students)
    with folder.gradebook() as gradebook:
        gradebook.update_or_create_student("s001", lms_user_id="999")
        assert len(gradebook.students) == 6
    assert Roster.of(folder).place("", "999") == "s001"
    enter_roster(write_roster(tmp_path / "in.csv", students[:2]), folder)
    assert Roster.of(folder).ids == ["s000", "s001"]


def test_without_a_file_the_roster_is_who_was_imported_into_the_gradebook(tmp_path):
    folder = ClassFolder.of(Project(), tmp_path)
    decomposed = unicodedata.normalize("NFD", "Jörg")
    with folder.gradebook() as gradebook:
        gradebook.update_or_create_student(decomposed, first_name="Jörg")
        gradebook.update_or_create_student("ben")
        gradebook.update_or_create_student("a/b", first_name="x")
    roster = Roster.of(folder)
    assert sorted(roster.ids) == [decomposed, "ben"]
    assert roster.place("Jörg") == decomposed  # as the gradebook has it


CLASS = Roster(
    (
        Student("s1", "Ann", "Roe", "ann.roe@x.org", "7001"),
        Student("s2", "Ann Marie", "O'Neil", "amo@x.org", "7002"),
        Student("41", "Cyd", "Li", "", ""),
        Student("Jörg_42", "Jörg", "Müller", "", ""),
        Student("t1", "Tom", "Twin", "", ""),
        Student("t2", "Tom", "Twin", "", ""),
        Student("52", "", "", "", ""),
    )
)
MEANT = {  # what a system calls them, and its number → who that is
    ("s1", ""): "s1",
    ("S1", ""): "s1",
    ("roeann_7001", "7001"): "s1",
    ("roeann_9", "9"): "s1",
    ("roe_ann9", "9"): None,
    ("ann.roe", ""): "s1",
    ("ANN.ROE@X.ORG", ""): "s1",
    ("Roe, Ann", ""): "s1",
    ("Ann   Roe_5", "5"): "s1",
    ("oneilannmarie_9", "9"): "s2",
    ("Li Cyd_41", "41"): "41",
    ("Zed Zorro_41", "41"): None,  # the number is another one's by chance
    ("x_52", "52"): "52",
    ("mllerjrg", ""): "Jörg_42",  # what Canvas' quizzes leave of it
    (unicodedata.normalize("NFD", "Jörg_42"), ""): "Jörg_42",
    ("Tom Twin", ""): None,
    ("Ann", ""): None,
    ("", ""): None,
    ("_", "9"): None,
}


@pytest.mark.parametrize("called", MEANT)
def test_a_name_means_the_one_student_whom_it_can_mean(called):
    assert CLASS.place(*called) == MEANT[called]


NEAR = {
    ("Ann Ro_5", "5"): ["s1"],
    ("Marie Ann O'Neil", ""): ["s2"],
    ("mullerjorg_1", "1"): ["Jörg_42"],
    ("Tom Twin", ""): ["t1", "t2"],
    ("zed", ""): [],
    ("x" * 5000, ""): [],
}


@pytest.mark.parametrize("called", NEAR)
def test_who_may_be_meant_is_suggested(called):
    assert CLASS.near(*called)[:2] == NEAR[called]
    assert Roster().near(*called) == []


def test_the_command_enters_a_roster(tmp_path):
    path = write_roster(tmp_path / "in.csv", TWO)
    ran = s30("gradebook", "03", "--course-dir", str(tmp_path), "--roster", str(path), root=ROOT)
    assert "entered 2 students" in ran.stdout, ran.stderr
    assert read_roster(tmp_path / ROSTER) == TWO
