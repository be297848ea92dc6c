"""Probes of 03: an LSTM cell forward, backward, and as a torch module."""

import numpy as np

from autograder.engine.probes import agree, fill, named, probe, shapes, slope


def cell_inputs(rng, batch, inputs, hidden):
    """Weights of order one, so that gates are far from 1/2; states that are not bounded by 1."""
    params = {
        "W": rng.standard_normal((inputs + hidden, 4 * hidden)),
        "b": rng.standard_normal(4 * hidden),
    }
    x = rng.standard_normal((batch, inputs))
    h, c = rng.standard_normal((2, batch, hidden))
    return params, x, np.tanh(h), 2 * c


@probe("lstm_cell_forward")
def zero_weights(impl, rng):
    params = {"W": np.zeros((2, 4)), "b": np.zeros(4)}
    h, c, _ = impl.lstm_cell_forward(params, np.array([[3.0]]), np.array([[0.7]]), np.array([[2.0]]))
    yield from named("h c", (h, c))


@probe("lstm_cell_forward", cases=[(1, 1, 1), (4, 3, 5), (2, 6, 2)])
def states(impl, rng, batch, inputs, hidden):
    params, x, h_prev, c_prev = cell_inputs(rng, batch, inputs, hidden)
    h, c, _ = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    yield from named("h c", (h, c))


@probe("lstm_cell_forward", cases=[(3, 2, 4)])
def saturated(impl, rng, batch, inputs, hidden):
    params, x, h_prev, c_prev = cell_inputs(rng, batch, inputs, hidden)
    params["b"] *= 1e3  # every gate fully open or shut; an unprotected exp overflows
    h, c, _ = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    yield from named("h c", (h, c))


@probe("lstm_cell_backward")
def zero_weights_gradient(impl, rng):
    params = {"W": np.zeros((2, 4)), "b": np.zeros(4)}
    *_, cache = impl.lstm_cell_forward(params, np.array([[3.0]]), np.array([[0.7]]), np.array([[2.0]]))
    gradients = impl.lstm_cell_backward(np.array([[0.0]]), np.array([[1.0]]), cache)
    yield from named("dx dh_prev dc_prev dW db", gradients)


@probe("lstm_cell_backward", cases=[(1, 1, 1), (4, 3, 5), (2, 6, 2), (16, 40, 64)])
def gradients(impl, rng, batch, inputs, hidden):
    params, x, h_prev, c_prev = cell_inputs(rng, batch, inputs, hidden)
    dh, dc = rng.standard_normal((2, batch, hidden))
    *_, cache = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    yield from named("dx dh_prev dc_prev dW db", impl.lstm_cell_backward(dh, dc, cache))


@probe("lstm_cell_backward", cases=[(3, 2, 4)])
def with_own_forward(impl, rng, batch, inputs, hidden):
    params, x, h_prev, c_prev = cell_inputs(rng, batch, inputs, hidden)
    dh, dc = rng.standard_normal((2, batch, hidden))
    along_x, along_c = rng.standard_normal((batch, inputs)), rng.standard_normal((batch, hidden))

    def loss(x, c):
        h_next, c_next, _ = impl.lstm_cell_forward(params, x, h_prev, c)
        return np.sum(h_next * dh) + np.sum(c_next * dc)

    *_, cache = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    dx, _, dc_prev, _, _ = impl.lstm_cell_backward(dh, dc, cache)
    yield "dx", dx
    yield "slope along x", agree(np.sum(dx * along_x), slope(lambda v: loss(v, c_prev), x, along_x))
    yield "slope along c_prev", agree(np.sum(dc_prev * along_c), slope(lambda v: loss(x, v), c_prev, along_c))


@probe("LSTM", cases=[(1, 1, 1, 1), (2, 5, 3, 4), (3, 7, 6, 2)])
def layer(impl, rng, batch, time, inputs, hidden):
    import torch

    X = torch.tensor(rng.standard_normal((batch, time, inputs)), requires_grad=True)
    upstream = torch.tensor(rng.standard_normal((batch, time, hidden)))
    upstream_c = torch.tensor(rng.standard_normal((batch, hidden)))
    seed = int(rng.integers(2**32))

    module = impl.LSTM(inputs, hidden).double()
    yield "parameters", shapes(module)
    fill(module, seed)
    H, last = module(X)
    h, c = last
    yield from named("H h c", (H, h, c))
    (torch.sum(H * upstream) + torch.sum(c * upstream_c)).backward()
    yield "dX", X.grad
    for name, parameter in sorted(module.named_parameters()):
        yield f"d{name}", parameter.grad
