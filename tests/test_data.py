"""Data for notebooks: the same on every machine for one version of its packages, and what the descriptions say."""

import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from course import data


@pytest.fixture(scope="module")
def docs():
    return data.numpy_docs()


def package(folder: Path, **modules: str) -> Path:
    """A folder like NumPy's with modules of the given text in its `lib`."""
    (folder / "lib").mkdir()
    for name, text in modules.items():
        (folder / "lib" / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


LONG = "word " * 50


def documented(*docstrings: str) -> str:
    return "\n".join(f'def f{i}():\n    """{text}"""\n' for i, text in enumerate(docstrings))


def test_docs_are_large_enough_and_one_part_knows_every_character(docs):
    assert len(docs.train) > 100_000
    assert 5_000 < len(docs.valid) < 50_000
    assert 5_000 < len(docs.test) < 50_000
    assert set(docs.valid) | set(docs.test) <= set(docs.train)
    assert set(docs.alphabet) <= {"\n", *map(chr, range(32, 127))}
    assert docs.alphabet == sorted(docs.alphabet)


def test_docs_leave_out_what_the_card_says(docs):
    for part in (docs.train, docs.valid, docs.test):
        assert not re.search(r"^(Examples|References)\n-{3,}$", part, re.M)
        assert not re.search(r"^\s*\.\. ", part, re.M)
        assert "Parameters\n----------\n" in part
        documents = part.split("\n\n\n")
        assert all(document.strip() for document in documents)


def test_docs_of_one_part_are_in_no_other(docs):
    paragraphs = [{p for p in part.split("\n\n") if len(p) > 300} for part in (docs.train, docs.valid, docs.test)]
    assert not paragraphs[0] & paragraphs[2]
    assert not paragraphs[1] & paragraphs[2]


def test_docs_are_the_same_in_another_process_and_from_a_copy(docs, tmp_path):
    code = "from course.data import numpy_docs; print(numpy_docs().digest)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == docs.digest
    (tmp_path / "lib").mkdir()
    files = sorted((Path(np.__file__).parent / "lib").glob("*.py"), reverse=True)
    for path in files:  # written in another order, with the line ends of Windows
        text = path.read_text(encoding="utf-8")
        (tmp_path / "lib" / path.name).write_text(text, encoding="utf-8", newline="\r\n")
    assert data.numpy_docs(tmp_path) == docs


def test_docs_need_nothing_but_the_files_that_every_wheel_has():
    record = {path.name for path in (Path(np.__file__).parent / "lib").glob("*.py")}
    assert {f"{data.VALID_MODULE}.py", f"{data.TEST_MODULE}.py"} <= record
    assert not any(".so" in name or ".pyd" in name for name in record)


def test_docs_are_split_by_module_in_the_order_of_names_and_lines(tmp_path):
    modules = {"_b": documented(LONG + "b1", LONG + "b2"), "_a": documented(LONG + "a")}
    modules |= {data.VALID_MODULE: documented(LONG + "v"), data.TEST_MODULE: documented(LONG + "t")}
    texts = data.numpy_docs(package(tmp_path, **modules))
    assert texts.train == f"{LONG}a\n\n{LONG}b1\n\n{LONG}b2\n\n"
    assert (texts.valid, texts.test) == (f"{LONG}v\n\n", f"{LONG}t\n\n")


def test_docs_drop_short_repeated_private_and_missing_docstrings(tmp_path):
    body = documented(LONG, "short", LONG) + f'\ndef _private():\n    """{LONG}p"""\ndef bare():\n    return 1\n'
    body += f'class C:\n    """{LONG}c"""\n    def method(self):\n        """{LONG}m"""\n'
    modules = {"_a": body, data.VALID_MODULE: documented(LONG, LONG + "v"), data.TEST_MODULE: documented(LONG + "t")}
    texts = data.numpy_docs(package(tmp_path, **modules))
    assert texts.train == f"{LONG.strip()}\n\n{LONG}c\n\n{LONG}m\n\n"
    assert texts.valid == f"{LONG}v\n\n"  # what module _a, first in the alphabet, holds already is not repeated


def test_docstrings_lose_indentation_sections_and_directives(tmp_path):
    text = f"""First line.

    {LONG}

    .. versionadded:: 1.0

    Returns
    -------
    out : β-array

        Indented.

    Examples
    --------
    >>> gone

    Notes
    -----
    Kept."""
    modules = {"_a": documented(text), data.VALID_MODULE: documented(LONG), data.TEST_MODULE: documented(LONG + "t")}
    kept = (
        f"First line.\n\n{LONG.strip()}\n\nReturns\n-------\nout : -array\n\n    Indented.\n\nNotes\n-----\nKept.\n\n"
    )
    assert data.numpy_docs(package(tmp_path, **modules)).train == kept


def test_a_folder_without_sources_is_a_clear_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no docstrings"):
        data.numpy_docs(tmp_path)
    shutil.rmtree(tmp_path)


def test_grammar_is_the_same_for_the_same_seed_and_its_parts_are_different_draws():
    first, entropy = data.grammar_texts(5, train=3000, held_out=1000)
    again, _ = data.grammar_texts(5, train=3000, held_out=1000)
    other, _ = data.grammar_texts(6, train=3000, held_out=1000)
    assert first == again
    assert first.digest != other.digest
    assert first.train[:500] != first.valid[:500] != first.test[:500]
    assert 3000 <= len(first.train) < 3300
    assert 0.4 < entropy < 0.6


CLAUSE = re.compile(
    r"(a|the)( dark| gentle| little| quiet| tall| young)? \w+ (builds|finds|leaves|paints|sees|wants) "
    r"(a|the)( dark| gentle| little| quiet| tall| young)? \w+"
)


def test_every_sentence_can_be_parsed_and_its_bits_counted_again():
    """The information content by a parser that was written from the description, not from the generator."""
    text, bits = data.grammar_text(np.random.default_rng(0), 20_000)
    counted = 0.0
    for line in text.splitlines():
        quoted = re.fullmatch(r'(a|the)( \w+)? (\w+) (asks|calls|says|whispers) "(.+)"\.', line)
        counted += 1  # quoted or not
        if quoted:
            assert quoted[5].isupper()
            counted += 1 + (math.log2(6) - math.log2(0.3) if quoted[2] else -math.log2(0.7)) + 3 + 2
        said = (quoted[5].lower() if quoted else line.removesuffix(".")).strip()
        clauses = re.split(r" (?:and|because|when) ", said)
        counted += -math.log2(0.6) if len(clauses) == 1 else -math.log2(0.4) + math.log2(3)
        for clause in clauses:
            assert CLAUSE.fullmatch(clause), clause
            looks = [word for word in clause.split() if word in data._LOOKS]
            counted += 2 * (1 + 3) + math.log2(6)
            counted += len(looks) * (math.log2(6) - math.log2(0.3)) - (2 - len(looks)) * math.log2(0.7)
    assert bits == pytest.approx(counted, rel=1e-9)


def test_information_content_is_below_what_character_counts_need():
    text, bits = data.grammar_text(np.random.default_rng(1), 20_000)
    counts = np.array(list(Counter(text).values())) / len(text)
    assert bits / len(text) < 0.2 * -np.sum(counts * np.log2(counts))


def test_all_words_of_the_grammar_are_valid():
    text, _ = data.grammar_text(np.random.default_rng(0), 5000)
    assert data.valid_word_share(text) == 1.0
    assert {word.lower() for word in re.findall("[A-Za-z]+", text)} == data.LEXICON


@pytest.mark.parametrize(
    ("text", "share"),
    [("the king xxx a", 2 / 3), ("THE King the end", 2 / 3), ("", 0.0), ("kin", 0.0), ("a kin", 1.0)],
)
def test_valid_word_share_by_hand(text, share):
    assert data.valid_word_share(text) == pytest.approx(share)


def test_inside_quotes_by_hand():
    flags = data.inside_quotes('a "B C" d\ne "f\ng')
    assert "".join("x" if flag else "." for flag in flags) == "..xxxx......xx.."


def test_digits_are_all_there_in_two_parts_that_share_none():
    found = data.digits()
    assert found.X_train.shape == (1500, 64)
    assert found.X_test.shape == (297, 64)
    assert (found.X_train.dtype, found.y_train.dtype) == (np.float64, np.int64)
    rows = {row.tobytes() for row in (*found.X_train, *found.X_test)}
    assert len(rows) == 1797
    assert sorted(np.unique(found.y_test)) == list(range(10))


def test_digits_have_ink_from_0_to_1_and_keep_their_labels():
    from sklearn.datasets import load_digits

    found, original = data.digits(held_out=5), load_digits()
    X, y = np.concatenate([found.X_train, found.X_test]), np.concatenate([found.y_train, found.y_test])
    assert (X.min(), X.max()) == (0.0, 1.0)
    labels = {row.tobytes(): label for row, label in zip(original.data / 16.0, original.target, strict=True)}
    assert [labels[row.tobytes()] for row in X] == y.tolist()
    assert y.tolist() != original.target.tolist()


def test_digits_are_the_same_every_time():
    first, second = data.digits(), data.digits()
    np.testing.assert_array_equal(first.X_test, second.X_test)
    np.testing.assert_array_equal(first.y_train, second.y_train)


@pytest.mark.parametrize("held_out", [0, -1, 1797])
def test_digits_need_both_parts(held_out):
    with pytest.raises(ValueError, match="both parts"):
        data.digits(held_out)


def test_a_language_is_the_same_for_one_seed_and_another_for_another():
    one, again, other = (data.Language.invent(seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.prototypes, again.prototypes)
    assert not np.allclose(one.prototypes, other.prototypes)
    assert one.prototypes.shape == (6, 12)
    np.testing.assert_allclose(np.mean(one.prototypes**2, axis=1), 1)
    np.testing.assert_allclose(one.follows.sum(axis=1), 1)


def test_speech_is_its_phones_between_their_borders():
    language = data.Language.invent(3, phones=5, bins=7)
    for u in language.speak(np.random.default_rng(0), 50, noise=0.0):
        assert u.frames.dtype == np.float32
        assert u.frames.shape[1] == 7
        assert 3 <= len(u.phones) == len(u.borders) <= 8
        assert set(u.phones) <= {1, 2, 3, 4, 5}
        spoken = np.zeros(len(u.frames), dtype=bool)
        for phone, (start, end) in zip(u.phones, u.borders, strict=True):
            assert 4 <= end - start <= 7
            assert not spoken[start:end].any()
            spoken[start:end] = True
            loudest = u.frames[start:end][np.abs(u.frames[start:end]).sum(axis=1).argmax()]
            np.testing.assert_allclose(loudest, language.prototypes[phone - 1], rtol=1e-5)
        assert not u.frames[~spoken].any()
        assert not spoken[-1]
        assert u.borders == sorted(u.borders)


def test_phones_follow_one_another_as_the_language_says():
    language = data.Language.invent(3)
    counts = np.zeros((6, 6))
    for u in language.speak(np.random.default_rng(1), 2000, noise=0.0):
        np.add.at(counts, (np.array(u.phones[:-1]) - 1, np.array(u.phones[1:]) - 1), 1)
    np.testing.assert_allclose(counts / counts.sum(axis=1, keepdims=True), language.follows, atol=0.05)


def test_noise_is_added_with_its_standard_deviation():
    language = data.Language.invent(3)
    silent = [u.frames[-1] for u in language.speak(np.random.default_rng(2), 400, noise=0.7)]
    assert abs(np.std(silent) - 0.7) < 0.03


def test_shapes_are_the_same_for_one_seed_and_of_all_kinds():
    X, y = data.shapes(np.random.default_rng(3), 300)
    again, _ = data.shapes(np.random.default_rng(3), 300)
    np.testing.assert_array_equal(X, again)
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((300, 3, 20, 20), np.float32, (300,), np.int64)
    assert sorted(np.unique(y)) == list(range(len(data.SHAPES)))


def _found(image: np.ndarray, margin: int) -> np.ndarray:
    """Which pixels have the colour of the shape rather than that of the frame, shape (size, size)."""
    frame = np.ones(image.shape[1:], dtype=bool)
    frame[margin:-margin, margin:-margin] = False
    ground = image[:, frame].mean(axis=1)
    away = np.linalg.norm(image - ground[:, None, None], axis=0)
    return away > 0.5 * np.sort(away.ravel())[-10]


def test_shapes_keep_away_from_the_sides_and_stand_out_of_the_ground():
    X, _ = data.shapes(np.random.default_rng(0), 200, size=24, margin=3)
    for image in X:
        mask = _found(image, 3)
        assert not mask[:3].any()
        assert not mask[-3:].any()
        assert not mask[:, :3].any()
        assert not mask[:, -3:].any()
        assert 8 <= mask.sum() <= 100


def test_shapes_stand_where_they_should():
    places = {}
    for columns in ((0.0, 0.3), (0.7, 1.0)):
        X, _ = data.shapes(np.random.default_rng(1), 200, columns=columns)
        across = [np.nonzero(_found(image, 2))[1].mean() for image in X]
        down = [np.nonzero(_found(image, 2))[0].mean() for image in X]
        places[columns] = across
        assert min(down) < 8
        assert max(down) > 11
    assert max(places[0.0, 0.3]) < min(places[0.7, 1.0])


def test_shapes_have_colours_that_tell_nothing_about_the_kind():
    X, y = data.shapes(np.random.default_rng(2), 3000)
    colour = np.array([image[:, _found(image, 2)].mean(axis=1) for image in X])
    means = np.array([colour[y == kind].mean(axis=0) for kind in range(len(data.SHAPES))])
    assert np.ptp(means, axis=0).max() < 0.1


@pytest.mark.parametrize("wrong", [{"size": 15}, {"columns": (0.5, 0.2)}, {"columns": (0.0, 1.1)}])
def test_shapes_need_room(wrong):
    with pytest.raises(ValueError, match="must be"):
        data.shapes(np.random.default_rng(0), 1, **wrong)


def test_weights_are_arrays_by_name_or_a_clear_error(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    np.savez(tmp_path / "weights" / "14.npz", W=np.eye(2, dtype=np.float32))
    monkeypatch.setattr(data, "__file__", str(tmp_path / "data.py"))
    held = data.weights("14")
    assert list(held) == ["W"]
    assert held["W"].dtype == np.float32
    with pytest.raises(FileNotFoundError, match="Assignment 15 has no weights"):
        data.weights("15")
