"""Probes of 07: convolution, pooling, normalisation and their gradients, augmentation, the update; a network."""

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

NINE = np.arange(9.0).reshape(1, 1, 3, 3)
TWO_WINDOWS = np.array([[0.0, 1, 2, 3, 4], [5, 6, 9, 8, 7], [0, 0, 0, 0, 0]])[None, None]
NO_SHIFT = {"vectors": np.eye(3), "values": np.zeros(3)}


def draw_convolution(rng, N, C, H, W, F, k, groups):
    """Pictures, filters and biases of order one."""
    x, w = rng.standard_normal((N, C, H, W)), rng.standard_normal((F, C // groups, k, k))
    return x, w / np.sqrt(k * k * C / groups), rng.standard_normal(F)


def part(value, every):
    """One of `every` numbers of an array, so that keys stay small."""
    return value.ravel()[::every] if isinstance(value, np.ndarray) else value


def apart(result, *given):
    """Whether a result is a new array, with memory of its own."""
    return isinstance(result, np.ndarray | np.generic) and not any(np.shares_memory(result, a) for a in given)


@probe("im2col")
def four_windows(impl, rng):
    yield "columns", impl.im2col(NINE, 2)


@probe(
    "im2col",
    cases=[
        (1, 1, 1, 1, 1, 1, 0),
        (2, 3, 5, 4, 3, 1, 1),
        (2, 4, 6, 9, 2, 3, 2),
        (2, 3, 6, 7, 3, 1, 1),
        (2, 2, 9, 6, 3, 2, 0),
        (2, 2, 8, 9, 3, 2, 0),
    ],
)
def columns(impl, rng, N, C, H, W, k, stride, pad):
    x = rng.standard_normal((N, C, H, W))
    yield "columns", impl.im2col(x, k, stride, pad)


@probe("im2col", cases=[(2, 3, 5, 6, 2)])
def default_stride(impl, rng, N, C, H, W, k):
    x = rng.standard_normal((N, C, W, H)).swapaxes(2, 3)  # a view, with strides of its own
    yield "columns", impl.im2col(x, k)


@probe("im2col")
def one_setting_after_another(impl, rng):
    x = rng.standard_normal((1, 1, 6, 5))
    for k, stride, pad in ((3, 1, 1), (3, 2, 1), (3, 1, 0), (2, 1, 0), (3, 3, 1)):
        yield f"columns with k = {k}, stride = {stride}, pad = {pad}", impl.im2col(x, k, stride, pad)


@probe("im2col", cases=[(2, 3, 4, 5)])
def windows_of_one_pixel(impl, rng, N, C, H, W):
    x = rng.standard_normal((N, C, H, W))
    cols = impl.im2col(x, 1)
    yield "columns", cols
    yield "columns are a new array", apart(cols, x)


@probe("conv2d_forward")
def twenty_eight(impl, rng):
    out, _ = impl.conv2d_forward(NINE, np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), np.array([1.0]))
    yield "out", out


CONVOLUTIONS = [  # N, C, H, W, F, k, stride, pad, groups
    (1, 1, 1, 1, 1, 1, 1, 0, 1),
    (2, 3, 5, 6, 4, 3, 1, 1, 1),
    (2, 2, 8, 7, 5, 3, 2, 0, 1),
    (2, 4, 6, 5, 6, 2, 2, 1, 2),
    (1, 6, 9, 8, 3, 4, 3, 2, 3),
    (2, 2, 4, 3, 3, 5, 1, 3, 1),
    (2, 3, 5, 4, 6, 3, 1, 1, 3),  # a group per channel, two filters in each
    (2, 3, 4, 5, 2, 1, 1, 1, 1),
]


@probe("conv2d_forward", cases=CONVOLUTIONS)
def convolved(impl, rng, N, C, H, W, F, k, stride, pad, groups):
    x, w, b = draw_convolution(rng, N, C, H, W, F, k, groups)
    out, _ = impl.conv2d_forward(x, w, b, stride, pad, groups)
    yield "out", out


@probe("conv2d_forward")
def one_convolution_after_another(impl, rng):
    x, w, b = draw_convolution(rng, 1, 2, 5, 6, 2, 5, 2)
    for stride, pad in ((1, 2), (1, 0), (2, 2), (1, 1)):
        out, _ = impl.conv2d_forward(x, w, b, stride, pad, 2)
        yield f"out with stride = {stride}, pad = {pad}", out


@probe("maxpool_forward")
def two_nines(impl, rng):
    out, _ = impl.maxpool_forward(TWO_WINDOWS)
    yield "out", out


@probe(
    "maxpool_forward",
    cases=[
        (1, 1, 1, 1, 1, 1, 1),
        (2, 3, 7, 5, 3, 2, 1),
        (2, 2, 6, 8, 3, 2, 1e200),  # beyond what float32 can hold
        (3, 1, 9, 7, 2, 3, 1),
        (2, 2, 5, 6, 3, 1, 1),
    ],
)
def pooled(impl, rng, N, C, H, W, k, stride, scale):
    x = scale * (rng.standard_normal((N, C, H, W)) - 3.0)  # mostly negative: a constant to start from would win
    out, _ = impl.maxpool_forward(x, k, stride)
    yield "out", out


@probe("maxpool_forward")
def one_pool_after_another(impl, rng):
    x = rng.standard_normal((1, 1, 7, 8))
    for k, stride in ((3, 2), (3, 1), (2, 2), (3, 3)):
        out, _ = impl.maxpool_forward(x, k, stride)
        yield f"out with k = {k}, stride = {stride}", out


@probe("maxpool_forward", cases=[(2, 3, 5, 6)])
def pools_of_a_view(impl, rng, N, C, H, W):
    x = rng.standard_normal((H, N, W, C)).transpose(1, 3, 0, 2)  # with strides of its own
    out, _ = impl.maxpool_forward(x)
    yield "out", out


@probe("maxpool_forward", cases=[(1,), (2,)])
def pools_of_one_pixel(impl, rng, stride):
    x = rng.standard_normal((2, 3, 4, 5))
    out, _ = impl.maxpool_forward(x, 1, stride)
    yield "out", out
    yield "out is a new array", apart(out, x)


@probe("lrn_forward")
def three_four_five(impl, rng):
    x = np.array([3.0, 4.0, 0.0]).reshape(1, 3, 1, 1)
    out, _ = impl.lrn_forward(x, n=3, k=0.0, alpha=1.0, beta=0.5)
    yield "out", out


@probe("lrn_forward", cases=[(1, 1, 1, 1, 1), (2, 6, 1, 3, 3), (2, 8, 2, 1, 5), (2, 3, 1, 2, 7), (1, 4, 2, 3, 3)])
def normalised(impl, rng, N, C, H, W, n):
    x = 2 * rng.standard_normal((N, C, H, W))
    k, alpha, beta = rng.uniform(0.5, 1.5), rng.uniform(0.3, 0.6), rng.uniform(0.5, 1.2)
    out, _ = impl.lrn_forward(x, n, k, alpha, beta)
    yield "out", out


@probe("lrn_forward", cases=[(1, 7, 1, 2)])
def papers_constants(impl, rng, N, C, H, W):
    x = 150 * rng.standard_normal((N, C, H, W))  # as large as the paper's constants need
    out, _ = impl.lrn_forward(x)
    yield "out", out


@probe("lrn_forward", cases=[(1, 5, 1, 3)])
def without_the_constant(impl, rng, N, C, H, W):
    x = 1e-7 * rng.standard_normal((N, C, H, W))  # so small that a bound or anything added in the bracket shows
    out, _ = impl.lrn_forward(x, 3, 0.0, 1.0, 0.75)
    yield "out", out


@probe("lrn_forward")
def one_constant_after_another(impl, rng):
    x = 2 * rng.standard_normal((1, 6, 1, 2))
    first = {"n": 3, "k": 1.0, "alpha": 0.5, "beta": 0.75}  # then one of the four changes
    for changed in ({}, {"n": 5}, {"k": 1.5}, {"alpha": 0.3}, {"beta": 0.6}):
        out, _ = impl.lrn_forward(x, **(first | changed))
        yield f"out with {changed or first}", out


@probe("augment")
def red_row(impl, rng):
    images = np.zeros((1, 3, 2, 3))
    images[0, 0] = [0.0, 1.0, 2.0]
    alphas, values = np.array([[0.5, 0.0, 0.0]]), np.array([4.0, 1.0, 1.0])
    yield "pictures", impl.augment(images, 2, np.array([[0, 1]]), np.array([True]), alphas, np.eye(3), values)


@probe("augment", cases=[(1, 3, 4, 2), (6, 7, 9, 5), (5, 6, 6, 6)])
def crops(impl, rng, N, H, W, size):
    images = rng.standard_normal((N, 3, H, W))
    corners = np.stack([rng.integers(H - size + 1, size=N), rng.integers(W - size + 1, size=N)], axis=1)
    flips = rng.random(N) < 0.5
    yield "pictures", impl.augment(images, size, corners, flips, np.zeros((N, 3)), **NO_SHIFT)


@probe("augment", cases=[(2, 4)])
def nothing_to_do(impl, rng, N, size):
    images = rng.standard_normal((N, 3, size, size))
    corners, flips = np.zeros((N, 2), dtype=int), np.zeros(N, dtype=bool)
    found = impl.augment(images, size, corners, flips, np.zeros((N, 3)), **NO_SHIFT)
    yield "pictures", found
    yield "pictures are a new array", apart(found, images)


@probe("augment", cases=[(1, 4, 3), (5, 6, 4)])
def colours(impl, rng, N, H, size):
    images, alphas = rng.standard_normal((N, 3, H, H + 1)), rng.standard_normal((N, 3))
    images = np.maximum(images, 0.0)  # black pixels are shifted as well
    vectors, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    values = rng.uniform(1.0, 3.0, size=3)
    corners, flips = rng.integers(H - size + 1, size=(N, 2)), rng.random(N) < 0.5
    yield "pictures", impl.augment(images, size, corners, flips, alphas, vectors, values)


@probe("conv2d_backward")
def windows_per_pixel(impl, rng):
    _, cache = impl.conv2d_forward(NINE, np.ones((1, 1, 2, 2)), np.zeros(1))
    yield from named("dx dw db", impl.conv2d_backward(np.ones((1, 1, 2, 2)), cache))


@probe("conv2d_backward", cases=CONVOLUTIONS)
def convolution_gradients(impl, rng, N, C, H, W, F, k, stride, pad, groups):
    x, w, b = draw_convolution(rng, N, C, H, W, F, k, groups)
    dout = rng.standard_normal((N, F, (H + 2 * pad - k) // stride + 1, (W + 2 * pad - k) // stride + 1))
    _, cache = impl.conv2d_forward(x, w, b, stride, pad, groups)
    yield from named("dx dw db", impl.conv2d_backward(dout, cache))


@probe("conv2d_backward")
def convolution_too_large_for_differences(impl, rng):
    x, w, b = draw_convolution(rng, 2, 96, 16, 16, 96, 3, 1)  # many pixels and many weights, in few pictures
    dout = rng.standard_normal((2, 96, 16, 16))
    _, cache = impl.conv2d_forward(x, w, b, 1, 1)
    for name, value in named("dx dw db", impl.conv2d_backward(dout, cache)):
        yield name, value if name == "db" else part(value, 1201)


@probe("conv2d_backward", cases=[(2, 2, 5, 4, 4, 3, 2, 1, 2)])
def with_own_convolution(impl, rng, N, C, H, W, F, k, stride, pad, groups):
    x, w, b = draw_convolution(rng, N, C, H, W, F, k, groups)
    along_x, along_w, dout = (rng.standard_normal(s) for s in (x.shape, w.shape, (N, F, 3, 2)))
    _, cache = impl.conv2d_forward(x, w, b, stride, pad, groups)
    dx, dw, _ = impl.conv2d_backward(dout, cache)
    yield "dx", dx

    def loss(x, w):
        return np.sum(impl.conv2d_forward(x, w, b, stride, pad, groups)[0] * dout)

    yield "slope along x", agree(np.sum(dx * along_x), slope(lambda v: loss(v, w), x, along_x))
    yield "slope along w", agree(np.sum(dw * along_w), slope(lambda v: loss(x, v), w, along_w))


@probe("conv2d_backward")
def behind_two_convolutions(impl, rng):
    x, w, b = draw_convolution(rng, 1, 4, 4, 5, 2, 3, 2)
    dout = rng.standard_normal((1, 2, 2, 3))
    _, first = impl.conv2d_forward(x, w, b, 2, 1, 2)
    impl.conv2d_forward(x, np.tile(w, (1, 2, 1, 1)), b)  # with other settings
    yield from named("dx dw db", impl.conv2d_backward(dout, first))


@probe("maxpool_backward")
def nine_wins_twice(impl, rng):
    _, cache = impl.maxpool_forward(TWO_WINDOWS)
    yield "dx", impl.maxpool_backward(np.array([[[[1.0, 10.0]]]]), cache)


@probe(
    "maxpool_backward",
    cases=[
        (1, 1, 1, 1, 1, 1, 1),
        (2, 3, 7, 5, 3, 2, 1),
        (2, 2, 6, 8, 3, 1, 1),
        (3, 1, 9, 7, 2, 3, 1),
        (2, 3, 5, 7, 3, 2, 1e-9),  # values that float32 can't tell apart
    ],
)
def pooling_gradients(impl, rng, N, C, H, W, k, stride, spread):
    x = 1.0 + spread * rng.standard_normal((N, C, H, W))
    dout = rng.standard_normal((N, C, (H - k) // stride + 1, (W - k) // stride + 1))
    _, cache = impl.maxpool_forward(x, k, stride)
    yield "dx", impl.maxpool_backward(dout, cache)


@probe("maxpool_backward", cases=[(2, 3, 5, 5)])
def gradient_that_is_a_view(impl, rng, N, C, H, W):
    x, dout = rng.standard_normal((N, C, H, W)), rng.standard_normal((2, N, 2, C)).transpose(1, 3, 0, 2)
    _, cache = impl.maxpool_forward(x)
    yield "dx", impl.maxpool_backward(dout, cache)


@probe("maxpool_backward", cases=[(2, 3, 9, 7)])
def ties(impl, rng, N, C, H, W):
    x = np.maximum(rng.integers(-4, 3, size=(N, C, H, W)).astype(float), 0.0)  # many zeros, as behind a ReLU
    dout = rng.standard_normal((N, C, (H - 3) // 2 + 1, (W - 3) // 2 + 1))
    _, cache = impl.maxpool_forward(x)
    yield "dx", impl.maxpool_backward(dout, cache)


@probe("maxpool_backward")
def behind_two_pools(impl, rng):
    x, dout = rng.standard_normal((2, 2, 7, 8)), rng.standard_normal((2, 2, 3, 3))
    _, first = impl.maxpool_forward(x)
    impl.maxpool_forward(x, 2, 1)  # with other settings
    yield "dx", impl.maxpool_backward(dout, first)


@probe("maxpool_backward")
def pooling_too_large_for_differences(impl, rng):
    x, dout = rng.standard_normal((4, 8, 101, 101)), rng.standard_normal((4, 8, 50, 50))  # also pixel by pixel of all
    _, cache = impl.maxpool_forward(x)
    yield "dx", part(impl.maxpool_backward(dout, cache), 301)


@probe("lrn_backward")
def three_eighths(impl, rng):
    x, dout = np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1))
    _, cache = impl.lrn_forward(x, n=1, k=3.0, alpha=1.0, beta=0.5)
    yield "dx", impl.lrn_backward(dout, cache)


@probe("lrn_backward", cases=[(1, 1, 1, 1, 1), (2, 6, 1, 3, 3), (2, 8, 2, 1, 5), (2, 3, 1, 2, 7), (1, 4, 2, 3, 3)])
def normalisation_gradients(impl, rng, N, C, H, W, n):
    x, dout = 2 * rng.standard_normal((N, C, H, W)), rng.standard_normal((N, C, H, W))
    x *= rng.random(x.shape) < 0.7  # some zeros, as behind a ReLU
    k, alpha, beta = rng.uniform(0.5, 1.5), rng.uniform(0.3, 0.6), rng.uniform(0.5, 1.2)
    _, cache = impl.lrn_forward(x, n, k, alpha, beta)
    yield "dx", impl.lrn_backward(dout, cache)


@probe("lrn_backward", cases=[(1, 5, 1, 3)])
def gradients_where_activations_are_tiny(impl, rng, N, C, H, W):
    x, dout = 1e-7 * rng.standard_normal((N, C, H, W)), rng.standard_normal((N, C, H, W))  # below a difference's step
    _, cache = impl.lrn_forward(x, 3, 0.0, 1.0, 0.75)
    yield "dx", impl.lrn_backward(dout, cache)


@probe("lrn_backward")
def behind_two_normalisations(impl, rng):
    x, dout = rng.standard_normal((2, 1, 6, 1, 2))
    _, first = impl.lrn_forward(x, 3, 1.0, 0.5, 0.6)
    impl.lrn_forward(x, 5, 2.0, 0.3, 0.75)  # with other constants
    yield "dx", impl.lrn_backward(dout, first)


@probe("lrn_backward", cases=[(1.0,), (1.5,)])
def gradients_without_neighbours(impl, rng, k):
    x, dout = rng.standard_normal((2, 1, 4, 1, 2))
    _, cache = impl.lrn_forward(x, 3, k, 0.0, 0.75)
    dx = impl.lrn_backward(dout, cache)
    yield "dx", dx
    yield "dx is a new array", apart(dx, dout)


@probe("lrn_backward")
def normalisation_too_large_for_differences(impl, rng):
    x, dout = 150 * rng.standard_normal((4, 600, 16, 16)), rng.standard_normal((4, 600, 16, 16))  # many channels
    _, cache = impl.lrn_forward(x)
    yield "dx", part(impl.lrn_backward(dout, cache), 6007)


@probe("lrn_backward", cases=[(2, 6, 2, 3)])
def with_own_normalisation(impl, rng, N, C, H, W):
    x, dout, along = rng.standard_normal((3, N, C, H, W))
    _, cache = impl.lrn_forward(x, 5, 1.0, 0.5, 0.75)
    dx = impl.lrn_backward(dout, cache)
    yield "dx", dx
    numeric = slope(lambda v: np.sum(impl.lrn_forward(v, 5, 1.0, 0.5, 0.75)[0] * dout), x, along)
    yield "slope along x", agree(np.sum(dx * along), numeric)


@probe("Dropout")
def two_and_four(impl, rng):
    layer, x, mask = impl.Dropout(0.5), np.array([[2.0, 4.0]]), np.array([[1.0, 0.0]])
    yield "in training", layer.forward(x, mask, True)[0]
    yield "at test time", layer.forward(x, mask, False)[0]


@probe("Dropout", cases=[(0.3, 4, 5), (0.8, 1, 7), (0.5, 3, 2)])
def both_modes(impl, rng, keep, N, D):
    x, dout = rng.standard_normal((2, N, D))
    x *= rng.random((N, D)) < 0.7  # a zero that is kept looks like one that is dropped
    mask = (rng.random((N, D)) < keep).astype(float)
    layer = impl.Dropout(keep)
    trained, train_cache = layer.forward(x, mask, True)
    tested, test_cache = layer.forward(x, mask, False)
    yield "out in training", trained
    yield "out at test time", tested
    yield "dx in training", layer.backward(dout, train_cache)
    yield "dx at test time", layer.backward(dout, test_cache)


@probe("Dropout")
def default_rate_and_no_mask(impl, rng):
    x = rng.standard_normal((2, 3))
    yield "out at test time", impl.Dropout().forward(x, None, False)[0]


@probe("Dropout", cases=[(True,), (False,)])
def nothing_dropped(impl, rng, train):
    x, dout = rng.standard_normal((2, 3, 4))
    layer, mask = impl.Dropout(1.0), np.ones((3, 4))
    out, cache = layer.forward(x, mask, train)
    dx = layer.backward(dout, cache)
    yield "out", out
    yield "dx", dx
    yield "out is a new array", apart(out, x, mask)
    yield "dx is a new array", apart(dx, dout, mask)


@probe("Dropout")
def two_layers(impl, rng):
    x, dout = rng.standard_normal((2, 3, 4))
    first, second = impl.Dropout(0.3), impl.Dropout(0.8)
    out, cache = first.forward(x, None, False)
    yield "out of the first", out
    yield "out of the second", second.forward(x, None, False)[0]
    yield "dx of the first", first.backward(dout, cache)


@probe("sgd_momentum")
def two_updates(impl, rng):
    params, velocity, grads = {"w": np.array([1.0])}, {"w": np.array([0.0])}, {"w": np.array([2.0])}
    for update in ("first", "second"):
        params, velocity = impl.sgd_momentum(params, grads, velocity, 0.1, 0.9, 0.5)
        yield f"w after the {update}", params["w"]
        yield f"v after the {update}", velocity["w"]


@probe("sgd_momentum", cases=[(0.1, 0.9, 0.3), (0.7, 0.5, 0.0), (0.02, 0.0, 2.0)])
def trajectory(impl, rng, lr, momentum, decay):
    sizes = {"conv1.weight": (2, 1, 2, 2), "fc1.bias": (3,)}
    params, velocity, first, second = ({n: rng.standard_normal(s) for n, s in sizes.items()} for _ in range(4))
    params = {name: 3 * w for name, w in params.items()}
    second = {name: 100 * g for name, g in second.items()}  # large gradients count in full
    for grads in (first, second):
        params, velocity = impl.sgd_momentum(params, grads, velocity, lr, momentum, decay)
        yield "params", params
        yield "velocity", velocity


@probe("sgd_momentum")
def without_a_step(impl, rng):
    params, velocity, grads = {"w": rng.standard_normal((2, 3))}, {"w": np.zeros((2, 3))}, {"w": np.zeros((2, 3))}
    new, moved = impl.sgd_momentum(params, grads, velocity, 0.0)
    yield "params", new
    yield "params are new arrays", apart(new["w"], params["w"])
    yield "velocity is a new array", apart(moved["w"], velocity["w"], grads["w"])


@probe("sgd_momentum")
def single_number(impl, rng):
    params, velocity, grads = ({"scale": np.array(rng.standard_normal())} for _ in range(3))
    params, velocity = impl.sgd_momentum(params, grads, velocity, 0.1, 0.9, 0.3)
    yield "params", params
    yield "velocity", velocity


@probe("sgd_momentum")
def papers_rates(impl, rng):
    params, velocity, grads = ({"w": rng.standard_normal((2, 3))} for _ in range(3))
    grads["w"] *= 1e-3  # so small that the decay counts
    velocity["w"] *= 1e-4
    params, velocity = impl.sgd_momentum(params, grads, velocity, 0.01)
    yield "velocity", velocity["w"]


@probe("sgd_momentum")
def dicts_in_other_orders(impl, rng):
    names = ["conv1.weight", "conv2.weight", "conv3.weight"]  # of one shape, so that only names tell them apart
    params, grads, velocity = ({n: rng.standard_normal((2, 3)) for n in names} for _ in range(3))
    grads = {n: grads[n] for n in reversed(names)}
    velocity = {n: velocity[n] for n in names[1:] + names[:1]}
    params, velocity = impl.sgd_momentum(params, grads, velocity, 0.1, 0.9, 0.5)
    yield "params", params
    yield "velocity", velocity


@probe("MiniAlexNet", cases=[(3, 48, 0.5), (1, 7, 0.2)])
def logits_and_gradients(impl, rng, N, hidden, p):
    import torch

    x = torch.tensor(rng.standard_normal((N, 3, 16, 16)), requires_grad=True)
    upstream = torch.from_numpy(rng.standard_normal((N, 6)))
    seed = int(rng.integers(2**32))
    model = impl.MiniAlexNet(hidden, p).double().eval()
    yield "parameters", shapes(model)
    fill(model, seed, scale=0.2)
    logits = model(x)
    yield "logits", logits
    torch.sum(logits * upstream).backward()
    yield "dx", x.grad.flatten()[::97]
    for name, parameter in sorted(model.named_parameters()):
        yield f"d{name}", parameter.grad.flatten()[:: 1 + parameter.numel() // 8]


@probe("MiniAlexNet")
def large_activations(impl, rng):
    import torch

    x = torch.from_numpy(200 * rng.standard_normal((2, 3, 16, 16)))  # so large that both normalisations count
    seed = int(rng.integers(2**32))
    yield "logits", fill(impl.MiniAlexNet(5).double().eval(), seed)(x)


@probe("MiniAlexNet", cases=[(0.0,), (1.0,)])
def nothing_or_everything_dropped(impl, rng, p):
    import torch

    x = torch.from_numpy(rng.standard_normal((4, 3, 16, 16)))
    seed = int(rng.integers(2**32))
    model = fill(impl.MiniAlexNet(6, p).double().train(), seed, scale=0.3)
    yield "logits in training", model(x)


@probe("MiniAlexNet")
def trained_after_an_evaluation(impl, rng):
    import torch

    x = torch.from_numpy(rng.standard_normal((2, 3, 16, 16)))
    seed = int(rng.integers(2**32))
    model = fill(impl.MiniAlexNet(6, 1.0).double(), seed, scale=0.3)
    yield "logits in evaluation", model.eval()(x)
    yield "logits in training", model.train()(x)  # all dropped, as before


def same_outcomes(got, expected):
    """Whether calls × rows of two modules hold the same different rows, each of them several times."""
    got, expected = got.array, expected.array
    if got.shape != expected.shape:
        return f"The logits of a batch should have shape {expected.shape[1:]}; they have {got.shape[1:]}."
    if np.ptp(got, axis=1).max() < 1e-8 < np.ptp(got, axis=0).max():
        return "All pictures of a batch lose the same hidden units: dropout draws anew for each picture."
    got, expected = (a.reshape(-1, a.shape[-1]) for a in (got, expected))
    ours, theirs = (np.unique(np.round(a, 8), axis=0) for a in (got, expected))
    if len(ours) == 1:
        return "In training the logits of one picture are the same each time: nothing is dropped."
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-6, atol=1e-7):
        return (
            "The logits of one picture in training are not those that dropping hidden units of fc1, with the others "
            "divided by 1 - p, can give. Which units does dropout act on, and with which p?"
        )
    kept = [np.mean(np.all(np.abs(got - row) < 1e-6, axis=1)) for row in ours]
    return None if min(kept) > 0.02 else "Some outcomes of dropout are far too rare: which p does it use?"


@probe("MiniAlexNet", cases=[(0.5,), (0.3,)])
def two_hidden_units(impl, rng, p):
    import torch

    x = torch.from_numpy(rng.standard_normal((1, 3, 16, 16))).repeat(50, 1, 1, 1)
    on = torch.from_numpy(rng.uniform(1.0, 2.0, size=2))
    seed = int(rng.integers(2**32))
    model = fill(impl.MiniAlexNet(2, p).double(), seed, scale=0.3)
    with torch.no_grad():
        model.fc1.weight.abs_()
        model.fc1.bias.copy_(on)  # both units are on, and what dropped features would take from them shows
    model.train()
    yield "logits in training", observe(torch.stack([model(x) for _ in range(8)]), judge=same_outcomes)


def watching(rng, numbers, strength=1.0):
    """A linear model that behaves differently in training, with logits of about the given strength."""
    import torch

    weights = torch.from_numpy(strength * rng.standard_normal((numbers, 4)) / numbers**0.5)

    class Watching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
            self.inner = torch.nn.Dropout(0.5)
            self.register_buffer("batches", torch.tensor(0))

        def forward(self, x):
            if self.training:
                self.batches += 1  # as batch norm counts them
            logits = self.scale * (x.flatten(1) @ weights)
            return logits[:, [1, 2, 3, 0]] if self.training or self.inner.training else logits

    return Watching()


@probe("ten_crop")
def four_by_four(impl, rng):
    import torch

    images = torch.arange(48.0, dtype=torch.float64).reshape(1, 3, 4, 4) / 10
    model = watching(np.random.default_rng(5), 12).eval()
    yield "probabilities", impl.ten_crop(model, images, 2)


@probe(
    "ten_crop",
    cases=[
        (1, 3, 5, 5, 1),
        (3, 3, 6, 4, 1),
        (4, 1, 9, 4, 1),
        (2, 3, 8, 5, 2000),
        (2, 3, 20, 10, 1),
        (3, 3, 5, 4, 1),  # the centre is a corner, too
    ],
)
def mean_probabilities(impl, rng, N, C, H, size, strength):
    import torch

    images = torch.from_numpy(rng.standard_normal((N, C, H, H)))
    model = watching(rng, C * size * size, strength).eval()
    yield "probabilities", impl.ten_crop(model, images, size)
    yield "is in the mode of testing", not model.training and not model.inner.training


@probe("ten_crop", cases=[(2, 7, 4), (2, 4, 4)])
def in_the_middle_of_training(impl, rng, N, H, size):
    import torch

    images = torch.from_numpy(rng.standard_normal((N, 3, H, H))).requires_grad_()
    model = watching(rng, 3 * size * size).train()
    model.scale.grad = torch.full_like(model.scale, 2.0)  # summed up so far, as over several small batches
    found = impl.ten_crop(model, images, size)
    yield "probabilities", found
    yield "is in the mode of training again", model.training
    yield "its parts are in the mode of training again", model.inner.training
    yield "has a graph", found.requires_grad
    yield "weights can still learn", model.scale.requires_grad
    yield "weights keep their gradient", bool(model.scale.grad == 2.0)
    yield "pictures can still have a gradient", images.requires_grad


@probe("ten_crop", cases=[(2, 6, 3)])
def where_gradients_are_off(impl, rng, N, H, size):
    import torch

    images = torch.from_numpy(rng.standard_normal((N, 3, H, H)))
    model = watching(rng, 3 * size * size).eval()
    with torch.no_grad():
        yield "probabilities", impl.ten_crop(model, images, size)
        yield "gradients are on", torch.is_grad_enabled()


@probe("ten_crop", cases=[(2, 6, 3)])
def again_after_an_update(impl, rng, N, H, size):
    import torch

    images = torch.from_numpy(rng.standard_normal((N, 3, H, H)))
    model = watching(rng, 3 * size * size).eval()
    yield "probabilities before", impl.ten_crop(model, images, size)
    with torch.no_grad():
        model.scale.mul_(-2.0)  # the same object, with other weights
    yield "probabilities after", impl.ten_crop(model, images, size)
