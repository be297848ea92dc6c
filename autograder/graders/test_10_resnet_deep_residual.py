"""Probes of 10: batch norm, shortcuts, the residual block, forward and backward; a torch block, a copy, responses."""

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

NINE = np.arange(9.0).reshape(1, 1, 3, 3)
COLUMN = np.array([[3.0], [-1.0]])


def picture(*values):
    """One channel of one row."""
    return np.array(values, dtype=float).reshape(1, 1, 1, -1)


def mirrored(rng, *shape):
    """Numbers that are the same backwards."""
    a = rng.standard_normal(shape)
    return a + np.flip(a)


EXCHANGED = [1, 0, 3, 2]


def exchanged(a, axes=1):
    """An array and its like with channels exchanged: what is right for one is right for the other."""
    other = a[:, EXCHANGED] if axes == 1 else a[EXCHANGED] if a.ndim == 1 else a[EXCHANGED][:, EXCHANGED]
    return a, np.ascontiguousarray(other)


def one_after_another(got, expected):
    """Results of calls that differ in the order of channels: the first right and a later one wrong is no formula's."""
    right = [
        isinstance(mine, np.ndarray) and mine.shape == its.shape and bool(np.allclose(mine, its, rtol=1e-3, atol=1e-6))
        for mine, its in zip(got, expected, strict=True)
    ]
    if all(right) or not right[0]:
        return None
    if right[1]:
        return (
            "right at first. Asked once more with the same cache, after another forward and backward pass, it says "
            "something else: the call changed the cache, or not all comes from the cache (but from a global, say)."
        )
    return (
        "the first call is right. The next one, with the channels of all arguments in another order, is not: something "
        "is kept from call to call (a memo, a global, a default argument)."
    )


def other_weights(got, expected):
    """Results for one x with weights, and with others: the first right and the second wrong is no formula's."""
    right = [
        isinstance(mine, np.ndarray) and mine.shape == its.shape and bool(np.allclose(mine, its, rtol=1e-3, atol=1e-6))
        for mine, its in zip(got, expected, strict=True)
    ]
    if all(right) or not right[0]:
        return None
    return (
        "the first call is right. The next one, with the same x and other weights, is not: something is kept from call "
        "to call (a memo whose key leaves p out, a global)."
    )


def other_pictures(got, expected):
    """Responses of one network to pictures, and to others."""
    try:
        mine = [[float(number) for number in numbers] for numbers in got]
    except (TypeError, ValueError):
        return None  # the plain cases say what is wrong
    if not np.allclose(mine[0], expected[0]) or np.shape(mine) != np.shape(expected) or np.allclose(mine, expected):
        return None
    return (
        "the first call is right. The next one, with the same network and other pictures, is not: something is kept "
        "from call to call (a memo whose key leaves the pictures out, a global)."
    )


def draw_norm(rng, N, C, H, W):
    """Pictures whose channels differ in mean and size, and what goes with them."""
    size, mean = rng.uniform(0.5, 3.0, size=(2, C, 1, 1))
    x = size * rng.standard_normal((N, C, H, W)) + mean
    gamma, beta, r_mean = rng.standard_normal((3, C))
    return x, gamma, beta, (r_mean, rng.uniform(0.3, 4.0, size=C))


@probe("batchnorm_forward")
def one_batch_after_another(impl, rng):
    x = exchanged(mirrored(rng, 2, 4, 1, 3))
    gamma, beta, old_mean, old_var = (exchanged(mirrored(rng, 4), axes=2) for _ in range(4))
    seen = []
    for k in range(2):
        y, (mean, var), _ = impl.batchnorm_forward(x[k], gamma[k], beta[k], (old_mean[k], old_var[k] ** 2))
        seen.append([y, mean, var])
    for name, got in zip(("y", "mean", "variance"), zip(*seen, strict=True), strict=True):
        yield f"{name} of one batch after another", observe(list(got), judge=one_after_another)


@probe("batchnorm_forward")
def by_hand(impl, rng):
    running = np.zeros(1), np.ones(1)
    y, running, _ = impl.batchnorm_forward(picture(1, 3), np.array([2.0]), np.array([5.0]), running, True, eps=0.0)
    yield "y", y
    yield from named("mean variance", tuple(running))


@probe(
    "batchnorm_forward",
    cases=[
        (4, 3, 3, 2, 1e-5, 0.1),
        (1, 3, 4, 2, 0.5, 0.3),
        (5, 2, 1, 1, 1e-3, 0.9),
        (1, 1, 1, 2, 0.1, 0.5),
        (3, 3, 3, 3, 1e-5, 0.2),
        (2, 4, 1, 6, 2.0, 1.0),
    ],
)
def in_training(impl, rng, N, C, H, W, eps, momentum):
    x, gamma, beta, running = draw_norm(rng, N, C, H, W)
    y, running, _ = impl.batchnorm_forward(x, gamma, beta, running, training=True, eps=eps, momentum=momentum)
    yield "y of the last picture", y[-1:]
    yield from named("mean variance", tuple(running))


@probe("batchnorm_forward", cases=[(3, 2, 3, 2)])
def by_default(impl, rng, N, C, H, W):
    x, gamma, beta, running = draw_norm(rng, N, C, H, W)
    x[:, 0] = x[:, 0].mean() + 3e-3 * x[:, 0]  # a variance near ε
    y, running, _ = impl.batchnorm_forward(x, gamma, beta, running)
    yield "y", y
    yield from named("mean variance", tuple(running))


@probe("batchnorm_forward", cases=[(4, 3, 5, 2, 1e-5), (1, 2, 1, 1, 0.5), (1, 4, 2, 3, 0.1), (3, 3, 3, 3, 1e-5)])
def in_evaluation(impl, rng, N, C, H, W, eps):
    x, gamma, beta, running = draw_norm(rng, N, C, H, W)
    y, running, _ = impl.batchnorm_forward(x, gamma, beta, running, training=False, eps=eps, momentum=0.7)
    yield "y", y
    if N * H * W > 1:  # one number has no unbiased variance
        yield from named("mean variance", tuple(running))


@probe("batchnorm_forward", cases=[(4, 2, 2, 3, 1e5), (4, 2, 3, 1, 1e-4), (3, 2, 2, 2, 1e-6)])
def far_from_one(impl, rng, N, C, H, W, scale):
    x, gamma, beta, running = draw_norm(rng, N, C, H, W)
    x = x + scale if scale > 1 else scale * x
    y, running, _ = impl.batchnorm_forward(x, gamma, beta, running, eps=1e-12)
    yield "y", observe(y, rtol=1e-8)
    yield from named("mean variance", tuple(running))


@probe("batchnorm_forward", cases=[(3, 3, 2, 4)])
def a_channel_without_contrast(impl, rng, N, C, H, W):
    x, gamma, beta, running = draw_norm(rng, N, C, H, W)
    x[:, 1] = 2.0
    y, running, _ = impl.batchnorm_forward(x, gamma, beta, running)
    yield "y", y
    yield from named("mean variance", tuple(running))


@probe("batchnorm_forward", cases=[(3, 2, 2, 3)])
def epochs(impl, rng, N, C, H, W):
    """Running statistics of several batches, then evaluation with them."""
    x, gamma, beta, running = draw_norm(rng, N, C, H, W)
    for k in range(3):
        _, running, _ = impl.batchnorm_forward((k + 1) * x, gamma, beta, running)
    yield from named("mean variance", tuple(running))
    y, _, _ = impl.batchnorm_forward(x, gamma, beta, running, False)
    yield "y of the last picture in evaluation", y[-1:]


# Shortcuts ----------------------------------------------------------------------------------------------------------

SHORTCUTS = [  # N, C, H, W, channels, stride
    (2, 3, 5, 2, 5, 2),
    (1, 2, 7, 3, 2, 3),
    (3, 2, 4, 4, 4, 2),
    (2, 1, 6, 5, 3, 1),
    (2, 3, 4, 5, 3, 2),
    (2, 2, 3, 4, 2, 1),
    (3, 3, 6, 4, 7, 4),
]


def projected(cases):
    """A few more for option B, which may also have fewer channels, or a square matrix."""
    return [*cases, (2, 4, 5, 6, 2, 2), (3, 3, 3, 3, 3, 1), (1, 1, 4, 4, 1, 2)]


@probe("shortcut_forward")
def one_picture_after_another(impl, rng):
    x, other, w = (exchanged(mirrored(rng, *shape), axes) for *shape, axes in [(2, 4, 5, 3, 1)] * 2 + [(4, 4, 2)])
    yield "A", observe([impl.shortcut_forward(v, 6, 2)[0] for v in x], judge=one_after_another)
    out = [impl.shortcut_forward(v, 4, 2, m)[0] for v, m in zip(other, w, strict=True)]
    yield "B", observe(out, judge=one_after_another)


@probe("shortcut_forward")
def thinned_by_hand(impl, rng):
    yield "A", impl.shortcut_forward(NINE, 2, 2)[0]
    yield "B", impl.shortcut_forward(NINE, 2, 2, COLUMN)[0]


@probe("shortcut_forward", cases=SHORTCUTS)
def option_a(impl, rng, N, C, H, W, channels, stride):
    x = rng.standard_normal((N, C, H, W))
    yield "A", impl.shortcut_forward(x, channels, stride)[0][-1:]


@probe("shortcut_forward", cases=projected(SHORTCUTS))
def option_b(impl, rng, N, C, H, W, channels, stride):
    x, w = rng.standard_normal((N, C, H, W)), rng.standard_normal((channels, C))
    yield "B", impl.shortcut_forward(x, channels, stride, w)[0][-1:]


@probe("shortcut_forward", cases=[(2, 3, 4, 5)])
def without_a_stride(impl, rng, N, C, H, W):
    x, w = rng.standard_normal((N, C, H, W)), rng.standard_normal((C + 2, C))
    yield "A", impl.shortcut_forward(x, C + 2)[0]
    yield "B", impl.shortcut_forward(x, C + 2, w=w)[0]


@probe("shortcut_forward", cases=[(2, 3, 4, 5)])
def projections_of_zeros(impl, rng, N, C, H, W):
    x = rng.standard_normal((N, C, H, W))
    yield "B", impl.shortcut_forward(x, C, 1, np.zeros((C, C)))[0]
    yield "x beside it", x


@probe("shortcut_backward")
def one_gradient_after_another(impl, rng):
    shapes_and_axes = (2, 4, 5, 3, 1), (2, 4, 3, 2, 1), (4, 4, 2)
    x, g, w = (exchanged(mirrored(rng, *shape), axes) for *shape, axes in shapes_and_axes)
    seen, caches, once_more = [], [], g[0].copy()
    for k in range(2):
        caches.append(impl.shortcut_forward(x[k], 4, 2, w[k])[1])
        seen.append(dict(named("dx dw", impl.shortcut_backward(g[k], caches[k]))))
    seen.append(dict(named("dx dw", impl.shortcut_backward(once_more, caches[0]))))
    for name in ("dx", "dw"):
        yield f"{name}, one after another", observe([one[name] for one in seen], judge=one_after_another)


@probe("shortcut_backward")
def corners_by_hand(impl, rng):
    for name, w in (("A", None), ("B", COLUMN)):
        _, cache = impl.shortcut_forward(NINE, 2, 2, w)
        dx, dw = impl.shortcut_backward(np.ones((1, 2, 2, 2)), cache)
        yield f"dx of {name}", dx
        yield f"dw of {name}", dw


@probe("shortcut_backward", cases=SHORTCUTS)
def gradients_of_a(impl, rng, N, C, H, W, channels, stride):
    x, g = rng.standard_normal((N, C, H, W)), rng.standard_normal((N, channels, -(-H // stride), -(-W // stride)))
    _, cache = impl.shortcut_forward(x, channels, stride)
    yield from named("dx dw", impl.shortcut_backward(g, cache))


@probe("shortcut_backward", cases=[(*case, 1.0) for case in projected(SHORTCUTS)] + [(2, 3, 5, 4, 4, 2, 1e7)])
def gradients_of_b(impl, rng, N, C, H, W, channels, stride, size):
    x, g = rng.standard_normal((N, C, H, W)), rng.standard_normal((N, channels, -(-H // stride), -(-W // stride)))
    w = rng.standard_normal((channels, C))
    _, cache = impl.shortcut_forward(x, channels, stride, w)
    yield from named("dx dw", impl.shortcut_backward(size * g, cache))


@probe("shortcut_backward", cases=[(2, 3, 4, 3)])
def back_through_zeros(impl, rng, N, C, H, W):
    x, g = rng.standard_normal((N, C, H, W)), rng.standard_normal((N, C + 1, H, W))
    _, cache = impl.shortcut_forward(x, C + 1, 1, np.zeros((C + 1, C)))
    dx, dw = impl.shortcut_backward(g, cache)
    yield "dx of the first picture", dx[:1]
    yield "dw", dw


@probe("shortcut_backward", cases=[(2, 3, 5, 4)])
def shortcuts_walked_back_later(impl, rng, N, C, H, W):
    x, w = rng.standard_normal((3, N, C, H, W)), rng.standard_normal((3, C, C))
    g = rng.standard_normal((3, N, C, 3, 2))
    caches = [impl.shortcut_forward(x[k], C, 2, w[k] if k else None)[1] for k in range(3)]
    for k in (0, 2, 1, 0):
        yield from named(f"dx_of_{k} dw_of_{k}", impl.shortcut_backward(g[k], caches[k]))


@probe("shortcut_backward", cases=[(8, 24, 48, 40, 32, 2)])
def a_large_shortcut(impl, rng, N, C, H, W, channels, stride):
    x, g = rng.standard_normal((N, C, H, W)), rng.standard_normal((N, channels, H // stride, W // stride))
    w = rng.standard_normal((channels, C))
    for name, weights in (("A", None), ("B", w)):
        dx, dw = impl.shortcut_backward(g, impl.shortcut_forward(x, channels, stride, weights)[1])
        yield f"dx of {name}", dx[::5, ::9, :2, :3]
        yield f"dw of {name}", dw if weights is None else dw[::9, ::7]


@probe("shortcut_backward", cases=[(2, 3, 5, 4, 4, 2)])
def with_own_shortcut(impl, rng, N, C, H, W, channels, stride):
    x, along, w = (
        rng.standard_normal((N, C, H, W)),
        rng.standard_normal((N, C, H, W)),
        rng.standard_normal((channels, C)),
    )
    g = rng.standard_normal((N, channels, 3, 2))
    dx, _ = impl.shortcut_backward(g, impl.shortcut_forward(x, channels, stride, w)[1])
    yield "dx", dx
    numeric = slope(lambda v: np.sum(impl.shortcut_forward(v, channels, stride, w)[0] * g), x, along)
    yield "slope along x", agree(np.sum(dx * along), numeric)


# Batch norm, backward -----------------------------------------------------------------------------------------------


def norm_cache(impl, x, gamma, beta, eps=1e-5):
    """The cache of a pass in training."""
    running = np.zeros(x.shape[1]), np.ones(x.shape[1])
    return impl.batchnorm_forward(x, gamma, beta, running, True, *([eps] if eps is not None else []))[2]


@probe("batchnorm_backward")
def one_norm_after_another(impl, rng):
    x, dy = (exchanged(mirrored(rng, 2, 4, 1, 3)) for _ in range(2))
    gamma, beta = (exchanged(mirrored(rng, 4), axes=2) for _ in range(2))
    seen, caches, once_more = [], [], dy[0].copy()
    for k in range(2):
        caches.append(norm_cache(impl, x[k], gamma[k], beta[k], None))
        seen.append(dict(named("dx dgamma dbeta", impl.batchnorm_backward(dy[k], caches[k]))))
    seen.append(dict(named("dx dgamma dbeta", impl.batchnorm_backward(once_more, caches[0]))))
    for name in ("dx", "dgamma", "dbeta"):
        yield f"{name}, one after another", observe([one[name] for one in seen], judge=one_after_another)


@probe("batchnorm_backward")
def two_numbers(impl, rng):
    cache = norm_cache(impl, picture(1, 3), np.ones(1), np.zeros(1), eps=1.0)
    yield from named("dx dgamma dbeta", impl.batchnorm_backward(picture(0, 1), cache))


@probe(
    "batchnorm_backward",
    cases=[
        (4, 3, 3, 2, 1e-5, 1.0),
        (1, 3, 4, 2, 0.5, 1.0),
        (5, 2, 1, 1, 1e-3, 1.0),
        (2, 2, 2, 2, 1e-5, 1e6),
        (2, 4, 1, 6, 2.0, 1e-9),
        (2, 1, 2, 3, 0.1, 1.0),
    ],
)
def norm_gradients(impl, rng, N, C, H, W, eps, size):
    x, gamma, beta, _ = draw_norm(rng, N, C, H, W)
    dy = size * (rng.standard_normal((N, C, H, W)) + 1.0)  # its mean is not 0
    dx, dgamma, dbeta = impl.batchnorm_backward(dy, norm_cache(impl, x, gamma, beta, eps))
    yield "dx of the last picture", dx[-1:]
    yield from named("dgamma dbeta", (dgamma, dbeta))


@probe("batchnorm_backward", cases=[(4, 3, 2, 3)])
def off_centre(impl, rng, N, C, H, W):
    x, gamma, beta, _ = draw_norm(rng, N, C, H, W)
    x[:, 0] += 1e4
    gamma[1] = 0.0
    x[:, 2] *= 1e-3  # a variance near ε
    dy = rng.standard_normal((N, C, H, W)) + 1.0
    dx, dgamma, dbeta = impl.batchnorm_backward(dy, norm_cache(impl, x, gamma, beta))
    for c in range(C):
        yield f"dx of channel {c}", observe(dx[::2, c], rtol=1e-7)
    yield from named("dgamma dbeta", (observe(dgamma, rtol=1e-7), dbeta))


@probe("batchnorm_backward", cases=[(3, 2, 2, 2)])
def small_numbers(impl, rng, N, C, H, W):
    x, gamma, beta, _ = draw_norm(rng, N, C, H, W)
    dy = rng.standard_normal((N, C, H, W)) + 1.0
    dx, _, _ = impl.batchnorm_backward(dy, norm_cache(impl, 1e-6 * x, gamma, beta, eps=1e-12))
    yield "dx of the last picture", observe(dx[-1:], rtol=1e-7)


@probe("batchnorm_backward", cases=[(2, 3, 2, 4)])
def a_flat_channel(impl, rng, N, C, H, W):
    x, gamma, beta, _ = draw_norm(rng, N, C, H, W)
    x[:, 1] = 2.0  # no variance: x̂ = 0
    dy = rng.standard_normal((N, C, H, W)) + 1.0
    dx, dgamma, dbeta = impl.batchnorm_backward(dy, norm_cache(impl, x, gamma, beta))
    yield "dx of two channels, the second of them flat", dx[:, :2]
    yield from named("dgamma dbeta", (dgamma, dbeta))


@probe("batchnorm_backward", cases=[(2, 2, 1, 3)])
def norms_walked_back_later(impl, rng, N, C, H, W):
    drawn = [draw_norm(rng, N, C, H, W) for _ in range(2)]
    dy = rng.standard_normal((2, N, C, H, W)) + 1.0
    caches = [norm_cache(impl, x, gamma, beta) for x, gamma, beta, _ in drawn]
    for name, k in (("first cache", 0), ("second cache", 1), ("first cache once more", 0)):
        dx, dgamma, _ = impl.batchnorm_backward(dy[k], caches[k])
        yield f"dx from the {name}", dx[:1]
        yield f"dgamma from the {name}", dgamma


@probe("batchnorm_backward", cases=[(32, 2, 40, 36)])
def a_large_batch(impl, rng, N, C, H, W):
    x, gamma, beta, _ = draw_norm(rng, N, C, H, W)
    dy = rng.standard_normal((N, C, H, W)) + 1.0
    dx, dgamma, dbeta = impl.batchnorm_backward(dy, norm_cache(impl, x, gamma, beta))
    yield from named("dx dgamma dbeta", (dx[::31, :, ::20, ::18], dgamma, dbeta))


@probe("batchnorm_backward", cases=[(3, 2, 2, 4)])
def with_own_norm(impl, rng, N, C, H, W):
    x, gamma, beta, running = draw_norm(rng, N, C, H, W)
    dy, along = rng.standard_normal((2, N, C, H, W))
    dx, _, _ = impl.batchnorm_backward(dy, norm_cache(impl, x, gamma, beta))
    yield "dx of the last picture", dx[-1:]
    numeric = slope(lambda v: np.sum(impl.batchnorm_forward(v, gamma, beta, running)[0] * dy), x, along)
    yield "slope along x", agree(np.sum(dx * along), numeric)


# The block ----------------------------------------------------------------------------------------------------------

BLOCKS = [  # N, C, channels, H, W, stride, kind
    (2, 3, 3, 2, 5, 1, "A"),
    (1, 2, 4, 3, 4, 2, "A"),
    (2, 2, 5, 3, 2, 1, "A"),
    (2, 2, 2, 3, 5, 2, "A"),
    (2, 1, 2, 7, 2, 3, "A"),
    (2, 2, 4, 3, 2, 2, "B"),
    (2, 3, 3, 3, 3, 1, "B"),
    (1, 2, 3, 4, 3, 1, "B"),
    (1, 2, 2, 4, 3, 1, "plain"),
    (2, 2, 3, 3, 2, 2, "plain"),
    (4, 1, 1, 1, 1, 1, "A"),
]


def draw_block(rng, C, channels, kind):
    """Parameters of order one."""
    p = {"w1": rng.standard_normal((channels, C, 3, 3)), "w2": rng.standard_normal((channels, channels, 3, 3))}
    for name in ("gamma1", "beta1", "gamma2", "beta2"):
        p[name] = rng.standard_normal(channels)
    return p | ({"proj": rng.standard_normal((channels, C))} if kind == "B" else {})


def silent(kind):
    """One channel, F = 0."""
    p = {"w1": np.ones((1, 1, 3, 3)), "w2": np.ones((1, 1, 3, 3)), "gamma1": np.ones(1), "beta1": np.zeros(1)}
    return p | {"gamma2": np.zeros(1), "beta2": np.zeros(1)}


def mirrored_blocks(rng):
    """Parameters, of four channels, that are the same backwards; and with their channels exchanged."""
    shapes_of = {"w1": (4, 4, 3, 3), "w2": (4, 4, 3, 3), "proj": (4, 4)}
    shapes_of |= {name: (4,) for name in ("gamma1", "beta1", "gamma2", "beta2")}
    pairs = {name: exchanged(mirrored(rng, *shape), axes=2) for name, shape in shapes_of.items()}
    return [{name: pair[k] for name, pair in pairs.items()} for k in range(2)]


@probe("block_forward")
def one_block_after_another(impl, rng):
    p, x = mirrored_blocks(rng), exchanged(mirrored(rng, 2, 4, 2, 3))
    yield "y", observe([impl.block_forward(p[k], x[k])[0] for k in range(2)], judge=one_after_another)
    y = [impl.block_forward(one, x[0])[0] for one in p]
    yield "y of one x with other weights", observe(y, judge=other_weights)


@probe("block_forward", cases=[("A",), ("plain",)], part="kind")
def silent_by_hand(impl, rng, kind):
    y, _ = impl.block_forward(silent(kind), picture(-1, 2), 1, kind != "plain")
    yield "y", y


@probe("block_forward", cases=[*BLOCKS, (2, 2, 2, 4, 4, 3, "A"), (2, 2, 3, 1, 4, 2, "A")], part="kind")
def blocks(impl, rng, N, C, channels, H, W, stride, kind):
    p, x = draw_block(rng, C, channels, kind), 2 * rng.standard_normal((N, C, H, W))
    y, _ = impl.block_forward(p, x, stride, kind != "plain")
    yield "y of the last picture", y[-1:]


@probe("block_forward", cases=[(3, 2, 2, 2, 4, "A"), (2, 2, 3, 4, 2, "B")], part="kind")
def blocks_by_default(impl, rng, N, C, channels, H, W, kind):
    p, x = draw_block(rng, C, channels, kind), 2 * rng.standard_normal((N, C, H, W))
    yield "y", impl.block_forward(p, x)[0]


@probe("block_forward", cases=[("A", 30.0), ("A", -30.0), ("plain", -30.0)], part="kind")
def one_sided(impl, rng, kind, shift):
    """The sum lies on one side of zero."""
    p, x = draw_block(rng, 2, 2, kind), rng.standard_normal((2, 2, 2, 3))
    p["beta2"] = shift * np.array([1.0, 0.01])
    x[:, 0] -= 0.9 * shift
    y, _ = impl.block_forward(p, x, 1, kind != "plain")
    yield "y", y


@probe("block_backward")
def one_block_back_after_another(impl, rng):
    p = mirrored_blocks(rng)
    x, dy = (exchanged(mirrored(rng, 2, 4, 2, 3)) for _ in range(2))
    seen, caches, once_more = [], [], dy[0].copy()
    for k in range(2):
        caches.append(impl.block_forward(p[k], x[k])[1])
        dx, grads = impl.block_backward(dy[k], caches[k])
        seen.append({"dx": dx} | {name: grads[name] for name in ("w1", "gamma2", "proj")})
    dx, grads = impl.block_backward(once_more, caches[0])
    seen.append({"dx": dx} | {name: grads[name] for name in ("w1", "gamma2", "proj")})
    for name in seen[0]:
        yield f"{name}, one after another", observe([one[name] for one in seen], judge=one_after_another)


@probe("block_backward", cases=[("A",), ("plain",)], part="kind")
def silent_gradient(impl, rng, kind):
    _, cache = impl.block_forward(silent(kind), picture(-1, 2), 1, kind != "plain")
    dx, grads = impl.block_backward(picture(3, 5), cache)
    yield "dx", dx
    yield "dbeta2", grads["beta2"]


@probe("block_backward", cases=[(*case, 1.0) for case in BLOCKS] + [(2, 2, 3, 5, 4, 2, "B", 1e5)], part="kind")
def block_gradients(impl, rng, N, C, channels, H, W, stride, kind, size):
    p, x = draw_block(rng, C, channels, kind), 2 * rng.standard_normal((N, C, H, W))
    dy = size * rng.standard_normal((N, channels, -(-H // stride), -(-W // stride)))
    _, cache = impl.block_forward(p, x, stride, kind != "plain")
    dx, grads = impl.block_backward(dy, cache)
    yield "dx of the last picture", dx[-1:]
    yield "shapes of grads", {name: list(np.shape(grads[name])) for name in sorted(grads)}
    for name in p:
        if name.startswith("w"):  # three places that no mirroring exchanges
            some = grads[name][:, 0, [0, 1, 2], [0, 2, 1]]
            yield f"{name}, three numbers of each filter", observe(some, atol=1e-9 * size)
        else:
            yield name, observe(grads[name], atol=1e-9 * size)


@probe("block_backward", cases=[(2, 2, 3, 4)])
def at_the_kink(impl, rng, N, C, H, W):
    p, x = draw_block(rng, C, C, "A"), rng.standard_normal((N, C, H, W))
    p["gamma2"][:] = p["beta2"][:] = 0.0
    x[:, :, ::2] = 0.0  # z is exactly 0 here
    p["gamma1"][0] = p["beta1"][0] = 0.0  # and so is the input of the first ReLU
    dy = rng.standard_normal((N, C, H, W)) + 1.0
    dx, grads = impl.block_backward(dy, impl.block_forward(p, x)[1])
    yield "dx", dx
    yield from named("gamma2 beta2", (grads["gamma2"], grads["beta2"]))
    p["gamma2"] = np.ones(C)
    x[:] = np.abs(x) + 50.0
    dx, grads = impl.block_backward(dy, impl.block_forward(p, x)[1])
    yield from named("gamma1 beta1", (grads["gamma1"], grads["beta1"]))


@probe("block_backward", cases=[(2, 2, 2, 3, "A"), (2, 2, 2, 3, "plain")], part="kind")
def blocks_walked_back_later(impl, rng, N, C, H, W, kind):
    p = [draw_block(rng, C, C, kind) for _ in range(2)]
    x, dy = rng.standard_normal((2, 2, N, C, H, W))
    caches = [impl.block_forward(p[k], x[k], 1, kind != "plain")[1] for k in range(2)]
    for name, k in (("first", 0), ("second", 1), ("first once more", 0)):
        dx, grads = impl.block_backward(dy[k], caches[k])
        yield f"dx, {name}", dx[:1]
        yield f"w1, {name}", observe(grads["w1"][:1, :1], atol=1e-9)


@probe("block_backward", cases=[(6, 20, 32, 20, 16, 2)])
def a_large_block(impl, rng, N, C, channels, H, W, stride):
    p, x = draw_block(rng, C, channels, "B"), rng.standard_normal((N, C, H, W))
    dy = rng.standard_normal((N, channels, H // stride, W // stride))
    dx, grads = impl.block_backward(dy, impl.block_forward(p, x, stride)[1])
    yield "dx", dx[::5, ::19, ::9, ::9]
    yield "w1", grads["w1"][-1:, ::19]
    yield "proj", grads["proj"][::16, ::9]


@probe("block_backward", cases=[(3, 2, 3, 5, 4, 2, "B"), (3, 2, 2, 4, 4, 1, "A")], part="kind")
def with_own_block(impl, rng, N, C, channels, H, W, stride, kind):
    p, x = draw_block(rng, C, channels, kind), rng.standard_normal((N, C, H, W))
    along = rng.standard_normal(x.shape)
    dy = rng.standard_normal((N, channels, -(-H // stride), -(-W // stride)))
    dx, _ = impl.block_backward(dy, impl.block_forward(p, x, stride)[1])
    yield "dx of the last picture, every other row", dx[-1:, :, ::2]
    numeric = slope(lambda v: np.sum(impl.block_forward(p, v, stride)[0] * dy), x, along)
    yield "slope along x", agree(np.sum(dx * along), numeric)


# PyTorch ------------------------------------------------------------------------------------------------------------


def worn(module, rng):
    """Give every batch norm running statistics of its own, as after training."""
    import torch

    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.copy_(torch.from_numpy(rng.standard_normal(part.num_features)))
            part.running_var.copy_(torch.from_numpy(rng.uniform(0.3, 4.0, size=part.num_features)))
    return module


def built(impl, C, channels, stride, kind):
    """A block. One of another kind is built beside it: how long a kind's name is says nothing of what fails."""
    impl.BasicBlock(C, channels, stride, "A" if kind == "plain" else "plain")
    return impl.BasicBlock(C, channels, stride, kind)


def torch_s_own(got, expected):
    """The largest of many first weights is close to the bound that they are drawn within."""
    if abs(float(got) - float(expected)) < 0.02:
        return None
    return (
        f"the largest first weight is {float(got):.2f} / √fan-in; PyTorch's own are at most 1 / √fan-in. Layers keep "
        "PyTorch's own first weights here: don't draw new ones."
    )


@probe(
    "BasicBlock",
    cases=[
        (2, 3, 3, 2, 5, 1, "A", True),
        (2, 2, 4, 3, 4, 2, "A", True),
        (2, 2, 5, 3, 4, 1, "A", False),
        (2, 3, 3, 3, 3, 2, "A", True),
        (2, 1, 2, 7, 2, 3, "A", False),
        (2, 2, 4, 3, 4, 2, "B", True),
        (2, 2, 2, 5, 4, 2, "B", False),
        (2, 2, 3, 4, 3, 1, "B", True),
        (2, 3, 3, 2, 4, 1, "B", True),
        (2, 2, 2, 4, 3, 1, "plain", True),
        (2, 2, 3, 3, 2, 2, "plain", False),
    ],
    part="kind",
)
def modules(impl, rng, N, C, channels, H, W, stride, kind, training):
    import torch

    x = torch.tensor(2 * rng.standard_normal((N, C, H, W)), requires_grad=True)
    dy = torch.tensor(rng.standard_normal((N, channels, -(-H // stride), -(-W // stride))))
    seed, wear = int(rng.integers(2**32)), np.random.default_rng(int(rng.integers(2**32)))
    block = built(impl, C, channels, stride, kind).double()
    yield "parameters", shapes(block)
    block = worn(fill(block, seed), wear).train(training)
    y = block(x)
    yield "y of the last picture", y[-1:]
    if y.requires_grad:
        torch.sum(y * dy).backward()
    yield "dx of a channel", None if x.grad is None else x.grad[-1:, :1]
    for name, parameter in sorted(block.named_parameters()):
        if name in ("conv1.weight", "bn2.weight", "proj.weight"):
            grad = parameter.grad
            yield f"d {name}", observe(grad if grad is None or grad.dim() == 1 else grad[-1:, :1], atol=1e-9)
    yield "running variances", (block.bn1.running_var, block.bn2.running_var)


@probe("BasicBlock", cases=[(3, 3, "float32"), (2, 4, "float64"), (24, 32, "float64")])
def blocks_of_default_kind(impl, rng, C, channels, dtype):
    import torch

    dtype = getattr(torch, dtype)
    x, seed = torch.tensor(rng.standard_normal((2, C, 4, 5)), dtype=dtype), int(rng.integers(2**32))
    block = impl.BasicBlock(C, channels).to(dtype)
    yield "parameters", shapes(block)
    yield "kind", block.kind
    yield "y", fill(block, seed)(x)[:, :3, ::2, ::3]


@probe("BasicBlock", cases=[("A",), ("plain",)], part="kind")
def first_weights(impl, rng, kind):
    import torch

    x, seed = torch.tensor(rng.standard_normal((2, 24, 2, 2)), dtype=torch.float32), int(rng.integers(2**32))
    torch.manual_seed(seed)
    block = built(impl, 24, 32, 1, kind)
    for name, layer in (("conv1", block.conv1), ("conv2", block.conv2)):
        fan_in = layer.weight[0].numel()
        largest = fan_in**0.5 * layer.weight.abs().max().item()
        yield f"first weights of {name}", observe(largest, judge=torch_s_own)
    for name, layer in (("bn1", block.bn1), ("bn2", block.bn2)):
        yield f"γ and β of {name}", (layer.weight, layer.bias)
        yield f"ε and momentum of {name}", (layer.eps, layer.momentum)
    yield "shape of y", list(block(x).shape)


@probe("BasicBlock", cases=[("A",), ("B",)], part="kind")
def a_silent_block(impl, rng, kind):
    import torch

    x, dy = torch.tensor(rng.standard_normal((2, 2, 3, 4, 5)))
    x.requires_grad_()
    seed = int(rng.integers(2**32))
    block = fill(built(impl, 3, 3, 1, kind).double(), seed)
    with torch.no_grad():
        block.bn2.weight.zero_()
        block.bn2.bias.zero_()
    y = block(x)
    yield "y", y
    torch.sum(y * dy).backward()
    yield "dx", x.grad


@probe("make_identity")
def fresh_by_hand(impl, rng):
    import torch

    seed = int(rng.integers(2**32))
    block = fill(built(impl, 1, 1, 1, "plain").double(), seed)
    impl.make_identity(block)
    yield "block(x)", observe(block.eval()(torch.from_numpy(np.abs(NINE))), atol=1e-9)


@probe(
    "make_identity",
    cases=[
        (3, 4, 5, "plain", "float64", True),
        (4, 3, 3, "plain", "float64", False),
        (5, 1, 2, "plain", "float32", False),
        (3, 4, 5, "A", "float64", True),
        (2, 3, 4, "A", "float32", False),
        (3, 4, 5, "B", "float64", False),
        (1, 5, 3, "B", "float64", True),
    ],
)
def copies(impl, rng, C, H, W, kind, dtype, training):
    import torch

    dtype = getattr(torch, dtype)
    x = torch.tensor(np.maximum(4 * rng.standard_normal((1 + C % 2, C, H, W)), 0.0), dtype=dtype)
    seed, wear = int(rng.integers(2**32)), np.random.default_rng(int(rng.integers(2**32)))
    eps = rng.uniform(0.01, 1.0, size=2).tolist()
    block = worn(fill(built(impl, C, C, 1, kind).to(dtype), seed), wear).train(training)
    block.bn1.eps, block.bn2.eps = eps
    block.conv1.weight.requires_grad_(False)
    block.bn2.eval()
    grads = training or kind != "plain"
    before, objects = [part.training for part in block.modules()], list(block.parameters())
    with torch.set_grad_enabled(grads):
        impl.make_identity(block)
        yield "grad mode is as before", torch.is_grad_enabled() == grads
    yield "kind and stride", (block.kind, block.stride)
    yield "modes are as before", [part.training for part in block.modules()] == before
    yield "the same parameter objects", [a is b for a, b in zip(objects, block.parameters(), strict=True)]
    own = {part.data_ptr() for norm in (block.bn1, block.bn2) for part in (norm.running_mean, norm.running_var)}
    yield "parameters apart from running statistics", [w.data_ptr() not in own for w in block.parameters()]
    yield "parameters apart from one another", len({w.data_ptr() for w in block.parameters()}) == len(objects)
    yield "requires_grad", {name: w.requires_grad for name, w in sorted(block.named_parameters())}
    for name in ("bn1", "bn2"):
        part = getattr(block, name)
        yield f"running statistics of {name}", (part.running_mean, part.running_var)
        yield f"ε and momentum of {name}", (part.eps, part.momentum)
    yield "names that the block itself holds beside its own", sorted({"forward"} & set(vars(block)))
    with torch.no_grad():
        yield "block(x)", observe(block.eval()(x)[-1:], atol=1e-4 if dtype == torch.float32 else 1e-9)


@probe("make_identity", cases=[("plain",), ("A",)])
def copies_of_far_numbers(impl, rng, kind):
    import torch

    x = torch.tensor(np.abs(rng.standard_normal((2, 3, 4, 4))) * np.array([1e4, 1.0, 1e-4])[:, None, None])
    seed, wear = int(rng.integers(2**32)), np.random.default_rng(int(rng.integers(2**32)))
    block = worn(fill(built(impl, 3, 3, 1, kind).double(), seed), wear)
    with torch.no_grad():
        block.bn1.running_var *= torch.tensor([1e4, 1.0, 0.0], dtype=torch.float64)  # a channel that was silent
        block.bn2.running_mean -= 20.0
    impl.make_identity(block)
    y = block.eval()(x)
    for c in range(3):
        yield f"channel {c}", observe(y[1:, c, ::2], rtol=1e-7)


def crossed():
    """A network whose parts run in another order than they were registered in, with ReLUs in place."""
    from torch import nn

    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.late = nn.BatchNorm2d(3)
            self.deep = nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True)))
            self.frozen = nn.BatchNorm2d(2)
            self.out = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.BatchNorm1d(12))

        def forward(self, x):
            x = nn.functional.relu(self.frozen(x), inplace=True)
            x = self.deep(x)
            y = self.late(x)
            y += x
            return self.out(y.relu_())

    return Crossed()


@probe("layer_responses")
def response_by_hand(impl, rng):
    import torch

    norm = torch.nn.BatchNorm2d(1, eps=1e-12).double()
    found = impl.layer_responses(norm, torch.from_numpy(picture(1, 3)))
    yield "responses", found
    more = impl.layer_responses(norm, torch.from_numpy(picture(1, 7)))
    yield "responses to two pictures", observe([found, more], judge=other_pictures)


@probe("layer_responses", cases=[(150,), (2,)])
def many_pictures_in_one_pass(impl, rng, N):
    """The last ones are larger; and a part that listens hears of neither gradients nor a second pass."""
    import torch

    x = torch.tensor(rng.standard_normal((N, 1, 3, 3)))
    x[N // 2 :] *= 5
    heard = []

    class Listener(torch.nn.Module):
        def forward(self, x):
            heard.append((len(x), torch.is_grad_enabled()))
            return x

    net = torch.nn.Sequential(Listener(), torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2)).double()
    yield "responses", impl.layer_responses(fill(net, int(rng.integers(2**32))), x)
    yield "pictures, and whether gradients were on, in each pass", heard


@probe("layer_responses", cases=[(3, True), (1, False)])
def responses(impl, rng, N, training):
    import torch

    x = torch.tensor(rng.standard_normal((N, 2, 4, 4)))
    seed, wear = int(rng.integers(2**32)), np.random.default_rng(int(rng.integers(2**32)))
    net = worn(fill(crossed().double(), seed), wear).train(training)
    net.frozen.eval()
    with torch.set_grad_enabled(training):
        found = impl.layer_responses(net, x)
        yield "grad mode is as before", torch.is_grad_enabled() == training
    yield "responses", found


@probe("layer_responses", cases=[(True,), (False,)])
def left_as_it_was(impl, rng, training):
    import torch

    x = torch.tensor(rng.standard_normal((3, 2, 4, 4)))
    seed, wear = int(rng.integers(2**32)), np.random.default_rng(int(rng.integers(2**32)))
    net = worn(fill(crossed().double(), seed), wear).train(training)
    net.frozen.train(not training)
    net.deep.train(not training)
    net.deep[0][2].train(training)
    modes = [part.training for part in net.modules()]
    net.late.register_forward_hook(lambda part, inputs, output: None)
    net.late.weight.grad = torch.ones(3, dtype=torch.float64)
    x.requires_grad_()
    found = impl.layer_responses(net, x)
    yield "responses", found
    yield "modes", [part.training for part in net.modules()] == modes
    yield "hooks that are left, the caller's own among them", [len(part._forward_hooks) for part in net.modules()]
    yield "gradients", {name: parameter.grad for name, parameter in sorted(net.named_parameters())}
    yield "x asks for gradients, and holds some", (x.requires_grad, x.grad is not None)
    yield "grad mode", torch.is_grad_enabled()
    yield "running variance", net.late.running_var


@probe("layer_responses", cases=[(1, "A"), (2, "plain")])
def responses_of_a_resnet(impl, rng, n, kind):
    import torch

    x = torch.tensor(rng.standard_normal((4, 1, 8, 8)))
    seed, wear = int(rng.integers(2**32)), np.random.default_rng(int(rng.integers(2**32)))
    net = worn(fill(impl.ResNet(n, kind).double(), seed), wear).train()
    yield "responses", impl.layer_responses(net, x)


@probe("layer_responses", cases=[(5, 1e5), (5, 1.0)])
def far_responses(impl, rng, C, shift):
    import torch

    x = torch.tensor(rng.standard_normal((2, C, 3, 3)))
    seed = int(rng.integers(2**32))
    net = fill(torch.nn.Sequential(torch.nn.BatchNorm2d(C), torch.nn.ReLU(inplace=True)).double(), seed)
    with torch.no_grad():
        net[0].bias.fill_(shift)
    yield "responses", impl.layer_responses(net, x)
