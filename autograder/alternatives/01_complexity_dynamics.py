"""Correct implementations of 01 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches; what the notebook gives is there.
"""

import math
import zlib
from collections import Counter

import numpy as np
import torch
from torch import nn


def eca_run(state, rule, steps):
    """Cell by cell, with the rule as a string of bits."""
    answers = f"{rule:08b}"[::-1]
    history = np.zeros((steps + 1, len(state)), dtype=np.uint8)
    history[0] = state
    for t in range(steps):
        for i in range(len(state)):
            left, middle, right = (int(history[t, j % len(state)]) for j in (i - 1, i, i + 1))
            history[t + 1, i] = int(answers[4 * left + 2 * middle + right])
    return history


def block_entropy(state, k):
    """Tuples in a Counter."""
    ring = [int(cell) for cell in state] * 2
    counts = Counter(tuple(ring[i : i + k]) for i in range(len(state)))
    return sum(n / len(state) * math.log2(len(state) / n) for n in counts.values())


def margolus_run(grid, turns, backwards=False):
    """Block by block, with np.rot90."""
    grid = np.array(grid)
    H, W = grid.shape
    order = list(enumerate(turns))
    for t, turn in order[::-1] if backwards else order:
        for i, j in np.ndindex(turn.shape):
            rows, columns = [(2 * i + t % 2 + d) % H for d in (0, 1)], [(2 * j + t % 2 + d) % W for d in (0, 1)]
            block = grid[np.ix_(rows, columns)]
            clockwise = (1 if block.sum() % 2 else -1) * (-1 if backwards else 1)
            grid[np.ix_(rows, columns)] = np.rot90(block, -clockwise * int(turn[i, j]))
    return grid


def coarse_measures(grid, c, levels):
    """Block by block, in Python's integers."""
    H, W = grid.shape
    picture, bits = np.zeros((H // c, W // c), dtype=np.uint8), []
    for i, j in np.ndindex(picture.shape):
        n = int(grid[i * c : (i + 1) * c, j * c : (j + 1) * c].sum())
        picture[i, j] = min(levels * n // c**2, levels - 1)
        bits.append(-sum(m * math.log2(m) for m in (n / c**2, 1 - n / c**2) if m > 0))
    return picture, np.mean(bits), len(zlib.compress(bytes(picture.ravel().tolist()), level=9))


def diffuse_forward(u, rate, steps):
    """Differences along both axes; all pictures are kept."""
    seen = [u.copy()]
    for _ in range(steps):
        u = seen[-1]
        down, right = np.diff(u, axis=0), np.diff(u, axis=1)
        change = np.zeros(u.shape)
        change[:-1] += down
        change[1:] -= down
        change[:, :-1] += right
        change[:, 1:] -= right
        seen.append(u + rate * change)
    return seen[-1], {"rate": rate, "seen": seen}


def diffuse_backward(dy, cache):
    """The gradient of the rate through differences of neighbours; diffusion called for the way back."""
    drate, g = 0.0, np.array(dy)
    for u in cache["seen"][-2::-1]:
        drate -= sum(np.vdot(np.diff(g, axis=axis), np.diff(u, axis=axis)) for axis in (0, 1))
        g, _ = diffuse_forward(g, cache["rate"], 1)
    return [g, drate]


def spread_entropy(u):
    """From logarithms of u; the entropy's gradient as a difference of two means."""
    total, logs = np.sum(u), np.log(u)
    mean = np.sum(u * logs) / total
    return (np.log(total) - mean) / np.log(2), (mean - logs) / (total * np.log(2))


class SoftRule(nn.Module):
    """All situations at once: an outer product by einsum."""

    def __init__(self):
        super().__init__()
        self.register_parameter("logits", nn.Parameter(torch.zeros(8)))

    def forward(self, x):
        wide = torch.cat([x[:, -1:], x, x[:, :1]], dim=1)
        pairs = torch.stack([1 - wide, wide], dim=-1)
        table = self.logits.sigmoid().view(2, 2, 2)
        return torch.einsum("lcr,bwl,bwc,bwr->bw", table, pairs[:, :-2], pairs[:, 1:-1], pairs[:, 2:])

    def rule(self):
        return int("".join("1" if value > 0 else "0" for value in self.logits.tolist()[::-1]), 2)


class Diffusion(nn.Module):
    """Without a convolution: shifted views that repeat the edge."""

    def __init__(self, rate):
        super().__init__()
        self.rate = nn.Parameter(torch.as_tensor(rate, dtype=torch.float32))

    def forward(self, u, steps):
        for _ in range(steps):
            above, below = torch.cat([u[:, :1], u[:, :-1]], dim=1), torch.cat([u[:, 1:], u[:, -1:]], dim=1)
            left, right = torch.cat([u[..., :1], u[..., :-1]], dim=2), torch.cat([u[..., 1:], u[..., -1:]], dim=2)
            u = u + self.rate * ((above - u) + (below - u) + (left - u) + (right - u))
        return u


class Further:
    """A second set."""

    def eca_run(state, rule, steps):
        """Windows of the padded row; the answer by shifting an array."""
        rows = [np.array(state, copy=True)]
        while len(rows) <= steps:
            windows = np.lib.stride_tricks.sliding_window_view(np.pad(rows[-1], 1, mode="wrap"), 3)
            rows.append(((rule >> (windows @ [4, 2, 1])) & 1).astype(np.uint8))
        return np.stack(rows)

    def block_entropy(state, k):
        """Distinct rows of windows."""
        windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([state, state[: k - 1]]), k)
        _, counts = np.unique(windows, axis=0, return_counts=True)
        return np.log2(len(state)) - np.sum(counts * np.log2(counts)) / len(state)

    def margolus_run(grid, turns, backwards=False):
        """Gathered by indices that go round; a turn made of quarter turns."""
        out, (H, W) = grid.copy(), grid.shape
        times = np.arange(len(turns))
        for t in times[::-1] if backwards else times:
            rows, columns = (np.arange(t % 2, H + t % 2) % H)[:, None], np.arange(t % 2, W + t % 2) % W
            view = out[rows, columns]
            a, b, d, c = view[::2, ::2], view[::2, 1::2], view[1::2, ::2], view[1::2, 1::2]
            parity = (a ^ b ^ c ^ d).astype(bool) ^ backwards
            for quarter in (1, 2, 3):
                now = np.where(parity, turns[t], (4 - turns[t]) % 4) >= quarter
                a, b, c, d = (np.where(now, new, old) for new, old in ((d, a), (a, b), (b, c), (c, d)))
            view = np.empty_like(grid)
            view[::2, ::2], view[::2, 1::2], view[1::2, ::2], view[1::2, 1::2] = a, b, d, c
            out[rows, columns] = view
        return out

    def coarse_measures(grid, c, levels):
        """Shares by means; a tiny number inside the logarithm; a compressor object."""
        H, W = grid.shape
        m = grid.astype(float).reshape(H // c, c, W // c, c).mean(axis=3).mean(axis=1)
        counts = np.rint(m * c * c).astype(int)
        picture = (levels * counts) // (c * c)
        picture[picture == levels] = levels - 1
        picture = picture.astype("uint8")
        safe = np.clip(m, 1e-15, 1 - 1e-15)
        bits = np.mean(-safe * np.log2(safe) - (1 - safe) * np.log2(1 - safe))
        packer = zlib.compressobj(9)
        return picture, bits, len(packer.compress(picture.tobytes()) + packer.flush())

    def diffuse_forward(u, rate, steps):
        """As matrices, one for rows and one for columns; a closure is the cache."""

        def chain(n):
            matrix = np.zeros((n, n))
            for i in range(n - 1):
                matrix[i : i + 2, i : i + 2] += [[-1, 1], [1, -1]]
            return matrix

        rows, columns = chain(u.shape[0]), chain(u.shape[1])
        seen = [np.array(u)]
        for _ in range(steps):
            seen.append(seen[-1] + rate * (rows @ seen[-1] + seen[-1] @ columns))
        return seen[-1], lambda: (rows, columns, seen, rate)

    def diffuse_backward(dy, cache):
        """With the transposed matrices; all gradients first, then the rate's."""
        rows, columns, seen, rate = cache()
        back = [np.array(dy)]
        for _ in seen[1:]:
            back.append(back[-1] + rate * (rows.T @ back[-1] + back[-1] @ columns.T))
        pairs = zip(back[:-1], seen[-2::-1], strict=True)
        return back[-1], sum(float(np.sum(g * (rows @ u + u @ columns))) for g, u in pairs)

    def spread_entropy(u):
        """Along the graph of the text."""
        s = u.sum()
        p = u / s
        a = -np.log2(p) - 1 / np.log(2)
        ds = np.sum(a * -u / s**2)
        return -(p * np.log2(p)).sum(), a / s + ds

    class SoftRule(nn.Module):
        """Interpolates in the table, one neighbour after the other."""

        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(torch.zeros(8))

        def forward(self, x):
            value = torch.special.expit(self.logits).reshape(8, 1, 1)
            for v in (torch.roll(x, 1, -1), x, torch.roll(x, -1, -1)):
                half = len(value) // 2
                value = (1 - v) * value[:half] + v * value[half:]
            return value[0]

        @torch.no_grad()
        def rule(self):
            return int(((self.logits > 0).long() * 2 ** torch.arange(8)).sum())

    class Diffusion(nn.Module):
        """The kernel as a buffer; a convolution over the batch as channels."""

        def __init__(self, rate):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(rate))
            cross = torch.zeros(3, 3)
            cross[1], cross[:, 1], cross[1, 1] = 1, 1, -4
            self.register_buffer("cross", cross, persistent=False)

        def forward(self, u, steps):
            if steps == 0:
                return u
            kernel = self.cross.to(u.dtype).expand(len(u), 1, 3, 3)
            framed = nn.ReplicationPad2d(1)(u[None])
            change = nn.functional.conv2d(framed, kernel, groups=len(u)).squeeze(0)
            return self(u + self.rate * change, steps - 1)


class Third:
    """Equal formulas that round otherwise, and other containers."""

    def coarse_measures(grid, c, levels):
        """Windows; ceilings of whole numbers; what is inside the logarithm is cut off very low."""
        blocks = np.lib.stride_tricks.sliding_window_view(grid, (c, c))[::c, ::c]
        n = np.count_nonzero(blocks, axis=(2, 3))
        picture = np.zeros(n.shape, dtype=np.uint8)
        for shade in range(1, levels):
            picture[n >= -(-shade * c**2 // levels)] = shade
        m = n / c**2
        each = -sum(q * np.log2(np.maximum(q, 1e-12)) for q in (m, 1 - m))
        return [picture, np.float64(math.fsum(each.ravel()) / each.size), np.int64(len(zlib.compress(picture, 9)))]

    def spread_entropy(u):
        """S from the sum of u log u: it may lose digits where all is in one place."""
        s = math.fsum(u.ravel())
        a = math.fsum((u * np.log2(u)).ravel())
        gradient = 1 / (s * math.log(2)) - (np.log2(u) + 1 / math.log(2)) / s + a / s**2
        gradient = np.asfortranarray(gradient)
        gradient.setflags(write=False)
        return math.log2(s) - a / s, gradient

    def diffuse_forward(u, rate, steps):
        """The change of a step is multiplied by the rate beforehand; pictures from behind in the cache."""
        seen = (u.copy(),)
        for _ in range(steps):
            scaled = rate * seen[0]
            new = seen[0].copy()
            for one, two in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
                flow = scaled[one] - scaled[two]
                new[one] -= flow
                new[two] += flow
            seen = (new, *seen)
        return seen[0], (seen, rate)

    def diffuse_backward(dy, cache):
        """The picture after all steps but one, which all steps have in common as every L is the same."""
        seen, rate = cache
        steps = len(seen) - 1
        change = sum(
            np.diff(np.pad(seen[min(1, steps)], 1, mode="edge"), n=2, axis=k)[cut]
            for k, cut in ((0, np.s_[:, 1:-1]), (1, np.s_[1:-1]))
        )
        g = np.copy(dy)
        for _ in range(steps):
            g = g + rate * sum(
                np.diff(np.pad(g, 1, mode="edge"), n=2, axis=k)[cut]
                for k, cut in ((0, np.s_[:, 1:-1]), (1, np.s_[1:-1]))
            )
        return g, np.float64(steps * np.vdot(dy, change))


class Recomputed:
    """Keeps the first picture alone, and makes the others again for each step of the way back."""

    def diffuse_forward(u, rate, steps):
        def after(steps):
            y = u0
            for _ in range(steps):
                y = y + rate * laplacian(y)
            return y

        def laplacian(y):
            framed = np.pad(y, 1, mode="edge")
            return framed[:-2, 1:-1] + framed[2:, 1:-1] + framed[1:-1, :-2] + framed[1:-1, 2:] - 4 * y

        u0 = u.copy()
        return after(steps).copy(), (after, laplacian, rate, steps)

    def diffuse_backward(dy, cache):
        after, laplacian, rate, steps = cache
        g, drate = dy.copy(), 0
        for t in range(steps - 1, -1, -1):
            drate = drate + np.tensordot(g, laplacian(after(t)))
            g = g + rate * laplacian(g)
        return g, drate


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "eca_run": {
        "table = np.array([rule >> n & 1 for n in range(9)], dtype=np.uint8)": "no situation has the number 8",
        "situations = 4 * np.roll(row, 1) + 2 // row + np.roll(row, -1)": "in uint8, 2 // 0 is 0",
        "situations = 4 // np.roll(row, 1) + 2 * row + np.roll(row, -1)": "in uint8, 4 // 0 is 0",
    },
    "block_entropy": {
        "codes = sum(np.roll(state, +j).astype(int) << j for j in range(k))": "the same blocks, mirrored",
        "codes = sum(np.roll(state, j).astype(int) << j for j in range(k))": "the same blocks, mirrored",
        "codes = sum(np.roll(state, ~j).astype(int) << j for j in range(k))": "a ring begins anywhere",
    },
    "margolus_run": {"odd = ring.sum(axis=0) % 2 >= 1": "a remainder is 0 or 1"},
    "coarse_measures": {
        "ones = grid.reshape(len(grid) // c, c, -2, c).sum(axis=(1, 3), dtype=int)": "any negative size is inferred",
        "ones = grid.reshape(len(grid) // c, c, ~1, c).sum(axis=(1, 3), dtype=int)": "any negative size is inferred",
        "picture = np.minimum(levels * ones / c**2, levels - 1).astype(np.uint8)": (
            "whole quotients are exact, the others further from the next than rounding reaches; the conversion cuts off"
        ),
        "logarithms = np.log2(np.where(shares != 0, shares, 1))": "shares are not negative",
        "logarithms = np.log2(np.where(shares > 0, shares, 2))": "it is multiplied with 0",
        "size = len(zlib.compress(picture.tobytes(), 8))": "differs by less than builds of zlib do",
    },
    "SoftRule": {
        "left, right = x.roll(1, dims=+1), x.roll(-1, dims=-1)": "of two axes, the last is axis 1",
        "left, right = x.roll(1, dims=-1), x.roll(-1, dims=+1)": "of two axes, the last is axis 1",
        "left, right = x.roll(1, dims=-1), x.roll(-1, dims=1)": "of two axes, the last is axis 1",
        "left, right = x.roll(1, dims=1), x.roll(-1, dims=-1)": "of two axes, the last is axis 1",
    },
    "Diffusion": {"change = nn.functional.conv2d(framed, kernel)[:, -1]": "there is one channel"},
}
