"""Correct implementations of 15 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches; what the notebook gives is there.
"""

import math

import numpy as np
import torch
from torch import nn


def join_forward(x, F, kind="identity", p=None):
    """What multiplies x and what multiplies F, side by side; a dict as the cache."""
    held = {"kind": kind, "x": x, "F": F}
    if kind in ("exclusive", "gated"):
        held["W"], logits = p["wg"], np.einsum("nd,de->ne", x, p["wg"]) + p["bg"]
        held["open"] = sigmoid(-logits)  # noqa: F821
        carried, added = held["open"] * x, (1 - held["open"]) * F if kind == "exclusive" else F
    elif kind == "conv":
        held["W"] = p["ws"]
        carried, added = np.dot(x, p["ws"]), F
    else:
        held["on x"] = {"scaled": lambda: p["lam"], "dropout": lambda: p["mask"], "identity": lambda: 1.0}[kind]()
        held["on F"] = p["rho"] if kind == "scaled" else 1.0
        carried, added = held["on x"] * x, held["on F"] * F
    return carried + added, held


def join_backward(dz, cache):
    """From the same two factors."""
    kind = cache["kind"]
    if kind == "conv":
        return np.einsum("ne,de->nd", dz, cache["W"]), dz.copy(), {"ws": np.einsum("nd,ne->de", cache["x"], dz)}
    if kind not in ("exclusive", "gated"):
        return cache["on x"] * dz, cache["on F"] * dz, {}
    kept = cache["open"]
    d_open = dz * cache["x"]
    if kind == "exclusive":
        d_open = d_open - dz * cache["F"]
    d_logits = -d_open * kept * (1 - kept)
    grads = {"bg": np.ones(len(dz)) @ d_logits, "wg": np.tensordot(cache["x"], d_logits, axes=(0, 0))}
    dF = (1 - kept) * dz if kind == "exclusive" else dz
    return kept * dz + np.dot(d_logits, cache["W"].T), dF, grads


def unit_forward(p, x, placement="full", kind="identity"):
    """Each order written out; a tape of closures as the cache."""
    tape = []

    def product(h, k):
        w = p[f"w{k}"]
        tape.append(lambda d, grads: (grads.update({f"w{k}": np.einsum("ni,nj->ij", h, d)}), d @ w.T)[1])
        return np.einsum("ni,ij->nj", h, w)

    def norm(h, k):
        y, cache = bn_forward(h, p[f"gamma{k}"], p[f"beta{k}"])  # noqa: F821

        def back(d, grads):
            dh, grads[f"gamma{k}"], grads[f"beta{k}"] = bn_backward(d, cache)  # noqa: F821
            return dh

        tape.append(back)
        return y

    def rectified(h):
        open_ = np.sign(np.maximum(h, 0))
        tape.append(lambda d, grads: np.where(open_ == 1, d, 0.0))
        return h * open_

    def plus(F):
        z, cache = join_forward(x, F, kind, p)

        def back(d, grads):
            grads["short"], dF, more = join_backward(d, cache)
            grads.update(more)
            return dF

        tape.append(back)
        return z

    if placement == "full":
        y = plus(product(rectified(norm(product(rectified(norm(x, 1)), 1), 2)), 2))
    elif placement == "relu_only":
        y = plus(norm(product(rectified(norm(product(rectified(x), 1), 1)), 2), 2))
    else:
        F = product(rectified(norm(product(x, 1), 1)), 2)
        if placement == "bn_after_addition":
            y = rectified(norm(plus(F), 2))
        elif placement == "relu_before_addition":
            y = plus(rectified(norm(F, 2)))
        else:
            y = rectified(plus(norm(F, 2)))
    return y, tape


def unit_backward(dy, cache):
    """The tape in reverse."""
    grads, d = {}, dy
    for back in cache[::-1]:
        d = back(d, grads)
    return grads.pop("short"), d, grads


def open_paths(masks):
    """A walk from the end, with a product of numbers."""
    path, each, through = np.ones(masks[-1].shape), [], []
    for mask in masks[::-1]:
        path = path * mask
        each.insert(0, float(np.count_nonzero(mask) / mask.size))
        through.insert(0, float(path.sum() / path.size))
    return each, through


def gradient_profile(dy, caches):
    """Both walks at once; gradients scaled by powers of two, which no rounding touches."""

    def shrunk(d, power):
        size = np.abs(d).max()
        if size == 0:
            return d, power, -math.inf
        shift = math.frexp(size)[1]
        d = np.ldexp(d, -shift)
        power += shift
        return d, power, 0.5 * math.log10(float(np.vdot(d, d))) + power * math.log10(2)

    L = len(caches)
    total, direct = np.empty(L + 1), np.empty(L + 1)
    whole, a, total[L] = shrunk(dy, 0)
    alone, b, direct[L] = shrunk(dy, 0)
    for k in range(L - 1, -1, -1):
        whole = sum(unit_backward(whole, caches[k])[:2])
        alone = unit_backward(alone, caches[k])[0]
        whole, a, total[k] = shrunk(whole, a)
        alone, b, direct[k] = shrunk(alone, b)
    return [total, direct]


class PreActUnit(nn.Module):
    """The branch as one Sequential over the same layers; None where there is no projection."""

    def __init__(self, channels_in, channels_out, stride=1):
        super().__init__()
        self.conv2 = nn.Conv2d(channels_out, channels_out, kernel_size=(3, 3), padding="same", bias=False)
        self.conv1 = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=(stride, stride), padding=1, bias=False)
        self.bn2, self.bn1 = nn.BatchNorm2d(channels_out), nn.BatchNorm2d(channels_in)
        same = stride == 1 and channels_out == channels_in
        self.proj = None if same else nn.Conv2d(channels_in, channels_out, kernel_size=1, stride=stride, bias=False)

    def forward(self, x):
        a = nn.functional.relu(self.bn1(x), inplace=True)
        short = x if self.proj is None else self.proj(a)
        h = self.bn2(self.conv1(a)).clamp(min=0)
        return torch.add(self.conv2(h), short)


class PreActResNet(nn.Module):
    """A list of widths and strides; pooling by a module that holds nothing; the tail by functional calls."""

    def __init__(self, n, width=16, colours=3, classes=10):
        super().__init__()
        out = [width] * n + [2 * width] * n + [4 * width] * n
        into = [width, *out[:-1]]
        self.units = nn.ModuleList([PreActUnit(a, b, 1 + (b > a)) for a, b in zip(into, out, strict=True)])
        self.stem = nn.Conv2d(colours, width, (3, 3), padding=(1, 1), bias=False)
        self.fc = nn.Linear(out[-1], classes)
        self.bn = nn.BatchNorm2d(out[-1])

    def forward(self, x):
        h = nn.Sequential(self.stem, *self.units, self.bn, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())(x)
        return nn.functional.linear(h, self.fc.weight, self.fc.bias)


def gradient_norms(net, x, y):
    """Hooks on the outputs themselves, in a dict by unit; only the outputs are asked for."""
    kept = {}

    def keep(unit, inputs, output):
        kept[id(unit)] = output

    handles = [unit.register_forward_hook(keep) for unit in net.units]
    try:
        log_p = torch.log_softmax(net(x), dim=-1)
    finally:
        for handle in handles:
            handle.remove()
    loss = -log_p[torch.arange(len(y)), y].mean()
    gradients = torch.autograd.grad(loss, tuple(kept.values()))
    return tuple(torch.linalg.vector_norm(g) for g in gradients)


class Further:
    """A second set."""

    def join_forward(x, F, kind="identity", p=None):
        """Example by example; the way back is a closure."""
        z, p = np.empty(x.shape), dict(p or {})
        gates = np.zeros(x.shape)
        for n, (row, f) in enumerate(zip(x, F, strict=True)):
            if kind in ("exclusive", "gated"):
                gates[n] = sigmoid(row @ p["wg"] + p["bg"])  # noqa: F821
                z[n] = row - gates[n] * row + (gates[n] if kind == "exclusive" else 1.0) * f
            elif kind == "conv":
                z[n] = p["ws"].T @ row + f
            elif kind == "scaled":
                z[n] = p["lam"] * row + p["rho"] * f
            elif kind == "dropout":
                z[n] = np.where(p["mask"][n], row, 0) + f
            else:
                z[n] = row + f

        def back(dz):
            if kind in ("exclusive", "gated"):
                content = F - x if kind == "exclusive" else -x
                da = np.array([d * c * g * (1 - g) for d, c, g in zip(dz, content, gates, strict=True)])
                dx = np.array([d * (1 - g) + p["wg"] @ a for d, g, a in zip(dz, gates, da, strict=True)])
                grads = {"wg": sum(np.outer(row, a) for row, a in zip(x, da, strict=True)), "bg": sum(da)}
                return dx, np.where(kind == "exclusive", gates, 1.0) * dz, grads
            if kind == "conv":
                return (p["ws"] @ dz.T).T, dz, {"ws": sum(np.outer(row, d) for row, d in zip(x, dz, strict=True))}
            if kind == "scaled":
                return dz * p["lam"], dz * p["rho"], {}
            return np.where(p["mask"], dz, 0.0) if kind == "dropout" else dz + 0.0, dz + 0.0, {}

        return z, back

    def join_backward(dz, cache):
        """Calls the closure."""
        return cache(dz)

    def open_paths(masks):
        """The last unit at which a path is shut tells all that is open behind it."""
        shut = ~np.stack(masks)
        L = len(shut)
        last = np.where(shut.any(axis=0), L - 1 - np.argmax(shut[::-1], axis=0), -1)
        return 1.0 - np.mean(shut, axis=(1, 2)), np.array([(last < k).mean() for k in range(L)])

    def gradient_profile(dy, caches):
        """A function for one walk; a generator of norms, summed by cumsum."""

        def walk(keep):
            d, factors = dy, []
            for cache in [None, *caches[::-1]]:
                if cache is not None:
                    d = keep(*unit_backward(d, cache)[:2])
                factors.append(np.sqrt(np.sum(np.square(d))))
                d = d / factors[-1] if factors[-1] else np.zeros_like(d)
            with np.errstate(divide="ignore"):
                return np.cumsum(np.log10(factors))[::-1]

        return walk(np.add), walk(lambda shortcut, branch: shortcut)

    class PreActUnit(nn.Module):
        """Layers by functional calls; the projection as a module list of none or one would change its name: setattr."""

        def __init__(self, channels_in, channels_out, stride=1):
            super().__init__()
            for name, c, s, k in (("conv1", channels_in, stride, 3), ("conv2", channels_out, 1, 3)):
                setattr(self, name, nn.Conv2d(c, channels_out, k, s, k // 2, bias=False))
            for name, c in (("bn1", channels_in), ("bn2", channels_out)):
                self.add_module(name, nn.BatchNorm2d(c))
            if (channels_in, 1) != (channels_out, stride):
                self.add_module("proj", nn.Conv2d(channels_in, channels_out, 1, stride, bias=False))

        def forward(self, x):
            h = short = self.bn1(x).relu()
            for norm, conv in ((None, self.conv1), (self.bn2, self.conv2)):
                h = conv(h if norm is None else torch.relu(norm(h)))
            if "proj" in self._modules:
                w = self.proj.weight
                short = nn.functional.conv2d(short, w, stride=self.proj.stride)
            else:
                short = x
            h += short
            return h

    class PreActResNet(nn.Module):
        """Stage by stage, in a helper."""

        def __init__(self, n, width=16, colours=3, classes=10):
            super().__init__()
            self.stem = nn.Conv2d(colours, width, 3, 1, 1, bias=False)
            units = [PreActUnit(width, width) for _ in range(n)]
            for w in (2 * width, 4 * width):
                units += [PreActUnit(w // 2, w, stride=2)]
                units += [PreActUnit(w, w) for _ in range(n - 1)]
            self.units = nn.ModuleList(units)
            self.bn, self.fc = nn.BatchNorm2d(4 * width), nn.Linear(4 * width, classes)

        def forward(self, x):
            h = self.stem(x)
            for k in range(len(self.units)):
                h = self.units[k](h)
            h = nn.functional.relu(self.bn(h))
            return self.fc(h.flatten(2).mean(-1))

    def gradient_norms(net, x, y):
        """Tensor hooks catch gradients on their way back; parameters are not asked."""
        outputs, found = [], {}

        def listen(module, args, out):
            k = len(outputs)
            outputs.append(out)
            out.register_hook(lambda g: found.__setitem__(k, float(g.pow(2).sum().sqrt())))

        handles = [u.register_forward_hook(listen) for u in net.units]
        loss = nn.CrossEntropyLoss()(net(x), y)
        [h.remove() for h in handles]
        torch.autograd.grad(loss, outputs)
        return np.array([found[k] for k in sorted(found)])


class Third:
    """A third set, of what was once refused."""

    def gradient_norms(net, x, y):
        """One tensor of all norms; the cross-entropy written out."""
        outputs, handles = [], []
        for unit in net.units:
            handles += [unit.register_forward_hook(lambda unit, inputs, out: (outputs.append(out), None)[1])]
        try:
            logits = net(x)
        finally:
            while handles:
                handles.pop().remove()
        losses = torch.logsumexp(logits, 1) - logits.gather(1, y.unsqueeze(1)).squeeze(1)
        gradients = torch.autograd.grad(losses.sum() / len(y), outputs)
        return torch.stack([g.square().sum() for g in gradients]).sqrt()


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "join_forward": {
        'if kind >= "scaled":': "of all kinds, scaled is the last by its letters",
        'z = (1 - g) * x + (g * F if kind <= "exclusive" else F)': "of the two gates, exclusive is the first",
        'elif kind <= "conv":': "of all kinds, conv is the first",
        'z = (p["mask"] * x if kind <= "dropout" else x) + F': "of the two that are left, dropout is the first",
    },
    "join_backward": {
        'if kind >= "scaled":': "of all kinds, scaled is the last by its letters",
        'if kind <= "conv":': "of all kinds, conv is the first",
        'da = dz * ((F if kind <= "exclusive" else 0) - x) * g * (1 - g)': "of the two gates, exclusive is the first",
        'return dx, dz * g if kind <= "exclusive" else dz, {"wg": x.T @ da, "bg": da.sum(axis=0)}': "the same",
        'return dz * p["mask"] if kind <= "dropout" else dz, dz, {}': "of the two that are left, dropout is the first",
    },
    "unit_forward": {'if part <= "+":': "no part's name comes before the plus"},
    "unit_backward": {'if part <= "+":': "no part's name comes before the plus"},
    "gradient_profile": {
        "s += np.log10(norm) if norm != 0 else -np.inf": "a norm is not negative",
        "s += np.log10(norm) if norm > -1 else -np.inf": "log10(0) is -inf, and what follows an infinity stays there",
        "s += np.log10(norm) if norm >= 0 else -np.inf": "log10(0) is -inf",
        "shortcut, branch, _ = unit_backward(d / norm if norm != 0 else d, cache)": "a norm is not negative",
        "shortcut, branch, _ = unit_backward(d / norm if norm > -1 else d, cache)": "0 / 0 is no number, which is not "
        "above 0: the sum stays -inf",
        "shortcut, branch, _ = unit_backward(d / norm if norm >= 0 else d, cache)": "the same",
    },
    "PreActUnit": {"if stride > 1 or channels_in != channels_out:": "a stride is at least 1"},
    "PreActResNet": {
        "stride = 2 if stage != 0 and k == 0 else 1": "stages count from 0",
        "stride = 2 if stage > 0 and k <= 0 else 1": "units count from 0",
    },
}
