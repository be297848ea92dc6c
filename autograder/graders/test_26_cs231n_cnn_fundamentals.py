"""Probes of 26: neighbours, hinge loss, Adam, batch normalisation, a convolutional network, saliency, a babysitter."""

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope


def part(value, every):
    """One of `every` numbers of an array, so that keys stay small."""
    return value.ravel()[::every] if isinstance(value, np.ndarray) else value


def dozen(value, count=12):
    """About twelve numbers of an array, or of each in a dict; their distance shares no factor with its sides."""
    if isinstance(value, dict):
        return {name: dozen(held, count) for name, held in value.items()}
    if not isinstance(value, np.ndarray) or not value.ndim:
        return value
    every = max(1, value.size // count)
    while any(side > 1 and np.gcd(every, side) > 1 for side in value.shape):
        every += 1
    return value.ravel()[::every]


def kept(got, expected):
    """Two results, the second for the first one's arguments in another order: only a memory gets just one right."""
    right = [
        isinstance(mine, np.ndarray) and mine.shape == its.shape and bool(np.allclose(mine, its, rtol=1e-3, atol=1e-6))
        for mine, its in zip(got, expected, strict=True)
    ]
    if all(right) or not right[0]:
        return None
    return (
        "the first call is right. The next one, with the same numbers in another order, is not: something is kept from "
        "call to call (a memo by shape, a global, a default argument)."
    )


EXCHANGED = [1, 0, 3, 2]


def mirrored(rng, *shape):
    """Numbers that are the same backwards."""
    a = rng.standard_normal(shape)
    return a + np.flip(a)


@probe("knn_predict")
def again_with_queries_in_another_order(impl, rng):
    D, half = np.abs(mirrored(rng, 4, 8)), rng.permutation(np.array([0, 1, 2, 1]))
    y = np.concatenate([half, half[::-1]])
    both = [np.asarray(impl.knn_predict(A, y, 3)) for A in (D, D[EXCHANGED])]
    yield "labels of two calls", observe(both, judge=kept)


@probe("knn_predict")
def four_stored_pictures(impl, rng):
    D, y = np.array([[3.0, 1.0, 0.5, 2.0]]), np.array([2, 0, 1, 0])
    for k in (1, 2, 3):
        yield f"label with k = {k}", impl.knn_predict(D, y, k)


@probe(
    "knn_predict",
    cases=[(1, 1, 1, 1), (5, 8, 3, 1), (6, 11, 4, 3), (1, 9, 3, 5), (7, 4, 3, 4), (3, 60, 5, 13), (4, 4, 2, 2)],
)
def votes(impl, rng, Q, N, classes, k):
    D, y = rng.uniform(0.5, 2.0, size=(Q, N)), rng.integers(classes, size=N)
    yield "labels", impl.knn_predict(D, y, k)


@probe("knn_predict", cases=[(6, 20, 4), (3, 300, 7), (4, 300, 40)])
def equal_distances(impl, rng, Q, N, k):
    D, y = rng.integers(1, 4, size=(Q, N)).astype(float), rng.integers(5, size=N)
    yield "labels where distances are equal and the earlier picture is nearer", impl.knn_predict(D, y, k)


@probe("knn_predict", cases=[(30, 12, 4), (30, 12, 6), (30, 12, 2)])
def equal_votes(impl, rng, Q, N, k):
    D, y = rng.uniform(size=(Q, N)), rng.permutation(np.repeat([5, 1, 3], 4))  # each vote is as likely: many ties
    yield "labels where classes have equally many votes", impl.knn_predict(D, y, k)


@probe("knn_predict", cases=[([4, 9],), ([700, 3, 41],), ([6],)])
def labels_with_gaps(impl, rng, labels):
    D, y = rng.uniform(size=(12, 10)), rng.permutation(np.resize(labels, 10))
    yield "labels where some in between are missing", impl.knn_predict(D, y, 3)


@probe("knn_predict")
def hundreds_of_voters(impl, rng):
    D, y = rng.uniform(size=(2, 400)), rng.permutation(np.repeat([0, 1], [300, 100]))
    yield "labels with k = 400, of which 300 are 0", impl.knn_predict(D, y, 400)


@probe("knn_predict", cases=[(1e200,), (1e-12,), (1.0,)])
def distances_of_another_size(impl, rng, spread):
    near = 1.0 if spread < 1 else 0.0  # all about 1, apart by less than float32 can tell
    D, y = near + spread * rng.uniform(size=(6, 9)), rng.integers(4, size=9)
    yield "labels", impl.knn_predict(D, y, 3)


@probe("knn_predict")
def one_number_of_voters_after_another(impl, rng):
    D, y = rng.uniform(size=(9, 15)).T.copy().T, rng.integers(4, size=15)  # a view with strides of its own
    for k in (1, 5, 15, 2, 7):
        yield f"labels with k = {k}", impl.knn_predict(D, y, k)


@probe("svm_loss")
def three_five_one(impl, rng):
    loss, dW = impl.svm_loss(np.array([[3.0, 5.0, 1.0]]), np.array([[1.0]]), np.array([0]), 0.0)
    yield "loss", loss
    yield "dW", dW


@probe("svm_loss", cases=[(3, 4, 5, 1.0), (2, 3, 2, 2.5)])
def nothing_learnt(impl, rng, N, D, C, delta):
    X, y = rng.standard_normal((N, D)), rng.integers(C, size=N)
    yield from named("loss dW", impl.svm_loss(np.zeros((D, C)), X, y, 0.3, delta))


@probe(
    "svm_loss",
    cases=[
        (1, 1, 2, 0.0, 1.0),
        (5, 4, 3, 0.0, 1.0),
        (5, 4, 3, 0.7, 1.0),
        (1, 6, 4, 0.2, 0.5),
        (7, 3, 6, 0.05, 3.0),
        (4, 5, 4, 0.0, 0.0),
        (3, 3, 3, 1.3, 2.0),
        (6, 2, 1, 0.4, 1.0),
    ],
)
def margins(impl, rng, N, D, C, reg, delta):
    W, X, y = rng.standard_normal((D, C)), rng.standard_normal((N, D)), rng.integers(C, size=N)
    yield from named("loss dW", impl.svm_loss(W, X, y, reg, delta))


@probe("svm_loss", cases=[(8, 3, 4), (1, 2, 5)])
def margins_of_exactly_zero(impl, rng, N, D, C):
    W, X = rng.integers(-1, 2, size=(D, C)).astype(float), rng.integers(-1, 2, size=(N, D)).astype(float)
    y = rng.integers(C, size=N)
    loss, dW = impl.svm_loss(W, X, y, 0.0)
    yield "loss", loss
    yield "dW where some margins are exactly 0", dW


@probe("svm_loss")
def margins_next_to_zero(impl, rng):
    W, X = rng.integers(-1, 2, size=(3, 4)).astype(float), rng.integers(-1, 2, size=(60, 3)).astype(float)
    X, y = X + 1e-10 * rng.standard_normal(X.shape), rng.integers(4, size=60)
    yield "dW where some margins are next to 0", impl.svm_loss(W, X, y, 0.0)[1]


@probe("svm_loss")
def two_hundred_classes(impl, rng):
    W, X, y = 0.01 * rng.standard_normal((2, 200)), rng.standard_normal((2, 2)), rng.integers(130, 200, size=2)
    loss, dW = impl.svm_loss(W, X, y, 0.0)
    yield "loss", loss
    yield "dW of the right classes", np.asarray(dW)[:, y]


@probe("svm_loss", cases=[(1e6,), (1e-6,)])
def scores_of_another_size(impl, rng, size):
    W, X, y = size * rng.standard_normal((4, 3)), rng.standard_normal((6, 4)), rng.integers(3, size=6)
    yield from named("loss dW", impl.svm_loss(W, X, y, 0.1))


@probe("svm_loss")
def all_content(impl, rng):
    X, y = np.eye(4) + 0.01 * rng.standard_normal((4, 4)), np.arange(4)
    yield from named("loss dW", impl.svm_loss(20 * np.eye(4), X, y, 0.05))  # only the penalty is left


@probe("svm_loss")
def one_setting_after_another(impl, rng):
    W, X, y = rng.standard_normal((3, 4)), rng.standard_normal((5, 3)), rng.integers(4, size=5)
    for reg, delta in ((0.1, 1.0), (0.4, 1.0), (0.1, 2.0)):
        for name, value in named("loss dW", impl.svm_loss(W, X, y, reg, delta)):
            yield f"{name} with reg = {reg}, delta = {delta}", dozen(value)


@probe("svm_loss")
def many_weights(impl, rng):
    W, X, y = rng.standard_normal((700, 90)), rng.standard_normal((20, 700)), rng.integers(90, size=20)
    loss, dW = impl.svm_loss(W, X, y, 0.01)
    yield "loss", loss
    yield "dW", part(dW, 2999)


@probe("svm_loss", cases=[(4, 3, 5)])
def with_own_loss(impl, rng, N, D, C):
    W, X, along = rng.standard_normal((D, C)), rng.standard_normal((N, D)), rng.standard_normal((D, C))
    y = rng.integers(C, size=N)
    _, dW = impl.svm_loss(W, X, y, 0.2, 0.7)
    yield "dW", dW
    numeric = slope(lambda V: impl.svm_loss(V, X, y, 0.2, 0.7)[0], W, along)
    yield "slope along W", agree(np.sum(dW * along), numeric)


SIZES = {"w": (3,), "filters": (2, 3, 2, 2), "scale": (), "b": (1, 4)}


def draw_four(rng, v_size=1.0):
    """Weights, gradients and both averages by name, in orders of their own."""
    p, g, m, v = ({name: rng.standard_normal(size) for name, size in SIZES.items()} for _ in range(4))
    v = {name: v_size * np.abs(value) for name, value in v.items()}
    return p, dict(reversed(g.items())), {name: m[name] for name in sorted(m)}, v


def without_filters(value):
    """A dict without its largest array, so that keys stay small."""
    return {name: held for name, held in value.items() if name != "filters"} if isinstance(value, dict) else value


@probe("adam_step")
def first_step(impl, rng):
    zero = {"w": np.array([0.0])}
    yield from named("params m v", impl.adam_step({"w": np.array([1.0])}, {"w": np.array([2.0])}, zero, zero, 1, 0.1))


@probe("adam_step", cases=[(1, 0.1), (2, 0.1), (7, 0.5), (3000, 0.01)])
def one_step(impl, rng, t, lr):
    p, g, m, v = draw_four(rng)
    for name, value in named("params m v", impl.adam_step(p, g, m, v, t, lr)):
        yield name, dozen(value) if t == 7 else without_filters(value)


@probe("adam_step")
def one_setting_of_adam_after_another(impl, rng):
    p, g, m, v = draw_four(rng)
    for more in ({}, {"beta1": 0.6}, {"beta2": 0.4}, {"eps": 0.3}, {"beta1": 0.5, "beta2": 0.7, "eps": 0.05}):
        for t in (3, 4) if not more else (3,):
            for name, value in named("params m v", impl.adam_step(p, g, m, v, t, 0.2, **more)):
                yield f"{name} at t = {t} with {more}", value["b"] if isinstance(value, dict) else value


@probe("adam_step")
def two_of_one_shape(impl, rng):
    p, g, m, v = ({name: rng.uniform(0.5, 2.0, size=2) for name in "ab"} for _ in range(4))
    found = impl.adam_step(p, dict(reversed(g.items())), m, dict(reversed(v.items())), 3, 0.1)
    yield from named("params m v", found)


@probe("adam_step", cases=[(1e-9,), (1e5,), (0.0,)])
def gradients_of_another_size(impl, rng, size):
    p, g, m, _ = draw_four(rng)
    g = {name: size * value for name, value in g.items()}
    zero = {name: np.zeros_like(value) for name, value in m.items()}
    for name, value in named("params m v", impl.adam_step(p, g, zero, zero, 1, 0.1)):
        yield name, without_filters(value)


@probe("adam_step", cases=[(1e-3, 20), (1e-8, 5)])
def a_walk(impl, rng, eps, steps):
    p, g, m, _ = draw_four(rng)
    start = p
    m = v = {name: np.zeros_like(value) for name, value in m.items()}
    for t in range(1, steps + 1):
        p, m, v = impl.adam_step(p, {name: g[name] + p[name] for name in g}, m, v, t, 0.05, eps=eps)
    yield "params", dozen(p)
    yield "m", m["scale"]
    yield "v", v["scale"]
    yield "params are new arrays", not any(np.shares_memory(p[name], start[name]) for name in p)


@probe("adam_step", cases=[(2,), (9,)])
def gradients_of_zero(impl, rng, t):
    """What moved before moves on, and its means fade."""
    p, g, m, v = draw_four(rng)
    g = {name: np.where(rng.random(value.shape) < 0.5, 0.0, value) for name, value in g.items()}
    g["b"] = np.zeros_like(g["b"])
    for name, value in named("params m v", impl.adam_step(p, g, m, v, t, 0.1)):
        yield f"{name} where some gradients are 0", without_filters(value)


def normalised(x, gamma, eps, stats=None):
    """The cache of a forward pass, as the notebook's code makes it."""
    mean, var = (x.mean(axis=0), x.var(axis=0)) if stats is None else stats
    r = 1 / np.sqrt(var + eps)
    return (x - mean) * r, gamma, r, stats is None


@probe("batchnorm_backward", cases=[("training",), ("evaluation",)])
def again_with_columns_in_another_order(impl, rng, mode):
    x, dout, gamma, mean, size = (mirrored(rng, *shape) for shape in [(6, 4), (6, 4), (4,), (4,), (4,)])
    stats = None if mode == "training" else (mean, 0.5 + size**2)
    turned = None if stats is None else (stats[0][EXCHANGED], stats[1][EXCHANGED])
    other, up = np.ascontiguousarray(x[:, EXCHANGED]), np.ascontiguousarray(dout[:, EXCHANGED])
    first, _, _ = impl.batchnorm_backward(dout, normalised(x, gamma, 1e-5, stats))
    second, _, _ = impl.batchnorm_backward(up, normalised(other, gamma[EXCHANGED], 1e-5, turned))
    yield "dx of two calls", observe([np.asarray(first), np.asarray(second)], judge=kept)


@probe("batchnorm_backward", cases=[("training",), ("evaluation",)])
def three_numbers(impl, rng, mode):
    x, dout = np.array([[-(1.5**0.5)], [0.0], [1.5**0.5]]), np.array([[1.0], [0.0], [0.0]])
    stats = None if mode == "training" else (np.zeros(1), np.ones(1))
    found = impl.batchnorm_backward(dout, normalised(x, np.ones(1), 0.0, stats))
    for name, value in named("dx dgamma dbeta", found):
        yield f"{name} in {mode}", value


BATCHES = [  # N, D, eps, size of x
    (1, 1, 1e-5, 1.0),
    (1, 4, 1e-5, 1.0),
    (5, 3, 1e-5, 1.0),
    (4, 1, 1e-5, 3.0),
    (3, 5, 0.5, 1.0),  # a mean square of x̂ that is far from 1
    (6, 2, 1e-5, 1e-3),
    (2, 3, 1e-3, 0.02),
    (4, 4, 1e-5, 1e4),
]


@probe("batchnorm_backward", cases=BATCHES)
def in_training(impl, rng, N, D, eps, size):
    x, dout = size * rng.standard_normal((N, D)) + 2 * size, rng.standard_normal((N, D))
    gamma = rng.standard_normal(D)
    slack = 1e-9 * np.abs(gamma).max() / size if N > 1 else 0.0
    found = impl.batchnorm_backward(dout, normalised(x, gamma, eps))
    for name, value in named("dx dgamma dbeta", found):
        yield name, observe(value, atol=slack if name == "dx" else 1e-9)


@probe("batchnorm_backward", cases=BATCHES[:6])
def in_evaluation(impl, rng, N, D, eps, size):
    x, dout = size * rng.standard_normal((N, D)), rng.standard_normal((N, D))
    gamma, stats = rng.standard_normal(D), (size * rng.standard_normal(D), size**2 * rng.uniform(0.5, 2.0, size=D))
    found = impl.batchnorm_backward(dout, normalised(x, gamma, eps, stats))
    for name, value in named("dx dgamma dbeta", found):
        yield f"{name} in evaluation", value


@probe("batchnorm_backward")
def both_modes_of_one_batch(impl, rng):
    x, dout, gamma = rng.standard_normal((4, 3)), rng.standard_normal((4, 3)), rng.standard_normal(3)
    for training in (True, False, True):
        cache = (*normalised(x, gamma, 1e-5)[:3], training)
        for name, value in named("dx dgamma dbeta", impl.batchnorm_backward(dout, cache)):
            yield f"{name} in {'training' if training else 'evaluation'}", value


@probe("batchnorm_backward")
def a_scale_of_zero(impl, rng):
    x, dout, gamma = rng.standard_normal((5, 3)), rng.standard_normal((5, 3)), np.array([0.0, 1.5, 0.0])
    for name, value in named("dx dgamma dbeta", impl.batchnorm_backward(dout, normalised(x, gamma, 1e-5))):
        yield f"{name} where gamma has zeros", value


@probe("batchnorm_backward")
def gradient_with_a_mean(impl, rng):
    x, gamma = rng.standard_normal((6, 4)), rng.uniform(0.5, 2.0, size=4)
    dout = 3.0 + rng.standard_normal((4, 6)).T  # a view; and far from 0 on average
    yield from named("dx dgamma dbeta", impl.batchnorm_backward(dout, normalised(x, gamma, 1e-5)))


@probe("batchnorm_backward")
def many_columns(impl, rng):
    x, dout, gamma = rng.standard_normal((128, 600)), rng.standard_normal((128, 600)), rng.standard_normal(600)
    for name, value in named("dx dgamma dbeta", impl.batchnorm_backward(dout, normalised(x, gamma, 1e-5))):
        yield name, dozen(value)


def draw_network(rng, N, C, H, W, kernel, filters, classes):
    """Weights of order one and pictures that need not be square."""
    h, w = (((side - kernel + 1) // 2 - 2) // 2 for side in (H, W))
    p = {
        "conv1": rng.standard_normal((filters[0], C, kernel, kernel)) / kernel,
        "conv2": rng.standard_normal((filters[1], filters[0], 3, 3)) / 3,
        "fc": rng.standard_normal((filters[1] * h * w, classes)),
        "bias": rng.standard_normal(classes),
    }
    for k, F in zip("12", filters, strict=True):
        p[f"gamma{k}"], p[f"beta{k}"] = rng.standard_normal(F), rng.standard_normal(F)
    return p, rng.standard_normal((N, C, H, W))


def draw_stats(rng, filters):
    """Means and variances for evaluation."""
    return [(rng.standard_normal(F), rng.uniform(0.5, 2.0, size=F)) for F in filters]


NETWORKS = [  # N, C, H, W, kernel, filters, classes
    (1, 1, 10, 10, 3, (1, 1), 2),
    (2, 3, 10, 14, 3, (2, 3), 4),
    (3, 2, 17, 13, 4, (4, 2), 3),
    (2, 1, 16, 16, 5, (3, 5), 6),
    (4, 1, 12, 19, 2, (3, 3), 3),
]


@probe("cnn_backward")
def again_with_filters_in_another_order(impl, rng):
    p, X = draw_network(rng, 4, 2, 10, 14, 3, (4, 4), 4)
    p, X = {name: value + np.flip(value) for name, value in p.items()}, X + np.flip(X)  # the same backwards
    dscores = mirrored(rng, 4, 4)
    turned = p | {"conv1": p["conv1"][EXCHANGED], "conv2": np.ascontiguousarray(p["conv2"][:, EXCHANGED])}
    turned |= {name: p[name][EXCHANGED] for name in ("gamma1", "beta1")}
    found = []
    for weights, order in ((p, [0, 1, 2, 3]), (turned, EXCHANGED)):
        _, cache, _ = impl.cnn_forward(weights, X[order])
        found.append(dozen(np.asarray(impl.cnn_backward(dscores[order], cache)[0])[order], 50))
    yield "dX of two calls", observe(found, judge=kept)


@probe("cnn_backward")
def nothing_gets_through(impl, rng):
    p, X = draw_network(rng, 2, 1, 10, 10, 3, (2, 2), 2)
    p["fc"] = np.zeros_like(p["fc"])
    _, cache, _ = impl.cnn_forward(p, X)
    yield from named("dX grads", impl.cnn_backward(np.array([[1.0, -1.0], [2.0, 0.0]]), cache))


MODES = [(*case, "training") for case in NETWORKS] + [(*case, "evaluation") for case in NETWORKS[:2] + NETWORKS[3:]]


@probe("cnn_backward", cases=MODES)
def network_gradients(impl, rng, N, C, H, W, kernel, filters, classes, mode):
    p, X = draw_network(rng, N, C, H, W, kernel, filters, classes)
    stats, dscores = draw_stats(rng, filters), rng.standard_normal((N, classes))
    _, cache, _ = impl.cnn_forward(p, X, None if mode == "training" else stats)
    dX, grads = impl.cnn_backward(dscores, cache)
    every = (C, kernel, mode) == (3, 3, "training")  # one network: all
    look = (lambda value: value) if every else (lambda value: dozen(value, 3))
    yield "dX", observe(look(dX), atol=1e-9)
    yield "names", sorted(grads)
    for name in sorted(p):
        yield f"d{name}", observe(look(grads[name]), atol=1e-9)


@probe("cnn_backward")
def tiny_upstream(impl, rng):
    p, X = draw_network(rng, 4, 1, 10, 12, 3, (4, 5), 3)  # so many that some are alive
    stats, dscores = draw_stats(rng, (4, 5)), 1e-12 * rng.standard_normal((4, 3))
    _, cache, _ = impl.cnn_forward(p, X, stats)
    yield "dX", dozen(impl.cnn_backward(dscores, cache)[0], 20)


@probe("cnn_backward")
def behind_another_network(impl, rng):
    p, X = draw_network(rng, 2, 2, 10, 12, 3, (2, 3), 3)
    q, Z = draw_network(rng, 2, 2, 10, 12, 3, (2, 3), 3)
    dscores = rng.standard_normal((2, 3))
    _, first, _ = impl.cnn_forward(p, X)
    _, second, _ = impl.cnn_forward(q, Z)
    for which, cache in (("first", first), ("second", second), ("first", first)):
        dX, grads = impl.cnn_backward(dscores, cache)
        yield f"dX of the {which}", dozen(dX)
        yield f"dgamma2 of the {which}", grads["gamma2"]


@probe("cnn_backward")
def network_too_large_for_differences(impl, rng):
    p, X = draw_network(rng, 3, 8, 20, 20, 5, (32, 48), 20)
    dscores = rng.standard_normal((3, 20))
    _, cache, _ = impl.cnn_forward(p, X)
    dX, grads = impl.cnn_backward(dscores, cache)
    yield "dX", dozen(dX)
    for name in ("conv1", "conv2", "fc"):
        yield f"d{name}", dozen(grads[name])


@probe("cnn_backward", cases=[(3, 2, 10, 12, 3, (2, 3), 4)])
def with_given_forward(impl, rng, N, C, H, W, kernel, filters, classes):
    p, X = draw_network(rng, N, C, H, W, kernel, filters, classes)
    dscores, along = rng.standard_normal((N, classes)), rng.standard_normal(X.shape)
    _, cache, _ = impl.cnn_forward(p, X)
    dX, _ = impl.cnn_backward(dscores, cache)
    yield "dX", dozen(dX)
    numeric = slope(lambda v: np.sum(impl.cnn_forward(p, v)[0] * dscores), X, along, h=1e-6)
    yield "slope along X", agree(np.sum(dX * along), numeric)


@probe("saliency", cases=NETWORKS)
def maps(impl, rng, N, C, H, W, kernel, filters, classes):
    p, X = draw_network(rng, N, C, H, W, kernel, filters, classes)
    stats, y = draw_stats(rng, filters), rng.integers(classes, size=N)
    M = impl.saliency(p, X, y, stats)
    yield "M", M if N < 3 else dozen(M)


@probe("saliency")
def minus_three_two_a_half(impl, rng):
    p, X = draw_network(rng, 1, 1, 10, 11, 3, (2, 2), 3)
    p["conv1"] = (
        p["conv1"] * np.array([-3.0, 2.0, 0.5])[:, None, None]
    )  # each channel's gradient is that of one, times this
    yield "M", impl.saliency(p, np.repeat(X, 3, axis=1), np.array([1]), draw_stats(rng, (2, 2)))


@probe("saliency")
def pictures_far_from_zero(impl, rng):
    """10,000 and a little noise, which float32 would lose; the statistics take the 10,000 off."""
    p, X = draw_network(rng, 4, 1, 10, 12, 3, (4, 5), 3)  # so many that some are alive
    p["beta1"], (_, later) = np.zeros(4), draw_stats(rng, (4, 5))
    stats = [(1e4 * p["conv1"].sum(axis=(1, 2, 3)), np.full(4, 1e-6)), later]
    yield "M", dozen(impl.saliency(p, 1e4 + 1e-3 * X, rng.integers(3, size=4), stats), 30)


@probe("saliency")
def each_class_of_one_picture(impl, rng):
    p, X = draw_network(rng, 1, 2, 12, 10, 3, (3, 4), 4)
    stats = draw_stats(rng, (3, 4))
    for kind in range(4):
        yield f"M of class {kind}", dozen(impl.saliency(p, X, np.array([kind]), stats))


@probe("saliency")
def alone_and_together(impl, rng):
    p, X = draw_network(rng, 4, 2, 12, 11, 3, (3, 2), 3)
    stats, y = draw_stats(rng, (3, 2)), np.array([2, 0, 2, 1])
    yield "M together", impl.saliency(p, X, y, stats)
    yield "M of the last alone", impl.saliency(p, X[3:], y[3:], stats)


@probe("saliency", cases=[(60.0,), (1e-5,)])
def scores_far_apart(impl, rng, size):
    p, X = draw_network(rng, 3, 2, 10, 12, 3, (2, 3), 4)
    p["fc"] = size * p["fc"]  # a softmax is 0 or 1 where scores are large
    yield "M", dozen(impl.saliency(p, X, rng.integers(4, size=3), draw_stats(rng, (2, 3))))


@probe("saliency")
def statistics_alone(impl, rng):
    p, X = draw_network(rng, 2, 1, 11, 11, 3, (2, 3), 3)
    first, second, y = draw_stats(rng, (2, 3)), draw_stats(rng, (2, 3)), rng.integers(3, size=2)
    yield "M with some statistics", dozen(impl.saliency(p, X, y, first))
    yield "M with others", dozen(impl.saliency(p, X, y, second))


def square(params, X, y, reg):
    """w², with its gradient."""
    return float(params["w"] ** 2), {"w": 2 * params["w"]}


def half_wrong(params, X, y, reg):
    """w², with half of its gradient."""
    return float(params["w"] ** 2), {"w": params["w"]}


@probe("babysit")
def one_weight(impl, rng):
    p, u = {"w": np.array(1.0)}, {"w": np.array(rng.uniform(0.5, 2.0))}
    X, y = np.zeros((1, 1)), np.zeros(1, dtype=int)
    for name, loss in (("right", square), ("half as long", half_wrong)):
        found = impl.babysit(loss, p, X, y, 2, u, lr=0.1, steps=2)
        yield f"numbers of w² with a gradient that is {name}", observe(found, rtol=1e-6, atol=1e-7)


@probe("babysit", cases=[(0.001, 150), (0.3, 20), (1.5, 3)])
def as_many_steps_as_asked(impl, rng, lr, steps):
    """Slow, down to next to nothing, and growing: the rate stays what it is, and no step is left out."""
    p, u = {"w": np.array(1.0)}, {"w": np.array(rng.uniform(0.5, 2.0))}
    found = impl.babysit(square, p, np.zeros((1, 1)), np.zeros(1, dtype=int), 2, u, lr=lr, steps=steps)
    yield "numbers", observe(found, rtol=1e-6, atol=1e-7)


@probe("babysit")
def tiny_slopes(impl, rng):
    """The error is relative, however small both slopes are."""
    p, u = {"w": np.array(1.0)}, {"w": np.array(rng.uniform(0.5, 2.0))}

    def loss(params, X, y, reg):
        return 1e-8 * float(params["w"] ** 2), {"w": 1e-8 * params["w"]}

    found = impl.babysit(loss, p, np.zeros((1, 1)), np.zeros(1, dtype=int), 2, u, lr=0.1, steps=2)
    yield "numbers", observe(found, rtol=1e-5, atol=1e-7)


def regression(params, X, y, reg, factors=None):
    """Mean fourth power of an error, with a penalty of another power; each gradient may have a factor of its own."""
    error = X @ params["W"] + params["b"] - y[:, None] + 0.1 * params["scale"] ** 3
    n = error.size
    loss = np.sum(error**4) / n + reg * np.sum(params["W"] ** 2) + reg * params["scale"] ** 2
    grads = {"W": 4 * X.T @ error**3 / n + 2 * reg * params["W"], "b": 4 * np.sum(error**3, axis=0) / n}
    grads["scale"] = np.array(4 * np.sum(error**3) / n * 0.3 * params["scale"] ** 2 + 2 * reg * params["scale"])
    return float(loss), {name: (factors or {}).get(name, 1.0) * value for name, value in grads.items()}


def draw_regression(rng, N=4):
    """Weights, pictures, labels, and a direction for each array in an order of its own."""
    p = {"W": rng.standard_normal((3, 2)), "b": rng.standard_normal(2), "scale": np.array(rng.uniform(0.5, 1.5))}
    u = {name: rng.standard_normal(p[name].shape) for name in ("scale", "W", "b")}
    u["scale"] = np.array(u["scale"])
    return p, rng.standard_normal((N, 3)), rng.integers(3, size=N), u


FACTORS = [{}, {"W": 1.5}, {"b": 0.7}, {"scale": -1.0}, {"W": 1.01, "scale": 2.0}, {"b": 0.0}]


@probe("babysit", cases=list(zip(FACTORS, (4, 1, 6, 2, 1, 3), strict=True)))
def gradients_with_a_factor(impl, rng, factors, N):
    p, X, y, u = draw_regression(rng, N)

    def loss(params, X, y, reg):
        return regression(params, X, y, reg, factors)

    yield "numbers", observe(impl.babysit(loss, p, X, y, 3, u, lr=0.005, steps=3), rtol=1e-5, atol=1e-6)


@probe("babysit")
def one_setting_of_it_after_another(impl, rng):
    p, X, y, u = draw_regression(rng)

    def loss(params, X, y, reg):
        return regression(params, X, y, reg, {"W": 1.2})

    first = {"reg": 0.3, "lr": 0.004, "steps": 2, "h": 1e-4}
    for changed in ({}, {"reg": 0.0}, {"reg": 2.0}, {"lr": 0.001}, {"steps": 1}, {"steps": 5}, {"h": 0.1}):
        found = impl.babysit(loss, p, X, y, 3, u, **(first | changed))
        yield f"numbers with {changed or first}", observe(found, rtol=1e-5, atol=1e-6)
    yield "numbers with ten classes", observe(impl.babysit(loss, p, X, y, 10, u, **first), rtol=1e-5, atol=1e-6)


@probe("babysit")
def with_its_defaults(impl, rng):
    p, X, y, u = draw_regression(rng)

    def loss(params, X, y, reg):  # the same problem in a milder form, so that the default rate suits it
        now, grads = regression(params, 0.1 * X, 0.1 * y, reg)
        return now, {name: 0.02 * value for name, value in grads.items()}

    yield "numbers", observe(impl.babysit(loss, p, X, y, 5, u), rtol=1e-5, atol=1e-6)


@probe("babysit")
def two_weights_of_one_shape(impl, rng):
    """The gradients come in another order than the weights, as those of the notebook's own networks do."""
    p, u = ({name: rng.uniform(0.5, 1.5, size=2) for name in "ab"} for _ in range(2))

    def loss(params, X, y, reg):
        now = np.sum(params["a"] ** 2) + 3 * np.sum(params["b"] ** 4)
        return float(now), {"b": 12 * params["b"] ** 3, "a": 2.2 * params["a"]}

    found = impl.babysit(loss, p, np.zeros((1, 1)), np.zeros(1, dtype=int), 2, u, lr=0.01, steps=2)
    yield "numbers", observe(found, rtol=1e-5, atol=1e-6)


@probe("babysit")
def a_weight_that_float32_rounds(impl, rng):
    p, u = {"w": np.array(2.0**24 + 3.25)}, {"w": np.array(1.0)}
    size = float(rng.integers(1, 9))

    def loss(params, X, y, reg):
        off = float(params["w"]) - 2.0**24
        return size * off**2, {"w": np.array(1.5 * size * off)}

    found = impl.babysit(loss, p, np.zeros((1, 1)), np.zeros(1, dtype=int), 2, u, lr=0.01, steps=2, h=0.25)
    yield "numbers", observe(found, rtol=1e-5, atol=1e-6)


@probe("babysit", cases=[("first gradient",), ("last gradient",), ("loss",)])
def what_is_no_number(impl, rng, where):
    p, u = ({name: rng.uniform(0.5, 1.5, size=2) for name in "ab"} for _ in range(2))

    def loss(params, X, y, reg):
        now = np.nan if where == "loss" else float(sum(np.sum(w**2) for w in params.values()))
        grads = {name: 0 * w if where == "loss" else 1.9 * w for name, w in params.items()}
        if where != "loss":
            grads["a" if where == "first gradient" else "b"][1] = np.nan
        return now, grads

    found = impl.babysit(loss, p, np.zeros((1, 1)), np.zeros(1, dtype=int), 2, u, lr=0.01, steps=1)
    yield f"numbers where a {where.split()[-1]} is NaN", observe(found, rtol=1e-5, atol=1e-6)


@probe("babysit")
def weights_that_do_nothing(impl, rng):
    p, X, y, u = draw_regression(rng)
    p, u = p | {"idle": np.ones(3)}, {"idle": np.ones(3)} | u

    def loss(params, X, y, reg):
        now, grads = regression(params, X, y, reg)
        return now, grads | {"idle": np.zeros(3)}

    yield "numbers", observe(impl.babysit(loss, p, X, y, 3, u, lr=0.005, steps=2), rtol=1e-5, atol=1e-6)


@probe("babysit")
def only_weights_that_do_nothing(impl, rng):
    now = float(rng.uniform(1.0, 3.0))

    def loss(params, X, y, reg):
        return now, {"idle": np.zeros(3)}

    found = impl.babysit(
        loss, {"idle": np.ones(3)}, np.ones((2, 3)), np.array([0, 1]), 3, {"idle": np.ones(3)}, steps=2
    )
    yield "numbers", observe(found, rtol=1e-5, atol=1e-6)


@probe("babysit")
def a_gradient_of_nothing(impl, rng):
    p, X, y, u = draw_regression(rng)
    p, u = p | {"idle": np.ones(3)}, u | {"idle": rng.uniform(0.5, 1.0, size=3)}

    def loss(params, X, y, reg):
        now, grads = regression(params, X, y, reg)
        return now, grads | {"idle": np.ones(3)}  # there is a gradient, and no slope

    yield "numbers", observe(impl.babysit(loss, p, X, y, 3, u, lr=0.005, steps=2), rtol=1e-5, atol=1e-6)


@probe("babysit")
def what_the_model_is_given(impl, rng):
    p, X, y, u = draw_regression(rng)
    seen = {"pictures": True, "labels": True, "names": True, "shapes": True}
    strengths = set()

    def loss(params, A, b, reg):
        seen["pictures"] &= A is X or np.array_equal(A, X)
        seen["labels"] &= b is y or np.array_equal(b, y)
        seen["names"] &= sorted(params) == sorted(p)
        seen["shapes"] &= all(np.shape(params[name]) == np.shape(p[name]) for name in params if name in p)
        strengths.add(float(reg))
        return regression(params, A, b, reg)

    found = impl.babysit(loss, p, X, y, 3, u, reg=0.25, lr=0.005, steps=2)
    yield "numbers", observe(found, rtol=1e-5, atol=1e-6)
    yield "what the model sees is what was given", seen
    yield "penalties that it was called with", sorted(strengths)


CONVNETS = [  # channels, side, classes, filters, kernel
    (1, 16, 10, (8, 16), 5),
    (3, 14, 4, (4, 6), 7),
    (2, 13, 3, (5, 2), 4),
    (1, 10, 1, (1, 1), 3),
    (2, 21, 2, (3, 3), 2),
    (2, 15, 3, (3, 4), 5),  # an odd number of places before the first pooling
]


@probe("ConvNet", cases=[(*case, mode) for case in CONVNETS[:4] for mode in ("training", "evaluation")][:6])
def scores_and_gradients(impl, rng, channels, side, classes, filters, kernel, mode):
    import torch

    x = torch.tensor(rng.standard_normal((3, channels, side, side)), requires_grad=True)
    upstream = torch.from_numpy(rng.standard_normal((3, classes)))
    seed = int(rng.integers(2**32))
    model = impl.ConvNet(channels, side, classes, filters, kernel).double().train(mode == "training")
    yield "parameters", shapes(model)
    fill(model, seed)
    for buffer in (model.bn1.running_mean, model.bn2.running_mean):
        buffer.copy_(torch.from_numpy(np.linspace(-0.5, 0.5, len(buffer))))
    for buffer in (model.bn1.running_var, model.bn2.running_var):
        buffer.copy_(torch.from_numpy(np.linspace(0.5, 2.0, len(buffer))))
    with torch.no_grad():
        earlier = model(x)
    scores = model(x)
    yield "scores are the same when computed again: nothing is random", bool(torch.allclose(earlier, scores))
    yield "scores", scores if mode == "training" else scores[:, ::2]
    torch.sum(scores * upstream).backward()
    learners = {"the pictures": x} | dict(model.named_parameters())
    yield "gradients arrive at", sorted(name for name, value in learners.items() if value.grad is not None)
    nothing = torch.zeros(1)
    yield "dx", observe(dozen((nothing if x.grad is None else x.grad).numpy(), 5), atol=1e-9)
    for name, parameter in sorted(model.named_parameters())[:: 1 if mode == "training" else 3]:
        arrived = (nothing if parameter.grad is None else parameter.grad).flatten()
        yield f"d{name}", observe(arrived[:: 1 + arrived.numel() // 2], atol=1e-9)


@probe("ConvNet", cases=CONVNETS)
def what_fc_reads(impl, rng, channels, side, classes, filters, kernel):
    import torch

    x = torch.from_numpy(rng.standard_normal((2, channels, side, side)))
    seed = int(rng.integers(2**32))
    model = fill(impl.ConvNet(channels, side, classes, filters, kernel).double().eval(), seed)
    features = model.features(x)
    yield "features", features if side == 13 else features[:, ::11]
    yield "scores of one", model(x[:1])
    yield "scores are fc of features", bool(torch.allclose(model.fc(features), model(x)))


@probe("ConvNet")
def by_default(impl, rng):
    import torch

    x = torch.from_numpy(rng.standard_normal((2, 1, 16, 16)).astype(np.float32))
    seed = int(rng.integers(2**32))
    model = fill(impl.ConvNet(1, 16, 10).eval(), seed)
    yield "number of weights", sum(w.numel() for w in model.parameters())
    yield "scores", observe(model(x), rtol=1e-4)
    yield "names", sorted(model.state_dict())


@probe("ConvNet")
def statistics_of_training(impl, rng):
    import torch

    x = torch.from_numpy(3 + 2 * rng.standard_normal((4, 2, 12, 12)))
    seed = int(rng.integers(2**32))
    model = fill(impl.ConvNet(2, 12, 3, (3, 4), 3).double().train(), seed)
    yield "scores in training", model(x)
    yield "running statistics", [model.bn1.running_mean, model.bn1.running_var, model.bn2.running_mean]
    yield "scores in evaluation", model.eval()(x)
    yield "statistics are kept in evaluation", model.bn1.running_mean
    yield "counted", int(model.bn2.num_batches_tracked)


@probe("ConvNet")
def one_picture_in_training(impl, rng):
    import torch

    x = torch.from_numpy(rng.standard_normal((1, 2, 12, 12)))
    model = fill(impl.ConvNet(2, 12, 3, (3, 4), 3).double().train(), int(rng.integers(2**32)))
    yield "scores of one picture in training", model(x)
    yield "is in training", all(module.training for module in model.modules())
    yield "running means", model.bn1.running_mean


@probe("ConvNet")
def made_of_torchs_layers(impl, rng):
    from torch import nn

    model = impl.ConvNet(2, 15, 3, (4, 5), 3)
    kinds = {"conv1": nn.Conv2d, "bn1": nn.BatchNorm2d, "conv2": nn.Conv2d, "bn2": nn.BatchNorm2d, "fc": nn.Linear}
    for name, kind in kinds.items():
        yield f"{name} is nn.{kind.__name__}", isinstance(getattr(model, name), kind)
    yield "settings", [model.bn1.eps, model.bn2.momentum, list(model.conv1.padding), list(model.conv2.stride)]
    yield "first scales", [model.bn1.weight, model.bn2.bias]


def body(rng, features, dtype):
    """A network like the notebook's, whose `fc` reads one number of each of its last filters."""
    import torch
    from torch import nn

    class Network(nn.Module):
        """Has the parts that a ConvNet has by name, and computes something else with them."""

        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(2, 2, 2, stride=2), nn.BatchNorm2d(2)
            self.conv2, self.bn2 = nn.Conv2d(2, features, 5), nn.BatchNorm2d(features)
            self.fc = nn.Linear(features, 7)

        def features(self, x):
            halved = torch.tanh(self.bn1(self.conv1(x)))
            return self.bn2(self.conv2(halved)).mean(dim=(2, 3))

        def forward(self, x):
            found = self.features(x)
            return self.fc(found)

    model = fill(Network().to(dtype), int(rng.integers(2**32)))
    with torch.no_grad():
        for bn in (model.bn1, model.bn2):
            bn.running_mean.copy_(torch.from_numpy(rng.standard_normal(bn.num_features)))
            bn.running_var.copy_(torch.from_numpy(rng.uniform(0.5, 2.0, size=bn.num_features)))
            bn.weight.copy_(torch.from_numpy(rng.uniform(1.0, 2.0, size=bn.num_features)))
            bn.bias.fill_(0.3)
    return model


def new_head(rng, features, classes, dtype):
    """A first head with given weights."""
    import torch
    from torch import nn

    head = nn.Linear(features, classes).to(dtype)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(rng.standard_normal((classes, features))))
        head.bias.copy_(torch.from_numpy(rng.standard_normal(classes)))
    return head


def few(rng, N, classes, dtype):
    """Pictures (N, 2, 10, 10) and labels."""
    import torch

    X = torch.from_numpy(rng.standard_normal((N, 2, 10, 10))).to(dtype)
    return X, torch.from_numpy(rng.integers(classes, size=N))


@probe("transfer")
def again_with_pictures_in_another_order(impl, rng):
    import torch

    model, head = body(rng, 4, torch.float64), new_head(rng, 4, 3, torch.float64)
    X, y = torch.from_numpy(mirrored(rng, 4, 2, 10, 10)), torch.tensor([2, 0, 0, 2])
    found = [impl.transfer(model, head, X[i], y[i], 6, 0.1).weight for i in ([0, 1, 2, 3], EXCHANGED)]
    yield "weights of two calls", observe([weight.detach().numpy() for weight in found], judge=kept)


@probe("transfer")
def one_step_from_zero(impl, rng):
    import torch

    model, head = body(rng, 4, torch.float64), new_head(rng, 4, 3, torch.float64)
    X, y = few(rng, 5, 3, torch.float64)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    found = impl.transfer(model, head, X, y, 1, 0.25)
    yield "weights", observe(found.weight, rtol=1e-5)
    yield "biases", observe(found.bias, rtol=1e-5)


@probe(
    "transfer",
    cases=[
        (1, 5, 4, 3, 0.05),
        (6, 3, 2, 1, 0.1),
        (7, 2, 7, 20, 0.02),  # as many new classes as old
        (7, 4, 5, 20, 0.2),
        (4, 6, 1, 2, 0.1),
        (2, 6, 2, 200, 0.1),
    ],
)
def trained_heads(impl, rng, N, features, classes, steps, lr):
    import torch

    model, head = body(rng, features, torch.float64), new_head(rng, features, classes, torch.float64)
    X, y = few(rng, N, classes, torch.float64)
    found = impl.transfer(model, head, X, y, steps, lr)
    yield "weights", observe(found.weight, rtol=1e-6)
    yield "biases", observe(found.bias, rtol=1e-6, atol=1e-9)


@probe("transfer", cases=[(4, 3)])
def where_features_are_small(impl, rng, N, steps):
    """Adam forgets how large a gradient is, but for its epsilon, which is as large as these."""
    import torch

    model, head = body(rng, 4, torch.float64), new_head(rng, 4, 3, torch.float64)
    X, y = few(rng, N, 3, torch.float64)
    with torch.no_grad():
        model.bn2.weight.mul_(1e-6)
        model.bn2.bias.mul_(1e-6)
    yield "weights", observe(impl.transfer(model, head, X, y, steps, 0.1).weight, rtol=1e-6)


@probe("transfer", cases=[("float64",), ("float32",)])
def with_default_steps(impl, rng, dtype):
    import torch

    dtype = getattr(torch, dtype)
    model, head, (X, y) = body(rng, 4, dtype), new_head(rng, 4, 3, dtype), few(rng, 8, 3, dtype)
    found = impl.transfer(model, head, X, y)
    yield "weights", observe(found.weight, rtol=1e-3)
    yield "biases", observe(found.bias, rtol=1e-3)


@probe("transfer")
def a_picture_learnt_long_ago(impl, rng):
    import torch

    model, head, (X, y) = (
        body(rng, 4, torch.float64),
        new_head(rng, 4, 3, torch.float64),
        few(rng, 1, 3, torch.float64),
    )
    yield "weights", observe(impl.transfer(model, head, X, y, 60, 0.3).weight, rtol=1e-5)


@probe("transfer", cases=[("training",), ("evaluation",), ("parts",)])
def what_is_left_as_it_was(impl, rng, mode):
    import torch

    model, head = body(rng, 4, torch.float64), new_head(rng, 4, 3, torch.float64)
    X, y = few(rng, 6, 3, torch.float64)
    model.train(mode == "training")
    if mode == "parts":
        model.bn1.train()
    model.bn2.bias.requires_grad_(False)
    model.conv2.weight.grad = torch.full_like(model.conv2.weight, 2.0)  # summed up so far, by somebody else
    head.bias.grad = torch.full_like(head.bias, 3.0)
    learners = dict([*model.named_parameters(), *((f"head.{name}", w) for name, w in head.named_parameters())])
    before = {name: None if w.grad is None else w.grad.clone() for name, w in learners.items()}
    kept = {name: value.clone() for name, value in [*model.state_dict().items(), *head.state_dict().items()]}
    found = impl.transfer(model, head, X, y, 4, 0.1)
    yield "weights", observe(found.weight, rtol=1e-6)
    now = dict([*model.state_dict().items(), *head.state_dict().items()])
    yield "weights and statistics are as before", all(bool(torch.equal(kept[name], now[name])) for name in kept)
    yield "modes", [module.training for module in model.modules()]
    yield "who can learn", [w.requires_grad for w in model.parameters()]
    after = {name: w.grad for name, w in learners.items()}
    had, has = ({name for name, grad in grads.items() if grad is not None} for grads in (before, after))
    yield "gradients that were there and are gone", sorted(had - has)
    yield "gradients that were not there and are now", sorted(has - had)
    yield "gradients that are another", sorted(n for n in had & has if not torch.equal(before[n], after[n]))


@probe("transfer")
def a_head_of_its_own(impl, rng):
    import torch
    from torch import nn

    model, head = body(rng, 4, torch.float64), new_head(rng, 4, 3, torch.float64)
    X, y = few(rng, 6, 3, torch.float64)
    first = impl.transfer(model, head, X, y, 3, 0.1)
    second = impl.transfer(model, head, X, y, 3, 0.1)
    yield "weights", observe(first.weight, rtol=1e-6)
    yield "weights of a second call", observe(second.weight, rtol=1e-6)
    yield "is a linear layer", isinstance(first, nn.Linear)
    yield "is another than the one given", first is not head
    yield "can learn on", all(w.requires_grad for w in first.parameters())
    yield "one result is not the other", first is not second


@probe("transfer", cases=[(3, 16)])
def with_own_network(impl, rng, N, side):
    import torch

    X = torch.from_numpy(rng.standard_normal((N, 2, side, side)))
    y, seed = torch.from_numpy(rng.integers(4, size=N)), int(rng.integers(2**32))
    head = new_head(rng, 12, 4, torch.float64)
    model = fill(impl.ConvNet(2, side, 3, (2, 3), 3).double().train(), seed)
    found = impl.transfer(model, head, X, y, 5, 0.05)
    yield "weights", observe(found.weight, rtol=1e-6)
    yield "statistics of the body", model.bn1.running_mean
    yield "is in training again", all(module.training for module in model.modules())
