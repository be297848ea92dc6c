"""Whatever an editor, a converter or a mail program does to a notebook, its code is read, and nbformat accepts it."""

from __future__ import annotations

import copy
import json
import random
import time
import warnings
from collections.abc import Callable
from typing import Any

import nbformat
import pytest

from autograder.engine.inside.notebook import NotebookError
from course.base.project import Project
from course.teach.cleaning import clean
from course.teach.mending import MAX_SENTENCES, mended
from course.teach.reading import read_tree, repair

SLUG = "03_lstm_understanding"
RELEASE = Project().release(SLUG)
ANSWERS = {cell["id"]: cell["source"] for cell in json.loads(Project().solution(SLUG).read_bytes())["cells"]}
SOLVED = json.loads(RELEASE.read_bytes())
for answered in SOLVED["cells"]:
    if answered["metadata"].get("nbgrader", {}).get("solution"):
        answered["source"] = ANSWERS[answered["id"]]
WIDGETS = {"application/vnd.jupyter.widget-state+json": {"0a1": {"model_name": "HBoxModel", "state": {}}}}
WIDGET_VIEW = {"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {"model_id": "0a1"}}}
DEEP = json.loads("[" * 900 + "]" * 900)
CODE = "sigmoid"  # a cell of code, one of words
WORDS = "why_additive"
Decorate = Callable[[dict], Any]
DECORATED: dict[
    str, tuple[Decorate, str]
] = {}  # name → what is done to a notebook, and what is said of it, if anything


def decorated(said: str = "") -> Callable[[Decorate], Decorate]:
    """What follows decorates a notebook in place, or gives the content of a file; and this is said of it."""
    return lambda function: DECORATED.setdefault(function.__name__, (function, said))[0]


def the(notebook: dict, name: str) -> dict:
    return next(cell for cell in notebook["cells"] if cell.get("id") == name)


def each(notebook: dict, kind: str = "") -> list[dict]:
    return [cell for cell in notebook["cells"] if kind in cell["cell_type"]]


def as_file(name: str) -> bytes:
    """The content of a decorated file."""
    notebook = copy.deepcopy(SOLVED)
    made = DECORATED[name][0](notebook)
    return made if isinstance(made, bytes) else json.dumps(notebook).encode()


def code_of(notebook: dict) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def accepted(tree: dict) -> bool:
    """Whether nbformat accepts a notebook as it is, and as nbgrader's steps ask it to."""
    assert (tree["nbformat"], tree["nbformat_minor"]) == (4, 5)
    node = nbformat.from_dict(tree)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of ids that are missing or there twice
        nbformat.validate(node)
        nbformat.validate(node, relax_add_props=True)
    json.dumps(tree, ensure_ascii=False).encode()
    return True


# What there is ------------------------------------------------------------------------------------------------------


@decorated()
def colab(notebook):
    notebook["metadata"] |= {"widgets": WIDGETS, "colab": {"provenance": [], "toc_visible": True}, "accelerator": "GPU"}
    for cell in each(notebook, "code"):
        cell["metadata"] |= {"executionInfo": {"status": "ok", "elapsed": 3, "user": {"userId": "1"}}, "outputId": "7"}
        cell["outputs"] = [WIDGET_VIEW]


@decorated("id was not valid")
def vs_code(notebook):
    the(notebook, CODE)["id"] = "#VSC-3e01991d"
    the(notebook, WORDS)["metadata"]["vscode"] = {"languageId": "latex"}


@decorated()
def deepnote(notebook):
    notebook["metadata"] |= {"deepnote": {"is_reactive": False}, "deepnote_execution_queue": []}
    for cell in notebook["cells"]:
        cell["metadata"] |= {"cell_id": "00001-d4c8", "deepnote_cell_type": "code", "tags": []}


@decorated("metadata.kernelspec was not as nbformat has it")
def kaggle(notebook):
    notebook["metadata"] |= {
        "kernelspec": {"language": "python", "name": "python3"},
        "kaggle": {"accelerator": "none", "dataSources": [{"sourceId": 1}], "isInternetEnabled": False},
    }
    for cell in each(notebook, "code"):
        cell["metadata"] |= {"_uuid": "8f2839f25d086", "_kg_hide-input": True, "trusted": True}


@decorated("metadata.execution was not as nbformat has it")
def databricks(notebook):
    notebook["metadata"]["application/vnd.databricks.v1+notebook"] = {"dashboards": [], "language": "python"}
    for cell in notebook["cells"]:
        cell["metadata"]["application/vnd.databricks.v1+cell"] = {"cellMetadata": {}, "nuid": "1-2", "title": ""}
    the(notebook, CODE)["metadata"]["execution"] = {"iopub.status.busy": 5}


@decorated()
def jupytext(notebook):
    notebook["metadata"]["jupytext"] = {"formats": "ipynb,py:percent", "text_representation": {"extension": ".py"}}
    notebook["metadata"]["authors"] = [{"name": "Ada"}]


@decorated("type was none that nbformat knows")
def a_cell_of_sql(notebook):
    notebook["cells"].append({"cell_type": "sql", "metadata": {}, "source": "select 1"})


@decorated()
def a_cell_of_a_heading(notebook):
    notebook["cells"].append({"cell_type": "heading", "level": 2, "metadata": {}, "source": "The end"})


@decorated("Cells 1, 2, ")
def no_types_of_cells(notebook):
    for cell in notebook["cells"]:
        del cell["cell_type"]


@decorated("Cells 4, 5, 6 and 7: not a cell, and dropped")
def cells_that_are_none(notebook):
    notebook["cells"][3:3] = [None, "x = 1", [], 5]


@decorated("metadata.tags was not as nbformat has it")
def tags_twice(notebook):
    the(notebook, CODE)["metadata"]["tags"] = ["todo", "todo"]


@decorated("metadata.tags was not as nbformat has it")
def tags_that_are_text(notebook):
    the(notebook, CODE)["metadata"]["tags"] = "todo, done"


@decorated("metadata.tags was too long or nested too deep")
def tags_without_end(notebook):
    the(notebook, CODE)["metadata"]["tags"] = [[n] for n in range(20_000)]


@decorated("metadata.language_info was not as nbformat has it")
def language_info_without_name(notebook):
    notebook["metadata"]["language_info"] = {"pygments_lexer": "ipython3"}


@decorated("metadata.title was not as nbformat has it")
def title_of_none(notebook):
    notebook["metadata"]["title"] = None


@decorated("metadata.authors was not as nbformat has it")
def authors_as_text(notebook):
    notebook["metadata"] |= {"authors": "Ada", "orig_nbformat": 0, "language": 5, "widgets": "none", "signature": None}


@decorated("metadata was no object")
def no_metadata(notebook):
    del notebook["metadata"]
    for cell, value in zip(notebook["cells"], [None, [], 5, "x"] * 100, strict=False):
        cell["metadata"] = value


@decorated("attachments was not as nbformat has it")
def attachments_of_none(notebook):
    the(notebook, WORDS)["attachments"] = None


@decorated("a part of attachments was not as nbformat has it")
def an_attachment_of_none(notebook):
    the(notebook, WORDS)["attachments"] = {"a.png": {"image/png": None}, "b.png": {"image/png": "AAAA"}}


@decorated("Cells 6 and 85: keys that nbformat does not know were dropped")
def keys_of_ones_own(notebook):
    notebook |= {"version": 3, "worksheets": []}
    the(notebook, CODE).update(collapsed=True, attachments={}, language="python")
    the(notebook, WORDS).update(outputs=[], execution_count=3, prompt=1)


@decorated()
def outputs_of_all_kinds(notebook):
    odd = [
        None,
        [],
        [5],
        {"a": 1},
        [{"output_type": "display_data", "data": {"text/plain": 5}}],
        [{"output_type": "x"}],
    ]
    for cell, outputs in zip(each(notebook, "code"), odd * 50, strict=False):
        cell |= {"outputs": outputs, "execution_count": "*"}
    del the(notebook, CODE)["outputs"]
    del the(notebook, CODE)["execution_count"]


@decorated()
def no_ids(notebook):
    for cell in notebook["cells"]:
        del cell["id"]


@decorated("or another cell's, and is new.")
def one_id_for_all(notebook):
    for cell in notebook["cells"]:
        cell["id"] = "cell-7"


@decorated("id was not valid")
def odd_ids(notebook):
    for cell, odd in zip(notebook["cells"], ["", "a b", "x" * 65, 5, [1], "ä", "a\n", {}], strict=False):
        cell["id"] = odd


@decorated("source was not all text")
def sources_that_are_no_text(notebook):
    for source in (None, 5, {"a": 1}, [5, None, "x = 1\n"], [["x = 1"]]):
        notebook["cells"].append({"cell_type": "code", "metadata": {}, "source": source, "outputs": []})


@decorated("nbformat_minor was no number")
def minor_as_text(notebook):
    notebook["nbformat_minor"] = "5"


@decorated("nbformat_minor was no number")
def minor_below_zero(notebook):
    notebook["nbformat_minor"] = -1


@decorated()
def minor_to_come(notebook):
    notebook |= {"nbformat": 4.0, "nbformat_minor": 99}


@decorated()
def no_numbers_of_a_format(notebook):
    del notebook["nbformat"], notebook["nbformat_minor"]


@decorated()
def minor_0(notebook):
    no_ids(notebook)
    notebook["nbformat_minor"] = 0


def of_format_3(notebook: dict, number: int) -> bytes:
    cells = []
    for cell in notebook["cells"]:
        old = {"cell_type": cell["cell_type"], "metadata": cell["metadata"], "source": cell["source"]}
        if cell["cell_type"] == "code":
            more = {"language": "python", "collapsed": False, "prompt_number": 1}
            old |= {"input": old.pop("source"), "outputs": [{"output_type": "pyout", "text": "1"}], **more}
        cells.append(old)
    sheets = [None, {"cells": cells[:9], "metadata": {}}, {}, {"cells": cells[9:]}]
    return json.dumps({"metadata": {"name": ""}, "nbformat": number, "worksheets": sheets}).encode()


@decorated()
def format_3(notebook):
    return of_format_3(notebook, 3)


@decorated()
def format_2(notebook):
    return of_format_3(notebook, 2)


@decorated()
def numbers_that_are_none(notebook):
    notebook["metadata"] |= {"a": float("nan"), "b": float("inf"), "c": 10**400, "d": 1e-320}
    the(notebook, CODE)["execution_count"] = float("nan")


@decorated("was too long or nested too deep")
def nested_deep(notebook):
    notebook |= {"more": DEEP}
    notebook["metadata"] |= {"deep": DEEP, "deep \x1b[2J": {"a": DEEP}}
    the(notebook, CODE)["metadata"] |= {"tags": DEEP, "nbgrader": {"a": DEEP}}
    the(notebook, WORDS)["attachments"] = {"a.png": {"application/json": DEEP}}
    notebook["cells"].append({"cell_type": "markdown", "metadata": {}, "source": DEEP})


@decorated("question marks")
def halves_of_characters(notebook):
    notebook["metadata"]["title\ud800"] = "\udfff"
    notebook["cells"].append({"cell_type": "markdown", "id": "\ud800", "metadata": {"\ud800": 1}, "source": "a\ud800"})


@decorated()
def control_characters(notebook):
    text = "".join(map(chr, [*range(32), 127, 0x85, 0x2028, 0xFEFF, 0xFFFE, 0xFFFF]))
    for kind in ("markdown", "raw"):
        notebook["cells"].append({"cell_type": kind, "metadata": {text: text}, "source": f"# {text} <b>{text}</b>"})
    notebook["cells"].append({"cell_type": "code", "metadata": {}, "source": f"# {text!r}", "outputs": []})


@decorated()
def keys_twice(notebook):
    return b'{"cells": [], "metadata": 5, ' + json.dumps(notebook).encode()[1:]


@decorated()
def utf_16(notebook):
    return json.dumps(notebook, ensure_ascii=False).encode("utf-16")


@decorated()
def utf_8_with_a_mark(notebook):
    return json.dumps(notebook, ensure_ascii=False).encode("utf-8-sig")


@decorated("more kinds of such things")
def many_at_once(notebook):
    for decorate in (
        title_of_none,
        language_info_without_name,
        attachments_of_none,
        keys_of_ones_own,
        nested_deep,
        minor_as_text,
    ):
        decorate(notebook)
    for decorate in (a_cell_of_sql, sources_that_are_no_text, halves_of_characters, odd_ids, cells_that_are_none):
        decorate(notebook)


# And what comes of it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DECORATED)
def test_its_code_is_read_and_nbformat_accepts_it(name):
    tree, notes = read_tree(as_file(name), name)
    assert accepted(tree)
    assert code_of(tree)[: len(code_of(SOLVED))] == code_of(SOLVED)
    said = DECORATED[name][1]
    assert any(said in note for note in notes) if said else notes == []
    assert len(notes) <= MAX_SENTENCES + 1
    assert "".join(notes).isprintable()
    missing = repair(tree, RELEASE)
    clean(tree, RELEASE)
    assert accepted(tree)
    assert missing == []
    assert tree["metadata"] == json.loads(RELEASE.read_bytes())["metadata"]


def test_what_is_right_stays_as_it_is():
    tree, notes = read_tree(json.dumps(SOLVED).encode(), "submission")
    written = {**copy.deepcopy(SOLVED), "cells": [{**c, "source": "".join(c["source"])} for c in SOLVED["cells"]]}
    for cell in each(written, "code"):
        cell["outputs"], cell["execution_count"] = [], None
    assert (tree, notes) == (written, [])


def test_only_what_is_wrong_is_dropped():
    notebook = copy.deepcopy(SOLVED)
    picture = {"image/png": ["AAAA\n"] * 1000}  # in lines, as nbformat allows
    the(notebook, WORDS)["attachments"] = {"a.png": {"image/png": None}, "b.png": picture}
    the(notebook, WORDS)["metadata"] |= {"tags": ["a,b"], "name": "mine"}
    notebook["metadata"] |= {"title": 5, "authors": [{"name": "Ada"}]}
    tree, notes = read_tree(json.dumps(notebook).encode(), "submission")
    assert the(tree, WORDS)["attachments"] == {"b.png": picture}
    assert the(tree, WORDS)["metadata"] == {**the(SOLVED, WORDS)["metadata"], "name": "mine"}
    assert tree["metadata"] == {**SOLVED["metadata"], "authors": [{"name": "Ada"}]}
    assert len(notes) == 3


def test_a_written_answer_is_found_by_its_id_where_its_metadata_are_gone():
    notebook = copy.deepcopy(SOLVED)
    the(notebook, WORDS).update(metadata={}, source="Since it is added to.")
    tree, _ = read_tree(json.dumps(notebook).encode(), "submission")
    assert repair(tree, RELEASE) == []
    assert the(tree, WORDS)["source"] == "Since it is added to."
    assert the(tree, WORDS)["metadata"]["nbgrader"]["grade_id"] == WORDS


def test_what_is_no_notebook_is_told():
    for tree in ([], 5, None, {}, {"cells": None}, {"cells": {}}, SOLVED["cells"]):
        with pytest.raises(NotebookError, match=r"^mine\.ipynb is not a notebook: it has no list of cells\.$"):
            read_tree(json.dumps(tree).encode(), "mine.ipynb")


HOSTILE = {
    "a bad tag in every cell": lambda cell: cell["metadata"].update(tags=["a,b"]),
    "bad attachments without end": lambda cell: cell.update(
        attachments={str(n): {"image/png": 5} for n in range(100)}, cell_type="markdown"
    ),
    "tags that can't be sorted": lambda cell: cell["metadata"].update(tags=[[n] if n % 2 else n for n in range(49)]),
    "tags without end": lambda cell: cell["metadata"].update(tags=[f"{n // 2}" for n in range(2000)]),
    "times without end": lambda cell: cell.update(
        cell_type="code", metadata={"execution": {str(n): n for n in range(2000)}}
    ),
    "long text in the wrong place": lambda cell: cell["metadata"].update(tags="x" * 100_000, name=["y" * 100_000]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_mending_ends_soon(name):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": f"x = {n}"} for n in range(300)]
    for cell in cells:
        HOSTILE[name](cell)
    began = time.process_time()
    tree, notes = mended({"cells": cells})
    assert time.process_time() - began < 5
    assert [cell["source"] for cell in tree["cells"]] == [f"x = {n}" for n in range(300)]
    assert accepted(tree)
    assert 0 < len(notes) <= MAX_SENTENCES + 1
    assert max(map(len, notes)) < 150


NESTED = json.loads("[" * 90 + "]" * 90)
ODD = (None, 0, -1, 1.5, True, "", "x", "a,b", "\ud800", [], {}, [None], [[]], {"a": 1}, 10**30, float("nan"), NESTED)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Where something is in a tree, but for lines of text."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [p for key, v in inner if "source" not in path for p in places(v, (*path, key))]


def changed_anywhere(chance: random.Random) -> dict:
    """A notebook in which something is gone, added or another thing in up to four places."""
    notebook = copy.deepcopy(SOLVED)
    for _ in range(chance.randint(1, 4)):
        path = chance.choice(places(notebook) if chance.random() < 0.8 else [(key,) for key in notebook])
        holder: Any = notebook
        for key in path[:-1]:
            holder = holder[key]
        if chance.random() < 0.3 and len(notebook) > 1:
            del holder[path[-1]]
        elif isinstance(holder, list) and chance.random() < 0.3:
            holder.insert(path[-1], chance.choice(ODD))
        else:
            holder[path[-1]] = copy.deepcopy(chance.choice(ODD))
    return notebook


@pytest.mark.parametrize("seed", range(200))
def test_a_notebook_that_is_changed_anywhere_is_read_unless_it_is_none(seed):
    notebook = changed_anywhere(random.Random(seed))
    content, began = json.dumps(notebook).encode(), time.process_time()
    if not isinstance(notebook.get("cells"), list):
        with pytest.raises(NotebookError):
            read_tree(content, "submission")
        return
    tree, notes = read_tree(content, "submission")
    assert time.process_time() - began < 2
    assert accepted(tree)
    read, as_before = iter(code_of(tree)), [cell for cell in notebook["cells"] if cell in each(SOLVED, "code")]
    assert all(source in read for source in code_of({"cells": as_before}))  # and in that order
    assert len(notes) <= MAX_SENTENCES + 1
    repair(tree, RELEASE)
    clean(tree, RELEASE)
    assert accepted(tree)
