"""Correct implementations of 04 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches.
"""

import math

import numpy as np
import torch
from torch import nn


def dropout_mask(u, p):
    """In place, on an array of ones divided first."""
    m = np.full(np.shape(u), 1.0 / (1.0 - p))
    m[np.less(u, p)] = 0.0
    return m


def stacked_forward(layers, X, masks, state=None):
    """Step by step through all layers, bottom to top; caches by layer and step in a dict."""
    B, T, _ = X.shape
    L = len(layers)
    if state is None:
        state = [(np.zeros((B, q["b"].shape[0] // 4)), np.zeros((B, q["b"].shape[0] // 4))) for q in layers]
    pairs, caches, tops = [tuple(pair) for pair in state], {}, []
    for t in range(T):
        z = X[:, t]
        if "up" in masks:
            z = masks["up"][0][:, t] * z
        for n in range(L):
            h, c = pairs[n]
            h = h if "h" not in masks else np.multiply(masks["h"][n][:, t], h)
            c = c if "c" not in masks else np.multiply(masks["c"][n][:, t], c)
            h, c, caches[n, t] = lstm_cell_forward(layers[n], z, h, c)  # noqa: F821
            pairs[n] = (h, c)
            z = h if "up" not in masks else h * masks["up"][n + 1][:, t]
        tops.append(z)
    return np.transpose(np.array(tops), (1, 0, 2)), pairs, {"masks": masks, "caches": caches, "sizes": (L, T, X.shape)}


def stacked_backward(dZ, cache):
    """Step by step from the last, in each from the top layer down."""
    masks, caches, (L, T, shape) = cache["masks"], cache["caches"], cache["sizes"]

    def times(place, n, t, value):
        return value * masks[place][n][:, t] if place in masks else value

    back, grads, dX = [(0.0, 0.0)] * L, [{} for _ in range(L)], np.zeros(shape)
    for t in range(T - 1, -1, -1):
        d = dZ[:, t]
        for n in range(L - 1, -1, -1):
            dh, dc = back[n]
            d = times("up", n + 1, t, d)
            d, dh, dc, dW, db = lstm_cell_backward(d + dh, dc + np.zeros_like(d), caches[n, t])  # noqa: F821
            back[n] = times("h", n, t, dh), times("c", n, t, dc)
            for name, g in (("b", db), ("W", dW)):
                grads[n][name] = grads[n].get(name, 0) + g
        dX[:, t] = times("up", 0, t, d)
    return dX, grads


def perplexity(logits, targets):
    """All batches joined, through logaddexp; in bits, and back."""
    scores, words = np.concatenate(logits), np.concatenate(targets)
    nats = np.logaddexp.reduce(scores, axis=1) - np.take_along_axis(scores, words[:, None], axis=1)[:, 0]
    return 2.0 ** np.mean(nats / math.log(2))


def make_masks(kind, u, p):
    """A table of places; one mask of the first step, viewed in all steps."""
    table = {"none": [], "paper": ["up"], "h": ["h", "up"], "c": ["c", "up"], "everywhere": ["c", "h", "up"]}
    found = {}
    for place in table.get(kind, ["h", "up"]):
        found[place] = []
        for d in u[place]:
            m = dropout_mask(d, p)
            found[place].append(np.broadcast_to(m[:, 0][:, None, :], d.shape) if kind == "variational" else m)
    return found


def corruptions(kind, layers, steps):
    """Walks both ways, one multiplication after another."""
    found = []
    for way in "hc":
        masks = 0
        for _ in range(layers + 1):
            masks += kind != "none"
        if kind in (way, "everywhere") or (kind == "variational" and way == "h"):
            masks = masks + steps
        found.append(int(masks))
    return found


def sgd_update(p, grads, epoch, rate=1.0, hold=6, factor=1.2, limit=5.0):
    """One long vector for the norm; the rate divided epoch by epoch."""
    norm = np.linalg.norm(np.concatenate([np.ravel(g) for g in grads.values()]))
    for _ in range(hold, epoch):
        if _ >= hold:
            rate = rate / factor
    shrink = np.minimum(1.0, limit / norm) if norm > 0 else 1.0
    return {name: np.asarray(p[name] - rate * (shrink * grads[name])) for name in p}, norm


class VariationalDropout(nn.Module):
    """Torch's own dropout, on ones."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        B, _, D = x.shape
        return x * nn.functional.dropout(x.new_ones((B, 1, D)), self.p, self.training)


class ZarembaLSTM(nn.Module):
    """A list of modules that is walked; state detached in a comprehension."""

    def __init__(self, vocab, hidden, layers, drop):
        super().__init__()
        self.embed = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList([nn.LSTM(hidden, hidden, batch_first=True) for _ in range(layers)])
        self.readout = nn.Linear(hidden, vocab)
        self.drop = drop

    def forward(self, words, state=None):
        pairs = [None] * len(self.layers) if state is None else list(state)
        x = self.embed(words)
        for n in range(len(pairs)):
            x, pairs[n] = self.layers[n](self.drop(x), pairs[n])
        return self.readout(self.drop(x)), [[v.detach() for v in pair] for pair in pairs]


class Further:
    """A second set."""

    def dropout_mask(u, p):
        return np.where(u < p, 0.0, 1 / (1 - p))

    def stacked_forward(layers, X, masks, state=None):
        """Recursion over layers; zeros for the first state by themselves."""
        if "up" in masks:
            X = X * masks["up"][0]
        Z, last, kept = X, [], []
        for n, q in enumerate(layers):
            width = len(q["b"]) // 4
            h, c = (np.zeros((len(X), width)),) * 2 if state is None else state[n]
            out, steps = np.empty((*X.shape[:2], width)), []
            R, C, U = (masks[place][n + (place == "up")] if place in masks else None for place in ("h", "c", "up"))
            for t in range(X.shape[1]):
                h = h if R is None else h * R[:, t]
                c = c if C is None else c * C[:, t]
                h, c, step = lstm_cell_forward(q, Z[:, t], h, c)  # noqa: F821
                out[:, t] = h
                steps.append(step)
            Z = out if U is None else out * U
            last += [(h.copy(), c.copy())]
            kept.append((steps, R, C, U))
        return Z, last, (kept, masks["up"][0] if "up" in masks else np.ones(X.shape))

    def stacked_backward(dZ, cache):
        kept, first = cache
        grads = []
        for steps, R, C, U in kept[::-1]:
            d = dZ if U is None else dZ * U
            dh, dc, dxs, total = np.zeros_like(d[:, 0]), np.zeros_like(d[:, 0]), [], [0, 0]
            for t in range(len(steps))[::-1]:
                dx, dh, dc, *more = lstm_cell_backward(d[:, t] + dh, dc, steps[t])  # noqa: F821
                dh, dc = (v if m is None else v * m[:, t] for v, m in ((dh, R), (dc, C)))
                total = [a + b for a, b in zip(total, more, strict=True)]
                dxs.insert(0, dx)
            dZ = np.swapaxes(np.array(dxs), 0, 1)
            grads.append(dict(zip("Wb", total, strict=True)))
        return first * dZ, tuple(reversed(grads))

    def perplexity(logits, targets):
        """Word by word."""
        nats = []
        for scores, words in zip(logits, targets, strict=True):
            for row, word in zip(scores, words, strict=True):
                others = row - row[word]
                high = others.max()
                nats.append(high + math.log(math.fsum(np.exp(others - high))))
        return np.exp(np.mean(nats))

    def make_masks(kind, u, p):
        """By cases."""
        if kind == "variational":
            u = {place: [np.stack([d[:, 0]] * d.shape[1], axis=1) for d in u[place]] for place in ("up", "h")}
            kind = "h"
        out = {}
        if kind != "none":
            out["up"] = [np.where(d < p, 0, 1 / (1 - p)) for d in u["up"]]
        for place in ("h", "c"):
            if kind in (place, "everywhere"):
                out[place] = tuple(np.where(d < p, 0, 1 / (1 - p)) for d in u[place])
        return out

    def corruptions(kind, layers, steps):
        """A table."""
        U, R, C = {"none": (0, 0, 0), "paper": (1, 0, 0), "h": (1, 1, 0), "c": (1, 0, 1), "everywhere": (1, 1, 1)}.get(
            kind, (1, 1, 0)
        )
        return np.array([U, U]) * (layers + 1) + np.array([R, C]) * steps

    def sgd_update(p, grads, epoch, rate=1.0, hold=6, factor=1.2, limit=5.0):
        """Scaled before the root, so that nothing over- or underflows."""
        top = max(np.max(np.abs(g)) for g in grads.values())
        norm = 0.0 if top == 0 else top * math.sqrt(sum(float(np.sum((g / top) ** 2)) for g in grads.values()))
        now = rate if epoch <= hold else rate * factor ** (hold - epoch)
        new = {}
        for name in grads:
            step = grads[name] * (limit / norm) if norm > limit else grads[name]
            new[name] = p[name] - now * step
        return new, np.float64(norm)

    class VariationalDropout(nn.Module):
        def __init__(self, p):
            super().__init__()
            self.p = p

        def forward(self, x):
            if self.training and self.p > 0:
                keep = torch.empty(len(x), x.size(2)).bernoulli_(1 - self.p).bool()
                x = torch.where(keep.unsqueeze(1), x / (1 - self.p), torch.zeros_like(x))
            return x

    class ZarembaLSTM(nn.Module):
        def __init__(self, vocab, hidden, layers, drop):
            super().__init__()
            self.embed = nn.Embedding(vocab, hidden)
            self.layers = nn.ModuleList(nn.LSTM(hidden, hidden, batch_first=True) for _ in range(layers))
            self.readout, self.drop = nn.Linear(hidden, vocab), drop

        def forward(self, words, state=None):
            if state is None:
                zeros = self.embed.weight.new_zeros(1, len(words), self.embed.embedding_dim)
                state = [(zeros, zeros) for _ in self.layers]
            out, new = self.drop(nn.functional.embedding(words, self.embed.weight)), []
            for layer, pair in zip(self.layers, state, strict=True):
                out, pair = layer(out, tuple(pair))
                out = self.drop(out)
                new += [tuple(map(torch.Tensor.detach, pair))]
            return out @ self.readout.weight.T + self.readout.bias, new


class WithTensorsOfItsOwn:
    """What holds p or the draws otherwise."""

    class VariationalDropout(nn.Module):
        """p in a buffer of one number; what is dropped is filled in."""

        def __init__(self, p):
            super().__init__()
            self.register_buffer("p", torch.tensor(float(p), dtype=torch.float64), persistent=False)

        def forward(self, x):
            if not self.training:
                return x.clone()
            gone = torch.rand(len(x), 1, x.size(-1), dtype=torch.float64) < float(self.p)
            return x.masked_fill(gone, 0) * (1 / (1 - self.p.item()))


EQUIVALENT = {
    "make_masks": {'if kind >= "variational":': "no other kind comes after it in the alphabet"},
    "perplexity": {
        "for scores, words in zip(logits, targets, strict=False):": "there is one array of targets per batch"
    },
    "stacked_backward": {"dh = dc = np.zeros_like(dZ[:, -1])": "zeros of the same shape"},
    "sgd_update": {"if norm >= limit:": "a norm equal to the limit is multiplied by 1"},
    "VariationalDropout": {
        "if not self.training or self.p < 0:": "with p = 0 the mask is all ones",
        "if not self.training or self.p <= 0:": "with p = 0 the mask is all ones",
        "if not self.training or self.p == -1:": "with p = 0 the mask is all ones",
        "if not self.training or self.p == 1:": "with p = 0 the mask is all ones",
        "return x * ((u > self.p).to(x.dtype) / (1 - self.p))": "a draw is exactly p once in millions",
    },
}
