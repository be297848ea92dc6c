"""Probes of 03: an LSTM forward and backward in NumPy, as a torch module, its initialisation, and a GRU step."""

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

ZERO_WEIGHTS = {"W": np.zeros((2, 4)), "b": np.zeros(4)}  # one input, one unit: every gate 1/2, g = 0
ONE, TWO, THREE, ZERO = (np.array([[value]]) for value in (1.0, 2.0, 3.0, 0.0))


def draw_weights(rng, inputs, hidden):
    """Weights of order one, so that gates are far from 1/2."""
    return {"W": rng.standard_normal((inputs + hidden, 4 * hidden)), "b": rng.standard_normal(4 * hidden)}


def draw_states(rng, batch, hidden):
    """A hidden state in (-1, 1) and a cell state that is not bounded."""
    h, c = rng.standard_normal((2, batch, hidden))
    return np.tanh(h), 2 * c


def draw_sequence(rng, batch, time, inputs, hidden):
    """Weights small enough for rounding not to grow over time."""
    params = draw_weights(rng, inputs, hidden)
    params["W"] /= np.sqrt(inputs + hidden)
    return params, rng.standard_normal((batch, time, inputs)), *draw_states(rng, batch, hidden)


@probe("sigmoid")
def by_hand(impl, rng):
    yield "values", impl.sigmoid(np.array([0.0, np.log(3.0), -np.log(3.0)]))


@probe("sigmoid", cases=[((1,),), ((7,),), ((3, 4),), ((2, 3, 2),), ((),), ((0, 3),)])
def any_shape(impl, rng, shape):
    x = np.asarray(5 * rng.standard_normal(shape))
    yield "values", impl.sigmoid(x)


@probe("sigmoid")
def column_by_column(impl, rng):
    x = 5 * rng.standard_normal((4, 3)).T  # neighbours in memory are those along axis 0
    yield "values", impl.sigmoid(x)


@probe("sigmoid")
def far_out(impl, rng):
    x = np.sort(rng.uniform(-1e3, 1e3, size=40))
    yield "values", impl.sigmoid(x)


@probe("sigmoid")
def left_tail(impl, rng):
    x = np.append(-np.arange(1.0, 722.0, 24.0), 5.0)  # e^721 overflows; e^-721 is small, and no zero
    yield "log of the values", np.log(impl.sigmoid(x))


@probe("sigmoid")
def on_the_way_out(impl, rng):
    x = np.append(np.arange(-17.0, 20.0, 2.0), 40.0)  # where e^-|x| is small, and still counts
    values = impl.sigmoid(x)
    yield "values", values
    yield "log of the values", np.log(values)


@probe("lstm_cell_forward")
def zero_weights(impl, rng):
    h, c, _ = impl.lstm_cell_forward(ZERO_WEIGHTS, THREE, ONE, TWO)
    yield from named("h c", (h, c))


@probe("lstm_cell_forward", cases=[(1, 1, 1), (4, 3, 5), (2, 6, 2)])
def states(impl, rng, batch, inputs, hidden):
    params, x = draw_weights(rng, inputs, hidden), rng.standard_normal((batch, inputs))
    h_prev, c_prev = draw_states(rng, batch, hidden)
    h, c, _ = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    yield from named("h c", (h, c))


@probe("lstm_cell_forward", cases=[(3, 2, 4, 50.0), (3, 2, 4, 1e3)])
def saturated(impl, rng, batch, inputs, hidden, memory):
    params, x = draw_weights(rng, inputs, hidden), rng.standard_normal((batch, inputs))
    h_prev, c_prev = draw_states(rng, batch, hidden)
    params["b"] *= 1e3  # every gate fully open or shut
    params["b"][hidden] = 900.0  # the first unit keeps all,
    c_prev *= memory  # and memory has piled up: its tanh is 1, and e^2c overflows
    c_prev[0, 0] = 8 * memory
    h, c, _ = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    yield from named("h c", (h, c))


@probe("lstm_forward")
def memory_halves(impl, rng):
    Hs, _ = impl.lstm_forward(ZERO_WEIGHTS, np.array([[[3.0], [3.0]]]), ONE, TWO)
    yield "Hs", Hs


@probe("lstm_forward", cases=[(1, 1, 1, 1), (2, 1, 3, 4), (3, 6, 2, 5), (6, 3, 4, 2), (3, 3, 2, 4)])
def sequences(impl, rng, batch, time, inputs, hidden):
    params, X, h0, c0 = draw_sequence(rng, batch, time, inputs, hidden)
    Hs, cache = impl.lstm_forward(params, X, h0, c0)
    yield "Hs", Hs
    yield "length of the cache", len(cache)
    yield "different step caches", len({id(step) for step in list(cache)})


def numbers(cache):
    """All arrays in a step cache of whatever form."""
    if isinstance(cache, np.ndarray):
        return [cache]
    parts = cache.values() if isinstance(cache, dict) else cache if isinstance(cache, (list, tuple)) else ()
    return [array for part in parts for array in numbers(part)]


@probe("lstm_forward", cases=[(3, 4, 2, 5)])
def every_step_cache(impl, rng, batch, time, inputs, hidden):
    params, X, h, c = draw_sequence(rng, batch, time, inputs, hidden)
    _, cache = impl.lstm_forward(params, X, h, c)
    own = []
    for step, t in zip(list(cache), range(time), strict=False):
        h, c, alone = impl.lstm_cell_forward(params, X[:, t], h, c)
        kept, made = numbers(step), numbers(alone)  # a cache of another form is not compared
        alike = [a.shape for a in kept] == [a.shape for a in made]
        own.append(not alike or all(np.allclose(a, b, rtol=1e-6) for a, b in zip(kept, made, strict=True)))
    yield "each step's cache holds what its own step made", own


@probe("lstm_forward", cases=[(3, 60, 2, 4)])
def long_with_silence(impl, rng, batch, time, inputs, hidden):
    params, X, h0, c0 = draw_sequence(rng, batch, time, inputs, hidden)
    params["b"][hidden : 2 * hidden] += 3.0  # what was kept at one step shows many steps later
    X[0, ::3] = X[1] = 0.0  # an input of zeros is an input: the state moves on
    Hs, _ = impl.lstm_forward(params, X, h0, c0)
    yield "Hs", Hs


@probe("lstm_cell_backward")
def zero_weights_gradient(impl, rng):
    *_, cache = impl.lstm_cell_forward(ZERO_WEIGHTS, THREE, ONE, TWO)
    yield from named("dx dh_prev dc_prev dW db", impl.lstm_cell_backward(ZERO, ONE, cache))


@probe("lstm_cell_backward", cases=[(1, 1, 1, 1.0), (4, 3, 5, 1.0), (2, 4, 2, 1e4), (2, 3, 2, 1e-13)])
def gradients(impl, rng, batch, inputs, hidden, size):
    params, x = draw_weights(rng, inputs, hidden), rng.standard_normal((batch, inputs))
    h_prev, c_prev = draw_states(rng, batch, hidden)
    dh, dc = size * rng.standard_normal((2, batch, hidden))
    *_, cache = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    yield from named("dx dh_prev dc_prev dW db", impl.lstm_cell_backward(dh, dc, cache))


@probe("lstm_cell_backward", cases=[(3, 2, 4, 1.0), (3, 2, 4, 1e3)])
def saturated_gradients(impl, rng, batch, inputs, hidden, memory):
    params, x = draw_weights(rng, inputs, hidden), rng.standard_normal((batch, inputs))
    h_prev, c_prev = draw_states(rng, batch, hidden)
    dh, dc = rng.standard_normal((2, batch, hidden))
    params["b"] *= 1e3  # through gates that are fully open or shut no gradient comes, and no NaN
    params["b"][hidden] = 900.0  # the first unit keeps all
    params["b"][3 * hidden + 1] = -2e3  # and the second unit shows exactly nothing: h says no more what c was
    c_prev *= memory
    c_prev[0, 0] = 8 * memory
    *_, cache = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    for name, gradient in named("dx dh_prev dc_prev dW db", impl.lstm_cell_backward(dh, dc, cache)):
        yield name, observe(gradient, atol=1e-12)


@probe("lstm_cell_backward", cases=[(3, 2, 4)])
def almost_shut(impl, rng, batch, inputs, hidden):
    params, x = draw_weights(rng, inputs, hidden), rng.standard_normal((batch, inputs))
    h_prev, c_prev = draw_states(rng, batch, hidden)
    dh, dc = rng.standard_normal((2, batch, hidden))
    params["b"][:hidden] -= 20.0  # input and output gate near 1e-9, and so are their gradients:
    params["b"][3 * hidden :] -= 20.0  # the rounding of a difference would drown them
    *_, cache = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    *_, db = impl.lstm_cell_backward(dh, dc, cache)
    yield "db of the input gate", db[:hidden]
    yield "db of the output gate", db[3 * hidden :]


@probe("lstm_cell_backward", cases=[(3, 2, 4)])
def two_caches(impl, rng, batch, inputs, hidden):
    """A cache is read, whatever was called since, and as often as one likes."""
    params = draw_weights(rng, inputs, hidden)
    x, h_prev, c_prev, dh, dc = (rng.standard_normal((2, batch, n)) for n in (inputs, *4 * [hidden]))
    caches = [impl.lstm_cell_forward(params, x[k], h_prev[k], c_prev[k])[-1] for k in range(2)]
    for name, k in (("first cache", 0), ("second cache", 1), ("first cache once more", 0)):
        yield f"db from the {name}", impl.lstm_cell_backward(dh[k], dc[k], caches[k])[-1]


@probe("lstm_cell_backward", cases=[(192, 1024, 192)])
def too_large_for_differences(impl, rng, batch, inputs, hidden):
    params, x = draw_weights(rng, inputs, hidden), rng.standard_normal((batch, inputs))
    h_prev, c_prev = draw_states(rng, batch, hidden)
    dh, dc = rng.standard_normal((2, batch, hidden))
    params["W"] /= np.sqrt(inputs + hidden)
    *_, cache = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    dx, dh_prev, dc_prev, dW, db = impl.lstm_cell_backward(dh, dc, cache)
    yield from named(
        "dx dh_prev dc_prev dW db",
        (dx[:1, ::128], dh_prev[:1, ::24], dc_prev[:1, ::24], dW[::600, ::96], db[::96]),
    )


@probe("lstm_cell_backward", cases=[(3, 2, 4)])
def with_own_forward(impl, rng, batch, inputs, hidden):
    params, x = draw_weights(rng, inputs, hidden), rng.standard_normal((batch, inputs))
    h_prev, c_prev = draw_states(rng, batch, hidden)
    dh, dc, along_c = rng.standard_normal((3, batch, hidden))
    along_x = rng.standard_normal((batch, inputs))

    def loss(x, c):
        h_next, c_next, _ = impl.lstm_cell_forward(params, x, h_prev, c)
        return np.sum(h_next * dh) + np.sum(c_next * dc)

    *_, cache = impl.lstm_cell_forward(params, x, h_prev, c_prev)
    dx, _, dc_prev, _, _ = impl.lstm_cell_backward(dh, dc, cache)
    yield "dx", dx
    yield "slope along x", agree(np.sum(dx * along_x), slope(lambda v: loss(v, c_prev), x, along_x))
    yield "slope along c_prev", agree(np.sum(dc_prev * along_c), slope(lambda v: loss(x, v), c_prev, along_c))


@probe("lstm_backward")
def one_gate_per_step(impl, rng):
    _, cache = impl.lstm_forward(ZERO_WEIGHTS, np.array([[[3.0], [3.0]]]), ONE, TWO)
    dX, dh0, dc0, *_ = impl.lstm_backward(np.array([[[0.0], [1.0]]]), cache)
    yield from named("dX dh0 dc0", (dX, dh0, dc0))


@probe(
    "lstm_backward",
    cases=[
        (1, 1, 1, 1, 1.0),
        (2, 3, 3, 4, 1.0),
        (3, 6, 2, 5, 1.0),
        (2, 5, 2, 2, 1e-12),
        (3, 4, 2, 2, 1e6),
        (3, 3, 2, 2, 1.0),
    ],
)
def through_time(impl, rng, batch, time, inputs, hidden, size):
    params, X, h0, c0 = draw_sequence(rng, batch, time, inputs, hidden)
    dHs = size * rng.standard_normal((batch, time, hidden))
    _, cache = impl.lstm_forward(params, X, h0, c0)
    yield from named("dX dh0 dc0 dW db", impl.lstm_backward(dHs, cache))


@probe("lstm_backward", cases=[(4, 100, 24, 48), (3, 120, 2, 3)])
def from_end_to_start(impl, rng, batch, time, inputs, hidden):
    params, X, h0, c0 = draw_sequence(rng, batch, time, inputs, hidden)
    params["b"][hidden : 2 * hidden] += 4.0  # the last step's gradient reaches the first; differences take too long
    dHs = 1e3 * rng.standard_normal((batch, time, hidden))
    _, cache = impl.lstm_forward(params, X, h0, c0)
    dX, dh0, dc0, dW, db = impl.lstm_backward(dHs, cache)
    yield from named("dX dh0 dc0 dW db", (dX[:, :2, ::8], dh0[:, ::16], dc0[:, ::16], dW[::44, ::32], db[::16]))


@probe("lstm_backward", cases=[(2, 4, 3, 3)])
def with_own_sequence(impl, rng, batch, time, inputs, hidden):
    params, X, h0, c0 = draw_sequence(rng, batch, time, inputs, hidden)
    dHs, along = rng.standard_normal((batch, time, hidden)), rng.standard_normal(X.shape)
    _, cache = impl.lstm_forward(params, X, h0, c0)
    dX, *_ = impl.lstm_backward(dHs, cache)
    yield "dX", dX
    numeric = slope(lambda v: np.sum(impl.lstm_forward(params, v, h0, c0)[0] * dHs), X, along)
    yield "slope along X", agree(np.sum(dX * along), numeric)


@probe("state_gradient_norms")
def two_steps_by_hand(impl, rng):
    _, cache = impl.lstm_forward(ZERO_WEIGHTS, np.array([[[3.0], [3.0]]]), ZERO, TWO)
    yield "norms", impl.state_gradient_norms(ONE, cache)


@probe("state_gradient_norms", cases=[(1, 60, 2, 3, 1.0), (2, 60, 3, 4, 1e8)])
def vanishing(impl, rng, batch, time, inputs, hidden, size):
    params, X, h0, c0 = draw_sequence(rng, batch, time, inputs, hidden)
    params["W"] /= 4.0
    params["b"][hidden : 2 * hidden] = rng.uniform(-1.0, 0.0, size=hidden)  # forget gates below one half:
    dh_last = size * rng.standard_normal((batch, hidden))  # twenty powers of ten are lost on the way
    _, cache = impl.lstm_forward(params, X, h0, c0)
    yield "log of the norms", np.log(impl.state_gradient_norms(dh_last, cache))


@probe("state_gradient_norms", cases=[(1, 1, 2, 3), (2, 5, 3, 4), (3, 9, 2, 5), (2, 150, 8, 32)])
def norms(impl, rng, batch, time, inputs, hidden):
    params, X, h0, c0 = draw_sequence(rng, batch, time, inputs, hidden)
    params["b"][hidden : 2 * hidden] += 4.0  # gradients survive long sequences
    dh_last = 1e3 * rng.standard_normal((batch, hidden))
    _, cache = impl.lstm_forward(params, X, h0, c0)
    yield "norms", impl.state_gradient_norms(dh_last, cache)


@probe(
    "LSTM",
    cases=[(1, 1, 1, 1, True), (2, 5, 3, 5, True), (3, 5, 4, 2, True), (3, 3, 2, 2, True), (2, 3, 2, 2, False)],
)
def layer(impl, rng, batch, time, inputs, hidden, training):
    import torch

    X = torch.tensor(rng.standard_normal((batch, time, inputs)), requires_grad=True)
    upstream = torch.tensor(rng.standard_normal((batch, time, hidden)))
    upstream_h, upstream_c = torch.tensor(rng.standard_normal((2, batch, hidden)))
    seed = int(rng.integers(2**32))

    module = impl.LSTM(inputs, hidden).double()
    yield "parameters", shapes(module)
    fill(module, seed).train(training)
    H, last = module(X)
    h, c = last
    yield from named("H h c", (H, h, c))
    (torch.sum(H * upstream) + torch.sum(h * upstream_h) + torch.sum(c * upstream_c)).backward()
    yield "dX", X.grad
    for name, parameter in sorted(module.named_parameters()):
        yield f"d{name}", parameter.grad


@probe("LSTM", cases=[(2, 40, 3, 4)])
def long_memory(impl, rng, batch, time, inputs, hidden):
    import torch

    X = torch.tensor(rng.standard_normal((batch, time, inputs)), requires_grad=True)
    upstream = torch.tensor(rng.standard_normal((batch, hidden)))
    seed = int(rng.integers(2**32))
    module = fill(impl.LSTM(inputs, hidden).double(), seed).eval()
    with torch.no_grad():
        module.b[: 2 * hidden] += 5.0  # everything is written and kept:
        module.b[2 * hidden : 3 * hidden] += 1.0  # the cell state grows far beyond 1
        X[0, 3::4] = 0.0  # also where the input is silent
    H, (h, c) = module(X)
    yield from named("H h c", (H, h, c))
    c.backward(upstream)
    yield "dX at the first step", X.grad[:, 0]


@probe("LSTM", cases=[(2, 3, 2, 6)])
def gates_shut_and_open(impl, rng, batch, time, inputs, hidden):
    import torch

    X = torch.tensor(rng.standard_normal((batch, time, inputs)), requires_grad=True)
    upstream = torch.tensor(rng.standard_normal((batch, time, hidden)))
    seed = int(rng.integers(2**32))
    module = fill(impl.LSTM(inputs, hidden).double(), seed)
    with torch.no_grad():  # e^800 overflows: through such a gate no gradient comes, and no NaN
        module.b[[0, hidden + 1, 3 * hidden + 2]] -= 800.0
        module.b[[3, hidden + 4, 3 * hidden + 5]] += 800.0
        module.b[2 * hidden + 2] += 800.0  # and a candidate of 1, one of -1
        module.b[2 * hidden + 5] -= 800.0
    H, (_, c) = module(X)
    yield from named("H c", (H, c))
    H.backward(upstream)
    yield "dX", X.grad
    for name, parameter in sorted(module.named_parameters()):
        yield f"d{name}", parameter.grad


@probe("LSTM")
def as_given(impl, rng):
    """`__init__` stays as it is: the experiment compares its biases."""
    module = impl.LSTM(30, 50)
    yield "b before training", module.b
    yield "W has variance 1/(I + H)", bool(0.8 < module.W.var() * (30 + 50) < 1.2)


@probe("LSTM")
def in_single_precision(impl, rng):
    import torch

    X = torch.from_numpy(rng.standard_normal((2, 3, 2), dtype=np.float32))
    seed = int(rng.integers(2**32))
    H, _ = fill(impl.LSTM(2, 3), seed)(X)
    yield "H", observe(H, rtol=1e-4)


@probe("chrono_init")
def four_steps(impl, rng):
    import torch

    module = fill(impl.LSTM(2, 1).double(), 5)
    impl.chrono_init(module, 10, torch.tensor([0.25], dtype=torch.float64))
    yield "b", module.b


@probe("chrono_init", cases=[(3, 40), (8, 2), (5, 1000)])
def biases(impl, rng, hidden, T_max):
    import torch

    u = torch.from_numpy(np.append(0.0, rng.uniform(size=hidden - 1)))
    upstream = torch.from_numpy(rng.standard_normal(4 * hidden))
    seed = int(rng.integers(2**32))
    module = fill(impl.LSTM(4, hidden).double(), seed)
    b, W = module.b, module.W.detach().clone()
    impl.chrono_init(module, T_max, u)
    yield "b", module.b
    yield "b is the same parameter", module.b is b  # an optimiser may hold it
    yield "W is left alone", torch.equal(module.W.detach(), W) and module.W.requires_grad
    yield "b still learns", module.b.requires_grad and module.b.grad_fn is None
    yield "parameters", shapes(module)
    module.b.backward(upstream)
    yield "gradient that reaches b", module.b.grad


@probe("chrono_init")
def draws_in_double_precision(impl, rng):
    import torch

    u = torch.from_numpy(rng.uniform(size=3))
    seed = int(rng.integers(2**32))
    module = fill(impl.LSTM(2, 3), seed)
    impl.chrono_init(module, 30, u)
    yield "b", module.b  # float32 as before, whatever u is


@probe("gru_cell")
def zero_weights_halve(impl, rng):
    import torch

    params = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in gru_shapes(2, 1).items()}
    x, h = torch.tensor([[3.0, 1.0]], dtype=torch.float64), torch.tensor([[0.8]], dtype=torch.float64)
    yield "h", impl.gru_cell(params, x, h)


def gru_shapes(inputs, hidden):
    """Shapes of a GRU's parameters by name."""
    return {"Wx": (inputs, 3 * hidden), "Wh": (hidden, 3 * hidden), "bx": (3 * hidden,), "bh": (3 * hidden,)}


@probe("gru_cell", cases=[(1, 1, 1, 0.0), (4, 3, 5, 0.0), (2, 3, 4, 30.0), (3, 2, 4, 800.0)])
def gru_step(impl, rng, batch, inputs, hidden, shift):
    import torch

    def leaf(*shape):
        return torch.tensor(rng.standard_normal(shape), requires_grad=True)

    params = {name: leaf(*shape) for name, shape in gru_shapes(inputs, hidden).items()}
    x, h = leaf(batch, inputs), leaf(batch, hidden)
    upstream = torch.from_numpy(rng.standard_normal((batch, hidden)))
    with torch.no_grad():
        params["bx"][hidden : 2 * hidden : 2] += shift  # every other unit keeps all of h,
        params["bx"][hidden + 1 : 2 * hidden : 2] -= shift  # the rest nothing
        params["bx"][: hidden // 2] -= shift  # the first half sees nothing of h,
        params["bx"][hidden // 2 : hidden] += shift  # the other all of it
        params["bx"][-1:] += shift if shift > 100 else 0.0  # and one candidate is 1
    out = impl.gru_cell(params, x, h)
    yield "h", out
    out.backward(upstream)
    for name, tensor in {"x": x, "h_prev": h, **params}.items():
        yield f"d{name}", tensor.grad


@probe("gru_cell")
def gru_step_in_single_precision(impl, rng):
    import torch

    params = {name: torch.from_numpy(rng.standard_normal(s, dtype=np.float32)) for name, s in gru_shapes(3, 4).items()}
    x, h = (torch.from_numpy(rng.standard_normal((2, n), dtype=np.float32)) for n in (3, 4))
    yield "h", observe(impl.gru_cell(params, x, h), rtol=1e-4)
