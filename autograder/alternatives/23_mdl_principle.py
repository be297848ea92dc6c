"""Correct implementations of 23 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches.
"""

import copy
import math
from fractions import Fraction

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune


def elias_gamma_encode(n):
    """The zeros by filling up to the length that equation (2) gives; the logarithm counts in integers."""
    if n <= 0:
        raise ValueError("the gamma code has no codeword for this number")
    return bin(n)[2:].zfill(2 * (n.bit_length() - 1) + 1)


def elias_gamma_decode(bits):
    """Character by character, as a receiver would."""
    arriving = iter(bits)
    count, n = 0, 0
    for character in arriving:
        if character == "1":
            n = 1
            break
        count += 1
    for read in range(count if n else 0):
        digit = next(arriving, None)
        if digit is None:
            raise ValueError(f"{count - read} digits are missing")
        n = 2 * n + (digit == "1")
    if not n:
        raise ValueError("no codeword begins here")
    return n, "".join(arriving)


def huffman(counts):
    """A sorted list and nested pairs in place of a heap, read off from the root; other ties, other bits."""
    nodes = [(count, symbol) for symbol, count in counts.items()]
    while len(nodes) > 1:
        nodes.sort(key=lambda node: node[0], reverse=True)
        (a, left), (b, right) = nodes.pop(), nodes.pop()
        nodes.insert(0, (a + b, (left, right)))
    codes, open_ends = {}, [("", nodes[0][1])]
    while open_ends:
        word, node = open_ends.pop()
        if isinstance(node, tuple):
            open_ends += [(word + "1", node[0]), (word + "0", node[1])]
        else:
            codes[node] = word or "1"
    return codes


def two_part_poly_bits(x, y, degree):
    """By a QR decomposition of Legendre polynomials, and bits from nats."""
    n = y.size
    Q = np.linalg.qr(np.polynomial.legendre.legvander(x, degree))[0]
    rss = float(y @ y - np.sum((Q.T @ y) ** 2)) if degree == 0 else float(np.sum((y - Q @ (Q.T @ y)) ** 2))
    nats = n * (math.log(2 * math.pi) + 1 + math.log(rss) - math.log(n)) / 2
    return math.log2(n) * (degree + 2) / 2, nats / math.log(2)


def nml_complexity_bits(n):
    """In arrays, with logarithms of factorials as sums; the two constant sequences by themselves."""
    k = np.arange(1, n)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    log_terms = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    log_terms = log_terms + k * np.log(k / n) + (n - k) * np.log1p(-k / n)
    return float(np.log2(2 + np.sum(np.exp(log_terms))))


def bernoulli_bits(x):
    """KT in closed form, by gamma functions; the grid by a loop."""
    n, k = x.size, int(np.count_nonzero(x))
    ml = 0.0 if k in (0, n) else -k * math.log2(k / n) - (n - k) * math.log2((n - k) / n)
    m = math.ceil(math.sqrt(n))
    grid = [math.sin(math.pi * (j + 0.5) / (2 * m)) ** 2 for j in range(m)]
    two_part = min(-k * math.log2(t) - (n - k) * math.log2(1 - t) for t in grid) + math.log2(len(grid))
    nats = math.lgamma(n + 1) + math.log(math.pi) - math.lgamma(k + 0.5) - math.lgamma(n - k + 0.5)
    return {"kt": nats / math.log(2), "nml": ml + nml_complexity_bits(n), "two_part": two_part, "ml": ml}


def markov_kt_bits(x, order):
    """All counts of a context first, then the closed form per context."""
    text = "".join(map(str, x.tolist()))
    followers = {}
    for t in range(order, len(text)):
        followers.setdefault(text[t - order : t], []).append(text[t])
    nats = 0.0
    for found in followers.values():
        zeros, ones = found.count("0"), found.count("1")
        nats += math.lgamma(len(found) + 1) + math.log(math.pi) - math.lgamma(zeros + 0.5) - math.lgamma(ones + 0.5)
    return nats / math.log(2) + len(text[:order])


def code_length_forward(params, X, y, sigma0, delta):
    """Everything in bits from the start; all numbers of the network in one vector; a dict as the cache."""
    hidden = np.tanh(np.einsum("bd,dh->bh", X, params["W1"]) + params["b1"])
    logits = np.einsum("bh,hc->bc", hidden, params["W2"]) + params["b2"]
    log2_p = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)) / np.log(2)
    labels = -sum(log2_p[i, label] for i, label in enumerate(y))
    w = np.concatenate([array.ravel() for array in params.values()])
    log2_density = -0.5 * (w / sigma0) ** 2 * np.log2(np.e) - np.log2(sigma0) - 0.5 * np.log2(2 * np.pi)
    cache = {"params": params, "X": X, "y": y, "sigma0": sigma0, "hidden": hidden, "log2_p": log2_p}
    return float(labels - np.sum(np.log2(delta) + log2_density)), cache


def code_length_backward(dbits, cache):
    """One-hot labels; the prior first, then the data."""
    params, hidden = cache["params"], cache["hidden"]
    per_nat = dbits * np.log2(np.e)
    grads = {name: per_nat * w / cache["sigma0"] ** 2 for name, w in params.items()}
    P = 2.0 ** cache["log2_p"]
    dZ = per_nat * (P - np.eye(P.shape[1])[cache["y"]])
    dA = np.einsum("bc,hc->bh", dZ, params["W2"]) * (1 + hidden) * (1 - hidden)
    grads["W1"] += np.einsum("bd,bh->dh", cache["X"], dA)
    grads["W2"] += np.einsum("bh,bc->hc", hidden, dZ)
    grads["b1"] += np.ones(len(dA)) @ dA
    grads["b2"] += np.ones(len(dZ)) @ dZ
    return grads


def variational_code_grad(mu, rho, X, y, sigma0, noise):
    """By the expanded square, with second moments; one weight after another for the prior."""
    s = np.where(rho > 0, rho + np.log1p(np.exp(-np.abs(rho))), np.log1p(np.exp(np.minimum(rho, 0.0))))
    small = np.exp(-np.abs(rho))
    gate = np.where(rho > 0, 1, small) / (1 + small)
    gram, pull = X.T @ X, X.T @ y
    squares = y @ y - 2 * mu @ pull + mu @ gram @ mu + np.diag(gram) @ s**2
    nats = squares / (2 * noise**2) + len(y) * (math.log(noise) + 0.5 * math.log(2 * math.pi))
    for m, d in zip(mu, s, strict=True):
        nats += math.log(sigma0) - math.log(d) + (d * d + m * m) / (2 * sigma0**2) - 0.5
    dmu = (gram @ mu - pull) / noise**2 + mu / sigma0**2
    drho = (np.diag(gram) / noise**2 + 1 / sigma0**2) * s * gate - gate / s
    return nats * math.log2(math.e), dmu * math.log2(math.e), drho * math.log2(math.e)


def prequential_bits(make_model, fit, X, y, splits, classes):
    """Every label by itself, by log_softmax; the networks in eval mode."""
    per_block, start = [], 0
    for end in splits:
        if start == 0:
            per_block.append(end * math.log(classes) / math.log(2))
        else:
            model = make_model()
            fit(model, X[:start].clone(), y[:start].clone())
            log_p = torch.log_softmax(model.eval()(X[start:end]).detach(), dim=1)
            per_block.append(-sum(log_p[i, label].item() for i, label in enumerate(y[start:end])) / math.log(2))
        start = end
    return float(np.sum(per_block)), per_block


def mdl_prune(model, X, y, sparsities, sigma0, delta, fit):
    """Masks by sorting indices; gradients stopped by hooks as well; bits by lgamma and logarithms of densities."""
    table = []
    for sparsity in sparsities:
        net = copy.deepcopy(model)
        chosen = [w for w in net.parameters() if w.dim() == 2]
        flat = torch.cat([w.detach().reshape(-1) for w in chosen])
        N = flat.numel()
        kept = N - round(sparsity * N)
        keep = torch.zeros(N, dtype=torch.bool)
        keep[torch.argsort(flat.abs(), descending=True)[:kept]] = True
        masks = [part.reshape(w.shape) for part, w in zip(keep.split([w.numel() for w in chosen]), chosen, strict=True)]

        def cut(chosen=chosen, masks=masks):
            for w, mask in zip(chosen, masks, strict=True):
                w.data[~mask] = 0

        cut()
        fit(net, X, y, after_step=cut)
        on_grid = copy.deepcopy(net)
        for w in on_grid.parameters():
            w.data = torch.round(w.data / delta) * delta
        numbers = []
        for w, mask in zip([w for w in on_grid.parameters() if w.dim() == 2], masks, strict=True):
            numbers.append(w.detach()[mask])
        numbers += [b.detach() for b in on_grid.parameters() if b.dim() == 1]
        cells = torch.distributions.Normal(0.0 * flat[0], sigma0 + 0.0 * flat[0]).log_prob(
            torch.cat(numbers)
        ) + math.log(delta)
        choose = math.lgamma(N + 1) - math.lgamma(kept + 1) - math.lgamma(N - kept + 1)
        logits = on_grid(X).detach()
        row = {
            "sparsity": sparsity,
            "position_bits": (math.log(N + 1) + choose) / math.log(2),
            "weight_bits": -cells.sum().item() / math.log(2),
            "data_bits": nn.functional.cross_entropy(logits, y, reduction="sum").item() / math.log(2),
            "errors": int((logits.argmax(1) != y).sum().item()),
        }
        row["total_bits"] = row["position_bits"] + row["weight_bits"] + row["data_bits"]
        table.append(row)
    totals = [row["total_bits"] for row in table]
    return sparsities[totals.index(min(totals))], table


class Further:
    """A second set."""

    def nml_complexity_bits(n):
        """Exact fractions for short sequences, a recurrence of binomials for long ones."""
        if n <= 60:
            total = sum(math.comb(n, k) * Fraction(k, n) ** k * Fraction(n - k, n) ** (n - k) for k in range(n + 1))
            return math.log2(total)
        total, log_choose = 2.0, 0.0
        for k in range(1, n):
            log_choose += math.log((n - k + 1) / k)  # the next binomial from the one before
            total += math.exp(log_choose + k * math.log(k / n) + (n - k) * math.log((n - k) / n))
        return math.log2(total)

    def huffman(counts):
        """Two queues, as for sorted counts; merged groups go last among equals, so the code is as flat as can be."""
        leaves = [(count, {symbol: ""}) for count, symbol in sorted((c, s) for s, c in counts.items())]
        merged = []
        if len(leaves) == 1:
            return {symbol: "0" for symbol in counts}
        while len(leaves) + len(merged) > 1:
            pair = []
            for _ in range(2):
                first = leaves if leaves and (not merged or leaves[0][0] <= merged[0][0]) else merged
                pair.append(first.pop(0))
            (a, left), (b, right) = pair
            both = {s: "1" + w for s, w in left.items()} | {s: "0" + w for s, w in right.items()}
            merged.append((a + b, both))
        return merged[0][1]

    def mdl_prune(model, X, y, sparsities, sigma0, delta, fit):
        """With torch's own pruning for the masks, and a column that nobody asked for."""
        table = []
        for sparsity in sparsities:
            net = copy.deepcopy(model)
            linear = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
            N = sum(layer.weight.numel() for layer in linear)
            removed = round(sparsity * N)
            prune.global_unstructured([(layer, "weight") for layer in linear], prune.L1Unstructured, amount=removed)
            masks = [layer.weight_mask.bool() for layer in linear]
            for layer in linear:
                prune.remove(layer, "weight")
            keep_only(net, masks)  # noqa: F821
            fit(net, X, y, after_step=lambda net=net, masks=masks: keep_only(net, masks))  # noqa: F821
            sent = rounded(net, delta)  # noqa: F821
            linear = [layer for layer in sent.modules() if isinstance(layer, nn.Linear)]
            numbers = [layer.weight[mask] for layer, mask in zip(linear, masks, strict=True)]
            numbers += [layer.bias for layer in linear]
            bits = {
                "position_bits": math.log2((N + 1) * math.comb(N, removed)),
                "weight_bits": float(weight_bits(numbers, sigma0, delta).detach()),  # noqa: F821
                "data_bits": float(data_bits(sent, X, y).detach()),  # noqa: F821
            }
            errors = int(torch.count_nonzero(sent(X).argmax(dim=1) != y))
            total = math.fsum(bits.values())
            table.append({"errors": errors, "removed": removed, "total_bits": total, **bits, "sparsity": sparsity})
        return min((row["total_bits"], row["sparsity"]) for row in table)[1], table


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "elias_gamma_decode": {
        "if zeros < -1 or end > len(bits):": "without a 1 the digits are the empty string, which int refuses as well",
    },
    "huffman": {
        "if len(counts) <= 1:": "there is at least one symbol",
        "while len(heap) != 1:": "the heap is never empty",
    },
    "mdl_prune": {
        "masks = [rank.view_as(w) < kept for rank, w in zip(ranks, matrices(net), strict=False)]": "equally long",
        "values = [w[mask] for w, mask in zip(matrices(sent), masks, strict=False)]": "both are always equally long",
        "values += [b for b in sent.parameters() if b.ndim <= 1]": "the networks have no parameter without an axis",
    },
}
