"""The references of 11 against torch, SciPy, counts by brute force, and the numbers of the paper."""

import itertools

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch import nn

SIZES = [
    (2, 3, 4, 7, 6, 3, 2, 2, 1),
    (1, 2, 3, 9, 8, 3, 3, 4, 4),
    (3, 1, 2, 5, 5, 1, 5, 1, 0),
    (2, 2, 2, 8, 9, 3, 3, 3, 0),
]
TABLE = [(3, 1, 1), (3, 1, 1), (3, 1, 2), (3, 1, 4), (3, 1, 8), (3, 1, 16), (3, 1, 1), (1, 1, 1)]


@pytest.fixture(scope="module")
def dilated(reference):
    return reference("11")


def tensor(array):
    return torch.tensor(array, requires_grad=True)


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("N", "C", "F", "H", "W", "kh", "kw", "d", "p"), SIZES)
def test_convolution_and_its_gradients_are_torchs(dilated, rng, N, C, F, H, W, kh, kw, d, p):
    x, w, b = rng.standard_normal((N, C, H, W)), rng.standard_normal((F, C, kh, kw)), rng.standard_normal(F)
    leaves = [tensor(a) for a in (x, w, b)]
    theirs = nn.functional.conv2d(*leaves, dilation=d, padding=p)
    y, cache = dilated.conv2d_forward(x, w, b, d, p)
    close(y, theirs)
    dy = rng.standard_normal(y.shape)
    theirs.backward(torch.tensor(dy))
    for ours, leaf in zip(dilated.conv2d_backward(dy, cache), leaves, strict=True):
        close(ours, leaf.grad)


def test_convolution_is_six_loops(dilated, rng):
    x, w, b = rng.standard_normal((2, 2, 5, 6)), rng.standard_normal((3, 2, 2, 3)), rng.standard_normal(3)
    y, _ = dilated.conv2d_forward(x, w, b, 2)
    slow = np.zeros((2, 3, 3, 2)) + b[:, None, None]
    for n, f, i, j, c, u, v in itertools.product(*map(range, (2, 3, 3, 2, 2, 2, 3))):
        slow[n, f, i, j] += w[f, c, u, v] * x[n, c, i + 2 * u, j + 2 * v]
    np.testing.assert_allclose(y, slow, rtol=1e-12)


def test_fields_are_those_of_the_papers_table(dilated):
    assert list(dilated.receptive_fields(TABLE)) == [3, 5, 9, 17, 33, 65, 67, 67]


def test_fields_are_where_gradients_of_a_strided_net_arrive(dilated):
    layers = [(3, 2, 1), (2, 1, 3), (4, 3, 2), (3, 1, 2)]
    x = torch.ones(1, 1, 160, 1, requires_grad=True)
    h = x
    for side, (k, s, d) in zip(dilated.receptive_fields(layers), layers, strict=True):
        h = nn.functional.conv2d(h, torch.ones(1, 1, k, 1), stride=(s, 1), dilation=(d, 1))
        (gradient,) = torch.autograd.grad(h[0, 0, h.shape[2] // 2, 0], x, retain_graph=True)
        seen = gradient[0, 0, :, 0].nonzero()
        assert int(seen.max() - seen.min()) + 1 == side


@pytest.mark.parametrize(("dilations", "k"), [([1, 2, 4], 3), ([2, 2, 2], 3), ([3, 1], 5), ([], 3)])
def test_paths_are_combs_convolved_and_counted(dilated, dilations, k):
    expected = np.ones((1, 1), dtype=int)
    for d in dilations:
        comb = np.zeros((d * (k - 1) + 1,) * 2, dtype=int)
        comb[::d, ::d] = 1
        expected = convolve2d(expected, comb)
    counts = dilated.path_counts(dilations, k)
    np.testing.assert_array_equal(counts, expected)
    assert counts.sum() == k ** (2 * len(dilations))
    if dilations == [2, 2, 2]:
        assert (counts == 0).sum() == 120


@pytest.mark.parametrize("weighted", [True, False])
def test_pixel_loss_is_torchs_with_autograd(dilated, rng, weighted):
    logits, y = 3 * rng.standard_normal((3, 4, 5, 2)), rng.integers(4, size=(3, 5, 2))
    y[rng.random(y.shape) < 0.3] = 255
    weight = rng.uniform(0.2, 3, size=4) if weighted else None
    leaf = tensor(logits)
    theirs = nn.functional.cross_entropy(
        leaf, torch.tensor(y), None if weight is None else torch.tensor(weight), ignore_index=255
    )
    theirs.backward()
    loss, dlogits = dilated.pixel_loss(logits, y, weight)
    close(loss, theirs)
    close(dlogits, leaf.grad)


def test_mean_iou_is_jaccards_index(dilated, rng):
    from sklearn.metrics import jaccard_score

    predicted, y = rng.integers(4, size=(2, 3, 6, 5))
    y[0, :2] = 255
    known = y != 255
    expected = jaccard_score(y[known], predicted[known], average="macro")
    assert float(dilated.mean_iou(torch.tensor(predicted), torch.tensor(y), 9)) == pytest.approx(expected)


def test_equal_channels_give_torchs_dirac(dilated):
    for side in (1, 3, 5):
        expected = nn.init.dirac_(torch.empty(4, 4, side, side))
        torch.testing.assert_close(dilated.identity_kernel(4, 4, 4, side), expected)


def test_widening_and_narrowing_kernels_are_the_identity_together(dilated):
    product = torch.eye(3)
    for c_in, c_out in ((3, 6), (6, 12), (12, 3)):
        product = dilated.identity_kernel(c_in, c_out, 3)[:, :, 1, 1] @ product
    torch.testing.assert_close(product, torch.eye(3))
    noise = torch.randn(6, 12, 3, 3, dtype=torch.float64)
    w = dilated.identity_kernel(12, 6, 3, noise=noise)
    assert int((w != noise).sum()) == 6 * 12 // 3


@pytest.mark.parametrize("multiples", [(1,) * 8, (2, 2, 4, 8, 16, 32, 32, 1)])
def test_modules_begin_as_the_identity_with_the_papers_sizes(dilated, multiples):
    module = dilated.ContextModule(2, multiples)
    x = torch.rand(1, 2, 9, 14)
    torch.testing.assert_close(module(x), x)
    torch.testing.assert_close(module(x - 0.5), (x - 0.5).relu())
    if set(multiples) == {1}:
        assert sum(conv.weight.numel() for conv in module.convs) == 64 * 2**2
    assert [conv.dilation[0] for conv in module.convs] == [d for _, _, d in TABLE]


def test_a_module_is_torchs_chain(dilated):
    module = dilated.ContextModule(2, sigma=0.3).double()
    x = torch.randn(2, 2, 37, 35, dtype=torch.float64)
    h = x
    for k, (conv, (_, _, d)) in enumerate(zip(module.convs, TABLE, strict=True)):
        h = nn.functional.conv2d(h, conv.weight, conv.bias, padding=d if k < 7 else 0, dilation=d)
        h = h.relu() if k < 7 else h
    torch.testing.assert_close(module(x), h)


def test_dense_networks_hold_the_strided_ones_outputs(dilated):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(4, 3, (3, 2), padding=1, dilation=2),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 2, 2),
    ).double()
    x = torch.randn(2, 2, 61, 50, dtype=torch.float64)
    before = net(x)
    dense = dilated.densify(net)
    torch.testing.assert_close(dense(x)[..., ::8, ::8], before)
    torch.testing.assert_close(net(x), before)
    assert dense(x)[0, 0].numel() > 30 * before[0, 0].numel()
