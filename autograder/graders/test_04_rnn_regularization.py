"""Probes of 04: masks, a stack of LSTM layers with masks anywhere and its gradient, perplexity, the recipe, torch.

Sizes are unequal where they can be, layers differ in width, and masks hold numbers of all kinds, not only 0 and one
other: what is multiplied by which mask then shows in every case.
"""

import math

import numpy as np

from autograder.engine.probes import WrongReturn, agree, fill, named, observe, probe, shapes, slope

KINDS = ("none", "paper", "h", "c", "everywhere", "variational")


def few(value, most=6):
    """Some numbers of an array or tensor, from all over it, so that keys stay small."""
    if not hasattr(value, "reshape") or len(flat := value.reshape(-1)) <= most:
        return value
    step = -(-len(flat) // most)
    while math.gcd(step, value.shape[-1]) > 1:  # else some units are never among them
        step += 1
    return flat[::step]


def shapes_of(values):
    """The shapes of some results, told apart from their numbers, of which only some are looked at."""
    return [list(np.shape(value)) for value in values]


# Masks --------------------------------------------------------------------------------------------------------------


@probe("dropout_mask")
def three_draws(impl, rng):
    yield "mask", impl.dropout_mask(np.array([0.1, 0.2, 0.9]), 0.2)


@probe("dropout_mask", cases=[((7,), 0.3), ((3, 4), 0.5), ((2, 3, 4), 0.9), ((1, 1), 0.65), ((5, 2), 0.05)])
def shapes_and_rates(impl, rng, shape, p):
    yield "mask", impl.dropout_mask(rng.random(shape), p)


@probe("dropout_mask", cases=[(0.0,), (1e-9,), (1 - 1e-9,)])
def at_the_ends(impl, rng, p):
    u = rng.random((4, 3))
    u[0, 0] = 0.0  # below every p but 0
    u[1, 1] = 1 - 1e-12
    yield "mask", impl.dropout_mask(u, p)


@probe("dropout_mask", cases=[(0.25,), (0.5,), (0.75,)])
def draws_that_equal_p(impl, rng, p):
    u = rng.random((3, 5))
    u[1] = p
    u[2, ::2] = np.nextafter(p, 0)
    yield "mask", impl.dropout_mask(u, p)


@probe("dropout_mask", cases=[(0.3,), (0.0,)])
def draws_of_zero(impl, rng, p):
    """Zero is a draw like others: below every p but 0."""
    u = rng.random((5, 4))
    u[::2, 1] = 0.0
    yield "mask", impl.dropout_mask(u, p)


@probe("dropout_mask", cases=[((),), ((0, 3),)])
def one_number_or_none(impl, rng, shape):
    yield "mask", impl.dropout_mask(np.array(rng.random(shape)), 0.4)


@probe("dropout_mask")
def other_layouts(impl, rng):
    u = rng.random((6, 8))
    yield "mask of a transposed array", impl.dropout_mask(u.T, 0.4)
    yield "mask of every other row", impl.dropout_mask(u[::-2], 0.6)


@probe("dropout_mask")
def rates_alone_differ(impl, rng):
    u = rng.random((5, 8))
    for k, p in enumerate((0.2, 0.7, 0.0, 0.2)):
        yield f"mask {k + 1}, p = {p}", impl.dropout_mask(u, p)


@probe("dropout_mask")
def draws_alone_differ(impl, rng):
    """Nothing is kept from call to call: the same shape and p, other draws."""
    u = rng.random((3, 6, 7))
    for k in range(3):
        yield f"mask {k + 1}", impl.dropout_mask(u[k], 0.5)


# The stack ----------------------------------------------------------------------------------------------------------


def draw_layers(rng, inputs, widths):
    layers = []
    for hidden in widths:
        W = rng.standard_normal((inputs + hidden, 4 * hidden)) / np.sqrt(inputs + hidden) * 1.5
        layers.append({"b": rng.standard_normal(4 * hidden), "W": W})
        inputs = hidden
    return layers


def draw_masks(rng, places, B, T, inputs, widths):
    """Masks of any numbers from 0 to 2, with zeros among them, the places in the order of `places`."""
    sizes = {"up": (inputs, *widths), "h": widths, "c": widths}
    drawn = {p: [2 * rng.random((B, T, n)) * (rng.random((B, T, n)) > 0.2) for n in sizes[p]] for p in sizes}
    return {p: drawn[p] for p in places.split()}


def draw_state(rng, B, widths):
    return [(np.tanh(rng.standard_normal((B, n))), rng.standard_normal((B, n))) for n in widths]


def states(value, names="h c"):
    """The pairs of a list of states, layer by layer."""
    if not isinstance(value, (list, tuple)):
        raise WrongReturn("The state should be a list with one pair (h, c) per layer.")
    for k, pair in enumerate(value):
        yield from ((f"{name} of layer {k + 1}", v) for name, v in named(names, pair))


def halving():
    """One layer, one unit, one input, all parameters 0: every gate is one half."""
    return [{"W": np.zeros((2, 4)), "b": np.zeros(4)}], np.array([[[9.0]]]), [(np.array([[5.0]]), np.array([[2.0]]))]


ONE, TWO = np.ones((1, 1, 1)), np.full((1, 1, 1), 2.0)
SIZES = [
    (1, 1, 1, (1,), "up h c"),
    (3, 4, 2, (5,), "up"),
    (2, 3, 4, (3, 5), "up h c"),
    (4, 5, 3, (2, 4, 3), "c up h"),
    (1, 6, 2, (3, 3), "h c"),
    (5, 2, 3, (3, 3), "h"),
    (2, 4, 3, (4, 2), "c"),
    (3, 3, 3, (3, 3, 3), "up c"),
    (2, 3, 2, (4, 3), ""),
    (6, 1, 4, (2, 2), "up h c"),
]


@probe("stacked_forward", cases=[("",), ("c",), ("c up",), ("h",)])
def gates_of_one_half(impl, rng, places):
    layers, X, state = halving()
    all_masks = {"c": [TWO], "up": [ONE, TWO], "h": [TWO]}
    Z, last, _ = impl.stacked_forward(layers, X, {place: all_masks[place] for place in places.split()}, state)
    yield "Z", Z
    yield from states(last)


@probe("stacked_forward", cases=SIZES)
def stacks(impl, rng, B, T, inputs, widths, places):
    layers, X = draw_layers(rng, inputs, widths), rng.standard_normal((B, T, inputs))
    masks = draw_masks(rng, places, B, T, inputs, widths)
    Z, last, _ = impl.stacked_forward(layers, X, masks)
    yield "Z", few(Z, 8)
    yield from ((name, few(v, 2)) for name, v in states(last))
    yield "shapes of Z and of the state", shapes_of([Z, *(v for _, v in states(last))])


@probe("stacked_forward", cases=[("up h c",), ("h c",), ("up",), ("",)])
def from_a_state(impl, rng, places):
    layers, X = draw_layers(rng, 2, (3, 4)), rng.standard_normal((3, 4, 2))
    masks, state = draw_masks(rng, places, 3, 4, 2, (3, 4)), draw_state(rng, 3, (3, 4))
    Z, last, _ = impl.stacked_forward(layers, X, masks, state)
    yield "Z", few(Z, 8)
    yield from ((name, few(v, 4)) for name, v in states(last))


@probe("stacked_forward", cases=[("up h c",), ("",)])
def with_and_without_a_state(impl, rng, places):
    """Layers of one width; what the calls before have left behind is no state."""
    layers, X = draw_layers(rng, 3, (3, 3)), rng.standard_normal((2, 3, 3))
    masks, state = draw_masks(rng, places, 2, 3, 3, (3, 3)), draw_state(rng, 2, (3, 3))
    for k, given in enumerate((state, None, state)):
        Z, last, _ = impl.stacked_forward(layers, X, masks, given)
        yield f"Z of call {k + 1}, {'without' if given is None else 'with'} a state", few(Z, 6)
        yield from ((f"{name}, call {k + 1}", few(v, 2)) for name, v in states(last))


@probe("stacked_forward", cases=[("up h c",), ("up",)])
def piece_by_piece(impl, rng, places):
    """What is carried on makes three pieces one text, also one of a single step."""
    layers, X = draw_layers(rng, 3, (4, 2)), rng.standard_normal((2, 6, 3))
    masks, state = draw_masks(rng, places, 2, 6, 3, (4, 2)), None
    for k, part in enumerate((slice(0, 2), slice(2, 3), slice(3, 6))):
        now = {place: [m[:, part] for m in ms] for place, ms in masks.items()}
        Z, state, _ = impl.stacked_forward(layers, X[:, part], now, state)
        yield f"Z of piece {k + 1}", few(Z, 6)
    yield from ((name, few(v, 3)) for name, v in states(state))


@probe("stacked_forward", cases=[("up",), ("h",), ("c",)])
def masks_of_zeros(impl, rng, place):
    layers, X, state = draw_layers(rng, 2, (3, 4)), rng.standard_normal((2, 4, 2)), draw_state(rng, 2, (3, 4))
    masks = draw_masks(rng, place, 2, 4, 2, (3, 4))
    masks[place] = [0.0 * m for m in masks[place]]
    Z, last, _ = impl.stacked_forward(layers, X, masks, state)
    yield "Z", observe(few(Z, 6), atol=1e-12)
    yield from ((name, observe(few(v, 3), atol=1e-12)) for name, v in states(last))


@probe("stacked_forward", cases=[(2, 150, 2, (3, 3))])
def long_memory(impl, rng, B, T, inputs, widths):
    layers, X = draw_layers(rng, inputs, widths), rng.standard_normal((B, T, inputs))
    for q, n in zip(layers, widths, strict=True):
        q["b"][n : 2 * n] += 6.0  # what was long ago still shows
        q["W"][inputs:] *= 0.5
    state = [(h, 5 * c) for h, c in draw_state(rng, B, widths)]
    Z, last, _ = impl.stacked_forward(layers, X, draw_masks(rng, "up", B, T, inputs, widths), state)
    yield "Z", few(Z, 6)
    yield from ((name, few(v, 3)) for name, v in states(last))


@probe("stacked_forward")
def masks_alone_differ(impl, rng):
    layers, X = draw_layers(rng, 3, (3, 3)), rng.standard_normal((2, 3, 3))
    drawn = {places: draw_masks(rng, places, 2, 3, 3, (3, 3)) for places in ("up h c", "h", "c", "up")}
    for places, masks in drawn.items():
        Z, *_ = impl.stacked_forward(layers, X, masks)
        yield f"Z with masks {places}", few(Z, 6)


@probe("stacked_forward")
def large_inputs(impl, rng):
    layers, X = draw_layers(rng, 2, (3, 2)), 300 * rng.standard_normal((2, 3, 2))
    state = [(h, 20 * c) for h, c in draw_state(rng, 2, (3, 2))]
    Z, last, _ = impl.stacked_forward(layers, X, draw_masks(rng, "up h c", 2, 3, 2, (3, 2)), state)
    yield "Z", observe(few(Z, 6), atol=1e-12)
    yield from ((name, observe(few(v, 3), atol=1e-12)) for name, v in states(last))


def layer_gradients(dX_and_grads, layers, most=3):
    """dX, then W and b of each layer."""
    for name, value in named("dX grads", dX_and_grads):
        if name == "dX":
            yield "dx", few(value, 2 * most)
            dx = value
            continue
        if not isinstance(value, (list, tuple)) or len(value) != layers:
            raise WrongReturn("The gradients should be a list with one dict per layer.")
        for k, found in enumerate(value):
            if not isinstance(found, dict) or not {"W", "b"} <= set(found):
                raise WrongReturn('Each layer\'s gradients should be a dict with "W" and "b".')
            yield f"dW of layer {k + 1}", few(found["W"], most)
            yield f"db of layer {k + 1}", few(found["b"], most)
        yield "shapes of dx, and of dW and db by layer", shapes_of([dx, *(found[n] for found in value for n in "Wb")])


@probe("stacked_backward", cases=[("c up",), ("up",), ("",)])
def gates_of_one_half_backward(impl, rng, places):
    layers, X, state = halving()
    all_masks = {"c": [TWO], "up": [ONE, TWO]}
    *_, cache = impl.stacked_forward(layers, X, {place: all_masks[place] for place in places.split()}, state)
    for name, value in layer_gradients(impl.stacked_backward(np.ones((1, 1, 1)), cache), 1, 8):
        yield name, observe(value, atol=1e-12)


@probe("stacked_backward", cases=SIZES)
def stack_gradients(impl, rng, B, T, inputs, widths, places):
    layers, X = draw_layers(rng, inputs, widths), rng.standard_normal((B, T, inputs))
    masks, dZ = draw_masks(rng, places, B, T, inputs, widths), rng.standard_normal((B, T, widths[-1]))
    *_, cache = impl.stacked_forward(layers, X, masks)
    for name, value in layer_gradients(impl.stacked_backward(dZ, cache), len(widths)):
        yield name, observe(value, atol=1e-12)


@probe("stacked_backward", cases=[("up h c",), ("h",), ("c",)])
def gradients_from_a_state(impl, rng, places):
    layers, X = draw_layers(rng, 2, (3, 4)), rng.standard_normal((3, 4, 2))
    masks, state = draw_masks(rng, places, 3, 4, 2, (3, 4)), draw_state(rng, 3, (3, 4))
    dZ = rng.standard_normal((3, 4, 4))
    *_, cache = impl.stacked_forward(layers, X, masks, state)
    yield from layer_gradients(impl.stacked_backward(dZ, cache), 2)


@probe("stacked_backward", cases=[(0, "up h c"), (3, "up h c"), (3, "h"), (3, "c"), (1, "up")])
def loss_at_one_step(impl, rng, step, places):
    layers, X, dZ = draw_layers(rng, 2, (3, 4)), rng.standard_normal((2, 4, 2)), np.zeros((2, 4, 4))
    masks = draw_masks(rng, places, 2, 4, 2, (3, 4))
    dZ[:, step] = rng.standard_normal((2, 4))
    *_, cache = impl.stacked_forward(layers, X, masks)
    for name, value in layer_gradients(impl.stacked_backward(dZ, cache), 2):
        yield name, observe(value, atol=1e-12)


@probe("stacked_backward", cases=[(1e-9,), (1e9,)])
def upstream_of_another_size(impl, rng, size):
    layers, X, dZ = draw_layers(rng, 3, (2, 4)), rng.standard_normal((2, 3, 3)), size * rng.standard_normal((2, 3, 4))
    *_, cache = impl.stacked_forward(layers, X, draw_masks(rng, "up h c", 2, 3, 3, (2, 4)))
    yield from layer_gradients(impl.stacked_backward(dZ, cache), 2)


@probe("stacked_backward")
def two_caches(impl, rng):
    """A cache is read, whatever was called since, and as often as one likes."""
    layers, X, dZ = draw_layers(rng, 3, (3, 3)), rng.standard_normal((2, 2, 4, 3)), rng.standard_normal((2, 2, 4, 3))
    masks = [draw_masks(rng, "up h c", 2, 4, 3, (3, 3)) for _ in range(2)]
    caches = [impl.stacked_forward(layers, X[k], masks[k])[-1] for k in range(2)]
    for which, k in (("first cache", 0), ("second cache", 1), ("first cache once more", 0)):
        for name, value in layer_gradients(impl.stacked_backward(dZ[k], caches[k]), 2, 2):
            yield f"{name} from the {which}", value


@probe("stacked_backward", cases=[(2, 200, 2, (3, 3)), (24, 5, 128, (160, 96))])
def too_large_for_differences(impl, rng, B, T, inputs, widths):
    layers, X = draw_layers(rng, inputs, widths), rng.standard_normal((B, T, inputs))
    if T > 100:
        for q, n in zip(layers, widths, strict=True):
            q["b"][n : 2 * n] += 4.0  # gradients reach far
    dZ = rng.standard_normal((B, T, widths[-1]))
    masks = draw_masks(rng, "up h" if T > 100 else "up h c", B, T, inputs, widths)
    *_, cache = impl.stacked_forward(layers, X, masks)
    yield from layer_gradients(impl.stacked_backward(dZ, cache), len(widths))


@probe("stacked_backward")
def with_own_forward(impl, rng):
    layers, X, dZ = draw_layers(rng, 3, (2, 4)), rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 4, 4))
    masks, along = draw_masks(rng, "up h c", 2, 4, 3, (2, 4)), rng.standard_normal((2, 4, 3))
    *_, cache = impl.stacked_forward(layers, X, masks)
    dX, _ = (value for _, value in named("dX grads", impl.stacked_backward(dZ, cache)))
    yield "dx", few(dX, 8)
    numeric = slope(lambda v: np.sum(impl.stacked_forward(layers, v, masks)[0] * dZ), X, along)
    yield "slope along x", agree(np.sum(dX * along), numeric)


# Perplexity ---------------------------------------------------------------------------------------------------------


@probe("perplexity")
def one_and_two_words(impl, rng):
    logits = [np.zeros((1, 2)), np.array([[np.log(7.0), 0.0]] * 2)]
    yield "perplexity", impl.perplexity(logits, [np.array([0]), np.array([1, 1])])


@probe(
    "perplexity", cases=[((5,), 4), ((3, 7), 5), ((1, 9, 2), 3), ((4, 4, 4), 6), ((1,), 1), ((130, 3), 200), ((6,), 6)]
)
def batches(impl, rng, counts, V):
    logits = [3 * rng.standard_normal((n, V)) for n in counts]
    yield "perplexity", impl.perplexity(logits, [rng.integers(V, size=n) for n in counts])


@probe("perplexity", cases=[(1e4, 0.0), (0.0, 1e4), (0.0, -1e4), (700.0, 800.0)])
def large_logits(impl, rng, size, shift):
    words = [rng.integers(5, size=6), rng.integers(5, size=3)]
    logits = [rng.standard_normal((len(w), 5)) + shift for w in words]
    for scores, w in zip(logits, words, strict=True):
        scores[np.arange(len(w)), w] += size
    yield "perplexity", impl.perplexity(logits, words)


@probe("perplexity", cases=[(60.0,), (120.0,)])
def probabilities_near_zero(impl, rng, size):
    words = [rng.integers(1, 4, size=4), rng.integers(1, 4, size=2)]
    logits = [rng.standard_normal((len(w), 4)) for w in words]
    for scores in logits:
        scores[:, 0] += size
    yield "perplexity", impl.perplexity(logits, words)


@probe("perplexity", cases=[(900.0,), (-2000.0,)])
def rows_on_other_levels(impl, rng, step):
    words = [rng.integers(4, size=5), rng.integers(4, size=3)]
    logits = [rng.standard_normal((len(w), 4)) + step * np.arange(len(w))[:, None] for w in words]
    yield "perplexity", impl.perplexity(logits, words)


@probe("perplexity", cases=[(0, 2000.0), (1, 900.0), (2, 100.0)])
def one_word_costs_much(impl, rng, batch, size):
    """Among many cheap words one whose probability is no number any more: the perplexity is still one."""
    words = [rng.integers(1, 4, size=n) for n in (5, 30, 6)]
    logits = [rng.standard_normal((len(w), 4)) for w in words]
    logits[batch][2, 0] += size
    yield "perplexity", impl.perplexity(logits, words)


@probe("perplexity")
def all_words_are_the_first(impl, rng):
    logits = [rng.standard_normal((4, 3)), rng.standard_normal((2, 3))]
    yield "perplexity", impl.perplexity(logits, [np.zeros(4, dtype=np.int64), np.zeros(2, dtype=np.int64)])


@probe("perplexity")
def certain_of_what_came(impl, rng):
    words = [rng.integers(5, size=6)]
    logits = [30.0 * (np.arange(5) == words[0][:, None]) + rng.standard_normal((6, 5))]
    yield "perplexity", impl.perplexity(logits, words)


@probe("perplexity")
def words_alone_differ(impl, rng):
    logits = [rng.standard_normal((3, 4)), rng.standard_normal((5, 4))]
    words = [[rng.integers(4, size=3), rng.integers(4, size=5)] for _ in range(3)]
    for k in range(3):
        yield f"perplexity {k + 1}", impl.perplexity(logits, words[k])


# Kinds of dropout ---------------------------------------------------------------------------------------------------


def draw_uniform(rng, B, T, widths, top):
    """Draws for a network whose layers have `widths`, the input first; places in another order than usual."""
    sizes = {"c": widths[1:], "up": widths, "h": widths[1:]}
    u = {place: [rng.random((B, T, n)) for n in ns] for place, ns in sizes.items()}
    for draws in u.values():
        for d in draws:
            d[:, 0] *= top
    return u


def all_masks(found, most=10**6):
    """The places of a dict of masks, and its masks by name."""
    if not isinstance(found, dict):
        raise WrongReturn("The masks should come in a dict, one list for each place.")
    yield "places", sorted(found)
    for place, masks in sorted(found.items()):
        if not isinstance(masks, (list, tuple)):
            raise WrongReturn(f"The masks of {place!r} should be a list of arrays.")
        yield f"number of masks {place}", len(masks)
        for k, m in enumerate(masks):
            yield f"{place} {k}", few(m, most)


@probe("make_masks", cases=["paper", "variational", "none"])
def two_steps(impl, rng, kind):
    d = np.array([[[0.9], [0.1]]])
    yield from all_masks(impl.make_masks(kind, {"up": [d, 1 - d], "h": [d], "c": [d]}, 0.5))


@probe(
    "make_masks", cases=[(kind, *sizes) for kind in KINDS for sizes in ((2, 5, (3, 4, 2), 0.3), (3, 3, (3, 3), 0.6))]
)
def kinds(impl, rng, kind, B, T, widths, p):
    yield from all_masks(impl.make_masks(kind, draw_uniform(rng, B, T, widths, 1.0), p), 40)


@probe("make_masks", cases=["variational", "h", "everywhere"])
def one_layer_one_sentence(impl, rng, kind):
    yield from all_masks(impl.make_masks(kind, draw_uniform(rng, 1, 4, (2, 3), 1.0), 0.5))


@probe("make_masks", cases=["variational", "c"])
def one_step_only(impl, rng, kind):
    yield from all_masks(impl.make_masks(kind, draw_uniform(rng, 4, 1, (2, 3, 3), 1.0), 0.4))


@probe("make_masks", cases=["variational", "everywhere", "c"])
def three_layers(impl, rng, kind):
    yield from all_masks(impl.make_masks(kind, draw_uniform(rng, 2, 3, (2, 3, 4, 5), 1.0), 0.45), 40)


@probe("make_masks", cases=[("variational", 0.0), ("everywhere", 0.0), ("paper", 0.95), ("variational", 0.9)])
def rates_at_the_ends(impl, rng, kind, p):
    yield from all_masks(impl.make_masks(kind, draw_uniform(rng, 3, 4, (3, 2, 2), 1.0), p), 40)


@probe("make_masks")
def kinds_one_after_another(impl, rng):
    u = draw_uniform(rng, 3, 4, (5, 5, 5), 1.0)
    for k, kind in enumerate(("variational", "everywhere", "paper", "variational")):
        for name, value in all_masks(impl.make_masks(kind, u, 0.5), 40):
            yield f"{name}, call {k + 1}, {kind}", value


@probe("make_masks", cases=["everywhere", "variational"])
def draws_alone_differ_of_a_kind(impl, rng, kind):
    """Nothing is kept from call to call: the same kind, shapes and p, other draws."""
    us = [draw_uniform(rng, 2, 3, (3, 3), 1.0) for _ in range(2)]
    for k, u in enumerate(us):
        for name, value in all_masks(impl.make_masks(kind, u, 0.5), 40):
            yield f"{name}, call {k + 1}", value


@probe("make_masks")
def draws_all_alike(impl, rng):
    """The same draws in all places: what differs is the kind alone."""
    d = rng.random((2, 4, 3))
    for kind in KINDS:
        for name, value in all_masks(impl.make_masks(kind, {"up": [d] * 3, "h": [d] * 2, "c": [d] * 2}, 0.5), 40):
            yield f"{name}, {kind}", value


# Counts -------------------------------------------------------------------------------------------------------------


def pair(counts):
    """Two numbers, in an array too."""
    return list(counts) if isinstance(counts, np.ndarray) and counts.shape == (2,) else counts


@probe("corruptions")
def two_layers_three_steps(impl, rng):
    for kind in KINDS:
        yield from named(f"n_h_{kind} n_c_{kind}", pair(impl.corruptions(kind, 2, 3)))


@probe("corruptions", cases=KINDS)
def layers_and_steps(impl, rng, kind):
    many = int(rng.integers(5, 60)), int(rng.integers(5, 3000))
    for layers in (1, 2, 4):
        for steps in (0, 1, 2, 7):
            found = named("n_h n_c", pair(impl.corruptions(kind, layers, steps)))
            yield f"n_h and n_c for L = {layers}, s = {steps}", [n for _, n in found]
    yield (
        "n_h and n_c for many layers, s = 2",
        [n for _, n in named("n_h n_c", pair(impl.corruptions(kind, many[0], 2)))],
    )
    yield (
        "n_h and n_c for L = 2, many steps",
        [n for _, n in named("n_h n_c", pair(impl.corruptions(kind, 2, many[1])))],
    )


# The recipe ---------------------------------------------------------------------------------------------------------


def draw_parameters(rng, size=1.0):
    """Parameters of several shapes, and gradients under the same names in another order."""
    sizes = {"E": (3, 2), "b": (2,), "s": (), "W": (1, 2, 2)}
    p = {name: np.array(rng.standard_normal(n)) for name, n in sizes.items()}
    return p, {name: size * np.array(rng.standard_normal(sizes[name])) for name in sorted(sizes)}


def updated(found):
    """The new parameters and the norm."""
    new, norm = (value for _, value in named("parameters norm", found))
    if not isinstance(new, dict):
        raise WrongReturn("The new parameters should come in a dict, under the names of the old ones.")
    yield "names", sorted(new)
    yield from ((f"new {name}", new[name]) for name in sorted(new))
    yield "norm", norm


@probe("sgd_update", cases=[(3,), (2,), (1,)])
def three_and_four(impl, rng, epoch):
    p, grads = {"v": np.array([1.0]), "w": np.array([1.0])}, {"w": np.array([4.0]), "v": np.array([3.0])}
    yield from updated(impl.sgd_update(p, grads, epoch, 1.0, 2, 2.0, 1.0))


@probe("sgd_update", cases=[(1,), (5,), (6,), (7,), (8,), (20,), (39,)])
def defaults(impl, rng, epoch):
    yield from updated(impl.sgd_update(*draw_parameters(rng), epoch))


@probe("sgd_update", cases=[(0.5,), (20.0,), (1e6,), (1e-9,)])
def gradients_of_all_sizes(impl, rng, size):
    p, grads = draw_parameters(rng, size)
    new = impl.sgd_update(p, grads, 3, rate=1.0 / size, limit=4.0 * size)
    yield from updated(new)
    yield from ((f"once more, {name}", v) for name, v in updated(impl.sgd_update(p, grads, 3, limit=0.3 * size)))


@probe("sgd_update", cases=[(1, 0), (4, 0), (9, 4), (4, 4), (5, 4), (2, 14)])
def schedules(impl, rng, epoch, hold):
    p, grads = draw_parameters(rng)
    yield from updated(impl.sgd_update(p, grads, epoch, rate=0.7, hold=hold, factor=1.9, limit=100.0))


@probe("sgd_update", cases=[(0.4,), (1.15,), (3.0,)])
def clipped_late(impl, rng, factor):
    p, grads = draw_parameters(rng, 30.0)
    yield from updated(impl.sgd_update(p, grads, 9, rate=2.0, hold=6, factor=factor, limit=2.0))


@probe("sgd_update", cases=[(0.0,), (1.0,)])
def some_gradients_are_zero(impl, rng, size):
    p, grads = draw_parameters(rng, size)
    grads["E"][:] = 0.0
    found = impl.sgd_update(p, grads, 2)
    yield from updated(found)
    yield "new arrays that are the old ones", [n for n in sorted(p) if np.shares_memory(found[0].get(n), p[n])]


@probe("sgd_update", cases=[(2, 6.0), (8, 6.0), (8, 0.5)])
def rates_other_than_one(impl, rng, epoch, limit):
    """Clipped or not, the norm is that of the gradient, and the rate is applied."""
    p, grads = draw_parameters(rng, 2.0)
    yield from updated(impl.sgd_update(p, grads, epoch, rate=0.05, limit=limit))
    yield from ((f"{n}, at a rate of 40", v) for n, v in updated(impl.sgd_update(p, grads, epoch, 40.0, limit=limit)))


@probe("sgd_update")
def two_epochs_at_once(impl, rng):
    """Nothing is kept from call to call: an epoch has many updates, and may come again."""
    p, grads = draw_parameters(rng)
    for k, epoch in enumerate((8, 8, 9, 3)):
        new, _ = (value for _, value in named("parameters norm", impl.sgd_update(p, grads, epoch)))
        yield f"new W of call {k + 1}, epoch {epoch}", new["W"]


@probe("sgd_update", cases=[(4.999,), (5.0,), (5.001,)])
def norms_about_the_limit(impl, rng, norm):
    p = {"a": rng.standard_normal(3), "b": rng.standard_normal((1, 1))}
    grads = {"a": norm * np.array([0.0, 0.6, 0.0]), "b": norm * np.array([[-0.8]])}
    yield from updated(impl.sgd_update(p, grads, 1))


@probe("sgd_update")
def one_large_among_small(impl, rng):
    p, grads = draw_parameters(rng, 0.01)
    grads["b"] = 50 * rng.standard_normal(2)
    yield from updated(impl.sgd_update(p, grads, 1))


@probe("sgd_update")
def epochs_alone_differ(impl, rng):
    p, grads = draw_parameters(rng, 3.0)
    for k, epoch in enumerate((7, 1, 12, 7)):
        new, _ = (value for _, value in named("parameters norm", impl.sgd_update(p, grads, epoch)))
        yield f"new E of call {k + 1}, epoch {epoch}", new["E"]


# torch --------------------------------------------------------------------------------------------------------------


def one_mask_for_all_steps(got, expected, x, p, share):
    """Judge outputs of a locked dropout: y = m x, m the same in all steps, 0 or 1 / (1 - p), about p of them 0."""
    got = np.asarray(got)
    if got.shape == x.shape and not np.all(np.isfinite(got)):
        return "some outputs are no finite numbers, though all of x are."
    if got.shape != x.shape:
        return f"the output has shape {got.shape}; it should have that of x, {x.shape}."
    ratio = got / x
    off = np.abs(ratio - ratio[:, :1]).max()
    if off > 1e-4 / (1 - p):
        per_step = np.mean(ratio[:, 1:] == ratio[:, :-1]) if x.shape[1] > 1 else 1
        return f"the mask changes from step to step (equal to the step before in {per_step:.0%} of the places)."
    m = ratio[:, 0]
    kept = m[np.abs(m) > 1e-12]
    if len(kept) and np.abs(kept * (1 - p) - 1).max() > 1e-4:
        return f"what stays is multiplied by {np.median(kept):.4g}; it should be 1 / (1 - p)."
    gone, dropped = np.abs(m) <= 1e-12, 1 - len(kept) / m.size
    chance = (p**2 + (1 - p) ** 2) ** m.shape[1]  # that two sentences lose the same units
    if 0 < dropped < 1 and len(m) > 1 and np.all(gone == gone[:1]):
        return "all sentences of the batch have one mask: each needs draws of its own."
    if 0 < dropped < 1 and m.shape[1] > 1 and np.all(gone == gone[:, :1]):
        return "a sentence loses all of its units or none: each unit needs a draw of its own."
    if len(m) > 1 and chance < 1e-6 and len(np.unique(gone, axis=0)) < len(m):
        return "some sentences of the batch lose the same units: each sentence needs draws of its own."
    if abs(dropped - p) > share:
        return f"{dropped:.0%} of the units are dropped; the probability to drop, p, is {p}."
    if len(m) > 9 and m.shape[1] > 1 and np.ptp(gone.sum(axis=1)) == 0:
        return f"every sentence loses exactly {gone[0].sum()} of its {m.shape[1]} units: each is dropped on its own."
    return None


def each_on_its_own(got, expected, p):
    """Judge the outputs (calls, B, D) of many calls, for x of ones: every draw is its own, with probability p."""
    gone = np.asarray(got) == 0
    flat = gone.reshape(len(gone), -1)
    if abs(gone.mean() - p) > 6 * np.sqrt(p * (1 - p) / gone.size):
        return f"{gone.mean():.0%} of the units are dropped over many calls; the probability to drop, p, is {p}."
    if np.ptp(flat.sum(axis=1)) == 0:
        return f"every call drops exactly {flat[0].sum()} units: each is dropped on its own, with probability p."
    if np.any(flat.all(axis=0) | ~flat.any(axis=0)):
        return "some units are dropped in all calls, or in none: each call draws anew, for all units."
    together = np.corrcoef(flat.T) - np.eye(flat.shape[1])
    if np.abs(together).max() > 7 / np.sqrt(len(flat)):
        return "some units are dropped together, or instead of each other: each has a draw of its own."
    return None


def near_the_rate(got, expected, p):
    """Judge a pair: how many of how many units were dropped."""
    dropped, of = got
    if abs(dropped / of - p) > 6 * np.sqrt(p * (1 - p) / of):
        return f"{dropped / of:.2%} of the units are dropped; the probability to drop, p, is {p:.2%}."
    return None


def drawn_again(got, expected):
    """Judge the outputs of three calls: two from the same state of torch's generator, and one more."""
    first, again, later = (np.asarray(v) for v in got)
    if not np.array_equal(first, again):
        return "with torch's global generator in the same state, two calls have different masks: draw from it."
    if np.array_equal(again, later):
        return "two calls in training mode have the same mask: it is drawn anew in each call."
    return None


def drawn_anew(got, expected):
    """Judge the outputs of two calls: they must differ."""
    first, second = (np.asarray(v) for v in got)
    if np.array_equal(first, second):
        return "two calls in training mode have the same mask: it is drawn anew in each call."
    return None


def gradient_has_the_mask(got, expected, x, dy):
    """Judge the pair of an output and the gradient of x: both have the same mask."""
    y, dx = (np.asarray(v) for v in got)
    if np.abs(dx - y / x * dy).max() > 1e-4 * np.abs(dy).max():
        return "the gradient of x isn't the upstream times the mask of the output."
    return None


@probe(
    "VariationalDropout",
    cases=[(1, 4, 150, 0.5), (12, 3, 40, 0.3), (20, 1, 30, 0.4), (15, 3, 20, 0.8), (120, 2, 3, 0.35), (40, 2, 2, 0.2)],
)
def locked(impl, rng, B, T, D, p):
    import torch

    x = rng.choice([-2.0, -1.0, 0.5, 1.0, 4.0], size=(B, T, D))
    y = impl.VariationalDropout(p).train()(torch.from_numpy(x))
    given = {"x": x, "p": p, "share": 6 * np.sqrt(p * (1 - p) / (B * D))}
    yield "y", observe(y.detach().numpy(), judge=one_mask_for_all_steps, given=given)
    yield "dtype of y", str(y.dtype)


@probe("VariationalDropout", cases=[(0.001,), (0.03,), (0.97,), (0.999,)])
def rates_near_the_ends(impl, rng, p):
    import torch

    x = float(rng.uniform(1, 2)) * torch.ones(200, 1, 100, dtype=torch.float64)
    y = impl.VariationalDropout(p).train()(x)
    yield "largest value of y", observe(y.max(), rtol=1e-4)
    yield "dropped, of how many", observe([int((y == 0).sum()), y.numel()], judge=near_the_rate, given={"p": p})


@probe("VariationalDropout", cases=[(4, 3, 0.5), (2, 6, 0.3)])
def many_calls(impl, rng, B, D, p):
    import torch

    drop, x = impl.VariationalDropout(p).train(), torch.ones(B, 2, D, dtype=torch.float32)
    with torch.no_grad():  # which is no mode of a module
        masks = np.array([drop(x)[:, 0].numpy() for _ in range(150 + int(rng.integers(9)))])
    yield "y in many calls", observe(masks, judge=each_on_its_own, given={"p": p})


@probe("VariationalDropout")
def from_torchs_generator(impl, rng):
    import torch

    seed, x, found = int(rng.integers(2**31)), torch.ones(3, 2, 20, dtype=torch.float64), []
    drop = impl.VariationalDropout(0.5).train()
    for again in (True, True, False):
        if again:
            torch.manual_seed(seed)
        found.append(drop(x)[:, 0].numpy())
    yield "y of three calls, the second with the generator set back", observe(found, judge=drawn_again)


@probe("VariationalDropout", cases=["float32", "float64", "float16"])
def dtypes(impl, rng, kind):
    import torch

    x = torch.tensor(rng.choice([0.5, 1.0, 2.0], size=(6, 3, 20)), dtype=getattr(torch, kind))
    for training in (True, False):
        y = impl.VariationalDropout(0.5).train(training)(x)
        yield f"dtype of y, training {training}", str(y.dtype)
        if training:
            given = {"x": x.numpy(), "p": 0.5, "share": 0.4}
            yield "y", observe(y.numpy(), judge=one_mask_for_all_steps, given=given)


@probe("VariationalDropout", cases=[(0.5, False), (0.0, True), (0.0, False), (0.9, False)])
def nothing_is_dropped(impl, rng, p, training):
    import torch

    x, dy = torch.tensor(rng.standard_normal((3, 4, 5)), requires_grad=True), rng.standard_normal((3, 4, 5))
    y = impl.VariationalDropout(p).train(training)(x)
    yield "y", y
    (y * torch.from_numpy(dy)).sum().backward()
    yield "gradient of x", x.grad


@probe("VariationalDropout")
def modes_one_after_another(impl, rng):
    import torch

    x, drop = torch.tensor(rng.choice([1.0, 2.0, 3.0], size=(4, 3, 30))), impl.VariationalDropout(0.5)
    first = drop.train()(x)
    yield "y in evaluation mode", few(drop.eval()(x), 40)
    again = drop.train()(x)
    given = {"x": x.numpy(), "p": 0.5, "share": 0.3}
    yield "y in training mode again", observe(again.numpy(), judge=one_mask_for_all_steps, given=given)
    yield "two calls", observe([first.numpy(), again.numpy()], judge=drawn_anew)


@probe("VariationalDropout")
def other_shapes_later(impl, rng):
    import torch

    inputs = [rng.choice([1.0, 2.0], size=size) for size in ((5, 3, 24), (6, 4, 25), (5, 3, 24))]
    drop = impl.VariationalDropout(0.4).train()
    for k, x in enumerate(inputs):
        y = drop(torch.from_numpy(x)).numpy()
        given = {"x": x, "p": 0.4, "share": 0.28}
        yield f"y of call {k + 1}, {x.shape}", observe(y, judge=one_mask_for_all_steps, given=given)


@probe("VariationalDropout")
def nothing_in_the_first_step(impl, rng):
    import torch

    x = rng.choice([1.0, 2.0], size=(6, 3, 24))
    x[:, 0] = 0.0
    y = impl.VariationalDropout(0.4).train()(torch.from_numpy(x)).numpy()[:, 1:]
    given = {"x": x[:, 1:], "p": 0.4, "share": 0.28}
    yield "y of the other steps", observe(y, judge=one_mask_for_all_steps, given=given)


@probe("VariationalDropout", cases=[(0.3,), (0.7,)])
def mask_of_the_gradient(impl, rng, p):
    import torch

    x, dy = rng.choice([0.5, 1.0, 2.0], size=(5, 4, 12)), rng.choice([-3.0, -1.0, 1.0, 2.0], size=(5, 4, 12))
    leaf = torch.tensor(x, requires_grad=True)
    y = impl.VariationalDropout(p).train()(leaf)
    y.backward(torch.from_numpy(dy))
    given = {"x": x, "dy": dy}
    yield (
        "y and the gradient",
        observe([y.detach().numpy(), leaf.grad.numpy()], judge=gradient_has_the_mask, given=given),
    )


@probe("VariationalDropout")
def nothing_is_kept(impl, rng):
    import torch

    drop = impl.VariationalDropout(0.5)
    drop.train()(torch.ones(2, 3, 4))
    yield "parameters", [name for name, _ in drop.named_parameters()]
    yield "buffers of more than one number", [name for name, v in drop.named_buffers() if v.numel() > 1]


def scaling():
    """A `drop` that multiplies by other numbers in each call, and remembers the shapes that it was given."""
    import torch

    class Scaling(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, x):
            self.seen.append(list(x.shape))
            k = torch.arange(x.numel(), dtype=x.dtype).reshape(x.shape)
            return x * (1.5 + torch.cos(0.7 * k + 2.0 * len(self.seen)))

    return Scaling()


def steady():
    """A `drop` that does the same in every call: it is called as often as anybody likes."""
    import torch

    class Steady(torch.nn.Module):
        def forward(self, x):
            return x * (1.2 + torch.sin(torch.arange(x.shape[-1], dtype=x.dtype)))

    return Steady()


def model_of(impl, seed, vocab, hidden, layers, drop):
    return fill(impl.ZarembaLSTM(vocab, hidden, layers, drop).double(), int(seed))


MODELS = [(2, 5, 7, 4, 2), (2, 3, 5, 3, 1), (1, 4, 4, 4, 3), (4, 1, 6, 2, 2), (1, 1, 3, 1, 1), (1, 2, 9, 2, 4)]


@probe("ZarembaLSTM")
def only_the_bias(impl, rng):
    import torch

    model = impl.ZarembaLSTM(4, 3, 2, steady()).double()
    with torch.no_grad():
        for name, w in model.named_parameters():
            w.copy_(torch.tensor([1.0, -2.0, 3.0, 0.5]) if name == "readout.bias" else torch.zeros_like(w))
    logits, state = model(torch.tensor([[0, 3]]))
    yield "logits", logits
    for name, value in states(state):
        yield name, observe(value, atol=1e-12)


@probe("ZarembaLSTM", cases=MODELS)
def models(impl, rng, B, T, vocab, hidden, layers):
    import torch

    drop, seed, words = scaling(), rng.integers(2**32), torch.from_numpy(rng.integers(vocab, size=(B, T)))
    model = model_of(impl, seed, vocab, hidden, layers, drop)
    logits, state = model(words)
    yield "logits", few(logits, 8)
    yield from ((name, few(v, 2)) for name, v in states(state))
    yield (
        "shapes of the logits and of the state",
        shapes_of([v.detach() for v in (logits, *sum(map(tuple, state), ()))]),
    )
    yield "shapes that drop was given", drop.seen
    yield "parameters", shapes(model)


@probe("ZarembaLSTM", cases=MODELS[:3])
def model_gradients(impl, rng, B, T, vocab, hidden, layers):
    import torch

    seed, words = rng.integers(2**32), torch.from_numpy(rng.integers(vocab, size=(B, T)))
    up, model = rng.standard_normal((B, T, vocab)), model_of(impl, seed, vocab, hidden, layers, steady())
    (model(words)[0] * torch.from_numpy(up)).sum().backward()
    yield "parameters", sorted(name for name, _ in model.named_parameters())
    for name, w in sorted(model.named_parameters()):
        yield f"gradient of {name}", None if w.grad is None else few(w.grad, 4)


@probe("ZarembaLSTM", cases=[(2, 3, 5, 3, 2), (3, 2, 4, 2, 3), (1, 4, 6, 3, 1)])
def piece_after_piece(impl, rng, B, T, vocab, hidden, layers):
    import torch

    seed, words = rng.integers(2**32), torch.from_numpy(rng.integers(vocab, size=(2, B, T)))
    model, state = model_of(impl, seed, vocab, hidden, layers, steady()), None
    for k in range(2):
        logits, state = model(words[k], state)
        yield f"logits of piece {k + 1}", few(logits, 6)
    yield from ((name, few(v, 2)) for name, v in states(state))
    logits.sum().backward()
    yield "gradient of the embedding, of the second piece alone", few(model.embed.weight.grad, 6)
    yield "the state asks for gradients", [v.requires_grad for pair in state for v in pair]


@probe("ZarembaLSTM")
def a_state_that_is_given(impl, rng):
    import torch

    given = [tuple(torch.tensor(rng.standard_normal((1, 2, 3))) for _ in range(2)) for _ in range(2)]
    seed, words = rng.integers(2**32), torch.from_numpy(rng.integers(5, size=(2, 4)))
    model = model_of(impl, seed, 5, 3, 2, steady())
    yield "logits", few(model(words, given)[0], 6)
    yield "logits without", few(model(words)[0], 6)
    yield "logits with the state again", few(model(words, given)[0], 6)


@probe("ZarembaLSTM", cases=[(True,), (False,)])
def whatever_the_mode(impl, rng, training):
    """`drop` has a mode of its own, here the other one."""
    import torch

    seed, words = rng.integers(2**32), torch.from_numpy(rng.integers(5, size=(2, 3)))
    model = model_of(impl, seed, 5, 4, 2, steady()).train(training)
    model.drop.train(not training)
    logits = model(words)[0]
    yield "logits", few(logits, 6)
    yield "the logits ask for gradients", logits.requires_grad
    yield "mode of drop", model.drop.training
    yield "other modes", [m.training for name, m in model.named_modules() if name != "drop"]


@probe("ZarembaLSTM", cases=[(True,), (False,)])
def torchs_own_dropout(impl, rng, training):
    import torch

    p, seed, words = 0.0 if training else 0.6, rng.integers(2**32), torch.from_numpy(rng.integers(60, size=(2, 5)))
    model = model_of(impl, seed, 60, 24, 2, torch.nn.Dropout(p)).train(training)
    yield "logits", few(model(words)[0], 8)


def as_torch_begins(got, expected):
    """Judge mean and spread of each parameter as it was made, by those of torch's own."""
    for name, (mean, spread) in expected.items():
        if name not in got or abs(got[name][0] - mean) > 0.7 * spread or not 0.6 < got[name][1] / spread < 1.6:
            return f"{name} doesn't begin as torch makes it: nothing is initialised here, nor changed afterwards."
    return None


@probe("ZarembaLSTM")
def the_beginning(impl, rng):
    import torch

    torch.manual_seed(int(rng.integers(2**31)))
    model = impl.ZarembaLSTM(60, 24, 2, steady())
    parameters = {n: w.double() for n, w in model.named_parameters()}
    begins = {n: [round(w.mean().item(), 4), round(w.std().item(), 4)] for n, w in parameters.items()}
    yield "mean and spread of each parameter", observe(begins, judge=as_torch_begins)


@probe("ZarembaLSTM")
def a_drop_of_its_own(impl, rng):
    """`drop` is the module that was given, whatever it is, and it is put to use as it is now."""
    import torch

    seed, words = rng.integers(2**32), torch.from_numpy(rng.integers(5, size=(2, 3)))
    drop = scaling()
    model = model_of(impl, seed, 5, 3, 2, drop)
    for k in range(2):
        with torch.set_grad_enabled(k == 0):
            yield f"logits of call {k + 1}", few(model(words)[0], 6)
    yield "calls of the module that was given", len(drop.seen)
    model.drop = steady()
    yield "logits with another one in its place", few(model(words)[0], 6)


@probe("ZarembaLSTM")
def in_single_precision(impl, rng):
    import torch

    seed, words = int(rng.integers(2**32)), torch.from_numpy(rng.integers(5, size=(2, 3)))
    torch.manual_seed(seed)  # for what `fill` doesn't find
    model = fill(impl.ZarembaLSTM(5, 4, 2, steady()), seed)
    logits, state = model(words)
    yield "logits", observe(few(logits, 8), rtol=1e-4)
    yield "parameters", shapes(model)
    yield "dtypes", [str(logits.dtype), *(str(v.dtype) for pair in state for v in pair)]
