"""Probes of 11: dilated convolution and its gradients, fields and paths, the loss of pixels, a score; torch's part."""

import itertools

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

FIVE = np.arange(1.0, 6.0).reshape(1, 1, 1, 5)
THREE = np.array([1.0, 10.0, 100.0]).reshape(1, 1, 1, 3)

CONVOLUTIONS = [  # N, C, F, H, W, kh, kw, dilation, padding
    (2, 3, 4, 7, 6, 3, 2, 2, 1),
    (1, 2, 3, 5, 8, 3, 3, 1, 0),
    (3, 1, 2, 9, 7, 3, 3, 3, 3),
    (1, 1, 1, 9, 9, 4, 2, 2, 2),
    (2, 3, 3, 6, 6, 3, 3, 2, 2),
    (2, 2, 3, 3, 9, 1, 5, 2, 0),
    (2, 2, 2, 19, 3, 3, 1, 8, 0),
    (2, 2, 5, 4, 5, 3, 3, 1, 4),
    (2, 2, 3, 7, 7, 3, 3, 3, 0),
    (3, 4, 2, 3, 4, 1, 1, 5, 0),
    (2, 5, 3, 8, 5, 2, 3, 1, 2),
    (4, 2, 2, 8, 9, 3, 5, 2, 5),
    (3, 3, 3, 3, 3, 3, 3, 1, 1),  # no size tells axes apart
    (2, 3, 4, 4, 4, 3, 3, 1, 1),
]


def out_shape(N, F, H, W, kh, kw, dilation, padding):
    """Shape of the output, as the text says it."""
    return N, F, H + 2 * padding - dilation * (kh - 1), W + 2 * padding - dilation * (kw - 1)


def draw_conv(rng, N, C, F, H, W, kh, kw):
    """Pictures, kernels and biases of order one, whose means are not zero."""
    x, w = rng.standard_normal((N, C, H, W)) + 0.5, rng.standard_normal((F, C, kh, kw))
    return x, w, rng.standard_normal(F) + 0.3


def eighths(values):
    """The odd multiples of 1/8 nearest below: numbers that a key keeps in few bytes, none of them zero."""
    return (np.floor(4 * values) + 0.5) / 4


def one_then_another(got, expected):
    """Results of calls that differ in an integer alone: the first right and a later one wrong is no formula's."""
    right = [
        isinstance(mine, np.ndarray) and mine.shape == its.shape and bool(np.allclose(mine, its, rtol=1e-6, atol=1e-9))
        for mine, its in zip(got, expected, strict=True)
    ]
    if all(right) or not right[0]:
        return None
    return (
        "the first call is right. A later one, which differs from it in dilation or padding alone, is not: something "
        "is kept from call to call (a memo, a global), or one of the two is taken as it was."
    )


@probe("conv2d_forward")
def a_row_by_hand(impl, rng):
    for dilation in (1, 2):
        yield f"y with dilation {dilation}", impl.conv2d_forward(FIVE, THREE, np.zeros(1), dilation)[0]
    yield "y with bias 7", impl.conv2d_forward(FIVE, THREE, np.full(1, 7.0), dilation=2, padding=0)[0]


@probe("conv2d_forward", cases=CONVOLUTIONS)
def convolutions(impl, rng, N, C, F, H, W, kh, kw, dilation, padding):
    x, w, b = map(eighths, draw_conv(rng, N, C, F, H, W, kh, kw))
    y, _ = impl.conv2d_forward(x, w, b, dilation, padding)
    yield "shape of y", list(y.shape)
    yield "y of the last picture", y[-1:, -2:]
    yield "sums of y by picture and filter", y.sum(axis=(2, 3))


@probe("conv2d_forward", cases=[(2, 3, 2, 5, 6, 3, 3), (1, 2, 4, 4, 7, 2, 3)])
def by_default(impl, rng, N, C, F, H, W, kh, kw):
    x, w, b = draw_conv(rng, N, C, F, H, W, kh, kw)
    x = x[:, :, ::-1]
    yield "y, last row", impl.conv2d_forward(x, w, b)[0][:, :, -1]
    yield "y with padding, first column", impl.conv2d_forward(x, w, b, padding=1)[0][-1, :, :, 0]
    yield "y with dilation, last column", impl.conv2d_forward(x, w[:, :, :1], b, dilation=2)[0][-1, :, :, -1]


@probe("conv2d_forward", cases=[(2, 2, 3, 9, 8)])
def one_dilation_after_another(impl, rng, N, C, F, H, W):
    x, w, b = map(eighths, draw_conv(rng, N, C, F, H, W, 3, 3))
    seen = [impl.conv2d_forward(x, w, b, d, p)[0] for d, p in ((1, 1), (2, 2), (2, 1), (3, 1), (1, 1))]
    other = impl.conv2d_forward(x, 2 * w, b, 1, 1)[0]
    yield "corners of y, five calls", observe([y[:1, -1:, :2, -2:] for y in seen], judge=one_then_another)
    yield "corner of y, other kernels of that shape", other[:1, -1:, :2, -2:]


@probe("conv2d_forward", cases=[(1e7,), (1e-7,)])
def small_and_large_numbers(impl, rng, size):
    x, w, b = draw_conv(rng, 2, 2, 3, 6, 5, 3, 3)
    yield "y", impl.conv2d_forward(size * x, w, size * b, 2, 1)[0][-1:, :, ::2, ::2]


@probe("conv2d_forward", cases=[(2, 6, 5, 34, 30, 3, 3, 8, 8)])
def a_larger_picture(impl, rng, N, C, F, H, W, kh, kw, dilation, padding):
    x, w, b = draw_conv(rng, N, C, F, H, W, kh, kw)
    yield "y", impl.conv2d_forward(x, w, b, dilation, padding)[0][-1:, ::2, ::11, ::9]


# Backward -----------------------------------------------------------------------------------------------------------


@probe("conv2d_backward")
def a_row_back_by_hand(impl, rng):
    _, cache = impl.conv2d_forward(FIVE, THREE, np.zeros(1), 2)
    yield from named("dx dw db", impl.conv2d_backward(np.full((1, 1, 1, 1), 2.0), cache))


@probe("conv2d_backward", cases=[(*case, 1.0) for case in CONVOLUTIONS] + [(2, 3, 2, 6, 5, 3, 2, 2, 1, 2.0**24)])
def gradients(impl, rng, N, C, F, H, W, kh, kw, dilation, padding, size):
    x, w, b = map(eighths, draw_conv(rng, N, C, F, H, W, kh, kw))
    dy = size * eighths(rng.standard_normal(out_shape(N, F, H, W, kh, kw, dilation, padding)) + 0.5)
    _, cache = impl.conv2d_forward(x, w, b, dilation, padding)
    dx, dw, db = impl.conv2d_backward(dy, cache)
    yield "shape of dx", list(dx.shape)
    yield "dx of the last picture", dx[-1:, -1:]
    yield "sums of dx by picture and channel", dx.sum(axis=(2, 3))
    yield from named("dw db", (dw, db))


@probe("conv2d_backward", cases=[(2, 2, 3, 7, 6, 3, 3)])
def walked_back_later(impl, rng, N, C, F, H, W, kh, kw):
    drawn = [[eighths(a) for a in draw_conv(rng, N, C, F, H, W, kh, kw)] for _ in range(3)]
    how = [(1, 1), (2, 2), (2, 1)]
    dy = [eighths(rng.standard_normal(out_shape(N, F, H, W, kh, kw, d, p))) for d, p in how]
    caches = [impl.conv2d_forward(*a, d, p)[1] for a, (d, p) in zip(drawn, how, strict=True)]
    for name, k in (("first", 0), ("third", 2), ("second", 1), ("first once more", 0)):
        dx, dw, db = impl.conv2d_backward(dy[k], caches[k])
        yield f"dx from the {name} cache", dx[:1, -1:, ::2, -2:]
        yield f"dw from the {name} cache", dw[:1, :1]
        yield f"db from the {name} cache", db


@probe("conv2d_backward", cases=[(2, 2, 3, 5, 6, 3, 3)])
def back_by_default(impl, rng, N, C, F, H, W, kh, kw):
    x, w, b = draw_conv(rng, N, C, F, H, W, kh, kw)
    dy = rng.standard_normal(out_shape(N, F, H, W, kh, kw, 1, 0))
    dx, dw, db = impl.conv2d_backward(dy, impl.conv2d_forward(x, w, b)[1])
    yield "dx", dx[-1:, :, ::2, ::3]
    yield from named("dw db", (dw[:1], db))


@probe("conv2d_backward", cases=[(4, 24, 32, 40, 36, 3, 3, 4, 4)])
def a_large_convolution(impl, rng, N, C, F, H, W, kh, kw, dilation, padding):
    x, w, b = draw_conv(rng, N, C, F, H, W, kh, kw)
    dy = rng.standard_normal(out_shape(N, F, H, W, kh, kw, dilation, padding))
    dx, dw, db = impl.conv2d_backward(dy, impl.conv2d_forward(x, w, b, dilation, padding)[1])
    yield "dx", dx[-1:, ::11, ::13, ::9]
    yield from named("dw db", (dw[::17, ::13], db[::4]))


@probe("conv2d_backward", cases=[(2, 2, 3, 7, 6, 3, 2, 2, 1)])
def with_own_convolution(impl, rng, N, C, F, H, W, kh, kw, dilation, padding):
    x, w, b = draw_conv(rng, N, C, F, H, W, kh, kw)
    dy, along = rng.standard_normal(out_shape(N, F, H, W, kh, kw, dilation, padding)), rng.standard_normal(x.shape)
    dx, _, _ = impl.conv2d_backward(dy, impl.conv2d_forward(x, w, b, dilation, padding)[1])
    yield "dx of the last picture", dx[-1:, ::2, ::3]
    numeric = slope(lambda v: np.sum(impl.conv2d_forward(v, w, b, dilation, padding)[0] * dy), x, along)
    yield "slope along x", agree(np.sum(dx * along), numeric)


# Fields and paths ---------------------------------------------------------------------------------------------------


@probe("receptive_fields")
def fields_by_hand(impl, rng):
    yield "dilations 1, 2", impl.receptive_fields([(3, 1, 1), (3, 1, 2)])
    yield "with a pooling", impl.receptive_fields([(3, 1, 1), (2, 2, 1), (3, 1, 1)])


@probe(
    "receptive_fields",
    cases=[
        (6, 3, 1, 1),
        (6, 3, 1, 9),
        (5, 7, 1, 4),
        (5, 5, 3, 1),
        (6, 4, 3, 5),
        (1, 9, 4, 3),
        (4, 2, 2, 2),
        (24, 5, 2, 3),
        (5, 6, 4, 1),
    ],
)
def fields(impl, rng, depth, kernels, strides, dilations):
    layers = [tuple(int(rng.integers(1, most + 1)) for most in (kernels, strides, dilations)) for _ in range(depth)]
    yield "sides", impl.receptive_fields(layers)


@probe("receptive_fields", cases=[(3,), (2,)])
def fields_with_strides_first(impl, rng, stride):
    kernels = [int(k) for k in rng.integers(2, 8, size=4)]
    yield "sides", impl.receptive_fields([(k, stride, d) for k, d in zip(kernels, (1, 3, 2, 4), strict=True)])
    yield "of one layer", impl.receptive_fields([(kernels[0], stride, 3)])


@probe("receptive_fields", cases=[(40,)])
def far_fields(impl, rng, depth):
    kernels = [int(k) for k in rng.integers(3, 6, size=depth)]
    yield "sides", impl.receptive_fields([(k, 2, 1) for k in kernels])[::3]


@probe("receptive_fields", cases=[(5,)])
def fields_of_kernels_of_one(impl, rng, depth):
    last = int(rng.integers(2, 9))
    yield "sides", impl.receptive_fields([(1, 2, 3)] * depth + [(last, 1, 1)])
    yield "of nothing", list(impl.receptive_fields([]))


@probe("path_counts")
def paths_by_hand(impl, rng):
    yield "dilation 2", np.asarray(impl.path_counts([2])).tolist()
    yield "dilations 1, 2", np.asarray(impl.path_counts([1, 2])).tolist()


def looked_at(counts, name=""):
    """Its size, middle row and first column, corner and sum: what is small, whatever the map's size."""
    counts = np.asarray(counts)
    yield f"{name}shape", list(counts.shape)
    yield f"{name}middle row", counts[len(counts) // 2].tolist()
    yield f"{name}first column", counts[:, 0].tolist()
    yield f"{name}row sums, every third", counts.sum(axis=1)[::3].tolist()


@probe("path_counts", cases=[(1, 3, 6), (2, 3, 5), (3, 3, 4), (4, 3, 3), (2, 5, 3), (3, 5, 2), (2, 7, 2), (1, 9, 2)])
def paths(impl, rng, depth, k, most):
    counts = impl.path_counts([int(d) for d in rng.integers(1, most + 1, size=depth)], k)
    yield from looked_at(counts)
    yield "kind of numbers", str(np.asarray(counts).dtype)


@probe("path_counts", cases=[(9, 3), (17, 3), (11, 5)])
def paths_far_apart(impl, rng, least, k):
    """A layer that is dilated further than the others together, in the middle of them."""
    near, far = rng.integers(1, 4, size=3), least + int(rng.integers(8))
    dilations = [int(d) for d in (near[0], far, near[1], far)]
    yield from looked_at(impl.path_counts(dilations, k))
    yield from looked_at(impl.path_counts([far, int(near[2])], k), "two layers: ")


@probe("path_counts", cases=[(3,), (4,)])
def paths_by_default(impl, rng, depth):
    dilations = [int(d) for d in rng.integers(1, 6, size=depth)]
    yield from looked_at(impl.path_counts(dilations))
    yield from looked_at(impl.path_counts(dilations[::-1]), "the other way round: ")
    yield from looked_at(impl.path_counts(dilations, 5), "kernels of five: ")


@probe("path_counts", cases=[(2,)])
def paths_asked_for_twice(impl, rng, depth):
    dilations = [int(d) for d in rng.integers(1, 5, size=depth)]
    first = impl.path_counts(dilations)
    if isinstance(first, np.ndarray) and first.flags.writeable:
        first[...] = 0
    yield "counts of a second call, when the first one's have been overwritten", impl.path_counts(dilations)[0].tolist()


def exact(got, expected):
    """Counts near the centre of a deep map: exact, or how they are not."""
    got, expected = np.asarray(got, dtype=object), np.asarray(expected, dtype=object)
    if got.shape != expected.shape:
        return f"their shape is {got.shape}; {expected.shape} is expected."
    if (got == expected).all():
        return None
    if np.abs(got - expected).max() <= 1e-6 * np.abs(expected).max():
        return (
            "the counts are right to some digits, and not exact: on the way they went through floating-point numbers, "
            "which hold integers up to 2^53 only. Keep integers from the first 1 on."
        )
    if ((got - expected) % 2**32 == 0).all():
        return "the counts overflow: somewhere they are held in 32 bits. They are int64 from the first 1 on."
    return f"yours is {got[0]} where {expected[0]} is expected."


@probe("path_counts", cases=[(20,), (19,)])
def many_paths(impl, rng, depth):
    dilations = [1 + int(rng.integers(4) == 0) for _ in range(depth)]
    counts = np.asarray(impl.path_counts(dilations))
    yield "kind of numbers", str(counts.dtype)
    yield "shape", list(counts.shape)
    middle = len(counts) // 2
    around = counts[middle : middle + 2, middle - 3 : middle + 4]
    yield "counts around the centre", observe([int(n) for n in around.ravel()], judge=exact)


@probe("path_counts", cases=[(3,)])
def paths_of_kernels_of_one(impl, rng, most):
    dilation = int(rng.integers(2, 2 + most))
    yield "counts", np.asarray(impl.path_counts([dilation, 2], 1)).tolist()
    yield "counts without layers", np.asarray(impl.path_counts([])).tolist()
    yield "counts of one layer", np.asarray(impl.path_counts([dilation])).tolist()


# The loss -----------------------------------------------------------------------------------------------------------

LOSSES = [  # N, K, H, W, weighted, share of void pixels
    (2, 4, 3, 5, False, 0.0),
    (2, 4, 3, 5, True, 0.0),
    (3, 3, 4, 2, False, 0.4),
    (1, 5, 2, 3, True, 0.3),
    (2, 2, 1, 1, True, 0.0),
    (3, 3, 3, 3, True, 0.5),
    (3, 6, 3, 2, True, 0.1),
    (4, 3, 2, 2, False, 0.0),
]


def pulled(loss, dlogits, name=""):
    """The loss, gradients of the last picture, and the sums of all by picture and class."""
    yield f"loss{name}", loss
    yield f"dlogits{name} of the last picture", dlogits[-1:, :, -1:]
    yield f"dlogits{name}, row sums", dlogits.sum(axis=3)[:, -2:]


def draw_pixels(rng, N, K, H, W, weighted, share, void=255):
    """Logits, labels of all classes in turn with some void, and weights that don't add up to anything special."""
    logits = 2 * rng.standard_normal((N, K, H, W)) + rng.standard_normal((N, 1, H, W))
    y = rng.permutation(np.arange(N * H * W) % K).reshape(N, H, W)
    drop = rng.random((N, H, W)) < share
    drop[0, 0, 0] = False
    y = np.where(drop, void, y)
    return logits, y, rng.uniform(0.2, 3.0, size=K) if weighted else None


@probe("pixel_loss")
def two_pixels_by_hand(impl, rng):
    logits = np.array([[0.0, 0.0, 4.0], [np.log(3), 0.0, -9.0]]).reshape(1, 2, 1, 3)
    y = np.array([[[1, 0, 255]]])
    yield from named("loss dlogits", impl.pixel_loss(logits[..., :2], y[..., :2]))
    yield from named(
        "weighted_loss weighted_dlogits", impl.pixel_loss(logits[..., :2], y[..., :2], np.array([3.0, 1.0]))
    )
    yield from named("loss_beside_void dlogits_beside_void", impl.pixel_loss(logits, y, np.array([3.0, 1.0])))


@probe("pixel_loss", cases=LOSSES)
def losses(impl, rng, N, K, H, W, weighted, share):
    logits, y, weight = draw_pixels(rng, N, K, H, W, weighted, share)
    (_, loss), (_, dlogits) = named("loss dlogits", impl.pixel_loss(logits, y, weight))
    yield "shape of dlogits", list(dlogits.shape)
    yield from pulled(loss, dlogits)


@probe("pixel_loss", cases=[(-1, True), (-100, False), (7, True), (300, False)])
def other_voids(impl, rng, void, weighted):
    logits, y, weight = draw_pixels(rng, 2, 4, 3, 4, weighted, 0.4, void)
    yield from pulled(*impl.pixel_loss(logits, y, weight, void))


@probe("pixel_loss", cases=[(1e3,), (1e4,)])
def far_out_logits(impl, rng, size):
    logits, y, weight = draw_pixels(rng, 2, 4, 3, 4, True, 0.2)
    logits[0, :, 0] += size
    logits[0, :, 1] -= size
    logits[1, 2, 1:] += size
    logits[1, 1, 1] -= size
    yield from pulled(*impl.pixel_loss(logits, y, weight))


@probe("pixel_loss", cases=[(1e-6,), (1e6,)])
def scaled_weights(impl, rng, size):
    logits, y, weight = draw_pixels(rng, 2, 3, 4, 3, True, 0.2)
    yield from pulled(*impl.pixel_loss(logits, y, size * weight))
    yield from pulled(*impl.pixel_loss(logits, y, np.full(3, size)), ", equal weights")


@probe("pixel_loss", cases=[(3, 5)])
def one_class_is_missing(impl, rng, H, W):
    logits, y, weight = draw_pixels(rng, 2, 4, H, W, True, 0.2)
    y[y == 3], y[y == 0] = 2, 1
    yield from pulled(*impl.pixel_loss(logits, y, weight))
    y[1] = 255  # a whole picture that doesn't count
    yield from pulled(*impl.pixel_loss(logits, y, weight), ", one picture all void")


@probe("pixel_loss", cases=[(3, 4)])
def with_weights_and_then_without(impl, rng, H, W):
    logits, y, weight = draw_pixels(rng, 2, 4, H, W, True, 0.3)
    for name, given in ((", weights", weight), (", no weights", None), (", others", weight[::-1].copy())):
        loss, dlogits = impl.pixel_loss(logits, y, given)
        yield f"loss{name}", loss
        yield f"dlogits{name}", dlogits[-1:, :, -1, -2:]


@probe("pixel_loss", cases=[(2, 4, 60, 50)])
def many_pixels(impl, rng, N, K, H, W):
    logits, y, weight = draw_pixels(rng, N, K, H, W, True, 0.1)
    loss, dlogits = impl.pixel_loss(logits, y, weight)
    yield "loss", loss
    yield "dlogits", dlogits[-1:, :, ::29, ::23]


@probe("pixel_loss", cases=[(2, 3, 3, 4)])
def with_own_loss(impl, rng, N, K, H, W):
    logits, y, weight = draw_pixels(rng, N, K, H, W, True, 0.2)
    along = rng.standard_normal(logits.shape)
    _, dlogits = impl.pixel_loss(logits, y, weight)
    yield "dlogits of the last picture", dlogits[-1:, :, :2]
    numeric = slope(lambda v: impl.pixel_loss(v, y, weight)[0], logits, along)
    yield "slope along the logits", agree(np.sum(dlogits * along), numeric)


# PyTorch ------------------------------------------------------------------------------------------------------------


def score_of(value):
    """A float, whether it came as one or as a tensor of one; ratios may be torch's, in float32."""
    return observe(float(value), rtol=4e-7)


def draw_masks(rng, N, H, W, classes, share, void=255):
    """A truth, and a prediction that is right for most pixels; as tensors."""
    import torch

    y = rng.integers(classes, size=(N, H, W))
    predicted = np.where(rng.random(y.shape) < 0.6, y, rng.integers(classes, size=y.shape))
    drop = rng.random(y.shape) < share
    drop[0, 0, 0] = False
    return torch.from_numpy(predicted), torch.from_numpy(np.where(drop, void, y))


@probe("mean_iou")
def four_pixels_by_hand(impl, rng):
    import torch

    predicted, y = torch.tensor([[[0, 1, 1, 2]]]), torch.tensor([[[0, 0, 1, 1]]])
    yield "score", score_of(impl.mean_iou(predicted, y, 4))


@probe(
    "mean_iou",
    cases=[
        (3, 5, 4, 3, 0.0),
        (1, 6, 6, 4, 0.3),
        (4, 3, 7, 2, 0.5),
        (2, 9, 8, 21, 0.2),
        (5, 2, 3, 5, 0.1),
        (2, 40, 30, 4, 0.2),
    ],
)
def scores(impl, rng, N, H, W, classes, share):
    predicted, y = draw_masks(rng, N, H, W, classes, share)
    yield "score", score_of(impl.mean_iou(predicted, y, classes))
    yield "score with roles exchanged", score_of(impl.mean_iou(y.clamp(max=classes - 1), predicted, classes))


@probe("mean_iou", cases=[(-1,), (9,), (1000,)])
def scores_with_other_voids(impl, rng, void):
    predicted, y = draw_masks(rng, 2, 5, 4, 3, 0.4, void)
    yield "score", score_of(impl.mean_iou(predicted, y, 3, void))


@probe("mean_iou", cases=[(40,)])
def pictures_unlike(impl, rng, size):
    """One picture holds much of a class, the other little of it: their own scores have another mean."""
    predicted, y = draw_masks(rng, 2, size, 5, 3, 0.1)
    y[0, 3:][y[0, 3:] != 255] = 0
    predicted[1, :30] = 2
    yield "score", score_of(impl.mean_iou(predicted, y, 3))


@probe("mean_iou", cases=[("truth",), ("prediction",), ("neither",), ("void",)])
def a_class_in_one_alone(impl, rng, where):
    predicted, y = draw_masks(rng, 2, 5, 6, 3, 0.2)
    if where == "truth":
        y[1, 2] = 3
    if where == "prediction":
        predicted[1, 2], y[1, 2, 0] = 3, 1
    if where == "void":  # predicted only where it doesn't count
        predicted[1, 2], y[1, 2] = 3, 255
    yield "score", score_of(impl.mean_iou(predicted, y, 5))


@probe("mean_iou", cases=[(3,)])
def all_right_and_all_wrong(impl, rng, classes):
    predicted, y = draw_masks(rng, 2, 4, 5, classes, 0.2)
    known = y != 255
    yield "score of the truth", score_of(impl.mean_iou(y.clamp(max=classes - 1), y, classes))
    wrong = predicted.clone()
    wrong[known] = (y[known] + 1) % classes
    yield "score of all wrong", score_of(impl.mean_iou(wrong, y, classes))
    yield "score beside them", score_of(impl.mean_iou(predicted, y, classes))


@probe("mean_iou", cases=[(6,), (9,)])
def one_pixel_of_each_class(impl, rng, classes):
    import torch

    y = torch.from_numpy(rng.permutation(classes)).reshape(1, 1, classes)
    predicted = torch.where(y == int(rng.integers(classes)), (y + 1) % classes, y)
    yield "score of the truth", score_of(impl.mean_iou(y.clone(), y, classes))
    yield "score with one pixel wrong", score_of(impl.mean_iou(predicted, y, classes))


@probe("identity_kernel")
def two_and_four_by_hand(impl, rng):
    yield "from 2 to 4", impl.identity_kernel(2, 4, 2, 1)
    yield "from 4 to 2", impl.identity_kernel(4, 2, 2, 1)


@probe(
    "identity_kernel",
    cases=[
        (3, 3, 3, 3, "float64"),
        (2, 4, 2, 3, "float32"),
        (3, 6, 3, 5, "float64"),
        (12, 6, 3, 1, "float64"),
        (6, 3, 3, 3, "float64"),
        (4, 4, 1, 3, "float64"),
        (4, 8, 2, 1, "float64"),
        (4, 2, 2, 7, "float64"),
        (9, 6, 3, 3, "float64"),
        (1, 1, 1, 3, "float32"),
    ],
)
def kernels_with_noise(impl, rng, c_in, c_out, C, k, dtype):
    import torch

    noise = torch.tensor(eighths(rng.standard_normal((c_out, c_in, k, k))) / 8, dtype=getattr(torch, dtype))
    w = impl.identity_kernel(c_in, c_out, C, k, noise)
    yield "kind of numbers", str(w.dtype)
    yield "shape of w", list(w.shape)
    yield "central taps", w[:, :, k // 2, k // 2]
    yield "first row of taps", w[-1:, :, 0]
    yield "sums over taps", w.sum(dim=(2, 3))[:, -2:]


@probe("identity_kernel", cases=[(2, 6, 2), (6, 2, 2), (5, 5, 5), (4, 4, 2), (3, 12, 3)])
def kernels_by_default(impl, rng, c_in, c_out, C):
    import torch

    noise = torch.tensor(eighths(rng.standard_normal((c_out, c_in, 3, 3))), dtype=torch.float32)
    w = impl.identity_kernel(c_in, c_out, C)
    yield "kind of numbers", str(w.dtype)
    yield "w without noise, central row of taps", w[:, :, 1]
    yield "w without noise, sum of all", w.sum()
    yield "w with large noise, central row of taps", impl.identity_kernel(c_in, c_out, C, noise=noise)[-2:, :, 1]


@probe("identity_kernel", cases=[(82, 98, 2), (98, 82, 2), (23, 46, 23), (46, 23, 23), (14, 28, 2), (28, 14, 2)])
def kernels_between_many_channels(impl, rng, c_in, c_out, C):
    """Sizes at which quotients in floating-point numbers round to the wrong group, in 32 bits or in 64."""
    import torch

    connected = impl.identity_kernel(c_in, c_out, C, 1)[:, :, 0, 0] != 0
    yield "numbers of each output channel's inputs, added up", (connected * torch.arange(1, c_in + 1)).sum(dim=1)


MULTIPLES = {
    "basic": (1, 1, 1, 1, 1, 1, 1, 1),
    "large": (2, 2, 4, 8, 16, 32, 32, 1),
    "mixed": (2, 1, 3, 1, 1, 2, 2, 1),
    "wide": (2, 2, 4, 1, 3, 1, 1, 1),
}


@probe(
    "ContextModule",
    cases=[
        (2, 1, 20, 9, "basic", True),
        (1, 2, 7, 18, "mixed", True),
        (2, 5, 18, 5, "basic", False),
        (1, 1, 19, 22, "large", False),
    ],
)
def modules(impl, rng, N, C, H, W, kind, training):
    import torch

    x = torch.tensor(rng.standard_normal((N, C, H, W)), requires_grad=True)
    dy = torch.tensor(rng.standard_normal((N, C, H, W)))
    seed = int(rng.integers(2**32))
    module = impl.ContextModule(C, MULTIPLES[kind]).double().train(training)
    yield "parameters", shapes(module)
    scale = {"basic": 0.6 / C**0.3, "mixed": 0.5, "large": 0.1}[kind]
    y = fill(module, seed, scale=scale)(x)
    yield "y of the last picture", y[-1:, -2:, ::6, ::4]
    yield "sums of y's rows", y.sum(dim=(1, 3))[-1:, ::3]
    yield "shape of y", list(y.shape)
    if y.requires_grad:
        torch.sum(y * dy).backward()
    yield "dx", None if x.grad is None else x.grad[-1:, :1, ::6, ::4]
    for layer, conv in list(enumerate(module.convs))[:: 1 if kind != "large" else 7]:
        for part in ("weight", "bias"):
            grad = getattr(conv, part).grad
            yield f"d convs.{layer}.{part}, sum", observe(None if grad is None else grad.sum(), atol=1e-9)


@probe(
    "ContextModule",
    cases=[(1, "basic", 6, 5), (2, "mixed", 23, 19), (3, "basic", 20, 21), (2, "large", 5, 6), (4, "basic", 9, 4)],
)
def fresh_modules(impl, rng, C, kind, H, W):
    import torch

    x = torch.tensor(eighths(rng.standard_normal((2, C, H, W))), dtype=torch.float32)
    module = impl.ContextModule(C, MULTIPLES[kind])
    yield "y", module(x)[..., ::4, ::2][:1]
    yield "y in evaluation", module.eval()(x)[..., ::4, ::2][-1:]
    yield "y of what isn't negative", module(x.abs())[..., ::5, ::4][-1:]
    for k, conv in enumerate(module.convs):
        yield f"bias {k}", conv.bias[:4]
        yield f"weights {k}, centre", conv.weight[::5, ::7, -1:, -1:] if k == 7 else conv.weight[::5, ::7, 1]
        yield f"sum of all weights {k}", conv.weight.sum()
    yield "needs gradients", [bool(parameter.requires_grad) for parameter in module.parameters()]


@probe("ContextModule", cases=[(2, 11, 23)])
def a_module_by_default(impl, rng, C, H, W):
    import torch

    x, seed = torch.tensor(rng.standard_normal((1, C, H, W)), dtype=torch.float32), int(rng.integers(2**32))
    module = impl.ContextModule(C)
    yield "parameters", shapes(module)
    yield "fresh y", module(x)[:, :, ::5, ::7]
    yield "kind of numbers", [str(p.dtype) for p in module.parameters()]
    yield "y", observe(fill(module, seed, scale=0.4)(x)[:, :, ::5, ::6], rtol=1e-4)


def noisy(got, expected, *, sigma):
    """Off-identity weights: deviations and means in units of sigma, near 1 and 0; largest values; how many repeat."""
    for name, values in got.items():
        deviation, mean, largest, count, different = (float(v) for v in values)
        low, high, off = (0.8, 1.25, 0.3) if count > 300 else (0.6, 1.5, 0.7)
        least = 2.9 if count > 3000 else 1.9 if count > 300 else 0.0
        if deviation < 1e-9:
            return f"{name}: there is no noise at places that hold some in equation (6). All eight layers have it."
        if not low < deviation / sigma < high and 0.8 < deviation / sigma**0.5 < 1.25:
            return f"{name}: sigma is taken for the variance of the noise. It is its standard deviation."
        if different < 0.95 * count and count > 300:
            return (
                f"{name}: {different:.0f} different numbers stand at {count:.0f} places of the noise (but for signs). "
                "Each place has a number of its own: nothing is spread over taps or channels, mirrored or left out."
            )
        if not low < deviation / sigma < high:
            return (
                f"{name}: the noise has a standard deviation of {deviation:.3g}, and sigma is {sigma}: it is the "
                "standard deviation in every layer and at every place, whatever the numbers of channels."
            )
        if abs(mean) > off * sigma:
            return f"{name}: the noise has a mean of {mean:.3g}; it is drawn around zero."
        if not least < largest < 6.0:
            return f"{name}: the noise is not normal; its largest value is {largest:.2f} standard deviations."
    return None


def measures(values):
    """What `noisy` judges of some weights."""
    sizes, deviation = values.abs(), values.std().item()
    largest = sizes.max().item() / max(deviation, 1e-300)
    return [deviation, values.mean().item(), largest, len(sizes), len(sizes.unique())]


def drawn_anew(got, expected):
    """Whether modules and layers have noise of their own, from torch's generator."""
    if got["two modules"]:
        return (
            "two modules have the same noise. Draw it in the constructor, anew for each module and from torch's own "
            "generator; nothing is shared between modules."
        )
    if got["two layers"]:
        return "two layers have the same noise. Draw it anew for every layer."
    if not got["one seed of torch"]:
        return (
            "after one `torch.manual_seed` two modules have different noise: it comes from another generator, such as "
            "NumPy's. Draw it with torch."
        )
    return None


@probe("ContextModule", cases=[(8, 0.02, "basic"), (8, 0.3, "wide"), (8, 4.0, "basic")])
def modules_with_noise(impl, rng, C, sigma, kind):
    import torch

    x = torch.tensor(rng.standard_normal((1, C, 5, 4)), dtype=torch.float32)
    seed, again = (int(n) for n in rng.integers(2**31, size=2))
    torch.manual_seed(seed)
    module = impl.ContextModule(C, MULTIPLES[kind], sigma)
    torch.manual_seed(again)
    other = impl.ContextModule(C, MULTIPLES[kind], sigma=sigma)
    torch.manual_seed(again)
    alike = impl.ContextModule(C, MULTIPLES[kind], sigma=sigma)
    found, together = {}, []
    for k, conv in enumerate(module.convs):
        w = conv.weight.detach().double()
        side = w.shape[-1] // 2
        around = torch.arange(w.shape[-1] ** 2) != w.shape[-1] ** 2 // 2
        if k < 7:
            together.append(w.flatten(2)[..., around].flatten())
            found[f"layer {k + 1}"] = measures(together[-1])
        if kind == "basic" or k == 7:
            unconnected = ~torch.eye(C, dtype=torch.bool)
            found[f"layer {k + 1}, central taps"] = measures(w[unconnected][:, side, side])
        if kind == "basic":
            yield f"diagonal {k}", torch.diagonal(w[..., side, side])
        yield f"bias {k}", conv.bias[:4]
    found["layers 1 to 7 together"] = measures(torch.cat(together))
    yield "noise", observe(found, judge=noisy, given={"sigma": sigma})
    first, second, third = (m.convs[0].weight[0, 1].detach() for m in (module, other, alike))
    layers = [conv.weight[0, 1].detach() for conv in module.convs[1:7]]
    same = {
        "two modules": bool(torch.allclose(first, second)),
        "two layers": any(bool(torch.allclose(one, two)) for one, two in itertools.combinations([first, *layers], 2)),
        "one seed of torch": bool(torch.allclose(second, third)),
    }
    yield "where noise comes from", observe(same, judge=drawn_anew)
    module.convs[0].weight.data.zero_()
    yield "y without the first layer's weights, its size", [*module(x).shape]


# Each layer: ("conv", channels out, kernel, further arguments), ("pool", kernel, further arguments) or a word.
NETS = {
    "two poolings": [
        ("conv", 3, 3, {"padding": 1}),
        "relu",
        ("pool", 2, {}),
        ("conv", 2, 3, {"padding": 1}),
        ("pool", 2, {}),
        ("conv", 2, 3, {"padding": 1}),
    ],
    "no padding": [
        ("conv", 3, 3, {}),
        ("pool", 2, {}),
        "relu",
        ("conv", 2, 3, {}),
        ("pool", 2, {}),
        ("conv", 2, 2, {}),
    ],
    "strided": [
        ("conv", 3, 3, {"stride": 2, "padding": 1}),
        "relu",
        ("conv", 2, 3, {"stride": 3, "padding": 2, "dilation": 2}),
        ("conv", 2, 2, {"padding": 1}),
    ],
    "dilated before": [
        ("conv", 2, 3, {"dilation": 2, "padding": 2}),
        ("pool", 2, {}),
        ("conv", 3, 3, {"dilation": 2, "padding": 1}),
        ("pool", 2, {"dilation": 2}),
        ("conv", 2, 2, {"dilation": 3}),
    ],
    "overlapping": [
        ("conv", 2, 3, {}),
        ("pool", 3, {"stride": 2}),
        "relu",
        ("conv", 2, 3, {"padding": 1}),
        ("pool", 3, {"stride": 1}),
        ("conv", 2, 3, {"stride": 2}),
    ],
    "pairs": [
        ("conv", 2, (3, 2), {"stride": (2, 2), "padding": (1, 1)}),
        ("pool", (2, 2), {"stride": (2, 2)}),
        ("conv", 2, (2, 3), {"padding": (1, 1)}),
        ("pool", (3, 2), {"stride": (2, 2), "dilation": (1, 1)}),
        "relu",
    ],
    "kernels of one": [
        ("conv", 2, 1, {"stride": 2}),
        ("pool", 1, {"stride": 2}),
        ("conv", 2, 1, {"padding": 1}),
        ("conv", 2, 3, {}),
        ("conv", 2, 1, {}),
    ],
    "no bias, groups": [
        ("conv", 4, 3, {"bias": False, "padding": 1}),
        ("pool", 2, {}),
        ("conv", 4, 3, {"groups": 2, "bias": False, "padding": 1}),
        ("conv", 4, 2, {"stride": 2, "groups": 4}),
    ],
    "nothing to do": [
        ("conv", 2, 3, {"padding": 1, "dilation": 2}),
        "relu",
        ("conv", 2, 2, {}),
    ],
}


def build(spec, channels):
    """A network from its description."""
    from torch import nn

    layers = []
    for item in spec:
        if item == "relu":
            layers.append(nn.ReLU())
        elif item == "norm":
            layers.append(nn.BatchNorm2d(channels))
        elif item in ("drop", "same"):
            layers.append(nn.Dropout2d(0.0) if item == "drop" else nn.Identity())
        elif item[0] == "pool":
            layers.append(nn.MaxPool2d(item[1], **item[2]))
        else:
            layers.append(nn.Conv2d(channels, item[1], item[2], **item[3]))
            channels = item[1]
    return nn.Sequential(*layers)


def odd(net):
    """The network with weights that are odd eighths."""
    import torch

    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.from_numpy(eighths(parameter.numpy())))
    return net


@probe("densify")
def a_small_net_by_hand(impl, rng):
    import torch

    dense = impl.densify(build([("pool", 2, {}), ("conv", 1, 3, {"padding": 1}), ("pool", 2, {})], 1))
    yield "strides", [int(np.max(layer.stride)) for layer in dense]
    yield "dilations", [int(np.max(layer.dilation)) for layer in dense]
    yield "paddings", [int(np.max(layer.padding)) for layer in dense]
    yield "shape of its output", list(dense(torch.zeros(1, 1, 8, 9)).shape)


@probe("densify", cases=[(name, H, W) for name in NETS for H, W in ((24, 27), (31, 22))])
def dense_nets(impl, rng, name, H, W):
    import torch

    x, seed = torch.tensor(eighths(rng.standard_normal((1, 2, H, W)))), int(rng.integers(2**32))
    net = odd(fill(build(NETS[name], 2).double(), seed))
    dense = impl.densify(net)
    y = dense(x)
    yield "shape of dense(x)", list(y.shape)
    yield "dense(x)", y[:, -1, ::7, ::5]
    yield "dense(x), edge", y[:, 0, -1, ::4]
    yield "net(x) afterwards", net(x)[:, 0, ::3, ::3]


@probe("densify", cases=[(True, False), (False, False), (True, True)])
def norms_and_modes(impl, rng, training, one_rests):
    import torch

    spec = [
        ("conv", 3, 3, {"padding": 1}),
        "norm",
        "relu",
        ("pool", 2, {}),
        "drop",
        ("conv", 2, 3, {}),
        "norm",
        "same",
        ("pool", 2, {}),
    ]
    spec += [("conv", 2, 2, {})]
    x, seed = torch.tensor(rng.standard_normal((2, 2, 16, 15))), int(rng.integers(2**32))
    wear = rng.uniform(0.5, 3.0, size=3)
    net = fill(build(spec, 2).double(), seed).train(training)
    net[1].train(training and not one_rests)
    net[1].running_var.copy_(torch.from_numpy(wear))
    net[1].running_mean.copy_(torch.from_numpy(wear - 1))
    dense = impl.densify(net)
    yield "modes", [bool(part.training) for part in dense]
    yield "kinds of layers", [type(part).__name__ for part in dense]
    yield "dense(x)", dense(x)[-1:, ..., ::3, ::3]
    yield "parameters", shapes(dense)


@probe("densify", cases=[("two poolings",), ("strided",)])
def one_net_after_another(impl, rng, name):
    import torch

    x, seeds = torch.tensor(eighths(rng.standard_normal((1, 2, 20, 18)))), [int(s) for s in rng.integers(2**32, size=2)]
    nets = [odd(fill(build(NETS[name], 2).double(), seed)) for seed in seeds]
    for k in (0, 1, 0):
        yield f"dense(x) of net {k}", impl.densify(nets[k])(x)[:, -1, ::5, ::6]
    twice = impl.densify(impl.densify(nets[0]))
    yield "made dense twice", twice(x)[:, -1, ::5, ::6]
    with torch.no_grad():
        nets[0][0].bias += 1.0
    yield "made dense after its weights have changed", impl.densify(nets[0])(x)[:, -1, ::5, ::6]


@probe("densify", cases=[("float32",)])
def a_deep_net(impl, rng, dtype):
    import torch

    spec = [item for _ in range(3) for item in (("conv", 3, 3, {"padding": 1}), "relu", ("pool", 2, {}))]
    x, seed = torch.tensor(rng.standard_normal((1, 2, 40, 33)), dtype=torch.float32), int(rng.integers(2**32))
    net = fill(build([*spec, ("conv", 2, 3, {"padding": 1})], 2), seed)
    dense = impl.densify(net)
    yield "dense(x)", observe(dense(x)[..., ::9, ::7], rtol=1e-4)
    yield "kind of numbers", str(dense[0].weight.dtype)
