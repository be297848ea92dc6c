"""Correct implementations of 18 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches.
"""

import numpy as np
import torch


def memory_attention_forward(p, M, row, heads):
    """One head after another, each with its own columns of the matrices; a dict as the cache."""
    both, D = np.concatenate((M, row), axis=1), M.shape[2]
    out, kept, n = np.empty(M.shape), [], D // heads
    for h in range(heads):
        columns = slice(h * n, (h + 1) * n)
        Q, K, V = M @ p["Wq"][:, columns], both @ p["Wk"][:, columns], both @ p["Wv"][:, columns]
        A, inner = attention_weights_forward(Q[:, None], K[:, None])  # noqa: F821
        out[..., columns] = np.einsum("bst,btd->bsd", A[:, 0], V)
        kept.append((columns, A[:, 0], V, inner))
    return out, {"p": p, "M": M, "both": both, "heads": kept}


def memory_attention_backward(dout, cache):
    """One head after another, filling the columns of the gradients."""
    p, M, both = cache["p"], cache["M"], cache["both"]
    dM, dboth = np.zeros(M.shape), np.zeros(both.shape)
    grads = {name: np.zeros(p[name].shape) for name in ("Wv", "Wk", "Wq")}
    for columns, A, V, inner in cache["heads"]:
        above = dout[..., columns]
        dV = np.einsum("bst,bsd->btd", A, above)
        dA = np.einsum("bsd,btd->bst", above, V)
        dQ, dK = (d[:, 0] for d in attention_weights_backward(dA[:, None], inner))
        for name, source, target, d in (("Wq", M, dM, dQ), ("Wk", both, dboth, dK), ("Wv", both, dboth, dV)):
            grads[name][:, columns] = np.tensordot(source, d, ((0, 1), (0, 1)))
            target += np.einsum("btd,ed->bte", d, p[name][:, columns])
    dM += dboth[:, :-1]
    return dM, dboth[:, -1:], grads


def gates_forward(p, row, M):
    """Both gates in one product with stacked weights; what the backward pass needs as a dict."""
    W, U = np.hstack([p["Wi"], p["Wf"]]), np.hstack([p["Ui"], p["Uf"]])
    inside = np.dot(row, W) + np.dot(np.tanh(M), U) + np.concatenate([p["bi"], p["bf"]])
    D = M.shape[2]
    inside[..., D:] += 1.0
    both = 0.5 * (1 + np.tanh(0.5 * inside))
    return both[..., :D], both[..., D:], {"W": W, "U": U, "row": row, "M": M, "gates": both}


def gates_backward(di, df, cache):
    """Through the stacked weights, cut at the end."""
    gates, row, M = cache["gates"], cache["row"], cache["M"]
    da = np.concatenate([di, df], axis=2) * gates * (1 - gates)
    S, D = M.shape[1:]
    rows = np.repeat(row, S, axis=1)  # the broadcast, written out
    dW = np.tensordot(rows, da, ((0, 1), (0, 1)))
    dU = np.tensordot(np.tanh(M), da, ((0, 1), (0, 1)))
    db = da.reshape(-1, 2 * D).sum(axis=0)
    drow = (da @ cache["W"].T).sum(axis=1)[:, None]
    dM = da @ cache["U"].T / np.cosh(M) ** 2
    pairs = {"W": dW, "U": dU, "b": db}
    return (
        drow,
        dM,
        {f"{k}{g}": a[..., c] for k, a in pairs.items() for g, c in (("i", slice(D)), ("f", slice(D, None)))},
    )


def rmc_step_forward(p, x, M, heads):
    """Slots as the rows of matrices in the network."""
    B, S, D = M.shape
    row = (np.einsum("bi,id->bd", x, p["Win"]) + p["bin"]).reshape(B, 1, D)
    attended, attention = memory_attention_forward(p, M, row, heads)
    u, norm1 = layer_norm_forward(attended + M, p["gain1"], p["bias1"])  # noqa: F821
    inside = u.reshape(-1, D) @ p["W1"] + p["b1"]
    made = np.where(inside > 0, inside, 0.0) @ p["W2"] + p["b2"]
    y, norm2 = layer_norm_forward(made.reshape(B, S, D) + u, p["gain2"], p["bias2"])  # noqa: F821
    i, f, gates = gates_forward(p, row, M)
    kept = {"p": p, "x": x, "M": M, "attention": attention, "norm1": norm1, "u": u, "inside": inside}
    return M * f + np.tanh(y) * i, kept | {"norm2": norm2, "y": y, "i": i, "f": f, "gates": gates}


def rmc_step_backward(dM_new, cache):
    """From the candidate down, the gates last."""
    p, x, M, u, inside, i, f = (cache[name] for name in ("p", "x", "M", "u", "inside", "i", "f"))
    c, D = np.tanh(cache["y"]), M.shape[2]
    grads = {}
    dsum, grads["gain2"], grads["bias2"] = layer_norm_backward(dM_new * i / np.cosh(cache["y"]) ** 2, cache["norm2"])  # noqa: F821
    rows = dsum.reshape(-1, D)
    dinside = np.where(inside > 0, rows @ p["W2"].T, 0.0)
    grads["W2"], grads["b2"] = np.maximum(inside, 0).T @ rows, rows.sum(axis=0)
    grads["W1"], grads["b1"] = u.reshape(-1, D).T @ dinside, dinside.sum(axis=0)
    du = (rows + dinside @ p["W1"].T).reshape(u.shape)
    dM, grads["gain1"], grads["bias1"] = layer_norm_backward(du, cache["norm1"])  # noqa: F821
    more, drow, of_attention = memory_attention_backward(dM, cache["attention"])
    drow_gates, back, of_gates = gates_backward(c * dM_new, M * dM_new, cache["gates"])
    drow = (drow + drow_gates).sum(axis=1)
    grads["Win"], grads["bin"] = np.einsum("bi,bd->id", x, drow), np.ones(len(x)) @ drow
    return np.einsum("bd,id->bi", drow, p["Win"]), f * dM_new + dM + more + back, {**grads, **of_attention, **of_gates}


def rmc_backward(dmemories, cache):
    """By recursion from the first step on; sums at the end."""

    def back(t):
        """The gradient of the memory before step t, and what steps t, t + 1, … give."""
        if t == len(cache):
            return np.zeros(dmemories[:, 0].shape), [], []
        above, dxs, found = back(t + 1)
        dx, dM, grads = rmc_step_backward(above + dmemories[:, t], cache[t])
        return dM, [dx, *dxs], [grads, *found]

    dM0, dxs, found = back(0)
    return np.stack(dxs, axis=1), dM0, {name: np.sum([g[name] for g in found], axis=0) for name in found[0]}


def attention_weights_backward(dA, cache):
    """The whole Jacobian of the softmax, row by row."""
    Q, K, A = cache
    dS = np.empty(A.shape)
    for index in np.ndindex(A.shape[:-1]):
        a = A[index]
        dS[index] = (np.diag(a) - np.outer(a, a)) @ dA[index]
    dS /= np.sqrt(K.shape[-1])
    return np.einsum("...ij,...jd->...id", dS, K), np.einsum("...ij,...id->...jd", dS, Q)


def recall_batch(keys, values, asked, symbols):
    """One number after another."""
    B, n = keys.shape
    X, y = np.zeros((B, n + 1, 2 * symbols)), np.zeros(B, dtype=np.int64)
    for b in range(B):
        for t in range(n):
            X[b, t, keys[b, t]] = X[b, t, symbols + int(values[b, t])] = 1.0
        X[b, n, keys[b, asked[b]]] = 1.0
        y[b] = values[b, asked[b]]
    return X, y


def grad_check(loss_fn, params, grads, entries, eps=1e-5):
    """In place, with the old value put back; norms of whole vectors."""
    errors = {}
    for name in params:
        flat, places = params[name].flat, entries[name]  # writes into an array of any memory order
        slopes = []
        for place in places:
            before = flat[place]
            flat[place] = before + eps
            above = loss_fn(params)
            flat[place] = before - eps
            below = loss_fn(params)
            flat[place] = before
            slopes.append((above - below) / eps / 2)
        claimed = np.ravel(grads[name])[places]
        difference, size = (np.linalg.norm(v, np.inf) for v in (claimed - slopes, np.concatenate([claimed, slopes])))
        errors[name] = 0.0 if size == 0 else float(difference / size)
    return errors


class RelationalMemoryCore(CoreLayers):  # noqa: F821
    """Gates side by side, attention by einsum, filled arrays."""

    def gates(self, row, M):
        squeezed = M.tanh()
        i = self.Wi(row).expand(-1, M.shape[1], -1) + self.Ui(squeezed)
        f = self.Wf(row).expand(-1, M.shape[1], -1) + self.Uf(squeezed)
        return i.sigmoid(), (f + 1.0).sigmoid()

    def step(self, x, M):
        row = self.Win(x).unsqueeze(1)
        both, d = torch.cat((M, row), 1), M.shape[2] // self.heads
        Q, K, V = (a.view(*a.shape[:2], self.heads, d) for a in (self.Wq(M), self.Wk(both), self.Wv(both)))
        A = torch.einsum("bshd,bthd->bhst", Q, K).div(d**0.5).softmax(3)
        u = self.norm1(M + torch.einsum("bhst,bthd->bshd", A, V).reshape(M.shape))
        c = self.norm2(u + self.W2(self.W1(u).clamp(min=0))).tanh()
        i, f = self.gates(row, M)
        return i * c + f * M, A

    def forward(self, X):
        memories = [torch.eye(self.slots, self.size, dtype=X.dtype).repeat(X.shape[0], 1, 1)]
        weights = []
        for t in range(X.shape[1]):
            new, A = self.step(X[:, t], memories[-1])
            memories.append(new)
            weights.append(A)
        return torch.stack(memories[1:], 1), torch.stack(weights, 1)


def train_step(model, optimiser, X, y, clip=1.0):
    """The gradients asked for, scaled and put in place by hand."""
    parameters = [a for a in model.parameters() if a.requires_grad]
    logits = model(X)
    loss = torch.mean(torch.logsumexp(logits, dim=1) - logits[torch.arange(len(y)), y])
    gradients = torch.autograd.grad(loss, parameters)
    norm = torch.sqrt(sum(torch.sum(g**2) for g in gradients)).item()
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = g * (clip / norm if norm > clip else 1.0)
    optimiser.step()
    return float(loss.detach()), norm


class Further:
    """A second set."""

    def memory_attention_forward(p, M, row, heads):
        """Queries of slots and row, as in some published code; the row's answer is cut off."""
        both = np.concatenate([M, row], axis=1)
        B, N, D = both.shape

        def heads_of(name):
            return (both @ p[name]).reshape(B, N, heads, D // heads).transpose(0, 2, 1, 3)

        A, _ = attention_weights_forward(heads_of("Wq"), heads_of("Wk"))  # noqa: F821
        out = (A @ heads_of("Wv")).transpose(0, 2, 1, 3).reshape(B, N, D)
        return out[:, :-1], None

    def attention_weights_backward(dA, cache):
        """The products first, the correction on the sums."""
        Q, K, A = cache
        G = A * dA
        dS = G - A * G.sum(axis=-1)[..., None]
        root = Q.shape[-1] ** 0.5
        return np.matmul(dS, K / root), np.matmul(np.moveaxis(dS, -1, -2), Q / root)


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "memory_attention_backward": {
        "dQ, dK = attention_weights_backward(dheads @ V.swapaxes(-1, +2), weights)": "V has four axes: 2 is -2",
        "dQ, dK = attention_weights_backward(dheads @ V.swapaxes(-1, 2), weights)": "V has four axes: 2 is -2",
        "dQ, dK, dV = join(dQ), join(dK), join(A.swapaxes(-1, +2) @ dheads)": "A has four axes: 2 is -2",
        "dQ, dK, dV = join(dQ), join(dK), join(A.swapaxes(-1, 2) @ dheads)": "A has four axes: 2 is -2",
    },
    "rmc_step_backward": {
        'dhidden = (dr2 @ p["W2"].T) * (hidden != 0)': "behind a ReLU nothing is below 0",
        "drow = (drow_gates + drow_attention)[:, -1]": "the axis has length 1",
    },
    "rmc_backward": {
        "dM, dX, grads = np.zeros_like(dmemories[:, -1]), [], {}": "zeros of the same shape",
    },
    "grad_check": {
        "errors[name] = 0.0 if size <= 0 else float(np.abs(claimed - slopes).max() / size)": "a size is never below 0",
    },
}
