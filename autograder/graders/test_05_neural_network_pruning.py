"""Probes of 05: masks and their size, bits of noisy weights, moments, gradients of a description length, a module."""

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

# Pruning ------------------------------------------------------------------------------------------------------------


@probe("magnitude_masks", cases=[(0.5,), (0.25,), (0.75,)])
def masks_by_hand(impl, rng, sparsity):
    params = {"A": np.array([[3.0, -1.0]]), "b": np.array([0.1]), "B": np.array([[0.5], [-2.0]])}
    yield "masks", impl.magnitude_masks(params, sparsity)


NETS = {  # name → shape
    "mlp": {"W1": (3, 5), "b1": (5,), "W2": (5, 2), "b2": (2,)},
    "bias first": {"b": (4,), "z": (4, 3), "a": (2, 7)},
    "one matrix": {"W": (4, 4)},
    "convolutions": {"stem": (2, 1, 3, 3), "gamma": (6,), "b": (), "fc": (6, 3), "last": (2, 2, 3)},
    "a row, a column": {"row": (1, 7), "column": (6, 1), "b": (1,)},
    "equal shapes": {"w": (3, 4), "b": (3, 4), "W": (4,), "a": (3, 4), "v": (4, 3)},
}


@probe(
    "magnitude_masks",
    cases=[
        ("mlp", 0.31, 1.0),
        ("mlp", 0.91, 1.0),
        ("bias first", 0.7, 1.0),
        ("bias first", 0.45, 1.0),
        ("one matrix", 0.6, 1.0),
        ("convolutions", 0.8, 1.0),
        ("a row, a column", 0.29, 1.0),
        ("equal shapes", 0.52, 1.0),
        ("mlp", 0.0, 1.0),
        ("mlp", 1.0, 1.0),
        ("convolutions", 1.0, 1.0),
        ("mlp", 0.01, 1.0),
        ("mlp", 0.5 + 0.013, 1e-190),
        ("mlp", 0.41, 1e-60),
        ("bias first", 0.6, 1e190),
    ],
)
def masks_of_a_network(impl, rng, net, sparsity, size):
    params = {name: size * rng.standard_normal(shape) for name, shape in NETS[net].items()}
    last = list(params)[-1]
    params[last] = 3 * params[last]  # layers differ in scale
    yield "masks", impl.magnitude_masks(params, sparsity)


def the_earlier_goes(got, expected, sizes):
    """Masks among equal magnitudes; if only the choice between equals is another, say so."""
    if not isinstance(got, dict) or sorted(got) != sorted(expected):
        return f"masks of {', '.join(sorted(expected))} are expected, and of no others."
    for name, mask in expected.items():
        if np.shape(got[name]) != np.shape(mask) or np.asarray(got[name]).dtype != bool:
            return f"the mask of {name!r} should be bool, of shape {np.shape(mask)}."
    if all(np.array_equal(got[name], mask) for name, mask in expected.items()):
        return None
    size, mine, its = (np.concatenate([np.ravel(d[name]) for name in expected]) for d in (sizes, got, expected))
    if all(np.sum(mine[size == a]) == np.sum(its[size == a]) for a in np.unique(size)):
        return "of each magnitude as many stay as should, but among equal ones the earlier must go."
    return "exactly round(ρ n) of the smallest must go; here many magnitudes are equal."


TIES = [("mlp", 0.6), ("bias first", 0.3), ("one matrix", 0.7), ("convolutions", 0.55), ("equal shapes", 0.4)]


@probe("magnitude_masks", cases=TIES)
def masks_with_ties(impl, rng, net, sparsity):
    params = {
        name: np.asarray(rng.integers(1, 4, size=shape) * rng.choice([-1.0, 1.0], size=shape))
        for name, shape in NETS[net].items()
    }
    if net == "equal shapes":
        params["a"] = params["w"].copy()  # of which other places may go
    sizes = {name: np.abs(w) for name, w in params.items()}
    yield "masks", observe(impl.magnitude_masks(params, sparsity), judge=the_earlier_goes, given={"sizes": sizes})


@probe("magnitude_masks", cases=[(0.3,), (0.8,)])
def masks_of_a_pruned_network(impl, rng, sparsity):
    params = {name: rng.standard_normal(shape) for name, shape in (("v", (5, 4)), ("b", (4,)), ("u", (4, 6)))}
    for name in ("v", "u"):
        params[name] = params[name] * (rng.random(params[name].shape) < 0.5)
    yield "masks", impl.magnitude_masks(params, sparsity)


@probe("magnitude_masks", cases=[("columns first",), ("every other row",), ("a bias of columns first",)])
def masks_of_views(impl, rng, layout):
    wide = rng.standard_normal((10, 4))
    view = {"every other row": wide[::2]}.get(layout, np.asfortranarray(wide[:5]))
    kernels = np.moveaxis(rng.standard_normal((2, 3, 2)), 0, 1)
    params = {"W": view, "b": rng.standard_normal(9)[::3], "V": rng.standard_normal((4, 3))}
    yield "masks", impl.magnitude_masks(params | ({"K": kernels} if layout.startswith("a bias") else {}), 0.37)


@probe("magnitude_masks", cases=[(0.95,), (0.4377,)])
def masks_of_many(impl, rng, sparsity):
    params = {"W1": rng.standard_normal((150, 200)), "b1": np.zeros(200), "W2": 0.3 * rng.standard_normal((200, 37))}
    masks = impl.magnitude_masks(params, sparsity)
    for name in ("W1", "W2"):
        yield f"{name}, how many of each row", np.sum(masks[name], axis=1)
        yield f"{name}, a corner", np.asarray(masks[name])[:3, :5]


@probe("sparse_code_bits")
def size_by_hand(impl, rng):
    yield from named("positions values", impl.sparse_code_bits({"W": np.array([[True, False], [False, True]])}))


@probe(
    "sparse_code_bits",
    cases=[
        ([(5, 4)], 0.5, 16.0),
        ([(3, 4), (4, 2)], 0.3, 8.0),
        ([(7,), (2, 3), (2, 2, 5)], 0.8, 32),
        ([(1, 1)], 2.0, 16.0),
        ([(1, 1)], -1.0, 16.0),
        ([(6, 5)], 2.0, 10.0),
        ([(6, 5), (3, 2)], -1.0, 10.0),
        ([(2, 9), (9, 2)], 0.5, 2.75),
        ([(4, 4), (4, 4)], 0.5, 0.0),
        ([(30, 40), (40, 20)], 0.1, 16.0),
        ([(70_000, 1), (1, 70_000)], 0.95, 5.0),  # more in a row than a small integer counts
        ([(400, 500)], 0.9, 16.0),
        ([(600, 900), (900, 300)], 0.02, 16.0),
    ],
)
def sizes(impl, rng, layers, share, bits):
    masks = {f"W{k}": rng.random(shape) < share for k, shape in enumerate(layers)}
    yield from named("positions values", impl.sparse_code_bits(masks, bits))


@probe("sparse_code_bits", cases=[([(22, 15)],), ([(49, 29), (47, 41)],), ([(103, 58), (1, 0), (7, 7)],)])
def sizes_of_counts(impl, rng, counts):
    masks = {f"W{j}": rng.permuted(np.arange(n) < k).reshape(1, n) for j, (n, k) in enumerate(counts)}
    yield from named("positions values", impl.sparse_code_bits(masks, 4.0))


@probe("sparse_code_bits", cases=[(0.3,), (0.9,)])
def sizes_by_default(impl, rng, share):
    masks = {"stem": rng.random((3, 1, 2, 2)) < share, "fc": rng.random((6, 4)) > share}
    yield from named("positions values", impl.sparse_code_bits(masks))
    yield from named("positions_of_8 values_of_8", impl.sparse_code_bits(masks, bits_per_weight=8))


# Bits of noisy weights ----------------------------------------------------------------------------------------------


@probe("gauss_bits")
def bits_by_hand(impl, rng):
    yield (
        "bits",
        impl.gauss_bits(np.array([2.0, 1.0]), np.array([1.0, 3.0]), np.array([0.0, 1.0]), np.array([2.0, 3.0])),
    )


def deviations(rng, *shape):
    """Positive numbers of order one."""
    return rng.uniform(0.3, 2.5, size=shape)


@probe(
    "gauss_bits",
    cases=[
        ((5,), (5,), (5,), (5,)),
        ((3, 4), (3, 4), (3, 4), (3, 4)),
        ((4, 1), (4, 1), (3,), (3,)),
        ((2, 3, 1), (2, 3, 1), (2,), (2,)),
        ((6,), (6,), (), ()),
        ((), (), (4,), (4,)),
        ((1,), (3,), (2, 1), (2, 3)),
        ((3, 3), (3, 3), (3, 3), (3, 3)),
    ],
)
def bits_of_shapes(impl, rng, mu, s, m, sigma):
    means = 2 * rng.standard_normal(mu), rng.standard_normal(m) + 1.0
    yield (
        "bits",
        impl.gauss_bits(np.asarray(means[0]), deviations(rng, *s), np.asarray(means[1]), deviations(rng, *sigma)),
    )


@probe("gauss_bits", cases=[(1e-6, 1.0), (1.0, 1e-6), (1e-3, 1e3), (1e-120, 1e-121), (1e100, 1e101)])
def bits_far_from_one(impl, rng, s, sigma):
    mu, noise, wide = rng.standard_normal(4) * max(s, sigma), deviations(rng, 4) * s, deviations(rng, 4) * sigma
    yield "bits", observe(impl.gauss_bits(mu, noise, rng.standard_normal(4) * sigma, wide), rtol=1e-9)


@probe("gauss_bits", cases=[(1e-2,), (1e-3,)])
def bits_near_the_prior(impl, rng, off):
    m, sigma = rng.standard_normal(5), deviations(rng, 5)
    mu, s = m + off * rng.standard_normal(5), sigma * (1 + off * rng.standard_normal(5))
    yield "bits", observe(impl.gauss_bits(mu, s, m, sigma), rtol=1e-7, atol=1e-13)


@probe("gauss_bits")
def bits_where_two_are_equal(impl, rng):
    mu, m = rng.standard_normal((2, 9)) + np.array([[2.0], [-1.0]])
    s, sigma = deviations(rng, 2, 9)
    mu[:2], s[2:4], mu[4], m[5] = m[:2], sigma[2:4], 0.0, 0.0
    mu[6], s[7], sigma[8] = -m[6], 1.0, 1.0
    yield "bits", impl.gauss_bits(mu, s, m, sigma)
    yield "bits where all means are equal", impl.gauss_bits(m, s, m, sigma)
    yield "bits where all deviations are equal", impl.gauss_bits(mu, s, m, s)


@probe("gauss_bits", cases=[(3.0,), (-3.0,)])
def bits_of_plain_numbers(impl, rng, mu):
    s, m, sigma = (float(number) for number in deviations(rng, 3))
    yield "bits", impl.gauss_bits(mu, s, -m, sigma)


def draw_prior(rng, K, spread=1.0):
    """A mixture whose components differ in everything."""
    return {
        "logits": 1.5 * spread * rng.standard_normal(K),
        "mean": spread * rng.standard_normal(K),
        "log_sd": spread * rng.uniform(-1.2, 0.8, size=K),
    }


MIXTURES = [((5,), 1), ((3, 4), 2), ((2, 3, 2), 3), ((1,), 4), ((4, 1), 2), ((2, 2), 2), ((3, 3), 3), ((1, 6), 5)]


@probe("mixture_bits")
def mixtures_by_hand(impl, rng):
    mu, log_s = np.array([1.0, 1e3]), np.zeros(2)
    prior = {"logits": np.zeros(2), "mean": np.array([1.0, 1e3]), "log_sd": np.zeros(2)}
    yield "one bit to name the component", impl.mixture_bits(mu, log_s, prior)[0]
    prior = {"logits": np.array([0.3, -2.0]), "mean": np.zeros(2), "log_sd": np.full(2, np.log(2.0))}
    yield "two components that are the same", impl.mixture_bits(np.array([2.0]), np.zeros(1), prior)[0]


@probe("mixture_bits", cases=MIXTURES)
def mixtures(impl, rng, shape, K):
    mu, log_s, prior = 2 * rng.standard_normal(shape), rng.uniform(-3, 0.5, size=shape), draw_prior(rng, K)
    yield "bits", impl.mixture_bits(mu, log_s, prior)[0]


@probe("mixture_bits", cases=[(30.0, -4.0), (2e3, -3.0), (1.0, -25.0), (0.01, -6.0), (1e5, -1.0)])
def mixtures_of_far_weights(impl, rng, size, log_s):
    mu = size * (rng.uniform(0.5, 1.5, size=5) * rng.choice([-1, 1], size=5))
    log_s = log_s + rng.uniform(-0.4, 0.4, size=5)
    prior = {"logits": np.array([1.0, -1.0, 0.5]), "mean": np.zeros(3) + 0.1, "log_sd": np.array([-4.0, -2.0, -3.0])}
    yield "bits", observe(impl.mixture_bits(mu, log_s, prior)[0], rtol=1e-9)


def draw_rare(rng, rarity):
    """Weights at a component that is chosen almost never, and its mixture."""
    far = np.sqrt(8 * rarity)  # so far that the others code them worse even so
    mu, log_s = np.round(far) * np.array([1, 1, 0, 1]) + rng.standard_normal(4), rng.uniform(-2, 0, size=4)
    prior = {"logits": np.array([0.0, -rarity, 0.3]), "mean": np.array([0.0, np.round(far), 1.0])}
    return mu, log_s, prior | {"log_sd": np.array([0.1, -0.2, 0.0])}


def draw_of_width(rng, width):
    """Weights and noise as narrow, or as wide, as the components: ln σ is about `width`."""
    sd = np.exp(width)
    prior = {"logits": np.array([0.4, -0.3]), "mean": np.zeros(2), "log_sd": width + np.array([0.0, 1.0])}
    return sd * rng.standard_normal((2, 2)), width + rng.uniform(-1, 1, size=(2, 2)), prior


def draw_met(rng, shared):
    """Weights that share a mean, a deviation or both with a component; or zeros, in the prior too."""
    mu, log_s, prior = rng.standard_normal(6) + 0.5, rng.uniform(-2, 0, size=6), draw_prior(rng, 3)
    if shared == "zeros":
        prior["mean"] = np.array([0.0, 0.0, 1.0])
        mu[:2], log_s[2:4] = 0.0, 0.0
    else:
        mu[:3] = prior["mean"]
        log_s[2:5] = prior["log_sd"]
    return mu, log_s, prior


@probe("mixture_bits", cases=[("means and deviations",), ("zeros",)])
def mixtures_that_weights_meet(impl, rng, shared):
    yield "bits", impl.mixture_bits(*draw_met(rng, shared))[0]


def draw_unlike(rng, ratio):
    """Weights whose noise is `ratio` times as wide as a component, about."""
    prior = {"logits": np.array([0.4, -0.3]), "mean": np.array([0.3, -0.2]), "log_sd": np.array([-6.0, -5.0])}
    return rng.standard_normal((2, 2)), np.log(ratio) - 5.5 + rng.uniform(-0.3, 0.3, size=(2, 2)), prior


@probe("mixture_bits", cases=[(1e5,), (1e9,)])
def mixtures_narrower_than_the_noise(impl, rng, ratio):
    yield "bits", observe(impl.mixture_bits(*draw_unlike(rng, ratio))[0], rtol=1e-9)


@probe("mixture_bits", cases=[(20.0,), (60.0,), (800.0,)])
def mixtures_with_a_rare_component(impl, rng, rarity):
    yield "bits", observe(impl.mixture_bits(*draw_rare(rng, rarity))[0], rtol=1e-9)


@probe("mixture_bits", cases=[(-9.0,), (-13.0,), (-29.0,), (29.0,)])
def mixtures_of_other_widths(impl, rng, width):
    yield "bits", impl.mixture_bits(*draw_of_width(rng, width))[0]


@probe("mixture_bits", cases=[("columns first",), ("every other",), ("the prior's names in another order",)])
def mixtures_of_views(impl, rng, layout):
    mu, log_s, prior = rng.standard_normal((6, 4)), rng.uniform(-2, 0, size=(6, 4)), draw_prior(rng, 3)
    if layout == "columns first":
        mu = np.asfortranarray(mu)
    elif layout == "every other":
        mu, log_s = mu[::2, ::2], log_s[::2, ::2]
    else:
        prior = {name: prior[name] for name in ("log_sd", "mean", "logits")}
    yield "bits", impl.mixture_bits(mu, log_s, prior)[0]


@probe("mixture_bits", cases=[(1000.0,), (-1000.0,), (40.0,)])
def mixtures_of_far_logits(impl, rng, shift):
    mu, log_s, prior = rng.standard_normal((2, 3)), rng.uniform(-2, 0, size=(2, 3)), draw_prior(rng, 3)
    yield "all logits shifted", impl.mixture_bits(mu, log_s, prior | {"logits": prior["logits"] + shift})[0]
    one = prior["logits"] + np.array([0.0, abs(shift), 0.0])
    yield "one logit far above", impl.mixture_bits(mu, log_s, prior | {"logits": one})[0]


@probe("mixture_bits", cases=[(2,), (4,)])
def mixtures_in_turn(impl, rng, K):
    mu, log_s, priors = rng.standard_normal(4), rng.uniform(-2, 0, size=4), [draw_prior(rng, K) for _ in range(2)]
    for k, name in enumerate(("first", "second")):
        yield f"bits under the {name} prior", impl.mixture_bits(mu, log_s, priors[k])[0]


# Moments ------------------------------------------------------------------------------------------------------------

LAYERS = [(4, 3, 5), (1, 6, 2), (3, 1, 1), (2, 2, 2), (5, 4, 1), (1, 1, 3), (3, 7, 3)]


def draw_layer(rng, N, D, H):
    """Inputs with their variances, and weights."""
    x, v = rng.standard_normal((N, D)) + 0.5, rng.uniform(0.2, 2.0, size=(N, D))
    return x, v, rng.standard_normal((D, H)), rng.uniform(-1.5, 0.4, size=(D, H))


@probe("noisy_linear_forward")
def moments_by_hand(impl, rng):
    x, mu, log_s = np.array([[2.0], [2.0]]), np.array([[3.0]]), np.array([[np.log(0.5)]])
    mean, var, _ = impl.noisy_linear_forward(x, np.array([[0.0], [1.0]]), mu, log_s)
    yield "mean", mean
    yield "var", var


@probe("noisy_linear_forward", cases=LAYERS)
def moments(impl, rng, N, D, H):
    mean, var, _ = impl.noisy_linear_forward(*draw_layer(rng, N, D, H))
    yield "mean", mean
    yield "var", var


@probe(
    "noisy_linear_forward",
    cases=[
        ("no variance in",),
        ("inputs of zero",),
        ("means of zero",),
        ("no noise",),
        ("noise alone, little of it",),
        ("an input of 1",),
    ],
)
def moments_of_a_part(impl, rng, what):
    x, v, mu, log_s = draw_layer(rng, 3, 4, 2)
    x, v, mu, log_s = {
        "no variance in": (x, 0 * v, mu, log_s),
        "inputs of zero": (0 * x, v, mu, log_s),
        "means of zero": (x, v, 0 * mu, log_s),
        "no noise": (x, v, mu, log_s - 40.0),
        "noise alone, little of it": (x, 0 * v, 0 * mu, log_s - 14.0),
        "an input of 1": (np.where([False, True, False, True], 1.0, x), np.where([0, 0, 0, 1], 0.0, v), mu, log_s),
    }[what]
    mean, var, _ = impl.noisy_linear_forward(x, v, mu, log_s)
    yield "mean", mean
    yield "var", observe(var, rtol=1e-9)


@probe("noisy_linear_forward", cases=[(1e4, 1e-4, -6.0), (1e-3, 1e-9, -12.0), (1e3, 1e5, 4.0)])
def far_moments(impl, rng, size, spread, noise):
    x, v, mu, log_s = draw_layer(rng, 3, 4, 2)
    mean, var, _ = impl.noisy_linear_forward(size * x, spread * v, mu, log_s + noise)
    yield "mean", observe(mean, rtol=1e-9)
    yield "var", observe(var, rtol=1e-9)


@probe("noisy_linear_forward", cases=[("C",), ("F",)])
def moments_of_views(impl, rng, order):
    x, v, mu, log_s = draw_layer(rng, 6, 3, 2)
    mean, var, _ = impl.noisy_linear_forward(x[::2], v[1::2], np.array(mu, order="F"), np.array(log_s, order=order))
    yield "mean", mean
    yield "var", var


@probe("noisy_linear_forward", cases=[(40, 300, 60)])
def many_moments(impl, rng, N, D, H):
    mean, var, _ = impl.noisy_linear_forward(*draw_layer(rng, N, D, H))
    yield "mean", mean[::9, ::11]
    yield "var", var[::9, ::11]


# Gradients ----------------------------------------------------------------------------------------------------------


@probe("mixture_bits_backward")
def pulls_by_hand(impl, rng):
    prior = {"logits": np.zeros(1), "mean": np.zeros(1), "log_sd": np.full(1, np.log(2.0))}
    _, cache = impl.mixture_bits(np.array([2.0]), np.zeros(1), prior)
    dmu, dlog_s, dprior = impl.mixture_bits_backward(np.ones(1), cache)
    yield "dmu", dmu
    yield "dlog_s", dlog_s
    yield "dprior", observe(dprior, atol=1e-12)


@probe("mixture_bits_backward", cases=[(*case, 1.0) for case in MIXTURES] + [((3, 2), 2, 1e6), ((2, 4), 3, 1e-7)])
def pulls(impl, rng, shape, K, size):
    mu, log_s, prior = 1.5 * rng.standard_normal(shape), rng.uniform(-2, 0.5, size=shape), draw_prior(rng, K)
    dbits = size * (rng.standard_normal(shape) + 0.5)
    _, cache = impl.mixture_bits(mu, log_s, prior)
    dmu, dlog_s, dprior = impl.mixture_bits_backward(dbits, cache)
    yield "dmu", dmu
    yield "dlog_s", dlog_s
    yield "dprior", observe(dprior, atol=1e-10 * size)


@probe("mixture_bits_backward", cases=[(20.0, -3.0), (2e3, -3.0), (0.1, -20.0)])
def pulls_on_far_weights(impl, rng, size, noise):
    mu, dbits = size * (rng.standard_normal(4) + 0.3), rng.standard_normal(4) + 0.5
    prior = {"logits": np.array([1.0, -1.0]), "mean": np.array([0.0, 0.4]), "log_sd": np.array([-2.0, -1.0])}
    _, cache = impl.mixture_bits(mu, np.full(4, noise), prior)
    dmu, dlog_s, dprior = impl.mixture_bits_backward(dbits, cache)
    yield "dmu", dmu
    yield "dlog_s", dlog_s
    yield "dprior", observe(dprior, rtol=1e-7, atol=1e-9)


@probe("mixture_bits_backward", cases=[("rare", 20), ("rare", 800), ("width", -12), ("width", -29), ("width", 29)])
def pulls_of_other_mixtures(impl, rng, what, number):
    drawn, dbits = (draw_rare if what == "rare" else draw_of_width)(rng, number), rng.standard_normal((2, 2)) + 0.5
    dbits = dbits.reshape(drawn[0].shape)
    dmu, dlog_s, dprior = impl.mixture_bits_backward(dbits, impl.mixture_bits(*drawn)[1])
    yield "dmu", dmu
    yield "dlog_s", dlog_s
    yield "dprior", observe(dprior, rtol=1e-8, atol=1e-9)


@probe("mixture_bits_backward", cases=[("means and deviations",), ("zeros",)])
def pulls_where_they_meet(impl, rng, shared):
    drawn, dbits = draw_met(rng, shared), rng.standard_normal(6) + 0.5
    if shared == "zeros":
        dbits[5] = 0.0
    dmu, dlog_s, dprior = impl.mixture_bits_backward(dbits, impl.mixture_bits(*drawn)[1])
    yield "dmu", dmu
    yield "dlog_s", dlog_s
    yield "dprior", observe(dprior, atol=1e-10)


@probe("mixture_bits_backward", cases=[(1e4,), (1e-5,)])
def pulls_of_unlike_widths(impl, rng, ratio):
    drawn, dbits = draw_unlike(rng, ratio), rng.standard_normal((2, 2)) + 0.5
    dmu, dlog_s, dprior = impl.mixture_bits_backward(dbits, impl.mixture_bits(*drawn)[1])
    yield "dmu", observe(dmu, rtol=1e-6)
    yield "dlog_s", observe(dlog_s, rtol=1e-6)
    yield "dlog_sd", observe(dprior["log_sd"], rtol=1e-6)


@probe("mixture_bits_backward", cases=[("columns first",), ("the prior's names in another order",)])
def pulls_of_views(impl, rng, layout):
    mu, log_s, prior = rng.standard_normal((3, 4)), rng.uniform(-2, 0, size=(3, 4)), draw_prior(rng, 2)
    dbits = rng.standard_normal((3, 4)) + 0.5
    if layout == "columns first":
        mu, dbits = np.asfortranarray(mu), np.asfortranarray(dbits)
    else:
        prior = {name: prior[name] for name in ("log_sd", "mean", "logits")}
    dmu, _, dprior = impl.mixture_bits_backward(dbits, impl.mixture_bits(mu, log_s, prior)[1])
    yield "dmu", dmu
    yield "dprior", observe(dprior, atol=1e-10)


@probe("mixture_bits_backward", cases=[(3,), (1,)])
def pulls_walked_back_later(impl, rng, K):
    drawn = [(rng.standard_normal((2, 3)), rng.uniform(-2, 0, size=(2, 3)), draw_prior(rng, K)) for _ in range(2)]
    dbits = rng.standard_normal((2, 2, 3)) + 0.5
    caches = [impl.mixture_bits(*arguments)[1] for arguments in drawn]
    for name, k in (("first cache", 0), ("second cache", 1), ("first cache once more", 0)):
        dmu, _, dprior = impl.mixture_bits_backward(dbits[k], caches[k])
        yield f"dmu from the {name}", dmu
        yield f"dprior from the {name}", observe(dprior, atol=1e-10)


@probe("mixture_bits_backward", cases=[(400, 120, 3)])
def pulls_of_many(impl, rng, D, H, K):
    mu, log_s, prior = rng.standard_normal((D, H)), rng.uniform(-2, 0, size=(D, H)), draw_prior(rng, K)
    dbits = rng.standard_normal((D, H)) + 0.5
    dmu, dlog_s, dprior = impl.mixture_bits_backward(dbits, impl.mixture_bits(mu, log_s, prior)[1])
    yield "dmu", dmu[::90, ::30]
    yield "dlog_s", dlog_s[::90, ::30]
    yield "dprior", observe(dprior, atol=1e-7)


@probe("mixture_bits_backward", cases=[((3, 2), 2), ((4,), 3)])
def with_own_mixture(impl, rng, shape, K):
    mu, log_s, prior = rng.standard_normal(shape), rng.uniform(-2, 0, size=shape), draw_prior(rng, K)
    dbits, along = rng.standard_normal(shape), rng.standard_normal(shape)
    dmu, dlog_s, _ = impl.mixture_bits_backward(dbits, impl.mixture_bits(mu, log_s, prior)[1])
    yield "dmu", dmu
    numeric = slope(lambda a: np.sum(impl.mixture_bits(a, log_s, prior)[0] * dbits), mu, along)
    yield "slope along mu", agree(np.sum(dmu * along), numeric)
    numeric = slope(lambda a: np.sum(impl.mixture_bits(mu, a, prior)[0] * dbits), log_s, along)
    yield "slope along log_s", agree(np.sum(dlog_s * along), numeric)


GRADIENTS = "dx dv dmu dlog_s"


@probe("noisy_linear_backward")
def layer_by_hand(impl, rng):
    x, v, mu, log_s = (np.array([[a]]) for a in (2.0, 1.0, 3.0, np.log(0.5)))
    cache = impl.noisy_linear_forward(x, v, mu, log_s)[2]
    yield from named(GRADIENTS, impl.noisy_linear_backward(np.ones((1, 1)), np.ones((1, 1)), cache))


@probe("noisy_linear_backward", cases=[(*case, 1.0) for case in LAYERS] + [(3, 2, 4, 1e6), (2, 3, 2, 1e-8)])
def layer_gradients(impl, rng, N, D, H, size):
    layer, upstream = draw_layer(rng, N, D, H), size * rng.standard_normal((2, N, H))
    cache = impl.noisy_linear_forward(*layer)[2]
    yield from named(GRADIENTS, impl.noisy_linear_backward(*upstream, cache))


ZEROS = [("no inputs",), ("zeros here and there",)]


@probe("noisy_linear_backward", cases=[("mean",), ("variance",), ("certain inputs",), *ZEROS])
def gradients_of_one_way(impl, rng, way):
    x, v, mu, log_s = draw_layer(rng, 3, 4, 2)
    dmean, dvar = rng.standard_normal((2, 3, 2))
    v = 0 * v if way == "certain inputs" else v
    if way == "no inputs":
        x = 0 * x
    elif way == "zeros here and there":
        x[0], x[1, 1], x[1:, 2], x[2, 3] = 0.0, 0.0, 0.0, 0.0  # a case, an input, some single ones
        v[0, 0], v[1, 1:3], v[:, 3] = 0.0, 0.0, 0.0
        mu[0, 0], mu[2], mu[3, 1], dmean[1, 1], dvar[2, 0] = 0.0, 0.0, 0.0, 0.0, 0.0
    cache = impl.noisy_linear_forward(x, v, mu, log_s)[2]
    got = impl.noisy_linear_backward(
        0 * dmean if way == "variance" else dmean, 0 * dvar if way == "mean" else dvar, cache
    )
    yield from named(GRADIENTS, got)


@probe("noisy_linear_backward", cases=[(1e3, 1e4, 3.0), (1e-2, 1e-9, -12.0)])
def gradients_of_far_layers(impl, rng, size, spread, noise):
    (x, v, mu, log_s), upstream = draw_layer(rng, 3, 2, 2), rng.standard_normal((2, 3, 2))
    cache = impl.noisy_linear_forward(size * x, spread * v, mu, log_s + noise)[2]
    yield from named(GRADIENTS, impl.noisy_linear_backward(*upstream, cache))


@probe("noisy_linear_backward", cases=[("an input of 1",), ("columns first",)])
def gradients_of_views(impl, rng, what):
    (x, v, mu, log_s), upstream = draw_layer(rng, 4, 3, 2), rng.standard_normal((2, 4, 2))
    if what == "an input of 1":
        x, v = np.where([0, 0, 1], 1.0, x), np.where([0, 0, 1], 0.0, v)
    else:
        x, mu, upstream = np.asfortranarray(x), np.asfortranarray(mu), [np.asfortranarray(d) for d in upstream]
    cache = impl.noisy_linear_forward(x, v, mu, log_s)[2]
    yield from named(GRADIENTS, impl.noisy_linear_backward(*upstream, cache))


@probe("noisy_linear_backward", cases=[(3, 2, 4)])
def layers_walked_back_later(impl, rng, N, D, H):
    layers, upstream = [draw_layer(rng, N, D, H) for _ in range(2)], rng.standard_normal((2, 2, N, H))
    caches = [impl.noisy_linear_forward(*layer)[2] for layer in layers]
    for name, k in (("first", 0), ("second", 1), ("first_again", 0)):
        names = " ".join(f"{part}_from_the_{name}" for part in GRADIENTS.split())
        yield from named(names, impl.noisy_linear_backward(*upstream[k], caches[k]))


@probe("noisy_linear_backward", cases=[(48, 1500, 300)])
def a_large_layer(impl, rng, N, D, H):
    layer, upstream = draw_layer(rng, N, D, H), rng.standard_normal((2, N, H))
    got = impl.noisy_linear_backward(*upstream, impl.noisy_linear_forward(*layer)[2])
    for name, gradient in named(GRADIENTS, got):
        yield name, gradient[::17, ::97]


@probe("noisy_linear_backward", cases=[(3, 4, 2)])
def with_own_layer(impl, rng, N, D, H):
    layer, (dmean, dvar) = list(draw_layer(rng, N, D, H)), rng.standard_normal((2, N, H))
    along = [rng.standard_normal(part.shape) for part in layer]
    got = impl.noisy_linear_backward(dmean, dvar, impl.noisy_linear_forward(*layer)[2])
    for k, (name, gradient) in enumerate(named(GRADIENTS, got)):
        yield name, gradient

        def loss(part, k=k):
            mean, var, _ = impl.noisy_linear_forward(*layer[:k], part, *layer[k + 1 :])
            return np.sum(mean * dmean) + np.sum(var * dvar)

        yield f"slope along {name[1:]}", agree(np.sum(gradient * along[k]), slope(loss, layer[k], along[k]))


# The whole objective ------------------------------------------------------------------------------------------------


def draw_network(rng, D, H, noise=-1.0):
    """Weights of two layers, at which all units live."""
    mu1, mu2 = rng.standard_normal((D + 1, H)), rng.standard_normal((H + 1, 1))
    p = {"mu1": mu1 / np.sqrt(D), "mu2": mu2}
    return p | {f"log_s{k}": rng.uniform(noise - 0.8, noise + 0.8, size=p[f"mu{k}"].shape) for k in (1, 2)}


@probe("description_length")
def length_by_hand(impl, rng):
    p = {name: np.zeros((2, 1)) for name in ("mu1", "mu2")} | {"log_s1": np.zeros((2, 1))}
    p["log_s2"] = np.array([[-30.0], [0.0]])
    prior = {"logits": np.zeros(1), "mean": np.zeros(1), "log_sd": np.zeros(1)}
    weight_bits, data_bits, grads = impl.description_length(p, prior, np.array([[2.0]]), np.zeros(1))
    yield "weight_bits", weight_bits
    yield "data_bits", data_bits
    yield "dlog_s2", grads["log_s2"]


@probe(
    "description_length",
    cases=[
        (5, 3, 2, 2, 0.7, 1.0),
        (1, 4, 3, 1, 0.5, 1.0),
        (7, 2, 1, 3, 0.0, 1.0),
        (4, 6, 4, 2, 130.0, 1.0),
        (3, 1, 2, 2, 7.5, 1.0),
        (6, 3, 3, 2, 1.0, 1e3),
        (60, 20, 4, 2, 0.0125, 2.0),
        (3, 3, 2, 4, 2, 1.0),
    ],
)
def lengths(impl, rng, N, D, H, K, beta, size):
    p, prior, X, t = draw_network(rng, D, H), draw_prior(rng, K), rng.standard_normal((N, D)), rng.standard_normal(N)
    weight_bits, data_bits, grads = impl.description_length(p, prior, X, size * t, beta)
    yield "weight_bits", weight_bits
    yield "data_bits", data_bits
    yield "shapes of grads", {name: list(np.shape(grads[name])) for name in sorted(grads)}
    for name in sorted(p | prior):
        yield name, observe(grads[name], atol=1e-9)


@probe("description_length", cases=[(5, 2, 3)])
def lengths_by_default(impl, rng, N, D, H):
    p, prior, X, t = draw_network(rng, D, H), draw_prior(rng, 2), rng.standard_normal((N, D)), rng.standard_normal(N)
    weight_bits, data_bits, grads = impl.description_length(p, prior, X, t)
    yield "weight_bits", weight_bits
    yield "data_bits", data_bits
    for name in sorted(p | prior):
        yield name, observe(grads[name], atol=1e-9)


@probe("description_length", cases=[(4, 3, 2, -9.0, 1e-2), (8, 2, 2, -6.0, 1e-2), (5, 2, 2, -14.0, 1e-5)])
def lengths_of_a_close_fit(impl, rng, N, D, H, noise, misfit):
    p, prior, X = draw_network(rng, D, H, noise), draw_prior(rng, 2), rng.standard_normal((N, D))
    if misfit < 1e-3:  # where all means are zero no rounding hides so small an error
        p |= {"mu1": 0 * p["mu1"], "mu2": 0 * p["mu2"]}
    h = np.tanh(X @ p["mu1"][:-1] + p["mu1"][-1])
    t = (h @ p["mu2"][:-1] + p["mu2"][-1])[:, 0] + misfit * rng.standard_normal(N)
    weight_bits, data_bits, grads = impl.description_length(p, prior, X, t, 0.5)
    yield "weight_bits", weight_bits
    yield "data_bits", data_bits
    for name in ("mu1", "log_s2", "logits"):
        yield name, observe(grads[name], rtol=1e-6, atol=1e-9)


@probe("description_length", cases=[(4, 2, 3)])
def lengths_one_after_another(impl, rng, N, D, H):
    drawn = [(draw_network(rng, D, H), draw_prior(rng, 2), *rng.standard_normal((2, N, D))) for _ in range(2)]
    for name, (p, prior, X, t) in zip(("first", "second"), drawn, strict=True):
        p = {key: p[key] for key in ("log_s2", "mu2", "log_s1", "mu1")}
        prior = {key: prior[key] for key in ("log_sd", "mean", "logits")}
        weight_bits, data_bits, grads = impl.description_length(p, prior, X, t[:, 0], 2.0)
        yield f"weight_bits of the {name} network", weight_bits
        yield f"data_bits of the {name} network", data_bits
        yield f"dmu1 of the {name} network", grads["mu1"]


# PyTorch ------------------------------------------------------------------------------------------------------------


def about_one(got, expected):
    """The deviation of many first means, times the root of D."""
    if abs(float(got) - 1) < 0.1:
        return None
    return f"first means have a standard deviation of {float(got):.2f} / √D; N(0, 1 / D) has 1 / √D."


def some_far_out(got, expected):
    """The share of first means beyond 1.8 / √D, of a normal distribution about 7 %."""
    if 0.035 < float(got) < 0.12:
        return None
    return f"{float(got):.1%} of the first means are beyond 1.8 / √D; of N(0, 1 / D) it would be 7 %."


def some(grad, rows=slice(None), columns=slice(None)):
    """A part of a gradient, if there is one."""
    return None if grad is None else grad[rows, columns]


def module_of(impl, D, H, seed, dtype="float64"):
    """A layer with weights at which everything shows."""
    import torch

    return fill(impl.NoisyLinear(D, H).to(getattr(torch, dtype)), seed)


@probe("NoisyLinear")
def module_by_hand(impl, rng):
    import torch

    layer = impl.NoisyLinear(1, 1).double()
    layer.load_state_dict({"mu": torch.tensor([[3.0], [1.0]]), "log_s": torch.tensor([[0.5], [1.0]]).log()})
    x, one = torch.tensor([[2.0]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    yield from named("mean var", tuple(layer.moments(x)))
    yield "in training, ε = 1", layer.train()(x, one)
    yield "in evaluation, ε = 1", layer.eval()(x, one)


@probe("NoisyLinear", cases=[(4, 3, 2), (1, 2, 3)])
def one_layer_at_work(impl, rng, N, D, H):
    import torch

    layer, x, fewer = module_of(impl, D, H, int(rng.integers(2**32))), *torch.tensor(rng.standard_normal((2, N, D)))
    fewer = torch.cat([fewer, x])[: N + 2]
    yield "moments of a batch", tuple(layer.moments(x))
    yield "moments of a batch of another size", tuple(layer.moments(fewer))
    with torch.no_grad():
        for part in layer.parameters():
            part.add_(0.3)
    yield "moments after the weights have changed", tuple(layer.moments(x))
    layer.eval()(x).square().sum().backward()
    yield "dmu in evaluation", layer.mu.grad


PLAIN = [(*case, "float64", 0.0) for case in LAYERS]
OTHERS = [
    (4, 3, 2, "float32", 0.0),
    (30, 70, 20, "float64", 0.0),
    (3, 2, 2, "float64", -14.0),
    (2, 3, 2, "float64", 7.0),
]


@probe("NoisyLinear", cases=PLAIN + OTHERS)
def layers(impl, rng, N, D, H, dtype, noise):
    import torch

    x, eps = (torch.tensor(rng.standard_normal(shape), dtype=getattr(torch, dtype)) for shape in ((N, D), (N, H)))
    d, seed = torch.tensor(rng.standard_normal((3, N, H)), dtype=x.dtype), int(rng.integers(2**32))
    layer = module_of(impl, D, H, seed, dtype)
    with torch.no_grad():
        layer.log_s.add_(noise)
    yield "parameters", shapes(layer)
    mean, var = layer.moments(x)
    yield "mean", mean[:4, :5]
    yield "var", var[:4, :5]
    x.requires_grad_()
    y = layer.train()(x, eps)
    yield "y in training", y[:4, :5]
    if y.requires_grad:
        torch.sum(y * d[0]).backward()
    yield "dx", some(x.grad, slice(4), slice(5))
    yield "dmu", some(layer.mu.grad, slice(-4, None), slice(5))
    yield "dlog_s", some(layer.log_s.grad, slice(-4, None), slice(5))
    layer.eval()
    yield "y in evaluation", (layer(x)[:4, :5], layer(x, eps)[:4, :5])


@probe("NoisyLinear", cases=[(2, 3, 2), (1, 2, 4)])
def layers_in_evaluation(impl, rng, N, D, H):
    import torch

    x, eps = (torch.tensor(rng.standard_normal(shape)) for shape in ((N, D), (N, H)))
    d, seed = torch.tensor(rng.standard_normal((3, N, H))), int(rng.integers(2**32))
    prior = {name: torch.tensor(values).requires_grad_() for name, values in draw_prior(rng, 2).items()}
    layer = module_of(impl, D, H, seed).eval()
    x.requires_grad_()
    y, (mean, var) = layer(x, eps), layer.moments(x)
    yield from named("mean var", (mean, var))
    bits = layer.bits(prior["logits"], prior["mean"], prior["log_sd"])
    total = (y * d[0] + mean * d[1] + var * d[2]).sum() + bits
    if total.requires_grad:
        total.backward()
    yield "dx", x.grad
    yield "dmu", layer.mu.grad
    yield "dlog_s", layer.log_s.grad
    for name, leaf in prior.items():
        yield f"d{name}", observe(leaf.grad, atol=1e-9)


@probe("NoisyLinear", cases=[(3, 2, 2)])
def noise_far_out(impl, rng, N, D, H):
    import torch

    layer, x = module_of(impl, D, H, int(rng.integers(2**32))).train(), torch.tensor(rng.standard_normal((N, D)))
    eps = torch.tensor(rng.choice([-1.0, 1.0], size=(N, H)) * rng.uniform(3.1, 12.0, size=(N, H)))
    yield "y in training", layer(x, eps)


def as_far_as_normal(got, expected):
    """Whether some of 160,000 draws are far out, on either side, and none is further."""
    if all(got):
        return None
    return (
        "the layer drew 160,000 outputs of mean 0 and variance 1. Of so many normal ones some are beyond 3.6 on either "
        "side, and none is beyond 6.5; of these it is otherwise."
    )


@probe("NoisyLinear", cases=[(400, 2, 400)])
def noise_of_many(impl, rng, N, D, H):
    import torch

    layer, noise = impl.NoisyLinear(D, H, 0.0).train(), int(rng.integers(2**31))
    torch.manual_seed(noise)
    with torch.no_grad():
        layer.mu.zero_(), layer.log_s.zero_()
        y = layer(torch.zeros(N, D))
    far = [bool(y.min() < -3.6), bool(y.max() > 3.6), bool(y.abs().max() < 6.5)]  # numbers differ between processors
    yield "how far out 160,000 are", observe(far, judge=as_far_as_normal)


@probe("NoisyLinear", cases=[(3, 2, 4), (4, 1, 3), (1, 3, 1)])
def noise_of_its_own(impl, rng, N, D, H):
    import torch

    x, seed, noise = torch.tensor(rng.standard_normal((N, D))), *(int(n) for n in rng.integers(2**31, size=2))
    layer = module_of(impl, D, H, seed).train()
    torch.manual_seed(noise)
    first, second = layer(x), layer(x)
    yield "y in training, two draws", (first, second)
    torch.manual_seed(noise)
    yield "y in evaluation", layer.eval()(x)
    torch.manual_seed(noise)
    yield "y in training again", layer.train()(x)


@probe("NoisyLinear", cases=[(2, 3, 1), (4, 2, 2), (3, 3, 3), (1, 1, 4), (40, 30, 2)])
def bits_of_a_layer(impl, rng, D, H, K):
    import torch

    prior = {name: torch.tensor(values).requires_grad_() for name, values in draw_prior(rng, K).items()}
    layer = module_of(impl, D, H, int(rng.integers(2**32)))
    bits = layer.bits(prior["logits"], prior["mean"], prior["log_sd"])
    yield "bits", bits
    if bits.requires_grad:
        bits.backward()
    yield "dmu", some(layer.mu.grad, slice(-3, None), slice(4))
    yield "dlog_s", some(layer.log_s.grad, slice(-3, None), slice(4))
    for name, leaf in prior.items():
        yield f"d{name}", observe(leaf.grad, atol=1e-9)
    yield "bits in evaluation", layer.eval().bits(prior["logits"], prior["mean"], prior["log_sd"])


@probe("NoisyLinear", cases=[("width", -12.0), ("width", 8.0), ("rare", 20.0), ("rare", 800.0)])
def bits_under_other_priors(impl, rng, what, number):
    import torch

    layer = module_of(impl, 2, 2, int(rng.integers(2**32)))
    rare, wide = np.array([0.2, 0.1 - number]), np.array([0.4, -0.3])
    far = float(np.round(np.sqrt(8 * number))) if what == "rare" else 0.0
    with torch.no_grad():
        layer.mu.add_(far) if what == "rare" else layer.mu.mul_(np.exp(number))
        layer.log_s.add_(0.0 if what == "rare" else number)
    logits, mean = torch.tensor(rare if what == "rare" else wide), torch.tensor([0.0, far], dtype=torch.float64)
    log_sd = torch.tensor([0.1, -0.2] if what == "rare" else [number, number + 1], dtype=torch.float64)
    bits = layer.bits(logits, mean, log_sd)
    yield "bits", bits
    if bits.requires_grad:
        bits.backward()
    yield "dmu", layer.mu.grad


@probe("NoisyLinear", cases=[(300.0, 0.0), (1.0, 500.0), (3e3, -500.0)])
def bits_of_far_means(impl, rng, size, shift):
    import torch

    logits, seed = torch.tensor(rng.standard_normal(2) + shift), int(rng.integers(2**32))
    layer = module_of(impl, 3, 2, seed)
    with torch.no_grad():
        layer.mu.mul_(size)
    means, sds = torch.tensor([0.0, 0.2]).double(), torch.tensor([-3.0, -2.0]).double()
    bits = layer.bits(logits, means, sds)
    yield "bits", bits
    if bits.requires_grad:
        bits.backward()
    yield "dmu", layer.mu.grad
    yield "bits in evaluation", layer.eval().bits(logits, means, sds)


@probe("NoisyLinear", cases=[(60, 80, -3.0), (100, 30, -1.5), (90, 40, -2), (1, 3000, 0.5), (3, 900, -5.0)])
def first_values(impl, rng, D, H, log_s):
    import torch

    x = torch.tensor(rng.standard_normal((2, D)), dtype=torch.float32)
    torch.manual_seed(int(rng.integers(2**32)))
    layer = impl.NoisyLinear(D, H) if log_s == -3.0 else impl.NoisyLinear(D, H, log_s)
    deviation = round(float(layer.mu[:-1].std()) * D**0.5, 3)
    yield "deviation of the first means, times √D", observe(deviation, judge=about_one)
    far_out = round(float((layer.mu[:-1].abs() * D**0.5 > 1.8).double().mean()), 3)
    yield "share of first means beyond 1.8 / √D", observe(far_out, judge=some_far_out)
    yield "two new layers are alike", bool(torch.equal(layer.mu, impl.NoisyLinear(D, H).mu))
    yield "first biases", layer.mu[-1, :5]
    yield "first ln s", (layer.log_s[:2, :3], layer.log_s[-1, :3])
    yield "shapes", [list(part.shape) for part in (*layer.moments(x), layer(x))]
