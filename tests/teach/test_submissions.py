"""Submissions as they come: nbgrader's folders, what learning management systems give, and what is wrong with both."""

import os
import tracemalloc
import unicodedata
import zipfile
from pathlib import Path

import pytest

from autograder.engine.inside.errors import UserError
from course.teach import submissions
from course.teach.reading import MAX_SUBMITTED_BYTES
from course.teach.submissions import EARLIER, collect, submitted

SLUG = "03_lstm_understanding"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def pack(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def taken(course_dir: Path) -> dict[str, str]:
    return {student: path.read_text() for student, path in submitted(SLUG, course_dir).items()}


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
    "noise": (
        {"ada.ipynb": "a", "__MACOSX/._ada.ipynb": "x", ".ipynb_checkpoints/ada.ipynb": "x", "notes.txt": "x"},
        {"ada": "a"},
    ),
    "the one that bears the name": (
        {f"ada/{SLUG}.ipynb": "a", "ada/x.ipynb": "x", "ben/y.ipynb": "b"},
        {"ada": "a", "ben": "b"},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_layout_is_understood_in_a_folder_and_in_a_zip(tmp_path, layout, packed):
    files, expected = LAYOUTS[layout]
    source = pack(tmp_path / "all.zip", files) if packed else write(tmp_path / "all", files)
    assert collect(source, SLUG, tmp_path / "class") == {}
    assert taken(tmp_path / "class") == expected


def test_a_zip_with_one_folder_round_everything(tmp_path):
    source = pack(tmp_path / "all.zip", {"export/ada.ipynb": "a", "export/ben/x.ipynb": "b"})
    assert collect(source, SLUG, tmp_path / "class") == {}
    assert taken(tmp_path / "class") == {"ada": "a", "ben": "b"}


def test_names_in_a_zip_lead_nowhere(tmp_path):
    source = pack(tmp_path / "all.zip", {"../../evil.ipynb": "x", "/root/evil.ipynb": "y", "a\\..\\b.ipynb": "z"})
    collect(source, SLUG, tmp_path / "class")
    assert {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*.ipynb")} == {"class"}
    assert not (tmp_path.parent / "evil.ipynb").exists()


def test_a_link_to_somebody_elses_file_is_no_submission(tmp_path):
    secret = write(tmp_path, {"solutions.ipynb": "answers"}) / "solutions.ipynb"
    source = write(tmp_path / "all", {"ben.ipynb": "b"})
    os.symlink(secret, source / "ada.ipynb")
    os.symlink(tmp_path, source / "cleo")
    assert "is a link or a folder" in collect(source, SLUG, tmp_path / "class")["ada"]
    assert taken(tmp_path / "class") == {"ben": "b"}


def test_a_name_that_looks_like_a_systems_takes_nobodys_place(tmp_path):
    files = {
        "Ann Roe_77_assignsubmission_file_/x.ipynb": "a",
        "Ann Roe_77_assignsubmission_file__78_assignsubmission_file_/x.ipynb": "e",
    }
    assert collect(pack(tmp_path / "all.zip", files), SLUG, tmp_path / "class") == {}
    assert sorted(taken(tmp_path / "class").values()) == ["a", "e"]


def test_two_names_that_make_one_id_are_refused(tmp_path):
    source = write(tmp_path / "all", {"Ann Roe/x.ipynb": "a", "Ann_Roe/x.ipynb": "e", "ben.ipynb": "b"})
    problems = collect(source, SLUG, tmp_path / "class")
    assert problems == {"Ann_Roe": "Ann Roe and Ann_Roe are one id, Ann_Roe. Rename all but one of them."}
    assert taken(tmp_path / "class") == {"ben": "b"}


def test_a_name_in_either_form_of_unicode_is_one_id(tmp_path):
    for form in ("NFC", "NFD"):
        collect(
            pack(tmp_path / f"{form}.zip", {unicodedata.normalize(form, "Jörg") + ".ipynb": form}),
            SLUG,
            tmp_path / "class",
        )
    assert taken(tmp_path / "class") == {"Jörg": "NFD"}


def test_names_may_be_long_and_hold_what_moves_a_cursor(tmp_path):
    long = {f"{'a' * 300}{end}.ipynb": end for end in ("1", "2")}
    source = pack(tmp_path / "all.zip", {**long, "eve/\x1b[2J\x1b[31mone.ipynb": "1", "eve/two\r\n.ipynb": "2"})
    problems = collect(source, SLUG, tmp_path / "class")
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
    problems = collect(damaged(tmp_path / "all.zip", damage), SLUG, tmp_path / "class")
    assert problems["ada"].startswith("ada.ipynb can't be read: ")
    assert taken(tmp_path / "class") == {"ben": "b"}


def test_what_a_zip_unpacks_to_is_limited_in_all(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_UNPACKED_BYTES", 250)
    files = {f"{name}.ipynb": name * 100 for name in "abcde"}
    problems = collect(pack(tmp_path / "all.zip", files), SLUG, tmp_path / "class")
    assert set(taken(tmp_path / "class")) == {"a", "b"}
    assert set(problems) == {"c", "d", "e"}
    assert "was not taken" in problems["d"]
    monkeypatch.setattr(submissions, "MAX_ENTRIES", 4)
    with pytest.raises(UserError, match="more than 4 files"):
        collect(pack(tmp_path / "all.zip", files), SLUG, tmp_path / "class")


def test_notebooks_of_a_zip_are_in_memory_one_at_a_time(tmp_path):
    source = pack(tmp_path / "all.zip", {f"{number}.ipynb": "x" * 10**7 for number in range(12)})
    tracemalloc.start()
    assert collect(source, SLUG, tmp_path / "class") == {}
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5 * 10**7


def test_which_of_several_counts_is_for_a_human(tmp_path):
    source = write(tmp_path / "all", {"ada/one.ipynb": "1", "ada/two.ipynb": "2", "ben.ipynb": "b"})
    problems = collect(source, SLUG, tmp_path / "class")
    assert "one.ipynb, two.ipynb" in problems["ada"]
    assert taken(tmp_path / "class") == {"ben": "b"}


def test_a_later_submission_takes_the_place_of_the_earlier_which_is_kept(tmp_path):
    folder = tmp_path / "class"
    for text in ("first", "first", "second"):
        collect(write(tmp_path / "all", {"ada.ipynb": text}), SLUG, folder)
    assert taken(folder) == {"ada": "second"}
    assert [p.read_text() for p in (folder / EARLIER).rglob("*.ipynb")] == ["first"]


def test_what_cannot_be_read_is_named(tmp_path):
    source = pack(tmp_path / "all.zip", {"ada.ipynb": "some text", "ben.ipynb": "b"})
    raw = source.read_bytes()
    source.write_bytes(raw.replace(b"some text", b"some tex!", 1))  # its checksum is wrong now
    assert "can't be read" in collect(source, SLUG, tmp_path / "class")["ada"]
    huge = write(tmp_path / "all", {"cleo.ipynb": ""})
    os.truncate(huge / "cleo.ipynb", MAX_SUBMITTED_BYTES + 1)
    assert "larger than 100 MB" in collect(huge, SLUG, tmp_path / "class")["cleo"]
    for wrong, sentence in (("nowhere", "there is no such"), ("empty", "no notebook"), ("no.zip", "as a zip")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "no.zip").write_text("no zip")
        with pytest.raises(UserError, match=sentence):
            collect(tmp_path / wrong, SLUG, tmp_path / "class")
