"""Correct implementations of 26 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell.
"""

import copy
from collections import Counter, OrderedDict

import numpy as np
import torch
from torch import nn


def knn_predict(D, y, k):
    """Query by query: sorted pairs, a counter, and the smallest of the most frequent labels."""
    answers = []
    for row in D:
        near = sorted(range(len(y)), key=lambda n: (row[n], n))[:k]
        counts = Counter(int(y[n]) for n in near)
        answers.append(min(counts, key=lambda label: (-counts[label], label)))
    return np.array(answers)


def svm_loss(W, X, y, reg, delta=1.0):
    """Two loops, as in the first part of the course's assignment."""
    loss, dW = 0.0, np.zeros_like(W)
    for x, label in zip(X, y, strict=True):
        s = x @ W
        for j in range(W.shape[1]):
            margin = s[j] - s[label] + delta
            if j != label and margin > 0:
                loss += margin / len(X)
                dW[:, j] += x / len(X)
                dW[:, label] -= x / len(X)
    return loss + reg * (W * W).sum(), dW + 2.0 * reg * W


def adam_step(params, grads, m, v, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """One loop; averages that move towards the new value; both corrections in one factor, and in ε."""
    out = OrderedDict(), {}, {}
    c1, c2 = 1 - beta1**t, (1 - beta2**t) ** 0.5
    for name in sorted(params):
        g = np.asarray(grads[name])
        out[1][name] = m[name] + (1 - beta1) * (g - m[name])
        out[2][name] = v[name] + (1 - beta2) * (g * g - v[name])
        out[0][name] = params[name] - (lr * c2 / c1) * out[1][name] / (np.sqrt(out[2][name]) + eps * c2)
    return out


def batchnorm_backward(dout, cache):
    """Step by step through the graph, the variance's gradient by itself."""
    x_hat, gamma, r, training = cache
    N = dout.shape[0]
    centred = x_hat / r
    dx_hat = gamma * dout
    dx = dx_hat * r
    if training:
        dvar = (dx_hat * centred).sum(axis=0) * -0.5 * r**3
        dx = dx + dvar * 2 / N * centred
        dmean = -(dx_hat * r).sum(axis=0)
        dx = dx + dmean / N
    return dx, np.einsum("nd,nd->d", dout, x_hat), np.einsum("nd->d", dout)


def cnn_backward(dscores, cache):
    """No loop over blocks."""
    p, (first, second), shape, flat = cache
    g = {}
    g["fc"], g["bias"] = np.einsum("nd,nc->dc", flat, dscores), np.ones(len(dscores)) @ dscores
    up = np.einsum("nc,dc->nd", dscores, p["fc"]).reshape(shape)
    conv, bn, on, pool = second
    up = np.where(on, pool_backward(up, pool), 0.0)  # noqa: F821 (given in the notebook)
    rows, g["gamma2"], g["beta2"] = batchnorm_backward(as_rows(up), bn)  # noqa: F821
    up, g["conv2"] = conv_backward(as_maps(rows, up), conv)  # noqa: F821
    conv, bn, on, pool = first
    up = np.where(on, pool_backward(up, pool), 0.0)  # noqa: F821
    rows, g["gamma1"], g["beta1"] = batchnorm_backward(as_rows(up), bn)  # noqa: F821
    up, g["conv1"] = conv_backward(as_maps(rows, up), conv)  # noqa: F821
    return up, g


def saliency(p, X, y, stats):
    """Picture by picture, the larger of gradient and minus gradient."""
    maps = []
    for x, label in zip(X, y, strict=True):
        scores, cache, _ = cnn_forward(p, x[None], stats)  # noqa: F821 (given in the notebook)
        dX, _ = cnn_backward(np.eye(scores.shape[1])[[label]], cache)
        maps.append(np.maximum(dX[0], -dX[0]).max(axis=0))
    return np.stack(maps)


def babysit(loss, params, X, y, classes, directions, reg=0.1, lr=0.3, steps=20, h=1e-5):
    """The three numbers in the other order; copies that are changed in place; a dot product of flat arrays."""
    theta = {name: np.array(w, dtype=float) for name, w in params.items()}
    first = None
    for _ in range(steps):
        now, g = loss(theta, X, y, 0.0)
        first = now if first is None else first
        theta = {name: theta[name] - lr * np.asarray(g[name]) for name in theta}
    report = {"overfit": loss(theta, X, y, 0.0)[0] / first, "start": first / np.log(classes), "gradient": 0.0}
    analytic = loss(params, X, y, reg)[1]
    for name in params:
        moved = copy.deepcopy(params)
        moved[name] = params[name] + h * directions[name]
        n = loss(moved, X, y, reg)[0]
        moved[name] = params[name] - h * directions[name]
        n = (n - loss(moved, X, y, reg)[0]) / h / 2
        a = float(np.ravel(analytic[name]) @ np.ravel(directions[name]))
        if a != n:
            report["gradient"] = np.maximum(report["gradient"], abs(a - n) / np.maximum(abs(a), abs(n)))
    return report


class ConvNet(nn.Module):
    """Layers of other names for parts; blocks in a loop; the number of features found by trying."""

    def __init__(self, channels, side, classes, filters=(8, 16), kernel=5):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, filters[0], kernel, bias=False), nn.Conv2d(*filters, 3, bias=False)
        self.bn1, self.bn2 = (nn.BatchNorm2d(f) for f in filters)
        for _, shrink in enumerate((kernel - 1, 2)):
            side = (side - shrink) // 2
        self.fc = nn.Linear(filters[1] * side * side, classes, bias=True)

    def features(self, x):
        for conv, bn in ((self.conv1, self.bn1), (self.conv2, self.bn2)):
            x = nn.functional.max_pool2d(bn(conv(x)), kernel_size=2, stride=2).clamp(min=0)  # a ReLU keeps the order
        return torch.reshape(x, (len(x), -1))

    def forward(self, x):
        f = self.features(x)
        return f @ self.fc.weight.T + self.fc.bias


def transfer(model, head, X, y, steps=150, lr=0.01):
    """A copy of the model; a new layer that loads the head's state."""
    with torch.no_grad():
        f = copy.deepcopy(model).eval().features(X).detach()
    new = nn.Linear(head.in_features, head.out_features, dtype=head.weight.dtype)
    new.load_state_dict(head.state_dict())
    optimiser = torch.optim.Adam([{"params": [new.weight]}, {"params": [new.bias]}], lr)
    for _ in range(steps):
        loss = -(new(f).log_softmax(dim=1)[range(len(y)), y]).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return new


class Further:
    """A second set."""

    def knn_predict(D, y, k):
        """A one-hot matrix and one product with a mask of the nearest."""
        order = np.lexsort((np.broadcast_to(np.arange(D.shape[1]), D.shape), D), axis=1)
        mask = np.zeros(D.shape)
        np.put_along_axis(mask, order[:, :k], 1.0, axis=1)
        labels = np.unique(y)
        return labels[np.argmax(mask @ (y[:, None] == labels), axis=1)]

    def svm_loss(W, X, y, reg, delta=1.0):
        """The margin as a matrix that is 0 for the right class; a mask as the gradient."""
        N, C = len(X), W.shape[1]
        right = np.eye(C)[y]
        s = X.dot(W)
        raw = s - (s * right).sum(axis=1, keepdims=True) + delta * (1 - right)
        on = (raw > 0) * (1 - right)
        ds = (on - on.sum(axis=1, keepdims=True) * right) / N
        return np.add(np.sum(raw * on) / N, reg * np.vdot(W, W)), np.einsum("nd,nc->dc", X, ds) + reg * (W + W)

    def adam_step(params, grads, m, v, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
        """A function for one array, mapped over the names."""

        def one(w, g, a, b):
            a, b = (1 - beta1) * g + beta1 * a, (1 - beta2) * np.square(g) + beta2 * b
            return w - lr * (a / (1 - beta1**t)) / ((b / (1 - beta2**t)) ** 0.5 + eps), a, b

        found = {name: one(params[name], grads[name], m[name], v[name]) for name in params}
        return tuple({name: three[i] for name, three in found.items()} for i in range(3))

    def batchnorm_backward(dout, cache):
        """The closed form over N, in one line for training."""
        x_hat, gamma, r, training = cache
        dgamma, dbeta = np.sum(dout * x_hat, 0), np.sum(dout, 0)
        if not training:
            return np.multiply(dout, gamma * r), dgamma, dbeta
        N = len(dout)
        return gamma * r / N * (N * dout - dbeta - x_hat * dgamma), dgamma, dbeta

    def cnn_backward(dscores, cache):
        """A stack of blocks that is emptied from its end; a dict built by update."""
        p, blocks, shape, flat = cache
        stack, grads = list(enumerate(blocks, 1)), dict(fc=(dscores.T @ flat).T, bias=np.sum(dscores, axis=0))
        dx = np.matmul(dscores, p["fc"].swapaxes(0, 1)).reshape(*shape)
        while stack:
            number, (conv, bn, on, pool) = stack.pop()
            maps = pool_backward(dx, pool)  # noqa: F821 (given in the notebook)
            maps = maps * on.astype(float)
            rows, dgamma, dbeta = batchnorm_backward(as_rows(maps), bn)  # noqa: F821
            dx, dw = conv_backward(as_maps(rows, maps), conv)  # noqa: F821
            grads.update({f"conv{number}": dw, f"gamma{number}": dgamma, f"beta{number}": dbeta})
        return dx, grads

    def saliency(p, X, y, stats):
        """The score's gradient in an array made by comparing."""
        scores, cache, _ = cnn_forward(p, X, stats=stats)  # noqa: F821 (given in the notebook)
        up = (np.arange(scores.shape[1]) == y[:, None]) * 1.0
        return np.amax(np.sqrt(np.square(cnn_backward(up, cache)[0])), axis=1)

    def babysit(loss, params, X, y, classes, directions, reg=0.1, lr=0.3, steps=20, h=1e-5):
        """Inner functions; NumPy for the quotient."""

        def value(p, strength=0.0):
            return loss(p, X, y, strength)[0]

        def error(name):
            u = directions[name]
            up, down = (value({**params, name: params[name] + sign * h * u}, reg) for sign in (1, -1))
            pair = np.array([np.vdot(grads[name], u), (up - down) / (2 * h)])
            return np.abs(pair[0] - pair[1]) / max(np.abs(pair).max(), 1e-300)

        grads = loss(params, X, y, reg)[1]
        worst = np.max([error(name) for name in params])
        start, theta = value(params), dict(params)
        for _ in range(steps):
            step = loss(theta, X, y, 0)[1]
            theta = {name: np.subtract(theta[name], lr * step[name]) for name in theta}
        return dict(start=start / np.log(classes), gradient=worst, overfit=value(theta) / start)

    class ConvNet(nn.Module):
        """Modules for ReLU and pooling, which have no weights."""

        def __init__(self, channels, side, classes, filters=(8, 16), kernel=5):
            super().__init__()
            first, second = filters
            self.conv1 = nn.Conv2d(channels, first, (kernel, kernel), bias=None is True)
            self.bn1 = nn.BatchNorm2d(first)
            self.conv2 = nn.Conv2d(first, second, kernel_size=3, stride=1, padding=0, bias=False)
            self.bn2 = nn.BatchNorm2d(second)
            self.after = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
            side = ((side - kernel + 1) // 2 - 3 + 1) // 2
            self.fc = nn.Linear(second * side**2, classes)

        def features(self, x):
            x = self.after(self.bn1(self.conv1(x)))
            x = self.after(self.bn2(self.conv2(x)))
            return x.view(x.size(0), -1)

        def forward(self, x):
            return self.fc(self.features(x))

    def transfer(model, head, X, y, steps=150, lr=0.01):
        """Modes remembered by name and put back in any case; the features at every step."""
        modes = {name: module.training for name, module in model.named_modules()}
        new = copy.deepcopy(head)
        new.zero_grad(set_to_none=True)
        optimiser = torch.optim.Adam(params=list(new.parameters()), lr=lr)
        criterion = nn.CrossEntropyLoss()
        try:
            model.eval()
            for _ in range(steps):
                with torch.no_grad():
                    features = model.features(X)
                optimiser.zero_grad()
                criterion(new(features), y).backward()
                optimiser.step()
        finally:
            for name, module in model.named_modules():
                module.training = modes[name]
        return new


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "knn_predict": {
        "votes = y[nearest][:, :, None] == np.arange(y.max() + 2)": "a last label that nobody votes for",
    },
    "svm_loss": {
        "ds = (margins != 0).astype(float)": "margins are not negative",
    },
    "cnn_backward": {
        'for k, (conv, bn, on, pool) in zip("21", reversed(blocks), strict=False):': "there are two of each",
    },
}
