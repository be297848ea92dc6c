"""Correct implementations of 09 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def balanced_partition(costs, K):
    """Tries every sum of consecutive costs as the limit, smallest first; then fills cells from the back."""
    L = len(costs)
    limits = sorted({float(np.sum(costs[i:j])) for i in range(L) for j in range(i + 1, L + 1)})

    def fill(limit):
        cells, stop = [], L
        for k in range(K, 0, -1):
            start = stop - 1
            while start >= k and float(np.sum(costs[start - 1 : stop])) <= limit * (1 + 1e-12):
                start -= 1
            cells.append([start, stop])
            stop = start
        return cells[::-1]

    low, high = 0, len(limits) - 1
    while low < high:
        middle = (low + high) // 2
        cells = fill(limits[middle])
        fits = cells[0][0] == 0 and all(np.sum(costs[i:j]) <= limits[middle] * (1 + 1e-12) for i, j in cells)
        low, high = (low, middle) if fits else (middle + 1, high)
    return fill(limits[low])


def gpipe_schedule(K, M, tf=1.0, tb=2.0):
    """From the closed form; micro-batches go back in the order in which they came, and the list is sorted by time."""
    events = []
    for k in range(K):
        for m in range(M):
            events.append(["F", k, m, (k + m) * tf, (k + m + 1) * tf])
            start = (M + K - 1) * tf + (K - 1 - k + m) * tb
            events.append(["B", k, m, start, start + tb])
    return sorted(events, key=lambda event: event[3])


def bubble_fraction(events, K):
    """The gaps of each device, one by one."""
    first, last = min(e[3] for e in events), max(e[4] for e in events)
    idle = 0.0
    for k in range(K):
        clock = first
        for _, _, _, start, end in sorted((e for e in events if e[1] == k), key=lambda e: e[3]):
            idle += start - clock
            clock = end
        idle += last - clock
    return idle / K / (last - first)


def peak_activations(events, layers, sizes, remat):
    """Looks at the middle of every operation and adds up what is there."""
    peaks = [0] * len(layers)
    spans = {}
    for op, k, m, start, end in events:
        spans.setdefault((k, m), {})[op] = (start, end)
    for op, k, m, start, end in events:
        now, rows = (start + end) / 2, 0
        for (device, other), times in spans.items():
            if device == k and times["F"][0] <= now <= times["B"][1]:
                rows += sizes[other] * (1 if remat else layers[k])
        if remat and op == "B":
            rows += sizes[m] * (layers[k] - 1)
        peaks[k] = max(peaks[k], rows)
    return peaks


def stage_backward(dout, cache):
    """Fills a list from the back; the derivative from the hyperbolic cosine; sums as products."""
    grads = [None] * len(cache)
    for i in range(len(cache) - 1, -1, -1):
        W, t, r = cache[i]
        grads[i] = np.einsum("nd,ne->de", t * r, dout), np.ones(len(dout)) @ dout
        dout = np.einsum("ne,de->nd", dout, W) * (r - r * t * t)
    return dout, grads


def pipeline_grads(stages, X, y, M, loss=None):
    """All forward passes first, as in GPipe; weights by the sizes, divided by N at the very end."""
    loss = loss or cross_entropy  # noqa: F821
    parts = list(zip(np.array_split(X, M), np.array_split(y, M), strict=True))
    waiting = []
    for x, labels in parts:
        caches = []
        for stage in stages:
            x, cache = stage_forward(stage, x)  # noqa: F821
            caches.append(cache)
        value, dx = loss(x, labels)
        waiting.append((caches, value, dx.copy(), len(labels)))
    total = sum(n * value for _, value, _, n in waiting) / len(X)
    summed = [[[0.0, 0.0] for _ in stage] for stage in stages]
    for caches, _, dx, n in waiting[::-1]:
        for k in range(len(stages) - 1, -1, -1):
            dx, grads = stage_backward(dx, caches[k])
            for pair, (dW, db) in zip(summed[k], grads, strict=True):
                pair[0] = pair[0] + n * dW
                pair[1] = pair[1] + n * db
    return float(total), [[(dW / len(X), db / len(X)) for dW, db in stage] for stage in summed]


def remat_backward(dout, cache):
    """A generator around a bit generator of its own."""
    stage, x, p, state = cache
    bits = np.random.PCG64()
    bits.state = state
    return stage_backward(dout, stage_forward(stage, x, p, np.random.Generator(bits))[1])  # noqa: F821


class PipelineModel(nn.Module):
    """Cells appended one by one; recomputing chosen by a list of functions."""

    def __init__(self, layers, cuts, remat):
        super().__init__()
        self.cells = nn.ModuleList()
        for start, stop in cuts:
            cell = nn.Sequential()
            for layer in layers[start:stop]:
                cell.append(layer)
            self.cells.append(cell)
        self.remat = remat

    def forward(self, x):
        for k in range(len(self.cells)):
            if self.remat:
                x = checkpoint(lambda x, k=k: self.cells[k](x), x, use_reentrant=False, preserve_rng_state=True)
            else:
                x = self.cells[k].forward(x)
        return x


def microbatch_step(model, X, y, M, optimiser):
    """Sums of losses in place of means; gradients cleared through the model."""
    for parameter in model.parameters():
        parameter.grad = None
    losses = []
    for rows in np.array_split(np.arange(len(X)), M):
        scores = model(X[rows[0] : rows[-1] + 1])
        loss = -scores.log_softmax(dim=1)[range(len(rows)), y[rows[0] : rows[-1] + 1]].sum() / len(X)
        loss.backward()
        losses.append(float(loss.detach()))
    optimiser.step()
    return sum(losses)


def saved_bytes(run, parameters):
    """Keeps the storages themselves, so that no address can be used again while the account is open."""
    storages = []
    known = [p.untyped_storage().data_ptr() for p in parameters]

    def pack(t):
        storages.append(t.untyped_storage())
        return t

    def unpack(t):
        return t

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, unpack)
    hooks.__enter__()
    try:
        result = run()
    finally:
        hooks.__exit__(None, None, None)
    sizes = {}
    for storage in storages:
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = len(storage)
    return result, sum(sizes.values())


class Checkpoint(torch.autograd.Function):
    """Asks for one gradient after the other, and puts the generator back by hand."""

    @staticmethod
    def forward(ctx, cell, x, *parameters):
        ctx.run = cell
        ctx.save_for_backward(x.detach())
        ctx.before = torch.get_rng_state()
        with torch.no_grad():
            return cell(x)

    @staticmethod
    def backward(ctx, dout):
        now = torch.get_rng_state()
        torch.set_rng_state(ctx.before)
        inner = ctx.saved_tensors[0].clone().requires_grad_(True)
        with torch.set_grad_enabled(True):
            out = ctx.run(inner)
        torch.set_rng_state(now)
        wanted = [inner, *ctx.run.parameters()]
        return (None, *[torch.autograd.grad(out, t, dout, retain_graph=True)[0] for t in wanted])


class Further:
    """A second set."""

    def balanced_partition(costs, K):
        """The recurrence from the other end, by recursion with a memory."""
        from functools import cache

        L = len(costs)

        @cache
        def best(start, k):
            if k == 1:
                return float(np.sum(costs[start:])), ((start, L),)
            options = []
            for stop in range(start + 1, L - k + 2):
                value, cells = best(stop, k - 1)
                options.append((max(value, float(np.sum(costs[start:stop]))), ((start, stop), *cells)))
            return min(options)

        return list(best(0, K)[1])

    def gpipe_schedule(K, M, tf=1.0, tb=2.0):
        """Devices as queues: whoever can start earliest goes next; integers where they fit."""
        queue = {k: [("F", m) for m in range(M)] + [("B", m) for m in range(M)] for k in range(K)}
        ended, free, events = {}, dict.fromkeys(range(K), 0), []
        while any(queue.values()):
            for k in range(K):
                while queue[k]:
                    op, m = queue[k][0]
                    other = k - 1 if op == "F" else k + 1
                    if 0 <= other < K and (op, other, m) not in ended:
                        break
                    queue[k].pop(0)
                    start = max(free[k], ended.get((op, other, m), 0))
                    free[k] = ended[op, k, m] = start + (tf if op == "F" else tb)
                    events.append((op, k, m, start, free[k]))
        return events

    class Checkpoint(torch.autograd.Function):
        """Saves the parameters too, which takes no memory; only asks for the gradients that are wanted."""

        @staticmethod
        def forward(ctx, cell, x, *parameters):
            ctx.cell = cell
            ctx.rng = torch.random.get_rng_state()
            ctx.save_for_backward(x, *parameters)
            return cell(x)

        @staticmethod
        def backward(ctx, dout):
            x, *parameters = ctx.saved_tensors
            inputs = [x.detach().requires_grad_(ctx.needs_input_grad[1]), *parameters]
            wanted = [i for i, tensor in enumerate(inputs) if tensor.requires_grad]
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(ctx.rng)
                with torch.enable_grad():
                    loss = torch.sum(ctx.cell(inputs[0]) * dout)
            found = torch.autograd.grad(loss, [inputs[i] for i in wanted])
            result = [None] * len(inputs)
            for i, gradient in zip(wanted, found, strict=True):
                result[i] = gradient
            return None, *result

    def microbatch_step(model, X, y, M, optimiser):
        """The upstream gradient carries the weight, and the loss is averaged with weights at the end."""
        N, losses = X.shape[0], []
        optimiser.zero_grad(set_to_none=False)
        for x_m, y_m in zip(torch.tensor_split(X, M), torch.tensor_split(y, M), strict=True):
            loss = F.nll_loss(torch.log_softmax(model(x_m), -1), y_m)
            loss.backward(torch.tensor(x_m.shape[0] / N, dtype=loss.dtype))
            losses.append(loss.item())
        optimiser.step()
        return np.average(losses, weights=[len(x_m) for x_m in X.tensor_split(M)])


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "balanced_partition": {
        "best = np.full((K + 1, L + 2), np.inf)": "a column that is never read",
        "best = np.full((K + 2, L + 1), np.inf)": "a row that is never read",
        "best[0, 0] = -1.0": "costs are positive, so the larger of it and the first cell's cost is the latter",
        "last = np.zeros((K + 1, L + 2), dtype=int)  # where the last cell of the best split starts": "never read",
        "last = np.zeros((K + 2, L + 1), dtype=int)  # where the last cell of the best split starts": "never read",
    },
    "gpipe_schedule": {
        "free, ended, events = [-1.0] * K, {}, []": "what needs nothing has ended at 0.0, the larger of the two",
        "start = max(free[k], ended.get((op, before, m), -1.0))": "a device is free at 0.0 or later",
    },
    "peak_activations": {
        'if op >= "F":': "there are two ops, and B comes before F",
        "peak = max(peak, held + ((layers[k] - 1) * sizes[m] if remat else -1))": "held has been a peak already",
    },
    "pipeline_grads": {
        "for sums, cache in zip(reversed(grads), reversed(caches), strict=False):": "both have one entry per stage",
        "for (dW, db), (dW_m, db_m) in zip(sums, found, strict=False):": "both have one entry per layer",
    },
    "microbatch_step": {
        "for x_m, y_m in zip(X.tensor_split(M), y.tensor_split(M), strict=False):": "both have M parts",
    },
}
