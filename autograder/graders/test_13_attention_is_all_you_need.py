"""Probes of 13: attention, heads, layer norm and an encoder block in NumPy, forward and backward; the same in torch.

Beside sizes of which no two agree, each exercise gets some that all agree, as far as may be: code that looks at shapes
to find out what an axis means goes wrong there.
"""

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

MATRICES, NORMS = ("Wq", "Wk", "Wv", "Wo"), ("gain1", "bias1", "gain2", "bias2")
LN3 = np.log(3.0)
QUERY, TWO_KEYS = np.array([[2.0, 0, 0, 0]]), np.array([[LN3, 0, 0, 0], [0.0, 0, 0, 0]])


def draw_mask(rng, *shape):
    """True in about two of three places, with at least one in every row."""
    mask = rng.random(shape) < 0.66
    mask[..., 0] |= ~mask.any(axis=-1)
    return mask


def draw_matrices(rng, D):
    """Projections that keep the size of what they multiply; in another order and with one more, as a dict may be."""
    p = {name: rng.standard_normal((D, D)) / np.sqrt(D) for name in MATRICES}
    return {"more": np.zeros(1)} | {name: p[name] for name in reversed(MATRICES)}


def draw_block(rng, D, F):
    """All parameters of an encoder block, of order one where they act."""
    p = draw_matrices(rng, D)
    p |= {"W1": rng.standard_normal((D, F)) / np.sqrt(D), "b1": 0.5 * rng.standard_normal(F)}
    p |= {"W2": rng.standard_normal((F, D)) / np.sqrt(F), "b2": rng.standard_normal(D)}
    return p | {name: rng.standard_normal(D) for name in NORMS}


def part(value, every):
    """One of `every` vectors of an array, so that keys stay small."""
    return value[..., ::every, :] if isinstance(value, np.ndarray) and value.ndim > 1 else value


def few(value):
    """Some numbers of an array or tensor, from all over it, so that keys stay small."""
    flat = value.reshape(-1) if hasattr(value, "reshape") else value
    return flat[:: len(flat) // 12 + 1] if hasattr(value, "reshape") and len(flat) else value


def gradients_by_name(names, grads):
    """What a dict of gradients holds under each of `names`, and which of them it has; it may hold more."""
    yield "names of the gradients", [name for name in names if name in grads]
    for name in names:
        if name in grads:
            yield f"d{name}", few(grads[name]) if getattr(grads[name], "size", 0) > 16 else grads[name]


@probe("attention_weights")
def three_to_one(impl, rng):
    yield "weights", impl.attention_weights(QUERY, TWO_KEYS)
    yield "weights where all is masked", impl.attention_weights(QUERY, TWO_KEYS, np.array([[False, False]]))


@probe("attention_weights", cases=[((), 1, 1, 1), ((3,), 2, 6, 5), ((2, 3), 2, 4, 16), ((3,), 3, 3, 3)])
def weights(impl, rng, batch, Tq, Tk, d_k):
    Q, K = rng.standard_normal((*batch, Tq, d_k)), rng.standard_normal((*batch, Tk, d_k))
    yield "weights", impl.attention_weights(1.5 * Q, K)


@probe("attention_weights", cases=[((2, 3, 5, 6),), ((2, 1, 1, 6),), ((3, 5, 6),)])
def masked(impl, rng, mask_shape):
    Q, K = rng.standard_normal((2, 3, 5, 4)), rng.standard_normal((2, 3, 6, 4))
    mask = draw_mask(rng, *mask_shape)
    yield "weights", impl.attention_weights(Q, K, mask)


def nothing_hidden_counts(got, expected, mask):
    """Judge the weights of what is masked: exactly 0."""
    if got.shape == expected.shape and np.any(hidden := np.abs(np.where(mask, 0.0, got))):
        return f"a weight that the mask hides is {hidden.max():.3g}. It is exactly 0, however small the others are."
    return None


@probe("attention_weights", cases=[((3,),), ((3, 3),), ((3, 3, 3),)])
def masked_where_sizes_agree(impl, rng, mask_shape):
    Q, K, mask = *rng.standard_normal((2, 3, 3, 3)), draw_mask(rng, *mask_shape)
    mask[..., 0], mask[..., -1] = False, True
    found = impl.attention_weights(Q, K, mask)
    yield "weights", found
    yield "weights of what is masked", observe(found, judge=nothing_hidden_counts, given={"mask": mask})


@probe("attention_weights", cases=[(2, 4, 3)])
def one_array_for_both(impl, rng, batch, T, d_k):
    x, mask = rng.standard_normal((batch, T, d_k)), draw_mask(rng, batch, T, T)
    yield "weights of x over itself", impl.attention_weights(x, x)
    yield "weights of x over itself, with a mask", impl.attention_weights(x, x, mask)


@probe("attention_weights", cases=[(3, 5)])
def masked_where_all_scores_are_zero(impl, rng, Tq, Tk):
    mask = draw_mask(rng, 2, Tq, Tk)
    yield "weights", impl.attention_weights(np.zeros((2, Tq, 4)), rng.standard_normal((2, Tk, 4)), mask)


@probe("attention_weights", cases=[((2, 4, 5),), ((4, 1),)])
def rows_that_see_nothing(impl, rng, mask_shape):
    Q, K, mask = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 5, 3)), draw_mask(rng, *mask_shape)
    mask[..., 1, :] = mask[-1, ..., -1:] = False
    yield "weights", impl.attention_weights(Q, K, mask)


@probe("attention_weights", cases=[(1e4,), (1e2,)])
def large_scores(impl, rng, size):
    Q, K, mask = size * rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 5, 3)), draw_mask(rng, 2, 4, 5)
    lower = K - 20.0 * np.sign(Q[:, :1])  # all scores of the first query far below zero
    scores = Q @ np.swapaxes(K, 1, 2)
    np.put_along_axis(mask, scores.argmin(axis=-1)[..., None], True, axis=-1)
    np.put_along_axis(mask, scores.argmax(axis=-1)[..., None], False, axis=-1)  # the largest is hidden
    yield "weights", impl.attention_weights(Q, K)
    yield "weights with a mask", impl.attention_weights(Q, K, mask)
    yield "weights of low scores", impl.attention_weights(Q[:, :1], lower, mask[:, :1])


@probe("attention_weights", cases=[(1e4,), (-1e4,)])
def large_scores_beside_a_row_that_sees_nothing(impl, rng, size):
    Q, K, mask = np.array([[size], [1.0]]), np.array([[1.0], [0.5]]), np.array([[True, True], [False, False]])
    yield "weights", impl.attention_weights(Q, K, mask)


@probe("sinusoidal_pe")
def two_rows(impl, rng):
    yield "encoding", impl.sinusoidal_pe(2, 3)


@probe("sinusoidal_pe", cases=[(0,), (1,), (1,)])
def drawn_sizes(impl, rng, odd):
    T, d = int(rng.integers(3, 16)), 2 * int(rng.integers(2, 12)) + odd
    yield "encoding", impl.sinusoidal_pe(T, d)


@probe("sinusoidal_pe", cases=[(1, 1), (1, 4), (5, 1), (3, 2), (4, 4)])
def small_sizes(impl, rng, T, d):
    yield "encoding", impl.sinusoidal_pe(T, d)


@probe("sinusoidal_pe", cases=[(3, 4)])
def the_last_result_was_changed(impl, rng, T, d):
    mine = impl.sinusoidal_pe(T, d)
    if isinstance(mine, np.ndarray) and mine.flags.writeable:
        mine[...] = 7.0  # as the experiment does, which sets positions to zero
    yield "encoding, called again", impl.sinusoidal_pe(T, d)


@probe("sinusoidal_pe", cases=[(1200, 5)])
def far_positions(impl, rng, T, d):
    yield "encoding", part(impl.sinusoidal_pe(T, d), 170)


@probe("mha_forward")
def two_heads(impl, rng):
    p = {name: np.eye(2) for name in MATRICES}
    out, _ = impl.mha_forward(p, np.array([[[0.0, LN3]]]), np.array([[[4.0, 0.0], [2.0, 1.0]]]), 2)
    yield "out", out


@probe("mha_forward", cases=[(1, 1, 1, 1, 1), (2, 3, 5, 4, 1), (2, 4, 5, 6, 3), (2, 2, 2, 4, 2), (2, 2, 2, 2, 2)])
def heads_together(impl, rng, B, Tq, Tk, D, heads):
    p = draw_matrices(rng, D)
    x_q, x_kv = 2 * rng.standard_normal((B, Tq, D)), rng.standard_normal((B, Tk, D))
    out, _ = impl.mha_forward(p, x_q, x_kv, heads)
    yield "out", out


@probe("mha_forward", cases=[(2, 4, 5, 6, 3)])
def with_masks(impl, rng, B, Tq, Tk, D, heads):
    p = draw_matrices(rng, D)
    x_q, x_kv = 2 * rng.standard_normal((B, Tq, D)), rng.standard_normal((B, Tk, D))
    each = draw_mask(rng, B, heads, Tq, Tk)
    each[0, 0, 1] = False
    masks = [each, *(draw_mask(rng, *shape) for shape in ((B, 1, 1, Tk), (heads, Tq, Tk), (Tq, Tk)))]
    for mask in masks:
        out, _ = impl.mha_forward(p, x_q, x_kv, heads, mask)
        yield f"out with a mask of shape {mask.shape}", few(out)


@probe("mha_forward", cases=[(3,)])
def with_masks_where_sizes_agree(impl, rng, n):
    p = draw_matrices(rng, n)
    x_q, x_kv = 2 * rng.standard_normal((n, n, n)), rng.standard_normal((n, n, n))
    masks = {"causal": np.tri(n, dtype=bool)} | {f"{k} axes": draw_mask(rng, *[n] * k) for k in (1, 2, 3)}
    for name, mask in masks.items():
        out, _ = impl.mha_forward(p, x_q, x_kv, n, mask)
        yield f"out with a mask: {name}", few(out)


@probe("mha_forward", cases=[(2, 4, 6, 3)])
def one_array_for_both_inputs(impl, rng, B, T, D, heads):
    p, x = draw_matrices(rng, D), 2 * rng.standard_normal((B, T, D))
    for name, mask in {"no mask": None, "a causal mask": np.tri(T, dtype=bool)}.items():
        out, _ = impl.mha_forward(p, x, x, heads, mask)
        yield f"out with {name}", few(out)


@probe("layer_norm_forward")
def one_and_three(impl, rng):
    out, _ = impl.layer_norm_forward(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), 3.0)
    yield "out", out


@probe(
    "layer_norm_forward", cases=[((3,),), ((4, 2),), ((2, 1),), ((2, 12),), ((2, 3, 5),), ((2, 3, 2, 4),), ((3, 3, 3),)]
)
def normalised(impl, rng, shape):
    x = 3 * rng.standard_normal(shape) + 5
    gain, bias = rng.standard_normal((2, shape[-1]))
    out, _ = impl.layer_norm_forward(x, gain, bias)
    yield "out", out


@probe("layer_norm_forward", cases=[(1e-5,), (0.3,)])
def nearly_constant(impl, rng, eps):
    x = 2 + 0.5 * np.sqrt(eps) * rng.standard_normal((3, 4))  # the variance is near eps
    gain, bias = rng.standard_normal((2, 4))
    out, _ = impl.layer_norm_forward(x, gain, bias, eps=eps)
    yield "out", out
    constant, _ = impl.layer_norm_forward(np.full((2, 4), 7.0), gain, bias, eps=eps)
    yield "out for constant vectors", constant


@probe("layer_norm_forward", cases=[(0.0,), (1e-8,)])
def small_eps(impl, rng, eps):
    x, (gain, bias) = 2 + 1e-3 * rng.standard_normal((3, 4)), rng.standard_normal((2, 4))
    out, _ = impl.layer_norm_forward(x, gain, bias, eps)
    yield "out", out


@probe("layer_norm_forward", cases=[(1e5,)])
def far_from_zero(impl, rng, mean):
    x, (gain, bias) = mean + rng.standard_normal((3, 8)), rng.standard_normal((2, 8))
    out, _ = impl.layer_norm_forward(x, gain, bias)
    yield "out", out


@probe("layer_norm_backward")
def three_sixteenths(impl, rng):
    _, cache = impl.layer_norm_forward(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), 3.0)
    yield from named("dx dgain dbias", impl.layer_norm_backward(np.array([[1.0, 0.0]]), cache))


@probe("layer_norm_backward", cases=[((3,),), ((4, 2),), ((2, 3, 5),), ((2, 3, 2, 4),), ((3, 3, 3),)])
def norm_gradients(impl, rng, shape):
    x, dout = 0.7 * rng.standard_normal(shape) + 2, rng.standard_normal(shape)
    gain, bias = rng.standard_normal((2, shape[-1]))
    _, cache = impl.layer_norm_forward(x, gain, bias, 0.2)
    yield from named("dx dgain dbias", impl.layer_norm_backward(dout, cache))


@probe("layer_norm_backward", cases=[(1e-4,), (1e-2,)])
def nearly_constant_backward(impl, rng, size):
    x, dout = 2 + size * rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    gain, bias = rng.standard_normal((2, 4))
    _, cache = impl.layer_norm_forward(x, gain, bias)
    yield from named("dx dgain dbias", impl.layer_norm_backward(dout, cache))


@probe("layer_norm_backward", cases=[(3, 4)])
def norm_with_own_forward(impl, rng, B, D):
    (x, dout, along), (gain, bias) = rng.standard_normal((3, B, D)), rng.standard_normal((2, D))
    _, cache = impl.layer_norm_forward(x, gain, bias)
    dx, _, _ = impl.layer_norm_backward(dout, cache)
    yield "dx", dx
    numeric = slope(lambda v: np.sum(impl.layer_norm_forward(v, gain, bias)[0] * dout), x, along)
    yield "slope along x", agree(np.sum(dx * along), numeric)


@probe("layer_norm_backward")
def too_many_for_differences(impl, rng):
    x, dout = rng.standard_normal((2, 16, 30_000))
    gain, bias = rng.standard_normal((2, 30_000))
    _, cache = impl.layer_norm_forward(x, gain, bias)
    for name, value in named("dx dgain dbias", impl.layer_norm_backward(dout, cache)):
        yield name, few(value)


@probe("sdpa_backward")
def three_to_one_backward(impl, rng):
    _, cache = impl.sdpa_forward(QUERY, TWO_KEYS, np.array([[1.0], [0.0]]))
    yield from named("dQ dK dV", impl.sdpa_backward(np.array([[1.0]]), cache))


@probe("sdpa_backward", cases=[((), 1, 2, 1, 1), ((2,), 3, 4, 5, 2), ((2, 1), 3, 2, 4, 5), ((2,), 2, 2, 2, 2)])
def attention_gradients(impl, rng, batch, Tq, Tk, d_k, d_v):
    Q, K = rng.standard_normal((*batch, Tq, d_k)), rng.standard_normal((*batch, Tk, d_k))
    V, dout = rng.standard_normal((*batch, Tk, d_v)), rng.standard_normal((*batch, Tq, d_v))
    _, cache = impl.sdpa_forward(Q, K, V)
    yield from named("dQ dK dV", impl.sdpa_backward(dout, cache))


@probe("sdpa_backward", cases=[(4, 5, 2, 3)])
def masked_gradients(impl, rng, Tq, Tk, d_k, d_v):
    Q, K = rng.standard_normal((2, 2, Tq, d_k)), rng.standard_normal((2, 2, Tk, d_k))
    V, dout = rng.standard_normal((2, 2, Tk, d_v)), rng.standard_normal((2, 2, Tq, d_v))
    mask = draw_mask(rng, 2, 1, Tq, Tk)
    mask[0, 0, 1] = False  # a query that sees nothing
    mask[1, 0, :, 2] = False  # a key that nobody sees
    mask[1, 0, :, 0] |= ~mask[1, 0].any(axis=-1)
    _, cache = impl.sdpa_forward(Q, K, V, mask)
    yield from named("dQ dK dV", impl.sdpa_backward(dout, cache))


@probe("sdpa_backward", cases=[((4, 5),), ((3, 1, 5),), ((2, 3, 4, 5),)])
def gradients_with_masks_of_other_shapes(impl, rng, mask_shape):
    (Q, dout), (K, V) = rng.standard_normal((2, 2, 3, 4, 2)), rng.standard_normal((2, 2, 3, 5, 2))
    mask = draw_mask(rng, *mask_shape)
    mask[..., 0, 1:] = False  # at least one query sees a single key
    mask[..., 0, 0] = True
    _, cache = impl.sdpa_forward(Q, K, V, mask)
    for name, value in named("dQ dK dV", impl.sdpa_backward(dout, cache)):
        yield name, few(value)


@probe("sdpa_backward", cases=[(4, 3)])
def nearly_certain(impl, rng, T, d_v):
    noise, (V, dout) = rng.standard_normal((2, T, T)), rng.standard_normal((2, T, d_v))
    Q, K = 9 * np.eye(T) + 0.1 * noise[0], 4 * np.eye(T) + 0.1 * noise[1]  # all weights but the diagonal near 1e-8
    _, cache = impl.sdpa_forward(Q, K, V)
    for name, value in named("dQ dK dV", impl.sdpa_backward(dout, cache)):
        yield name, observe(value, rtol=1e-5)


@probe("sdpa_backward")
def attention_too_large_for_differences(impl, rng):
    Q, K, V, dout = rng.standard_normal((4, 2, 128, 256))
    _, cache = impl.sdpa_forward(Q, K, V)
    for name, value in named("dQ dK dV", impl.sdpa_backward(dout, cache)):
        yield name, few(value)


@probe("sdpa_backward", cases=[(4, 5, 3)])
def attention_with_own_forward(impl, rng, Tq, Tk, d):
    Q, dout, along = rng.standard_normal((3, 2, Tq, d))
    K, V = rng.standard_normal((2, 2, Tk, d))
    _, cache = impl.sdpa_forward(Q, K, V)
    dQ, _, _ = impl.sdpa_backward(dout, cache)
    yield "dQ", dQ
    numeric = slope(lambda v: np.sum(impl.sdpa_forward(v, K, V)[0] * dout), Q, along)
    yield "slope along Q", agree(np.sum(dQ * along), numeric)


@probe("mha_backward")
def a_single_key(impl, rng):
    p = {name: np.eye(2) for name in MATRICES}
    x_q, x_kv = np.array([[[0.0, 1.0], [2.0, 1.0]]]), np.array([[[4.0, 3.0]]])
    _, cache = impl.mha_forward(p, x_q, x_kv, 1)
    dx_q, dx_kv, grads = _three(impl.mha_backward(np.array([[[1.0, 0.0], [0.0, 5.0]]]), cache))
    yield from named("dx_q dx_kv", (dx_q, dx_kv))
    yield from gradients_by_name(MATRICES, grads)


def _three(values):
    """The two inputs' gradients and those of the parameters, or a message about what was returned."""
    found = [value for _, value in named("dx_q dx_kv grads", values)]
    return found[0], found[1], _as_dict(found[2])


def _as_dict(grads):
    return grads if isinstance(grads, dict) else {}


@probe("mha_backward", cases=[(1, 1, 2, 1, 1), (2, 4, 5, 6, 3), (2, 2, 2, 4, 2), (2, 2, 2, 2, 2)])
def head_gradients(impl, rng, B, Tq, Tk, D, heads):
    p = draw_matrices(rng, D)
    x_q, x_kv = 2 * rng.standard_normal((B, Tq, D)), rng.standard_normal((B, Tk, D))
    dout = rng.standard_normal((B, Tq, D))
    _, cache = impl.mha_forward(p, x_q, x_kv, heads)
    dx_q, dx_kv, grads = _three(impl.mha_backward(dout, cache))
    yield from named("dx_q dx_kv", (dx_q, dx_kv))
    yield from gradients_by_name(MATRICES, grads)


@probe("mha_backward", cases=[(2, 3, 4, 2)])
def head_gradients_with_masks(impl, rng, B, T, D, heads):
    p, mask = draw_matrices(rng, D), draw_mask(rng, B, heads, T, T)
    mask[0, :, 1] = False
    x, dout = rng.standard_normal((2, B, T, D))
    _, cache = impl.mha_forward(p, x, x, heads, mask)
    dx_q, dx_kv, grads = _three(impl.mha_backward(dout, cache))
    yield from named("dx_q dx_kv", (dx_q, dx_kv))
    yield from gradients_by_name(MATRICES, grads)


@probe("mha_backward", cases=[(2, 3, 4, 2)])
def matrices_replaced_in_the_dict(impl, rng, B, T, D, heads):
    p, new, (x, dout) = draw_matrices(rng, D), draw_matrices(rng, D), rng.standard_normal((2, B, T, D))
    impl.mha_backward(dout, impl.mha_forward(p, x, x, heads)[1])
    p |= new  # as an update would
    _, cache = impl.mha_forward(p, x, x, heads)
    for name, value in named("dx_q dx_kv grads", impl.mha_backward(dout, cache)):
        if name != "grads":
            yield name, few(value)


@probe("mha_backward")
def heads_too_large_for_differences(impl, rng):
    p, (x_q, x_kv, dout) = draw_matrices(rng, 192), rng.standard_normal((3, 2, 96, 192))
    _, cache = impl.mha_forward(p, x_q, x_kv, 4)
    dx_q, dx_kv, grads = _three(impl.mha_backward(dout, cache))
    for name, value in {"dx_q": dx_q, "dx_kv": dx_kv}.items():
        yield name, few(value)
    yield from gradients_by_name(MATRICES, grads)


@probe("encoder_block_backward")
def gain_of_zero(impl, rng):
    p = {name: np.eye(2) for name in (*MATRICES, "W1", "W2")}
    p |= {name: np.ones(2) for name in ("b1", "b2", *NORMS)} | {"gain2": np.zeros(2)}
    x = np.array([[[1.0, 3.0], [2.0, -1.0]]])
    _, cache = impl.encoder_block_forward(p, x, 1)
    dx, grads = (value for _, value in named("dx grads", impl.encoder_block_backward(2 * x, cache)))
    yield "dx", observe(dx, atol=1e-12)
    for name, value in gradients_by_name(["bias2", "Wq", "W1"], _as_dict(grads)):
        yield name, value if name == "names of the gradients" else observe(value, atol=1e-12)


PARAMETERS = (*MATRICES, "W1", "b1", "W2", "b2", *NORMS)


@probe("encoder_block_backward", cases=[(3, 5, 4, 6, 2), (3, 3, 3, 3, 3)])
def block_gradients(impl, rng, B, T, D, F, heads):
    p, (x, dout) = draw_block(rng, D, F), rng.standard_normal((2, B, T, D))
    _, cache = impl.encoder_block_forward(p, x, heads)
    dx, grads = (value for _, value in named("dx grads", impl.encoder_block_backward(dout, cache)))
    yield "dx", dx
    yield from gradients_by_name(PARAMETERS if B != T else ("Wv", "W1", "b2", "gain1"), _as_dict(grads))


@probe("encoder_block_backward", cases=[(2, 3, 4, 5, 2)])
def block_gradients_with_mask(impl, rng, B, T, D, F, heads):
    p, (x, dout), mask = draw_block(rng, D, F), rng.standard_normal((2, B, T, D)), draw_mask(rng, B, 1, T, T)
    mask[1, 0, 2] = False
    _, cache = impl.encoder_block_forward(p, x, heads, mask)
    dx, grads = (value for _, value in named("dx grads", impl.encoder_block_backward(dout, cache)))
    yield "dx", dx
    yield from gradients_by_name(("Wq", "Wv", "W2", "b1", "gain1", "bias2"), _as_dict(grads))


@probe("encoder_block_backward")
def block_too_large_for_differences(impl, rng):
    p, (x, dout) = draw_block(rng, 192, 64), rng.standard_normal((2, 2, 96, 192))
    _, cache = impl.encoder_block_forward(p, x, 4)
    dx, grads = (value for _, value in named("dx grads", impl.encoder_block_backward(dout, cache)))
    yield "dx", few(dx)
    yield from gradients_by_name(["Wq", "Wk", "W1", "gain1", "bias2"], _as_dict(grads))


@probe("encoder_block_backward", cases=[(2, 3, 4, 5, 2)])
def block_with_own_forward(impl, rng, B, T, D, F, heads):
    p, (x, dout, along) = draw_block(rng, D, F), rng.standard_normal((3, B, T, D))
    _, cache = impl.encoder_block_forward(p, x, heads)
    dx, _ = (value for _, value in named("dx grads", impl.encoder_block_backward(dout, cache)))
    yield "dx", dx
    numeric = slope(lambda v: np.sum(impl.encoder_block_forward(p, v, heads)[0] * dout), x, along)
    yield "slope along x", agree(np.sum(dx * along), numeric)


def filled(module, seed, *, double=True):
    """A module with drawn parameters: gains near one and small biases, so that inputs matter to the end."""
    import torch

    fill(module.double() if double else module, seed, scale=0.4)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter *= 0.25
            elif "norm" in name:
                parameter += 1.0
    return module


@probe("TransformerLayer")
def norms_alone(impl, rng):
    import torch

    layer = impl.TransformerLayer(2, 1, 3).double()
    with torch.no_grad():
        layer.self_attn.Wo.weight.zero_()
        layer.ffn[2].weight.zero_()
        layer.ffn[2].bias.zero_()
        yield "y", layer(torch.tensor([[[1.0, 3.0]]], dtype=torch.float64))


@probe("TransformerLayer", cases=[(2, 3, 4, 6, 2, 5)])
def layers(impl, rng, B, T, d, d_ff, heads, S):
    import torch

    def leaf(*shape):
        return torch.tensor(rng.standard_normal(shape), requires_grad=True)

    x, memory, upstream = leaf(B, T, d), leaf(B, S, d), torch.from_numpy(rng.standard_normal((B, T, d)))
    masks = ((B, 1, 1, T), (T, T), (B, 1, 1, S), (B, heads, T, S))
    padding, mask, memory_mask, each = (torch.from_numpy(draw_mask(rng, *shape)) for shape in masks)
    seed = int(rng.integers(2**32))
    for kind, cross, given in (
        ("encoder with mask", False, (padding,)),
        ("decoder", True, (mask, memory, memory_mask)),
        ("decoder with mask alone", True, (mask, memory)),
        ("decoder with memory_mask alone", True, (None, memory, each)),
    ):
        layer = filled(impl.TransformerLayer(d, heads, d_ff, cross), seed)
        yield f"{kind}: parameters", shapes(layer)
        x.grad = memory.grad = None
        y = layer(x, *given)
        yield f"{kind}: y", few(y) if "alone" in kind else y
        if "alone" not in kind:
            y.backward(upstream)
            yield f"{kind}: dx", x.grad
        if kind == "decoder":
            yield f"{kind}: dmemory", memory.grad
            for name in ("self_attn.Wk.weight", "norm3.weight"):
                yield f"{kind}: d{name}", layer.get_parameter(name).grad


@probe("TransformerLayer", cases=[(3,)])
def layers_where_sizes_agree(impl, rng, n):
    import torch

    x, memory = torch.from_numpy(rng.standard_normal((2, n, n, n)))
    mask, memory_mask = torch.from_numpy(draw_mask(rng, 2, n, n))
    seed = int(rng.integers(2**32))
    for kind, cross, given in (
        ("encoder", False, ()),
        ("decoder without masks", True, (None, memory)),
        ("decoder with masks of two axes", True, (mask, memory, memory_mask)),
        ("decoder with mask alone", True, (mask, memory)),
        ("decoder with memory_mask alone", True, (None, memory, memory_mask)),
    ):
        layer = filled(impl.TransformerLayer(n, n, n, cross), seed)
        yield f"{kind}: y", few(layer(x, *given))


@probe("TransformerLayer", cases=[(2, 3, 4, 5, 2, 6)])
def rows_that_see_nothing_in_a_layer(impl, rng, B, T, d, d_ff, heads, S):
    import torch

    x, memory = (torch.from_numpy(rng.standard_normal((B, n, d))) for n in (T, S))
    mask, memory_mask = draw_mask(rng, B, 1, T, T), draw_mask(rng, B, 1, 1, S)
    mask[0, 0, 1] = memory_mask[0] = False
    layer = filled(impl.TransformerLayer(d, heads, d_ff, True), int(rng.integers(2**32)))
    yield "y where mask hides a row", few(layer(x, torch.from_numpy(mask), memory))
    yield "y where memory_mask hides all of a memory", few(layer(x, None, memory, torch.from_numpy(memory_mask)))


@probe("TransformerLayer", cases=[(2, 3, 4, 5, 2, 6)])
def a_layer_again(impl, rng, B, T, d, d_ff, heads, S):
    import torch

    x, memory, upstream = (torch.from_numpy(rng.standard_normal((B, n, d))) for n in (T, S, T))
    mask, memory_mask = (torch.from_numpy(draw_mask(rng, B, 1, 1, n)) for n in (T, S))
    seed = int(rng.integers(2**31))
    layer = filled(impl.TransformerLayer(d, heads, d_ff, True), seed)
    with torch.no_grad():
        layer(x, mask, memory, memory_mask)
        yield "y, called again without masks", few(layer(x, None, memory))
        yield "y, called again where x is the memory too", few(layer(x, None, x))
        filled(layer, seed + 1)
        yield "y, called again with other parameters", few(layer(x, None, memory))
    x, layer = x.requires_grad_(), layer.eval()
    layer(x, mask, memory, memory_mask).backward(upstream)
    yield "dx in eval mode", x.grad


def draw_tokens(rng, B, S, T, vocab):
    """A source whose rows end early, its mask, and an output; as torch tensors.

    What the mask hides is START in odd rows and any symbol in even ones: the mask says what counts.
    """
    import torch

    lengths = rng.integers(1, S + 1, size=(B, 1))
    lengths[0] = (S + 1) // 2
    src, there = rng.integers(1, vocab, size=(B, S)), np.arange(S) < lengths
    src[1::2] *= there[1::2]
    return (torch.from_numpy(a) for a in (src, there, rng.integers(1, vocab, size=(B, T))))


@probe("Transformer")
def last_symbol_is_not_read(impl, rng):
    import torch

    src, src_mask, _ = draw_tokens(rng, 1, 4, 3, 9)
    seed = int(rng.integers(2**32))
    model = filled(impl.Transformer(9, 4, 2, 1, 5), seed)
    yield "logits for 5 7 6", model(src, torch.tensor([[5, 7, 6]]), src_mask)
    yield "logits for 5 7 1", model(src, torch.tensor([[5, 7, 1]]), src_mask)


@probe("Transformer", cases=[(1, 3, 1, 5, 4, 1, 1, 2), (3, 5, 4, 6, 4, 2, 2, 7), (3, 3, 3, 3, 3, 3, 3, 3)])
def whole(impl, rng, B, S, T, vocab, d, heads, depth, d_ff):
    src, src_mask, tgt = draw_tokens(rng, B, S, T, vocab)
    import torch

    upstream = torch.from_numpy(rng.standard_normal((B, T, vocab)))
    seed = int(rng.integers(2**32))
    model = filled(impl.Transformer(vocab, d, heads, depth, d_ff), seed)
    yield "parameters", shapes(model)
    logits = model(src, tgt, src_mask)
    yield "logits", few(logits) if B == T else logits
    if B == 1:
        return
    logits.backward(upstream)
    for name in ("embedding.weight", "encoder.0.self_attn.Wv.weight"):
        yield f"d{name}", few(model.get_parameter(name).grad)


@probe("Transformer", cases=[(2, 5, 3, 7, 4, 2, 2, 3)])
def parts(impl, rng, B, S, T, vocab, d, heads, depth, d_ff):
    import torch

    src, src_mask, read = draw_tokens(rng, B, S, T, vocab)
    memory, positions = (torch.from_numpy(rng.standard_normal(shape)) for shape in ((B, S, d), (64, d)))
    start, seed = int(rng.integers(1, 50)), int(rng.integers(2**32))
    there = torch.arange(B)[:, None] > 0  # of the first source nothing
    model = filled(impl.Transformer(vocab, d, heads, depth, d_ff), seed)
    yield "embed", model.embed(read)
    yield "embed with start", model.embed(read, start=start)
    yield "encode, where there is a symbol", few(model.encode(src, src_mask).masked_fill(~src_mask[:, :, None], 0.0))
    yield "decode", few(model.decode(read, memory, src_mask))
    yield "decode two symbols fewer", few(model.decode(read[:, 2:], memory, src_mask))
    yield "decode where a source is hidden wholly", few(model.decode(read, memory, src_mask & there))
    model.positions.copy_(positions)
    yield "embed with other positions", model.embed(read)


@probe("Transformer", cases=[(2, 5, 3, 7, 4, 2, 2, 3)])
def a_model_again(impl, rng, B, S, T, vocab, d, heads, depth, d_ff):
    import torch

    src, src_mask, tgt = draw_tokens(rng, B, S, T, vocab)
    upstream, seed = torch.from_numpy(rng.standard_normal((B, T, vocab))), int(rng.integers(2**31))
    first = torch.arange(S) < torch.ones(B, 1)  # of each source one symbol
    model = filled(impl.Transformer(vocab, d, heads, depth, d_ff), seed)
    with torch.no_grad():
        for _ in range(3):  # so often are calls of others put between these
            model(src, tgt, src_mask)
        yield "logits, called again with another src_mask", few(model(src, tgt, first))
        filled(model, seed + 1)
        yield "logits, called again with other parameters", few(model(src, tgt, first))
    model.eval()
    model(src, tgt, src_mask).backward(upstream)
    yield "dencoder.0.self_attn.Wv.weight in eval mode", model.encoder[0].self_attn.Wv.weight.grad


@probe("Transformer", cases=[(2, 4, 5, 7, 4, 2, 1, 3)])
def lengths_one_after_another(impl, rng, B, S, T, vocab, d, heads, depth, d_ff):
    src, src_mask, tgt = draw_tokens(rng, B, S, T, vocab)
    model = filled(impl.Transformer(vocab, d, heads, depth, d_ff), int(rng.integers(2**32)))
    for length in (1, 3, T, 2):
        yield f"logits of {length} symbols", few(model(src, tgt[:, :length], src_mask))


@probe("Transformer", cases=[(2, 4, 3, 7, 4, 2, 1, 3)])
def a_source_hidden_wholly(impl, rng, B, S, T, vocab, d, heads, depth, d_ff):
    src, src_mask, tgt = draw_tokens(rng, B, S, T, vocab)
    model = filled(impl.Transformer(vocab, d, heads, depth, d_ff), int(rng.integers(2**32)))
    src_mask[0] = False
    yield "logits", few(model(src, tgt, src_mask))


@probe("Transformer")
def whole_in_single_precision(impl, rng):
    src, src_mask, tgt = draw_tokens(rng, 2, 4, 3, 5)
    seed = int(rng.integers(2**32))
    model = filled(impl.Transformer(5, 4, 2, 1, 6), seed, double=False)
    yield "logits", observe(model(src, tgt, src_mask), rtol=1e-3)
    yield "embed, in double precision later", model.double().embed(tgt)


@probe("label_smoothing_loss")
def three_quarters(impl, rng):
    import torch

    logits = torch.tensor([[LN3, 0.0]], dtype=torch.float64)
    yield "loss", impl.label_smoothing_loss(logits, torch.tensor([0]), 0.2)


@probe(
    "label_smoothing_loss",
    cases=[(1, 2, 0.1), (6, 5, 0.1), (4, 7, 0.0), (5, 3, 0.6), (4, 3, 1.0), (2, 12, 0.1), (3, 1, 0.1), (4, 4, 0.1)],
)
def smoothed(impl, rng, N, K, eps):
    import torch

    logits = torch.tensor(2 * rng.standard_normal((N, K)), requires_grad=True)
    y = torch.from_numpy(rng.integers(K, size=N))
    loss = impl.label_smoothing_loss(logits, y, eps)
    yield "loss", loss
    loss.backward()
    yield "dlogits", logits.grad


@probe("label_smoothing_loss")
def far_apart(impl, rng):
    import torch

    level = 1e3 * np.array([1, -1, 0, 1, -1])  # of a row's logits, and in the third they are far from each other too
    values = level[:, None] + rng.uniform(-1, 1, size=(5, 4)) * np.array([1, 1, 1e3, 1, 1])[:, None]
    values[2, :2] = -1e3, 1e3
    logits, y = torch.tensor(values, requires_grad=True), torch.from_numpy(rng.integers(4, size=5))
    for name, rows in (("one row far apart", slice(2, 3)), ("rows far apart", slice(None))):
        logits.grad = None
        loss = impl.label_smoothing_loss(logits[rows], y[rows], 0.1)
        yield f"loss, {name}", loss
        loss.backward()
        yield f"dlogits, {name}", logits.grad


@probe("label_smoothing_loss", cases=[(5, 3)])
def loss_in_single_precision(impl, rng, N, K):
    import torch

    logits, y = rng.standard_normal((N, K)).astype(np.float32), torch.from_numpy(rng.integers(K, size=N))
    yield "loss", impl.label_smoothing_loss(torch.from_numpy(logits), y, 0.1)


def passed_once(got, expected, steps):
    """Judge how many positions went through the decoder: each once."""
    if got > steps:
        return (
            f"{got} positions went through the decoder for {steps} symbols. With a cache each symbol passes once: "
            "only the newest goes through, and asks the keys and values that are kept."
        )
    return None if got == steps else _too_few(got, "feed-forward parts", steps)


def projected_once(got, expected, positions):
    """Judge how many positions of the memory were made into keys: each once."""
    if got > positions:
        return (
            f"{got} keys of the memory were computed in a layer, where the source has {positions} positions. The "
            "memory does not change: compute its keys and values once, before the loop."
        )
    return None if got == positions else _too_few(got, "projections of keys in cross-attention", positions)


def kept(got, expected, steps):
    """Judge how many positions of the output were made into keys: each once."""
    if got > steps:
        return (
            f"{got} keys of the output were computed in a layer for {steps} symbols. Compute the newest one's, and "
            "keep those of earlier steps."
        )
    return None if got == steps else _too_few(got, "projections of keys in self-attention", steps)


def _too_few(got, where, positions):
    return (
        f"{got} positions went through a layer's {where}; all {positions} do, each once. Call the model's own modules "
        "and methods: what goes past them can't be counted."
    )


def nothing_left(got, expected):
    """Judge how many hooks a model has after the call: none."""
    if got:
        return f"{got} hooks are on the model after the call. Remove what you register: later calls run it too."
    return None


@probe(
    "greedy_decode_cached",
    cases=[(1, 1, 1, 3, 4, 1, 1, 2), (3, 11, 14, 5, 8, 2, 1, 6), (2, 4, 7, 11, 6, 3, 2, 5), (3, 3, 3, 3, 3, 3, 3, 3)],
)
def written(impl, rng, B, S, steps, vocab, d, heads, depth, d_ff):
    import torch

    src, src_mask, _ = draw_tokens(rng, B, S, 1, vocab)
    seed = int(rng.integers(2**32))
    model = filled(impl.Transformer(vocab, d, heads, depth, d_ff), seed)
    through, keys, own = [], [], []
    layer = model.decoder[-1]
    with torch.no_grad():
        layer.norm3.weight.neg_()  # it prefers what is unlike the symbol just read; otherwise it repeats one for ever
    layer.ffn.register_forward_hook(lambda module, inputs, out: through.append(out.shape[1]))
    layer.cross_attn.Wk.register_forward_hook(lambda module, inputs, out: keys.append(out.shape[1]))
    layer.self_attn.Wk.register_forward_hook(lambda module, inputs, out: own.append(out.shape[1]))
    yield from named("tokens logits", impl.greedy_decode_cached(model, src, src_mask, steps))
    yield "positions through the decoder", observe(sum(through), judge=passed_once, given={"steps": steps})
    yield "keys of the memory", observe(sum(keys), judge=projected_once, given={"positions": S})
    yield "keys of the output", observe(sum(own), judge=kept, given={"steps": steps})


@probe("greedy_decode_cached", cases=[(6, 4, 5, 9)])
def start_ends_nothing(impl, rng, models, B, S, steps):
    import torch

    drawn = [(*draw_tokens(rng, B, S, 1, 3), int(rng.integers(2**32))) for _ in range(models)]
    for k, (src, src_mask, _, seed) in enumerate(drawn):
        model = filled(impl.Transformer(3, 8, 2, 1, 6), seed)
        with torch.no_grad():
            model.decoder[-1].norm3.weight.neg_()
            model.decoder[-1].cross_attn.Wo.weight.mul_(4)  # examples differ, so START comes at different steps
        yield f"tokens of model {k}", impl.greedy_decode_cached(model, src, src_mask, steps)[0]
        hooks = [m._forward_hooks | m._forward_pre_hooks for m in model.modules()]
        yield f"hooks on model {k}", observe(sum(map(len, hooks)), judge=nothing_left)


@probe("greedy_decode_cached", cases=[(3, 5, 6, 5, 4, 2, 2, 6)])
def written_in_eval_mode(impl, rng, B, S, steps, vocab, d, heads, depth, d_ff):
    import torch

    src, src_mask, _ = draw_tokens(rng, B, S, 1, vocab)
    positions, seed = torch.from_numpy(rng.standard_normal((64, d))), int(rng.integers(2**32))
    model, there = filled(impl.Transformer(vocab, d, heads, depth, d_ff), seed).eval(), torch.arange(B)[:, None] > 0
    yield (
        "logits where a source is hidden wholly",
        few(impl.greedy_decode_cached(model, src, src_mask & there, steps)[1]),
    )
    model.positions.copy_(positions)
    yield "logits with other positions", few(impl.greedy_decode_cached(model, src, src_mask, steps)[1])
