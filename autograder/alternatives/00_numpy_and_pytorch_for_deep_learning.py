"""Correct implementations of 00 unlike the reference; a class that is no exercise holds a further set of them.

Each is put in the place of its exercise's cell, so it may use the imports of the notebook and nothing of this file but
its imports. `mlp_forward` and `mlp_backward` share a cache, so they come in pairs.
"""

import math
from collections import Counter

import numpy as np
import torch
from torch import nn


def one_hot(y, K):
    """Every label against every class."""
    return (y[:, None] == np.arange(K)).astype(np.float64)


def pairwise_sq_dists(A, B):
    """All differences at once: more memory, and never below zero by itself."""
    return np.sum((A[:, None, :] - B[None, :, :]) ** 2, axis=2)


def log_softmax(z, axis=-1):
    """The logarithm of the sum by pairs, so that nothing overflows on the way."""
    return z - np.expand_dims(np.logaddexp.reduce(z, axis=axis), axis)


def cross_entropy(logits, y):
    """The targets as a matrix of zeros and ones."""
    N, K = logits.shape
    return -np.sum(np.eye(K)[y] * log_softmax(logits, axis=1)) / N


def mlp_forward(params, X):
    """The bias as one more input that is always 1."""
    ones = np.ones((len(X), 1))
    h = np.tanh(np.hstack([X, ones]) @ np.vstack([params["W1"], params["b1"]]))
    logits = np.hstack([h, ones]) @ np.vstack([params["W2"], params["b2"]])
    return logits, {"X": X, "h": h, "params": params}


def mlp_backward(dlogits, cache):
    """Sums over the batch with einsum."""
    h = cache["h"]
    da = (1 - h) * (1 + h) * np.einsum("nk,hk->nh", dlogits, cache["params"]["W2"])
    return {
        "b2": np.einsum("nk->k", dlogits),
        "W2": np.einsum("nh,nk->hk", h, dlogits),
        "b1": np.einsum("nh->h", da),
        "W1": np.einsum("nd,nh->dh", cache["X"], da),
    }


def numerical_grad(f, x, h=1e-5):
    """Copies of x, so that x itself is never touched."""
    slopes = []
    for i in range(x.size):
        move = np.zeros(x.size)
        move[i] = h
        move = move.reshape(x.shape)
        slopes.append((f(x + move) - f(x - move)) / h / 2)
    return np.array(slopes).reshape(x.shape)


def unbroadcast(g, shape):
    """One axis after the other."""
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    for axis, length in enumerate(shape):
        if g.shape[axis] != length:
            g = np.expand_dims(g.sum(axis=axis), axis)
    return g


class Value:
    """Each operation leaves a function that passes the gradient on; the order comes from counting uses."""

    def __init__(self, data, operands=()):
        self.data, self.grad = data, 0.0
        self._prev, self._pass_on = operands, lambda: None

    def _made(self, data, operands, *local):
        made = Value(data, operands)

        def pass_on():
            for operand, derivative in zip(operands, local, strict=True):
                operand.grad += derivative * made.grad

        made._pass_on = pass_on
        return made

    def __add__(self, other):
        return self._made(self.data + other.data, (self, other), 1.0, 1.0)

    def __mul__(self, other):
        return self._made(self.data * other.data, (self, other), other.data, self.data)

    def __pow__(self, n):
        return self._made(self.data**n, (self,), n * self.data ** (n - 1))

    def tanh(self):
        """By the exponential."""
        e = math.exp(-2 * abs(self.data))
        return self._made(math.copysign((1 - e) / (1 + e), self.data), (self,), 4 * e / (1 + e) ** 2)

    def relu(self):
        """Zero or the number."""
        return self._made(self.data * (self.data > 0), (self,), float(self.data > 0))

    def exp(self):
        """Its own derivative."""
        return self._made(math.exp(self.data), (self,), math.exp(self.data))

    def log(self):
        """The natural one."""
        return self._made(math.log(self.data), (self,), self.data**-1)

    def backward(self):
        """Pass on what nobody will add to any more (Kahn's algorithm, without recursion)."""
        uses, reached, queue = Counter(), {self}, [self]
        while queue:
            for operand in queue.pop()._prev:
                uses[operand] += 1
                if operand not in reached:
                    reached.add(operand)
                    queue.append(operand)
        for value in reached:
            value.grad = 0.0
        self.grad, queue = 1.0, [self]
        while queue:
            value = queue.pop()
            value._pass_on()
            for operand in value._prev:
                uses[operand] -= 1
                if not uses[operand]:
                    queue.append(operand)


class MLP(nn.Module):
    """The parts are registered in another order and by name, and applied without being called."""

    def __init__(self, D, H, K):
        nn.Module.__init__(self)
        self.add_module("readout", nn.Linear(H, K))
        self.register_module("hidden", nn.Linear(D, H))

    def forward(self, X):
        """Matrix products written out."""
        h = (torch.einsum("nd,hd->nh", X, self.hidden.weight) + self.hidden.bias).tanh()
        return torch.addmm(self.readout.bias, h, self.readout.weight.T)


class Softplus(torch.autograd.Function):
    """The slope is computed in the forward pass, and saved in place of the input."""

    @staticmethod
    def forward(ctx, x):
        """Both halves of the line."""
        small = torch.exp(-torch.abs(x))
        ctx.save_for_backward(torch.where(x >= 0, 1.0, small) / (1 + small))
        return torch.relu(x) + torch.log1p(small)

    @staticmethod
    def backward(ctx, dout):
        """One product."""
        return ctx.saved_tensors[0].mul(dout)


def train(model, X, y, lr, steps):
    """With torch's optimiser; the loss as a sum of picked log-probabilities."""
    optimiser = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        log_p = torch.log_softmax(model(X), dim=1)
        loss = -log_p[torch.arange(len(y)), y].sum() / len(y)
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    return losses


class Further:
    """A second set: loops in place of arrays, and other ways to the same gradients."""

    def one_hot(y, K):
        """Rows of the identity."""
        return np.eye(K)[y]

    def pairwise_sq_dists(A, B):
        """Two loops."""
        D = np.empty((len(A), len(B)))
        for n, a in enumerate(A):
            for m, b in enumerate(B):
                D[n, m] = (a - b) @ (a - b)
        return D

    def log_softmax(z, axis=-1):
        """The axis moved to the end; the maximum and the logarithm of the sum put together first."""
        z = np.moveaxis(z, axis, -1)
        m = z.max(axis=-1)[..., None]
        total = m + np.log(np.sum(np.exp(z - m), axis=-1)[..., None])
        return np.moveaxis(z - total, -1, axis)

    def cross_entropy(logits, y):
        """Example by example, from logits relative to that of the true class."""
        return np.mean([np.logaddexp.reduce(row - row[label]) for row, label in zip(logits, y, strict=True)])

    def mlp_forward(params, X):
        """Row by row."""
        h = np.array([np.tanh(params["b1"] + params["W1"].T @ x) for x in X])
        logits = np.array([params["b2"] + params["W2"].T @ row for row in h])
        return logits, [X.copy(), h, params["W2"].copy(), 1 - h**2]

    def mlp_backward(dlogits, cache):
        """One matrix product per layer; the biases by a product with ones."""
        X, h, W2, slope = cache
        da = (W2 @ dlogits.T).T * slope
        ones = np.ones(len(X))
        return {"W1": (da.T @ X).T, "b1": ones @ da, "W2": (dlogits.T @ h).T, "b2": ones @ dlogits}

    def numerical_grad(f, x, h=1e-5):
        """In place through a flat iterator."""
        grad = np.empty_like(x)
        for i, value in enumerate(x.flat):
            pair = []
            for moved in (value + h, value - h):
                x.flat[i] = moved
                pair.append(f(x))
            x.flat[i] = value
            grad.flat[i] = 0.5 * (pair[0] - pair[1]) / h
        return grad

    def unbroadcast(g, shape):
        """All axes in one sum, then the shape."""
        padded = (1,) * (g.ndim - len(shape)) + tuple(shape)
        axes = tuple(axis for axis, length in enumerate(padded) if length == 1)
        return np.sum(g, axis=axes).reshape(shape)

    class Value(Node):  # noqa: F821 (given in the notebook)
        """On the given part, without recursion."""

        def __mul__(self, other):
            return Value(self.data * other.data, (self, other), (other.data, self.data), "*")

        def tanh(self):
            """By expm1, which keeps the digits of small numbers."""
            e = math.expm1(-2 * abs(self.data))
            t = math.copysign(e / (e + 2), self.data)
            return Value(t, (self,), ((1 - t) * (1 + t),), "tanh")

        def backward(self):
            """An explicit stack; a value is listed when it comes up the second time."""
            order, seen, stack = [], set(), [(self, False)]
            while stack:
                value, ready = stack.pop()
                if ready:
                    order.append(value)
                elif id(value) not in seen:
                    seen.add(id(value))
                    value.grad = 0.0
                    stack.append((value, True))
                    stack.extend((operand, False) for operand in value._prev)
            self.grad = 1.0
            while order:
                value = order.pop()
                for operand, local in zip(value._prev, value._local, strict=True):
                    operand.grad = operand.grad + value.grad * local

    class Softplus(torch.autograd.Function):
        """The logarithm of a sum of two exponentials, and a slope by tanh."""

        @staticmethod
        def forward(ctx, x):
            """ln(e^x + e^0)."""
            ctx.x = x
            return torch.logaddexp(x, torch.zeros_like(x))

        @staticmethod
        def backward(ctx, dout):
            """σ(x) = e^(x - s(x))."""
            return dout * torch.exp(ctx.x - torch.logaddexp(ctx.x, torch.zeros_like(ctx.x)))

    def train(model, X, y, lr, steps):
        """Gradients from torch.autograd.grad, which adds to nothing."""
        parameters, losses = list(model.parameters()), []
        while len(losses) < steps:
            loss = torch.nn.functional.nll_loss(model(X).log_softmax(dim=1), y)
            grads = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, grad in zip(parameters, grads, strict=True):
                    parameter.sub_(grad, alpha=lr)
            losses.append(loss.detach().numpy()[()])
        return [float(loss) for loss in losses]


class Others:
    """A third set: what is unusual and right."""

    def pairwise_sq_dists(A, B):
        """One matrix product of points with two more coordinates."""
        left = np.hstack([-2 * A, np.sum(A * A, axis=1, keepdims=True), np.ones((len(A), 1))])
        right = np.hstack([B, np.ones((len(B), 1)), np.sum(B * B, axis=1, keepdims=True)])
        return np.abs(left @ right.T)

    def log_softmax(z, axis=-1):
        """The largest logit is left out of the sum, and comes back as the 1 of log1p."""
        largest = np.expand_dims(z.argmax(axis), axis)
        shifted = z - np.take_along_axis(z, largest, axis)
        e = np.exp(shifted)
        np.put_along_axis(e, largest, 0.0, axis)
        return shifted - np.log1p(e.sum(axis, keepdims=True))

    def cross_entropy(logits, y):
        """The diagonal of a table of every row at every label."""
        return -np.trace(log_softmax(logits)[:, y]) / y.size

    def numerical_grad(f, x, h=1e-5):
        """Divided by the step that was really taken."""
        grad = np.empty(x.shape)
        for i in np.ndindex(x.shape):
            up, down = x.copy(), x.copy()
            up[i] += h
            down[i] -= h
            grad[i] = (f(up) - f(down)) / (up[i] - down[i])
        return grad

    def unbroadcast(g, shape):
        """By Einstein's summation: letters that are left out are summed."""
        letters = "abcdefgh"[: g.ndim]
        partners = zip(letters[g.ndim - len(shape) :], shape, strict=True)
        kept = "".join(letter for letter, length in partners if length != 1)
        return np.einsum(f"{letters}->{kept}", g).reshape(shape)

    class MLP(nn.Sequential):
        """Named parts of a Sequential, which brings its own forward."""

        def __init__(self, D, H, K):
            super().__init__()
            self.hidden = nn.Linear(D, H)
            self.squash = nn.Tanh()
            self.readout = nn.Linear(H, K)

    class Softplus(torch.autograd.Function):
        """The slope from the output: 1 - e^(-s)."""

        @staticmethod
        def forward(ctx, x):
            """Two halves, each where it is safe."""
            out = torch.where(x > 0, x + torch.log1p(torch.exp(-x)), torch.log1p(torch.exp(x)))
            ctx.save_for_backward(out)
            return out

        @staticmethod
        def backward(ctx, dout):
            """Without a loss of digits where s is tiny."""
            return -torch.expm1(-ctx.saved_tensors[0]) * dout


EQUIVALENT = {
    "one_hot": {
        "Y = np.zeros((y.shape[-1], K))": "y has one axis, which is both its first and its last",
        "Y[np.arange(y.shape[-1]), y] = 1.0": "y has one axis, which is both its first and its last",
    },
    "unbroadcast": {
        "stretched = tuple(axis for axis, length in enumerate(shape) if length <= 1)": (
            "an axis of length 0 holds nothing that could have been stretched"
        ),
    },
    "Value": {
        "for operand, local in zip(value._prev, value._local, strict=False):": "both are always equally long",
    },
}
