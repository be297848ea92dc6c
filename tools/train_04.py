"""Train the language models of 04's last figures, and write course/weights/04.npz.

Data: the words of `course.data.numpy_docs` (NumPy 2.x when the file was made): training part to train on,
validation part to choose the best epoch by, test part to report. The vocabulary, words that occur ten times or
more, is saved too.

Two layers of 64 units, weights from ±0.1, plain gradient descent with the gradient's norm clipped at 5, pieces of
35 words in 20 rows, state carried on. Three arms with the seeds below: no dropout, rate 1 for 4 epochs, then
divided by 1.5 after each, 10 epochs; the paper's dropout and variational dropout, p = 0.3, rate 1 for 6 epochs,
then divided by 1.4, 14 epochs. Settings were looked for on seed 0: 64 and 128 units, p of 0.3 and 0.5. With 128
units (seed 0) and p = 0.5 the best perplexities on the test part were 23.2 without dropout, 18.8 with the paper's
and 18.8 with the variational one.

Saved are the validation and test perplexities of all networks after each epoch, and the weights of the first two
arms at the first seed, without dropout those of the best epoch, in half precision.

About a minute and a half on one core. In the course's root, with the course installed: `python tools/train_04.py`.
It uses the worked solution's modules.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autograder.engine.judge.keys import load_reference
from course import data
from course.base.project import Project

SEEDS, HIDDEN, ROWS, STEPS = (20, 21, 22), 64, 20, 35
ARMS = {"none": (0.0, 10, 4, 1.5), "paper": (0.3, 14, 6, 1.4), "variational": (0.3, 14, 6, 1.4)}


def words_of(text: str) -> list[str]:
    """Runs of letters in lower case, runs of digits, single other signs, line ends."""
    return re.findall(r"[a-z]+|\d+|[^\sa-z0-9]|\n", text.lower())


def score(net: Any, words: np.ndarray) -> float:
    """Perplexity of a text that is read in one go, without dropout."""
    net.eval()
    with torch.no_grad():
        logits, _ = net(torch.from_numpy(words[None, :-1]))
        nats = nn.functional.cross_entropy(logits[0], torch.from_numpy(words[1:]))
    net.train()
    return float(nats.exp())


def train(net: Any, parts: dict[str, np.ndarray], epochs: int, hold: int, factor: float) -> tuple[np.ndarray, dict]:
    """Train in place by the paper's recipe. Returns perplexities (epochs, 2) and the weights of the best epoch."""
    for w in net.parameters():
        nn.init.uniform_(w, -0.1, 0.1)
    rows = torch.from_numpy(parts["train"][: len(parts["train"]) // ROWS * ROWS].reshape(ROWS, -1))
    scores: list[tuple[float, float]] = []
    best: dict[str, torch.Tensor] = {}
    for epoch in range(1, epochs + 1):
        rate, state = 1.0 / factor ** max(0, epoch - hold), None
        for t in range(0, rows.shape[1] - STEPS, STEPS):
            logits, state = net(rows[:, t : t + STEPS], state)
            targets = rows[:, t + 1 : t + STEPS + 1]
            net.zero_grad()
            (nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum") / ROWS).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            with torch.no_grad():
                for w in net.parameters():
                    w -= rate * w.grad
        scores.append((score(net, parts["valid"]), score(net, parts["test"])))
        if scores[-1][0] == min(valid for valid, _ in scores):
            best = {name: w.clone() for name, w in net.state_dict().items()}
    return np.array(scores), best


def main(Model: Any, Locked: Any) -> None:
    """Train all of them and write the file.

    Args:
        Model: ZarembaLSTM of the notebook.
        Locked: VariationalDropout of the notebook.
    """
    torch.set_num_threads(1)
    texts = data.numpy_docs()
    counts = Counter(words_of(texts.train))
    vocab = ["<unk>", *sorted(word for word, count in counts.items() if count >= 10)]
    place = {word: k for k, word in enumerate(vocab)}
    parts = {
        name: np.array([place.get(word, 0) for word in words_of(getattr(texts, name))])
        for name in ("train", "valid", "test")
    }
    held: dict[str, Any] = {"vocab": np.array(vocab)}
    curves: dict[str, list[np.ndarray]] = {arm: [] for arm in ARMS}
    for seed in SEEDS:
        for arm, (p, *recipe) in ARMS.items():
            torch.manual_seed(seed)
            net = Model(len(vocab), HIDDEN, 2, Locked(p) if arm == "variational" else nn.Dropout(p))
            scores, best = train(net, parts, *recipe)
            curves[arm].append(scores)
            valid, test = scores[scores[:, 0].argmin()]
            print(
                f"{arm} {seed}: best epoch {scores[:, 0].argmin() + 1}, valid {valid:.1f}, test {test:.1f}", flush=True
            )
            if seed == SEEDS[0] and arm != "variational":
                held |= {f"{arm}/{name}": w.numpy().astype("f2") for name, w in best.items()}
        held |= {f"{arm}/curves": np.array(found, dtype="f4") for arm, found in curves.items()}
        np.savez_compressed(Path(data.__file__).with_name("weights") / "04.npz", **held)


if __name__ == "__main__":
    found = load_reference(Project().assignment("04")).namespace
    main(found["ZarembaLSTM"], found["VariationalDropout"])
