"""The references of 26 against scikit-learn, torch's losses, autograd and optimisers, differences, and closed forms."""

import copy

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn import functional as f

from course.gradcheck import numerical_gradient, relative_error

NETWORKS = [(1, 1, 10, 10, 3, (2, 3), 4), (3, 2, 17, 13, 4, (4, 2), 3), (2, 3, 16, 16, 5, (3, 5), 6)]


@pytest.fixture(scope="module")
def course26(reference):
    return reference("26")


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def equal(ours, theirs, rtol=1e-10, atol=1e-11):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
    assert np.shape(ours) == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize(("Q", "N", "classes", "k"), [(1, 1, 1, 1), (20, 30, 4, 3), (9, 50, 5, 8)])
def test_knn_predict_is_scikit_learns(course26, rng, Q, N, classes, k):
    X, new, y = rng.standard_normal((N, 6)), rng.standard_normal((Q, 6)), rng.integers(classes, size=N)
    D = np.linalg.norm(new[:, None] - X, axis=2)
    theirs = KNeighborsClassifier(n_neighbors=k).fit(X, y).predict(new)
    np.testing.assert_array_equal(course26.knn_predict(D, y, k), theirs)


def test_knn_predict_settles_ties_as_the_text_says(course26):
    D, y = np.array([[1.0, 1.0, 1.0, 0.0], [2.0, 1.0, 1.0, 1.0]]), np.array([3, 2, 1, 9])
    assert course26.knn_predict(D, y, 1).tolist() == [9, 2]  # of equal distances the earlier
    assert course26.knn_predict(D, y, 2).tolist() == [3, 1]  # then 9 and 3; 2 and 1: the smaller label
    assert course26.knn_predict(D, y, 4).tolist() == [1, 1]


@pytest.mark.parametrize(("N", "D", "C", "delta"), [(1, 1, 2, 1.0), (6, 5, 4, 1.0), (7, 3, 5, 2.5), (4, 4, 3, 0.3)])
def test_svm_loss_is_torchs_multi_margin_loss_times_classes(course26, rng, N, D, C, delta):
    W, X, y, reg = rng.standard_normal((D, C)), rng.standard_normal((N, D)), rng.integers(C, size=N), 0.3
    tensor = leaf(W)
    theirs = C * f.multi_margin_loss(torch.from_numpy(X) @ tensor, torch.from_numpy(y), margin=delta)
    theirs = theirs + reg * (tensor**2).sum()
    theirs.backward()
    loss, dW = course26.svm_loss(W, X, y, reg, delta)
    equal(loss, theirs)
    equal(dW, tensor.grad)


def test_svm_loss_of_zero_weights_is_the_number_of_wrong_classes(course26, rng):
    loss, _ = course26.svm_loss(np.zeros((3, 7)), rng.standard_normal((5, 3)), rng.integers(7, size=5), 0.5, 0.25)
    assert loss == pytest.approx(6 * 0.25)


@pytest.mark.parametrize("settings", [{}, {"betas": (0.5, 0.7), "eps": 1e-2}])
def test_adam_step_walks_as_torchs_adam(course26, rng, settings):
    start = {"a": rng.standard_normal((2, 3)), "b": rng.standard_normal(4), "c": np.array(1.5)}
    tensors = {name: nn.Parameter(torch.from_numpy(np.array(w))) for name, w in start.items()}
    optimiser = torch.optim.Adam(tensors.values(), lr=0.03, **settings)
    beta1, beta2 = settings.get("betas", (0.9, 0.999))
    p, m = dict(start), {name: np.zeros_like(w) for name, w in start.items()}
    v = dict(m)
    for t in range(1, 21):
        g = {name: rng.standard_normal(w.shape) for name, w in start.items()}
        p, m, v = course26.adam_step(p, g, m, v, t, 0.03, beta1, beta2, settings.get("eps", 1e-8))
        for name, tensor in tensors.items():
            tensor.grad = torch.from_numpy(np.array(g[name]))
        optimiser.step()
    for name, tensor in tensors.items():
        equal(p[name], tensor)


@pytest.mark.parametrize(("N", "D", "size"), [(2, 1, 1.0), (5, 4, 1.0), (6, 3, 1e-2)])
@pytest.mark.parametrize("training", [True, False])
def test_batchnorm_backward_is_autograds(course26, rng, N, D, size, training):
    x, gamma, beta = size * rng.standard_normal((N, D)), rng.standard_normal(D), rng.standard_normal(D)
    dout, stats = rng.standard_normal((N, D)), (size * rng.standard_normal(D), size**2 * rng.uniform(0.5, 2, size=D))
    leaves = leaf(x), leaf(gamma), leaf(beta)
    mean, var = (torch.from_numpy(s.copy()) for s in stats)
    theirs = f.batch_norm(leaves[0], mean, var, leaves[1], leaves[2], training=training, eps=1e-5)
    theirs.backward(torch.from_numpy(dout))
    y, cache, _ = course26.batchnorm_forward(x, gamma, beta, None if training else stats)
    equal(y, theirs)
    for ours, tensor in zip(course26.batchnorm_backward(dout, cache), leaves, strict=True):
        equal(ours, tensor.grad, rtol=1e-8, atol=1e-9 / size)


def draw(rng, N, C, H, W, kernel, filters, classes):
    h, w = (((side - kernel + 1) // 2 - 2) // 2 for side in (H, W))
    p = {
        "conv1": rng.standard_normal((filters[0], C, kernel, kernel)),
        "conv2": rng.standard_normal((filters[1], filters[0], 3, 3)),
        "fc": rng.standard_normal((filters[1] * h * w, classes)),
        "bias": rng.standard_normal(classes),
    }
    for k, F in zip("12", filters, strict=True):
        p |= {f"gamma{k}": rng.standard_normal(F), f"beta{k}": rng.standard_normal(F)}
    stats = [(rng.standard_normal(F), rng.uniform(0.5, 2, size=F)) for F in filters]
    return p, rng.standard_normal((N, C, H, W)), stats


def by_torch(p, x, stats):
    """The network of equation (6) in torch's functions, for pictures of any sides."""
    for k in "12":
        x = f.conv2d(x, p[f"conv{k}"])
        mean, var = (None, None) if stats is None else map(torch.from_numpy, stats[int(k) - 1])
        x = f.batch_norm(x, mean, var, p[f"gamma{k}"], p[f"beta{k}"], training=stats is None)
        x = f.max_pool2d(f.relu(x), 2)
    return x.flatten(1) @ p["fc"] + p["bias"]


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("training", [True, False])
def test_cnn_backward_is_autograds(course26, rng, case, training):
    p, X, stats = draw(rng, *case)
    given, dscores = None if training else stats, rng.standard_normal((case[0], case[-1]))
    leaves, x = {name: leaf(w) for name, w in p.items()}, leaf(X)
    theirs = by_torch(leaves, x, given)
    theirs.backward(torch.from_numpy(dscores))
    scores, cache, _ = course26.cnn_forward(p, X, given)
    equal(scores, theirs)
    dX, grads = course26.cnn_backward(dscores, cache)
    equal(dX, x.grad, rtol=1e-7, atol=1e-8)
    assert sorted(grads) == sorted(p)
    for name, tensor in leaves.items():
        equal(grads[name], tensor.grad, rtol=1e-7, atol=1e-8)


def test_cnn_backward_is_that_of_differences(course26):
    rng = np.random.default_rng(3)  # no ReLU or maximum that switches within a step
    p, X, _ = draw(rng, 3, 1, 10, 12, 3, (2, 2), 3)
    dscores = rng.standard_normal((3, 3))
    _, grads = course26.cnn_backward(dscores, course26.cnn_forward(p, X)[1])
    for name, array in p.items():
        numeric = numerical_gradient(lambda: float(np.sum(course26.cnn_forward(p, X)[0] * dscores)), array, h=1e-6)
        assert relative_error(grads[name], numeric) < 1e-6


@pytest.mark.parametrize("case", NETWORKS)
def test_saliency_is_autograds(course26, rng, case):
    p, X, stats = draw(rng, *case)
    y = rng.integers(case[-1], size=case[0])
    x = leaf(X)
    scores = by_torch({name: torch.from_numpy(w) for name, w in p.items()}, x, stats)
    scores[range(len(y)), torch.from_numpy(y)].sum().backward()
    equal(course26.saliency(p, X, y, stats), x.grad.abs().amax(dim=1), rtol=1e-8)


def test_babysit_says_what_is_known_of_a_quadratic(course26):
    def loss(p, X, y, reg):
        return float(2 + p["w"] @ p["w"] + 3 * p["b"] + reg), {"w": 2 * p["w"], "b": np.array(3.0)}

    p = {"w": np.array([1.0, -2.0]), "b": np.array(0.5)}
    u = {"w": np.array([0.3, 0.7]), "b": np.array(-1.0)}
    found = course26.babysit(loss, p, None, None, 4, u, reg=10.0, lr=0.1, steps=3)
    assert found["start"] == pytest.approx(8.5 / np.log(4))
    assert found["gradient"] < 1e-8
    assert found["overfit"] == pytest.approx((2 + 5 * 0.8**6 + 3 * (0.5 - 0.9)) / 8.5)


@pytest.mark.parametrize("factor", [-1.0, 0.5, 0.0, 3.0])
def test_babysit_measures_how_wrong_a_gradient_is(course26, factor):
    def loss(p, X, y, reg):
        return float(np.sum(p["w"] ** 2) + np.sum(p["v"])), {"w": factor * 2 * p["w"], "v": np.ones(2)}

    p, u = {"w": np.array([1.0, 3.0]), "v": np.ones(2)}, {"w": np.array([2.0, 1.0]), "v": np.ones(2)}
    found = course26.babysit(loss, p, None, None, 2, u, steps=1)
    assert found["gradient"] == pytest.approx(abs(factor - 1) / max(abs(factor), 1), rel=1e-6)


@pytest.mark.parametrize("sizes", [(1, 16, 10, (8, 16), 5), (3, 14, 4, (4, 6), 7), (2, 13, 3, (5, 2), 4)])
@pytest.mark.parametrize("training", [True, False])
def test_ConvNet_is_torchs_functions(course26, rng, sizes, training):
    channels, side, classes, filters, kernel = sizes
    p, X, stats = draw(rng, 3, channels, side, side, kernel, filters, classes)
    model = course26.ConvNet(*sizes).double().train(training)
    with torch.no_grad():
        for k in "12":
            getattr(model, f"conv{k}").weight.copy_(torch.from_numpy(p[f"conv{k}"]))
            bn = getattr(model, f"bn{k}")
            bn.weight.copy_(torch.from_numpy(p[f"gamma{k}"]))
            bn.bias.copy_(torch.from_numpy(p[f"beta{k}"]))
            bn.running_mean.copy_(torch.from_numpy(stats[int(k) - 1][0]))
            bn.running_var.copy_(torch.from_numpy(stats[int(k) - 1][1]))
        model.fc.weight.copy_(torch.from_numpy(p["fc"].T))
        model.fc.bias.copy_(torch.from_numpy(p["bias"]))
    tensors = {name: torch.from_numpy(w) for name, w in p.items()}
    expected = by_torch(tensors, torch.from_numpy(X), None if training else stats)
    equal(model(torch.from_numpy(X)).detach().numpy(), expected, rtol=1e-8, atol=1e-9)


def test_ConvNet_has_the_number_of_weights_that_the_text_says(course26):
    assert sum(w.numel() for w in course26.ConvNet(1, 16, 10).parameters()) == 2050


@pytest.mark.parametrize("training", [True, False])
def test_transfer_trains_the_head_as_numpy_does_and_touches_nothing_else(course26, rng, training):
    torch.manual_seed(0)
    model, head = course26.ConvNet(2, 12, 3, (3, 4), 3).double().train(training), nn.Linear(4, 5).double()
    X, y = torch.from_numpy(rng.standard_normal((6, 2, 12, 12))), torch.from_numpy(rng.integers(5, size=6))
    before = copy.deepcopy(model.state_dict()), copy.deepcopy(head.state_dict())
    found = course26.transfer(model, head, X, y, 7, 0.05)
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), model.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before[1].values(), head.state_dict().values(), strict=True))
    assert all(module.training == training for module in model.modules())
    assert all(w.grad is None for w in [*model.parameters(), *head.parameters()])
    with torch.no_grad():
        features = copy.deepcopy(model).eval().features(X).numpy()
    p = {"A": before[1]["weight"].numpy().T.copy(), "b": before[1]["bias"].numpy().copy()}
    m = v = {name: np.zeros_like(w) for name, w in p.items()}
    for t in range(1, 8):
        _, ds = course26.cross_entropy(features @ p["A"] + p["b"], y.numpy())
        p, m, v = course26.adam_step(p, {"A": features.T @ ds, "b": ds.sum(axis=0)}, m, v, t, 0.05)
    equal(found.weight.detach().numpy().T, p["A"], rtol=1e-6, atol=1e-8)
    equal(found.bias.detach().numpy(), p["b"], rtol=1e-6, atol=1e-8)


@pytest.fixture
def letters(course26, monkeypatch):
    """The notebook's pictures; their bitmaps are computed there, and not loaded with the functions."""
    bitmaps = [[list(map(float, row)) for row in text.split()] for text in course26.FONT.values()]
    monkeypatch.setitem(course26.letters.__globals__, "BITMAPS", np.array(bitmaps))
    return course26.letters


def test_a_clean_network_is_flagged_as_rarely_as_the_text_says(course26, letters):
    """Of the 100 seeds that the text speaks of a third, with all three of its flags."""
    errors, with_small_steps = [], []
    for seed in range(1010, 1043):
        rng = np.random.default_rng([seed, 5])
        p, (X, y, _) = course26.cnn_start(rng), letters(rng, 12)
        u = {name: rng.standard_normal(w.shape) for name, w in p.items()}
        model = course26.planted("none")
        errors.append(course26.babysit(model, p, X, y, 10, u, steps=1)["gradient"])
        if errors[-1] > 1e-2:
            with_small_steps.append(course26.babysit(model, p, X, y, 10, u, steps=1, h=1e-6)["gradient"])
    assert np.median(errors) < 1e-6
    assert len(with_small_steps) == 3
    assert max(with_small_steps) < 1e-5


def test_shifts_help_more_with_more_training(course26, letters):
    """The accuracy of the fully connected network that the text tells, after 96 epochs, of the first seed."""
    X, y, _ = letters(np.random.default_rng([260, 0]), 1500)
    X_new, y_new, _ = letters(np.random.default_rng([260, 1]), 1000)
    start = course26.mlp_start(np.random.default_rng([260, 3]))
    sets = X, y, X_new, y_new
    _, right = course26.scored(
        course26.mlp_forward, course26.mlp_model, start, sets, 260, 96, 3e-3, change=course26.shifted
    )
    assert right == pytest.approx(0.59, abs=0.05)
