"""Submissions as they come: nbgrader's folders, what learning management systems give, and what is wrong with both."""

import os
import zipfile
from pathlib import Path

import pytest

from autograder.engine.inside.errors import UserError
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
