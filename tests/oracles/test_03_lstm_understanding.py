"""The references of 03 against torch.nn, autograd and scipy."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

SIZES = [(1, 1, 1), (4, 3, 5), (2, 6, 2)]


@pytest.fixture(scope="module")
def lstm(reference):
    return reference("03")


def torch_weights(W: np.ndarray, b: np.ndarray, inputs: int) -> dict[str, torch.Tensor]:
    """Our stacked weights in torch's layout: transposed, split into input and hidden parts, one of two biases zero."""
    return {
        "weight_ih": torch.from_numpy(W[:inputs].T.copy()),
        "weight_hh": torch.from_numpy(W[inputs:].T.copy()),
        "bias_ih": torch.from_numpy(b.copy()),
        "bias_hh": torch.zeros(b.size, dtype=torch.float64),
    }


def draw(rng, batch, inputs, hidden):
    params = {"W": rng.standard_normal((inputs + hidden, 4 * hidden)), "b": rng.standard_normal(4 * hidden)}
    x, h, c = (rng.standard_normal((batch, n)) for n in (inputs, hidden, hidden))
    return params, x, h, c


def torch_cell(params, inputs, hidden):
    cell = nn.LSTMCell(inputs, hidden, dtype=torch.float64)
    cell.load_state_dict(torch_weights(params["W"], params["b"], inputs))
    return cell


def test_sigmoid_is_scipys_without_a_warning(lstm):
    x = np.concatenate([np.linspace(-40, 40, 161), [-1e3, 1e3, -700.0, 0.0]])
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(lstm.sigmoid(x), expit(x), rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize(("batch", "inputs", "hidden"), SIZES)
def test_cell_forward_is_torchs_cell(lstm, rng, batch, inputs, hidden):
    params, x, h, c = draw(rng, batch, inputs, hidden)
    ours_h, ours_c, _ = lstm.lstm_cell_forward(params, x, h, c)
    theirs = torch_cell(params, inputs, hidden)(torch.from_numpy(x), (torch.from_numpy(h), torch.from_numpy(c)))
    np.testing.assert_allclose(ours_h, theirs[0].detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours_c, theirs[1].detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("batch", "inputs", "hidden"), SIZES)
def test_cell_backward_is_autograd_through_torchs_cell(lstm, rng, batch, inputs, hidden):
    params, x, h, c = draw(rng, batch, inputs, hidden)
    dh, dc = rng.standard_normal((2, batch, hidden))
    *_, cache = lstm.lstm_cell_forward(params, x, h, c)
    dx, dh_prev, dc_prev, dW, db = lstm.lstm_cell_backward(dh, dc, cache)

    cell = torch_cell(params, inputs, hidden)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, h, c)]
    h_next, c_next = cell(leaves[0], (leaves[1], leaves[2]))
    (torch.sum(h_next * torch.from_numpy(dh)) + torch.sum(c_next * torch.from_numpy(dc))).backward()
    for ours, leaf in zip((dx, dh_prev, dc_prev), leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad.numpy(), rtol=1e-10, atol=1e-13)
    theirs_dW = torch.cat([cell.weight_ih.grad, cell.weight_hh.grad], dim=1).T.numpy()
    np.testing.assert_allclose(dW, theirs_dW, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(db, cell.bias_ih.grad.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("batch", "inputs", "hidden"), SIZES)
@pytest.mark.parametrize("time", [1, 7])
def test_layer_is_torchs_layer_with_its_gradients(lstm, rng, time, batch, inputs, hidden):
    layer = lstm.LSTM(inputs, hidden).double()
    theirs = nn.LSTM(inputs, hidden, batch_first=True, dtype=torch.float64)
    weights = torch_weights(layer.W.detach().numpy(), layer.b.detach().numpy(), inputs)
    theirs.load_state_dict({f"{name}_l0": value for name, value in weights.items()})
    X = rng.standard_normal((batch, time, inputs))
    upstream = torch.from_numpy(rng.standard_normal((batch, time, hidden)))
    ours_X, theirs_X = (torch.tensor(X, requires_grad=True) for _ in range(2))

    H, (h, c) = layer(ours_X)
    their_H, (their_h, their_c) = theirs(theirs_X)
    for a, b in ((H, their_H), (h, their_h[0]), (c, their_c[0])):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    torch.sum(H * upstream).backward()
    torch.sum(their_H * upstream).backward()
    torch.testing.assert_close(ours_X.grad, theirs_X.grad, rtol=1e-10, atol=1e-13)
    their_dW = torch.cat([theirs.weight_ih_l0.grad, theirs.weight_hh_l0.grad], dim=1).T
    torch.testing.assert_close(layer.W.grad, their_dW, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(layer.b.grad, theirs.bias_ih_l0.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("batch", "inputs", "hidden"), SIZES)
@pytest.mark.parametrize("time", [1, 7])
def test_sequence_forward_and_backward_are_torchs_layer_with_autograd(lstm, rng, time, batch, inputs, hidden):
    params, _, h0, c0 = draw(rng, batch, inputs, hidden)
    X, dHs = rng.standard_normal((batch, time, inputs)), rng.standard_normal((batch, time, hidden))
    Hs, cache = lstm.lstm_forward(params, X, h0, c0)
    gradients = lstm.lstm_backward(dHs, cache)

    theirs = nn.LSTM(inputs, hidden, batch_first=True, dtype=torch.float64)
    weights = torch_weights(params["W"], params["b"], inputs)
    theirs.load_state_dict({f"{name}_l0": value for name, value in weights.items()})
    leaves = [torch.tensor(a, requires_grad=True) for a in (X, h0, c0)]
    their_H, _ = theirs(leaves[0], (leaves[1][None], leaves[2][None]))
    their_H.backward(torch.from_numpy(dHs))
    np.testing.assert_allclose(Hs, their_H.detach().numpy(), rtol=1e-12, atol=1e-13)
    their_dW = torch.cat([theirs.weight_ih_l0.grad, theirs.weight_hh_l0.grad], dim=1).T.numpy()
    expected = [*(leaf.grad.numpy() for leaf in leaves), their_dW, theirs.bias_ih_l0.grad.numpy()]
    for ours, oracle in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, oracle, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("batch", "inputs", "hidden"), SIZES)
def test_state_gradient_norms_are_autograds_at_the_state_that_is_handed_on(lstm, rng, batch, inputs, hidden):
    time = 6
    params, _, h0, c0 = draw(rng, batch, inputs, hidden)
    X, dh_last = rng.standard_normal((batch, time, inputs)), rng.standard_normal((batch, hidden))
    norms = lstm.state_gradient_norms(dh_last, lstm.lstm_forward(params, X, h0, c0)[1])

    cell, states = torch_cell(params, inputs, hidden), []
    h, c = torch.from_numpy(h0), torch.from_numpy(c0)
    for t in range(time):
        h, c = cell(torch.from_numpy(X[:, t]), (h, c))
        handed = h.clone(), c.clone()  # the pair that the next step reads, apart from h's own use of c
        states.append(handed)
        h, c = handed
    leaves = [tensor for pair in states for tensor in pair]
    found = torch.autograd.grad(torch.sum(h * torch.from_numpy(dh_last)), leaves, allow_unused=True)
    sizes = [0.0 if g is None else float(torch.sum(g**2)) for g in found]
    np.testing.assert_allclose(norms, np.sqrt(np.add(sizes[::2], sizes[1::2])), rtol=1e-10)


def test_chrono_init_gives_the_times_of_tallec_and_ollivier(lstm, rng):
    layer = lstm.LSTM(3, 5).double()
    with torch.no_grad():
        layer.b.copy_(torch.arange(20.0))
    u = torch.from_numpy(rng.uniform(size=5))
    lstm.chrono_init(layer, 50, u)
    times = 1 + 48 * u.numpy()  # uniform in [1, T_max - 1), section 3 of their paper
    b = layer.b.detach().numpy()
    np.testing.assert_allclose(1 / (1 - expit(b[5:10])), 1 + times, rtol=1e-12)  # a gate σ(ln t) forgets 1 / (1 + t)
    np.testing.assert_allclose(b[:5], -b[5:10], rtol=0)
    np.testing.assert_array_equal(b[10:], np.arange(10.0, 20.0))
    assert layer.b.requires_grad
    assert layer.b.is_leaf


@pytest.mark.parametrize(("batch", "inputs", "hidden"), SIZES)
def test_gru_cell_is_torchs_cell_with_its_gradients(lstm, rng, batch, inputs, hidden):
    cell = nn.GRUCell(inputs, hidden, dtype=torch.float64)
    params = {
        "Wx": cell.weight_ih.detach().T.clone(),
        "Wh": cell.weight_hh.detach().T.clone(),
        "bx": cell.bias_ih.detach().clone(),
        "bh": cell.bias_hh.detach().clone(),
    }
    for tensor in params.values():
        tensor.requires_grad_()
    x, h, upstream = (torch.from_numpy(rng.standard_normal((batch, n))) for n in (inputs, hidden, hidden))
    ours, theirs = lstm.gru_cell(params, x, h), cell(x, h)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)
    ours.backward(upstream)
    theirs.backward(upstream)
    torch.testing.assert_close(params["Wx"].grad, cell.weight_ih.grad.T, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(params["Wh"].grad, cell.weight_hh.grad.T, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(params["bx"].grad, cell.bias_ih.grad, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(params["bh"].grad, cell.bias_hh.grad, rtol=1e-10, atol=1e-13)
