"""Correct implementations of 10 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches; what the notebook gives is there.
"""

import numpy as np
import torch
from torch import nn


def batchnorm_forward(x, gamma, beta, running, training=True, eps=1e-5, momentum=0.1):
    """On rows of one channel each; a dict as the cache."""
    N, C, H, W = x.shape
    rows = x.transpose(1, 0, 2, 3).reshape(C, -1)
    old_mean, old_var = running
    if training:
        mean = rows.mean(axis=1, keepdims=True)
        var = ((rows - mean) ** 2).mean(axis=1, keepdims=True)
        unbiased = rows.var(axis=1, ddof=1)
        running = [old_mean + momentum * (mean[:, 0] - old_mean), old_var + momentum * (unbiased - old_var)]
    else:
        mean, var = old_mean[:, None], old_var[:, None]
    inverse = 1 / np.sqrt(var + eps)
    normal = (rows - mean) * inverse
    y = (gamma[:, None] * normal + beta[:, None]).reshape(C, N, H, W).transpose(1, 0, 2, 3)
    return y, running, {"normal": normal, "inverse": inverse, "gamma": gamma}


def shortcut_forward(x, channels, stride=1, w=None):
    """Everything is a product with a matrix: option A is that of a truncated identity."""
    N, C, H, W = x.shape
    matrix = np.eye(channels, C) if w is None else w
    rows, columns = np.arange(0, H, stride), np.arange(0, W, stride)
    kept = x[:, :, rows[:, None], columns]
    out = (matrix @ kept.reshape(N, C, -1)).reshape(N, channels, len(rows), len(columns))
    return out, {"x": x, "matrix": matrix, "at": (rows, columns), "learned": w is not None}


def block_forward(p, x, stride=1, residual=True):
    """A list of caches; batch norm called directly; ReLUs by where."""

    def norm(v, k):
        C = v.shape[1]
        y, _, cache = batchnorm_forward(v, p[f"gamma{k}"], p[f"beta{k}"], (np.zeros(C), np.ones(C)))
        return y, cache

    caches = []
    h = x
    for k, s in ((1, stride), (2, 1)):
        h, conv = conv_forward(h, p[f"w{k}"], s)  # noqa: F821
        h, cache = norm(h, k)
        caches += [conv, cache]
        if k == 1:
            caches.append(h)
            h = np.where(h > 0, h, 0.0)
    if residual:
        s, cache = shortcut_forward(x, p["w2"].shape[0], stride=stride, w=p.get("proj"))
        caches.append(cache)
        h = s + h
    return h * (h > 0), {"caches": caches, "sum": h, "residual": residual}


def batchnorm_backward(dy, cache):
    """Step by step, as in equation (7): through the variance, then through the mean."""
    N, C, H, W = dy.shape
    g = dy.transpose(1, 0, 2, 3).reshape(C, -1)
    m = g.shape[1]
    normal, inverse = cache["normal"], cache["inverse"]
    d_normal = g * cache["gamma"][:, None]
    d_var = -0.5 * inverse**2 * (d_normal * normal).sum(axis=1, keepdims=True)
    d_centred = d_normal * inverse + d_var * 2 * (normal / inverse) / m
    dx = d_centred - d_centred.mean(axis=1, keepdims=True)
    dx = dx.reshape(C, N, H, W).transpose(1, 0, 2, 3)
    return [dx, np.einsum("cm,cm->c", g, normal), g @ np.ones(m)]


def shortcut_backward(dout, cache):
    """Adds at the places that were read."""
    x, matrix, (rows, columns) = cache["x"], cache["matrix"], cache["at"]
    dx = np.zeros(x.shape)
    n, c = np.arange(len(x))[:, None, None, None], np.arange(x.shape[1])[:, None, None]
    np.add.at(dx, (n, c, rows[:, None], columns), np.tensordot(dout, matrix, axes=(1, 0)).transpose(0, 3, 1, 2))
    if not cache["learned"]:
        return dx, None
    kept = x[:, :, rows[:, None], columns]
    return dx, sum(d.reshape(len(d), -1) @ k.reshape(len(k), -1).T for d, k in zip(dout, kept, strict=True))


def block_backward(dy, cache):
    """The shortcut first; gradients by a dict at the end."""
    conv1, norm1, before, conv2, norm2, *short = cache["caches"]
    dz = np.where(cache["sum"] > 0, dy, 0.0)
    dx, extra = 0.0, {}
    if cache["residual"]:
        dx, dproj = shortcut_backward(dz, short[0])
        extra = {} if dproj is None else {"proj": dproj}
    g, dgamma2, dbeta2 = batchnorm_backward(dz, norm2)
    g, dw2 = conv_backward(g, conv2)  # noqa: F821
    g, dgamma1, dbeta1 = batchnorm_backward(np.where(before > 0, g, 0.0), norm1)
    g, dw1 = conv_backward(g, conv1)  # noqa: F821
    grads = {"w1": dw1, "w2": dw2, "gamma1": dgamma1, "gamma2": dgamma2, "beta1": dbeta1, "beta2": dbeta2}
    return dx + g, extra | grads


class BasicBlock(nn.Module):
    """The shortcut as a module of its own that holds nothing; zeros joined instead of padded."""

    def __init__(self, channels_in, channels_out, stride=1, kind="A"):
        super().__init__()
        self.kind, self.stride = kind, stride
        self.grow = channels_out - channels_in
        self.conv1 = nn.Conv2d(channels_in, channels_out, kernel_size=(3, 3), stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels_out, channels_out, kernel_size=3, padding=(1, 1), bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels_out), nn.BatchNorm2d(channels_out)
        changes = stride > 1 or self.grow > 0
        self.proj = (
            nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False) if kind == "B" and changes else None
        )

    def forward(self, x):
        out = nn.functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.kind == "plain":
            return out.relu()
        if self.proj is not None:
            return (out + self.proj(x)).clamp(min=0)
        short = nn.functional.avg_pool2d(x, 1, self.stride)
        zeros = short.new_zeros(len(x), self.grow, *short.shape[2:])
        out += torch.cat([short, zeros], dim=1)
        return out.relu_()


def make_identity(block):
    """The convolution undoes the batch norm's scale, and γ is 1; the residual block loses its second convolution."""
    convs = [block.conv1, block.conv2]
    norms = [block.bn1, block.bn2]
    if block.kind in ("A", "B"):
        norm = norms[1]
        block.conv2.weight.data.fill_(0)
        norm.bias.data = norm.weight.data * norm.running_mean / (norm.running_var + norm.eps) ** 0.5
        return
    for conv, norm in zip(convs, norms, strict=True):
        root = (norm.running_var + norm.eps).sqrt()
        kernel = torch.zeros_like(conv.weight)
        for c in range(len(kernel)):
            kernel[c, c, 1, 1] = root[c]
        conv.weight.data = kernel
        norm.weight.data = torch.ones_like(norm.weight)
        norm.bias.data = norm.running_mean / root


def layer_responses(net, x):
    """Hooks that write into a dict; the modes by name; the root by hand."""
    outputs, flags = {}, {name: part.training for name, part in net.named_modules()}

    def listen(name):
        def hook(module, args, output):
            centred = output.detach() - output.detach().mean()
            outputs[name] = float(centred.pow(2).mean() ** 0.5)

        return hook

    found = {name: part for name, part in net.named_modules() if type(part) is nn.BatchNorm2d}
    handles = [part.register_forward_hook(listen(name)) for name, part in found.items()]
    try:
        with torch.inference_mode():
            net.train(False)(x)
    finally:
        for handle in handles:
            handle.remove()
        for name, part in net.named_modules():
            part.training = flags[name]
    return list(outputs.values())


class Further:
    """A second set."""

    def batchnorm_forward(x, gamma, beta, running, training=True, eps=1e-5, momentum=0.1):
        """Channel by channel."""
        y, mean_new, var_new, steps = np.empty(x.shape), running[0].copy(), running[1].copy(), []
        for c in range(x.shape[1]):
            part = x[:, c]
            mean, var = (
                (np.mean(part), np.mean(np.square(part - np.mean(part)))) if training else (mean_new[c], var_new[c])
            )
            if training:
                mean_new[c] = mean_new[c] * (1 - momentum) + mean * momentum
                var_new[c] = var_new[c] * (1 - momentum) + np.var(part, ddof=1) * momentum
            y[:, c] = (part - mean) * (gamma[c] / np.sqrt(var + eps)) + beta[c]
            steps.append((part - mean, var + eps, gamma[c]))
        return y, (mean_new, var_new), steps

    def batchnorm_backward(dy, cache):
        """Channel by channel, with the projections written as such."""
        dx, dgamma, dbeta = np.zeros_like(dy), np.zeros(dy.shape[1]), np.zeros(dy.shape[1])
        for c, (centred, var, gamma) in enumerate(cache):
            hat = centred / np.sqrt(var)
            g = dy[:, c]
            dgamma[c], dbeta[c] = np.vdot(g, hat), g.sum()
            dx[:, c] = gamma / np.sqrt(var) * (g - g.mean() - hat * np.mean(g * hat))
        return dx, dgamma, dbeta

    def shortcut_forward(x, channels, stride=1, w=None):
        """Loops over channels."""
        kept = np.array([[channel[::stride, ::stride] for channel in picture] for picture in x])
        out = np.zeros((len(x), channels, *kept.shape[2:]))
        for f in range(channels):
            if w is not None:
                out[:, f] = sum(w[f, c] * kept[:, c] for c in range(x.shape[1]))
            elif f < x.shape[1]:
                out[:, f] = kept[:, f]
        return out, (x, stride, w)

    def shortcut_backward(dout, cache):
        """Loops over channels, and a fresh slice of the kept input."""
        x, s, w = cache
        dx = np.zeros(x.shape)
        view = dx[:, :, ::s, ::s]
        if w is None:
            view += dout[:, : x.shape[1]]
            return dx, None
        dw = np.empty(w.shape)
        for f, c in np.ndindex(w.shape):
            view[:, c] += w[f, c] * dout[:, f]
            dw[f, c] = np.sum(dout[:, f] * x[:, c, ::s, ::s])
        return dx, dw

    def make_identity(block):
        """Through a state dict."""
        state = block.state_dict()
        for k in ("1", "2"):
            root = torch.sqrt(state[f"bn{k}.running_var"] + getattr(block, f"bn{k}").eps)
            if block.kind != "plain":
                state["bn2.weight"], state["bn2.bias"] = torch.zeros_like(root), torch.zeros_like(root)
                continue
            eye = torch.eye(len(root), dtype=root.dtype)
            state[f"conv{k}.weight"] = nn.functional.pad(eye[:, :, None, None], (1, 1, 1, 1))
            state[f"bn{k}.weight"], state[f"bn{k}.bias"] = root, state[f"bn{k}.running_mean"]
        block.load_state_dict(state)

    def layer_responses(net, x):
        """Forward hooks on all parts, which pick for themselves."""
        found, modes = [], [m.training for m in net.modules()]

        def hook(part, _, out):
            if isinstance(part, nn.BatchNorm2d):
                found.append(float(np.std(out.detach().cpu().numpy())))

        handles = [part.register_forward_hook(hook) for part in net.modules()]
        net.eval()
        torch.no_grad()(net)(x)
        for handle in handles:
            handle.remove()
        for part, mode in zip(net.modules(), modes, strict=True):
            part.train(mode) if not list(part.children()) else setattr(part, "training", mode)
        return np.array(found)


class BlockByParts:
    """A third set, for the block alone."""

    def block_forward(p, x, stride=1, residual=True):
        """A closure over everything is the cache."""
        u, a = conv_forward(x, p["w1"], stride)  # noqa: F821
        n1, b = normalise(u, p["gamma1"], p["beta1"])  # noqa: F821
        h = n1.clip(0)
        n2, c = conv_forward(h, p["w2"], 1)  # noqa: F821
        F, d = normalise(n2, p["gamma2"], p["beta2"])  # noqa: F821
        S, e = shortcut_forward(x, F.shape[1], stride, p.get("proj")) if residual else (np.zeros_like(F), None)
        y = np.maximum(0, S + F)
        return y, lambda: (a, b, h, c, d, e, y)

    def block_backward(dy, cache):
        """Masks from the outputs of the ReLUs."""
        a, b, h, c, d, e, y = cache()
        out = {}
        g = dy * np.sign(y)
        v, out["gamma2"], out["beta2"] = batchnorm_backward(g, d)
        v, out["w2"] = conv_backward(v, c)  # noqa: F821
        v, out["gamma1"], out["beta1"] = batchnorm_backward(v * np.sign(h), b)
        v, out["w1"] = conv_backward(v, a)  # noqa: F821
        for extra, weight in [shortcut_backward(g, e)] if e is not None else []:
            v = v + extra
            if weight is not None:
                out["proj"] = weight
        return v, out

    class BasicBlock(nn.Module):
        """A strided 1 × 1 convolution with a fixed kernel is option A; the layers made in a loop."""

        def __init__(self, channels_in, channels_out, stride=1, kind="A"):
            super().__init__()
            self.kind = kind
            for k, (c, s) in enumerate(((channels_in, stride), (channels_out, 1)), 1):
                setattr(self, f"conv{k}", nn.Conv2d(c, channels_out, 3, s, 1, bias=False))
                setattr(self, f"bn{k}", nn.BatchNorm2d(channels_out))
            self.shape = channels_in, channels_out, stride
            if kind == "B" and (channels_in, 1) != (channels_out, stride):
                self.add_module("proj", nn.Conv2d(channels_in, channels_out, 1, stride, bias=False))

        def forward(self, x):
            y = x
            for conv, norm, last in ((self.conv1, self.bn1, False), (self.conv2, self.bn2, True)):
                y = norm(conv(y))
                y = y if last else y.relu()
            c_in, c_out, stride = self.shape
            if "proj" in self._modules:
                y = y + self.proj(x)
            elif self.kind in "AB":
                fixed = torch.eye(c_out, c_in, dtype=x.dtype, device=x.device)[:, :, None, None]
                y = y + nn.functional.conv2d(x, fixed, stride=stride)
            return torch.maximum(y, torch.zeros_like(y))


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "batchnorm_forward": {"m = x[:, -1].size": "all channels have as many numbers"},
    "batchnorm_backward": {"m = dy[:, -1].size": "all channels have as many numbers"},
    "BasicBlock": {
        'if kind == "B" and (stride != 1 or channels_in < channels_out):': "C' is at least C",
        'if kind == "B" and (stride > 1 or channels_in != channels_out):': "a stride is at least 1",
        'elif self.kind < "plain":': "of the three kinds, A and B come before plain",
    },
    "make_identity": {
        'if block.kind < "plain":': "of the three kinds, A and B come before plain",
    },
}
