"""Correct implementations of 02 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches.
"""

from collections import defaultdict

import numpy as np
import torch
from torch import nn


def make_batches(ids, B, T):
    """Places first, characters after."""
    N = (len(ids) - 1) // (B * T)
    n, b, t = np.ogrid[:N, :B, :T]
    places = b * (N * T) + n * T + t
    return ids[places], ids[places + 1]


def ngram_bits(train, test, n, V, k):
    """One pass over the training text that counts all orders; then a recursion per scored character."""
    train, test = train.tolist(), test.tolist()
    counts = defaultdict(lambda: defaultdict(int))
    for i, character in enumerate(train):
        for m in range(min(n - 1, i) + 1):
            counts[tuple(train[i - m : i])][character] += 1

    def probability(character, context):
        shorter = probability(character, context[1:]) if context else 1 / V
        followers = counts.get(context, {})
        return (followers.get(character, 0) + k * shorter) / (sum(followers.values()) + k)

    scored = range(n - 1, len(test))
    return sum(-np.log(probability(test[i], tuple(test[i - n + 1 : i]))) for i in scored) / np.log(2) / len(scored)


def rnn_forward(params, x, h0):
    """Dense one-hot vectors; writes into an array that is made beforehand; a dict as the cache."""
    onehot = (x[..., None] == np.arange(len(params["Wx"]))).astype(float)
    Hs = np.empty((*x.shape, h0.shape[1]))
    before = h0
    for t in range(x.shape[1]):
        Hs[:, t] = np.tanh(onehot[:, t] @ params["Wx"] + params["bh"] + np.einsum("bi,ij->bj", before, params["Wh"]))
        before = Hs[:, t]
    return Hs, {"params": params, "onehot": onehot, "states": np.concatenate([h0[:, None], Hs], axis=1)}


def bits_per_char(params, ids, T):
    """All surprises in a list; the chunks by splitting."""
    state, surprises = np.zeros((1, len(params["bh"]))), []
    places = np.arange(1, len(ids))
    for chunk in np.split(places, places[T - 1 : -1 : T]):
        Hs, _ = rnn_forward(params, ids[chunk - 1].reshape(1, -1), state)
        state = Hs[:, -1, :]
        z = readout(params, Hs)[0]  # noqa: F821 (given in the notebook)
        surprises.extend(np.logaddexp.reduce(z, axis=1) - np.take_along_axis(z, ids[chunk][:, None], axis=1)[:, 0])
    return np.mean(surprises) / np.log(2)


def sample(params, first, h, u, temperature):
    """Row by row, with a binary search among the running sums."""
    out = np.zeros(u.shape, dtype=int)
    for b in range(len(u)):
        x, state = first[b], h[b]
        for t, draw in enumerate(u[b]):
            state = np.tanh(params["Wx"][x] + state @ params["Wh"] + params["bh"])
            z = (state @ params["Wy"] + params["by"]) / temperature
            weights = np.exp(z - z.max())
            sums = np.cumsum(weights / weights.sum())
            x = out[b, t] = min(int(np.searchsorted(sums, draw, side="right")), len(sums) - 1)
    return out


def rnn_backward(dHs, cache):
    """All da first, then each gradient in one product over batch and time."""
    Wh, onehot, states = cache["params"]["Wh"], cache["onehot"], cache["states"]
    slopes = 1 - states[:, 1:] * states[:, 1:]
    da = np.zeros_like(dHs)
    back = np.zeros_like(dHs[:, 0])
    for t in range(dHs.shape[1] - 1, -1, -1):
        da[:, t] = slopes[:, t] * (back + dHs[:, t])
        back = np.einsum("bj,ij->bi", da[:, t], Wh)
    grads = {
        "Wx": np.tensordot(onehot, da, axes=((0, 1), (0, 1))),
        "Wh": np.tensordot(states[:, :-1], da, axes=((0, 1), (0, 1))),
        "bh": np.ones(da.shape[0] * da.shape[1]) @ da.reshape(-1, da.shape[2]),
    }
    return grads, back


def loss_and_grads(params, x, y, h0):
    """Targets picked by index; the gradient of the scores changed in place."""
    Hs, cache = rnn_forward(params, x, h0)
    z = readout(params, Hs)  # noqa: F821 (given in the notebook)
    total = np.logaddexp.reduce(z, axis=-1, keepdims=True)
    rows, columns = np.indices(y.shape)
    loss = np.mean(total[..., 0] - z[rows, columns, y])
    dz = np.exp(z - total)
    dz[rows, columns, y] -= 1
    dz /= x.shape[0] * x.shape[1]
    recurrent, _ = rnn_backward(np.einsum("btv,hv->bth", dz, params["Wy"]), cache)
    Wy = sum(Hs[:, t].T @ dz[:, t] for t in range(x.shape[1]))
    return loss, {**recurrent, "Wy": Wy, "by": dz.sum(axis=0).sum(axis=0)}, Hs[:, -1, :].copy()


def clip_by_global_norm(grads, max_norm):
    """One long vector; a branch."""
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in grads.values()]))
    if norm <= max_norm:
        return {name: g.copy() for name, g in grads.items()}, norm
    return {name: g * (max_norm / norm) for name, g in grads.items()}, norm


def adagrad_step(params, grads, memory, lr):
    """A loop over names, on copies."""
    new_params, new_memory = {}, {}
    for name in params:
        new_memory[name] = memory[name].copy()
        new_memory[name] += grads[name] * grads[name]
        new_params[name] = params[name] - (lr * grads[name]) / (new_memory[name] ** 0.5 + 1e-8)
    return new_params, new_memory


class CharRNN(nn.Module):
    """Rows of an identity matrix as one-hot vectors; the state made explicitly."""

    def __init__(self, V, H):
        super().__init__()
        self.rnn = nn.RNN(V, H, batch_first=True)
        self.readout = nn.Linear(H, V)
        nn.init.normal_(self.rnn.weight_ih_l0)

    def forward(self, x, h=None):
        bias = self.readout.bias
        if h is None:
            h = bias.new_zeros(1, x.shape[0], self.rnn.hidden_size)
        onehot = torch.eye(len(bias), dtype=bias.dtype, device=bias.device)[x]
        Hs, last = self.rnn(onehot, h)
        return Hs @ self.readout.weight.T + bias, last


def train_chunk(model, optimiser, x, y, h, max_norm):
    """Classes moved to axis 1; gradients cleared by hand and clipped by hand, as PyTorch does it."""
    z, after = model(x, h)
    loss = nn.functional.cross_entropy(z.transpose(1, 2), y)
    for parameter in model.parameters():
        parameter.grad = None
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    norm = torch.stack([(g**2).sum() for g in gradients]).sum().sqrt()
    for g in gradients:
        g.mul_(min(1.0, max_norm / (norm.item() + 1e-6)))
    optimiser.step()
    return float(loss), after.detach()


class Further:
    """A second set."""

    def make_batches(ids, B, T):
        """Streams one by one."""
        S = (len(ids) - 1) // (B * T) * T
        x = np.stack([ids[b * S : (b + 1) * S] for b in range(B)])
        y = np.stack([ids[b * S + 1 : (b + 1) * S + 1] for b in range(B)])
        return np.stack(np.split(x, S // T, axis=1)), np.stack(np.split(y, S // T, axis=1))

    def rnn_forward(params, x, h0):
        """The input's part of all steps at once; every pre-activation kept."""
        from_x = params["Wx"][x] + params["bh"]
        h = [h0]
        for t in range(x.shape[1]):
            h.append(np.tanh(h[-1] @ params["Wh"] + from_x[:, t]))
        return np.array(h[1:]).transpose(1, 0, 2), (params, x, h)

    def rnn_backward(dHs, cache):
        """Row by row of the batch where characters repeat."""
        params, x, h = cache
        dWx, dWh, dbh = np.zeros_like(params["Wx"]), 0.0, 0.0
        carried = 0.0
        for t in range(x.shape[1], 0, -1):
            da = (dHs[:, t - 1] + carried) / np.cosh(np.arctanh(h[t])) ** 2
            for b, character in enumerate(x[:, t - 1]):
                dWx[character] += da[b]
            dWh, dbh = dWh + h[t - 1].T @ da, dbh + da.sum(axis=0)
            carried = da @ params["Wh"].T
        return {"Wx": dWx, "Wh": dWh, "bh": dbh}, carried

    def train_chunk(model, optimiser, x, y, h, max_norm):
        """The loss from log-probabilities that are gathered."""
        z, h = model(x, h)
        loss = -z.log_softmax(dim=2).gather(2, y[..., None]).mean()
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(list(model.parameters()), max_norm)
        optimiser.step()
        return loss.detach().item(), h.data

    def sample(params, first, h, u, temperature):
        """The first running sum above u, where the last is set to 1; a temperature of log-probabilities."""
        x, written = first, []
        for u_t in u.T:
            h = rnn_forward(params, x[:, None], h)[0][:, 0]
            logp = log_softmax(readout(params, h))  # noqa: F821 (given in the notebook)
            sums = np.cumsum(np.exp(log_softmax(logp / temperature)), axis=1)  # noqa: F821
            sums[:, -1] = 1.0
            x = np.argmax(sums > u_t[:, None], axis=1)
            written.append(x)
        return np.array(written).T

    def bits_per_char(params, ids, T):
        """The whole text at once: the result does not depend on T."""
        Hs, _ = rnn_forward(params, ids[None, :-1], np.zeros((1, len(params["bh"]))))
        logp = log_softmax(readout(params, Hs))[0]  # noqa: F821 (given in the notebook)
        return -np.take_along_axis(logp, ids[1:, None], axis=1).mean() * np.log2(np.e)

    def clip_by_global_norm(grads, max_norm):
        """A division that warns and is dropped where the norm is zero."""
        norm = np.sqrt(sum((g * g).sum() for g in grads.values()))
        factor = np.where(norm > max_norm, max_norm / norm, 1.0)
        return {name: g * factor for name, g in grads.items()}, norm


class Third:
    """A third."""

    def train_chunk(model, optimiser, x, y, h, max_norm):
        """Clipping by equation (12) exactly, where PyTorch adds 1e-6 to the norm."""
        z, h = model(x, h)
        loss = nn.functional.cross_entropy(z.movedim(2, 1), y)
        optimiser.zero_grad(set_to_none=False)
        loss.backward()
        norm = torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in model.parameters()]))
        for parameter in model.parameters():
            parameter.grad *= min(1.0, max_norm / norm.item())
        optimiser.step()
        return loss.item(), h.detach()


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "bits_per_char": {
        "logp = log_softmax(readout(params, Hs[-1]))": "the batch has one row, which is the first and the last",
    },
    "sample": {
        "h = Hs[:, -0]": "one character is read at a time, so the first state is the last",
    },
    "rnn_backward": {
        'grads = {"Wx": np.zeros_like(Wx), "Wh": np.zeros_like(Wh), "bh": np.zeros(Wh.shape[-1])}': "Wh is square",
        'grads = {"Wx": np.zeros_like(Wx), "Wh": np.zeros_like(Wh), "bh": np.zeros(Wh.shape[1])}': "Wh is square",
        "before = Hs[:, t - 1] if t != 0 else h0": "t is never negative",
    },
}
