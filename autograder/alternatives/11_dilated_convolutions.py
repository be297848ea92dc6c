"""Correct implementations of 11 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches; what the notebook gives is there.
"""

import copy
import itertools

import numpy as np
import torch
from torch import nn


def conv2d_forward(x, w, b, dilation=1, padding=0):
    """All blocks at once, by a view of strided windows; a dict as the cache."""
    N, C, H, W = x.shape
    padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding))
    padded[:, :, padding : padding + H, padding : padding + W] = x
    kh, kw = w.shape[2:]
    spans = dilation * (kh - 1) + 1, dilation * (kw - 1) + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))[..., ::dilation, ::dilation]
    y = np.tensordot(windows, w, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2) + b.reshape(1, -1, 1, 1)
    return y, {"x": x.copy(), "w": w.copy(), "d": dilation, "p": padding}


def conv2d_backward(dy, cache):
    """One more convolution, of the padded gradient with the mirrored kernel; dw from products of windows."""
    x, w, d, p = (cache[name] for name in "xwdp")
    kh, kw = w.shape[2:]
    spread = dy
    above, left = d * (kh - 1), d * (kw - 1)
    spread = np.pad(spread, ((0, 0), (0, 0), (above, above), (left, left)))
    mirrored = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    full, _ = conv2d_forward(spread, mirrored, np.zeros(len(mirrored)), d)
    dx = full[:, :, p : p + x.shape[2], p : p + x.shape[3]]
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (above + 1, left + 1), axis=(2, 3))[..., ::d, ::d]
    dw = np.tensordot(dy, windows, axes=((0, 2, 3), (0, 2, 3)))
    return [dx, dw, np.einsum("nfij->f", dy)]


def receptive_fields(layers):
    """Each side anew: one pixel, and every layer's steps in units of the strides before it."""

    def steps(k):
        kernel, _, dilation = layers[k]
        return (kernel - 1) * dilation * int(np.prod([stride for _, stride, _ in layers[:k]], dtype=int))

    return tuple(1 + sum(steps(k) for k in range(end + 1)) for end in range(len(layers)))


def pixel_loss(logits, y, weight=None, void=255):
    """On rows of the pixels that count."""
    N, K, H, W = logits.shape
    rows, labels = np.moveaxis(logits, 1, -1).reshape(-1, K), np.ravel(y)
    kept = np.flatnonzero(labels != void)
    z = rows[kept] - rows[kept].max(axis=1)[:, None]
    e = np.exp(z)
    total = e.sum(axis=1)
    omega = np.ones(len(kept)) if weight is None else np.take(weight, labels[kept])
    at = np.arange(len(kept)), labels[kept]
    loss = np.average(np.log(total) - z[at], weights=omega)
    p = e / total[:, None]
    p[at] -= 1
    gradient = np.zeros((N * H * W, K))
    gradient[kept] = p * (omega / omega.sum())[:, None]
    return np.float64(loss), gradient.reshape(N, H, W, K).transpose(0, 3, 1, 2)


def path_counts(dilations, k=3):
    """Shifted sums of the map in both directions, in Python's own integers."""
    reach = [step - k // 2 for step in range(k)]
    rows = {0: 1}
    for d in dilations:
        grown = {}
        for at, count in rows.items():
            for step in reach:
                grown[at + d * step] = grown.get(at + d * step, 0) + count
        rows = grown
    half = sum(dilations) * (k // 2)
    line = [rows.get(at, 0) for at in range(-half, half + 1)]
    return np.array([[a * b for b in line] for a in line], dtype=np.int64)


def identity_kernel(c_in, c_out, C, k=3, noise=None):
    """Group by group, in loops."""
    w = torch.zeros(c_out, c_in, k, k) if noise is None else noise + 0
    into, out_of = c_in // C, c_out // C
    for group in range(C):
        for b in range(group * out_of, (group + 1) * out_of):
            w[b, group * into : (group + 1) * into, (k - 1) // 2, (k - 1) // 2] = 1 / out_of
    return w


class ContextModule(nn.Module):
    """Layers with torch's own padding by name; weights through `data`."""

    def __init__(self, channels, multiples=(1,) * 8, sigma=0.0):
        super().__init__()
        widths = [channels, *(m * channels for m in multiples)]
        dilations = [1, 1, *(2**k for k in range(1, 5)), 1, 1]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3 if k < 7 else 1, padding="same", dilation=dilations[k])
            for k, (a, b) in enumerate(itertools.pairwise(widths))
        )
        for conv in self.convs:
            noise = torch.normal(0.0, 1.0, size=conv.weight.shape) * sigma
            c_out, c_in, k, _ = conv.weight.shape
            conv.weight.data = identity_kernel(c_in, c_out, channels, k, noise)
            nn.init.zeros_(conv.bias)

    def forward(self, x):
        *inner, last = self.convs
        for conv in inner:
            x = conv(x).clamp(min=0)
        return last(x)


def mean_iou(predicted, y, classes, void=255):
    """From a matrix of counts; a tensor of one."""
    known = (y != void).flatten()
    pairs = y.flatten()[known] * classes + predicted.flatten()[known]
    counts = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes).double()
    hit, union = counts.diag(), counts.sum(0) + counts.sum(1) - counts.diag()
    return (hit / union).nanmean()


def densify(net):
    """New layers with the old ones' parameters."""
    layers, apart = [], 1
    for layer in net:
        if isinstance(layer, nn.MaxPool2d):
            stride, dilation, padding = (np.ravel(v)[0].item() for v in (layer.stride, layer.dilation, layer.padding))
            new = nn.MaxPool2d(layer.kernel_size, 1, apart * padding, apart * dilation)
            apart *= stride
        elif isinstance(layer, nn.Conv2d):
            c_in, c_out, bias = layer.in_channels, layer.out_channels, layer.bias is not None
            how = {"padding": apart * layer.padding[0], "dilation": apart * layer.dilation[0], "groups": layer.groups}
            new = nn.Conv2d(c_in, c_out, layer.kernel_size, bias=bias, **how)
            new.weight, new.bias = layer.weight, layer.bias
            apart *= layer.stride[0]
        else:
            new = copy.deepcopy(layer)
        layers.append(new.train(layer.training))
    return nn.Sequential(*layers)


class Further:
    """A second set."""

    def conv2d_forward(x, w, b, dilation=1, padding=0):
        """Loops over outputs; a closure as the cache."""
        padded = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
        kh, kw = w.shape[2:]
        rows = [dilation * u for u in range(kh)]
        columns = [dilation * v for v in range(kw)]
        shape = padded.shape[2] - rows[-1], padded.shape[3] - columns[-1]
        y = np.empty((len(x), len(w), *shape))
        for i, j in np.ndindex(*shape):
            block = padded[:, :, [[i + r] for r in rows], [j + c for c in columns]]
            y[:, :, i, j] = block.reshape(len(x), -1) @ w.reshape(len(w), -1).T + b
        return y, lambda: (padded, w, rows, columns, padding)

    def conv2d_backward(dy, cache):
        """Loops over outputs."""
        padded, w, rows, columns, padding = cache()
        dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
        for i, j in np.ndindex(*dy.shape[2:]):
            g = dy[:, :, i, j]
            at = np.s_[:, :, [[i + r] for r in rows], [j + c for c in columns]]
            dpadded[at] += np.tensordot(g, w, axes=1)
            dw += np.tensordot(g, padded[at], axes=(0, 0))
        inner = slice(padding, -padding or None)
        return dpadded[:, :, inner, inner], dw, dy.sum((0, 2, 3))

    def receptive_fields(layers):
        """From the back: how many pixels one value needs."""
        sides = []
        for end in range(1, len(layers) + 1):
            need = 1
            for kernel, stride, dilation in reversed(layers[:end]):
                need = (need - 1) * stride + (kernel - 1) * dilation + 1
            sides.append(need)
        return np.array(sides, dtype=int).tolist()

    def pixel_loss(logits, y, weight=None, void=255):
        """Sums of exponentials by np.logaddexp; a one-hot array that is empty at void pixels."""
        K = logits.shape[1]
        total = np.logaddexp.reduce(logits, axis=1, keepdims=True)
        hot = np.stack([(y == k) & (y != void) for k in range(K)], axis=1).astype(float)
        if weight is not None:
            hot *= weight.reshape(1, K, 1, 1)
        hot /= hot.sum()
        log_p = logits - total
        return -np.vdot(hot, log_p), hot.sum(axis=1, keepdims=True) * np.exp(log_p) - hot

    def path_counts(dilations, k=3):
        """Two dimensions at once, tap by tap."""
        counts = np.ones((1, 1), dtype=np.int64)
        for d in dilations:
            grown = np.zeros(np.array(counts.shape) + d * (k - 1), dtype=np.int64)
            for u, v in np.ndindex(k, k):
                grown[d * u : d * u + len(counts), d * v : d * v + len(counts)] += counts
            counts = grown
        return counts

    def identity_kernel(c_in, c_out, C, k=3, noise=None):
        """A mask by a Kronecker product, and torch.where."""
        mask = torch.kron(torch.eye(C), torch.ones(c_out // C, c_in // C))
        centre = torch.zeros(k, k)
        centre[k // 2, k // 2] = 1
        mask = mask[:, :, None, None] * centre
        noise = torch.zeros(c_out, c_in, k, k) if noise is None else noise
        return torch.where(mask.bool(), torch.tensor(C / c_out, dtype=noise.dtype), noise)

    class ContextModule(nn.Module):
        """ReLUs as modules; first weights by an initialiser applied to all parts."""

        def __init__(self, channels, multiples=(1, 1, 1, 1, 1, 1, 1, 1), sigma=0.0):
            super().__init__()
            self.convs = nn.ModuleList()
            self.relu = nn.ReLU()
            for layer in range(8):
                d = [1, 1, 2, 4, 8, 16, 1, 1][layer]
                c_in = channels if layer == 0 else self.convs[-1].out_channels
                c_out = multiples[layer] * channels
                if layer < 7:
                    conv = nn.Conv2d(c_in, c_out, kernel_size=(3, 3), stride=1, padding=(d, d), dilation=(d, d))
                else:
                    conv = nn.Conv2d(c_in, c_out, 1)
                w = identity_kernel(c_in, c_out, channels, conv.kernel_size[0], None)
                if sigma > 0:
                    w = torch.where(w == 0, sigma * torch.randn_like(w), w)
                conv.weight = nn.Parameter(w)
                conv.bias = nn.Parameter(torch.zeros(c_out))
                self.convs.append(conv)

        def forward(self, x):
            for k, conv in enumerate(self.convs, 1):
                x = conv(x)
                if k != len(self.convs):
                    x = self.relu(x)
            return x

    def mean_iou(predicted, y, classes, void=255):
        """Sets of pixel numbers."""
        y, predicted = y.flatten().tolist(), predicted.flatten().tolist()
        pixels = [n for n, label in enumerate(y) if label != void]
        scores = []
        for k in set(range(classes)):
            mine, true = {n for n in pixels if predicted[n] == k}, {n for n in pixels if y[n] == k}
            if mine or true:
                scores.append(len(mine & true) / len(mine | true))
        return np.mean(scores)

    def densify(net):
        """Copies whose attributes are set one by one."""
        found, apart = [], 1
        for layer in net.children():
            new = copy.deepcopy(layer)
            if hasattr(new, "dilation"):
                for name in ("dilation", "padding"):
                    old = getattr(layer, name)
                    old = old if isinstance(old, tuple) else (old, old)
                    setattr(new, name, tuple(apart * v for v in old))
                new.stride = (1, 1)
                apart *= layer.stride[0] if isinstance(layer.stride, tuple) else layer.stride
            found.append(new)
        dense = nn.Sequential(*found)
        dense.training = net.training
        return dense


class Third:
    """Further ways of single functions."""

    def mean_iou(predicted, y, classes, void=255):
        """Ratios of torch's own kind: float32."""
        keep = y != void
        p, t = predicted[keep], y[keep]
        both = torch.stack([((p == k) & (t == k)).sum() for k in range(classes)])
        either = torch.stack([((p == k) | (t == k)).sum() for k in range(classes)])
        return (both[either > 0] / either[either > 0]).mean()

    def path_counts(dilations, k=3):
        """A line's counts by a Fourier transform, rounded: exact as long as a line's own counts are small."""
        size = 1 + (k - 1) * sum(dilations)
        spectrum = np.ones(size, complex)
        for d in dilations:
            line = np.zeros(size)
            line[: d * (k - 1) + 1 : d] = 1
            spectrum *= np.fft.fft(line)
        line = np.fft.ifft(spectrum).real.round().astype(np.int64)
        return np.multiply.outer(line, line)

    def receptive_fields(layers):
        """Running sums of the gains."""
        kernels, strides, dilations = np.array(layers, dtype=object).reshape(-1, 3).T
        apart = np.cumprod([1, *strides], dtype=object)[:-1]
        return [int(side) for side in 1 + np.cumsum((kernels - 1) * dilations * apart)]


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "conv2d_forward": {
        'y += np.einsum("fc,nchw->nfhw", w[:, :, u, v], part, optimize=False)': "the same sum, slower",
    },
    "conv2d_backward": {
        'dpadded[block] += np.einsum("fc,nfhw->nchw", w[:, :, u, v], dy, optimize=False)': "the same sum, slower",
        'dw[:, :, u, v] = np.einsum("nfhw,nchw->fc", dy, padded[block], optimize=False)': "the same sum, slower",
    },
    "pixel_loss": {
        "label = np.where(counts, y, -1)": "what stands for void is multiplied by 0",
        "label = np.where(counts, y, 1)": "what stands for void is multiplied by 0",
    },
    "ContextModule": {
        "for k, (d, multiple) in enumerate("
        "zip((1, 1, 2, 4, 8, 16, 1, 1), multiples, strict=False)):": "there are eight multiples",
        "for k, (d, multiple) in enumerate("
        "zip((1, 1, 2, 4, 8, 16, 1, 2), multiples, strict=True)):": "one tap has no distance from another",
        "side, c_out = 3 if k != 7 else 1, multiple * channels": "k ends at 7",
        "conv = nn.Conv2d(c_in, c_out, side, padding=d * (side // 3), dilation=d)": "sides are 3 and 1",
    },
    "densify": {
        "value if isinstance(value, int) else value[-1] "
        "for value in (layer.stride, layer.dilation, layer.padding)": "both of a pair are equal",
        "value if isinstance(value, int) else value[1] "
        "for value in (layer.stride, layer.dilation, layer.padding)": "both of a pair are equal",
    },
}
