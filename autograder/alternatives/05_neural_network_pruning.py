"""Correct implementations of 05 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches; what the notebook gives is there.
"""

import math

import numpy as np
import torch
from torch import nn


def magnitude_masks(params, sparsity):
    """One list of (magnitude, place) in Python, sorted; masks are filled entry by entry."""
    masks = {name: np.ones(np.shape(w), dtype=bool) for name, w in params.items() if np.ndim(w) >= 2}
    entries = []
    for name in masks:
        for index, value in np.ndenumerate(params[name]):
            entries.append((abs(float(value)), len(entries), name, index))
    for _, _, name, index in sorted(entries)[: int(np.rint(sparsity * len(entries)))]:
        masks[name][index] = False
    return masks


def sparse_code_bits(masks, bits_per_weight=16.0):
    """Exact integers as far as they go quickly, sums of logarithms beyond."""
    flat = np.concatenate([np.ravel(mask) for mask in masks.values()])
    n, k = flat.size, int(np.count_nonzero(flat))
    if n < 5000:
        chosen = math.log2(math.comb(n, k))
    else:
        few = min(k, n - k)
        chosen = float(np.sum(np.log2(np.arange(n - few + 1, n + 1)) - np.log2(np.arange(1, few + 1))))
    return math.log2(1 + n) + chosen, bits_per_weight * float(k)


def gauss_bits(mu, s, m, sigma):
    """Ratios first, and logarithms of base 2."""
    ratio, off = np.divide(s, sigma), np.subtract(mu, m) / sigma
    return -np.log2(ratio) + 0.5 * math.log2(math.e) * (ratio * ratio + off * off - 1.0)


def mixture_bits(mu, log_s, prior):
    """Components in the first axis, one after another, with logaddexp."""
    logits = np.asarray(prior["logits"])
    log_pi = logits - np.logaddexp.reduce(logits)
    terms = []
    for k in range(len(logits)):
        var = np.exp(2 * (log_s - prior["log_sd"][k])) + ((mu - prior["mean"][k]) * np.exp(-prior["log_sd"][k])) ** 2
        terms.append(log_pi[k] - (prior["log_sd"][k] - log_s + 0.5 * var - 0.5))
    terms = np.array(terms)
    total = np.logaddexp.reduce(terms, axis=0)
    return -total / np.log(2), {
        "mu": mu,
        "log_s": log_s,
        "prior": prior,
        "r": np.exp(terms - total),
        "pi": np.exp(log_pi),
    }


def mixture_bits_backward(dbits, cache):
    """Loops over components."""
    mu, log_s, prior, r = cache["mu"], cache["log_s"], cache["prior"], cache["r"]
    dmu, dlog_s = np.zeros(mu.shape), np.zeros(mu.shape)
    out = {name: np.zeros(len(r)) for name in ("log_sd", "logits", "mean")}
    for k, responsible in enumerate(r):
        g = dbits * responsible / math.log(2)
        var = math.exp(2 * prior["log_sd"][k])
        toward = g * (mu - prior["mean"][k]) / var
        dmu += toward
        dlog_s += g * (np.exp(2 * log_s) / var - 1)
        out["mean"][k] = -np.sum(toward)
        out["log_sd"][k] = np.sum(g) - np.sum(g * (np.exp(2 * log_s) + (mu - prior["mean"][k]) ** 2)) / var
        out["logits"][k] = np.sum(dbits * (cache["pi"][k] - responsible)) / math.log(2)
    return dmu, dlog_s, out


def noisy_linear_forward(x, v, mu, log_s):
    """Of each product, in (N, D, H), the second moment minus the square of the mean; summed over the middle."""
    s = np.exp(log_s)
    second = (x**2 + v)[:, :, None] * (mu**2 + s**2)
    return np.einsum("nd,dh->nh", x, mu), (second - (x[:, :, None] * mu) ** 2).sum(axis=1), lambda: (x, v, mu, s)


def noisy_linear_backward(dmean, dvar, cache):
    """Einsum with all three indices."""
    x, v, mu, s = cache()
    dx = np.einsum("nh,dh->nd", dmean, mu) + 2 * np.einsum("nh,nd,dh->nd", dvar, x, s**2, optimize=True)
    dv = np.einsum("nh,dh->nd", dvar, mu**2) + np.einsum("nh,dh->nd", dvar, s**2)
    dmu = np.einsum("nh,nd->dh", dmean, x) + 2 * np.einsum("nh,nd,dh->dh", dvar, v, mu, optimize=True)
    return [dx, dv, dmu, 2 * np.einsum("nh,nd,dh->dh", dvar, x**2 + v, s**2, optimize=True)]


def description_length(p, prior, X, t, beta=1.0):
    """Both layers' weights in one vector; the prior's gradients come at once."""
    y, vy, cache = network_forward(p, X)  # noqa: F821
    misfit, N = y - t, len(t)
    total = np.sum(misfit**2) + np.sum(vy)
    slope = N / (2 * math.log(2) * total)
    grads = dict(network_backward(2 * slope * misfit, slope * np.ones(N), cache))  # noqa: F821
    mu, log_s = (np.concatenate([p[f"{name}{k}"].ravel() for k in (1, 2)]) for name in ("mu", "log_s"))
    bits, code = mixture_bits(mu, log_s, prior)
    dmu, dlog_s, dprior = mixture_bits_backward(np.ones(bits.shape), code)
    cut = p["mu1"].size
    for name, part in (("mu", dmu), ("log_s", dlog_s)):
        for k, piece in ((1, part[:cut]), (2, part[cut:])):
            grads[f"{name}{k}"] = grads[f"{name}{k}"] + beta * piece.reshape(p[f"{name}{k}"].shape)
    grads.update({name: beta * part for name, part in dprior.items()})
    return bits.sum(), 0.5 * N * (np.log2(total / N) + math.log2(2 * math.pi * math.e)), grads


class NoisyLinear(nn.Module):
    """Weights and biases apart in every sum; broadcasting in a loop over components."""

    def __init__(self, inputs, outputs, log_s=-3.0):
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(inputs + 1, outputs))
        self.log_s = nn.Parameter(torch.zeros(inputs + 1, outputs) + log_s)
        nn.init.normal_(self.mu[:-1].detach(), std=inputs**-0.5)

    def moments(self, x):
        var = self.log_s.exp().square()
        return torch.addmm(self.mu[-1], x, self.mu[:-1]), torch.addmm(var[-1], x.square(), var[:-1])

    def forward(self, x, eps=None):
        mean, var = self.moments(x)
        if self.training:
            noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device) if eps is None else eps
            mean = torch.addcmul(mean, torch.sqrt(var), noise)
        return mean

    def bits(self, logits, mean, log_sd):
        terms = []
        for k in range(len(logits)):
            ratio = torch.exp(self.log_s - log_sd[k])
            off = (self.mu - mean[k]) * torch.exp(-log_sd[k])
            terms.append(logits[k] - torch.logsumexp(logits, 0) + torch.log(ratio) - (ratio**2 + off**2 - 1) / 2)
        return -(torch.stack(terms).logsumexp(dim=0) / math.log(2)).sum()


class Others:
    """A second set."""

    def magnitude_masks(params, sparsity):
        """Ranks by a double sort, matrices cut off one after another."""
        names = [name for name in params if len(np.shape(params[name])) not in (0, 1)]
        size = np.hstack([abs(params[name]).reshape(-1) for name in names])
        rank = np.empty(len(size), dtype=int)
        rank[np.lexsort((np.arange(len(size)), size))] = np.arange(len(size))
        masks, at = {}, 0
        for name in names:
            end = at + params[name].size
            masks[name] = (rank[at:end] >= round(sparsity * len(size))).reshape(params[name].shape)
            at = end
        return dict(reversed(masks.items()))

    def sparse_code_bits(masks, bits_per_weight=16.0):
        """Through the logarithm of big integers, in NumPy scalars."""
        n, k = sum(m.size for m in masks.values()), sum(np.sum(m, dtype=int) for m in masks.values())
        rest = int(max(k, n - k))
        if n > 20_000:
            gamma = math.lgamma
            choices = (gamma(n + 1) - gamma(k + 1) - gamma(n - k + 1)) / math.log(2)
        else:
            choices = math.log2(math.factorial(n) // (math.factorial(rest) * math.factorial(n - rest)))
        return [np.float64(choices + math.log2(n + 1)), np.float64(k * bits_per_weight)]

    def gauss_bits(mu, s, m, sigma):
        """Sum of three terms, each in bits."""
        bit = 1 / math.log(2)
        return (
            (np.log(sigma) - np.log(s)) * bit + bit * (np.square(s / sigma) - 1) / 2 + bit * ((mu - m) / sigma) ** 2 / 2
        )

    def mixture_bits(mu, log_s, prior):
        """On rows of one weight each; what is cached are the inputs and the components' costs."""
        logits = prior["logits"] - np.max(prior["logits"])
        pi = np.exp(logits)
        log2_pi = (logits - np.log(pi.sum())) / np.log(2)
        pi /= pi.sum()
        G = gauss_bits(
            mu.reshape(-1, 1), np.exp(log_s).reshape(-1, 1), prior["mean"].reshape(1, -1), np.exp(prior["log_sd"])[None]
        )
        A = log2_pi - G
        best = A.max(axis=1)
        bits = -(best + np.log2((2.0 ** (A - best[:, None])).sum(axis=1)))
        return bits.reshape(mu.shape), (mu.copy(), log_s.copy(), pi, dict(prior), (A, bits))

    def mixture_bits_backward(dbits, cache):
        """On rows, by matrix products."""
        mu, log_s, pi, prior, (A, bits) = cache
        u = 2.0 ** (A + bits[:, None]) * dbits.reshape(-1, 1) / np.log(2)
        mu, s = mu.reshape(-1, 1), np.exp(log_s).reshape(-1, 1)
        z, var = mu - prior["mean"], np.exp(-2 * prior["log_sd"])
        dmu, dlog_s = (u * z) @ var, (u * s**2) @ var - u.sum(axis=1)
        grads = {"log_sd": np.sum(u * (1 - (s**2 + z**2) * var), axis=0), "mean": -np.sum(u * z, axis=0) * var}
        grads["logits"] = pi * u.sum() - u.sum(axis=0)
        return dmu.reshape(dbits.shape), dlog_s.reshape(dbits.shape), grads

    def noisy_linear_forward(x, v, mu, log_s):
        """One product with stacked matrices."""
        s2 = np.exp(log_s) ** 2
        var = np.hstack([x * x + v, v]) @ np.vstack([s2, mu * mu])
        return np.dot(x, mu), var, {"x": x, "v": v, "mu": mu, "log_s": log_s}

    def noisy_linear_backward(dmean, dvar, cache):
        """Case by case."""
        x, v, mu, log_s = (cache[name] for name in ("x", "v", "mu", "log_s"))
        s2 = np.exp(2 * log_s)
        dx, dv, dmu, dlog_s = np.zeros_like(x), np.zeros_like(v), np.zeros_like(mu), np.zeros_like(mu)
        for n in range(len(x)):
            dx[n] = mu @ dmean[n] + 2 * x[n] * (s2 @ dvar[n])
            dv[n] = (mu**2 + s2) @ dvar[n]
            dmu += np.outer(x[n], dmean[n]) + 2 * mu * np.outer(v[n], dvar[n])
            dlog_s += 2 * s2 * np.outer(x[n] ** 2 + v[n], dvar[n])
        return dx, dv, dmu, dlog_s

    def description_length(p, prior, X, t, beta=1.0):
        """Layer by layer, the codes first."""
        grads, lengths = {name: 0.0 for name in prior}, []
        for layer in (1, 2):
            bits, cache = mixture_bits(p[f"mu{layer}"], p[f"log_s{layer}"], prior)
            lengths.append(np.sum(bits))
            grads[f"mu{layer}"], grads[f"log_s{layer}"], shared = mixture_bits_backward(beta + 0 * bits, cache)
            for name in shared:
                grads[name] = grads[name] + shared[name]
        y, vy, cache = network_forward(p, X)  # noqa: F821
        error = ((y - t) ** 2 + vy).mean()
        dvy = np.full(t.shape, 0.5 / (error * np.log(2)))
        for name, part in network_backward((y - t) / (error * np.log(2)), dvy, cache).items():  # noqa: F821
            grads[name] = grads[name] + part
        nats = np.log(2 * np.pi * error) + 1
        return sum(lengths), len(t) * nats / np.log(4), grads

    class NoisyLinear(nn.Module):
        """The prior's mixture by log-add-exp over nats, noise by randn_like of the mean."""

        def __init__(self, inputs, outputs, log_s=-3.0):
            super().__init__()
            weights = torch.empty(inputs, outputs).normal_(0, 1 / math.sqrt(inputs))
            self.register_parameter("log_s", nn.Parameter(torch.ones(inputs + 1, outputs) * log_s))
            self.register_parameter("mu", nn.Parameter(torch.vstack([weights, torch.zeros(1, outputs)])))

        def moments(self, x):
            x = nn.functional.pad(x, (0, 1), value=1.0)
            s = self.log_s.exp()
            return torch.einsum("nd,dh->nh", x, self.mu), torch.einsum("nd,dh->nh", x * x, s * s)

        def forward(self, x, eps=None):
            mean, var = self.moments(x)
            eps = torch.randn_like(mean) if eps is None else eps  # in evaluation too, where it is not used
            return mean + var**0.5 * eps if self.training else mean

        def bits(self, logits, mean, log_sd):
            mu, s = self.mu.reshape(-1, 1), self.log_s.exp().reshape(-1, 1)
            sd = log_sd.exp()
            nats = torch.log(sd / s) + (s**2 + (mu - mean) ** 2) / (2 * sd**2) - 0.5
            return torch.sum(-torch.logsumexp(logits - logits.logsumexp(0) - nats, 1)) * math.log2(math.e)


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "mixture_bits": {"return -total[..., -1] / LN2, cache": "the last axis has one entry, the sum over components"},
    "NoisyLinear": {
        "return -torch.logsumexp(torch.log_softmax(logits, -1) - G, dim=-1).sum() / LN2": "logits have one axis"
    },
}
