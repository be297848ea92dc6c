"""Data that is at hand offline: the documentation of the installed NumPy, a grammar, digits, invented speech, shapes.

The texts are read from the package itself or drawn from a random generator, as is the speech; the digits come with
scikit-learn. Stored are only weights of networks that take longer to train than a notebook may run (weights/).
"""

from __future__ import annotations

import ast
import hashlib
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LIBRARY = "numpy.lib"
LICENCE = "BSD-3-Clause"
VALID_MODULE, TEST_MODULE = "_arraysetops_impl", "_shape_base_impl"
_SECTIONS_DROPPED = ("Examples", "References")
_LEAST_CHARACTERS = 200


def weights(number: str) -> dict[str, np.ndarray]:
    """The small weights of an assignment, where training takes longer than a notebook may run.

    `tools/train_NN.py` in the repository says how they were trained, and does it again.

    Args:
        number: of the assignment, such as "14".

    Returns:
        name → array, as they were saved.

    Raises:
        FileNotFoundError: the assignment has none.
    """
    path = Path(__file__).with_name("weights") / f"{number}.npz"
    if not path.is_file():
        raise FileNotFoundError(f"Assignment {number} has no weights: {path} does not exist.")
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


@dataclass(frozen=True)
class Texts:
    """One text in three parts that share no document.

    Attributes:
        train: what a model is fitted to.
        valid: for choices.
        test: for the numbers that are reported.
    """

    train: str
    valid: str
    test: str

    @property
    def alphabet(self) -> list[str]:
        """The distinct characters of all three parts, sorted."""
        return sorted(set(self.train) | set(self.valid) | set(self.test))

    @property
    def digest(self) -> str:
        """The first 16 digits of the SHA-256 of the three parts, by which two copies can be compared."""
        return hashlib.sha256("\0".join((self.train, self.valid, self.test)).encode()).hexdigest()[:16]


def numpy_docs(root: Path | None = None) -> Texts:
    """The docstrings of NumPy's Python library `numpy.lib`, split by module.

    The source files are parsed, not imported, in the order of their names and of their lines, so one version of NumPy
    gives one text on every platform. Kept are the docstrings of public functions and classes from their first line to
    the section "Examples" or "References"; dropped are those two sections, docstrings of under 200 characters, repeated
    ones, characters outside printable ASCII, and directives such as `.. versionadded::`.

    Args:
        root: the folder of the package; by default that of the installed NumPy.

    Returns:
        valid and test are one module each, train all the others; documents are separated by an empty line.

    Raises:
        FileNotFoundError: the folder holds none of NumPy's source files.
    """
    folder = (root or Path(np.__file__).parent) / "lib"
    documents: dict[str, list[str]] = {}
    seen: set[str] = set()
    for path in sorted(folder.glob("*.py"), key=lambda path: path.name):
        found = [text for text in _docstrings(path.read_text(encoding="utf-8")) if len(text) >= _LEAST_CHARACTERS]
        documents[path.stem] = [text for text in dict.fromkeys(found) if text not in seen]
        seen.update(found)
    if not documents.get(VALID_MODULE) or not documents.get(TEST_MODULE):
        raise FileNotFoundError(f"{folder} holds no docstrings: NumPy's source files are not where they should be.")
    valid, test = (_joined(documents.pop(module)) for module in (VALID_MODULE, TEST_MODULE))
    return Texts(_joined([text for module in documents.values() for text in module]), valid, test)


def _joined(documents: list[str]) -> str:
    return "".join(f"{text}\n\n" for text in documents)


def _docstrings(source: str) -> Iterator[str]:
    """The cleaned docstrings of the public functions and classes of a module, in the order of lines."""
    with warnings.catch_warnings(action="ignore"):  # of escapes that Python will refuse one day
        tree = ast.parse(source)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for node in sorted(nodes, key=lambda node: node.lineno):
        first = node.body[0]
        if node.name.startswith("_") or not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
            continue
        if isinstance(first.value.value, str):
            yield _cleaned(first.value.value)


def _cleaned(docstring: str) -> str:
    """A docstring without its indentation and without what :func:`numpy_docs` drops."""
    lines = [line.rstrip() for line in docstring.expandtabs().split("\n")]
    indents = [len(line) - len(line.lstrip()) for line in lines[1:] if line]
    lines = [lines[0].lstrip(), *(line[min(indents, default=0) :] for line in lines[1:])]
    kept: list[str] = []
    dropping = False
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line and re.fullmatch(r"-{3,}", below):
            dropping = line.strip() in _SECTIONS_DROPPED
        if not dropping and not line.lstrip().startswith(".. "):
            kept.append("".join(c for c in line if " " <= c <= "~"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


# A grammar ----------------------------------------------------------------------------------------------------------

_PEOPLE = ("baker", "captain", "doctor", "farmer", "girl", "judge", "king", "painter")
_THINGS = ("bread", "castle", "garden", "harbour", "lantern", "mountain", "river", "window")
_LOOKS = ("dark", "gentle", "little", "quiet", "tall", "young")
_DEEDS = ("builds", "finds", "leaves", "paints", "sees", "wants")
_SAYS = ("asks", "calls", "says", "whispers")
_GLUE = ("a", "and", "because", "the", "when")
LEXICON = frozenset((*_PEOPLE, *_THINGS, *_LOOKS, *_DEEDS, *_SAYS, *_GLUE))


class _Choices:
    """Draws from a generator, and adds up how surprising the draws were."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.bits = 0.0

    def one(self, options: tuple[str, ...]) -> str:
        """One of several, all equally likely."""
        self.bits += math.log2(len(options))
        return options[int(self.rng.integers(len(options)))]

    def chance(self, p: float) -> bool:
        """True with probability p."""
        yes = bool(self.rng.random() < p)
        self.bits -= math.log2(p if yes else 1 - p)
        return yes


def grammar_text(rng: np.random.Generator, characters: int) -> tuple[str, float]:
    """Sentences of a small grammar; what somebody says stands in quotes and in capitals.

    A clause is `[article] [adjective] person verb [article] [adjective] thing`. A sentence is a clause, two joined by a
    conjunction, or `person says "ONE OR TWO CLAUSES"`. No text can be derived in two ways, so the surprise of the draws
    is that of the text.

    Args:
        rng: where the draws come from.
        characters: the least number of characters; the last sentence is finished.

    Returns:
        The text, one sentence per line, and its information content under the grammar in bits: no model that does not
        know more than the grammar can be expected to need less.
    """
    draw = _Choices(rng)
    sentences: list[str] = []
    length = 0
    while length < characters:
        sentences.append(_sentence(draw) + "\n")
        length += len(sentences[-1])
    return "".join(sentences), draw.bits


def _sentence(draw: _Choices) -> str:
    if draw.chance(0.5):
        return f"{_clauses(draw)}."
    said = _clauses(draw).upper()
    return f'{_noun(draw, _PEOPLE)} {draw.one(_SAYS)} "{said}".'


def _clauses(draw: _Choices) -> str:
    first = _clause(draw)
    return f"{first} {draw.one(('and', 'because', 'when'))} {_clause(draw)}" if draw.chance(0.4) else first


def _clause(draw: _Choices) -> str:
    return f"{_noun(draw, _PEOPLE)} {draw.one(_DEEDS)} {_noun(draw, _THINGS)}"


def _noun(draw: _Choices, nouns: tuple[str, ...]) -> str:
    article = draw.one(("a", "the"))
    look = f"{draw.one(_LOOKS)} " if draw.chance(0.3) else ""
    return f"{article} {look}{draw.one(nouns)}"


def grammar_texts(seed: int, train: int = 60_000, held_out: int = 8_000) -> tuple[Texts, float]:
    """Three independent draws from the grammar.

    Args:
        seed: of all three; each part has a stream of its own.
        train: the least number of characters of the first part.
        held_out: the same of each of the other two.

    Returns:
        The texts, and the information content of the test part in bits per character.
    """
    parts = [
        grammar_text(np.random.default_rng([seed, part]), characters)
        for part, characters in enumerate((train, held_out, held_out))
    ]
    test, bits = parts[2]
    return Texts(parts[0][0], parts[1][0], test), bits / len(test)


def valid_word_share(text: str) -> float:
    """The share of words of the grammar's lexicon, in lower case or all in capitals, among the words of a text.

    Words are runs of letters. The last one is left out, for it may be cut off. 0 if there is none.
    """
    words = re.findall(r"[A-Za-z]+", text)[:-1]
    right = [word for word in words if word.lower() in LEXICON and word in (word.lower(), word.upper())]
    return len(right) / len(words) if words else 0.0


def inside_quotes(text: str) -> np.ndarray:
    """Whether a quotation is open after each character, shape (len(text),), bool; a quotation ends with its line."""
    flags = []
    inside = False
    for character in text:
        inside = inside ^ (character == '"') and character != "\n"
        flags.append(inside)
    return np.array(flags, dtype=bool)


# Digits -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Digits:
    """Handwritten digits of 8 by 8 pixels, in two parts that share none.

    Attributes:
        X_train: pixels row by row, 0 for white to 1 for black, shape (N, 64), float64.
        y_train: the digits 0 to 9, shape (N,), int64.
        X_test: as X_train, for the numbers that are reported.
        y_test: as y_train.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def digits(held_out: int = 297) -> Digits:
    """The 1,797 digits that scikit-learn bundles (the test part of the UCI set by Alpaydin and Kaynak).

    They are shuffled once, always alike, and cut in two.

    Args:
        held_out: how many digits to keep for testing, from 1 to 1,796.

    Raises:
        ValueError: `held_out` leaves one of the parts empty.
    """
    from sklearn.datasets import load_digits  # slow to import, and few notebooks need it

    found = load_digits()
    count = len(found.target)
    if not 0 < held_out < count:
        raise ValueError(f"held_out is {held_out}; of {count} digits both parts need some")
    order = np.random.default_rng(0).permutation(count)
    X, y = found.data[order] / 16.0, found.target[order].astype(np.int64)
    return Digits(X[:-held_out], y[:-held_out], X[-held_out:], y[-held_out:])


# Speech -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Utterance:
    """Somebody says a few phones.

    Attributes:
        frames: a spectrogram, shape (T, bins), float32: one row per frame, one column per frequency band.
        phones: what was said, from 1; 0 is left free for the blank of CTC.
        borders: first frame and the frame after the last one of every phone. A model is never shown them.
    """

    frames: np.ndarray
    phones: list[int]
    borders: list[tuple[int, int]]


@dataclass(frozen=True)
class Language:
    """Phones that always sound alike, and which of them likes to follow which.

    Attributes:
        prototypes: spectrum of every phone, shape (K, bins), of mean square 1.
        follows: probability of the next phone after each, shape (K, K); rows sum to 1.
    """

    prototypes: np.ndarray
    follows: np.ndarray

    @staticmethod
    def invent(seed: int, phones: int = 6, bins: int = 12) -> Language:
        """A language of its own for every seed: smooth random spectra, and a few favourite successors per phone."""
        rng = np.random.default_rng(seed)
        rough = rng.standard_normal((phones, bins + 2))
        smooth = rough[:, :-2] + 2 * rough[:, 1:-1] + rough[:, 2:]
        prototypes = smooth / np.sqrt(np.mean(smooth**2, axis=1, keepdims=True))
        return Language(prototypes, rng.dirichlet(np.full(phones, 0.4), size=phones))

    def speak(self, rng: np.random.Generator, count: int, noise: float) -> list[Utterance]:
        """Utterances of 3 to 8 phones, each 4 to 7 frames long under a bell-shaped envelope.

        In one case of four, one to three frames of silence stand before a phone; one always stands at the end.

        Args:
            rng: where all draws come from.
            count: how many utterances.
            noise: standard deviation of the Gaussian noise on every value; a phone's loudest frame has mean square 1.
        """
        return [self._utterance(rng, noise) for _ in range(count)]

    def _utterance(self, rng: np.random.Generator, noise: float) -> Utterance:
        phones, bins = self.prototypes.shape
        said = [int(rng.integers(phones))]
        for _ in range(int(rng.integers(2, 8))):
            said.append(int(rng.choice(phones, p=self.follows[said[-1]])))
        parts: list[np.ndarray] = []
        borders = []
        for phone in said:
            if rng.random() < 0.25:
                parts.append(np.zeros((int(rng.integers(1, 4)), bins)))
            start = sum(map(len, parts))
            length = int(rng.integers(4, 8))
            envelope = np.sin(np.pi * (np.arange(length) + 0.5) / length)
            parts.append(envelope[:, None] / envelope.max() * self.prototypes[phone])
            borders.append((start, start + length))
        clean = np.concatenate([*parts, np.zeros((1, bins))])
        frames = clean + noise * rng.standard_normal(clean.shape)
        return Utterance(frames.astype(np.float32), [phone + 1 for phone in said], borders)


# Shapes -------------------------------------------------------------------------------------------------------------

SHAPES = ("square", "disc", "triangle", "plus", "ring", "diamond")


def shapes(
    rng: np.random.Generator, count: int, *, size: int = 20, margin: int = 2, columns: tuple[float, float] = (0.0, 1.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Colour images of one shape each, of random kind, place, size and colours.

    The colour of shape and ground is drawn independently of the kind, so that it tells nothing; they differ by at least
    0.7 in Euclidean distance. Every pixel has Gaussian noise of standard deviation 0.05.

    Args:
        rng: where all draws come from.
        count: how many images.
        size: height and width in pixels, at least 12 + 2 * `margin`.
        margin: the shape keeps this many pixels away from every side.
        columns: the horizontal place of the shape's centre, as a range within the part from 0 (as far to the left as it
            can be) to 1 (as far to the right); its vertical place is not restricted.

    Returns:
        Images, shape (count, 3, size, size), float32, about 0 to 1; and indices into `SHAPES`, shape (count,), int64.

    Raises:
        ValueError: the image is too small for the shapes, or `columns` is no range within 0 to 1.
    """
    if size - 2 * margin < 12:
        raise ValueError(f"size is {size}; with a margin of {margin} it must be at least {12 + 2 * margin}")
    if not 0.0 <= columns[0] <= columns[1] <= 1.0:
        raise ValueError(f"columns is {columns}; it must be two numbers from 0 to 1, the smaller one first")
    kinds = rng.integers(len(SHAPES), size=count)
    radius = rng.uniform(3.0, 5.0, size=count)
    free = size - 2 * (margin + radius)  # how far the centre can move
    down = margin + radius + free * rng.random(count)
    across = margin + radius + free * rng.uniform(*columns, size=count)
    colours = np.array([_two_colours(rng) for _ in range(count)]).reshape(count, 2, 3)
    noise = 0.05 * rng.standard_normal((count, 3, size, size))
    at = np.arange(size) + 0.5
    y = (at[None, :, None] - down[:, None, None]) / radius[:, None, None]
    x = (at[None, None, :] - across[:, None, None]) / radius[:, None, None]
    inside = np.stack([f(np.abs(x), y) for f in _INSIDE])[kinds, np.arange(count)][:, None]
    images = np.where(inside, colours[:, 1, :, None, None], colours[:, 0, :, None, None]) + noise
    return images.astype(np.float32), kinds.astype(np.int64)


def _two_colours(rng: np.random.Generator) -> np.ndarray:
    """A dark ground, each channel from 0 to 0.3, and a shape, from 0 to 1, at least 0.7 apart: (2, 3)."""
    while True:
        pair = rng.random((2, 3)) * [[0.3], [1.0]]
        if np.linalg.norm(pair[1] - pair[0]) >= 0.7:
            return pair


_INSIDE: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (  # of |x| and y, both from -1 to 1 in the shape
    lambda x, y: np.maximum(x, np.abs(y)) <= 0.85,
    lambda x, y: x**2 + y**2 <= 1,
    lambda x, y: (x <= (y + 1) / 2) & (np.abs(y) <= 1),
    lambda x, y: (np.minimum(x, np.abs(y)) <= 0.35) & (np.maximum(x, np.abs(y)) <= 1),
    lambda x, y: (x**2 + y**2 <= 1) & (x**2 + y**2 >= 0.3),
    lambda x, y: x + np.abs(y) <= 1,
)
