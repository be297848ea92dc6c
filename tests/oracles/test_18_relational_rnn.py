"""The references of 18 against torch's layers, autograd, finite differences, scalar loops and closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course.gradcheck import numerical_gradient, relative_error

MATRICES = ("Wq", "Wk", "Wv", "W1", "W2", "Wi", "Ui", "Wf", "Uf")
VECTORS = ("bin", "b1", "b2", "bi", "bf", "gain1", "bias1", "gain2", "bias2")


@pytest.fixture(scope="module")
def rmc(reference):
    return reference("18")


def draw(rng, inputs, D):
    p = {name: rng.standard_normal((D, D)) / math.sqrt(D) for name in MATRICES}
    return p | {name: rng.standard_normal(D) for name in VECTORS} | {"Win": rng.standard_normal((inputs, D))}


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def leaves(p):
    return {name: leaf(array) for name, array in p.items()}


def close(ours, theirs, tolerance=1e-10):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    assert relative_error(ours, theirs) < tolerance


def close_all(grads, p, tolerance=1e-9):
    assert grads.keys() == p.keys()
    for name, parameter in p.items():
        close(grads[name], parameter.grad, tolerance)


def torch_attention(p, M, row, heads):
    """PyTorch's own attention, with the identity as its output matrix."""
    D, kv = M.shape[-1], torch.cat([M, row], dim=1)
    weights = torch.cat([p["Wq"].T, p["Wk"].T, p["Wv"].T])
    out, _ = F.multi_head_attention_forward(
        M.transpose(0, 1), kv.transpose(0, 1), kv.transpose(0, 1), D, heads, weights, None, None, None, False, 0.0,
        torch.eye(D, dtype=M.dtype), None,
    )  # fmt: skip
    return out.transpose(0, 1)


def torch_gates(p, row, M):
    """Each gate as one linear layer on row and tanh(M), side by side."""
    seen = torch.cat([row.expand(-1, M.shape[1], -1), torch.tanh(M)], dim=-1)
    return tuple(
        torch.sigmoid(F.linear(seen, torch.cat([p[f"W{g}"], p[f"U{g}"]]).T, p[f"b{g}"] + constant))
        for g, constant in (("i", 0.0), ("f", 1.0))
    )


def torch_step(p, x, M, heads):
    """Equations (2) to (5) from PyTorch's functions."""
    D = M.shape[-1]
    row = F.linear(x, p["Win"].T, p["bin"])[:, None]
    u = F.layer_norm(M + torch_attention(p, M, row, heads), (D,), p["gain1"], p["bias1"])
    made = F.linear(F.relu(F.linear(u, p["W1"].T, p["b1"])), p["W2"].T, p["b2"])
    i, f = torch_gates(p, row, M)
    return f * M + i * torch.tanh(F.layer_norm(u + made, (D,), p["gain2"], p["bias2"]))


def torch_sequence(p, X, M, heads):
    memories = []
    for t in range(X.shape[1]):
        M = torch_step(p, X[:, t], M, heads)
        memories.append(M)
    return torch.stack(memories, dim=1)


@pytest.mark.parametrize(("B", "S", "D", "heads"), [(1, 1, 2, 1), (2, 3, 6, 3), (3, 4, 8, 2)])
def test_memory_attention_forward_and_memory_attention_backward_are_torchs_attention(rmc, rng, B, S, D, heads):
    p = {name: rng.standard_normal((D, D)) for name in ("Wq", "Wk", "Wv")}
    (M, dout), row = rng.standard_normal((2, B, S, D)), rng.standard_normal((B, 1, D))
    out, cache = rmc.memory_attention_forward(p, M, row, heads)
    dM, drow, grads = rmc.memory_attention_backward(dout, cache)
    q, M_torch, row_torch = leaves(p), leaf(M), leaf(row)
    theirs = torch_attention(q, M_torch, row_torch, heads)
    theirs.backward(torch.from_numpy(dout))
    close(out, theirs)
    close(dM, M_torch.grad)
    close(drow, row_torch.grad)
    close_all(grads, q)


def test_attention_weights_backward_is_autograd_and_the_finite_difference(rmc, rng):
    Q, K, dA = rng.standard_normal((2, 3, 4, 4)), rng.standard_normal((2, 3, 5, 4)), rng.standard_normal((2, 3, 4, 5))
    A, cache = rmc.attention_weights_forward(Q, K)
    found = rmc.attention_weights_backward(dA, cache)
    pair = [leaf(Q), leaf(K)]
    theirs = torch.softmax(pair[0] @ pair[1].mT / 2, dim=-1)
    theirs.backward(torch.from_numpy(dA))
    close(A, theirs)
    for ours, oracle, array in zip(found, pair, (Q, K), strict=True):
        close(ours, oracle.grad)
        loss = lambda: float(np.sum(rmc.attention_weights_forward(Q, K)[0] * dA))  # noqa: E731
        close(ours, numerical_gradient(loss, array), 1e-7)


@pytest.mark.parametrize(("B", "S", "D"), [(1, 1, 1), (2, 4, 3), (3, 2, 5)])
def test_gates_forward_and_gates_backward_are_linear_layers_with_autograd(rmc, rng, B, S, D):
    p = {f"{kind}{g}": rng.standard_normal((D, D)) for kind in "WU" for g in "if"}
    p |= {f"b{g}": rng.standard_normal(D) for g in "if"}
    row, (M, di, df) = rng.standard_normal((B, 1, D)), rng.standard_normal((3, B, S, D))
    i, f, cache = rmc.gates_forward(p, row, M)
    drow, dM, grads = rmc.gates_backward(di, df, cache)
    q, row_torch, M_torch = leaves(p), leaf(row), leaf(M)
    pair = torch_gates(q, row_torch, M_torch)
    torch.autograd.backward(pair, [torch.from_numpy(di), torch.from_numpy(df)])
    close(i, pair[0])
    close(f, pair[1])
    close(drow, row_torch.grad)
    close(dM, M_torch.grad)
    close_all(grads, q)


@pytest.mark.parametrize(("B", "inputs", "S", "D", "heads"), [(1, 2, 1, 3, 1), (2, 3, 4, 6, 3), (3, 5, 2, 8, 4)])
def test_rmc_step_forward_and_rmc_step_backward_are_autograd(rmc, rng, B, inputs, S, D, heads):
    p, x, (M, dM_new) = draw(rng, inputs, D), rng.standard_normal((B, inputs)), rng.standard_normal((2, B, S, D))
    M_new, cache = rmc.rmc_step_forward(p, x, M, heads)
    dx, dM, grads = rmc.rmc_step_backward(dM_new, cache)
    q, x_torch, M_torch = leaves(p), leaf(x), leaf(M)
    theirs = torch_step(q, x_torch, M_torch, heads)
    theirs.backward(torch.from_numpy(dM_new))
    close(M_new, theirs)
    close(dx, x_torch.grad, 1e-9)
    close(dM, M_torch.grad, 1e-9)
    close_all(grads, q)


def test_rmc_step_forward_does_not_know_which_slot_is_which(rmc, rng):
    p, x, M = draw(rng, 3, 6), rng.standard_normal((2, 3)), rng.standard_normal((2, 5, 6))
    order = rng.permutation(5)
    M_new, _ = rmc.rmc_step_forward(p, x, M, 2)
    close(rmc.rmc_step_forward(p, x, M[:, order], 2)[0], M_new[:, order], 1e-12)


@pytest.mark.parametrize("last_only", [False, True])
def test_rmc_backward_is_autograd_through_time_with_gates_that_learn(rmc, rng, last_only):
    B, T, inputs, S, D, heads = 2, 5, 3, 3, 6, 2
    p, X, M0 = draw(rng, inputs, D), rng.standard_normal((B, T, inputs)), rng.standard_normal((B, S, D))
    dmemories = rng.standard_normal((B, T, S, D))
    if last_only:
        dmemories[:, :-1] = 0
    memories, cache = rmc.rmc_forward(p, X, M0, heads)
    dX, dM0, grads = rmc.rmc_backward(dmemories, cache)
    q, X_torch, M_torch = leaves(p), leaf(X), leaf(M0)
    theirs = torch_sequence(q, X_torch, M_torch, heads)
    theirs.backward(torch.from_numpy(dmemories))
    close(memories, theirs)
    close(dX, X_torch.grad, 1e-9)
    close(dM0, M_torch.grad, 1e-9)
    close_all(grads, q, 1e-8)
    one_step = rmc.rmc_backward(dmemories[:, -1:], cache[-1:])[2]  # what a detached memory would leave
    for name in ("Wi", "Ui", "bi", "Wf", "Uf", "bf"):
        assert np.linalg.norm(grads[name]) > 0.1
        assert relative_error(one_step[name], grads[name]) > 0.1


def test_rmc_backward_is_the_finite_difference_of_every_parameter(rmc, rng):
    p, X, M0 = draw(rng, 2, 4), rng.standard_normal((2, 4, 2)), rng.standard_normal((2, 3, 4))
    dmemories = rng.standard_normal((2, 4, 3, 4))
    _, _, grads = rmc.rmc_backward(dmemories, rmc.rmc_forward(p, X, M0, 2)[1])
    for name, array in p.items():
        loss = lambda: float(np.sum(rmc.rmc_forward(p, X, M0, 2)[0] * dmemories))  # noqa: E731
        close(grads[name], numerical_gradient(loss, array), 1e-6)


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint8])
def test_recall_batch_takes_any_integers_and_answers_in_int64(rmc, kind):
    keys, values, asked = np.array([[0, 2], [2, 1]], kind), np.array([[1, 0], [2, 2]], kind), np.array([1, 0], kind)
    X, y = rmc.recall_batch(keys, values, asked, 5)
    assert X.shape == (2, 3, 10)
    assert y.dtype == np.int64
    assert y.tolist() == [0, 2]


def test_recall_batch_can_be_answered_by_looking_the_key_up(rmc, rng):
    symbols, n, B = 6, 4, 50
    keys = np.argsort(rng.random((B, symbols)), axis=1)[:, :n]
    values, asked = rng.integers(symbols, size=(B, n)), rng.integers(n, size=B)
    X, y = rmc.recall_batch(keys, values, asked, symbols)
    assert X.shape == (B, n + 1, 2 * symbols)
    for b in range(B):
        pairs = {int(np.argmax(row[:symbols])): int(np.argmax(row[symbols:])) for row in X[b, :n]}
        assert list(pairs) == list(keys[b])
        assert list(pairs.values()) == list(values[b])
        assert not X[b, n, symbols:].any()  # the query shows no value
        assert pairs[int(np.argmax(X[b, n, :symbols]))] == y[b] == values[b, asked[b]]
    assert set(np.unique(X)) == {0.0, 1.0}
    assert np.all(X.sum(axis=2) == [2] * n + [1])


def test_grad_check_is_the_closed_form_and_names_what_is_wrong(rmc, rng):
    params = {"W": rng.standard_normal((3, 4)), "b": rng.standard_normal(5), "unused": rng.standard_normal(2)}
    loss = lambda q: float(np.sum(q["W"] ** 2) + np.sum(np.exp(q["b"])))  # noqa: E731
    right = {"W": 2 * params["W"], "b": np.exp(params["b"]), "unused": np.zeros(2)}
    entries = {"W": np.array([11, 0, 5]), "b": np.arange(5), "unused": np.arange(2)}
    before = {name: array.copy() for name, array in params.items()}
    errors = rmc.grad_check(loss, params, right, entries)
    assert all(np.array_equal(params[name], before[name]) for name in params)
    assert errors.keys() == params.keys()
    assert max(errors.values()) < 1e-8
    assert errors["unused"] == 0
    claimed = right | {"W": 4 * right["W"], "b": 0 * right["b"]}
    wrong = rmc.grad_check(loss, params, claimed, entries)
    assert wrong["W"] == pytest.approx(0.75)
    assert wrong["b"] == pytest.approx(1.0)
    from_course = {
        name: relative_error(
            claimed[name].flat[entries[name]],
            numerical_gradient(lambda: loss(params), params[name]).flat[entries[name]],
        )
        for name in params
    }
    assert wrong == pytest.approx(from_course, rel=1e-6, abs=1e-8)
    lost = rmc.grad_check(loss, params, {name: np.nan * g for name, g in right.items()}, entries)
    assert all(math.isnan(error) for error in lost.values())


def test_grad_check_divides_by_the_largest_and_moves_by_eps(rmc, rng):
    x, every = rng.standard_normal(6), {"x": np.arange(6)}
    noise = rng.standard_normal(6)
    cube = lambda q: float(np.sum(q["x"] ** 3))  # noqa: E731
    for eps in (1e-5, 0.5):
        slopes = 3 * x**2 + eps**2  # the central difference of a cube
        error = rmc.grad_check(cube, {"x": x}, {"x": slopes + noise}, every, eps)["x"]
        largest = max(np.abs(slopes).max(), np.abs(slopes + noise).max())
        assert error == pytest.approx(np.abs(noise).max() / largest, rel=1e-6)


def test_grad_check_passes_the_model_and_finds_the_planted_faults(rmc, rng):
    p, X, M0 = draw(rng, 2, 4), rng.standard_normal((2, 4, 2)), rng.standard_normal((2, 3, 4))
    readout = rng.standard_normal((2, 3, 4))
    entries = {name: rng.permutation(a.size)[:8] for name, a in p.items()}
    loss = lambda q: float(np.sum(rmc.rmc_forward(q, X, M0, 2)[0][:, -1] * readout))  # noqa: E731

    def autograds(detach):
        q, M = leaves(p), torch.from_numpy(M0)
        for t in range(4):
            M = torch_step(q, torch.from_numpy(X[:, t]), M.detach() if detach else M, 2)
        (M * torch.from_numpy(readout)).sum().backward()
        return {name: parameter.grad.numpy() for name, parameter in q.items()}

    assert max(rmc.grad_check(loss, p, autograds(detach=False), entries).values()) < 1e-6
    assert min(rmc.grad_check(loss, p, autograds(detach=True), entries).values()) > 1e-3
    gateless = autograds(detach=False) | {name: np.zeros_like(p[name]) for name in ("Wi", "Ui", "bi", "Wf", "Uf", "bf")}
    found = rmc.grad_check(loss, p, gateless, entries)
    assert {name for name, error in found.items() if error > 1e-6} == {"Wi", "Ui", "bi", "Wf", "Uf", "bf"}


@pytest.mark.parametrize(("S", "D", "heads"), [(1, 2, 1), (3, 6, 2)])
def test_relational_memory_core_is_the_functional_version_with_autograd(rmc, rng, S, D, heads):
    torch.manual_seed(0)
    core = rmc.RelationalMemoryCore(3, S, D, heads).double()
    norms = {"norm1.weight": "gain1", "norm1.bias": "bias1", "norm2.weight": "gain2", "norm2.bias": "bias2"}
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape)))
    q = {}
    for name, parameter in core.named_parameters():
        layer, kind = name.split(".")
        q[norms.get(name) or (layer if kind == "weight" else "b" + layer[1:])] = leaf(parameter.detach().numpy().T)
    X, upstream = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 4, S, D))
    memories, weights = core(torch.from_numpy(X))
    theirs = torch_sequence(q, torch.from_numpy(X), torch.eye(S, D, dtype=torch.float64).expand(2, -1, -1), heads)
    close(memories.detach().numpy(), theirs)
    assert weights.shape == (2, 4, heads, S, S + 1)
    np.testing.assert_allclose(weights.sum(dim=-1).detach().numpy(), 1, atol=1e-12)
    x, M = torch.from_numpy(rng.standard_normal((2, 3))), torch.from_numpy(rng.standard_normal((2, S + 2, D)))
    close(core.step(x, M)[0].detach().numpy(), torch_step(q, x, M, heads))  # another number of slots than its own
    memories.backward(torch.from_numpy(upstream))
    theirs.backward(torch.from_numpy(upstream))
    for name, parameter in core.named_parameters():
        layer, kind = name.split(".")
        ours = norms.get(name) or (layer if kind == "weight" else "b" + layer[1:])
        close(parameter.grad.numpy().T, q[ours].grad, 1e-8)


@pytest.mark.parametrize("clip", [0.1, 100.0])
def test_train_step_moves_along_the_clipped_gradient(rmc, rng, clip):
    X, y = torch.from_numpy(rng.standard_normal((6, 4))), torch.from_numpy(rng.integers(3, size=6))
    model = nn.Linear(4, 3).double()
    W, b = (a.detach().numpy().copy() for a in model.parameters())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(2):
        logits = X.numpy() @ W.T + b
        P = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        expected = -np.mean(np.log(P[np.arange(6), y.numpy()]))
        d = (P - np.eye(3)[y.numpy()]) / 6
        dW, db = d.T @ X.numpy(), d.sum(axis=0)
        length = math.sqrt(np.sum(dW**2) + np.sum(db**2))
        found = rmc.train_step(model, optimiser, X, y, clip)
        assert found == pytest.approx((expected, length))
        factor = 0.5 * min(1.0, clip / length)
        W, b = W - factor * dW, b - factor * db
        np.testing.assert_allclose(model.weight.detach().numpy(), W, atol=1e-6)
        np.testing.assert_allclose(model.bias.detach().numpy(), b, atol=1e-6)
