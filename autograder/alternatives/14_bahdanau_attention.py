"""Correct implementations of 14 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches.
"""

import heapq
import math

import numpy as np
import torch
from torch import nn

BOS, PAD = 1, 0  # as the notebook has them


def bigru_encode(p, x, lengths):
    """Each sentence by itself, without any padding; the caches of its steps in a dict."""
    B, S = x.shape[:2]
    H = p["Wh_bwd"].shape[0]
    h, kept = np.zeros((B, S, 2 * H)), []
    for b in range(B):
        n = int(lengths[b])
        left, right = np.zeros((1, H)), np.zeros((1, H))
        steps = {}
        for j in range(n):
            left, steps["fwd", j] = gru_step(p, "fwd", x[b : b + 1, j], left)  # noqa: F821
            h[b, j, :H] = left[0]
        for j in range(n - 1, -1, -1):
            right, steps["bwd", j] = gru_step(p, "bwd", x[b : b + 1, j], right)  # noqa: F821
            h[b, j, H:] = right[0]
        kept.append((n, steps))
    return h, {"sentences": kept, "shape": x.shape}


def bigru_backward(dh, cache):
    """Sentence by sentence."""
    dx, grads = np.zeros(cache["shape"]), {}
    H = dh.shape[2] // 2
    for b, (n, steps) in enumerate(cache["sentences"]):
        for name, order, part in (("fwd", range(n - 1, -1, -1), dh[b, :, :H]), ("bwd", range(n), dh[b, :, H:])):
            back = np.zeros((1, H))
            for j in order:
                one, back, found = gru_step_backward(back + part[j], steps[name, j])  # noqa: F821
                dx[b, j] += one[0]
                for key, value in found.items():
                    grads[key] = value if key not in grads else grads[key] + value
    return dx, grads


def additive_attention(p, s, h, mask):
    """Sentence by sentence, over its words alone; through logarithms."""
    B, S, _ = h.shape
    c, alpha, kept = np.zeros((B, h.shape[2])), np.zeros((B, S)), []
    for b in range(B):
        at = np.flatnonzero(mask[b])
        u = np.tanh(s[b] @ p["W_a"] + h[b, at] @ p["U_a"])
        e = u @ p["v_a"]
        weights = np.exp(e - np.logaddexp.reduce(e))
        alpha[b, at], c[b] = weights, weights @ h[b, at]
        kept.append((at, u, weights))
    return c, alpha, {"p": dict(p), "s": s.copy(), "h": h.copy(), "kept": kept}


def additive_attention_backward(dc, cache):
    """Sentence by sentence; the softmax's rule from the context itself: dα - dc · c."""
    p, s, h = cache["p"], cache["s"], cache["h"]
    ds, dh = np.zeros_like(s), np.zeros_like(h)
    grads = {name: np.zeros_like(p[name]) for name in ("W_a", "U_a", "v_a")}
    for b, (at, u, weights) in enumerate(cache["kept"]):
        centred = h[b, at] - weights @ h[b, at]
        de = weights * (centred @ dc[b])
        da = np.outer(de, p["v_a"]) * (1 - u) * (1 + u)
        ds[b] = p["W_a"] @ da.sum(axis=0)
        dh[b, at] = np.outer(weights, dc[b]) + da @ p["U_a"].T
        grads["W_a"] += np.outer(s[b], da.sum(axis=0))
        grads["U_a"] += h[b, at].T @ da
        grads["v_a"] += de @ u
    return ds, dh, grads


def decoder_step(p, y, s, h, mask):
    """Maximum of two slices; the readout in three products."""
    context, alpha, looked = additive_attention(p, s, h, mask)
    new, moved = gru_step(p, "dec", np.concatenate((y, context), axis=-1), s)  # noqa: F821
    H, E = s.shape[1], y.shape[1]
    W = p["W_out"]
    wide = new @ W[:H] + y @ W[H : H + E] + context @ W[H + E :] + p["b_out"]
    odd = wide[:, 1::2] > wide[:, ::2]
    t = np.where(odd, wide[:, 1::2], wide[:, ::2])
    kept = {"p": p, "y": y, "c": context, "new": new, "looked": looked, "moved": moved, "odd": odd, "t": t}
    return t @ p["W_vocab"] + p["b_vocab"], new, alpha, kept


def decoder_step_backward(dlogits, ds_new, cache):
    """The readout's three parts apart."""
    p, y, c, new, odd, t = (cache[key] for key in ("p", "y", "c", "new", "odd", "t"))
    H, E, W = new.shape[1], y.shape[1], p["W_out"]
    dt = dlogits @ p["W_vocab"].T
    dwide = np.empty((len(dt), 2 * dt.shape[1]))
    dwide[:, ::2], dwide[:, 1::2] = np.where(odd, 0, dt), np.where(odd, dt, 0)
    dyc, ds, grads = gru_step_backward(ds_new + dwide @ W[:H].T, cache["moved"])  # noqa: F821
    dy = dyc[:, :E] + dwide @ W[H : H + E].T
    more, dh, looked = additive_attention_backward(dyc[:, E:] + dwide @ W[H + E :].T, cache["looked"])
    grads = {**grads, **looked, "b_out": np.ones(len(y)) @ dwide, "b_vocab": np.ones(len(y)) @ dlogits}
    grads["W_out"] = np.vstack([new.T @ dwide, y.T @ dwide, c.T @ dwide])
    grads["W_vocab"] = np.einsum("bm,bv->mv", t, dlogits)
    return dy, more + ds, dh, grads


def seq2seq_loss_and_grads(p, src, lengths, tgt):
    """Through logaddexp and picking; embeddings by one-hot products; a NumPy scalar as the loss."""
    logits, (h, encoded, s0, read, caches) = seq2seq_forward(p, src, lengths, tgt)  # noqa: F821
    (B, T), H = tgt.shape, h.shape[2] // 2
    logp = logits - np.logaddexp.reduce(logits, axis=2)[:, :, None]
    rows, places = np.nonzero(tgt)
    N = len(rows)
    loss = -logp[rows, places, tgt[rows, places]].sum() / N
    dlogits = np.zeros_like(logits)
    dlogits[rows, places] = np.exp(logp[rows, places]) / N
    dlogits[rows, places, tgt[rows, places]] -= 1 / N
    total = {name: 0.0 * value for name, value in p.items()}
    dh, ds, dread = 0.0, np.zeros((B, s0.shape[1])), np.empty((B, T, p["E_tgt"].shape[1]))
    for t in reversed(range(T)):
        dread[:, t], ds, part, found = decoder_step_backward(dlogits[:, t], ds, caches[t])
        dh = dh + part
        for name in found:
            total[name] = total[name] + found[name]
    before = ds - ds * s0 * s0
    total["W_init"], total["b_init"] = np.einsum("bi,bj->ij", h[:, 0, H:], before), before.sum(0)
    first = np.zeros_like(h)
    first[:, 0, H:] = before @ p["W_init"].T
    dx, found = bigru_backward(dh + first, encoded)
    total.update(found)
    total["E_tgt"] = np.tensordot(np.eye(len(p["E_tgt"]))[read], dread, axes=((0, 1), (0, 1)))
    total["E_src"] = np.tensordot(np.eye(len(p["E_src"]))[src], dx, axes=((0, 1), (0, 1)))
    return loss, total


class AttnSeq2Seq(Layers):  # noqa: F821
    """Sentences sorted before they are packed; products by einsum; additive scores by slices."""

    def encode(self, src, lengths):
        """Sorted by length, and back."""
        order = torch.argsort(lengths, descending=True)
        packed = nn.utils.rnn.pack_padded_sequence(self.E_src(src[order]), lengths[order].tolist(), batch_first=True)
        out, last = self.encoder(packed)
        h, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=src.size(1))
        back = torch.argsort(order)
        mask = torch.stack([torch.arange(src.size(1)) < n for n in lengths])
        return h[back], mask, self.init(last[1][back]).tanh()

    def attend(self, s, h, mask):
        """Masked by adding minus infinity."""
        half = s.size(-1)
        if self.attention:
            scores = torch.einsum("bsa,a->bs", torch.tanh(self.W_a(s).unsqueeze(1) + self.U_a(h)), self.v_a.weight[0])
            alpha = (scores + torch.where(mask, 0.0, -math.inf)).softmax(-1)
            return torch.einsum("bs,bsd->bd", alpha, h), alpha
        last = torch.stack([row[int(n) - 1, :half] for row, n in zip(h, mask.sum(1), strict=True)])
        return torch.hstack([last, h[:, 0, half:]]), None

    def step(self, word, s, h, mask):
        """Maximum of two slices."""
        c, alpha = self.attend(s, h, mask)
        y = self.E_tgt.weight[word]
        s = self.cell(torch.hstack([y, c]), s)
        wide = self.readout(torch.hstack([s, y, c]))
        return self.vocab(torch.maximum(wide[:, ::2], wide[:, 1::2])), s, alpha

    def forward(self, src, lengths, tgt):
        """Writes into a list, word by word."""
        h, mask, s = self.encode(src, lengths)
        word, found = torch.ones_like(tgt[:, 0]) * BOS, []
        for t in range(tgt.shape[1]):
            logits, s, _ = self.step(word, s, h, mask)
            found += [logits.unsqueeze(1)]
            word = tgt[:, t]
        return torch.cat(found, 1)


def beam_search(step, state, bos, eos, width, max_len, a=1.0):
    """One hypothesis after the other, as Python's numbers; the best by a heap; a tuple."""
    live, finished = [((), 0.0, state)], []
    for _ in range(max_len):
        every = []
        for words, logp, s in live:
            scores, new = step(torch.tensor([words[-1] if words else bos]), s)
            every += [(logp + x, (*words, k), new) for k, x in enumerate(scores[0].tolist()) if x > -math.inf]
        kept = heapq.nlargest(width, every, key=lambda item: item[0])
        finished += [(list(words), logp) for logp, words, _ in kept if words[-1] == eos]
        live = [(words, logp, s) for logp, words, s in kept if words[-1] != eos]
    finished += [(list(words), logp) for words, logp, _ in live]
    return tuple(sorted(finished, key=lambda item: item[1] / len(item[0]) ** a, reverse=True))


class Further:
    """A second set."""

    def bigru_encode(p, x, lengths):
        """The whole batch reversed by an index, two readers over full sentences, then back."""
        B, S, _ = x.shape
        at = np.arange(S)[None]
        n = np.asarray(lengths)[:, None]
        turned = np.where(at < n, n - 1 - at, at)
        rows = np.arange(B)[:, None]

        def read(name, x):
            s, out, steps = np.zeros((B, p[f"Wh_{name}"].shape[0])), [], []
            for j in range(S):
                s, kept = gru_step(p, name, x[:, j], s)  # noqa: F821
                out.append(s)
                steps.append(kept)
            return np.stack(out, 1), steps

        left, fwd = read("fwd", x)
        right, bwd = read("bwd", x[rows, turned])
        h = np.concatenate([left, right[rows, turned]], axis=-1)
        return np.where((at < n)[:, :, None], h, 0), (at < n, rows, turned, fwd, bwd)

    def bigru_backward(dh, cache):
        """With the same index."""
        there, rows, turned, fwd, bwd = cache
        H, S = dh.shape[2] // 2, dh.shape[1]
        dh = dh * there[:, :, None]

        def back(d, steps):
            ds, dx, total = np.zeros(d[:, 0].shape), [None] * S, {}
            for j in reversed(range(S)):
                dx[j], ds, found = gru_step_backward(d[:, j] + ds, steps[j])  # noqa: F821
                accumulate(total, found)  # noqa: F821
            return np.stack(dx, 1), total

        left, grads = back(dh[:, :, :H], fwd)
        right, more = back(dh[:, :, H:][rows, turned], bwd)
        return left + right[rows, turned], {**grads, **more}

    def additive_attention(p, s, h, mask):
        """Padding's terms are set to 0 after an exponential of differences to the words' maximum."""
        u = np.tanh(np.add(np.expand_dims(s @ p["W_a"], 1), np.tensordot(h, p["U_a"], 1)))
        e = np.sum(u * p["v_a"], axis=-1)
        top = np.max(e, axis=1, initial=-np.inf, where=mask, keepdims=True)
        terms = np.exp(np.minimum(e - top, 0)) * mask
        alpha = terms / np.sum(terms, axis=1)[:, np.newaxis]
        return np.squeeze(alpha[:, None, :] @ h, 1), alpha, [p, s, h, u, alpha]

    def additive_attention_backward(dc, cache):
        """Matrix products of stacks."""
        p, s, h, u, alpha = cache
        dalpha = (h @ dc[:, :, None])[:, :, 0]
        de = alpha * dalpha - alpha * (alpha[:, None] @ dalpha[:, :, None])[:, 0]
        da = (1 - np.square(u)) * np.multiply.outer(de, p["v_a"])
        flat = da.reshape(-1, da.shape[2])
        grads = dict(v_a=de.reshape(-1) @ u.reshape(-1, u.shape[2]), U_a=h.reshape(-1, h.shape[2]).T @ flat)
        grads["W_a"] = np.repeat(s, h.shape[1], axis=0).T @ flat
        ds = (da @ p["W_a"].T).sum(axis=1)
        return ds, np.matmul(alpha[:, :, None], dc[:, None]) + np.einsum("bsa,da->bsd", da, p["U_a"]), grads

    def decoder_step(p, y, s, h, mask):
        """A reshape by np.split, argmax for the maximum."""
        c, alpha, looked = additive_attention(p, s, h, mask)
        new, moved = gru_step(p, "dec", np.c_[y, c], s)  # noqa: F821
        x = np.c_[new, y, c]
        pairs = np.stack(np.hsplit(x @ p["W_out"] + p["b_out"], len(p["b_out"]) // 2), axis=1)
        which = pairs.argmax(axis=2)
        t = np.take_along_axis(pairs, which[..., None], axis=2)[..., 0]
        return np.add(t @ p["W_vocab"], p["b_vocab"]), new, alpha, (p, y.shape[1], looked, moved, x, which, t)

    def decoder_step_backward(dlogits, ds_new, cache):
        """put_along_axis for the routing."""
        p, E, looked, moved, x, which, t = cache
        H, B = ds_new.shape[1], len(ds_new)
        dpairs = np.zeros((*which.shape, 2))
        np.put_along_axis(dpairs, which[..., None], (dlogits @ p["W_vocab"].T)[..., None], axis=2)
        flat = dpairs.reshape(B, 2 * which.shape[1])
        dnew, dy, dc = np.split(flat @ p["W_out"].T, [H, H + E], axis=1)
        back, ds, of_gru = gru_step_backward(np.add(dnew, ds_new), moved)  # noqa: F821
        also, dh, of_attention = additive_attention_backward(dc + back[:, E:], looked)
        grads = dict(W_out=x.T @ flat, b_out=flat.sum(0), W_vocab=t.T @ dlogits, b_vocab=dlogits.sum(0))
        grads.update(of_gru)
        grads.update(of_attention)
        return dy + back[:, :E], ds + also, dh, grads

    def beam_search(step, state, bos, eos, width, max_len, a=1.0):
        """A stable sort of all sums; tuples of words and tensors without axes on the way."""
        prefixes, sums, last, done = [[]], np.zeros(1), [bos], []
        for _ in range(max_len):
            if len(last) == 0:
                break
            logp, state = step(torch.as_tensor(last), state)
            table = sums[:, None] + logp.double().numpy()
            flat = table.ravel()
            places = [k for k in np.argsort(-flat, kind="stable")[:width] if np.isfinite(flat[k])]
            grown = [(prefixes[k // table.shape[1]] + [int(k % table.shape[1])], flat[k]) for k in places]
            done.extend((words, float(x)) for words, x in grown if words[-1] == eos)
            stay = [i for i, (words, _) in enumerate(grown) if words[-1] != eos]
            state = state[torch.tensor([int(places[i] // table.shape[1]) for i in stay], dtype=torch.long)]
            prefixes, sums = [grown[i][0] for i in stay], np.array([grown[i][1] for i in stay])
            last = [words[-1] for words in prefixes]
        done.extend(zip(prefixes, map(float, sums), strict=True))
        done.sort(key=lambda item: -item[1] * len(item[0]) ** -a)
        return done

    class AttnSeq2Seq(Layers):  # noqa: F821
        """The encoder's two directions by its own cells' weights, place by place; where for the mask."""

        def encode(self, src, lengths):
            """Without packing: each direction a loop that clears its state at padding."""
            x, mask = self.E_src(src), torch.arange(src.shape[1])[None, :].lt(lengths.unsqueeze(1))
            halves = []
            for tail, order in (("", range(src.shape[1])), ("_reverse", reversed(range(src.shape[1])))):
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                W, U, b, d = (getattr(self.encoder, f"{name}_l0{tail}") for name in names)
                s, out = x.new_zeros(len(src), self.encoder.hidden_size), [None] * src.shape[1]
                for j in order:
                    s = torch.gru_cell(x[:, j], s, W, U, b, d) * mask[:, j, None]
                    out[j] = s
                halves.append(torch.stack(out, dim=1))
            return torch.cat(halves, dim=2), mask, torch.tanh(self.init(halves[1][:, 0]))

        def attend(self, s, h, mask):
            """A fixed vector by gathering."""
            n = self.cell.hidden_size
            if not self.attention:
                last = mask.long().sum(1, keepdim=True).sub(1)[:, :, None].expand(-1, -1, n)
                return torch.cat((h[..., :n].gather(1, last).squeeze(1), h[:, 0, n:]), 1), None
            e = self.v_a((self.U_a(h) + self.W_a(s).unsqueeze(1)).tanh())[..., 0]
            alpha = torch.where(mask, e, torch.full_like(e, -math.inf)).softmax(dim=1)
            return (alpha.unsqueeze(2) * h).sum(dim=1), alpha

        def step(self, word, s, h, mask):
            """MaxPool as maxout."""
            context, alpha = self.attend(s, h, mask)
            y = nn.functional.embedding(word, self.E_tgt.weight)
            s = self.cell(torch.cat((y, context), -1), s)
            wide = self.readout(torch.cat((s, y, context), -1))
            return self.vocab(nn.functional.max_pool1d(wide.unsqueeze(1), 2).squeeze(1)), s, alpha

        def forward(self, src, lengths, tgt):
            """Rolls the target."""
            read = tgt.roll(1, dims=1)
            read[:, 0] = BOS
            h, mask, s = self.encode(src, lengths)
            out = []
            for word in read.T:
                logits, s, _ = self.step(word, s, h, mask)
                out.append(logits)
            return torch.stack(out, 1)

    def seq2seq_loss_and_grads(p, src, lengths, tgt):
        """One list of parts per parameter, summed at the end; the loss as an array without axes."""
        logits, (h, encoded, s0, read, caches) = seq2seq_forward(p, src, lengths, tgt)  # noqa: F821
        real = (tgt > 0).astype(float)
        z = logits - logits.max(-1, keepdims=True)
        prob = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
        picked = np.take_along_axis(z, tgt[..., None], -1)[..., 0] - np.log(np.exp(z).sum(-1))
        loss = np.asarray(-(picked * real).sum() / real.sum())
        np.put_along_axis(prob, tgt[..., None], np.take_along_axis(prob, tgt[..., None], -1) - 1, -1)
        up = prob * real[..., None] / real.sum()
        parts = {name: [np.zeros(value.shape)] for name, value in p.items()}
        ds, dhs = np.zeros(s0.shape), []
        for t in range(len(caches) - 1, -1, -1):
            dy, ds, dh, found = decoder_step_backward(up[:, t], ds, caches[t])
            dhs.append(dh)
            for row, word in zip(dy, read[:, t], strict=True):
                parts["E_tgt"][0][word] += row
            for name, value in found.items():
                parts[name].append(value)
        dh, n = np.sum(dhs, axis=0), s0.shape[1]
        d = ds * (1 - np.square(s0))
        parts["W_init"].append(h[:, 0, -n:].T @ d)
        parts["b_init"].append(d.sum(0))
        dh[:, 0, -n:] = dh[:, 0, -n:] + d @ p["W_init"].T
        dx, found = bigru_backward(dh, encoded)
        for name, value in found.items():
            parts[name].append(value)
        for place in np.ndindex(src.shape):
            parts["E_src"][0][src[place]] += dx[place]
        return loss, {name: sum(values) for name, values in parts.items()}


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "bigru_encode": {
        'for j in range(S) if name >= "fwd" else range(S)[::-1]:': "of both names, bwd comes before fwd",
    },
    "decoder_step": {
        'pairs = (joined @ p["W_out"] + p["b_out"]).reshape(len(y), -2, 2)': "inferred, as by -1",
        'pairs = (joined @ p["W_out"] + p["b_out"]).reshape(len(y), ~1, 2)': "inferred, as by -1",
    },
    "decoder_step_backward": {
        "dpairs = (dt[:, :, None] * (pairs == t[:, :, None])).reshape(len(dt), -2)": "inferred, as by -1",
        "dpairs = (dt[:, :, None] * (pairs == t[:, :, None])).reshape(len(dt), ~1)": "inferred, as by -1",
        "dpairs = (dt[:, :, None] * (pairs >= t[:, :, None])).reshape(len(dt), -1)": "t is the larger of each pair",
    },
    "bigru_backward": {
        'for j in range(S)[::-1] if name >= "fwd" else range(S):': "of both names, bwd comes before fwd",
    },
    "seq2seq_loss_and_grads": {"real, H = tgt > PAD, h.shape[2] // 2": "tokens are not negative, and PAD is 0"},
    "AttnSeq2Seq": {
        "for word in [torch.full_like(tgt[:, -1], BOS), *tgt[:, :-1].unbind(dim=1)]:": "only the shape is taken",
    },
    "beam_search": {
        "words, last = torch.zeros(2, 0, dtype=torch.long), torch.tensor([bos])": "only its first row is read",
        "logp, at = logp[logp != -torch.inf], at[logp > -torch.inf]": "no log-probability is +inf or NaN",
        "logp, at = logp[logp > -torch.inf], at[logp != -torch.inf]": "no log-probability is +inf or NaN",
        "finished += zip(words[done].tolist(), logp[done].tolist(), strict=False)": "both have the same length",
        "continue": "with no hypothesis left, further steps extend none",
        "finished += zip(words.tolist(), logp.tolist(), strict=False)": "both have the same length",
    },
}
