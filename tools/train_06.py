"""Train the two networks of 06 that draw hulls and tours in its last figures, and write course/weights/06.npz.

Data: points drawn uniformly from the unit square. Hulls have 5 to 12 points, tours 5 to 10; a batch of 64 has one
number. Hulls are drawn anew for each batch. Tours: 8,000 sets of each number, solved exactly by Held and Karp's table;
each is used again and again, with its cities in another order, from another city on and mirrored, which makes it new
to a network that reads its cities one by one.

Seed 6 for both, 64 units, Adam at 0.005, falling to 0 over the second half of 3,000 updates; gradients are clipped
at norm 1. Test points, drawn by the notebook, come from other seeds. Settings were tried on seeds 0 and 1 with
one number of cities and fewer updates.

About a minute on one core. In the course's root, with the course installed:
`python tools/train_06.py`. It uses the worked solution's functions and module.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from course import data

UNITS, UPDATES, BATCH, RATE, SEED = 64, 3_000, 64, 0.005, 6
HULLS, TOURS, SETS = range(5, 13), range(5, 11), 8_000


def optimal_tours(P: np.ndarray) -> np.ndarray:
    """Shortest tours (B, N) from city 0 of many sets of cities (B, N, 2): Held and Karp's table, all sets at once."""
    B, N, _ = P.shape
    D = np.sqrt(((P[:, :, None] - P[:, None]) ** 2).sum(axis=3)).astype(np.float32)
    n = N - 1  # city k + 1 is bit k
    cost = np.full((1 << n, n, B), np.inf, dtype=np.float32)
    before = np.zeros((1 << n, n, B), dtype=np.int64)
    for k in range(n):
        cost[1 << k, k] = D[:, 0, k + 1]
    for seen in range(1, 1 << n):
        for k in range(n):
            rest = seen ^ (1 << k)
            if seen >> k & 1 and rest:
                ways = cost[rest] + D[:, 1:, k + 1].T
                before[seen, k] = ways.argmin(axis=0)
                cost[seen, k] = ways.min(axis=0)
    seen = np.full(B, (1 << n) - 1)
    at = (cost[-1] + D[:, 1:, 0].T).argmin(axis=0)
    rows, tour = np.arange(B), np.zeros((B, N), dtype=np.int64)
    for place in range(N - 1, 0, -1):
        tour[:, place] = at + 1
        at, seen = before[seen, at, rows], seen ^ (1 << at)
    return tour


def area(P: np.ndarray, tour: np.ndarray) -> np.ndarray:
    """Signed areas (B,) of closed paths (B, N) through points (B, N, 2)."""
    Q = np.take_along_axis(P, tour[:, :, None], axis=1)
    R = np.roll(Q, -1, axis=1)
    return 0.5 * (Q[..., 0] * R[..., 1] - Q[..., 1] * R[..., 0]).sum(axis=1)


def shuffled(rng: np.random.Generator, P: np.ndarray, tour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same cities in another order and often mirrored; the tour from the new city 0, counter-clockwise."""
    B, N, _ = P.shape
    P = np.where(rng.random((B, 1, 2)) < 0.5, P, 1 - P)
    P = np.where(rng.random((B, 1, 1)) < 0.5, P, P[:, :, ::-1])
    order = rng.permuted(np.tile(np.arange(N), (B, 1)), axis=1)
    tour = np.take_along_axis(order.argsort(axis=1), tour, axis=1)  # the new places of the old cities
    P = np.take_along_axis(P, order[:, :, None], axis=1)
    tour = np.where(area(P, tour)[:, None] < 0, tour[:, ::-1], tour)
    first = tour.argmin(axis=1)[:, None]
    return P, np.take_along_axis(tour, (first + np.arange(N)) % N, axis=1)


def train(net: Any, draw: Any, scaled: Any, say: str) -> None:
    """Train a network in place on batches of points (B, N, 2) and targets (B, T) that draw() makes."""
    optimiser, losses, start = torch.optim.Adam(net.parameters(), lr=RATE), [], time.process_time()
    for update in range(UPDATES):
        P, targets = draw()
        x, tgt = torch.tensor(scaled(P), dtype=torch.float32), torch.from_numpy(targets)
        logits = net(x, torch.full((len(x),), x.shape[1]), tgt)
        loss = torch.nn.functional.cross_entropy(logits[tgt >= 0], tgt[tgt >= 0])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.param_groups[0]["lr"] = RATE * min(1, 2 - 2 * update / UPDATES)
        optimiser.step()
        losses.append(loss.item())
        if update % 500 == 499:
            print(
                say, update + 1, f"loss {np.mean(losses[-500:]):.4f}, {time.process_time() - start:.0f} s", flush=True
            )


def main(PointerNet: Any, hull_target: Any, scaled: Any, path: Path | None = None) -> None:
    """Train both and write the file.

    Args:
        PointerNet: the module of the notebook, of D, H and whether it may stop early.
        hull_target: the corners of a hull, as in the notebook.
        scaled: centres and stretches points, as in the notebook.
        path: where to; by default the package's folder of weights.
    """
    torch.set_num_threads(1)
    rng, held = np.random.default_rng([6, SEED]), {}

    def hulls() -> tuple[np.ndarray, np.ndarray]:
        N = int(rng.choice(HULLS))
        P, targets = rng.random((BATCH, N, 2)), np.full((BATCH, N + 1), -1)
        for row, points in zip(targets, P, strict=True):
            corners = hull_target(points)
            row[: len(corners) + 1] = [*corners, N]
        return P, targets

    def tours() -> tuple[np.ndarray, np.ndarray]:
        N = int(rng.choice(TOURS))
        pick = rng.integers(SETS, size=BATCH)
        P, tour = shuffled(rng, pool[N][0][pick], pool[N][1][pick])
        return P, np.hstack([tour, np.full((BATCH, 1), N)])

    pool = {}
    for N in TOURS:
        P = rng.random((SETS, N, 2))
        pool[N] = P, np.vstack([optimal_tours(part) for part in np.split(P, 16)])
    for name, draw in (("tour", tours), ("hull", hulls)):
        torch.manual_seed(SEED)
        net = PointerNet(2, UNITS, name == "hull")
        train(net, draw, scaled, name)
        held |= {f"{name}.{key}": w.detach().numpy().astype("f2") for key, w in net.state_dict().items()}
        np.savez_compressed(path or Path(data.__file__).with_name("weights") / "06.npz", **held)


if __name__ == "__main__":
    from autograder.engine.judge.keys import load_reference
    from course.base.project import Project

    found = load_reference(Project().assignment("06")).namespace
    main(found["PointerNet"], found["hull_target"], found["scaled"])
