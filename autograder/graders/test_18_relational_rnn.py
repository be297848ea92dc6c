"""Probes of 18: a memory with attention and gates, forward and backward through time, a gradient checker; in torch."""

import contextlib

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, slope

OF_ATTENTION, OF_GATES = ("Wq", "Wk", "Wv"), ("Wi", "Ui", "bi", "Wf", "Uf", "bf")
SOME = ("Wq", "Wv", "Uf", "bi", "Win", "gain1", "W1", "b2")
FEWER = ("Wq", "Uf", "Win", "W1")
OF_STEP = (*OF_ATTENTION, *OF_GATES, "Win", "bin", "gain1", "bias1", "gain2", "bias2", "W1", "b1", "W2", "b2")
LN3 = np.log(3.0)


def draw(rng, inputs, size, names=OF_STEP):
    """Parameters of order one where they act."""
    p = {}
    for name in names:
        if name.startswith(("W", "U")):
            rows = inputs if name == "Win" else size
            p[name] = rng.standard_normal((rows, size)) / np.sqrt(rows)
        else:
            p[name] = (1.0 if name.startswith("gain") else 0.0) + 0.5 * rng.standard_normal(size)
    return p


def all_zero(inputs, size):
    """Parameters that leave nothing but the forget gate's constant."""
    return {name: np.zeros_like(a) for name, a in draw(np.random.default_rng(0), inputs, size).items()}


def few(value):
    """About eight numbers of an array, evenly spread, so that keys stay small."""
    if isinstance(value, np.ndarray):
        return value.reshape(-1)[:: value.size // 8 | 1]
    return value.reshape(-1)[:: value.numel() // 8 | 1] if hasattr(value, "numel") else value


def whole(value):
    """All numbers of an array."""
    return value


def gradients(names, found, parameters, part=whole, of_parameters=None):
    """What was returned under each of `names`; the last thing is a dict of the parameters' gradients.

    `part` is what is looked at of each array, `of_parameters` of those in the dict, if that is less.
    """
    *values, grads = (value for _, value in named(f"{names} grads", found))
    for name, value in zip(names.split(), values, strict=True):
        yield name, part(value)
    grads = grads if isinstance(grads, dict) else {}
    yield "names of the gradients", sorted(grads)
    for name in parameters:
        if name in grads:
            yield f"d{name}", (of_parameters or part)(grads[name])


@contextlib.contextmanager
def doubled(impl, name):
    """Within the block the notebook's function `name` returns twice what it does, to whoever calls it by its name."""
    namespace = impl._names["collect"].__globals__  # those of a function that is given
    right = namespace[name]

    def twice(*args, **kwargs):
        found = right(*args, **kwargs)
        return tuple({k: 2 * a for k, a in v.items()} if isinstance(v, dict) else 2 * v for v in found)

    namespace[name] = twice
    try:
        yield
    finally:
        namespace[name] = right


@probe("memory_attention_forward")
def three_quarters(impl, rng):
    p = {name: np.ones((1, 1)) for name in OF_ATTENTION}
    out, _ = impl.memory_attention_forward(p, np.ones((1, 1, 1)), np.full((1, 1, 1), 1 + LN3), 1)
    yield "out", out


@probe(
    "memory_attention_forward",
    cases=[
        (2, 4, 6, 3, 1.5),
        (3, 2, 8, 2, 1.5),
        (2, 5, 4, 1, 1.5),
        (2, 1, 4, 2, 1.5),
        (2, 3, 4, 2, 200.0),
        (1, 1, 1, 1, 1.5),
    ],
)
def attended(impl, rng, B, S, D, heads, size):
    p, M = draw(rng, 1, D), size * rng.standard_normal((B, S, D))  # p holds more than the three matrices
    row = size * rng.standard_normal((B, 1, D))
    out, _ = impl.memory_attention_forward(p, M, row, heads)
    yield "out", out


@probe("gates_forward")
def shut_and_open(impl, rng):
    i, f, _ = _three(impl.gates_forward(all_zero(1, 2), np.ones((1, 1, 2)), np.full((1, 3, 2), 5.0)))
    yield from named("i f", (i, f))


def _three(values):
    """Two gates and the cache, or a message about what was returned."""
    return tuple(value for _, value in named("i f cache", values))


@probe("gates_forward", cases=[(2, 4, 3, 1.0), (3, 2, 5, 1.0), (3, 2, 4, 3e3), (1, 1, 1, 1.0)])
def gates(impl, rng, B, S, D, size):
    p, row, M = draw(rng, 1, D), size * rng.standard_normal((B, 1, D)), 2 * size * rng.standard_normal((B, S, D))
    i, f, _ = _three(impl.gates_forward(p, row, M))
    yield from named("i f", (i, f))


@probe("rmc_step_forward")
def kept(impl, rng):
    M_new, _ = impl.rmc_step_forward(all_zero(1, 2), np.ones((1, 1)), np.full((1, 2, 2), 2.0), 1)
    yield "M_new", M_new


@probe("rmc_step_forward", cases=[(2, 3, 4, 6, 3), (3, 5, 2, 4, 2), (1, 2, 1, 3, 1)])
def stepped(impl, rng, B, inputs, S, D, heads):
    p, x, M = draw(rng, inputs, D), rng.standard_normal((B, inputs)), 1.5 * rng.standard_normal((B, S, D))
    M_new, _ = impl.rmc_step_forward(p, x, M, heads)
    yield "M_new", M_new


@probe("rmc_step_forward")
def permuted_slots(impl, rng):
    p, x, M = draw(rng, 3, 4), rng.standard_normal((1, 3)), rng.standard_normal((1, 4, 4))
    order = rng.permutation(4)
    M_new, _ = impl.rmc_step_forward(p, x, M[:, order], 2)
    yield "M_new of permuted slots", M_new
    M_new, _ = impl.rmc_step_forward(p, x, M, 2)
    yield "M_new", M_new


@probe("rmc_step_forward")
def far_from_zero(impl, rng):
    p, x = draw(rng, 3, 4), 1e3 * rng.standard_normal((2, 3))
    M = 1e2 * rng.standard_normal((2, 3, 4))
    M_new, _ = impl.rmc_step_forward(p, x, M, 2)
    yield "M_new", M_new


@probe("recall_batch")
def two_pairs(impl, rng):
    yield from named("X y", impl.recall_batch(np.array([[1, 0]]), np.array([[0, 1]]), np.array([1]), 2))


@probe("recall_batch", cases=[(4, 3, 4, 0), (6, 5, 7, 0), (1, 1, 2, 0), (4, 3, 4, 2)])
def drawn_pairs(impl, rng, B, n, drawn, more):
    """Keys and values are drawn from the first symbols only: how many there are is not to be seen from them."""
    keys = np.argsort(rng.random((B, drawn)), axis=1)[:, :n]
    values, asked = rng.integers(drawn, size=(B, n)), rng.integers(n, size=B)
    yield from named("X y", impl.recall_batch(keys, values, asked, drawn + more))


@probe("recall_batch", cases=[("int32", "int64", "int64"), ("int64", "int32", "int64"), ("int8", "int8", "uint8")])
def other_integers(impl, rng, of_keys, of_values, of_asked):
    keys, values = rng.permuted(np.tile(np.arange(4), (2, 5, 1)), axis=2)[..., :3]
    arguments = (keys.astype(of_keys), values.astype(of_values), rng.integers(3, size=5).astype(of_asked))
    X, y = (value for _, value in named("X y", impl.recall_batch(*arguments, 4)))
    yield from named("X y", (X, y))
    yield "type of y", str(getattr(y, "dtype", "int64"))


@probe("recall_batch", cases=[("uint8", 200)])
def narrow_integers(impl, rng, integers, symbols):
    """A value plus the number of symbols is more than an integer of eight bits holds."""
    keys = rng.permuted(np.tile(np.arange(symbols), (2, 1)), axis=1)[:, :2].astype(integers)
    values = rng.integers(symbols - 70, symbols, size=(2, 2)).astype(integers)
    asked = rng.integers(2, size=2).astype(integers)
    yield from named("X y", impl.recall_batch(keys, values, asked, symbols))


@probe("attention_weights_backward")
def three_sixteenths(impl, rng):
    Q, K = np.array([[[[2.0, 0, 0, 0]]]]), np.array([[[[LN3, 0, 0, 0], [0.0, 0, 0, 0]]]])
    _, cache = impl.attention_weights_forward(Q, K)
    yield from named("dQ dK", impl.attention_weights_backward(np.array([[[[1.0, 0.0]]]]), cache))


@probe(
    "attention_weights_backward",
    cases=[((2, 3), 4, 5, 2, 0), ((), 5, 3, 6, 0), ((3,), 4, 4, 3, 0), ((2,), 9, 3, 5, 1500), ((1, 1), 1, 2, 4, 0)],
)
def weights_gradients(impl, rng, batch, Tq, Tk, d_k, offset):
    """An offset of the keys makes scores large and leaves the weights as they are: they differ by a number a row.

    Here and below the upstream gradient is of order ten, so that clipping it shows.
    """
    Q, K = rng.standard_normal((*batch, Tq, d_k)), offset + rng.standard_normal((*batch, Tk, d_k))
    dA = 10 * rng.standard_normal((*batch, Tq, Tk))
    _, cache = impl.attention_weights_forward(Q, K)
    for name, value in named("dQ dK", impl.attention_weights_backward(dA, cache)):
        yield name, few(value) if offset or len(batch) == 1 else value


@probe("attention_weights_backward")
def too_many_weights_for_differences(impl, rng):
    """The queries of an example are 32,000 numbers, and so are its keys, about: to move each in both examples at once
    takes more than a minute.

    Few enough keys for whoever writes out the whole Jacobian of the softmax, row by row.
    """
    Q, K = rng.standard_normal((2, 250, 128)), rng.standard_normal((2, 230, 128))
    dA = rng.standard_normal((2, 250, 230))
    _, cache = impl.attention_weights_forward(Q, K)
    for name, value in named("dQ dK", impl.attention_weights_backward(dA, cache)):
        yield name, few(value)


@probe("memory_attention_backward", cases=[(2, 4, 6, 2), (3, 2, 4, 2), (2, 1, 4, 2), (1, 2, 2, 1)])
def attention_gradients(impl, rng, B, S, D, heads):
    p, row = draw(rng, 1, D), 1.5 * rng.standard_normal((B, 1, D))
    M, dout = rng.standard_normal((2, B, S, D))
    _, cache = impl.memory_attention_forward(p, M, row, heads)
    yield from gradients("dM drow", impl.memory_attention_backward(10 * dout, cache), OF_ATTENTION)


@probe("memory_attention_backward")
def three_quarters_backward(impl, rng):
    p = {name: np.ones((1, 1)) for name in OF_ATTENTION}
    _, cache = impl.memory_attention_forward(p, np.ones((1, 1, 1)), np.full((1, 1, 1), 1 + LN3), 1)
    yield from gradients("dM drow", impl.memory_attention_backward(np.ones((1, 1, 1)), cache), OF_ATTENTION)


@probe("memory_attention_backward")
def attention_too_large_for_differences(impl, rng):
    """A memory of 8192 numbers: moving one of them in all sequences at once is too slow as well. So below."""
    p, row = draw(rng, 1, 128, OF_ATTENTION), rng.standard_normal((8, 1, 128))
    M, dout = rng.standard_normal((2, 8, 64, 128))
    _, cache = impl.memory_attention_forward(p, M, row, 4)
    yield from gradients("dM drow", impl.memory_attention_backward(dout, cache), OF_ATTENTION, part=few)


@probe("memory_attention_backward")
def attention_calls_by_name(impl, rng):
    p, row = draw(rng, 1, 4, OF_ATTENTION), rng.standard_normal((2, 1, 4))
    M, dout = rng.standard_normal((2, 2, 3, 4))
    _, cache = impl.memory_attention_forward(p, M, row, 2)
    with doubled(impl, "attention_weights_backward"):
        dM, _, _ = (v for _, v in named("dM drow grads", impl.memory_attention_backward(dout, cache)))
    yield "dM where attention_weights_backward is replaced", few(dM)


@probe("memory_attention_backward", cases=[(2, 3, 4, 2)])
def attention_with_own_forward(impl, rng, B, S, D, heads):
    p, row = draw(rng, 1, D, OF_ATTENTION), rng.standard_normal((B, 1, D))
    M, dout, along = rng.standard_normal((3, B, S, D))
    _, cache = impl.memory_attention_forward(p, M, row, heads)
    dM, _, _ = impl.memory_attention_backward(dout, cache)
    yield "dM", dM
    numeric = slope(lambda v: np.sum(impl.memory_attention_forward(p, v, row, heads)[0] * dout), M, along)
    yield "slope along M", agree(np.sum(dM * along), numeric)


@probe("gates_backward")
def a_quarter(impl, rng):
    p = {name: a for name, a in all_zero(1, 1).items() if name in OF_GATES}
    *_, cache = impl.gates_forward(p, np.full((1, 1, 1), 2.0), np.ones((1, 1, 1)))
    yield from gradients("drow dM", impl.gates_backward(np.ones((1, 1, 1)), np.zeros((1, 1, 1)), cache), OF_GATES)


@probe("gates_backward", cases=[(2, 4, 3, 0), (3, 2, 4, 0), (2, 3, 3, 0), (2, 1, 3, 0), (1, 2, 1, 0), (2, 4, 3, 14)])
def gate_gradients(impl, rng, B, S, D, shut):
    """Where the gates are all but shut or open, their gradients are small, and not zero."""
    p, row, M = draw(rng, 1, D), rng.standard_normal((B, 1, D)), rng.standard_normal((B, S, D))
    p["bi"], p["bf"] = p["bi"] - shut, p["bf"] + shut
    di, df = 10 * rng.standard_normal((2, B, S, D))
    *_, cache = impl.gates_forward(p, row, M)
    yield from gradients("drow dM", impl.gates_backward(di, df, cache), OF_GATES)


@probe("gates_backward")
def gates_too_large_for_differences(impl, rng):
    p, row = draw(rng, 1, 512, OF_GATES), rng.standard_normal((24, 1, 512))
    M, di, df = rng.standard_normal((3, 24, 12, 512))
    *_, cache = impl.gates_forward(p, row, M)
    yield from gradients("drow dM", impl.gates_backward(di, df, cache), OF_GATES, part=few)


@probe("gates_backward", cases=[(2, 3, 4)])
def gates_with_own_forward(impl, rng, B, S, D):
    p, row = draw(rng, 1, D, OF_GATES), rng.standard_normal((B, 1, D))
    M, di, df, along = rng.standard_normal((4, B, S, D))
    *_, cache = impl.gates_forward(p, row, M)
    _, dM, _ = impl.gates_backward(di, df, cache)
    yield "dM", dM

    def loss(v):
        i, f, _ = impl.gates_forward(p, row, v)
        return np.sum(i * di) + np.sum(f * df)

    yield "slope along M", agree(np.sum(dM * along), slope(loss, M, along))


@probe("rmc_step_backward")
def the_straight_line(impl, rng):
    _, cache = impl.rmc_step_forward(all_zero(1, 2), np.ones((1, 1)), np.full((1, 2, 2), 2.0), 1)
    dx, dM, _ = (v for _, v in named("dx dM grads", impl.rmc_step_backward(np.ones((1, 2, 2)), cache)))
    yield "dM", dM
    yield "dx", observe(dx, atol=1e-12)


@probe("rmc_step_backward", cases=[(2, 3, 4, 6, 3), (3, 5, 2, 4, 2), (2, 3, 1, 4, 2), (1, 2, 2, 3, 1)])
def step_gradients(impl, rng, B, inputs, S, D, heads):
    p, x = draw(rng, inputs, D), rng.standard_normal((B, inputs))
    p["W1"][:, 0], p["b1"][0] = 0, 0  # a hidden unit at the kink of the ReLU: [h > 0] is 0 there
    M, dM_new = rng.standard_normal((2, B, S, D))
    _, cache = impl.rmc_step_forward(p, x, M, heads)
    looked_at = OF_STEP if S > 2 or B == 1 else SOME
    found, part = impl.rmc_step_backward(10 * dM_new, cache), few if looked_at is SOME else whole
    yield from gradients("dx dM", found, looked_at, part, of_parameters=few)


@probe("rmc_step_backward")
def step_too_large_for_differences(impl, rng):
    p, x = draw(rng, 5, 128), rng.standard_normal((8, 5))
    M, dM_new = rng.standard_normal((2, 8, 64, 128))
    _, cache = impl.rmc_step_forward(p, x, M, 4)
    yield from gradients("dx dM", impl.rmc_step_backward(dM_new, cache), FEWER, part=few)


@probe("rmc_step_backward", cases=[("gates_backward",), ("memory_attention_backward",)])
def step_calls_by_name(impl, rng, name):
    p, x = draw(rng, 3, 4), rng.standard_normal((2, 3))
    M, dM_new = rng.standard_normal((2, 2, 3, 4))
    _, cache = impl.rmc_step_forward(p, x, M, 2)
    with doubled(impl, name):
        _, dM, _ = (v for _, v in named("dx dM grads", impl.rmc_step_backward(dM_new, cache)))
    yield f"dM where {name} is replaced", few(dM)


@probe("rmc_step_backward", cases=[(2, 3, 3, 4, 2)])
def step_with_own_forward(impl, rng, B, inputs, S, D, heads):
    p, x = draw(rng, inputs, D), rng.standard_normal((B, inputs))
    M, dM_new, along = rng.standard_normal((3, B, S, D))
    _, cache = impl.rmc_step_forward(p, x, M, heads)
    _, dM, _ = impl.rmc_step_backward(dM_new, cache)
    yield "dM", dM
    numeric = slope(lambda v: np.sum(impl.rmc_step_forward(p, x, v, heads)[0] * dM_new), M, along)
    yield "slope along M", agree(np.sum(dM * along), numeric)


@probe("rmc_backward", cases=[((0.0, 1.0),), ((1.0, 1.0),)])
def two_steps_back(impl, rng, above):
    _, cache = impl.rmc_forward(all_zero(1, 2), np.ones((1, 2, 1)), np.full((1, 2, 2), 2.0), 1)
    dmemories = np.array(above)[None, :, None, None] * np.ones((1, 2, 2, 2))
    _, dM0, _ = (v for _, v in named("dX dM0 grads", impl.rmc_backward(dmemories, cache)))
    yield "dM0", dM0


@probe(
    "rmc_backward",
    cases=[(2, 4, 3, 3, 4, 2, 1.0), (3, 5, 2, 2, 4, 4, 1.0), (1, 1, 2, 2, 3, 1, 1.0), (2, 4, 3, 3, 4, 2, 1e-6)],
)
def gradients_through_time(impl, rng, B, T, inputs, S, D, heads, size):
    p, X = draw(rng, inputs, D), rng.standard_normal((B, T, inputs))
    M0, dmemories = rng.standard_normal((B, S, D)), size * rng.standard_normal((B, T, S, D))
    _, cache = impl.rmc_forward(p, X, M0, heads)
    looked_at = OF_STEP if size == 1 and (S > 2 or B == 1) else SOME
    found, part = impl.rmc_backward(dmemories, cache), few if looked_at is SOME else whole
    yield from gradients("dX dM0", found, looked_at, part, of_parameters=few)


@probe("rmc_backward", cases=[(-1,), (1,)])
def only_one_counts(impl, rng, step):
    p, X, M0 = draw(rng, 3, 4), rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 3, 4))
    dmemories = np.zeros((2, 5, 3, 4))
    dmemories[:, step] = rng.standard_normal((2, 3, 4))
    _, cache = impl.rmc_forward(p, X, M0, 2)
    yield from gradients("dX dM0", impl.rmc_backward(dmemories, cache), OF_GATES, part=few)


@probe("rmc_backward")
def long_and_large(impl, rng):
    """Neither the number of steps nor the size of a gradient is limited."""
    p, X, M0 = draw(rng, 2, 2), rng.standard_normal((1, 30, 2)), rng.standard_normal((1, 2, 2))
    dmemories = np.zeros((1, 30, 2, 2))
    dmemories[:, -1] = 1e3 * rng.standard_normal((2, 2))
    _, cache = impl.rmc_forward(p, X, M0, 1)
    yield from gradients("dX dM0", impl.rmc_backward(dmemories, cache), ("Win", "bf"), part=few)


@probe("rmc_backward")
def time_calls_by_name(impl, rng):
    p, X = draw(rng, 3, 4), rng.standard_normal((2, 3, 3))
    M0, dmemories = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 3, 4))
    _, cache = impl.rmc_forward(p, X, M0, 2)
    with doubled(impl, "rmc_step_backward"):
        _, dM0, _ = (v for _, v in named("dX dM0 grads", impl.rmc_backward(dmemories, cache)))
    yield "dM0 where rmc_step_backward is replaced", few(dM0)


@probe("rmc_backward")
def none_counts(impl, rng):
    p, X, M0 = draw(rng, 3, 4), rng.standard_normal((2, 3, 3)), rng.standard_normal((2, 3, 4))
    _, cache = impl.rmc_forward(p, X, M0, 2)
    yield from gradients("dX dM0", impl.rmc_backward(np.zeros((2, 3, 3, 4)), cache), ("Win", "bf"))


@probe("rmc_backward")
def too_long_for_differences(impl, rng):
    p, X, M0 = draw(rng, 5, 64), rng.standard_normal((8, 10, 5)), rng.standard_normal((8, 32, 64))
    dmemories = rng.standard_normal((8, 10, 32, 64))
    _, cache = impl.rmc_forward(p, X, M0, 4)
    yield from gradients("dX dM0", impl.rmc_backward(dmemories, cache), FEWER, part=few)


@probe("rmc_backward", cases=[(2, 4, 3, 3, 4, 2)])
def time_with_own_forward(impl, rng, B, T, inputs, S, D, heads):
    p, X = draw(rng, inputs, D), rng.standard_normal((B, T, inputs))
    (M0, along), dmemories = rng.standard_normal((2, B, S, D)), rng.standard_normal((B, T, S, D))
    _, cache = impl.rmc_forward(p, X, M0, heads)
    _, dM0, _ = impl.rmc_backward(dmemories, cache)
    yield "dM0", dM0
    numeric = slope(lambda v: np.sum(impl.rmc_forward(p, X, v, heads)[0] * dmemories), M0, along)
    yield "slope along M0", agree(np.sum(dM0 * along), numeric)


def waves(q):
    """A smooth loss of a matrix and a vector whose gradients are known."""
    return float(np.sum(np.sin(q["W"])) + np.sum(q["b"] ** 3))


@probe("grad_check")
def one_sixth(impl, rng):
    params, grads = {"t": np.array([3.0, 1.0])}, {"t": np.array([6.0, 4.0])}
    for entries in ([0, 1], [0]):
        errors = impl.grad_check(
            lambda q: float(q["t"][0] ** 2 + 5 * q["t"][1]), params, grads, {"t": np.array(entries)}
        )
        yield f"errors over {entries}", observe(errors, atol=1e-7)


@probe("grad_check", cases=[(1.0, "C", "C"), (1.0, "F", "F"), (1.0, "C", "F"), (1e-46, "C", "C"), (1e4, "F", "C")])
def claims(impl, rng, size, order, of_claims):
    """A loss so small that its slopes are 0 in float32; matrices in Fortran order, whose `reshape(-1)` is a copy."""
    params = {"W": np.array(rng.standard_normal((3, 4)), order=order), "b": 1 + rng.random(5)}
    right = {"W": np.cos(params["W"]), "b": 3 * params["b"] ** 2}
    grads = {name: size * a * (1 + 0.3 * rng.standard_normal(a.shape)) for name, a in right.items()}
    grads["W"] = np.array(grads["W"], order=of_claims)
    entries = {"W": rng.permutation(12)[:7], "b": rng.permutation(5)[:3]}
    errors = impl.grad_check(lambda q: size * waves(q), params, grads, entries)
    yield "errors", observe(errors, rtol=1e-5, atol=1e-7)
    only_some = {name: a.copy() for name, a in grads.items()}
    for number in (1e9, np.nan):
        for name, a in only_some.items():
            a.flat[np.setdiff1d(np.arange(a.size), entries[name])] = number  # nobody asks for these
        errors = impl.grad_check(lambda q: size * waves(q), params, only_some, entries)
        yield f"errors, other entries {number:g}", observe(errors, rtol=1e-5, atol=1e-7)


@probe("grad_check", cases=[("params",), ("grads",), ("entries",)])
def names_in_another_order(impl, rng, which):
    params = {"W": rng.standard_normal((2, 3)), "b": 1 + rng.random(6)}
    right = {"W": np.cos(params["W"]), "b": 3 * params["b"] ** 2}
    grads = {name: a * (1 + 0.3 * rng.standard_normal(a.shape)) for name, a in right.items()}
    given = {"params": params, "grads": grads, "entries": {"W": np.array([4, 1]), "b": np.array([0, 5, 2])}}
    given[which] = dict(reversed(given[which].items()))
    yield "errors", observe(impl.grad_check(waves, *given.values()), rtol=1e-5, atol=1e-7)


@probe("grad_check", cases=[(1e-5,), (0.5,)])
def distance(impl, rng, eps):
    params = {"W": rng.standard_normal((2, 3)), "b": 1 + rng.random(3)}
    grads = {"W": np.cos(params["W"]), "b": 3 * params["b"] ** 2}
    entries = {"W": np.arange(6), "b": np.arange(3)}
    before, held, seen = {name: a.copy() for name, a in params.items()}, dict(params), []

    def loss(q):
        seen.append(max(np.abs(q[name] - before[name]).max() for name in before))
        return waves(q)

    yield "errors", observe(impl.grad_check(loss, params, grads, entries, eps), rtol=1e-5, atol=1e-7)
    yield "farthest that an entry is moved", observe(max(seen, default=0.0), rtol=1e-3)
    yield "parameters are left as they were", [np.array_equal(params[name], before[name]) for name in before]
    yield "the dict holds the same arrays", [params[name] is held[name] for name in held]


@probe("grad_check")
def no_gradient_at_all(impl, rng):
    params = {"W": rng.standard_normal((2, 3)), "b": rng.standard_normal(4)}
    entries = {"W": np.arange(6), "b": np.arange(4)}
    zeros = {name: np.zeros(a.shape) for name, a in params.items()}
    yield "errors", impl.grad_check(lambda q: 2.0, params, zeros, entries)
    missed = impl.grad_check(waves, params, zeros, entries)
    yield "errors of gradients that are wrongly zero", observe(missed, atol=1e-9)


def caught(got, expected):
    """Every error is NaN or infinite."""
    if not isinstance(got, dict) or got.keys() != expected.keys():
        return "It should be a dict with an error for each parameter."
    small = [name for name, error in got.items() if np.isfinite(error)]
    return f"A NaN is among those of {small[0]!r}, and its error is a number, {got[small[0]]:g}." if small else None


@probe("grad_check")
def no_numbers(impl, rng):
    params = {"W": rng.standard_normal((2, 3)), "b": rng.standard_normal(4)}
    entries = {"W": np.arange(6), "b": np.arange(4)}
    lost = {name: np.full(a.shape, np.nan) for name, a in params.items()}
    yield "errors of gradients that are NaN", observe(impl.grad_check(waves, params, lost, entries), judge=caught)
    zeros = {name: np.zeros(a.shape) for name, a in params.items()}
    slopes = impl.grad_check(lambda q: np.nan, params, zeros, entries)
    yield "errors of zero gradients where the loss is NaN", observe(slopes, judge=caught)


@probe("grad_check", cases=[(0,), (-1,)])
def one_is_no_number(impl, rng, place):
    """One NaN among several: nothing that passes over it may be taken for the largest."""
    params = {"W": rng.standard_normal((2, 3)), "b": rng.standard_normal(4)}
    entries = {"W": np.arange(6), "b": np.arange(4)}
    grads = {"W": np.cos(params["W"]), "b": 3 * params["b"] ** 2}
    ends = {name: a.flat[place] for name, a in params.items()}

    def edge(q):
        """It has no value above where it stands."""
        return np.nan if any(q[name].flat[place] > end for name, end in ends.items()) else waves(q)

    slopes = impl.grad_check(edge, params, grads, entries)
    yield "errors where a slope is NaN", observe(slopes, judge=caught)
    for a in grads.values():
        a.flat[place] = np.nan
    claims = impl.grad_check(waves, params, grads, entries)
    yield "errors where a gradient is NaN", observe(claims, judge=caught)


def remember(q, X, frozen_before=0, gate_of=None):
    """A small memory with a gate and one softmax over its slots and the input: the sum of its last content.

    Steps before `frozen_before` use the parameters of `q["as it was"]`, the gate those of `gate_of`.
    """
    M = np.eye(3, 4)
    for t, x in enumerate(X):
        w = q["as it was"] if t < frozen_before else q
        both = np.vstack([M, x])
        scores = (M @ w["Wq"]) @ (both @ w["Wk"]).T / 2
        terms = np.exp(scores)
        gate = 1 / (1 + np.exp(-np.tanh(M) @ (gate_of or w)["U"]))
        M = gate * M + (1 - gate) * np.tanh(terms / terms.sum(axis=1, keepdims=True) @ both @ w["Wv"])
    return float(np.sum(M * np.linspace(-1, 2, 12).reshape(3, 4)))


def derivative(f, array, h=1e-3):
    """The gradient by differences of fourth order: an input of the probe below, made without any backward pass."""
    found = np.zeros(array.shape)
    for place in range(array.size):
        for step, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            near = array.copy()
            near.flat[place] += step * h
            found.flat[place] += weight * f(near) / (12 * h)
    return found


@probe("grad_check", cases=[("right",), ("no 1/sqrt(d_k)",), ("state detached",), ("gate path dropped",)])
def planted_fault(impl, rng, fault):
    names, X = ("Wq", "Wk", "Wv", "U"), rng.standard_normal((4, 1, 4))
    p = {name: 0.8 * rng.standard_normal((4, 4)) for name in names}
    entries = {name: rng.permutation(16)[:9] for name in names}
    frozen = len(X) - 1 if fault == "state detached" else 0
    gate_of = p if fault == "gate path dropped" else None
    grads = {}
    for name in names:
        grads[name] = derivative(
            lambda a, name=name: remember(p | {name: a, "as it was": p}, X, frozen, gate_of), p[name]
        )
        if fault == "no 1/sqrt(d_k)" and name in ("Wq", "Wk"):
            grads[name] *= 2
    errors = impl.grad_check(lambda q: remember(q, X), p, grads, entries)
    yield "errors", observe(errors, rtol=1e-4, atol=1e-6)


def filled(module, seed, *, double=True):
    """A module with drawn parameters: gains near one, the rest of order one where it acts."""
    import torch

    fill(module.double() if double else module, seed, scale=0.4)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith("norm") and name.endswith("weight"):
                parameter += 1.0
    return module


def layers_as_given(got, expected):
    """What is saved with the module: its layers under their names, and nothing else."""
    if not isinstance(got, dict):
        return "It should be a module."
    more, fewer = sorted(got.keys() - expected.keys()), sorted(expected.keys() - got.keys())
    if more:
        return f"{more[0]!r} is no layer of the core. The initial memory is no parameter, nor in `state_dict`."
    if fewer:
        return f"{fewer[0]!r} is missing: layers have the names that they are given with."
    wrong = [name for name in got if got[name] != expected[name]]
    return f"{wrong[0]!r} has the shape {got[wrong[0]]}; {expected[wrong[0]]} is expected." if wrong else None


@probe("RelationalMemoryCore")
def only_kept(impl, rng):
    import torch

    core = impl.RelationalMemoryCore(2, 2, 3, 1).double()
    saved = {name: list(a.shape) for name, a in core.state_dict().items()}
    yield "names in state_dict", observe(saved, judge=layers_as_given)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.zero_()
        memories, _ = core(torch.ones(1, 2, 2, dtype=torch.float64))
    yield "memories", memories


@probe("RelationalMemoryCore", cases=[(2, 4, 3, 3, 4, 2), (1, 1, 2, 2, 3, 1)])
def whole_sequences(impl, rng, B, T, inputs, S, D, heads):
    import torch

    X = torch.tensor(rng.standard_normal((B, T, inputs)), requires_grad=True)
    upstream, seed = torch.from_numpy(rng.standard_normal((B, T, S, D))), int(rng.integers(2**32))
    of_weights = torch.from_numpy(rng.standard_normal((B, T, heads, S, S + 1)))
    core = filled(impl.RelationalMemoryCore(inputs, S, D, heads), seed)
    memories, weights = (value for _, value in named("memories weights", core(X)))
    yield "memories", memories
    yield "weights", weights
    yield "memories and weights carry gradients", [memories.requires_grad, weights.requires_grad]
    (torch.sum(memories * upstream) + torch.sum(weights * of_weights)).backward()
    yield "dX", few(X.grad)
    for name in ("Win.bias", "Wq.weight", "Wk.weight", "Uf.weight", "Wi.bias", "norm2.weight"):
        yield f"d{name}", observe(few(core.get_parameter(name).grad), atol=1e-12)


@probe("RelationalMemoryCore", cases=[(2, 3, 4, 4, 2), (3, 2, 1, 4, 4)])
def methods(impl, rng, B, inputs, S, D, heads):
    import torch

    x, M = torch.from_numpy(rng.standard_normal((B, inputs))), torch.from_numpy(rng.standard_normal((B, S, D)))
    row, seed = torch.from_numpy(rng.standard_normal((B, 1, D))), int(rng.integers(2**32))
    core = filled(impl.RelationalMemoryCore(inputs, 3, D, heads), seed)  # 3 slots in its own memory, S here
    yield from named("i f", core.gates(row, M))
    yield from ((f"{name} of step", value) for name, value in named("M weights", core.step(x, M)))
    core.gates = lambda row, M: (torch.full_like(M, 0.25), torch.full_like(M, 0.5))
    yield from ((f"{name} with other gates", value) for name, value in named("M weights", core.step(x, M)))


@probe("RelationalMemoryCore")
def single_precision(impl, rng):
    import torch

    X, seed = torch.from_numpy(rng.standard_normal((2, 3, 2))).float(), int(rng.integers(2**32))
    core = filled(impl.RelationalMemoryCore(2, 3, 4, 2), seed, double=False)
    memories, _ = core(X)
    yield "memories", observe(memories, rtol=1e-3)


@probe("RelationalMemoryCore")
def another_batch(impl, rng):
    """One module, called with two sequences, then with three, then in single precision."""
    import torch

    two, three = (torch.from_numpy(rng.standard_normal((B, 2, 2))) for B in (2, 3))
    core = filled(impl.RelationalMemoryCore(2, 2, 4, 2), int(rng.integers(2**32)))
    core(two)
    memories, _ = core(three)
    yield "memories of a second batch", memories
    memories, _ = core.float()(three.float())
    yield "memories of a third in float32", observe(memories, rtol=1e-3)


CLIPPED = 1e-5  # PyTorch divides by the norm plus 1e-6


def small_model(rng, inputs, classes):
    """A reader of sequences with large weights, a norm that counts its calls, and a bias that is frozen."""
    import torch

    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = torch.nn.Linear(inputs, 4)
            self.hidden.bias.requires_grad = False
            self.norm = torch.nn.BatchNorm1d(4)
            self.out = torch.nn.Linear(4, classes)

        def forward(self, X):
            return self.out(self.norm(torch.tanh(self.hidden(X).sum(dim=1))))

    return fill(Reader().double(), int(rng.integers(2**32)), scale=1.0)


@probe("train_step")
def three_and_four(impl, rng):
    import torch

    class Fixed(torch.nn.Module):
        """Its cross-entropy has the gradients 3 and 4, whatever it is shown."""

        def __init__(self):
            super().__init__()
            self.a = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
            self.b = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, X):
            return torch.stack([X[:, 0, 0] * 0, 6 * self.a + 8 * self.b + X[:, 0, 0] * 0], dim=1)

    for clip in (1.0, 10.0):
        model = Fixed()
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
        found = impl.train_step(
            model, optimiser, torch.zeros(1, 1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.int64), clip
        )
        yield from ((f"{name}, clip {clip:g}", value) for name, value in named("loss norm", found))
        yield f"a, clip {clip:g}", observe(model.a, rtol=CLIPPED)
        yield f"b, clip {clip:g}", observe(model.b, rtol=CLIPPED)


@probe(
    "train_step", cases=[(0.05, "SGD"), (50.0, "SGD"), (0.3, "Adam"), (0.3, "groups"), (0.3, "tied"), (0.3, "large")]
)
def updates(impl, rng, clip, kind):
    """Gradients of something else lie about before; two groups of parameters decay, but for what is frozen."""
    import torch

    what = {"tied": ", one weight in two layers", "large": ", logits of some hundreds"}.get(kind, "")
    model = small_model(rng, 3, 4)
    if kind == "tied":
        model.same = torch.nn.Linear(4, 4, bias=False)  # one parameter in two layers: its gradient counts once
        model.same.weight = model.out.weight
    if kind == "large":  # logits and gradients of some hundreds
        fill(model.out, int(rng.integers(2**32)), scale=300.0)
    batches = [
        (torch.from_numpy(3 * rng.standard_normal((5, 2, 3))), torch.from_numpy(rng.integers(4, size=5)))
        for _ in range(3)
    ]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    if kind == "Adam":
        optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    elif kind != "groups":
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    else:
        groups = [
            {"params": model.hidden.parameters()},
            {"params": [*model.norm.parameters(), *model.out.parameters()]},
        ]
        optimiser = torch.optim.SGD(groups, lr=0.1, weight_decay=0.1)
    for k, (X, y) in enumerate(batches, 1):
        found = impl.train_step(model, optimiser, X, y, clip)
        yield from (
            (f"{name} of update {k}{what}", observe(value, rtol=CLIPPED)) for name, value in named("loss norm", found)
        )
    for name in ("hidden.weight", "hidden.bias", "norm.weight", "out.weight"):
        parameter = model.get_parameter(name)
        yield f"{name} after three updates{what}", observe(parameter, rtol=CLIPPED)
    yield "norm.running_mean after three updates", observe(model.norm.running_mean, rtol=CLIPPED)


@probe("train_step", cases=[("training",), ("evaluation",)])
def clip_by_default(impl, rng, mode):
    import torch

    model = small_model(rng, 3, 4).train(mode == "training")
    X, y = torch.from_numpy(5 * rng.standard_normal((6, 2, 3))), torch.from_numpy(rng.integers(4, size=6))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    found = impl.train_step(model, optimiser, X, y)
    yield from named("loss norm", found)
    yield "tensors among loss and norm", [torch.is_tensor(value) for value in found]
    yield "out.weight", observe(model.out.weight, rtol=CLIPPED)


@probe("train_step")
def nothing_to_learn(impl, rng):
    """Of two examples with different answers and the same even logits, the gradients cancel to 0."""
    import torch

    class Even(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Parameter(torch.zeros(1, 2, dtype=torch.float64))

        def forward(self, X):
            return self.a.expand(len(X), 2)

    model, X = Even(), torch.zeros(2, 1, 1, dtype=torch.float64)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    found = impl.train_step(model, optimiser, X, torch.tensor([0, 1]))
    yield from ((f"{name} at a zero gradient", observe(v, atol=1e-12)) for name, v in named("loss norm", found))
    yield "a after a zero gradient", observe(model.a, atol=1e-12)
