"""Correct implementations of 13 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches.
"""

import math

import numpy as np
import torch
from torch import nn


def attention_weights(Q, K, mask=None):
    """Weights only where something may be seen, through a logarithm of the sum."""
    scores = np.einsum("...id,...jd->...ij", Q, K) * Q.shape[-1] ** -0.5
    allowed = np.broadcast_to(True if mask is None else mask, scores.shape)
    hidden = np.where(allowed, scores, -np.inf)
    total = np.logaddexp.reduce(hidden, axis=-1, keepdims=True)
    return np.where(allowed, np.exp(np.minimum(hidden - np.where(np.isinf(total), 0.0, total), 0.0)), 0.0)


def sinusoidal_pe(T, d):
    """One number after another."""
    pe = np.empty((T, d))
    for t in range(T):
        for j in range(d):
            angle = t / math.pow(10000.0, (j - j % 2) / d)
            pe[t, j] = math.cos(angle) if j % 2 else math.sin(angle)
    return pe


def mha_forward(p, x_q, x_kv, heads, mask=None):
    """One head after another, each with its slice of the columns and its rows of the output matrix."""
    B, Tq, D = x_q.shape
    n = D // heads
    whole = None if mask is None else np.broadcast_to(mask, (B, heads, Tq, x_kv.shape[1]))
    out, outs, inners = np.zeros((B, Tq, D)), [], []
    for i in range(heads):
        columns = slice(i * n, (i + 1) * n)
        Q, K, V = x_q @ p["Wq"][:, columns], x_kv @ p["Wk"][:, columns], x_kv @ p["Wv"][:, columns]
        head, inner = sdpa_forward(Q, K, V, None if whole is None else whole[:, i])  # noqa: F821
        out += head @ p["Wo"][columns]
        outs.append(head)
        inners.append(inner)
    return out, {"p": p, "x": (x_q, x_kv), "heads": outs, "inner": inners}


def mha_backward(dout, cache):
    """One head after another, filling the columns of the gradients."""
    p, (x_q, x_kv), n = cache["p"], cache["x"], cache["heads"][0].shape[-1]
    dx_q, dx_kv = np.zeros(x_q.shape), np.zeros(x_kv.shape)
    grads = {name: np.zeros(p[name].shape) for name in ("Wq", "Wk", "Wv", "Wo")}
    for i, (head, inner) in enumerate(zip(cache["heads"], cache["inner"], strict=True)):
        columns = slice(i * n, (i + 1) * n)
        grads["Wo"][columns] = np.tensordot(head, dout, ([0, 1], [0, 1]))
        dQ, dK, dV = sdpa_backward(dout @ p["Wo"][columns].T, inner)
        for name, x, d in (("Wq", x_q, dQ), ("Wk", x_kv, dK), ("Wv", x_kv, dV)):
            grads[name][:, columns] = np.tensordot(x, d, ([0, 1], [0, 1]))
        dx_q += dQ @ p["Wq"][:, columns].T
        dx_kv += dK @ p["Wk"][:, columns].T + dV @ p["Wv"][:, columns].T
    return dx_q, dx_kv, grads


def layer_norm_forward(x, gain, bias, eps=1e-5):
    """Through the centred vectors, with the inverse root; a dict as the cache."""
    centred = x - np.sum(x, axis=-1, keepdims=True) / x.shape[-1]
    inverse = (np.sum(centred * centred, axis=-1, keepdims=True) / x.shape[-1] + eps) ** -0.5
    return centred * inverse * gain + bias, {"centred": centred, "inverse": inverse, "gain": gain}


def layer_norm_backward(dout, cache):
    """The variance's and the mean's gradients one by one, and vectors as the rows of a matrix."""
    centred, inverse, gain = (cache[name] for name in ("centred", "inverse", "gain"))
    D = centred.shape[-1]
    dxhat = dout * gain
    dvar = np.sum(dxhat * centred, axis=-1, keepdims=True) * -0.5 * inverse**3
    dcentred = dxhat * inverse + dvar * 2 * centred / D
    dx = dcentred - np.sum(dcentred, axis=-1, keepdims=True) / D
    rows, xhat = dout.reshape(-1, D), (centred * inverse).reshape(-1, D)
    return dx, np.einsum("nd,nd->d", rows, xhat), np.ones(len(rows)) @ rows


def sdpa_backward(dout, cache):
    """The whole Jacobian of the softmax, row by row."""
    Q, K, V, A = cache
    dA = np.einsum("...iv,...jv->...ij", dout, V)
    dS = np.empty(A.shape)
    for index in np.ndindex(A.shape[:-1]):
        a = A[index]
        dS[index] = (np.diag(a) - np.outer(a, a)) @ dA[index]
    dS *= K.shape[-1] ** -0.5
    dQ, dK = np.einsum("...ij,...jd->...id", dS, K), np.einsum("...ij,...id->...jd", dS, Q)
    return dQ, dK, np.einsum("...ij,...iv->...jv", A, dout)


def encoder_block_backward(dout, cache):
    """Positions as the rows of matrices in the feed-forward part."""
    p, attention, norm1, u, hidden, norm2 = cache
    D, F = p["W1"].shape
    grads = {}
    dr2, grads["gain2"], grads["bias2"] = layer_norm_backward(dout, norm2)
    rows, active = dr2.reshape(-1, D), hidden.reshape(-1, F)
    dhidden = np.where(active > 0, rows @ p["W2"].T, 0.0)
    grads["W2"], grads["b2"] = active.T @ rows, rows.sum(axis=0)
    grads["W1"], grads["b1"] = u.reshape(-1, D).T @ dhidden, dhidden.sum(axis=0)
    du = (dhidden @ p["W1"].T + rows).reshape(dout.shape)
    dx, grads["gain1"], grads["bias1"] = layer_norm_backward(du, norm1)
    dx_q, dx_kv, of_attention = mha_backward(dx, attention)
    return dx + (dx_q + dx_kv), {**of_attention, **grads}


class TransformerLayer(nn.Module):
    """Every sublayer as a function, in a loop."""

    def __init__(self, d, heads, d_ff, cross=False):
        super().__init__()
        self.self_attn, self.norm1 = MultiHeadAttention(d, heads), nn.LayerNorm(d)  # noqa: F821
        if cross:
            self.cross_attn, self.norm2 = MultiHeadAttention(d, heads), nn.LayerNorm(d)  # noqa: F821
        self.ffn = nn.Sequential(nn.Linear(d, d_ff), nn.ReLU(), nn.Linear(d_ff, d))
        self.norm3 = nn.LayerNorm(d)

    def forward(self, x, mask=None, memory=None, memory_mask=None):
        steps = [(self.norm1, lambda z: self.self_attn.attend(z, *self.self_attn.keys_values(z), mask))]
        if hasattr(self, "cross_attn"):
            steps.append((self.norm2, lambda z: self.cross_attn(z, memory, memory_mask)))
        for norm, f in [*steps, (self.norm3, self.ffn)]:
            total = x + f(x)
            mean, variance = total.mean(-1, keepdim=True), total.var(-1, keepdim=True, correction=0)
            x = (total - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias
        return x


class Transformer(nn.Module):
    """One-hot products for the embedding; the causal mask by comparing positions; the start symbol by padding."""

    def __init__(self, vocab, d, heads, layers, d_ff):
        super().__init__()
        self.embedding = nn.Embedding(vocab, d)
        nn.init.normal_(self.embedding.weight, std=d**-0.5)
        self.register_buffer("positions", torch.from_numpy(sinusoidal_pe(64, d)))
        self.encoder = nn.ModuleList(TransformerLayer(d, heads, d_ff) for _ in range(layers))
        self.decoder = nn.ModuleList(TransformerLayer(d, heads, d_ff, True) for _ in range(layers))

    def embed(self, tokens, start=0):
        E = self.embedding.weight
        one_hot = nn.functional.one_hot(tokens, len(E)).to(E.dtype)
        at = torch.arange(start, start + tokens.shape[1])
        return one_hot @ (E * E.shape[1] ** 0.5) + self.positions.to(E.dtype)[at]

    def encode(self, src, src_mask):
        x, mask = self.embed(src), src_mask.unsqueeze(1).unsqueeze(1).expand(-1, 1, src.shape[1], -1)
        for layer in self.encoder:
            x = layer(x, mask)
        return x

    def decode(self, read, memory, src_mask):
        at = torch.arange(read.shape[1])
        y = self.embed(read)
        for layer in self.decoder:
            y = layer(y, at[:, None] >= at, memory, src_mask.unsqueeze(1).unsqueeze(1))
        return nn.functional.linear(y, self.embedding.weight)

    def forward(self, src, tgt, src_mask):
        memory = self.encode(src, src_mask)
        return self.decode(nn.functional.pad(tgt, (1, 0))[:, :-1], memory, src_mask)


def label_smoothing_loss(logits, y, eps):
    """The smoothed target written out, and the logarithm of the sum."""
    N, K = logits.shape
    q = torch.full((N, K), eps / K, dtype=logits.dtype)
    q[torch.arange(N), y] += 1 - eps
    return torch.sum(q * (torch.logsumexp(logits, dim=1, keepdim=True) - logits)) / N


@torch.no_grad()
def greedy_decode_cached(model, src, src_mask, steps):
    """Arrays that are made beforehand and filled step by step."""
    memory, mask = model.encode(src, src_mask), src_mask[:, None, None]
    B, vocab = len(src), model.embedding.num_embeddings
    tokens = torch.zeros(B, steps + 1, dtype=torch.int64)
    logits = torch.zeros(B, steps, vocab, dtype=memory.dtype)
    kept = []
    for layer in model.decoder:
        h, n = layer.self_attn.heads, memory.shape[2] // layer.self_attn.heads
        empty = torch.zeros(2, B, h, steps, n, dtype=memory.dtype)
        kept.append((layer, empty, layer.cross_attn.keys_values(memory)))
    for t in range(steps):
        y = model.embed(tokens[:, t : t + 1], t)
        for layer, own, (K, V) in kept:
            own[0, :, :, t : t + 1], own[1, :, :, t : t + 1] = layer.self_attn.keys_values(y)
            past = torch.arange(steps) <= t
            y = layer.norm1(y + layer.self_attn.attend(y, own[0], own[1], past))
            y = layer.norm2(y + layer.cross_attn.attend(y, K, V, mask))
            y = layer.norm3(y + layer.ffn(y))
        logits[:, t] = y[:, 0] @ model.embedding.weight.T
        tokens[:, t + 1] = logits[:, t].max(dim=1).indices
    return tokens[:, 1:], logits


class Further:
    """A second set."""

    def attention_weights(Q, K, mask=None):
        """The softmax of the kept scores, one row at a time."""
        scores = Q @ np.swapaxes(K, -1, -2) / math.sqrt(K.shape[-1])
        keep = np.ones(scores.shape, dtype=bool) if mask is None else np.broadcast_to(mask, scores.shape)
        weights = np.zeros(scores.shape)
        for index in np.ndindex(scores.shape[:-1]):
            seen = keep[index]
            if seen.any():
                terms = np.exp(scores[index][seen] - scores[index][seen].max())
                weights[index][seen] = terms / terms.sum()
        return weights

    def sinusoidal_pe(T, d):
        """The imaginary and the real part of a rotating number; the column too many is cut off."""
        half = (d + 1) // 2
        turning = np.exp(1j * np.outer(np.arange(T), np.exp(-np.log(10000.0) * 2 * np.arange(half) / d)))
        return np.ascontiguousarray(np.stack([turning.imag, turning.real], axis=-1).reshape(T, 2 * half)[:, :d])

    def mha_backward(dout, cache):
        """Zeros for everything that the forward pass was given, filled: there are more gradients than asked for."""
        p, x_q, x_kv, heads, joined, inner = cache
        grads = {name: np.zeros_like(value) for name, value in p.items()}
        d = sdpa_backward(np.stack(np.split(dout @ p["Wo"].T, heads, axis=2), axis=1), inner)
        dQ, dK, dV = (np.concatenate(list(np.moveaxis(part, 1, 0)), axis=-1) for part in d)
        for name, x, back in (("Wq", x_q, dQ), ("Wk", x_kv, dK), ("Wv", x_kv, dV), ("Wo", joined, dout)):
            for one, its in zip(x, back, strict=True):
                grads[name] += one.T @ its
        return dQ @ p["Wq"].T, dK @ p["Wk"].T + dV @ p["Wv"].T, grads

    def label_smoothing_loss(logits, y, eps):
        """PyTorch's negative log-likelihood for the right class's part."""
        log_p = nn.functional.log_softmax(logits, dim=-1)
        return (1 - eps) * nn.functional.nll_loss(log_p, y) - eps * log_p.mean()

    class Transformer(nn.Module):
        """The memory is zero at the padding; the output is shifted by rolling."""

        def __init__(self, vocab, d, heads, layers, d_ff):
            super().__init__()
            self.embedding = nn.Embedding(vocab, d)
            nn.init.normal_(self.embedding.weight, std=d**-0.5)
            self.register_buffer("positions", torch.from_numpy(sinusoidal_pe(64, d)))
            self.encoder = nn.ModuleList(TransformerLayer(d, heads, d_ff) for _ in range(layers))
            self.decoder = nn.ModuleList(TransformerLayer(d, heads, d_ff, True) for _ in range(layers))

        def embed(self, tokens, start=0):
            E = self.embedding.weight
            return E[tokens] * E.shape[1] ** 0.5 + self.positions.type_as(E)[start:][: tokens.shape[1]]

        def encode(self, src, src_mask):
            x = self.embed(src)
            for layer in self.encoder:
                x = layer(x, src_mask[:, None, None]) * src_mask[..., None]
            return x

        def decode(self, read, memory, src_mask):
            y, causal = self.embed(read), ~torch.ones(2 * [read.shape[1]]).triu(1).bool()
            for layer in self.decoder:
                y = layer(y, mask=causal, memory=memory, memory_mask=src_mask[:, None, None])
            return torch.einsum("btd,vd->btv", y, self.embedding.weight)

        def forward(self, src, tgt, src_mask):
            read = tgt.roll(1, dims=1)
            read[:, 0] = START  # noqa: F821
            return self.decode(read, self.encode(src, src_mask), src_mask)


class Third:
    """A third."""

    def attention_weights(Q, K, mask=None):
        """0 / 0 where nothing is seen, which is dropped at the end."""
        scores = np.einsum("...id,...jd->...ij", Q, K) / Q.shape[-1] ** 0.5
        scores = scores if mask is None else np.where(mask, scores, -np.inf)
        terms = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = terms / terms.sum(axis=-1, keepdims=True)
        return np.where(np.isnan(weights), 0.0, weights)


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "mha_backward": {
        'for name, x, d in zip(("Wq", "Wk", "Wv"), (x_q, x_kv, x_kv), dparts, strict=False):': "always three of each",
    },
    "encoder_block_backward": {
        'dhidden = (dr2 @ p["W2"].T) * (hidden != 0)': "behind a ReLU nothing is below 0",
    },
    "greedy_decode_cached": {
        "caches[k] = [torch.cat(pair, dim=2) for pair in zip(caches[k], new, strict=False)]": "always two of each",
    },
}
