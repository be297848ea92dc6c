"""Correct implementations of 06 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches.
"""

import heapq
import itertools
import math
from functools import cache as remembered

import numpy as np
import torch
from torch import nn


def pointer_logits(p, E, d, open):
    """One step after the other, example by example; only open places are scored."""
    u, kept = np.full(open.shape, -np.inf), {}
    for b, t in itertools.product(range(len(d)), range(d.shape[1])):
        at = np.flatnonzero(open[b, t])
        s = np.tanh(E[b, at] @ p["W1"] + d[b, t] @ p["W2"])
        u[b, t, at] = s @ p["v"]
        kept[b, t] = at, s
    return u, {"kept": kept, "p": dict(p), "E": E.copy(), "d": d.copy()}


def pointer_backward(du, cache):
    """With the same loop."""
    p, E, d = cache["p"], cache["E"], cache["d"]
    dE, dd = np.zeros_like(E), np.zeros_like(d)
    grads = {name: np.zeros_like(p[name]) for name in ("W1", "W2", "v")}
    for (b, t), (at, s) in cache["kept"].items():
        up = du[b, t, at]
        da = np.outer(up, p["v"]) * (1 - s) * (1 + s)
        dE[b, at] += da @ p["W1"].T
        dd[b, t] = p["W2"] @ da.sum(axis=0)
        grads["W1"] += E[b, at].T @ da
        grads["W2"] += np.outer(d[b, t], da.sum(axis=0))
        grads["v"] += up @ s
    return dE, dd, grads


def greedy_decode(p, x, lengths, stops=False):
    """Each example by itself, without padding; Python's sets."""
    N, found = x.shape[1], []
    for row, n in zip(x, lengths.tolist(), strict=True):
        E, h, c, _ = encode(p, row[None, :n], np.array([n]))  # noqa: F821
        left, order, read = set(range(n)), [], p["start"]
        while not order or order[-1] != N:
            open = np.array([[j in left for j in range(n)] + [bool(stops) or not left]])
            u, h, c = decoder_step(p, read[None], h, c, E, open)  # noqa: F821
            k = max(range(n + 1), key=lambda j: u[0, j])
            order.append(N if k == n else k)
            left.discard(k)
            read = row[k] if k < n else read
        found.append(order + [N] * (N + 1 - len(order)))
    return np.array(found)


def hull_target(P):
    """Gift wrapping from the lowest point; on one line the farther one wins."""
    Q = [tuple(point) for point in P.tolist()]
    start = min(range(len(Q)), key=lambda k: (Q[k][1], Q[k][0]))
    corners = [start]
    while True:
        (ax, ay), best = Q[corners[-1]], None
        for k, (x, y) in enumerate(Q):
            if k == corners[-1]:
                continue
            if best is None:
                best = k
                continue
            bx, by = Q[best]
            z = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
            if z < 0 or (z == 0 and math.dist((ax, ay), (x, y)) > math.dist((ax, ay), (bx, by))):
                best = k
        if best == start:
            break
        corners.append(best)
    at = min(range(len(corners)), key=corners.__getitem__)
    return [*corners[at:], *corners[:at]]


def canonical_tour(P, tour):
    """Complex numbers; a deque's turn; NumPy's int64."""
    z = np.array([complex(*P[k]) for k in tour])
    area = np.sum((z.conj() * np.roll(z, -1)).imag)
    ring = list(tour)[::-1] if area < 0 else list(tour)
    while ring[0] != 0:
        ring.append(ring.pop(0))
    return ring


def tsp_exact(P):
    """The recursion itself, remembered; frozensets for the sets."""
    points = [tuple(point) for point in np.asarray(P).tolist()]

    @remembered
    def shortest(cities, k):
        rest = cities - {k}
        if not rest:
            return math.dist(points[0], points[k]), (k,)
        ways = (shortest(rest, j) for j in rest)
        length, path = min((length + math.dist(points[path[-1]], points[k]), path) for length, path in ways)
        return length, (*path, k)

    every = frozenset(range(1, len(points)))
    if not every:
        return [0]
    ends = [shortest(every, k) for k in every]
    return [0, *min((length + math.dist(points[path[-1]], points[0]), path) for length, path in ends)[1]]


def pointer_nll(logits, targets):
    """Row by row, over the open places alone."""
    rows = [(b, t) for b, t in np.ndindex(targets.shape) if targets[b, t] != -1]
    dlogits, losses = np.zeros_like(logits), []
    for b, t in rows:
        at, k = np.flatnonzero(logits[b, t] > -np.inf), targets[b, t]
        total = np.logaddexp.reduce(logits[b, t, at])
        losses.append(total - logits[b, t, k])
        dlogits[b, t, at] = np.exp(logits[b, t, at] - total) / len(rows)
        dlogits[b, t, k] -= 1 / len(rows)
    return math.fsum(losses) / len(rows), dlogits


class PointerNet(Layers):  # noqa: F821
    """Steps in loops; torch's functions instead of modules."""

    def encode(self, x, lengths):
        """Each example by itself."""
        E, hs, cs = [], [], []
        for row, n in zip(x, lengths.tolist(), strict=True):
            out, (h, c) = self.encoder(row[None, :n])
            missing = x.new_zeros(len(row) - n, out.shape[2])
            E.append(torch.vstack([out[0], missing, self.end]))
            hs.append(h)
            cs.append(c)
        return torch.stack(E), (torch.cat(hs, dim=1), torch.cat(cs, dim=1))

    def point(self, E, d, open):
        """Step by step."""
        rows = []
        for t in range(d.shape[1]):
            s = torch.tanh(E @ self.W1.weight.T + nn.functional.linear(d[:, t], self.W2.weight).unsqueeze(1))
            rows.append(torch.where(open[:, t], torch.einsum("bma,a->bm", s, self.v.weight[0]), -math.inf))
        return torch.stack(rows, dim=1)

    def forward(self, x, lengths, targets):
        """Reads item by item."""
        E, state = self.encode(x, lengths)
        open, out, read = self.opened(targets, lengths, x.shape[1]), [], self.start.repeat(len(x), 1)
        for t in range(targets.shape[1]):
            d, state = self.decoder(read.unsqueeze(1), state)
            out.append(self.point(E, d, open[:, t : t + 1]))
            k = targets[:, t].clamp(0, x.shape[1] - 1)
            real = (targets[:, t] >= 0) & (targets[:, t] < x.shape[1])
            read = torch.where(real[:, None], x[torch.arange(len(x)), k], torch.zeros_like(x[:, 0]))
        return torch.cat(out, dim=1)


def beam_search(step, state, N, width, stops=False):
    """One hypothesis after the other, as Python's numbers; the best by a heap."""
    live, finished = [((), 0.0, state)], []
    while live:
        every = []
        for path, logp, s in live:
            left = [j for j in range(N) if j not in path]
            can = [*left, N] if stops or not left else left
            open = torch.tensor([[j in can for j in range(N + 1)]])
            scores, new = step(torch.tensor([path], dtype=torch.long).reshape(1, len(path)), s, open)
            every += [(logp + scores[0, k].item(), (*path, k), new) for k in can if scores[0, k] > -math.inf]
        kept = heapq.nlargest(width, every, key=lambda item: item[0])
        finished += [(list(path), logp) for logp, path, _ in kept if path[-1] == N]
        live = [(path, logp, s) for logp, path, s in kept if path[-1] != N]
    return sorted(finished, key=lambda item: item[1], reverse=True)


class Further:
    """A second set."""

    def pointer_logits(p, E, d, open):
        """By einsum and additions of minus infinity; a list as the cache."""
        a = (
            np.expand_dims(np.einsum("bmh,ha->bma", E, p["W1"]), 1)
            + np.einsum("btg,ga->bta", d, p["W2"])[:, :, None, :]
        )
        s = np.tanh(a)
        return np.tensordot(s, p["v"], axes=1) + np.where(open, 0.0, -np.inf), [p, E, d, np.array(open), s]

    def pointer_backward(du, cache):
        """Flat matrices for the parameters; a subtracted square."""
        p, E, d, open, s = cache
        du = du * open
        da = np.multiply.outer(du, p["v"])
        da = da - da * s * s
        A = s.shape[-1]
        big_E = np.broadcast_to(E[:, None], (*s.shape[:3], E.shape[2])).reshape(-1, E.shape[2])
        big_d = np.broadcast_to(d[:, :, None], (*s.shape[:3], d.shape[2])).reshape(-1, d.shape[2])
        flat = da.reshape(-1, A)
        grads = {"v": du.ravel() @ s.reshape(-1, A), "W2": big_d.T @ flat, "W1": big_E.T @ flat}
        dE = np.einsum("btma,ha->bmh", da, p["W1"])
        return dE, np.einsum("btma,ga->btg", da, p["W2"]), grads

    def greedy_decode(p, x, lengths, stops=False):
        """A set of what is closed, built anew; only rows that live are written."""
        B, N = len(x), x.shape[1]
        E, h, c, _ = encode(p, x, lengths)  # noqa: F821
        order, live, read = [], np.ones(B, dtype=bool), np.broadcast_to(p["start"], (B, x.shape[2]))
        for _ in range(N + 1):
            closed = np.array(
                [[j >= n or any(k[b] == j for k in order) for j in range(N)] for b, n in enumerate(lengths)]
            )
            end = np.ones((B, 1), dtype=bool) if stops else closed.all(axis=1, keepdims=True)
            u, h, c = decoder_step(p, read, h, c, E, np.hstack([~closed, end]))  # noqa: F821
            k = np.where(live, np.argmax(u, axis=-1), N)
            live = live & (k < N)
            order.append(k)
            read = np.take_along_axis(x, np.minimum(k, N - 1)[:, None, None], axis=1)[:, 0]
        return np.stack(order, 1)

    def hull_target(P):
        """All ordered pairs with no point on their right; of points on a line the farthest."""
        N, following = len(P), {}
        for i in range(N):
            for j in range(N):
                if i == j:
                    continue
                (ax, ay), (bx, by) = P[i], P[j]
                z = (bx - ax) * (P[:, 1] - ay) - (by - ay) * (P[:, 0] - ax)
                z[[i, j]] = 0.0
                ahead = (P[:, 0] - ax) * (bx - ax) + (P[:, 1] - ay) * (by - ay)
                size = (bx - ax) ** 2 + (by - ay) ** 2
                if np.all(z >= 0) and np.all((z > 0) | ((ahead >= 0) & (ahead <= size))):
                    following[i] = j
        at = min(following)
        corners = [at]
        while following[corners[-1]] != at:
            corners.append(following[corners[-1]])
        return corners

    def canonical_tour(P, tour):
        """Determinants, one by one; both lists made, one picked; a NumPy array."""
        N, at = len(tour), list(tour).index(0)
        forwards = [tour[(at + i) % N] for i in range(N)]
        backwards = [tour[(at - i) % N] for i in range(N)]
        signed = 0.0
        for a, b in zip(forwards, forwards[1:] + forwards[:1], strict=True):
            signed += P[a][0] * P[b][1] - P[b][0] * P[a][1]
        return forwards if signed >= 0 else backwards

    def tsp_exact(P):
        """Sets by their size, in dicts that hold the path, too."""
        N = len(P)
        D = np.sqrt(((P[:, None] - P[None]) ** 2).sum(-1)).tolist()
        if N == 1:
            return [0]
        best = {(frozenset([k]), k): (D[0][k], [0, k]) for k in range(1, N)}
        for _ in range(N - 2):
            grown = {}
            for (cities, j), (length, path) in best.items():
                for k in range(1, N):
                    if k not in cities:
                        key, longer = (cities | {k}, k), length + D[j][k]
                        if key not in grown or longer < grown[key][0]:
                            grown[key] = longer, [*path, k]
            best = grown
        return min(best.values(), key=lambda way: way[0] + D[way[1][-1]][0])[1]

    def pointer_nll(logits, targets):
        """All rows at once, padding replaced first; a NumPy scalar as the loss."""
        real = targets != -1
        safe = np.where(real[..., None], logits, 0.0)
        z = safe - safe.max(axis=-1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=-1, keepdims=True)
        hot = np.arange(logits.shape[-1]) == targets[..., None]
        with np.errstate(invalid="ignore"):
            logp = np.where(hot, z - np.log(total), 0.0)
        n = np.count_nonzero(real)
        return -logp.sum() / n, (e / total - hot) * (real[..., None] / n)

    class PointerNet(Layers):  # noqa: F821
        """Padding cleared by a mask; one-hot products for what is read."""

        def encode(self, x, lengths):
            """Over padding, too; the state is picked at the last item by running shorter ones apart."""
            steps, state = [], (x.new_zeros(1, len(x), self.encoder.hidden_size),) * 2
            for j in range(x.shape[1]):
                out, new = self.encoder(x[:, j : j + 1], state)
                there = (j < lengths)[None, :, None]
                state = tuple(torch.where(there, a, b) for a, b in zip(new, state, strict=True))
                steps.append(torch.where(there[0, :, :, None], out, torch.zeros_like(out)))
            return torch.cat([*steps, self.end[None, None].repeat(len(x), 1, 1)], 1), state

        def point(self, E, d, open):
            """Adds minus infinity."""
            u = self.v((self.W1(E).unsqueeze(1) + self.W2(d).unsqueeze(2)).tanh())[..., 0]
            return u + torch.zeros_like(u).masked_fill(open.logical_not(), -math.inf)

        def forward(self, x, lengths, targets):
            """Gathers with indices that are cut, and clears what is no item."""
            N = x.shape[1]
            E, state = self.encode(x, lengths)
            before = targets[:, :-1]
            chosen = x.gather(1, before.clamp(0, N - 1)[..., None].expand(-1, -1, x.shape[2]))
            chosen = chosen * ((before >= 0) & (before < N)).unsqueeze(-1)
            read = torch.cat((self.start.view(1, 1, -1).repeat(len(x), 1, 1), chosen), 1)
            d, _ = self.decoder(read, state)
            return self.point(E, d, self.opened(targets, lengths, N))

    def beam_search(step, state, N, width, stops=False):
        """A stable sort of all sums; open rebuilt from the paths; tuples on the way."""
        paths, sums, done = [[]], np.zeros(1), []
        while paths:
            open = torch.ones(len(paths), N + 1, dtype=torch.bool)
            for row, path in zip(open, paths, strict=True):
                row[path] = False
                row[N] = bool(stops) or not bool(row[:N].any())
            told = torch.tensor(paths, dtype=torch.long).view(len(paths), len(paths[0]))
            logp, state = step(told, state, open)
            table = np.where(open.numpy(), sums[:, None] + logp.double().numpy(), -np.inf)
            flat = table.ravel()
            best = [int(k) for k in np.argsort(-flat, kind="stable")[:width] if flat[k] > -np.inf]
            grown = [(paths[k // (N + 1)] + [k % (N + 1)], float(flat[k]), k // (N + 1)) for k in best]
            done += [(path, logp) for path, logp, _ in grown if path[-1] == N]
            live = [item for item in grown if item[0][-1] != N]
            state = state[[row for *_, row in live]]
            paths, sums = [path for path, *_ in live], np.array([logp for _, logp, _ in live])
        done.sort(key=lambda item: item[1], reverse=True)
        return tuple(done)


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "greedy_decode": {
        "items = np.concatenate([x, np.zeros((B, 2, D))], axis=1)": "no place above N is chosen",
        "for t in range(N * 1):": "step N can choose the end alone, and order is filled with it",
        "for t in range(N ** 1):": "step N can choose the end alone, and order is filled with it",
        "for t in range(N + 0):": "step N can choose the end alone, and order is filled with it",
        "for t in range(N // 1):": "step N can choose the end alone, and order is filled with it",
        "order[order[:, t - 1] >= N, t] = N": "no place is above N",
    },
    "tsp_exact": {
        "cost, before = np.full((1 << N, N), np.inf), np.zeros((2 << N, N), dtype=int)": "rows that nobody looks up",
        "cost, before = np.full((2 << N, N), np.inf), np.zeros((1 << N, N), dtype=int)": "rows that nobody looks up",
        "for seen in range(3, 1 << N, 1):": "without city 0 in the set all costs are infinite",
        "for k in range(0, N):": "what is left of the set lacks city 0: infinite, as (S, 0) is",
        "if seen >> k << 1:": "a set without k asks for a larger set, which is still infinite",
        "if seen >> k | 1:": "a set without k asks for a larger set, which is still infinite",
        "if seen ^ k & 1:": "a set without k asks for a larger set, which is still infinite",
        "if seen | k & 1:": "a set without k asks for a larger set, which is still infinite",
        "seen, tour = (0 << N) - 1, []": "-1 is the last row, and stays right as bits are taken out",
        "seen, tour = (1 >> N) - 1, []": "-1 is the last row, and stays right as bits are taken out",
        "return [0, *tour[::+1]]": "either direction is right",
        "return [0, *tour[::1]]": "either direction is right",
    },
    "PointerNet": {
        "items = torch.cat([x, x.new_zeros(B, 2, D)], dim=1)": "N and -1 name a row of zeros all the same",
    },
    "beam_search": {
        "logp, at = logp[logp != -torch.inf], at[logp > -torch.inf]": "nothing is below -inf",
        "logp, at = logp[logp > -torch.inf], at[logp != -torch.inf]": "nothing is below -inf",
        "done = k >= N": "no place is above N",
        "finished += zip(paths[done].tolist(), logp[done].tolist(), strict=False)": "both are of one length",
    },
}
