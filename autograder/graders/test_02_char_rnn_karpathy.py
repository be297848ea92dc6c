"""Probes of 02: batches of a text, n-grams, a recurrent network forward, backward and in torch, its training."""

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

REMEMBERS = {"Wx": np.array([[0.0], [0.5 * np.log(3)]]), "Wh": np.array([[np.log(3)]]), "bh": np.zeros(1)}
RECURRENT = ("Wx", "Wh", "bh")
BELOW_ONE = 1 - 2.0**-53  # the largest number that a uniform draw can give


def zero_weights(V, H, by=None):
    """A network that ignores what it reads; its scores are `by`."""
    shaped = {"Wx": (V, H), "Wh": (H, H), "bh": (H,), "Wy": (H, V), "by": (V,)}
    params = {name: np.zeros(shape) for name, shape in shaped.items()}
    return params if by is None else {**params, "by": np.array(by)}


def draw_params(rng, V, H, *, inputs=1.0, scores=1.0):
    """Weights of order one: states far from 0, scores that differ; nothing is symmetric, no order is promised."""
    return {
        "by": scores * rng.standard_normal(V),
        "Wh": rng.standard_normal((H, H)) / np.sqrt(H),
        "Wy": scores * rng.standard_normal((H, V)),
        "bh": 0.5 * rng.standard_normal(H),
        "Wx": inputs * rng.standard_normal((V, H)),
    }


def draw_ids(rng, V, *shape):
    return rng.integers(V, size=shape)


@probe("make_batches")
def nine_characters(impl, rng):
    yield from named("x y", impl.make_batches(np.arange(9), 2, 2))


@probe(
    "make_batches",
    cases=[(1, 1, 1, 0, 0), (2, 3, 4, 0, 2**40), (3, 4, 2, 5, 0), (4, 2, 3, 7, 0), (1, 5, 3, 4, 0), (5, 1, 2, 0, 0)],
)
def streams(impl, rng, B, T, N, left_over, smallest):
    ids = smallest + draw_ids(rng, 1000, B * T * N + 1 + left_over)
    yield from named("x y", impl.make_batches(ids, B, T))


# every second character: neighbours that are no neighbours in memory
@probe("make_batches", cases=[(3, 2, 3)])
def every_second_character(impl, rng, B, T, N):
    yield from named("x y", impl.make_batches(draw_ids(rng, 1000, 2 * B * T * N + 2)[::2], B, T))


@probe("ngram_bits")
def counted_by_hand(impl, rng):
    train, test = np.array([0, 1, 0, 1, 0]), np.array([0, 1])
    yield "bits, n = 2", impl.ngram_bits(train, test, 2, 2, 1.0)
    yield "bits, n = 1, of the character 1", impl.ngram_bits(train, test[1:], 1, 2, 1.0)


@probe(
    "ngram_bits",
    cases=[(1, 3, 1.0, 20, 9), (2, 4, 0.5, 30, 12), (3, 3, 2.5, 40, 15), (4, 2, 3.0, 25, 4), (5, 3, 1.0, 3, 12)],
)
def random_texts(impl, rng, n, V, k, length, test_length):
    train, test = draw_ids(rng, V, length), draw_ids(rng, V, test_length)
    yield "bits", impl.ngram_bits(train, test, n, V, k)


@probe("ngram_bits", cases=[(2, 6, 1.0), (3, 6, 0.7), (5, 6, 4.0)])
def characters_never_seen(impl, rng, n, V, k):
    train, test = draw_ids(rng, V - 2, 60), draw_ids(rng, V, 25)
    yield "bits", impl.ngram_bits(train, test, n, V, k)


# joined as text, or in one byte each, some of these are the same; the last is not in the training text
@probe("ngram_bits", cases=[(2, 300, 1.0), (2, 300, 1e-4)])
def few_of_many_characters(impl, rng, n, V, k):
    used = np.array([1, 11, 111, 257, 2])
    train, test = used[draw_ids(rng, 4, 60)], used[np.append(draw_ids(rng, 5, 25), 4)]
    yield "bits", impl.ngram_bits(train, test, n, V, k)


@probe("rnn_forward")
def it_remembers(impl, rng):
    Hs, _ = impl.rnn_forward(REMEMBERS, np.array([[1, 0]]), np.zeros((1, 1)))
    yield "Hs", Hs


@probe(
    "rnn_forward",
    cases=[
        (1, 1, 2, 1, 1.0),
        (2, 1, 4, 3, 1.0),
        (3, 6, 5, 4, 1.0),
        (6, 3, 3, 5, 1.0),
        (4, 4, 4, 4, 1.0),
        (3, 4, 4, 5, 1e3),
        (3, 4, 300, 4, 1.0),
    ],
)
def states(impl, rng, B, T, V, H, inputs):
    params, x, h0 = draw_params(rng, V, H, inputs=inputs), draw_ids(rng, V, B, T), rng.standard_normal((B, H))
    Hs, _ = impl.rnn_forward(params, x, h0)
    yield "Hs", Hs


@probe("bits_per_char")
def two_bits_and_less(impl, rng):
    yield "bits of four equal characters", impl.bits_per_char(zero_weights(4, 2), np.array([3, 1, 0, 0, 2]), 3)
    yield "bits of 0, 1, 1, 0", impl.bits_per_char(zero_weights(2, 1, [0.0, np.log(3)]), np.array([0, 1, 1, 0]), 2)


@probe("bits_per_char", cases=[(2, 3, 2, 5), (13, 4, 3, 4), (25, 5, 4, 1), (40, 3, 5, 100), (21, 4, 3, 10)])
def chunks_of_any_size(impl, rng, length, V, H, T):
    params, ids = draw_params(rng, V, H), draw_ids(rng, V, length)
    yield "bits", impl.bits_per_char(params, ids, T)


@probe("bits_per_char", cases=[(30, 5, 4, 7)])
def very_sure(impl, rng, length, V, H, T):
    params, ids = draw_params(rng, V, H, scores=1e3), draw_ids(rng, V, length)
    yield "bits", impl.bits_per_char(params, ids, T)


@probe("sample", cases=[(1.0, 0.2), (1.0, 0.3), (0.5, 0.2), (2.0, 0.3)])
def one_draw_by_hand(impl, rng, temperature, u):
    params = zero_weights(2, 1, [0.0, np.log(3)])
    yield "written", impl.sample(params, np.array([0]), np.zeros((1, 1)), np.array([[u]]), temperature)


@probe(
    "sample",
    cases=[
        (1, 1, 3, 2, 1.0, 1.0),
        (3, 7, 5, 4, 1.0, 1.0),
        (4, 6, 6, 3, 0.4, 1.0),
        (2, 9, 4, 5, 2.5, 1.0),
        (20, 12, 9, 6, 1.3, 1.0),
        (4, 4, 4, 4, 1.0, 1.0),
        (5, 6, 5, 4, 1e-3, 1e-3),
        (5, 6, 5, 4, 1e3, 1e3),
    ],
)
def texts(impl, rng, B, n, V, H, temperature, scores):
    params, first, h = draw_params(rng, V, H, scores=scores), draw_ids(rng, V, B), rng.standard_normal((B, H))
    u = rng.random((B, n))
    yield "written", impl.sample(params, first, h, u, temperature)


@probe("sample", cases=[(4, 8, 6, 5, 1e-3)])
def nearly_frozen(impl, rng, B, n, V, H, temperature):
    params, first, h = draw_params(rng, V, H, scores=10.0), draw_ids(rng, V, B), rng.standard_normal((B, H))
    u = rng.random((B, n))
    yield "written", impl.sample(params, first, h, u, temperature)


@probe("sample", cases=[(6, 5, 6, 4)])
def what_has_probability_zero(impl, rng, B, n, V, H):
    params, first, h = draw_params(rng, V, H), draw_ids(rng, V, B), rng.standard_normal((B, H))
    params["by"][0] = -1e6  # its probability is 0, so not even u = 0 may draw it
    u = rng.random((B, n))
    u[:, 1::2] = 0.0
    yield "written", impl.sample(params, first, h, u, 1.0)


# equal scores are the same probabilities on every processor, and V of these sizes leaves their sum below 1
@probe("sample", cases=[(3, 7, 4), (2, 10, 3), (4, 46, 2)])
def largest_draw(impl, rng, B, V, H):
    params, first, h = draw_params(rng, V, H, scores=0.0), draw_ids(rng, V, B), rng.standard_normal((B, H))
    yield "written", impl.sample(params, first, h, np.full((B, 1), BELOW_ONE), 1.0)


@probe("sample", cases=[(8, 3, 5, 4)])
def close_to_a_border(impl, rng, B, n, V, H):
    params, first, h = draw_params(rng, V, H, scores=0.0), draw_ids(rng, V, B), rng.standard_normal((B, H))
    weights = np.arange(1, V + 1)  # unequal, or a small number in the softmax would cancel
    params["by"] = np.log(weights)
    border = rng.choice(np.cumsum(weights)[:-1], size=(B, n))
    u = (border + rng.choice([-1e-10, 1e-10], size=(B, n))) / weights.sum()
    yield "written", impl.sample(params, first, h, u, 1.0)


def recurrent_gradients(result):
    """What `rnn_backward` returned, array by array."""
    (_, grads), (_, dh0) = named("grads dh0", result)
    yield "names of the gradients", sorted(grads)
    for name in RECURRENT:
        yield f"d{name}", grads[name]
    yield "dh0", dh0


@probe("rnn_backward")
def two_steps_by_hand(impl, rng):
    _, cache = impl.rnn_forward(REMEMBERS, np.array([[1, 0]]), np.zeros((1, 1)))
    yield from recurrent_gradients(impl.rnn_backward(np.array([[[0.0], [1.0]]]), cache))


def draw_chunk(rng, B, T, V, H, *, inputs=1.0):
    """What the recurrent layer reads and what comes back to it: params, x, h0, dHs."""
    drawn = draw_params(rng, V, H, inputs=inputs)
    params = {name: drawn[name] for name in reversed(RECURRENT)}
    return params, draw_ids(rng, V, B, T), rng.standard_normal((B, H)), rng.standard_normal((B, T, H))


@probe(
    "rnn_backward",
    cases=[
        (1, 1, 2, 1, 1.0, 1.0),
        (2, 1, 3, 4, 1.0, 1.0),
        (3, 5, 4, 3, 1.0, 1.0),
        (2, 7, 5, 6, 1.0, 1.0),
        (4, 4, 4, 4, 1.0, 1.0),
        (3, 4, 4, 5, 10.0, 1e3),
        (3, 5, 4, 3, 1.0, 1e-12),
        (2, 14, 4, 3, 1.0, 1.0),
    ],
)
def through_time(impl, rng, B, T, V, H, inputs, upstream):
    params, x, h0, dHs = draw_chunk(rng, B, T, V, H, inputs=inputs)
    _, cache = impl.rnn_forward(params, x, h0)
    yield from recurrent_gradients(impl.rnn_backward(upstream * dHs, cache))


# differences run out of time here, also those of one unit in all rows at once, step by step
@probe("rnn_backward", cases=[(16, 64, 12, 512)])
def many_units(impl, rng, B, T, V, H):
    params, x, h0, dHs = draw_chunk(rng, B, T, V, H)
    _, cache = impl.rnn_forward(params, x, h0)
    (_, grads), (_, dh0) = named("grads dh0", impl.rnn_backward(dHs, cache))
    yield "dbh", grads["bh"]
    yield "dh0 of the first row", dh0[0]


@probe("rnn_backward", cases=[(2, 4, 3, 3)])
def with_own_forward(impl, rng, B, T, V, H):
    params, x, h0, dHs = draw_chunk(rng, B, T, V, H)
    along = rng.standard_normal((H, H))

    def loss(Wh):
        return np.sum(impl.rnn_forward({**params, "Wh": Wh}, x, h0)[0] * dHs)

    _, cache = impl.rnn_forward(params, x, h0)
    grads, _ = impl.rnn_backward(dHs, cache)
    yield "dWh", grads["Wh"]
    yield "slope along Wh", agree(np.sum(grads["Wh"] * along), slope(loss, params["Wh"], along))


def loss_gradients_state(result):
    """What `loss_and_grads` returned, part by part."""
    (_, loss), (_, grads), (_, h) = named("loss grads h", result)
    yield "loss", loss
    yield "names of the gradients", sorted(grads)
    for name in (*RECURRENT, "Wy", "by"):
        yield f"d{name}", grads[name]
    yield "h", h


@probe("loss_and_grads")
def a_coin_by_hand(impl, rng):
    x, y = np.array([[1]]), np.array([[0]])
    yield from loss_gradients_state(impl.loss_and_grads(zero_weights(2, 1), x, y, np.zeros((1, 1))))


@probe("loss_and_grads", cases=[(1, 1, 2, 1), (2, 1, 3, 4), (3, 5, 4, 3), (4, 6, 7, 2), (4, 4, 4, 4)])
def chunks(impl, rng, B, T, V, H):
    params, h0 = draw_params(rng, V, H), rng.standard_normal((B, H))
    x, y = draw_ids(rng, V, 2, B, T)
    yield from loss_gradients_state(impl.loss_and_grads(params, x, y, h0))


# differences run out of time here, also those of one score in all characters at once
@probe("loss_and_grads", cases=[(16, 32, 2000, 16)])
def many_characters(impl, rng, B, T, V, H):
    params, h0 = draw_params(rng, V, H), rng.standard_normal((B, H))
    x, y = draw_ids(rng, V, 2, B, T)
    (_, loss), (_, grads), _ = named("loss grads h", impl.loss_and_grads(params, x, y, h0))
    yield "loss", loss
    yield "dby of the first ten", grads["by"][:10]
    yield "dbh", grads["bh"]


@probe("loss_and_grads", cases=[(3, 4, 5, 3)])
def very_wrong(impl, rng, B, T, V, H):
    params, h0 = draw_params(rng, V, H, scores=1e3), rng.standard_normal((B, H))
    x, y = draw_ids(rng, V, 2, B, T)
    yield from loss_gradients_state(impl.loss_and_grads(params, x, y, h0))


def draw_arrays(rng, *, scale=1.0):
    """Arrays of three shapes under the names that parameters could have."""
    return {
        name: scale * rng.standard_normal(shape) for name, shape in {"W": (3, 4), "b": (5,), "U": (2, 3, 2)}.items()
    }


@probe("clip_by_global_norm", cases=[1.0, 10.0])
def three_and_four(impl, rng, max_norm):
    grads = {"a": np.array([3.0]), "b": np.array([4.0])}
    yield from named("clipped norm", impl.clip_by_global_norm(grads, max_norm))


@probe("clip_by_global_norm", cases=[(1.0, 2.5), (1.0, 1e3), (1e-6, 0.5), (1e4, 3.0), (1e-9, 1e-10), (1e-14, 1.0)])
def lengths(impl, rng, scale, max_norm):
    grads = draw_arrays(rng, scale=scale)
    returned = impl.clip_by_global_norm(grads, max_norm)
    for g in grads.values():
        g += 1.0  # what was returned is new, so it does not follow
    yield from named("clipped norm", returned)


@probe("clip_by_global_norm", cases=[1 - 1e-7])
def a_hair_too_long(impl, rng, share):
    c = 1 + rng.random()
    grads = {"a": np.array([3 * c]), "b": np.array([[4 * c]])}
    yield from named("clipped norm", impl.clip_by_global_norm(grads, share * 5 * c))


@probe("clip_by_global_norm", cases=[2.0])
def array_without_axes(impl, rng, max_norm):
    grads = {"W": rng.standard_normal((2, 3)), "b": np.array(3 + rng.random())}
    yield from named("clipped norm", impl.clip_by_global_norm(grads, max_norm))


@probe("clip_by_global_norm")
def nothing_to_clip(impl, rng):
    yield from named("clipped norm", impl.clip_by_global_norm({"a": np.zeros((2, 3)), "b": np.zeros(4)}, 1.0))


# names that a network has: its biases count, too
@probe("clip_by_global_norm", cases=[(5, 3, 1.0)])
def of_a_network(impl, rng, V, H, max_norm):
    yield from named("clipped norm", impl.clip_by_global_norm(draw_params(rng, V, H), max_norm))


@probe("adagrad_step")
def from_sixteen(impl, rng):
    given = ({"w": np.array([value])} for value in (1.0, 3.0, 16.0))
    yield from named("params memory", impl.adagrad_step(*given, 0.1))


@probe("adagrad_step", cases=[(1.0, 0.1), (1e-8, 0.01), (1e3, 0.5), (1.0, 2.5)])
def steps(impl, rng, scale, lr):
    params, memory = draw_arrays(rng), {name: np.zeros(a.shape) for name, a in draw_arrays(rng).items()}
    all_grads = [draw_arrays(rng, scale=scale) for _ in range(3)]
    for t, grads in enumerate(all_grads, 1):
        grads = dict(reversed(grads.items()))  # the names belong together, not the places
        returned = impl.adagrad_step(params, grads, memory, lr)
        for name, value in named("params memory", returned):
            yield f"{name} after step {t}", value
        params, memory = returned


@probe("adagrad_step", cases=[0.1])
def arrays_without_axes(impl, rng, lr):
    params, grads = ({"W": rng.standard_normal((2, 3)), "b": np.array(rng.standard_normal())} for _ in range(2))
    memory = {"W": rng.random((2, 3)), "b": np.array(rng.random())}
    yield from named("params memory", impl.adagrad_step(params, grads, memory, lr))


@probe("adagrad_step")
def weights_that_rest(impl, rng):
    params, grads = draw_arrays(rng), draw_arrays(rng)
    memory = {name: a**2 for name, a in draw_arrays(rng).items()}
    grads["W"][1] = 0.0  # some of an array, and all of it: their memory stays
    grads["U"] = np.zeros((2, 3, 2))
    grads["b"], memory["b"] = np.zeros(5), np.zeros(5)  # never had a gradient
    returned = impl.adagrad_step(params, grads, memory, 0.1)
    for a in (*params.values(), *memory.values()):
        a += 1.0  # what was returned is new, so it does not follow
    yield from named("params memory", returned)


def silenced(model):
    """A torch module with all its parameters 0."""
    import torch

    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
    return model


@probe("CharRNN")
def silent(impl, rng):
    import torch

    model = silenced(impl.CharRNN(4, 3).double())
    yield from named("z h", model(torch.tensor([[3, 1]])))


@probe("CharRNN", cases=[(1, 1, 2, 1, 0.5), (2, 5, 4, 3, 0.5), (5, 3, 7, 6, 0.5), (4, 4, 4, 4, 0.5), (5, 3, 7, 6, 4.0)])
def network(impl, rng, B, T, V, H, scale):
    import torch

    x = torch.from_numpy(draw_ids(rng, V - 1, B, T))  # so the last character does not occur
    h0 = torch.tensor(rng.standard_normal((1, B, H)), requires_grad=True)
    upstream = torch.from_numpy(rng.standard_normal((B, T, V)))
    upstream_h = torch.from_numpy(rng.standard_normal((1, B, H)))
    seed = int(rng.integers(2**32))

    model = impl.CharRNN(V, H).double()
    yield "parameters", shapes(model)
    fill(model, seed, scale=scale)
    z, h = model(x, h0)
    yield from named("z h", (z, h))
    yield "shape of x after the call", list(x.shape)
    (torch.sum(z * upstream) + torch.sum(h * upstream_h)).backward()
    yield "dh0", h0.grad
    for name, parameter in sorted(model.named_parameters()):
        yield f"d{name}", parameter.grad


@probe("CharRNN")
def from_zero_in_single_precision(impl, rng):
    import torch

    x = torch.from_numpy(1 + draw_ids(rng, 3, 2, 6))  # neither the first nor the last character occurs
    seed = int(rng.integers(2**32))
    for name, value in named("z h", fill(impl.CharRNN(5, 3), seed)(x)):
        yield name, observe(value, rtol=1e-4)


def order_one(spread, expected):
    """Whether entries are of order one; where exactly is free."""
    if isinstance(spread, float) and 0.5 < spread < 2:
        return None
    return f"the first weights of the inputs have a spread of {spread:.2g}; the text asks for entries of order one"


@probe("CharRNN", cases=[(50, 128)])
def first_weights(impl, rng, V, H):
    import torch

    torch.manual_seed(int(rng.integers(2**32)))
    weights = impl.CharRNN(V, H).rnn.weight_ih_l0
    yield "spread of the first weights", observe(round(float(weights.std()), 1), judge=order_one)


@probe("train_chunk")
def one_step_by_hand(impl, rng):
    import torch

    model = silenced(impl.CharRNN(2, 1).double())
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    x, y = torch.tensor([[1]]), torch.tensor([[0]])
    yield from named("loss h", impl.train_chunk(model, optimiser, x, y, None, 10.0))
    yield "by", model.readout.bias


@probe("train_chunk", cases=[(3, 4, 5, 3, 100.0), (2, 6, 4, 5, 0.1), (5, 5, 5, 2, 100.0)])
def three_chunks(impl, rng, B, T, V, H, max_norm):
    import torch

    x, y = torch.from_numpy(draw_ids(rng, V, 2, 3, B, T))
    h = given = torch.from_numpy(rng.standard_normal((1, B, H)))
    seed = int(rng.integers(2**32))

    model = fill(impl.CharRNN(V, H).double(), seed)
    for weights in model.parameters():
        weights.grad = torch.ones_like(weights)  # old gradients, to be forgotten
    groups = [{"params": layer.parameters()} for layer in (model.readout, model.rnn)]
    optimiser = torch.optim.SGD(groups, lr=0.5, momentum=0.5)
    rtol = 1e-5 if max_norm < 1 else None  # PyTorch adds 1e-6 to the norm when it clips, equation (12) nothing
    for t in range(3):
        (_, loss), (_, h) = named("loss h", impl.train_chunk(model, optimiser, x[t], y[t], h, max_norm))
        yield f"loss of chunk {t + 1}", observe(loss, rtol=rtol)
        yield f"h after chunk {t + 1}", observe(h, rtol=rtol)
        yield f"h has a graph after chunk {t + 1}", h.requires_grad
    yield "the h that was given requires a gradient", given.requires_grad
    for name, parameter in sorted(model.named_parameters()):
        yield name, observe(parameter, rtol=rtol)


# few characters and many units: the gradient is longer than the first max_norm, and mostly than the second
@probe("train_chunk", cases=[(2, 3, 5, 16, 1.5, 1.0), (3, 2, 5, 16, 3.0, 1.0), (2, 3, 5, 4, 3.0, 10.0)])
def a_long_gradient(impl, rng, B, T, V, H, max_norm, scale):
    import torch

    x, y = torch.from_numpy(draw_ids(rng, V, 2, B, T))
    h = torch.from_numpy(rng.standard_normal((1, B, H)))
    model = fill(impl.CharRNN(V, H).double(), int(rng.integers(2**32)), scale=scale)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    impl.train_chunk(model, optimiser, x, y, h, max_norm)
    for name, parameter in sorted(model.named_parameters()):
        yield name, observe(parameter, rtol=1e-5)  # PyTorch adds 1e-6 to the norm


# with a rate of 0 the model stays the same; None is zero also where another chunk went before
@probe("train_chunk", cases=[(3, 4, 5, 3)])
def none_again(impl, rng, B, T, V, H):
    import torch

    x, y = torch.from_numpy(draw_ids(rng, V, 2, 3, B, T))
    model = fill(impl.CharRNN(V, H).double(), int(rng.integers(2**32)))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    for t in range(3):
        (_, loss), (_, h) = named("loss h", impl.train_chunk(model, optimiser, x[t], y[t], None, 1.0))
        yield f"loss of chunk {t + 1}", loss
        yield f"h after chunk {t + 1}", h


# nothing of it is to be changed: not the mode, not the graph of the state from which the chunk starts
@probe("train_chunk", cases=[(3, 4, 5, 3)])
def evaluated_and_with_a_graph(impl, rng, B, T, V, H):
    import torch

    x, y = torch.from_numpy(draw_ids(rng, V, 2, B, T))
    start = torch.from_numpy(rng.standard_normal((1, B, H))).requires_grad_()
    model = fill(impl.CharRNN(V, H).double(), int(rng.integers(2**32))).eval()
    h = 2 * start
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    (_, loss), (_, after) = named("loss h", impl.train_chunk(model, optimiser, x, y, h, 100.0))
    yield "loss", loss
    yield "h", after
    yield "the model is in training mode", model.training
    yield "the h that was given has a graph", h.requires_grad
