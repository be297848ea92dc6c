"""Correct implementations of 07 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches.
"""

import numpy as np
import torch
from torch import nn


def im2col(x, k, stride=1, pad=0):
    """A loop over the places within a window, which fills one row of the columns per channel."""
    N, C, H, W = x.shape
    frame = np.zeros((N, C, H + 2 * pad, W + 2 * pad))
    frame[:, :, pad : pad + H, pad : pad + W] = x
    rows, columns = (H + 2 * pad - k) // stride + 1, (W + 2 * pad - k) // stride + 1
    cols = np.empty((N, C, k * k, rows * columns))
    for u in range(k):
        for v in range(k):
            places = frame[:, :, u:, v:][:, :, ::stride, ::stride][:, :, :rows, :columns]
            cols[:, :, u * k + v] = places.reshape(N, C, -1)
    return cols.reshape(N, -1, rows * columns)


def conv2d_forward(x, w, b, stride=1, pad=0, groups=1):
    """No columns: a sum over the places of the kernel, group by group; the padded input as the cache."""
    k, C, F = w.shape[2], x.shape[1] // groups, len(w) // groups
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    rows, columns = (x.shape[2] - k) // stride + 1, (x.shape[3] - k) // stride + 1
    out = np.zeros((len(x), len(w), rows, columns))
    for g in range(groups):
        for u in range(k):
            for v in range(k):
                seen = x[:, g * C : (g + 1) * C, u : u + stride * rows : stride, v : v + stride * columns : stride]
                out[:, g * F : (g + 1) * F] += np.einsum("nchw,fc->nfhw", seen, w[g * F : (g + 1) * F, :, u, v])
    return out + b.reshape(1, -1, 1, 1), {"x": x, "w": w, "stride": stride, "pad": pad, "groups": groups}


def conv2d_backward(dout, cache):
    """The same loop backwards."""
    x, w, s, pad = cache["x"], cache["w"], cache["stride"], cache["pad"]
    k, C, F = w.shape[2], x.shape[1] // cache["groups"], len(w) // cache["groups"]
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    rows, columns = dout.shape[2:]
    for g in range(cache["groups"]):
        mine, read = slice(g * F, (g + 1) * F), slice(g * C, (g + 1) * C)
        for u in range(k):
            for v in range(k):
                at = (slice(None), read, slice(u, u + s * rows, s), slice(v, v + s * columns, s))
                dw[mine, :, u, v] = np.einsum("nfhw,nchw->fc", dout[:, mine], x[at])
                dx[at] += np.einsum("nfhw,fc->nchw", dout[:, mine], w[mine, :, u, v])
    inner = dx[:, :, pad : dx.shape[2] - pad, pad : dx.shape[3] - pad]
    return inner, dw, np.einsum("nfhw->f", dout)


def maxpool_forward(x, k=3, stride=2):
    """A running maximum over the places of the window; ties are settled by `>`."""
    rows, columns = (x.shape[2] - k) // stride + 1, (x.shape[3] - k) // stride + 1
    best = np.full((*x.shape[:2], rows, columns), -np.inf)
    winner = np.zeros(best.shape, dtype=int)
    for place in range(k * k):
        u, v = place // k, place % k
        here = x[:, :, u : u + stride * rows : stride, v : v + stride * columns : stride]
        better = here > best
        best, winner = np.where(better, here, best), np.where(better, place, winner)
    return best, {"shape": x.shape, "winner": winner, "k": k, "stride": stride}


def maxpool_backward(dout, cache):
    """Absolute coordinates of the winners, and np.add.at, which adds where an index is repeated."""
    n, c, i, j = np.indices(dout.shape)
    u, v = np.divmod(cache["winner"], cache["k"])
    dx = np.zeros(cache["shape"])
    np.add.at(dx, (n, c, cache["stride"] * i + u, cache["stride"] * j + v), dout)
    return dx


def lrn_forward(x, n=5, k=2.0, alpha=1e-4, beta=0.75):
    """A product with a band of ones along the channels."""
    i = np.arange(x.shape[1])
    near = (np.abs(i[:, None] - i) <= n // 2).astype(float)
    bracket = k + alpha * np.einsum("ij,njhw->nihw", near, x * x)
    return x / bracket**beta, {"x": x, "near": near, "bracket": bracket, "alpha": alpha, "beta": beta}


def lrn_backward(dout, cache):
    """The same band, which is symmetric."""
    x, S, alpha, beta = cache["x"], cache["bracket"], cache["alpha"], cache["beta"]
    pulled = np.einsum("ij,njhw->nihw", cache["near"], dout * x / S ** (beta + 1))
    return dout / S**beta - 2 * alpha * beta * x * pulled


def augment(images, size, corners, flips, alphas, vectors, values):
    """No loop: index arrays for rows and columns, which run backwards where a crop is mirrored."""
    steps = np.arange(size)
    rows = corners[:, :1] + steps
    columns = corners[:, 1:] + np.where(flips[:, None], steps[::-1], steps)
    every = np.arange(len(images))[:, None, None, None]
    crops = images[every, np.arange(3)[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]
    return crops + np.einsum("ci,i,ni->nc", vectors, values, alphas)[..., None, None]


class Dropout:
    """Chooses with `where`; the gradient in cases."""

    def __init__(self, keep=0.5):
        self.keep = keep

    def forward(self, x, mask, train):
        if train:
            return np.where(mask > 0.5, x, 0.0), (True, mask)
        return self.keep * x, (False, None)

    def backward(self, dout, cache):
        train, mask = cache
        return np.where(mask > 0.5, dout, 0.0) if train else self.keep * dout


def sgd_momentum(params, grads, velocity, lr, momentum=0.9, decay=5e-4):
    """A loop; decay and gradient first, as one."""
    new_params, new_velocity = {}, {}
    for name in params:
        pull = grads[name] + decay * params[name]
        new_velocity[name] = momentum * velocity[name] - lr * pull
        new_params[name] = params[name] + new_velocity[name]
    return new_params, new_velocity


class MiniAlexNet(nn.Module):
    """Functions in place of layers, and PyTorch's normalisation with n times the paper's alpha."""

    def __init__(self, hidden=48, p=0.5):
        super().__init__()
        self.p = p
        self.conv1, self.conv2 = nn.Conv2d(3, 12, 5, 1, 2), nn.Conv2d(12, 24, (3, 3), padding="same", groups=2)
        self.conv3 = nn.Conv2d(24, 24, 3, 1, 1)
        self.fc1, self.fc2 = nn.Linear(216, hidden), nn.Linear(hidden, 6)

    def forward(self, x):
        f = nn.functional
        for conv in (self.conv1, self.conv2):
            x = f.local_response_norm(conv(x).clamp(min=0), 5, alpha=5e-4, beta=0.75, k=2.0)
            x = f.max_pool2d(x, 3, stride=2)
        h = f.relu(self.fc1(torch.reshape(f.relu(self.conv3(x)), (-1, 216))))
        return self.fc2(f.dropout(h, self.p, training=self.training))


def ten_crop(model, images, size):
    """All crops as one batch; a running mode that is restored in any case."""
    mode, last = model.training, images.shape[-1] - size
    at = [(0, 0), (0, last), (last // 2, last // 2), (last, 0), (last, last)]
    views = torch.cat([images[:, :, i : i + size, j : j + size] for i, j in at])
    try:
        with torch.inference_mode():
            p = model.eval()(torch.cat([views, views.flip(-1)])).softmax(dim=-1)
        return torch.stack(p.chunk(10)).sum(dim=0) / 10
    finally:
        model.train(mode)


class Further:
    """A second set, of the exercises that stand by themselves."""

    def im2col(x, k, stride=1, pad=0):
        """One window after the other."""
        x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
        tops, lefts = range(0, x.shape[2] - k + 1, stride), range(0, x.shape[3] - k + 1, stride)
        windows = [x[:, :, i : i + k, j : j + k].reshape(len(x), -1) for i in tops for j in lefts]
        return np.stack(windows, axis=2)

    def augment(images, size, corners, flips, alphas, vectors, values):
        """All crops by a comprehension; a matrix of eigenvalues."""
        cut = [p[:, r : r + size, c : c + size] for p, (r, c) in zip(images, corners, strict=True)]
        crops = np.stack([p[..., :: -1 if f else 1] for p, f in zip(cut, flips, strict=True)])
        return crops + (vectors @ np.diag(values) @ alphas.T).T.reshape(-1, 3, 1, 1)

    def sgd_momentum(params, grads, velocity, lr, momentum=0.9, decay=5e-4):
        """The weights shrink first; the velocity is what they moved by."""
        moved = {}
        for name, w in params.items():
            moved[name] = (1 - lr * decay) * w - lr * grads[name] + momentum * velocity[name]
        return moved, {name: moved[name] - w for name, w in params.items()}


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "im2col": {
        "return windows.transpose(0, 1, 4, 5, 2, 3).reshape(len(x), x.shape[1] * k * k, -2)": "any negative will do",
        "return windows.transpose(0, 1, 4, 5, 2, 3).reshape(len(x), x.shape[1] * k * k, ~1)": "any negative will do",
    },
    "conv2d_forward": {
        "cols = im2col(x, k, stride, pad).reshape(N, groups, -2, rows * columns)": "any negative will do",
        "cols = im2col(x, k, stride, pad).reshape(N, groups, ~1, rows * columns)": "any negative will do",
        "out = w.reshape(groups, F // groups, -2) @ cols  # (N, G, F / G, H'·W')": "any negative will do",
        "out = w.reshape(groups, F // groups, ~1) @ cols  # (N, G, F / G, H'·W')": "any negative will do",
    },
    "maxpool_forward": {
        "out = np.take_along_axis(flat, winner[..., None], axis=-1)[..., -1]": "an axis of length 1",
    },
    "lrn_forward": {
        "squares = np.pad(x**2, ((0, 0), (n // 2, n * 2), (0, 0), (0, 0)))": "not read",
        "squares = np.pad(x**2, ((0, 0), (n // 2, n ** 2), (0, 0), (0, 0)))": "not read",
        "squares = np.pad(x**2, ((0, 0), (n // 2, n + 2), (0, 0), (0, 0)))": "not read",
        "squares = np.pad(x**2, ((0, 0), (n // 2, n // 1), (0, 0), (0, 0)))": "not read",
    },
    "conv2d_backward": {
        "k = w.shape[3]": "kernels are square",
        "dcols = w.reshape(groups, F // groups, -2).swapaxes(1, 2) @ D": "any negative will do",
        "dcols = w.reshape(groups, F // groups, ~1).swapaxes(1, 2) @ D": "any negative will do",
        "dx = np.zeros((N, C, H + 2 * pad, W + 2 ** pad))": "large enough, and cut off",
        "dx = np.zeros((N, C, H + 2 * pad, W + 3 * pad))": "large enough, and cut off",
        "dx = np.zeros((N, C, H + 2 ** pad, W + 2 * pad))": "large enough, and cut off",
        "dx = np.zeros((N, C, H + 3 * pad, W + 2 * pad))": "large enough, and cut off",
    },
    "lrn_backward": {
        "padded = np.pad(term, ((0, 0), (n // 2, n * 2), (0, 0), (0, 0)))": "not read",
        "padded = np.pad(term, ((0, 0), (n // 2, n ** 2), (0, 0), (0, 0)))": "not read",
        "padded = np.pad(term, ((0, 0), (n // 2, n + 2), (0, 0), (0, 0)))": "not read",
        "padded = np.pad(term, ((0, 0), (n // 2, n // 1), (0, 0), (0, 0)))": "not read",
    },
}
