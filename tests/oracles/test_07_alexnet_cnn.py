"""The references of 07 against torch's layers, autograd and optimisers, scipy, and closed forms."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from torch import nn
from torch.nn import functional as f

CONVOLUTIONS = [  # N, C, H, W, F, k, stride, pad, groups
    (1, 1, 1, 1, 1, 1, 1, 0, 1),
    (2, 3, 5, 6, 4, 3, 1, 1, 1),
    (3, 2, 8, 7, 5, 3, 2, 0, 1),
    (2, 4, 6, 5, 6, 2, 2, 1, 2),
    (2, 6, 9, 8, 3, 4, 3, 2, 3),
    (2, 2, 4, 3, 3, 5, 1, 3, 1),
]
POOLS = [(1, 1, 1, 1, 1, 1), (2, 3, 7, 5, 3, 2), (2, 2, 6, 8, 3, 1), (3, 1, 9, 7, 2, 3)]
NORMS = [(1, 1, 1, 1, 1), (2, 6, 3, 2, 3), (3, 8, 2, 4, 5), (2, 3, 3, 2, 7)]


@pytest.fixture(scope="module")
def alexnet(reference):
    return reference("07")


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def equal(ours, theirs, rtol=1e-12):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize(
    ("C", "H", "W", "k", "stride", "pad"), [(1, 1, 1, 1, 1, 0), (3, 5, 4, 3, 1, 1), (2, 7, 9, 2, 3, 2)]
)
def test_im2col_is_torchs_unfold(alexnet, rng, C, H, W, k, stride, pad):
    x = rng.standard_normal((2, C, H, W))
    equal(alexnet.im2col(x, k, stride, pad), f.unfold(torch.from_numpy(x), k, padding=pad, stride=stride), rtol=0)


@pytest.mark.parametrize(("N", "C", "H", "W", "F", "k", "stride", "pad", "groups"), CONVOLUTIONS)
def test_conv2d_forward_and_conv2d_backward_are_torchs(alexnet, rng, N, C, H, W, F, k, stride, pad, groups):
    x, w, b = rng.standard_normal((N, C, H, W)), rng.standard_normal((F, C // groups, k, k)), rng.standard_normal(F)
    out, cache = alexnet.conv2d_forward(x, w, b, stride, pad, groups)
    leaves = leaf(x), leaf(w), leaf(b)
    theirs = f.conv2d(*leaves, stride=stride, padding=pad, groups=groups)
    equal(out, theirs)
    dout = rng.standard_normal(out.shape)
    theirs.backward(torch.from_numpy(dout))
    for ours, tensor in zip(alexnet.conv2d_backward(dout, cache), leaves, strict=True):
        equal(ours, tensor.grad, rtol=1e-10)


def test_conv2d_forward_is_scipys_correlation(alexnet, rng):
    x, w = rng.standard_normal((1, 3, 7, 6)), rng.standard_normal((2, 3, 3, 3))
    out, _ = alexnet.conv2d_forward(x, w, np.array([0.5, -1.0]))
    for n, bias in enumerate((0.5, -1.0)):
        expected = sum(correlate2d(x[0, c], w[n, c], mode="valid") for c in range(3)) + bias
        np.testing.assert_allclose(out[0, n], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("N", "C", "H", "W", "k", "stride"), POOLS)
@pytest.mark.parametrize("ties", [False, True])
def test_maxpool_forward_and_maxpool_backward_are_torchs_with_ties(alexnet, rng, N, C, H, W, k, stride, ties):
    x = rng.standard_normal((N, C, H, W))
    x = np.maximum(np.round(x), 0.0) if ties else x
    out, cache = alexnet.maxpool_forward(x, k, stride)
    tensor = leaf(x)
    theirs = f.max_pool2d(tensor, k, stride)
    equal(out, theirs, rtol=0)
    dout = rng.standard_normal(out.shape)
    theirs.backward(torch.from_numpy(dout))
    equal(alexnet.maxpool_backward(dout, cache), tensor.grad)


@pytest.mark.parametrize(("N", "C", "H", "W", "n"), NORMS)
def test_lrn_forward_and_lrn_backward_are_torchs_with_n_times_alpha(alexnet, rng, N, C, H, W, n):
    x = 2 * rng.standard_normal((N, C, H, W))
    out, cache = alexnet.lrn_forward(x, n, 1.3, 0.4, 0.6)
    tensor = leaf(x)
    theirs = f.local_response_norm(tensor, n, alpha=n * 0.4, beta=0.6, k=1.3)
    equal(out, theirs)
    dout = rng.standard_normal(x.shape)
    theirs.backward(torch.from_numpy(dout))
    equal(alexnet.lrn_backward(dout, cache), tensor.grad, rtol=1e-10)


def test_lrn_forward_has_the_papers_constants(alexnet, rng):
    x = 150 * rng.standard_normal((2, 9, 2, 2))
    expected = np.empty_like(x)
    for i in range(9):
        near = x[:, max(0, i - 2) : min(8, i + 2) + 1]
        expected[:, i] = x[:, i] / (2 + 1e-4 * np.sum(near**2, axis=1)) ** 0.75
    np.testing.assert_allclose(alexnet.lrn_forward(x)[0], expected, rtol=1e-12)


def test_augment_moves_every_pixel_where_it_belongs(alexnet, rng):
    images = np.arange(2 * 3 * 5 * 7, dtype=float).reshape(2, 3, 5, 7)
    out = alexnet.augment(
        images, 3, np.array([[1, 4], [2, 0]]), np.array([True, False]), np.zeros((2, 3)), np.eye(3), np.ones(3)
    )
    for c in range(3):
        for i in range(3):
            for j in range(3):
                assert out[0, c, i, j] == images[0, c, 1 + i, 4 + 2 - j]
                assert out[1, c, i, j] == images[1, c, 2 + i, j]


def test_augment_shifts_colours_along_their_principal_components(alexnet, rng):
    draws = 200_000
    mix = rng.standard_normal((3, 3))
    values, vectors = np.linalg.eigh(mix @ mix.T)
    images, corners, flips = np.zeros((draws, 3, 1, 1)), np.zeros((draws, 2), dtype=int), np.zeros(draws, dtype=bool)
    alphas = 0.1 * rng.standard_normal((draws, 3))
    shift = alexnet.augment(images, 1, corners, flips, alphas, vectors, values)[:, :, 0, 0]
    expected = 0.01 * (mix @ mix.T) @ (mix @ mix.T)  # covariance P diag(λ²) Pᵀ times 0.1²
    np.testing.assert_allclose(np.cov(shift.T), expected, atol=0.02 * np.abs(expected).max())


def test_dropout_is_torchs_times_the_keep_rate_and_unbiased(alexnet, rng):
    layer, x, dout = alexnet.Dropout(0.25), rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    torch.manual_seed(0)
    tensor = leaf(x)
    theirs = f.dropout(tensor, 0.75)
    mask = (theirs != 0).double().numpy()
    theirs.backward(torch.from_numpy(dout))
    out, cache = layer.forward(x, mask, True)
    equal(out, 0.25 * theirs)
    equal(layer.backward(dout, cache), 0.25 * tensor.grad)
    tested, cache = layer.forward(x, mask, False)
    masks = [np.array([a, b]) for a in (0.0, 1.0) for b in (0.0, 1.0)]
    weights = [0.25 ** m.sum() * 0.75 ** (2 - m.sum()) for m in masks]
    mean = sum(p * layer.forward(x[0, :2], m, True)[0] for p, m in zip(weights, masks, strict=True))
    np.testing.assert_allclose(tested[0, :2], mean)
    np.testing.assert_allclose(layer.backward(dout, cache), 0.25 * dout)


def test_sgd_momentum_is_torchs_optimiser_at_a_constant_rate(alexnet, rng):
    w = leaf(rng.standard_normal((3, 2)))
    optimiser = torch.optim.SGD([w], lr=0.05, momentum=0.9, weight_decay=5e-4)
    params, velocity = {"w": w.detach().numpy().copy()}, {"w": np.zeros((3, 2))}
    for _ in range(10):
        gradient = rng.standard_normal((3, 2))
        w.grad = torch.from_numpy(gradient)
        optimiser.step()
        params, velocity = alexnet.sgd_momentum(params, {"w": gradient}, velocity, 0.05)
        equal(params["w"], w)
        equal(velocity["w"], -0.05 * optimiser.state[w]["momentum_buffer"])


def test_mini_alexnet_MiniAlexNet_is_the_chain_of_torchs_functions(alexnet, rng):
    model = alexnet.MiniAlexNet(9, 0.4).double()
    x = leaf(rng.standard_normal((3, 3, 16, 16)))
    p = dict(model.named_parameters())
    assert sum(w.numel() for w in p.values()) == 912 + 1320 + 5208 + (216 * 9 + 9) + (9 * 6 + 6)

    def norm(a):
        return f.max_pool2d(f.local_response_norm(f.relu(a), 5, alpha=5e-4, beta=0.75, k=2.0), 3, 2)

    for drop in (False, True):
        model.train(drop)
        a = norm(f.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=2))
        a = norm(f.conv2d(a, p["conv2.weight"], p["conv2.bias"], padding=1, groups=2))
        a = f.relu(f.conv2d(a, p["conv3.weight"], p["conv3.bias"], padding=1)).flatten(1)
        h = f.relu(f.linear(a, p["fc1.weight"], p["fc1.bias"]))
        torch.manual_seed(1)
        h = f.dropout(h, 0.4, training=drop)
        torch.manual_seed(1)
        torch.testing.assert_close(model(x), f.linear(h, p["fc2.weight"], p["fc2.bias"]), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("size", [4, 5, 8])
@pytest.mark.parametrize("train", [False, True])
def test_ten_crop_is_the_mean_over_crops_that_are_cut_by_hand(alexnet, rng, size, train):
    images = torch.from_numpy(rng.standard_normal((3, 2, 8, 8)))
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * size * size, 4), nn.Dropout(0.5)).double().train(train)
    weight, bias = (w.detach().numpy() for w in model[1].parameters())
    found = alexnet.ten_crop(model, images, size)
    total, rest = np.zeros((3, 4)), 8 - size
    for i, j in [(0, 0), (0, rest), (rest, 0), (rest, rest), (rest // 2, rest // 2)]:
        for step in (1, -1):
            crop = images.numpy()[:, :, i : i + size, j : j + size][..., ::step]
            e = np.exp(crop.reshape(3, -1) @ weight.T + bias)
            total += e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), total / 10, rtol=1e-12)
    assert all(layer.training == train for layer in model)
    assert not found.requires_grad
