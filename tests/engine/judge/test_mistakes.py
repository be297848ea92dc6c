"""The files of known mistakes: what is read from them, and what is refused."""

from pathlib import Path

import pytest

from autograder.engine.inside.errors import UserError
from autograder.engine.judge.mistakes import Mistake, read_mistakes

GOOD = """
# The first that fits is shown.
[sigmoid.mirrored]
hint = "this is 1 - σ(x)."
change = [['x >= 0', 'x < 0']]

[Layer.twice]
hint = '''a \\ in "quotes" stays'''
change = [['self.b', '2 * self.b'],
          ['''
    first = 1
    second = "\\n"
''', '']]

[sigmoid.a_name_before_the_first]
hint = \"\"\"long, \\
    and on one line\"\"\"
change = [["two\\nlines", 'one']]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "42_tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_mistakes_come_in_the_order_of_their_file(tmp_path):
    """That of an exercise's tables decides which hint is shown; so does that of the pairs what is left to change."""
    twice = (("self.b", "2 * self.b"), ('    first = 1\n    second = "\\n"\n', ""))
    assert read_mistakes(written(tmp_path, GOOD)) == [
        Mistake("sigmoid", "mirrored", "this is 1 - σ(x).", (("x >= 0", "x < 0"),)),
        Mistake("sigmoid", "a_name_before_the_first", "long, and on one line", (("two\nlines", "one"),)),
        Mistake("Layer", "twice", 'a \\ in "quotes" stays', twice),
    ]


def test_pairs_are_made_one_after_the_other_everywhere():
    mistake = Mistake("f", "swapped", "…", (("a", "b"), ("b", "c")))
    assert mistake.source("a + b + a") == "c + c + c"
    with pytest.raises(UserError, match=r"^f/swapped: the reference does not contain 'b'"):
        Mistake("f", "swapped", "…", (("a", "c"), ("b", "c"))).source("a + a")


@pytest.mark.parametrize("text", ["", "# none yet\n"])
def test_there_need_be_no_mistake(tmp_path, text):
    assert read_mistakes(written(tmp_path, text)) == []
    assert read_mistakes(tmp_path / "nowhere.toml") == []


HINT, CHANGE = "hint = 'wrong.'\n", "change = [['x', 'y']]\n"
REFUSED = {
    "no TOML": ("[f.a]\nhint = wrong\n", "can't be read as TOML: .*line 2"),
    "the old form": ('MISTAKES = [Mistake("f", "a", "wrong.", {"x": "y"})]', "can't be read as TOML: .*line 1"),
    "one table twice": (f"[f.a]\n{HINT}{CHANGE}[f.a]\n{HINT}{CHANGE}", "can't be read as TOML: .*line 4"),
    "outside a table": (HINT, r"`hint` holds no table of a mistake, such as \[hint\.wrong_axis\]"),
    "an exercise without a mistake": ("[f]\n", r"`f` holds no table of a mistake, such as \[f\.wrong_axis\]"),
    "a list of tables": (f"[[f]]\n{HINT}{CHANGE}", "`f` holds no table"),
    "no name": (f"[f]\n{HINT}{CHANGE}", r"\[f\.hint\] is no table with `hint` and `change`"),
    "another key": (f"[f.a]\n{HINT}{CHANGE}reason = ''\n", r"\[f\.a\] has `reason`; a mistake has `hint` and `change`"),
    "a table within": (f"[f.a.b]\n{HINT}{CHANGE}", r"\[f\.a\] has `b`"),
    "no hint": (f"[f.a]\n{CHANGE}", r"\[f\.a\] has no `hint`"),
    "an empty hint": (f"[f.a]\nhint = ' '\n{CHANGE}", r"\[f\.a\] has no `hint`"),
    "a hint that is no text": (f"[f.a]\nhint = 1\n{CHANGE}", r"\[f\.a\] has no `hint`"),
    "no change": (f"[f.a]\n{HINT}", r"\[f\.a\] has no `change`"),
    "an empty change": (f"[f.a]\n{HINT}change = []\n", r"\[f\.a\] has no `change`"),
    "a change that is a table": (f"[f.a]\n{HINT}change = {{x = 'y'}}\n", r"\[f\.a\] has no `change`"),
    "a pair without brackets": (
        f"[f.a]\n{HINT}change = ['x', 'y']\n",
        r"\[f\.a\] has 'x' in `change`, which is no pair",
    ),
    "three texts": (
        f"[f.a]\n{HINT}change = [['x', 'y', 'z']]\n",
        r"\[f\.a\] has \['x', 'y', 'z'\] in `change`, which is no pair",
    ),
    "a number": (
        f"[f.a]\n{HINT}change = [['x', 'y'], ['2', 3]]\n",
        r"\[f\.a\] has \['2', 3\] in `change`, which is no pair",
    ),
    "nothing to replace": (f"[f.a]\n{HINT}change = [['', 'y']]\n", r"\[f\.a\] replaces an empty text"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_any_other_form_is_refused_in_one_sentence(tmp_path, text, reason):
    with pytest.raises(UserError, match=rf"^42_tiny\.toml(: | ){reason}") as refused:
        read_mistakes(written(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_what_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "42_tiny.toml"
    path.write_bytes("[f.a]\nhint = 'ß'\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"^42_tiny\.toml can't be read as TOML: .*decode"):
        read_mistakes(path)
