"""Correct implementations of 21 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell.
"""

from itertools import groupby

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def collapse(path, blank=0):
    """Runs of equal symbols, each once, without blanks."""
    return [int(symbol) for symbol, _ in groupby(path) if symbol != blank]


def extend_with_blanks(y, blank=0):
    """A list built label by label."""
    l, skip = [blank], [False]
    for u in range(len(y)):
        l += [int(y[u]), blank]
        skip += [u > 0 and bool(y[u] != y[u - 1]), False]
    return np.array(l), np.array(skip)


def ctc_alpha(logp, y, blank=0):
    """One state at a time, from a list of its predecessors."""
    l, skip = extend_with_blanks(y, blank)
    T, S = len(logp), len(l)
    log_alpha = np.full((T, S), -np.inf)
    for s in range(min(S, 2)):
        log_alpha[0, s] = logp[0, l[s]]
    for t in range(1, T):
        for s in range(S):
            before = [log_alpha[t - 1, s]]
            if s > 0:
                before.append(log_alpha[t - 1, s - 1])
            if skip[s]:
                before.append(log_alpha[t - 1, s - 2])
            m = max(before)
            if m > -np.inf:
                log_alpha[t, s] = m + np.log(sum(np.exp(v - m) for v in before)) + logp[t, l[s]]
    last = log_alpha[-1, -2:]
    m = last.max()
    loss = np.inf if m == -np.inf else -(m + np.log(np.exp(last - m).sum()))
    return float(loss), log_alpha


def edit_distance(a, b):
    """The whole table."""
    D = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    D[:, 0] = np.arange(len(a) + 1)
    D[0] = np.arange(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            D[i, j] = min(D[i - 1, j] + 1, D[i, j - 1] + 1, D[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
    return int(D[-1, -1])


def error_rate(refs, hyps):
    """Two counters in a loop."""
    edits = labels = 0
    for n in range(len(refs)):
        edits += edit_distance(hyps[n], refs[n])  # symmetric
        labels += len(refs[n])
    return edits / labels


def prefix_beam_search(logp, beam, blank=0, lm=None, a=0.0, b=0.0):
    """The language model multiplied into the masses when a prefix grows: a factor that all paths of a prefix share."""
    T, C = logp.shape
    blank_end, label_end = {(): 0.0}, {(): -np.inf}
    for t in range(T):
        new_blank, new_label = {}, {}
        for prefix in blank_end:
            both = np.logaddexp(blank_end[prefix], label_end[prefix])
            new_blank[prefix] = np.logaddexp(new_blank.get(prefix, -np.inf), both + logp[t, blank])
            for c in range(C):
                if c == blank:
                    continue
                previous = prefix[-1] if prefix else blank
                factor = b + (a * lm[previous, c] if lm is not None else 0.0)
                if prefix and c == prefix[-1]:
                    held = label_end[prefix] + logp[t, c]
                    new_label[prefix] = np.logaddexp(new_label.get(prefix, -np.inf), held)
                    mass = blank_end[prefix]
                else:
                    mass = both
                longer = (*prefix, c)
                new_label[longer] = np.logaddexp(new_label.get(longer, -np.inf), mass + logp[t, c] + factor)
        found = {
            q: np.logaddexp(new_blank.get(q, -np.inf), new_label.get(q, -np.inf)) for q in {**new_blank, **new_label}
        }
        kept = sorted(found, key=lambda q: -found[q])[:beam]
        blank_end = {q: new_blank.get(q, -np.inf) for q in kept}
        label_end = {q: new_label.get(q, -np.inf) for q in kept}
    best = max(kept, key=found.get)
    return list(best), float(found[best])


def ctc_beta(logp, y, blank=0):
    """The matrix of allowed steps, and one log-sum-exp per frame."""
    l, skip = extend_with_blanks(y, blank)
    S = len(l)
    allowed = np.full((S, S), -np.inf)  # from, to
    for s in range(S):
        allowed[s, s] = 0.0
        if s + 1 < S:
            allowed[s, s + 1] = 0.0
        if s + 2 < S and skip[s + 2]:
            allowed[s, s + 2] = 0.0
    log_beta = np.full((len(logp), S), -np.inf)
    log_beta[-1, max(S - 2, 0) :] = 0.0
    for t in range(len(logp) - 2, -1, -1):
        log_beta[t] = np.logaddexp.reduce(allowed + logp[t + 1, l] + log_beta[t + 1], axis=1)
    return log_beta


def ctc_grad(logits, y, blank=0):
    """Occupancies class by class, normalised frame by frame."""
    logp = log_softmax(logits)  # noqa: F821, given in the notebook
    loss, log_alpha = ctc_alpha(logp, y, blank)
    if loss == np.inf:
        return np.inf, 0.0 * logits
    joint = log_alpha + ctc_beta(logp, y, blank)
    gamma = np.exp(joint - joint.max(axis=1, keepdims=True))
    gamma /= gamma.sum(axis=1, keepdims=True)
    l, _ = extend_with_blanks(y, blank)
    return loss, np.stack([np.exp(logp[:, k]) - gamma[:, l == k].sum(axis=1) for k in range(logits.shape[1])], axis=1)


def rnn_ctc_backward(params, x, y):
    """Everything added up in one loop over time."""
    logits, h = rnn_forward(params, x)  # noqa: F821, given in the notebook
    loss, dz = ctc_grad(logits, y)
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    later = np.zeros(len(params["b"]))
    for t in range(len(x) - 1, -1, -1):
        grads["V"] += np.outer(h[t + 1], dz[t])
        grads["c"] += dz[t]
        da = (params["V"] @ dz[t] + params["Wh"] @ later) * (1 - h[t + 1] * h[t + 1])
        grads["Wx"] += np.outer(x[t], da)
        grads["Wh"] += np.outer(h[t], da)
        grads["b"] += da
        later = da
    return loss, grads


class DeepSpeechMini(nn.Module):
    """Real frames picked by a mask; each utterance through the GRU by itself."""

    def __init__(self, n_mel, n_class, hidden, kernel=5, stride=2):
        super().__init__()
        self.conv = nn.Conv1d(n_mel, hidden, kernel, stride, padding=kernel // 2)
        self.norm = nn.BatchNorm1d(hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, n_class)

    def forward(self, X, lens):
        H = self.conv(X.mT).mT
        k, d = self.conv.kernel_size[0], self.conv.stride[0]
        out_lens = torch.div(lens + 2 * self.conv.padding[0] - (k - 1) - 1, d, rounding_mode="floor") + 1
        real = torch.arange(H.shape[1]) < out_lens[:, None]
        parts = F.relu(self.norm(H[real])).split(out_lens.tolist())
        states = [self.gru(part[None])[0][0] for part in parts]
        return self.out(nn.utils.rnn.pad_sequence(states)).log_softmax(-1), out_lens


def sortagrad_batches(lens, B, epoch, order):
    """With argsort, and a batch that is filled up."""
    chosen = order if epoch else np.argsort(lens, kind="stable")
    batches = []
    for place, i in enumerate(chosen):
        if place % B == 0:
            batches.append([])
        batches[-1].append(int(i))
    return batches


def train_step(model, optimiser, X, lens, targets, max_norm):
    """Padded targets, one loss per utterance, and a norm by hand."""
    optimiser.zero_grad(set_to_none=True)
    logp, out_lens = model(X, lens)
    padded = nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=1)
    losses = F.ctc_loss(logp, padded, out_lens.tolist(), [len(y) for y in targets], reduction="none")
    loss = losses.mean()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.sqrt(sum((g**2).sum() for g in gradients))
    for g in gradients:
        g.mul_(torch.clamp(max_norm / (norm + 1e-6), max=1.0))
    optimiser.step()
    return float(loss.detach())


class Further:
    """A second set."""

    def ctc_alpha(logp, y, blank=0):
        """Powers of the matrix of allowed steps, row by row."""
        l, skip = extend_with_blanks(y, blank)
        reach = np.eye(len(l)) + np.eye(len(l), k=1) + np.eye(len(l), k=2) * skip
        allowed = np.where(reach > 0, 0.0, -np.inf)  # from, to
        rows = [np.where(np.arange(len(l)) < 2, logp[0, l], -np.inf)]
        for frame in logp[1:]:
            rows.append(frame[l] + np.logaddexp.reduce(rows[-1][:, None] + allowed, axis=0))
        return float(-np.logaddexp.reduce(rows[-1][-2:])), np.array(rows)

    def collapse(path, blank=0):
        """With NumPy."""
        path = np.asarray(path, dtype=int)
        new = np.ones(len(path), dtype=bool)
        new[1:] = path[1:] != path[:-1]
        return path[new & (path != blank)].tolist()

    def ctc_grad(logits, y, blank=0):
        """Through the gradient at the log-probabilities; 0/0 of an impossible target, dropped by np.where."""
        logp = log_softmax(logits)  # noqa: F821, given in the notebook
        loss, log_alpha = ctc_alpha(logp, y, blank)
        joint = log_alpha + ctc_beta(logp, y, blank)
        gamma = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
        dlogp = -gamma @ np.eye(logits.shape[1])[extend_with_blanks(y, blank)[0]]
        return loss, np.where(np.isinf(loss), 0.0, dlogp - np.exp(logp) * dlogp.sum(axis=1, keepdims=True))

    def rnn_ctc_backward(params, x, y):
        """With the gradient at the input besides."""
        logits, h = rnn_forward(params, x)  # noqa: F821, given in the notebook
        loss, dz = ctc_grad(logits, y)
        da = np.zeros_like(h)
        for t in range(len(x))[::-1]:
            da[t] = (params["V"] @ dz[t] + params["Wh"] @ da[t + 1]) * (1 - h[t + 1]) * (1 + h[t + 1])
        da = da[:-1]
        grads = {"x": da @ params["Wx"].T, "c": dz.sum(axis=0), "V": np.einsum("th,tc->hc", h[1:], dz)}
        return loss, grads | {"b": da.sum(axis=0), "Wh": h[:-1].T @ da, "Wx": x.T @ da}

    def sortagrad_batches(lens, B, epoch, order):
        """Equal lengths the other way round, in tuples."""
        if epoch == 0:
            order = sorted(range(len(lens)), key=lambda i: (lens[i], -i))
        return [tuple(order[start : start + B]) for start in range(0, len(lens), B)]

    def train_step(model, optimiser, X, lens, targets, max_norm):
        """Utterance by utterance, and a norm that is reached exactly."""
        model.zero_grad()
        logp, out_lens = model(X, lens)
        ends = out_lens.tolist()
        loss = sum(
            F.ctc_loss(logp[:n, i], y, [n], [len(y)], reduction="sum") / len(targets)
            for i, (n, y) in enumerate(zip(ends, targets, strict=True))
        )
        loss.backward()
        norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in model.parameters()]))
        if norm > max_norm:
            for p in model.parameters():
                p.grad *= max_norm / norm
        optimiser.step()
        return loss.detach()


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "error_rate": {
        "edits = sum(edit_distance(ref, hyp) for ref, hyp in zip(refs, hyps, strict=False))": "there are as many "
        "hypotheses as references",
    },
    "DeepSpeechMini": {
        "kernel, stride = self.conv.kernel_size[-1], self.conv.stride[0]": "the convolution has one dimension",
        "kernel, stride = self.conv.kernel_size[0], self.conv.stride[-1]": "the convolution has one dimension",
    },
    "sortagrad_batches": {"if epoch <= 0:": "epochs count from 0"},
}
