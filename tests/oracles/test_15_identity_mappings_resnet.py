"""The references of 15 against torch's functions and autograd, closed forms, brute force, and the paper's sizes."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

KINDS = ("identity", "scaled", "exclusive", "gated", "conv", "dropout")
PLACEMENTS = ("original", "bn_after_addition", "relu_before_addition", "relu_only", "full")


@pytest.fixture(scope="module")
def mappings(reference):
    return reference("15")


def close(ours, theirs):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9)


def parameters(rng, N, D, H, placement):
    one, two = (D, H) if placement == "full" else (H, D)
    sizes = {"w1": (D, H), "w2": (H, D), "gamma1": one, "beta1": one, "gamma2": two, "beta2": two}
    p = {name: rng.standard_normal(size) for name, size in (sizes | {"wg": (D, D), "bg": D, "ws": (D, D)}).items()}
    return p | {"lam": 0.7, "rho": -1.3, "mask": (rng.random((N, D)) < 0.5).astype(float)}


def torch_join(x, F, kind, p):
    """Where shortcut and branch meet, from torch's functions."""
    if kind == "scaled":
        return p["lam"] * x + p["rho"] * F
    if kind in ("exclusive", "gated"):
        g = torch.sigmoid(nn.functional.linear(x, p["wg"].T, p["bg"]))
        return torch.lerp(x, F, g) if kind == "exclusive" else x - g * x + F
    if kind == "conv":
        return nn.functional.conv1d(x[:, :, None], p["ws"].T[:, :, None])[:, :, 0] + F
    return x * torch.as_tensor(p["mask"]) + F if kind == "dropout" else x + F


def torch_unit(p, x, placement, kind, shortcut):
    """A unit from torch's functions; what the shortcut carries is an argument of its own."""

    def norm(h, k):
        return nn.functional.batch_norm(h, None, None, p[f"gamma{k}"], p[f"beta{k}"], training=True)

    if placement == "full":
        F = norm(x, 1).relu() @ p["w1"]
        return torch_join(shortcut, norm(F, 2).relu() @ p["w2"], kind, p)
    F = norm((x.relu() if placement == "relu_only" else x) @ p["w1"], 1).relu() @ p["w2"]
    if placement == "bn_after_addition":
        return norm(torch_join(shortcut, F, kind, p), 2).relu()
    F = norm(F, 2)
    z = torch_join(shortcut, F.relu() if placement == "relu_before_addition" else F, kind, p)
    return z.relu() if placement == "original" else z


def leaves(p):
    return {name: torch.tensor(a, requires_grad=True) if np.ndim(a) else a for name, a in p.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_joins_are_torchs_with_their_gradients(mappings, rng, kind):
    p, (x, F, dz) = parameters(rng, 5, 3, 2, "full"), rng.standard_normal((3, 5, 3))
    z, cache = mappings.join_forward(x, F, kind, p)
    theirs, a, b = leaves(p), torch.tensor(x, requires_grad=True), torch.tensor(F, requires_grad=True)
    out = torch_join(a, b, kind, theirs)
    close(z, out)
    out.backward(torch.tensor(dz))
    dx, dF, grads = mappings.join_backward(dz, cache)
    close(dx, a.grad)
    close(dF, b.grad)
    learned = {"exclusive": {"wg", "bg"}, "gated": {"wg", "bg"}, "conv": {"ws"}}.get(kind, set())
    assert set(grads) == learned
    for name in learned:
        close(grads[name], theirs[name].grad)


@pytest.mark.parametrize(("placement", "kind"), itertools.product(PLACEMENTS, KINDS))
def test_units_are_torchs_functions_with_both_parts_of_the_gradient(mappings, rng, placement, kind):
    p, (x, dy) = parameters(rng, 6, 3, 4, placement), rng.standard_normal((2, 6, 3))
    y, cache = mappings.unit_forward(p, x, placement, kind)
    theirs, branch, shortcut = leaves(p), torch.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out = torch_unit(theirs, branch, placement, kind, shortcut)
    close(y, out)
    out.backward(torch.tensor(dy))
    dx_shortcut, dx_branch, grads = mappings.unit_backward(dy, cache)
    close(dx_shortcut, shortcut.grad)
    close(dx_branch, branch.grad)
    assert {"w1", "w2", "gamma1", "beta1", "gamma2", "beta2"} <= set(grads)
    for name, gradient in grads.items():
        close(gradient, theirs[name].grad)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_silent_units_do_what_the_text_says(mappings, rng, placement):
    p, x = parameters(rng, 6, 3, 4, placement), rng.standard_normal((6, 3))
    p["w2"][:] = 0.0
    p["beta2"][:] = 0.0
    y, _ = mappings.unit_forward(p, x, placement)
    if placement == "original":
        close(y, np.maximum(x, 0))
    elif placement != "bn_after_addition":
        assert np.array_equal(y, x)
    else:
        assert not np.allclose(y, x)


@pytest.mark.parametrize("L", [1, 2, 5])
def test_open_paths_are_counted_one_by_one(mappings, rng, L):
    masks = [rng.random((3, 4)) < 0.7 for _ in range(L)]
    each, through = mappings.open_paths(masks)
    for k in range(L):
        places = list(np.ndindex(3, 4))
        assert np.isclose(each[k], sum(masks[k][at] for at in places) / 12)
        assert np.isclose(through[k], sum(all(mask[at] for mask in masks[k:]) for at in places) / 12)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_profiles_are_norms_by_autograd(mappings, rng, placement):
    ps, x = [parameters(rng, 8, 3, 4, placement) for _ in range(4)], rng.standard_normal((8, 3))
    dy, caches, y = rng.standard_normal((8, 3)), [], x
    for p in ps:
        y, cache = mappings.unit_forward(p, y, placement, "scaled")
        caches.append(cache)
    found = mappings.gradient_profile(dy, caches)
    for cut, curve in zip((False, True), found, strict=True):
        inputs = [torch.tensor(x, requires_grad=True)]
        for p in ps:
            h = inputs[-1]
            inputs.append(torch_unit(leaves(p), h.detach() if cut else h, placement, "scaled", h))
        grads = torch.autograd.grad(inputs[-1], inputs, torch.tensor(dy))
        close(curve, np.log10([g.norm().item() for g in grads]))


def test_a_factor_acts_to_the_power_of_the_depth(mappings, rng):
    p, x = parameters(rng, 4, 2, 3, "full"), rng.standard_normal((4, 2))
    p |= {"w2": np.zeros((3, 2)), "lam": 0.1}
    _, cache = mappings.unit_forward(p, x, "full", "scaled")
    for curve in mappings.gradient_profile(np.ones((4, 2)), [cache] * 600):
        np.testing.assert_allclose(curve, np.log10(np.sqrt(8)) - np.arange(600, -1, -1.0), rtol=1e-9)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("C", "channels", "stride"), [(3, 3, 1), (3, 5, 1), (4, 2, 1), (2, 2, 2), (2, 4, 3)])
def test_a_preactivation_unit_is_torchs_functions(mappings, C, channels, stride, training):
    torch.manual_seed(0)
    unit = mappings.PreActUnit(C, channels, stride).double().train(training)
    for norm in (unit.bn1, unit.bn2):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
    x, f = torch.randn(3, C, 5, 4, dtype=torch.float64), nn.functional

    def norm_of(h, norm):
        mean, var = norm.running_mean.clone(), norm.running_var.clone()
        return f.batch_norm(h, mean, var, norm.weight, norm.bias, training=training).clamp(min=0)

    a = norm_of(x, unit.bn1)
    h = f.conv2d(
        norm_of(f.conv2d(a, unit.conv1.weight, stride=stride, padding=1), unit.bn2), unit.conv2.weight, padding=1
    )
    short = x if stride == 1 and channels == C else f.conv2d(a, unit.proj.weight, stride=stride)
    torch.testing.assert_close(unit(x), h + short)
    assert hasattr(unit, "proj") == (stride != 1 or channels != C)


@pytest.mark.parametrize(("n", "layers", "count"), [(3, 20, 272_282), (9, 56, 855_578), (18, 110, 1_730_522)])
def test_networks_have_their_sizes_and_layers(mappings, n, layers, count):
    with torch.device("meta"):
        net = mappings.PreActResNet(n)
    w = [16] * n + [32] * n + [64] * n
    by_hand = 27 * 16 + sum(
        2 * a + 9 * a * b + 2 * b + 9 * b * b + a * b * (a != b) for a, b in zip([16, *w], w, strict=False)
    )
    assert sum(p.numel() for p in net.parameters()) == by_hand + 2 * 64 + 650 == count
    big = [m for m in net.modules() if isinstance(m, nn.Linear) or getattr(m, "kernel_size", None) == (3, 3)]
    assert len(big) == layers


def test_a_network_is_its_parts_in_order(mappings):
    torch.manual_seed(1)
    net = mappings.PreActResNet(2, width=3, colours=2, classes=4).double().eval()
    net.bn.running_mean.normal_()
    h = net.stem(torch.randn(2, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    shapes = []
    for unit in net.units:
        h = unit(h)
        shapes.append(tuple(h.shape[1:]))
    assert shapes == [(3, 8, 8)] * 2 + [(6, 4, 4)] * 2 + [(12, 2, 2)] * 2
    pooled = nn.functional.adaptive_avg_pool2d(net.bn(h).relu(), 1).flatten(1)
    torch.testing.assert_close(net(x), pooled @ net.fc.weight.T + net.fc.bias)


def test_gradient_norms_are_slopes_of_the_loss(mappings):
    torch.manual_seed(3)
    net = mappings.PreActResNet(1, width=2, colours=1, classes=3).double().eval()
    x, y = torch.randn(2, 1, 4, 4, dtype=torch.float64), torch.tensor([2, 0])
    found = mappings.gradient_norms(net, x, y)
    assert all(p.grad is None for p in net.parameters())
    with torch.no_grad():
        outputs = [net.units[0](net.stem(x))]
        for unit in net.units[1:]:
            outputs.append(unit(outputs[-1]))

        def loss(h, at):
            for unit in net.units[at + 1 :]:
                h = unit(h)
            return nn.functional.cross_entropy(net.fc(net.bn(h).relu().mean(dim=(2, 3))), y)

        for at, h in enumerate(outputs):
            slopes = []
            for k in range(h.numel()):
                step = torch.zeros(h.numel(), dtype=h.dtype)
                step[k] = 1e-5
                step = step.view_as(h)
                slopes.append((loss(h + step, at) - loss(h - step, at)) / 2e-5)
            np.testing.assert_allclose(found[at], torch.stack(slopes).norm(), rtol=1e-5)
