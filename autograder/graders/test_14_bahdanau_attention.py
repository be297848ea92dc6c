"""Probes of 14: annotations, attention and a decoder step with their gradients, the whole loss, torch, a beam.

Beside sizes of which no two agree, most exercises get some that all agree: code that looks at shapes to find out what
an axis means goes wrong there. Padding holds large numbers, and sentences are in no order of length.
"""

import numpy as np

from autograder.engine.probes import WrongReturn, agree, fill, named, observe, probe, shapes, slope

HALF = np.log(3.0) / 2  # its tanh is 1/2
ATTENTION, READOUT = ("W_a", "U_a", "v_a"), ("W_out", "b_out", "W_vocab", "b_vocab")
GRU = ("Wx", "Wh", "bx", "bh")
ENCODER = tuple(f"{part}_{name}" for name in ("fwd", "bwd") for part in GRU)
DECODER = (*ATTENTION, *(f"{part}_dec" for part in GRU), *READOUT)


def draw_gru(rng, name, inputs, hidden):
    """A GRU whose weights keep the size of what they multiply."""
    sizes = {"Wx": (inputs, 3 * hidden), "Wh": (hidden, 3 * hidden), "bx": (3 * hidden,), "bh": (3 * hidden,)}
    return {
        f"{part}_{name}": rng.standard_normal(size) / (np.sqrt(size[0]) if len(size) > 1 else 1.0)
        for part, size in sizes.items()
    }


def draw_encoder(rng, E, H):
    """Both readers, the one from the right first, and a GRU of other sizes between them, as a dict may be."""
    p = draw_gru(rng, "dec", 2 * E + 1, H + 2) | draw_gru(rng, "bwd", E, H) | draw_gru(rng, "fwd", E, H)
    return {name: p[name] for name in sorted(p)}


def draw_attention(rng, H, D, A):
    p = {"more": np.zeros(1), "v_a": rng.standard_normal(A)}
    return p | {"U_a": rng.standard_normal((D, A)) / np.sqrt(D), "W_a": rng.standard_normal((H, A)) / np.sqrt(H)}


def draw_decoder(rng, E, H, D, A, M, V):
    p = draw_attention(rng, H, D, A) | draw_gru(rng, "dec", E + D, H)
    p |= {"W_out": rng.standard_normal((H + E + D, 2 * M)) / np.sqrt(H), "b_out": rng.standard_normal(2 * M)}
    return p | {"W_vocab": rng.standard_normal((M, V)), "b_vocab": rng.standard_normal(V)}


def draw_whole(rng, Vs, Vt, E, H):
    """All parameters under the names and in the shapes of make_params."""
    p = {"E_src": rng.standard_normal((Vs, E)), "E_tgt": rng.standard_normal((Vt, E))}
    p |= draw_gru(rng, "fwd", E, H) | draw_gru(rng, "bwd", E, H) | draw_decoder(rng, E, H, 2 * H, H, H, Vt)
    p |= {"W_init": rng.standard_normal((H, H)) / np.sqrt(H), "b_init": rng.standard_normal(H)}
    return {name: p[name] for name in p if name != "more"}


def draw_lengths(rng, B, S):
    """Lengths in no order, of which one is short where there is room."""
    lengths = rng.integers(1, S + 1, size=B)
    lengths[0] = (S + 1) // 2
    return lengths


def draw_mask(rng, B, S):
    """True in about two of three places, anywhere, and at least once in a row."""
    mask = rng.random((B, S)) < 0.6
    mask[:, S // 2] |= ~mask.any(axis=1)
    return mask


def draw_sentences(rng, B, S, T, Vs, Vt):
    """Sources with words even at padding, their lengths, and targets that end with EOS (2) before the padding (0)."""
    lengths, sizes = draw_lengths(rng, B, S), rng.integers(1, T + 1, size=B)
    sizes[0], sizes[-1] = T, (T + 1) // 2
    src, tgt, at = rng.integers(3, Vs, size=(B, S)), rng.integers(3, Vt, size=(B, T)), np.arange(T)
    src[1::2] *= np.arange(S) < lengths[1::2, None]
    return src, lengths, np.where(at < sizes[:, None] - 1, tgt, np.where(at == sizes[:, None] - 1, 2, 0))


def few(value, most=4):
    """Some numbers of an array or tensor, from all over it, so that keys stay small."""
    if not hasattr(value, "reshape") or len(flat := value.reshape(-1)) <= most:
        return value
    return flat[:: -(-len(flat) // most) | 1]


def gradients(names, grads, part=lambda value: value):
    """What a dict of gradients holds under each of `names`, and which of them it has; it may hold more."""
    if not isinstance(grads, dict):
        raise WrongReturn("The gradients of the parameters should come in a dict, each under its name.")
    yield "names of the gradients", [name for name in names if name in grads]
    for name in names:
        if name in grads:
            yield f"d{name}", part(grads[name])


def with_dict(names, parameters, values, part=lambda value: value):
    """Gradients of the inputs, then those in the dict that comes last."""
    for name, value in named(f"{names} grads", values):
        if name == "grads":
            yield from gradients(parameters, value, part)
        else:
            yield name, part(value) if np.ndim(value) else value


# The encoder --------------------------------------------------------------------------------------------------------


def half_encoder():
    """One unit, one input, all 0 but the candidates, which are 1/2."""
    p = {f"{part}_{name}": np.zeros((1, 3)) for name in ("fwd", "bwd") for part in ("Wx", "Wh")}
    return p | {f"{b}_{name}": np.array([0, 0, HALF * (b == "bx")]) for name in ("fwd", "bwd") for b in ("bx", "bh")}


@probe("bigru_encode")
def two_words_in_three_places(impl, rng):
    h, _ = impl.bigru_encode(half_encoder(), np.array([[[7.0], [-4.0], [100.0]]]), np.array([2]))
    yield "h", h


@probe("bigru_encode", cases=[(1, 1, 1, 1), (4, 6, 2, 3), (2, 5, 4, 2), (3, 3, 3, 3), (6, 2, 3, 4), (1, 4, 2, 3)])
def annotations(impl, rng, B, S, E, H):
    p, x, lengths = draw_encoder(rng, E, H), rng.standard_normal((B, S, E)), draw_lengths(rng, B, S)
    x[np.arange(S) >= lengths[:, None]] *= 50.0
    h, _ = impl.bigru_encode(p, x, lengths)
    yield "h", h if B < 3 else few(h, 16)


@probe("bigru_encode", cases=[(3, 5, 2, 3)])
def without_padding(impl, rng, B, S, E, H):
    p, x = draw_encoder(rng, E, H), rng.standard_normal((B, S, E))
    h, _ = impl.bigru_encode(p, x, np.full(B, S))
    yield "h", h


@probe("bigru_encode", cases=[(3, 7, 2, 3)])
def padding_behind_all(impl, rng, B, S, E, H):
    p, x, lengths = draw_encoder(rng, E, H), rng.standard_normal((B, S, E)), np.array([4, 1, 3])
    h, _ = impl.bigru_encode(p, x, lengths)
    yield "h", few(h, 16)


@probe("bigru_encode", cases=[(2, 40, 3, 4)])
def long_sentences_with_zero_vectors(impl, rng, B, S, E, H):
    p, x = draw_encoder(rng, E, H), rng.standard_normal((B, S, E))
    x[:, ::3] = 0.0  # a vector of zeros is a word, too
    for name in ("fwd", "bwd"):
        p[f"bx_{name}"][H : 2 * H] += 2.0  # what was read long ago still shows
    h, _ = impl.bigru_encode(p, x, np.array([31, 40]))
    yield "h", few(h, 20)


@probe("bigru_encode", cases=[(2, 4, 2, 3)])
def lengths_alone_differ(impl, rng, B, S, E, H):
    p, x = draw_encoder(rng, E, H), rng.standard_normal((B, S, E))
    for lengths in ([4, 2], [2, 4], [1, 1]):
        yield f"h for lengths {lengths}", few(impl.bigru_encode(p, x, np.array(lengths))[0], 16)


@probe("bigru_encode", cases=[(3, 4, 2, 3)])
def first_annotation_from_the_right(impl, rng, B, S, E, H):
    p, x, lengths = draw_encoder(rng, E, H), rng.standard_normal((B, S, E)), draw_lengths(rng, B, S)
    x[np.arange(S) >= lengths[:, None]] = 1e3
    h, _ = impl.bigru_encode(p, x, lengths)
    yield "backward half at the first word", h[:, 0, H:]
    yield "forward half at the first word", h[:, 0, :H]


# Attention ----------------------------------------------------------------------------------------------------------

ONE_NUMBER = {"W_a": np.zeros((1, 1)), "U_a": np.ones((1, 1)), "v_a": np.array([4 * HALF])}
TWO_AND_PADDING = np.array([[[HALF], [0.0], [5.0]]]), np.array([[True, True, False]])


@probe("additive_attention")
def three_to_one(impl, rng):
    h, mask = TWO_AND_PADDING
    yield from named("c alpha", impl.additive_attention(ONE_NUMBER, np.array([[9.0]]), h, mask)[:2])


@probe(
    "additive_attention",
    cases=[(1, 1, 1, 1, 1), (3, 5, 2, 4, 6), (2, 4, 5, 3, 2), (3, 3, 3, 3, 3), (5, 2, 4, 4, 4), (3, 1, 2, 4, 5)],
)
def contexts(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), 2 * rng.standard_normal((B, H)), rng.standard_normal((B, S, D))
    found = impl.additive_attention(p, s, h, np.ones((B, S), dtype=bool))
    yield from named("c alpha", found[:2])


def padding_has_nothing(got, expected, mask):
    """Judge weights: those of padding are exactly 0."""
    if got.shape == expected.shape and np.any(hidden := np.abs(np.where(mask, 0.0, got))):
        return f"a weight at padding is {hidden.max():.3g}. It is exactly 0, however small the others are."
    return None


@probe("additive_attention", cases=[(4, 6, 2, 3, 5), (3, 3, 3, 3, 3)])
def masked(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), 2 * rng.standard_normal((B, H)), rng.standard_normal((B, S, D))
    mask = draw_mask(rng, B, S)
    mask[0] = np.arange(S) == S - 1  # one word, the last place
    h[~mask] *= 40.0
    c, alpha = (value for _, value in named("c alpha", impl.additive_attention(p, s, h, mask)[:2]))
    yield from named("c alpha", (c, alpha))
    yield "alpha at padding", observe(alpha, judge=padding_has_nothing, given={"mask": mask})


@probe("additive_attention", cases=[(1e4,), (-1e4,), (3e2,)])
def large_scores(impl, rng, size):
    p, s, h = draw_attention(rng, 2, 3, 4), rng.standard_normal((3, 2)), rng.standard_normal((3, 5, 3))
    p["v_a"] = size * (1 + rng.random(4))  # all scores of one sign where h is large
    h[0] = 3 + 0.01 * h[0]
    p["U_a"] = np.abs(p["U_a"])
    mask = np.ones((3, 5), dtype=bool)
    mask[:, 2] = False
    h[:, 2] = np.sign(size) * 30.0  # the largest score of all is a padding's; in h[0] every word's may be below -1e4
    yield from named("c alpha", impl.additive_attention(p, s, h, mask)[:2])


@probe("additive_attention", cases=[(3, 4, 2, 3, 5)])
def large_states(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), 1e3 * rng.standard_normal((B, H)), rng.standard_normal((B, S, D))
    s[0] = 0.0
    yield from named("c alpha", impl.additive_attention(p, s, h, draw_mask(rng, B, S))[:2])


@probe("additive_attention", cases=[(3, 8, 2, 3, 5)])
def some_weights_are_tiny(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), rng.standard_normal((B, H)), rng.standard_normal((B, S, D))
    p["v_a"] *= 8.0  # weights of all sizes
    for name, value in named("c alpha", impl.additive_attention(p, s, h, np.ones((B, S), dtype=bool))[:2]):
        yield name, value if name == "alpha" else few(value)


@probe("additive_attention", cases=[(2, 4, 2, 3, 5)])
def words_whose_score_is_zero(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), np.zeros((B, H)), rng.standard_normal((B, S, D))
    h[:, 1] = 0.0  # tanh(0) = 0: a score like any other
    mask = np.arange(S) < np.array([[4], [2]])
    yield from named("c alpha", impl.additive_attention(p, s, h, mask)[:2])


@probe("additive_attention", cases=[(2, 4, 2, 3, 5)])
def masks_alone_differ(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), rng.standard_normal((B, H)), rng.standard_normal((B, S, D))
    for mask in (np.ones((B, S), dtype=bool), draw_mask(rng, B, S), np.tile(np.arange(S) > 0, (B, 1))):
        c, alpha, _ = (value for _, value in named("c alpha cache", impl.additive_attention(p, s, h, mask)))
        yield from named("c alpha", (few(c), few(alpha)))


@probe("additive_attention_backward")
def three_to_one_backward(impl, rng):
    h, mask = TWO_AND_PADDING
    *_, cache = impl.additive_attention(ONE_NUMBER, np.array([[9.0]]), h, mask)
    yield from with_dict("ds dh", ATTENTION, impl.additive_attention_backward(np.ones((1, 1)), cache))


@probe(
    "additive_attention_backward",
    cases=[
        (1, 1, 1, 1, 1),
        (1, 4, 2, 3, 2),
        (3, 5, 2, 4, 6),
        (2, 4, 5, 3, 2),
        (3, 3, 3, 3, 3),
        (3, 1, 2, 4, 5),
        (2, 5, 4, 4, 4),
    ],
)
def attention_gradients(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), rng.standard_normal((B, H)), rng.standard_normal((B, S, D))
    dc = rng.standard_normal((B, D))
    *_, cache = impl.additive_attention(p, s, h, np.ones((B, S), dtype=bool))
    part = (lambda value: few(value, 12)) if B == 3 and S in (1, 5) else few
    for name, value in with_dict("ds dh", ATTENTION, impl.additive_attention_backward(dc, cache), part):
        yield name, observe(value, atol=1e-12) if S == 1 and isinstance(value, np.ndarray) else value


@probe("additive_attention_backward", cases=[(4, 6, 2, 3, 5), (3, 3, 3, 3, 3)])
def masked_gradients(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), rng.standard_normal((B, H)), rng.standard_normal((B, S, D))
    mask, dc = draw_mask(rng, B, S), rng.standard_normal((B, D))
    mask[0] = np.arange(S) == S - 1
    h[~mask] *= 40.0
    *_, cache = impl.additive_attention(p, s, h, mask)
    yield from with_dict("ds dh", ATTENTION, impl.additive_attention_backward(dc, cache), few)


@probe("additive_attention_backward", cases=[(1e-9,), (1e9,)])
def upstream_of_another_size(impl, rng, size):
    p, s, h = draw_attention(rng, 2, 3, 5), rng.standard_normal((3, 2)), rng.standard_normal((3, 4, 3))
    dc = size * rng.standard_normal((3, 3))
    *_, cache = impl.additive_attention(p, s, h, draw_mask(rng, 3, 4))
    yield from with_dict("ds dh", ATTENTION, impl.additive_attention_backward(dc, cache), few)


@probe("additive_attention_backward", cases=[(3, 4, 2, 3, 5)])
def nearly_certain(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), rng.standard_normal((B, H)), rng.standard_normal((B, S, D))
    p["v_a"] *= 15.0  # all but one weight tiny, and what they pass on is tiny, too
    dc = rng.standard_normal((B, D))
    *_, cache = impl.additive_attention(p, s, h, np.ones((B, S), dtype=bool))
    for name, value in with_dict("ds dh", ATTENTION, impl.additive_attention_backward(dc, cache), few):
        yield name, observe(value, rtol=1e-8, atol=1e-14) if isinstance(value, np.ndarray) else value


@probe("additive_attention_backward", cases=[(2, 5, 2, 3, 4)])
def two_attention_caches(impl, rng, B, S, H, D, A):
    """A cache is read, whatever was called since, and as often as one likes."""
    p = draw_attention(rng, H, D, A)
    s, h, dc = (rng.standard_normal((2, B, *n)) for n in ((H,), (S, D), (D,)))
    mask = draw_mask(rng, B, S)
    caches = [impl.additive_attention(p, s[k], h[k], mask)[-1] for k in range(2)]
    for name, k in (("first cache", 0), ("second cache", 1), ("first cache once more", 0)):
        for part, value in with_dict("ds dh", ATTENTION, impl.additive_attention_backward(dc[k], caches[k])):
            if part in ("dh", "dW_a"):
                value = few(value)
                yield f"{part} from the {name}", value


@probe("additive_attention_backward", cases=[(2, 9000, 4, 3, 5), (12, 6, 256, 256, 192)])
def attention_too_large_for_differences(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), rng.standard_normal((B, H)), rng.standard_normal((B, S, D))
    p["v_a"] /= np.sqrt(A)
    mask, dc = draw_mask(rng, B, S), rng.standard_normal((B, D))
    *_, cache = impl.additive_attention(p, s, h, mask)
    yield from with_dict("ds dh", ATTENTION, impl.additive_attention_backward(dc, cache), few)


@probe("additive_attention_backward", cases=[(3, 5, 2, 4, 6)])
def attention_with_own_forward(impl, rng, B, S, H, D, A):
    p, s, h = draw_attention(rng, H, D, A), rng.standard_normal((B, H)), rng.standard_normal((B, S, D))
    mask, dc = draw_mask(rng, B, S), rng.standard_normal((B, D))
    along_s, along_h = rng.standard_normal((B, H)), rng.standard_normal((B, S, D))

    def loss(s, h):
        return np.sum(impl.additive_attention(p, s, h, mask)[0] * dc)

    *_, cache = impl.additive_attention(p, s, h, mask)
    ds, dh, _ = (value for _, value in named("ds dh grads", impl.additive_attention_backward(dc, cache)))
    yield from named("ds dh", (ds, dh))
    yield "slope along s", agree(np.sum(ds * along_s), slope(lambda v: loss(v, h), s, along_s))
    yield "slope along h", agree(np.sum(dh * along_h), slope(lambda v: loss(s, v), h, along_h))


# A step of the decoder ----------------------------------------------------------------------------------------------


def pairs_alone():
    """All parameters 0 but the readout's bias and its last matrix: one unit, one word number, contexts of one."""
    p = {"W_a": np.zeros((1, 1)), "U_a": np.zeros((1, 1)), "v_a": np.zeros(1), "b_vocab": np.zeros(2)}
    p |= {"Wx_dec": np.zeros((2, 3)), "Wh_dec": np.zeros((1, 3)), "bx_dec": np.zeros(3), "bh_dec": np.zeros(3)}
    return p | {"W_out": np.zeros((3, 4)), "b_out": np.array([1.0, 2.0, 3.0, -4.0]), "W_vocab": np.eye(2)}


ONE_STEP = np.array([[3.0]]), np.array([[2.0]]), np.array([[[1.0], [5.0]]]), np.array([[True, True]])
STEPS = [(1, 1, 1, 1, 1, 1, 1, 1), (4, 5, 2, 3, 6, 7, 8, 9), (2, 3, 4, 2, 4, 3, 2, 5), (3, 3, 3, 3, 3, 3, 3, 3)]
STEPS += [(2, 3, 2, 2, 5, 4, 3, 4)]  # annotations need not be as wide as two states


def draw_step(rng, B, S, E, H, D, A, M, V):
    p, y, s = draw_decoder(rng, E, H, D, A, M, V), rng.standard_normal((B, E)), np.tanh(rng.standard_normal((B, H)))
    return p, y, s, rng.standard_normal((B, S, D)), draw_mask(rng, B, S)


@probe("decoder_step")
def larger_of_neighbours(impl, rng):
    yield from named("logits s alpha", impl.decoder_step(pairs_alone(), *ONE_STEP)[:3])


@probe("decoder_step", cases=STEPS)
def steps(impl, rng, B, S, E, H, D, A, M, V):
    p, y, s, h, mask = draw_step(rng, B, S, E, H, D, A, M, V)
    for name, value in named("logits s alpha", impl.decoder_step(p, y, s, h, mask)[:3]):
        yield name, few(value, 8) if B == 4 else value


@probe("decoder_step", cases=[(3, 4, 2, 3, 4, 5, 6, 7)])
def far_out(impl, rng, B, S, E, H, D, A, M, V):
    p, y, s, h, mask = draw_step(rng, B, S, E, H, D, A, M, V)
    p["b_out"] -= 30.0  # all pairs below zero: their maximum is, too
    p["bx_dec"] *= 100.0
    p["W_vocab"] *= 100.0
    h[np.arange(B), mask.argmax(axis=1)] = 0.0  # a word's annotation, too
    yield from named("logits s alpha", impl.decoder_step(p, 10 * y, 5 * s, h, mask)[:3])


@probe("decoder_step", cases=[(2, 4, 2, 3, 4, 5, 6, 7)])
def one_after_another(impl, rng, B, S, E, H, D, A, M, V):
    p, y, s, h, mask = draw_step(rng, B, S, E, H, D, A, M, V)
    for k in range(3):
        logits, s, alpha, _ = (
            v for _, v in named("logits s alpha cache", impl.decoder_step(p, (-1) ** k * y, s, h, mask))
        )
        yield from named(f"logits_{k} s_{k} alpha_{k}", (few(logits), few(s), few(alpha)))


@probe("decoder_step_backward")
def only_the_second_of_the_first_pair(impl, rng):
    *_, cache = impl.decoder_step(pairs_alone(), *ONE_STEP)
    found = impl.decoder_step_backward(np.array([[1.0, 0.0]]), np.ones((1, 1)), cache)
    for name, value in with_dict("dy ds dh", ("b_out", "b_vocab", "W_vocab", "bx_dec"), found):
        yield name, observe(value, atol=1e-12) if isinstance(value, np.ndarray) else value


@probe("decoder_step_backward", cases=STEPS)
def step_gradients(impl, rng, B, S, E, H, D, A, M, V):
    p, y, s, h, mask = draw_step(rng, B, S, E, H, D, A, M, V)
    dlogits, ds_new = rng.standard_normal((B, V)), rng.standard_normal((B, H))
    *_, cache = impl.decoder_step(p, y, s, h, mask)
    names = DECODER if B in (1, 4) else ("W_a", "Wx_dec", "W_out", "b_vocab")
    for name, value in with_dict("dy ds dh", names, impl.decoder_step_backward(dlogits, ds_new, cache), few):
        yield name, observe(value, atol=1e-12) if B == 1 and isinstance(value, np.ndarray) else value


@probe("decoder_step_backward", cases=[(1.0, 0.0), (0.0, 1.0), (1e-9, 1e-9), (1e8, 1e8)])
def one_upstream_or_both(impl, rng, of_logits, of_state):
    p, y, s, h, mask = draw_step(rng, 3, 4, 2, 3, 4, 5, 6, 7)
    dlogits, ds_new = of_logits * rng.standard_normal((3, 7)), of_state * rng.standard_normal((3, 3))
    *_, cache = impl.decoder_step(p, y, s, h, mask)
    found = impl.decoder_step_backward(dlogits, ds_new, cache)
    yield from with_dict("dy ds dh", ("v_a", "Wx_dec", "W_out"), found, few)


@probe("decoder_step_backward", cases=[(3, 4, 2, 3, 4, 5, 6, 7)])
def pairs_below_zero(impl, rng, B, S, E, H, D, A, M, V):
    p, y, s, h, mask = draw_step(rng, B, S, E, H, D, A, M, V)
    p["b_out"] -= 30.0
    dlogits, ds_new = rng.standard_normal((B, V)), rng.standard_normal((B, H))
    *_, cache = impl.decoder_step(p, y, s, h, mask)
    yield from with_dict("dy ds dh", READOUT, impl.decoder_step_backward(dlogits, ds_new, cache), few)


@probe("decoder_step_backward", cases=[(2, 4, 2, 3, 4, 5, 6, 7)])
def two_step_caches(impl, rng, B, S, E, H, D, A, M, V):
    """Caches of two steps, as the loss uses them: both forward first, then back from the last."""
    p, y, s, h, mask = draw_step(rng, B, S, E, H, D, A, M, V)
    dlogits = rng.standard_normal((2, B, V))
    _, s1, _, first = (value for _, value in named("logits s alpha cache", impl.decoder_step(p, y, s, h, mask)))
    _, _, _, second = (value for _, value in named("logits s alpha cache", impl.decoder_step(p, -y, s1, h, mask)))
    ds = np.zeros((B, H))
    for k, cache in ((1, second), (0, first)):
        dy, ds, dh, _ = (v for _, v in named("dy ds dh grads", impl.decoder_step_backward(dlogits[k], ds, cache)))
        yield from named(f"dy_{k} ds_{k} dh_{k}", (few(dy), few(ds), few(dh)))


@probe("decoder_step_backward", cases=[(8, 6, 64, 160, 192, 96, 96, 200)])
def step_too_large_for_differences(impl, rng, B, S, E, H, D, A, M, V):
    p, y, s, h, mask = draw_step(rng, B, S, E, H, D, A, M, V)
    dlogits, ds_new = rng.standard_normal((B, V)), rng.standard_normal((B, H))
    *_, cache = impl.decoder_step(p, y, s, h, mask)
    yield from with_dict("dy ds dh", DECODER, impl.decoder_step_backward(dlogits, ds_new, cache), few)


@probe("decoder_step_backward", cases=[(3, 4, 2, 3, 4, 5, 6, 7)])
def step_with_own_forward(impl, rng, B, S, E, H, D, A, M, V):
    p, y, s, h, mask = draw_step(rng, B, S, E, H, D, A, M, V)
    dlogits, ds_new, along = rng.standard_normal((B, V)), rng.standard_normal((B, H)), rng.standard_normal((B, H))

    def loss(s):
        logits, new, *_ = impl.decoder_step(p, y, s, h, mask)
        return np.sum(logits * dlogits) + np.sum(new * ds_new)

    *_, cache = impl.decoder_step(p, y, s, h, mask)
    _, ds, *_ = impl.decoder_step_backward(dlogits, ds_new, cache)
    yield "ds", ds
    yield "slope along s", agree(np.sum(ds * along), slope(loss, s, along))


# Back through the readers -------------------------------------------------------------------------------------------


@probe("bigru_backward")
def only_the_second_word(impl, rng):
    _, cache = impl.bigru_encode(half_encoder(), np.array([[[7.0], [-4.0], [100.0]]]), np.array([2]))
    found = impl.bigru_backward(np.array([[[0.0, 0], [1, 0], [0, 0]]]), cache)
    for name, value in with_dict("dx", ENCODER, found):
        yield name, observe(value, atol=1e-12) if isinstance(value, np.ndarray) else value


@probe("bigru_backward", cases=[(1, 1, 1, 1), (4, 6, 2, 3), (2, 5, 4, 2), (3, 3, 3, 3), (6, 2, 3, 4), (1, 3, 5, 2)])
def reader_gradients(impl, rng, B, S, E, H):
    p, x, lengths = draw_encoder(rng, E, H), rng.standard_normal((B, S, E)), draw_lengths(rng, B, S)
    x[np.arange(S) >= lengths[:, None]] *= 20.0
    dh = rng.standard_normal((B, S, 2 * H))  # also at padding
    _, cache = impl.bigru_encode(p, x, lengths)
    names = ENCODER if B == 4 else ("Wh_fwd", "Wx_bwd", "bh_bwd")
    yield from with_dict("dx", names, impl.bigru_backward(dh, cache), lambda value: few(value, 12 if B == 2 else 4))


@probe("bigru_backward", cases=[(0, True), (0, False), (-1, True), (-1, False)])
def one_half_at_one_end(impl, rng, place, forward):
    p, x, dh = draw_encoder(rng, 2, 3), rng.standard_normal((2, 5, 2)), np.zeros((2, 5, 6))
    dh[:, place, :3] = forward * rng.standard_normal((2, 3))
    dh[:, place, 3:] = (not forward) * rng.standard_normal((2, 3))
    _, cache = impl.bigru_encode(p, x, np.array([5, 5]))
    yield from with_dict("dx", ("Wx_fwd", "Wh_bwd"), impl.bigru_backward(dh, cache), few)


@probe("bigru_backward", cases=[(3, 7, 2, 3)])
def padding_behind_all_backward(impl, rng, B, S, E, H):
    p, x, dh = draw_encoder(rng, E, H), rng.standard_normal((B, S, E)), rng.standard_normal((B, S, 2 * H))
    _, cache = impl.bigru_encode(p, x, np.array([4, 1, 3]))
    yield from with_dict("dx", ENCODER, impl.bigru_backward(dh, cache), few)


@probe("bigru_backward", cases=[(2, 60, 3, 4, 1e6), (2, 4, 3, 4, 1e-9)])
def from_end_to_end(impl, rng, B, S, E, H, size):
    p, x = draw_encoder(rng, E, H), rng.standard_normal((B, S, E))
    for name in ("fwd", "bwd"):
        p[f"bx_{name}"][H : 2 * H] += 3.0  # gradients reach far
    dh = size * rng.standard_normal((B, S, 2 * H))
    _, cache = impl.bigru_encode(p, x, np.full(B, S))
    yield from with_dict("dx", ENCODER, impl.bigru_backward(dh, cache), few)


@probe("bigru_backward", cases=[(2, 4, 2, 3)])
def two_encoder_caches(impl, rng, B, S, E, H):
    p, x, dh = draw_encoder(rng, E, H), rng.standard_normal((2, B, S, E)), rng.standard_normal((2, B, S, 2 * H))
    caches = [impl.bigru_encode(p, x[k], np.array([4, 2 + k]))[1] for k in range(2)]
    for name, k in (("first cache", 0), ("second cache", 1), ("first cache once more", 0)):
        for part, value in with_dict("dx", ("Wh_fwd", "Wx_bwd"), impl.bigru_backward(dh[k], caches[k])):
            if part != "names of the gradients":
                yield f"{part} from the {name}", few(value)


@probe("bigru_backward", cases=[(6, 4, 128, 160)])
def readers_too_large_for_differences(impl, rng, B, S, E, H):
    p, x, lengths = draw_encoder(rng, E, H), rng.standard_normal((B, S, E)), draw_lengths(rng, B, S)
    dh = rng.standard_normal((B, S, 2 * H))
    _, cache = impl.bigru_encode(p, x, lengths)
    yield from with_dict("dx", ENCODER, impl.bigru_backward(dh, cache), few)


@probe("bigru_backward", cases=[(3, 5, 2, 3)])
def readers_with_own_forward(impl, rng, B, S, E, H):
    p, x, lengths = draw_encoder(rng, E, H), rng.standard_normal((B, S, E)), draw_lengths(rng, B, S)
    dh, along = rng.standard_normal((B, S, 2 * H)), rng.standard_normal((B, S, E))
    _, cache = impl.bigru_encode(p, x, lengths)
    dx, _ = (value for _, value in named("dx grads", impl.bigru_backward(dh, cache)))
    yield "dx", dx
    numeric = slope(lambda v: np.sum(impl.bigru_encode(p, v, lengths)[0] * dh), x, along)
    yield "slope along x", agree(np.sum(dx * along), numeric)


# The whole loss -----------------------------------------------------------------------------------------------------


@probe("seq2seq_loss_and_grads")
def all_words_alike(impl, rng):
    p = {name: np.zeros_like(value) for name, value in draw_whole(rng, 5, 4, 2, 3).items()}
    found = impl.seq2seq_loss_and_grads(p, np.array([[3, 4, 3]]), np.array([3]), np.array([[3, 2]]))
    yield from with_dict("loss", ("b_vocab",), found)


@probe(
    "seq2seq_loss_and_grads",
    cases=[
        (1, 1, 1, 4, 4, 1, 1),
        (1, 3, 4, 6, 7, 2, 3),
        (4, 6, 5, 7, 9, 2, 3),
        (3, 4, 6, 5, 6, 4, 2),
        (3, 3, 3, 6, 6, 3, 3),
    ],
)
def all_of_it(impl, rng, B, S, T, Vs, Vt, E, H):
    p = draw_whole(rng, Vs, Vt, E, H)
    batch = draw_sentences(rng, B, S, T, Vs, Vt)
    names = sorted(p) if B == 4 else ("E_src", "E_tgt", "U_a", "W_init", "Wh_bwd", "b_vocab")
    found = impl.seq2seq_loss_and_grads(p, *batch)
    yield from with_dict("loss", names, found, lambda value: few(value, 2 if B == 4 else 4))


@probe("seq2seq_loss_and_grads", cases=[(5, 4, 9, 6, 6, 2, 3)])
def targets_of_very_different_lengths(impl, rng, B, S, T, Vs, Vt, E, H):
    p = draw_whole(rng, Vs, Vt, E, H)
    src, lengths, tgt = draw_sentences(rng, B, S, T, Vs, Vt)
    tgt[1:, 1:] = 0
    tgt[1:, 0] = 2  # one long target, and four of EOS alone
    found = impl.seq2seq_loss_and_grads(p, src, lengths, tgt)
    yield from with_dict("loss", ("b_vocab", "E_tgt", "W_init", "Wh_dec"), found)


@probe("seq2seq_loss_and_grads", cases=[(3, 5, 6, 2, 3)])
def the_same_word_again_and_again(impl, rng, B, S, T, E, H):
    p = draw_whole(rng, 4, 4, E, H)  # one word in each language
    found = impl.seq2seq_loss_and_grads(p, *draw_sentences(rng, B, S, T, 4, 4))
    yield from with_dict("loss", ("E_src", "E_tgt", "b_vocab"), found)


@probe("seq2seq_loss_and_grads", cases=[(1e3,), (-1e3,)])
def large_logits(impl, rng, size):
    p, batch = draw_whole(rng, 6, 7, 2, 3), draw_sentences(rng, 3, 4, 5, 6, 7)
    p["b_vocab"] = size * (1 + rng.random(7))
    yield from with_dict("loss", ("b_vocab", "W_vocab"), impl.seq2seq_loss_and_grads(p, *batch), few)


@probe("seq2seq_loss_and_grads", cases=[1, 6])
def large_logits_behind_one_word(impl, rng, word):
    """They are far larger than all others: behind the start symbol, or behind a word of the first sentence alone."""
    p, (src, lengths, tgt) = draw_whole(rng, 6, 7, 2, 3), draw_sentences(rng, 3, 4, 5, 6, 7)
    tgt[tgt == 6] = 5
    tgt[0, 0] = 6
    p["E_tgt"][word] *= 3000
    yield from with_dict("loss", ("b_vocab", "W_vocab"), impl.seq2seq_loss_and_grads(p, src, lengths, tgt), few)


@probe("seq2seq_loss_and_grads", cases=[(3, 5, 4, 6, 7, 2, 3)])
def padding_behind_all_targets(impl, rng, B, S, T, Vs, Vt, E, H):
    p = draw_whole(rng, Vs, Vt, E, H)
    src, lengths, tgt = draw_sentences(rng, B, S, T, Vs, Vt)
    lengths = np.minimum(lengths, S - 2)
    tgt = np.hstack([tgt, np.zeros((B, 3), dtype=tgt.dtype)])
    found = impl.seq2seq_loss_and_grads(p, src, lengths, tgt)
    yield from with_dict("loss", ("E_src", "E_tgt", "U_a", "Wx_bwd", "b_init"), found)


@probe("seq2seq_loss_and_grads", cases=[(8, 9, 8, 60, 70, 48, 64)])
def whole_too_large_for_differences(impl, rng, B, S, T, Vs, Vt, E, H):
    p = draw_whole(rng, Vs, Vt, E, H)
    found = impl.seq2seq_loss_and_grads(p, *draw_sentences(rng, B, S, T, Vs, Vt))
    names = ("E_src", "E_tgt", "U_a", "W_a", "W_init", "Wh_bwd", "Wx_dec", "W_out", "b_vocab")
    yield from with_dict("loss", names, found, few)


@probe("seq2seq_loss_and_grads", cases=[(2, 3, 4, 5, 6, 2, 3)])
def parameters_changed_between_calls(impl, rng, B, S, T, Vs, Vt, E, H):
    p, new = draw_whole(rng, Vs, Vt, E, H), draw_whole(rng, Vs, Vt, E, H)
    batch = draw_sentences(rng, B, S, T, Vs, Vt)
    impl.seq2seq_loss_and_grads(p, *batch)
    p |= new  # as an update would
    yield from with_dict("loss", ("W_a", "Wh_fwd", "E_src"), impl.seq2seq_loss_and_grads(p, *batch))


# In torch -----------------------------------------------------------------------------------------------------------


def draw_tokens(rng, B, S, T, Vs, Vt):
    import torch

    return [torch.from_numpy(a) for a in draw_sentences(rng, B, S, T, Vs, Vt)]


@probe("AttnSeq2Seq")
def even_attention_is_the_mean(impl, rng):
    import torch

    model = fill(impl.AttnSeq2Seq(6, 7, 2, 3).double(), int(rng.integers(2**32)))
    s, h = torch.from_numpy(rng.standard_normal((2, 3))), torch.from_numpy(rng.standard_normal((2, 4, 6)))
    with torch.no_grad():
        model.v_a.weight.zero_()
        yield from named("c alpha", model.attend(s, h, torch.arange(4) < torch.tensor([[3], [4]])))


TORCH = [(1, 1, 1, 4, 4, 1, 1), (1, 4, 3, 6, 7, 2, 3), (4, 6, 5, 7, 9, 2, 3), (3, 3, 3, 6, 6, 3, 3)]
TORCH += [(3, 1, 2, 6, 7, 2, 3)]


@probe("AttnSeq2Seq", cases=[(*case, attention) for attention in (True, False) for case in TORCH], part="attention")
def logits_and_gradients(impl, rng, B, S, T, Vs, Vt, E, H, attention):
    import torch

    src, lengths, tgt = draw_tokens(rng, B, S, T, Vs, Vt)
    upstream, seed = torch.from_numpy(rng.standard_normal((B, T, Vt))), int(rng.integers(2**32))
    model = impl.AttnSeq2Seq(Vs, Vt, E, H, attention).double()
    yield "parameters", shapes(model)
    fill(model, seed)
    logits = model(src, lengths, tgt)
    yield "logits", few(logits, 12 if B == S and attention else 5)
    logits.backward(upstream)
    for name, parameter in sorted(model.named_parameters()):
        if (B == 4 and "bias" not in name) or name in ("E_src.weight", "W_a.weight"):
            yield f"d{name}", observe(few(parameter.grad, 2 if attention else 1), atol=1e-12)


@probe(
    "AttnSeq2Seq",
    cases=[(3, 5, 6, 7, 2, 3, True), (3, 5, 6, 7, 2, 3, False), (3, 3, 6, 6, 3, 3, True), (4, 1, 6, 7, 2, 3, True)],
    part="attention",
)
def methods(impl, rng, B, S, Vs, Vt, E, H, attention):
    import torch

    src, lengths, _ = draw_tokens(rng, B, S, 1, Vs, Vt)
    s, h = torch.from_numpy(rng.standard_normal((B, H))), torch.from_numpy(rng.standard_normal((B, S, 2 * H)))
    word, seed = torch.from_numpy(rng.integers(Vt, size=B)), int(rng.integers(2**32))
    mask = torch.arange(S) < torch.from_numpy(draw_lengths(rng, B, S))[:, None]
    model = fill(impl.AttnSeq2Seq(Vs, Vt, E, H, attention).double(), seed)
    with torch.no_grad():
        for name, value in named("h mask s0", model.encode(src, lengths)):
            yield name, few(value, 12) if name == "h" and B != S else value
        yield "h where no sentence fills its row", few(model.encode(src, lengths.clamp(max=2))[0])
        yield from named("c alpha", model.attend(s, h, mask))
        yield from named("logits s alpha_of_step", model.step(word, s, h, mask))


@probe("AttnSeq2Seq", cases=[(3, 6, 2, 3)])
def words_anywhere(impl, rng, B, S, E, H):
    import torch

    s, h = torch.from_numpy(5 * rng.standard_normal((B, H))), torch.from_numpy(30 * rng.standard_normal((B, S, 2 * H)))
    mask = torch.from_numpy(draw_mask(rng, B, S))
    model = fill(impl.AttnSeq2Seq(5, 5, E, H).double(), int(rng.integers(2**32)))
    with torch.no_grad():
        model.v_a.weight.mul_(100.0)
        yield from named("c alpha", model.attend(s, h, mask))


@probe("AttnSeq2Seq", cases=[1e4, -1e4])
def large_scores_in_torch(impl, rng, size):
    """All words of a sentence score far below zero, or far above; padding does the opposite."""
    import torch

    s, h = torch.from_numpy(rng.standard_normal((2, 3))), torch.from_numpy(5 + rng.random((2, 4, 6)))
    v, mask = torch.from_numpy(size * (1 + rng.random((1, 3)))), torch.arange(4) < torch.tensor([[3], [2]])
    model = fill(impl.AttnSeq2Seq(5, 5, 2, 3).double(), int(rng.integers(2**32)))
    with torch.no_grad():
        model.v_a.weight.copy_(v)
        model.U_a.weight.abs_()
        h[~mask] = -5.0
        yield from named("c alpha", model.attend(s, h, mask))


@probe("AttnSeq2Seq", cases=[-1e10, -1e32])
def scores_below_any_floor(impl, rng, size):
    """All words score so low that no finite number serves for padding; one of them is far above the others."""
    import torch

    s, h = torch.from_numpy(rng.standard_normal((2, 3))), torch.from_numpy(0.1 + 0.4 * rng.random((2, 4, 6)))
    mask = torch.arange(4) < torch.tensor([[3], [2]])
    model = fill(impl.AttnSeq2Seq(5, 5, 2, 3).double(), int(rng.integers(2**32)))
    with torch.no_grad():
        model.v_a.weight.copy_(torch.from_numpy(size * (1 + rng.random((1, 3)))))
        model.U_a.weight.abs_()
        model.W_a.weight.zero_()
        yield from named("c alpha", model.attend(s, h, mask))


@probe("AttnSeq2Seq", cases=[True, False], part="attention")
def last_word_is_not_read(impl, rng, attention):
    import torch

    src, lengths, tgt = draw_tokens(rng, 2, 4, 3, 7, 8)
    model = fill(impl.AttnSeq2Seq(7, 8, 2, 3, attention).double(), int(rng.integers(2**32)))
    other = tgt.clone()
    other[:, -1] = 7
    with torch.no_grad():
        yield "logits", few(model(src, lengths, tgt))
        yield "logits with another last word", few(model(src, lengths, other))
        yield "logits of one word", few(model(src, lengths, tgt[:, :1]))


@probe("AttnSeq2Seq", cases=[True, False], part="attention")
def again_and_in_another_mode(impl, rng, attention):
    import torch

    src, lengths, tgt = draw_tokens(rng, 3, 5, 4, 7, 8)
    seed = int(rng.integers(2**31))
    model = fill(impl.AttnSeq2Seq(7, 8, 2, 3, attention).double(), seed)
    with torch.no_grad():
        model(src, lengths, tgt)
        fill(model, seed + 1)
        yield "logits with other parameters", few(model(src, lengths, tgt))
        yield "logits for other lengths", few(model(src, torch.ones_like(lengths), tgt))
        yield "logits in eval mode", few(model.eval()(src[:2], lengths[:2], tgt[:2]))


@probe("AttnSeq2Seq", cases=[True, False], part="attention")
def in_single_precision(impl, rng, attention):
    src, lengths, tgt = draw_tokens(rng, 3, 5, 4, 7, 8)
    model = fill(impl.AttnSeq2Seq(7, 8, 2, 3, attention), int(rng.integers(2**32)))
    yield "logits", observe(few(model(src, lengths, tgt)), rtol=1e-4)


@probe("AttnSeq2Seq", cases=[True, False], part="attention")
def gradients_of_the_methods(impl, rng, attention):
    import torch

    B, S, H, seed = 3, 4, 3, int(rng.integers(2**32))
    s, h = (torch.tensor(rng.standard_normal(n), requires_grad=True) for n in ((B, H), (B, S, 2 * H)))
    upstream, lengths = torch.from_numpy(rng.standard_normal((B, 2 * H))), draw_lengths(rng, B, S)
    mask = torch.arange(S) < torch.from_numpy(lengths)[:, None]
    model = fill(impl.AttnSeq2Seq(5, 5, 2, H, attention).double(), seed)
    c, _ = (value for _, value in named("c alpha", model.attend(s, h, mask)))
    c.backward(upstream)
    yield "dh", h.grad
    if attention:
        yield "ds", s.grad


# Search -------------------------------------------------------------------------------------------------------------


def recurrent(rng, V, H, eos, ends):
    """A step of a random recurrent model, and its first state; `ends` is added to the logit of eos."""
    import torch

    W, E, U = (torch.from_numpy(rng.standard_normal(n)) for n in ((H, H), (V, H), (H, V)))
    shift = torch.zeros(V, dtype=torch.float64)
    shift[eos] = ends

    def step(words, states):
        states = torch.tanh(states @ W + E[words])
        return torch.log_softmax(1.5 * states @ U + shift, dim=1), states

    return step, torch.from_numpy(rng.standard_normal((1, H)))


def found(values):
    """Translations and their log-probabilities, or a message about what was returned."""
    if not isinstance(values, list | tuple):
        raise WrongReturn("It should return a list of pairs: (words, log p).")
    pairs = [pair for pair in values if isinstance(pair, list | tuple) and len(pair) == 2]
    if len(pairs) != len(values):
        raise WrongReturn("Each item of the list should be a pair: (words, log p).")
    if any(hasattr(logp, "requires_grad") for _, logp in pairs):
        raise WrongReturn("log p should be a float, not a tensor: `.item()` takes the number out of one.")
    yield "translations", [list(map(int, words)) for words, _ in pairs]
    yield "log p", observe([float(logp) for _, logp in pairs], rtol=1e-5)


def best(values, most=6):
    """How many translations there are, and the first ones of them."""
    (_, translations), (_, logp) = found(values)
    yield "number of translations", len(translations)
    yield "best translations", translations[:most]
    yield "log p", observe(logp.value[:most], rtol=1e-5)


@probe("beam_search", cases=[1, 2, 20])
def greedy_misses_the_best(impl, rng, width):
    import torch

    table = torch.log(torch.tensor([[0, 0, 0.6, 0.4], [0, 1, 0, 0], [0, 0.5, 0.3, 0.2], [0, 0.9, 0.1, 0]]).double())

    def step(words, states):
        return table[words], states

    yield from found(impl.beam_search(step, torch.zeros(1, 1, dtype=torch.float64), 0, 1, width, 2))


@probe("beam_search", cases=[(4, 4, 0.0), (4, 4, 1.0), (3, 5, 1.0)])
def with_room_for_all(impl, rng, V, max_len, a):
    bos, eos = (int(k) for k in rng.permutation(V)[:2])
    step, state = recurrent(rng, V, 3, eos, 1.0)
    yield from best(impl.beam_search(step, state, bos, eos, V**max_len, max_len, a))


@probe(
    "beam_search",
    cases=[
        (1, 6, 7, 1.0),
        (2, 6, 7, 1.0),
        (3, 5, 9, 0.0),
        (4, 9, 6, 0.6),
        (5, 4, 8, 2.0),
        (2, 12, 1, 1.0),
        (3, 5, 10, 1.0),
    ],
)
def narrow(impl, rng, width, V, max_len, a):
    ends = [[int(k) for k in rng.permutation(V)[:2]] for _ in range(3)]
    models = [recurrent(rng, V, 4, eos, rng.uniform(-1.0, 2.0)) for _, eos in ends]
    for k, ((bos, eos), (step, state)) in enumerate(zip(ends, models, strict=True)):
        for name, value in best(impl.beam_search(step, state, bos, eos, width, max_len, a), 4):
            yield f"{name} of model {k}", value


@probe("beam_search", cases=[(3, 5, 6)])
def the_usual_exponent(impl, rng, width, V, max_len):
    step, state = recurrent(rng, V, 4, 2, 0.5)
    yield from best(impl.beam_search(step, state, 1, 2, width, max_len))


@probe("beam_search", cases=[(2, 6, 8), (3, 6, 5)])
def nothing_ends(impl, rng, width, V, max_len):
    step, state = recurrent(rng, V, 4, 0, -300.0)
    yield from best(impl.beam_search(step, state, 1, 0, width, max_len))


@probe("beam_search", cases=[(5, 5)])
def all_ends_at_once(impl, rng, V, max_len):
    step, state = recurrent(rng, V, 4, 0, 300.0)
    yield from found(impl.beam_search(step, state, 1, 0, 1, max_len))


@probe("beam_search", cases=[(3, 6, 6), (50, 5, 4)])
def words_ruled_out(impl, rng, width, V, max_len):
    import torch

    inner, state = recurrent(rng, V, 4, 2, 0.5)
    allowed = torch.from_numpy(rng.random((V, V)) < 0.5)
    allowed[1, 3:] = True
    allowed[3] = False  # a dead end: nothing follows this word

    def step(words, states):
        logp, states = inner(words, states)
        return logp.masked_fill(~allowed[words], -torch.inf), states

    yield from best(impl.beam_search(step, state, 1, 2, width, max_len))


@probe("beam_search", cases=[(40, 300)])
def probabilities_underflow(impl, rng, V, max_len):
    import torch

    # of every word another one is a little more probable than all others, and never eos, 0
    follower = (torch.arange(V) + int(rng.integers(V - 1))) % (V - 1) + 1

    def step(words, states):
        return torch.log_softmax(torch.eye(V, dtype=torch.float64)[follower[words]], dim=1), states

    listed = list(found(impl.beam_search(step, torch.zeros(1, 2, dtype=torch.float64), 1, 0, 1, max_len)))
    yield "log p", listed[1][1]
    yield "number of words", [len(words) for words in listed[0][1]]


@probe("beam_search", cases=[(4, 5, 9)])
def exponents_alone_differ(impl, rng, width, V, max_len):
    step, state = recurrent(rng, V, 4, 2, 0.5)
    for a in (0.0, 0.5, 1.0, 3.0):
        _, translations = next(found(impl.beam_search(step, state, 1, 2, width, max_len, a)))
        yield f"best translations for a = {a}", translations[:4]


@probe("beam_search", cases=[(3, 6, 8)])
def states_go_with_their_words(impl, rng, width, V, max_len):
    import torch

    inner, first = recurrent(rng, V, 4, 2, 0.3)

    def step(words, states):
        logp, new = inner(words, states[:, :4])
        return logp, torch.cat([new, states[:, 4:] + 1], dim=1)  # the last entry counts the words

    state = torch.cat([first, torch.zeros(1, 1, dtype=torch.float64)], dim=1)
    yield from best(impl.beam_search(step, state, 1, 2, width, max_len))


@probe("beam_search", cases=[(4, 7), (7, 9)])
def a_step_that_keeps_its_answers(impl, rng, V, max_len):
    """What `step` returned once it returns again: it belongs to `step`, and is read. Wider beams would have ties."""
    import torch

    table = 2 * torch.from_numpy(rng.standard_normal((V, V)))
    table[:, 0] -= 40.0  # eos never comes, so some word returns
    table, kept = torch.log_softmax(table, dim=1), {}

    def step(words, states):
        return kept.setdefault(tuple(words.tolist()), table[words]), states

    yield from best(impl.beam_search(step, torch.zeros(1, 2, dtype=torch.float64), 1, 0, 1, max_len))
