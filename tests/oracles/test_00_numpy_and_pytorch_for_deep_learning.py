"""The references of 00 against torch, autograd, scipy, closed forms and brute force."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax
from scipy.stats import zscore
from torch import nn
from torch.nn import functional as F

SIZES = [(1, 1, 1, 2), (5, 3, 4, 2), (4, 4, 4, 4), (7, 2, 6, 3)]


@pytest.fixture(scope="module")
def basics(reference):
    return reference("00")


# NumPy forward ------------------------------------------------------------------------------------------------------


def test_one_hot_is_torchs(basics, rng):
    y = rng.integers(5, size=40)
    ours = basics.one_hot(y, 7)
    np.testing.assert_array_equal(ours, F.one_hot(torch.from_numpy(y), 7).double().numpy())
    assert ours.dtype == np.float64


@pytest.mark.parametrize(("N", "M", "D"), [(1, 1, 1), (4, 6, 3), (5, 5, 2), (7, 1, 40)])
def test_pairwise_sq_dists_is_scipys_cdist(basics, rng, N, M, D):
    A, B = rng.standard_normal((N, D)), rng.standard_normal((M, D))
    np.testing.assert_allclose(basics.pairwise_sq_dists(A, B), cdist(A, B, "sqeuclidean"), rtol=1e-12, atol=1e-13)


def test_pairwise_sq_dists_is_never_negative(basics, rng):
    A = 100 * rng.standard_normal((300, 4))
    assert basics.pairwise_sq_dists(A, A + 1e-9).min() >= 0


@pytest.mark.parametrize("size", [1.0, 1e3, 1e4])
@pytest.mark.parametrize(("shape", "axis"), [((5,), -1), ((4, 4), 0), ((3, 5), 1), ((2, 3, 4), 1)])
def test_log_softmax_is_scipys(basics, rng, size, shape, axis):
    z = size * rng.standard_normal(shape)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_allclose(basics.log_softmax(z, axis), log_softmax(z, axis=axis), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(basics.softmax(z, axis), softmax(z, axis=axis), rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e4])
@pytest.mark.parametrize(("N", "K"), [(1, 2), (6, 3), (50, 10)])
def test_cross_entropy_and_its_gradient_are_torchs(basics, rng, size, N, K):
    logits, y = size * rng.standard_normal((N, K)), rng.integers(K, size=N)
    theirs = torch.tensor(logits, requires_grad=True)
    loss = F.cross_entropy(theirs, torch.from_numpy(y))
    loss.backward()
    ours = basics.cross_entropy(logits, y)
    assert type(ours) is float
    assert ours == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(basics.cross_entropy_backward(logits, y), theirs.grad.numpy(), rtol=1e-10, atol=1e-14)


def params_of(rng, D, H, K):
    return {
        "W1": rng.standard_normal((D, H)),
        "b1": rng.standard_normal(H),
        "W2": rng.standard_normal((H, K)),
        "b2": rng.standard_normal(K),
    }


def torchs_network(params):
    """The same network of torch's own layers, with copied weights."""
    (D, H), K = params["W1"].shape, params["b2"].size
    network = nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, K)).double()
    arrays = {"0.weight": params["W1"].T, "0.bias": params["b1"], "2.weight": params["W2"].T, "2.bias": params["b2"]}
    network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return network


@pytest.mark.parametrize(("N", "D", "H", "K"), SIZES)
def test_mlp_forward_and_mlp_backward_are_torchs(basics, rng, N, D, H, K):
    params, X, upstream = params_of(rng, D, H, K), rng.standard_normal((N, D)), rng.standard_normal((N, K))
    network = torchs_network(params)
    theirs = network(torch.tensor(X))
    theirs.backward(torch.tensor(upstream))
    logits, cache = basics.mlp_forward(params, X)
    np.testing.assert_allclose(logits, theirs.detach().numpy(), rtol=1e-12, atol=1e-13)
    gradients = basics.mlp_backward(upstream, cache)
    assert gradients.keys() == params.keys()
    for (name, gradient), parameter in zip(gradients.items(), network.parameters(), strict=True):
        assert gradient.shape == params[name].shape
        np.testing.assert_allclose(gradient, parameter.grad.numpy().T, rtol=1e-10, atol=1e-13)


# NumPy backward -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1,), (4,), (3, 2), (2, 3, 2)])
@pytest.mark.parametrize("h", [1e-5, 1e-2])
def test_numerical_grad_is_the_closed_form_of_its_difference(basics, rng, shape, h):
    x = rng.standard_normal(shape)
    before = x.copy()
    cube = basics.numerical_grad(lambda v: np.sum(v**3), x, h)
    np.testing.assert_allclose(cube, 3 * x**2 + h**2, rtol=1e-8, atol=1e-9)
    sine = basics.numerical_grad(lambda v: np.sum(np.sin(v)), x, h)
    np.testing.assert_allclose(sine, np.cos(x) * np.sin(h) / h, rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(x, before)


def test_rel_error_is_norm_wise(basics):
    assert basics.rel_error(np.zeros(3), np.zeros(3)) == 0.0
    assert basics.rel_error(np.array([1.0, 4.0]), np.array([1.5, 4.0])) == 0.125


@pytest.mark.parametrize(
    ("broadcast", "shape"),
    [((4, 3), (3,)), ((4, 3), (4, 1)), ((2, 3, 4), (3, 1)), ((5, 2, 3, 4), (2, 1, 4)), ((4, 3), ()), ((4, 3), (4, 3))],
)
def test_unbroadcast_is_autograd_through_expand(basics, rng, broadcast, shape):
    g = rng.standard_normal(broadcast)
    x = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    x.expand(broadcast).backward(torch.tensor(g))
    ours = basics.unbroadcast(g, shape)
    assert np.shape(ours) == shape
    np.testing.assert_allclose(ours, x.grad.numpy(), rtol=1e-12, atol=1e-13)


UNARY = {
    "tanh": (lambda v: v.tanh(), torch.tanh),
    "relu": (lambda v: v.relu(), torch.relu),
    "exp": (lambda v: (v * v).tanh().exp(), lambda t: (t * t).tanh().exp()),
    "log": (lambda v: (v * v + v.exp()).log(), lambda t: (t * t + t.exp()).log()),
    "**": (lambda v: v.tanh() ** 3.0, lambda t: t.tanh() ** 3.0),
}


@pytest.mark.parametrize("seed", range(20))
def test_value_is_autograd_on_random_graphs(basics, seed):
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal(4).tolist()
    ours = [basics.Value(number) for number in numbers]
    theirs = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in numbers]
    leaves = list(zip(ours, theirs, strict=True))
    for _ in range(25):
        kind = rng.choice(["+", "×", *UNARY])
        i, j = rng.integers(len(ours), size=2)
        if kind in UNARY:
            on_value, on_tensor = UNARY[kind]
            ours.append(on_value(ours[i]))
            theirs.append(on_tensor(theirs[i]))
        else:
            ours.append((ours[i] + ours[j] if kind == "+" else ours[i] * ours[j]).tanh())
            theirs.append((theirs[i] + theirs[j] if kind == "+" else theirs[i] * theirs[j]).tanh())
    result, expected = ours[0], theirs[0]
    for value, tensor in zip(ours[1:], theirs[1:], strict=True):
        result, expected = result + value.tanh(), expected + tensor.tanh()
    expected.backward()
    for _ in range(2):  # the second call gives the same
        result.backward()
        assert result.data == pytest.approx(expected.item(), rel=1e-12)
        for value, tensor in leaves:
            assert value.grad == pytest.approx(tensor.grad.item(), rel=1e-10, abs=1e-13)


def test_value_of_many_paths(basics):
    """2 ** 300 paths: by brute force over paths this would not end."""
    x = basics.Value(1.0)
    y = x
    for _ in range(300):
        y = y + y
    y.backward()
    assert (y.data, x.grad) == (2.0**300, 2.0**300)


# Torch --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("N", "D", "H", "K"), SIZES)
def test_mlp_is_torchs_sequential_with_its_gradients(basics, rng, N, D, H, K):
    params, X, upstream = (
        params_of(rng, D, H, K),
        rng.standard_normal((N, D)),
        torch.tensor(rng.standard_normal((N, K))),
    )
    module, theirs = basics.MLP(D, H, K).double(), torchs_network(params)
    module.load_state_dict(basics.numpy_to_torch_params(params))
    ours_X, theirs_X = (torch.tensor(X, requires_grad=True) for _ in range(2))
    ours, expected = module(ours_X), theirs(theirs_X)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-13)
    ours.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(ours_X.grad, theirs_X.grad, rtol=1e-10, atol=1e-13)
    for (name, mine), other in zip(module.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-13, msg=name)


def test_softplus_is_torchs_with_its_gradient(basics, rng):
    x = np.concatenate([rng.standard_normal(50) * 10, [0.0, 1e3, -1e3, 1e4, -1e4, -36.0, 25.0]])
    upstream = torch.tensor(rng.standard_normal(x.size))
    ours_x, theirs_x = (torch.tensor(x, requires_grad=True) for _ in range(2))
    ours = basics.Softplus.apply(ours_x)
    theirs = F.softplus(theirs_x, threshold=1e9)  # below the threshold it is the formula itself
    finite = torch.isfinite(theirs)
    torch.testing.assert_close(ours[finite], theirs[finite], rtol=1e-13, atol=0)
    np.testing.assert_array_equal(ours.detach().numpy()[x >= 1e3], x[x >= 1e3])
    ours.backward(upstream)
    expected = [u * (1 / (1 + math.exp(-v)) if v > -700 else 0.0) for u, v in zip(upstream.tolist(), x, strict=True)]
    np.testing.assert_allclose(ours_x.grad.numpy(), expected, rtol=1e-12, atol=1e-300)


def test_softplus_passes_gradcheck(basics):
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True, generator=torch.manual_seed(0))
    assert torch.autograd.gradcheck(basics.Softplus.apply, (x,))


@pytest.mark.parametrize("steps", [1, 30])
def test_train_is_torchs_sgd(basics, rng, steps):
    params, X = params_of(rng, 3, 4, 2), torch.tensor(rng.standard_normal((9, 3)))
    y = torch.tensor(rng.integers(2, size=9))
    ours, theirs = torchs_network(params), torchs_network(params)
    optimiser, expected = torch.optim.SGD(theirs.parameters(), lr=0.3), []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = F.cross_entropy(theirs(X), y)
        expected.append(loss.item())
        loss.backward()
        optimiser.step()
    losses = basics.train(ours, X, y, 0.3, steps)
    assert all(type(loss) is float for loss in losses)
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_train_is_the_numpy_program(basics, rng):
    params, X, y = params_of(rng, 2, 5, 3), rng.standard_normal((12, 2)), rng.integers(3, size=12)
    module = basics.MLP(2, 5, 3).double()
    module.load_state_dict(basics.numpy_to_torch_params(params))
    ours = basics.train_numpy(params, X, y, 0.2, 40)
    np.testing.assert_allclose(ours, basics.train(module, torch.tensor(X), torch.tensor(y), 0.2, 40), rtol=1e-11)


def test_given_standardize_is_scipys_zscore(basics, rng):
    X = rng.standard_normal((20, 3)) * [1.0, 50.0, 0.1] + [0.0, 7.0, -2.0]
    Z, mean, deviation = basics.standardize(X)
    np.testing.assert_allclose(Z, zscore(X, axis=0), rtol=1e-6)
    np.testing.assert_allclose(Z * (deviation + 1e-8) + mean, X, rtol=1e-12)
    assert not basics.standardize(np.full((5, 2), 3.0))[0].any()
