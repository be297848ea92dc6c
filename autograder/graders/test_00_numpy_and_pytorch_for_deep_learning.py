"""Probes of 00: broadcasting, a stable loss, gradients by hand and by machine, and the same network in torch."""

import sys
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from autograder.engine.probes import WrongReturn, agree, fill, observe, probe, shapes, slope

# One-hot targets and distances --------------------------------------------------------------------------------------


@probe("one_hot")
def by_hand(impl, rng):
    yield "Y", impl.one_hot(np.array([2, 0]), 3)


@probe("one_hot", cases=[(1, 2), (5, 3), (50, 4), (7, 11)])
def random_labels(impl, rng, count, classes):
    y = rng.integers(classes, size=count)
    yield "Y", impl.one_hot(y, classes)


@probe("one_hot", cases=[(6, 4)])
def last_class_absent(impl, rng, count, classes):
    y = rng.integers(classes - 1, size=count)
    yield "Y", impl.one_hot(y, classes)


@probe("one_hot", cases=[300])
def many_classes(impl, rng, classes):
    """More of them than one byte can number."""
    y = rng.integers([128, 256], [256, classes])
    yield "Y", impl.one_hot(y, classes)


@probe("one_hot", cases=[(50, 4)])
def labels_of_one_byte(impl, rng, count, classes):
    """Which can't number all elements of the result."""
    y = rng.integers(classes, size=count, dtype=np.int8)
    yield "Y", impl.one_hot(y, classes)


@probe("one_hot", cases=[(5, 3)])
def the_same_labels_again(impl, rng, count, classes):
    """After the caller has written into the first result, and with more classes."""
    y = rng.integers(classes, size=count)
    Y = impl.one_hot(y, classes)
    if isinstance(Y, np.ndarray) and Y.flags.writeable:
        Y[...] = 7
    yield "Y of the same labels, when the caller has written into the first", impl.one_hot(y, classes)
    yield "Y of the same labels and 2 classes more", impl.one_hot(y, classes + 2)


@probe("pairwise_sq_dists")
def origin_and_three_four(impl, rng):
    yield "D", impl.pairwise_sq_dists(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[3.0, 4.0]]))


@probe(
    "pairwise_sq_dists",
    cases=[(1, 1, 2, 1.0), (4, 6, 3, 1.0), (5, 5, 2, 1.0), (7, 1, 4, 1.0), (4, 3, 2, 1e-5), (3, 4, 2, 1e3)],
)
def random_points(impl, rng, N, M, dimensions, size):
    """Of small points every distance is small, and none of them is zero."""
    A, B = size * rng.standard_normal((N, dimensions)), size * rng.standard_normal((M, dimensions))
    yield "D", impl.pairwise_sq_dists(A, B)


@probe("pairwise_sq_dists", cases=[20, 30, 40, 60])
def nearly_the_same_points(impl, rng, N):
    B = 0.5 + 0.5 * rng.random((1, 1))
    A = B + 1e-9 * rng.standard_normal((N, 1))
    D = impl.pairwise_sq_dists(A, B)
    yield "square root of D", observe(np.sqrt(D), atol=1e-7)  # NaN where D is below zero


# A stable loss ------------------------------------------------------------------------------------------------------


@probe("log_softmax")
def two_logits(impl, rng):
    yield "ln p of (0, ln 3)", impl.log_softmax(np.array([0.0, np.log(3.0)]))
    yield "ln p of (1000, 0)", impl.log_softmax(np.array([1000.0, 0.0]))


@probe("log_softmax", cases=[((5,), -1), ((4, 4), -1), ((4, 4), 0), ((3, 5), 0), ((2, 3, 4), 1), ((2, 3, 4), -2)])
def any_axis(impl, rng, shape, axis):
    z = 3 * rng.standard_normal(shape)
    yield "ln p", impl.log_softmax(z, axis)


@probe("log_softmax", cases=[1e3, 1e4])
def large_logits(impl, rng, size):
    z = size * rng.standard_normal((6, 5))
    yield "ln p", impl.log_softmax(z)


@probe("log_softmax")
def rows_far_apart(impl, rng):
    z = rng.standard_normal((4, 3)) + np.array([[-1e4], [0.0], [3e3], [1e4]])
    yield "ln p", impl.log_softmax(z)


@probe("log_softmax", cases=[-1e3, -1e4, 1e3])
def all_rows_far_out(impl, rng, centre):
    """Rows that only their own maximum brings near 0."""
    z = centre + rng.standard_normal((4, 3))
    yield "ln p", impl.log_softmax(z)


@probe("log_softmax", cases=[(-10.0, None), (-18.0, 1e-6)])
def nearly_certain(impl, rng, other, rtol):
    """What is added inside the logarithm, or cut off below 0, shows where the logarithm is nearly 0."""
    z = np.array([0.0, other]) + rng.random((5, 2))
    yield "ln p of the first class", observe(impl.log_softmax(z)[:, 0], rtol=rtol)


@probe("log_softmax")
def equal_logits(impl, rng):
    """The largest logit may occur more than once, and so may others."""
    a, b = rng.standard_normal(2)
    yield "ln p of (0, 0)", impl.log_softmax(np.zeros(2))
    yield "ln p of rows with equal logits", impl.log_softmax(np.array([[a, a, a - 1], [b, b - 1, b - 1]]))


@probe("cross_entropy")
def three_quarters_and_equal_logits(impl, rng):
    yield "loss at (0, ln 3)", impl.cross_entropy(np.array([[0.0, np.log(3.0)]]), np.array([1]))
    yield "loss at equal logits", impl.cross_entropy(np.full((3, 4), 2.5), np.array([0, 1, 3]))


@probe("cross_entropy", cases=[(1, 2, 2.0), (4, 4, 2.0), (6, 3, 2.0), (50, 70, 2.0), (5, 3, 1e3), (5, 3, 1e4)])
def random_logits(impl, rng, N, classes, size):
    logits, y = size * rng.standard_normal((N, classes)), rng.integers(classes, size=N)
    yield "loss", impl.cross_entropy(logits, y)


@probe("cross_entropy")
def examples_that_repeat(impl, rng):
    """Each counts; and the labels and the first logits alone don't make a loss."""
    rows, y = 2 * rng.standard_normal((4, 3)), rng.integers(3, size=4)
    again, other = np.array([0, 0, 0, 1]), np.array([0, 2, 3, 1])
    yield "loss, where three examples are the same", impl.cross_entropy(rows[again], y[again])
    yield "loss of other logits with these labels", impl.cross_entropy(rows[other], y[again])


@probe("cross_entropy", cases=[(60, 3)])
def labels_of_one_byte_each(impl, rng, N, classes):
    """Which can't number all of the logits."""
    logits, y = 2 * rng.standard_normal((N, classes)), rng.integers(classes, size=N, dtype=np.int8)
    yield "loss with labels of dtype int8", impl.cross_entropy(logits, y)


@probe("cross_entropy")
def two_classes_surely_wrong(impl, rng):
    z = 2000.0 + rng.random()
    yield "loss at (z, -z) with label 1", impl.cross_entropy(np.array([[z, -z]]), np.array([1]))


# A network and its gradient -----------------------------------------------------------------------------------------


def mlp_inputs(rng, N, features, hidden, classes):
    """Weights of order one, scaled such that the hidden units are neither linear nor saturated; a random upstream."""
    params = {
        "W1": rng.standard_normal((features, hidden)) / np.sqrt(features),
        "b1": rng.standard_normal(hidden),
        "W2": rng.standard_normal((hidden, classes)),
        "b2": rng.standard_normal(classes),
    }
    return params, rng.standard_normal((N, features)), rng.standard_normal((N, classes))


def half_inputs():
    """The hidden unit is tanh(½ ln 3) = ½."""
    params = {"W1": np.array([[0.5]]), "b1": np.zeros(1), "W2": np.array([[4.0, -2.0]]), "b2": np.array([1.0, 0.0])}
    return params, np.array([[np.log(3.0)]])


SIZES = [(1, 1, 1, 2), (5, 3, 4, 2), (4, 4, 4, 4), (2, 6, 3, 5)]


@probe("mlp_forward")
def hidden_unit_of_one_half(impl, rng):
    logits, _ = impl.mlp_forward(*half_inputs())
    yield "logits", logits


@probe("mlp_forward", cases=SIZES)
def logits(impl, rng, N, features, hidden, classes):
    params, X, _ = mlp_inputs(rng, N, features, hidden, classes)
    logits, _ = impl.mlp_forward(params, X)
    yield "logits", logits


@probe("mlp_forward", cases=[(5, 4, 4, 4)])
def another_order_in_the_dict(impl, rng, N, features, hidden, classes):
    params, X, _ = mlp_inputs(rng, N, features, hidden, classes)
    logits, _ = impl.mlp_forward(dict(sorted(params.items(), reverse=True)), X)
    yield "logits, where params begins with W2", logits


@probe("mlp_forward", cases=[1e3])
def saturated(impl, rng, size):
    params, X, _ = mlp_inputs(rng, 6, 3, 4, 2)
    logits, _ = impl.mlp_forward(params, size * X)
    yield "logits", logits


def cubic(weights, coupling):
    """A function with a third derivative, and with mixed second ones.

    It has no powers, which processors round differently: what drowns in single precision does so in the same noise.
    """
    return lambda x: float(np.sum(weights * (x * x * x)) + coupling * np.square(np.sum(x)))


@probe("numerical_grad")
def cube_at_two(impl, rng):
    yield "gradient", impl.numerical_grad(lambda x: float(x[0] * x[0] * x[0]), np.array([2.0]), h=0.1)


@probe("numerical_grad", cases=[((1,),), ((5,),), ((4, 3),), ((2, 3, 2),)])
def cubics(impl, rng, shape):
    f, x = cubic(1 + rng.random(shape), 1 + rng.random()), np.array(rng.standard_normal(shape))
    yield "gradient", observe(impl.numerical_grad(f, x), rtol=1e-7)
    yield "x afterwards", x


@probe("numerical_grad", cases=[((3, 2),)])
def large_step(impl, rng, shape):
    f, x = cubic(1 + rng.random(shape), 1 + rng.random()), rng.standard_normal(shape)
    h = round(0.1 + 0.1 * rng.random(), 3)
    yield "gradient", impl.numerical_grad(f, x, h=h)
    yield "x afterwards", x


@probe("numerical_grad", cases=[(3, 2)])
def equal_rows(impl, rng, rows, columns):
    """Where the number to which an element is moved does not say which one it is."""
    f, x = cubic(1 + rng.random((rows, columns)), 1 + rng.random()), np.tile(rng.standard_normal(columns), (rows, 1))
    yield "gradient at an x of equal rows", observe(impl.numerical_grad(f, x), rtol=1e-7)


@probe("numerical_grad")
def two_functions(impl, rng):
    f, g = (cubic(1 + rng.random((2, 3)), 1 + rng.random()) for _ in range(2))
    x = rng.standard_normal((2, 3))
    first, second = impl.numerical_grad(f, x), impl.numerical_grad(g, x)
    yield "gradient of f, after a second call for g", observe(first, rtol=1e-7)
    yield "gradient of g", observe(second, rtol=1e-7)


@probe("numerical_grad", cases=["view with gaps", "transposed"])
def other_layouts(impl, rng, layout):
    """Of a view with gaps `reshape` would make a copy; a transposed array has its elements in another order."""
    f, x = cubic(1 + rng.random((3, 2)), 1 + rng.random()), rng.standard_normal((4, 6))
    x = x[1:, 1:4:2] if layout == "view with gaps" else np.array(x[:2, :3]).T
    yield "gradient", observe(impl.numerical_grad(f, x), rtol=1e-7)


@probe("numerical_grad")
def cubics_at_zero(impl, rng):
    """The square of the step is as large as the slope here, so the difference tells which step was taken."""
    weights, slopes, x = 1 + rng.random(4), 1e-10 * (1 + rng.random(4)), np.array([0.0, -0.0, 0.0, -0.0])
    yield "gradient", impl.numerical_grad(lambda v: float(np.sum(weights * (v * v * v) + slopes * v)), x)
    yield "signs of the zeros in x afterwards", np.signbit(x)


@probe("numerical_grad")
def single_number(impl, rng):
    f, x, seen = cubic(1 + rng.random(), 1 + rng.random()), np.array(rng.standard_normal()), set()

    def seeing(v):
        seen.add(np.shape(v))
        return f(v)

    yield "gradient at an x of shape ()", observe(impl.numerical_grad(seeing, x), rtol=1e-7)
    yield "shapes that f was given", " and ".join(map(str, sorted(seen)))


@probe("unbroadcast")
def three_rows(impl, rng):
    g = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    yield "gradient of shape (2,)", impl.unbroadcast(g, (2,))
    yield "gradient of shape (3, 1)", impl.unbroadcast(g, (3, 1))


@probe(
    "unbroadcast",
    cases=[
        ((4, 3), (3,)),
        ((4, 3), (4, 1)),
        ((4, 3), (1, 3)),
        ((3, 3), (3, 1)),
        ((3, 3), (1, 3)),
        ((3, 3), (3,)),
        ((1, 3), (3,)),
        ((2, 3, 4), (4,)),
        ((2, 3, 4), (3, 1)),
        ((2, 3, 4), (1,)),
        ((5, 2, 3, 4), (2, 1, 4)),
        ((5, 2, 3, 4), (5, 1, 3, 1)),
        ((4, 3), ()),
        ((4, 3), (1, 1)),
        ((4, 3), (4, 3)),
        ((1, 3), (1, 1)),
    ],
)
def broadcasts(impl, rng, broadcast, shape):
    g = rng.standard_normal(broadcast)
    yield f"gradient of shape {shape}", impl.unbroadcast(g, shape)


@probe("unbroadcast", cases=[(2, 100_000)])
def many_copies(impl, rng, rows, columns):
    """A difference per element would run out of time; a loop over g does not."""
    g = rng.standard_normal((rows, columns))
    yield "first gradients", impl.unbroadcast(g, (columns,))[:20]


def every(gradients):
    """Each gradient of a dict under a name of its own: `dW1` is that of "W1"."""
    for name, gradient in gradients.items():
        yield f"d{name}", gradient


@probe("mlp_backward")
def hidden_unit_of_one_half_gradient(impl, rng):
    _, cache = impl.mlp_forward(*half_inputs())
    gradients = impl.mlp_backward(np.array([[1.0, -1.0]]), cache)
    yield "names of the gradients", sorted(gradients)
    yield from every(gradients)


@probe("mlp_backward", cases=SIZES)
def gradients(impl, rng, N, features, hidden, classes):
    params, X, dlogits = mlp_inputs(rng, N, features, hidden, classes)
    _, cache = impl.mlp_forward(params, X)
    yield from every(impl.mlp_backward(dlogits, cache))


@probe("mlp_backward", cases=[(96, 8, 12000, 64)])
def wide_network(impl, rng, N, features, hidden, classes):
    """So many hidden units that differences, also of a unit in all examples at once, would run out of time."""
    params, X, dlogits = mlp_inputs(rng, N, features, hidden, classes)
    _, cache = impl.mlp_forward(params, X)
    gradients = impl.mlp_backward(dlogits, cache)
    yield "first columns of dW1", gradients["W1"][:, :20]
    yield "first of db1", gradients["b1"][:20]
    yield "first rows of dW2", gradients["W2"][:2]


@probe("mlp_backward", cases=[(3, 2, 4, 5)])
def with_own_forward(impl, rng, N, features, hidden, classes):
    params, X, dlogits = mlp_inputs(rng, N, features, hidden, classes)
    along = {name: rng.standard_normal(value.shape) for name, value in params.items()}

    def loss_of(name):
        return lambda value: np.sum(impl.mlp_forward({**params, name: value}, X)[0] * dlogits)

    _, cache = impl.mlp_forward(params, X)
    gradients = impl.mlp_backward(dlogits, cache)
    yield from every(gradients)
    for name, value in params.items():
        yield (
            f"slope along {name}",
            agree(np.sum(gradients[name] * along[name]), slope(loss_of(name), value, along[name])),
        )


# Scalar autograd ----------------------------------------------------------------------------------------------------


@contextmanager
def at_most(calls):
    """Stop what makes more function calls than this: a walk along every path would never come back."""
    before, left = sys.getprofile(), calls

    def count(frame, event, argument):
        nonlocal left
        left -= event in ("call", "c_call")
        if left < 0:
            sys.setprofile(None)
            raise WrongReturn(
                f"`backward` made {calls} function calls on a graph of less than 100 values, and was stopped. Does it "
                "go through each value once, or along every path?"
            )

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)


def told(values, expression):
    """Each value under its name, with the expression that it belongs to."""
    for name, value in values.items():
        yield f"{name}, where {expression}", value


@probe("Value")
def x_squared_plus_x(impl, rng):
    x = impl.Value(3.0)
    y = x * x + x
    y.backward()
    yield from told({"y.data": y.data, "x.grad": x.grad, "y.grad": y.grad}, "y = x * x + x")
    alone = impl.Value(2.0)
    alone.backward()
    yield "x.grad, after x.backward() on a value computed from nothing", alone.grad


@probe("Value", cases=["*", "+"])
def two_operands(impl, rng, operation):
    a, b = rng.standard_normal(2).tolist()
    x, y = impl.Value(a), impl.Value(b)
    z = x * y if operation == "*" else x + y
    z.backward()
    values = {"z.data": z.data, "x.grad": x.grad, "y.grad": y.grad, "z.grad": z.grad}
    yield from told(values, f"z = x {operation} y")


@probe("Value", cases=["tanh", "relu", "exp"])
def one_operand(impl, rng, operation):
    a, b = (0.3 + rng.random(2)).tolist()
    for number in (a, -b):
        x = impl.Value(number)
        y = getattr(x, operation)() * impl.Value(a + b)
        y.backward()
        sign = "positive" if number > 0 else "negative"
        expression = f"y = x.{operation}() * c with a {sign} x"
        yield f"y.data, where {expression}", y.data
        yield f"x.grad, where {expression}", observe(x.grad, rtol=1e-12)  # no difference comes as close


@probe("Value")
def factor_of_zero(impl, rng):
    a = 1 + rng.random()
    x, w = impl.Value(a), impl.Value(0.0)
    y = x * w
    y.backward()
    yield from told({"y.data": y.data, "x.grad": x.grad, "w.grad": w.grad}, "y = x * w and w is 0")


@probe("Value", cases=[400.0, -400.0, 6.0])
def far_out(impl, rng, number):
    c = 1 + rng.random()
    x = impl.Value(number)
    y = x.tanh() * impl.Value(c)
    y.backward()
    yield from told({"y.data": y.data, "x.grad": x.grad}, f"y = x.tanh() * c at x = {number:g}")


@probe("Value", cases=["first", "last"])
def gradient_of_zero(impl, rng, place):
    """A value below which every gradient is 0 ends nothing for the others."""
    a, b = (1 + rng.random(2)).tolist()
    x, d = impl.Value(a), impl.Value(-b)
    y = d.relu() * d + x * x if place == "first" else x * x + d.relu() * d
    y.backward()
    yield from told({"x.grad": x.grad, "d.grad": d.grad}, "y = x * x + d.relu() * d with a negative d")


@probe("Value")
def logarithm_and_powers(impl, rng):
    a, b = (0.5 + rng.random(2)).tolist()
    x, y = impl.Value(a), impl.Value(b)
    z = x.log() * y**3.0 + y**-1.0
    z.backward()
    yield from told({"z.data": z.data, "x.grad": x.grad, "y.grad": y.grad}, "z = x.log() * y**3 + y**-1")


@probe("Value")
def result_used_often(impl, rng):
    a, b = rng.standard_normal(2).tolist()
    x, y = impl.Value(a), impl.Value(b)
    u = x * y  # used by v and by z
    v = u + x
    z = v * u + v * v
    z.backward()
    values = {"z.data": z.data, "x.grad": x.grad, "y.grad": y.grad, "u.grad": u.grad, "v.grad": v.grad}
    yield from told(values, "u = x * y, v = u + x, z = v * u + v * v")


@probe("Value")
def second_call(impl, rng):
    a, b = rng.standard_normal(2).tolist()
    x, y = impl.Value(a), impl.Value(b)
    u = x * y
    z = u.tanh() + u * x
    z.backward()
    z.backward()
    values = {"x.grad": x.grad, "y.grad": y.grad, "u.grad": u.grad, "z.grad": z.grad}
    yield from told(values, "u = x * y, z = u.tanh() + u * x, after a second z.backward()")
    w = u * u + x  # another result of the same values
    w.backward()
    yield from told({"x.grad": x.grad, "y.grad": y.grad}, "w = u * u + x, after z.backward() and w.backward()")


@probe("Value")
def not_below(impl, rng):
    a, b = rng.standard_normal(2).tolist()
    x, y = impl.Value(a), impl.Value(b)
    z = y * x
    z.backward()
    y.backward()
    values = {"x.grad": x.grad, "y.grad": y.grad, "z.grad": z.grad}
    yield from told(values, "z = y * x, after z.backward() and y.backward()")


@probe("Value")
def another_call_between(impl, rng):
    """The first result holds its gradient of 1 still, and its operand that of the other result."""
    x = impl.Value(1 + rng.random())
    y, z = x * x, x * x * x
    for result in (y, z, y):
        result.backward()
    expression = "y = x * x, z = x * x * x, after y.backward(), z.backward() and y.backward()"
    yield from told({"x.grad": x.grad, "y.grad": y.grad}, expression)


@probe("Value")
def new_gradient_of_zero(impl, rng):
    """What is below, but with slope 0, gets a new gradient like all others."""
    x = impl.Value(-1 - rng.random())
    y, z = x * x, x.relu()
    y.backward()
    before = x.grad
    z.backward()
    yield "x.grad, where y = x * x with a negative x, after y.backward()", before
    yield "x.grad, where z = x.relu(), after y.backward() and z.backward()", x.grad


@probe("Value", cases=[30])
def many_paths(impl, rng, doublings):
    factors = (0.5 + rng.random(doublings)).tolist()
    x = impl.Value(1.0)
    z = x
    for factor in factors:
        z = (z + z) * impl.Value(factor / 2)
    with at_most(50_000):
        z.backward()
    yield from told({"z.data": z.data, "x.grad": x.grad}, "z = (z + z) * c, over and over from z = x")


@probe("Value", cases=[4096])
def many_leaves(impl, rng, count):
    """A flat graph, so large that to run it once per value, as differences do, would take too long."""
    leaves = [impl.Value(number) for number in rng.standard_normal(count).tolist()]
    values = [leaf.tanh() for leaf in leaves]
    while len(values) > 1:
        values = [a + b for a, b in zip(values[::2], values[1::2], strict=True)]
    values[0].backward()
    yield "gradients of the first leaves", [leaf.grad for leaf in leaves[:20]]


@probe("Value", cases=[12, 40])
def random_graph(impl, rng, operations):
    numbers = (0.5 * rng.standard_normal(4)).tolist()
    kinds = rng.choice(["+", "×", "tanh"], operations).tolist()
    picks = [rng.integers(4 + k, size=2).tolist() for k in range(operations)]
    leaves = [impl.Value(number) for number in numbers]
    values = list(leaves)
    for kind, (i, j) in zip(kinds, picks, strict=True):
        a, b = values[i], values[j]
        values.append(a + b if kind == "+" else a * b.tanh() if kind == "×" else (a + b).tanh())
    result = values[-1]
    for leaf in values[:-1]:
        result = result + leaf.tanh()
    result.backward()
    yield "result", result.data
    yield "gradients of the leaves", observe([leaf.grad for leaf in leaves], atol=1e-9)  # they may cancel


# The same in torch --------------------------------------------------------------------------------------------------


def with_weights(module, seed):
    """Random weights for the two layers; what else a module may hold stays as it was made."""
    for place, name in enumerate(["hidden", "readout"]):
        if hasattr(module, name):
            fill(getattr(module, name), seed + place)
    return module


@probe("MLP", cases=[*SIZES, (3, 2, 3, 1)])
def network(impl, rng, N, features, hidden, classes):
    import torch

    X = torch.tensor(rng.standard_normal((N, features)), requires_grad=True)
    upstream = torch.tensor(rng.standard_normal((N, classes)))
    others = torch.tensor(rng.standard_normal((N, features)))
    seed = int(rng.integers(2**32))

    module = impl.MLP(features, hidden, classes).double()
    yield "parameters", shapes(module)
    yield "names in the state_dict", sorted(module.state_dict())
    with_weights(module, seed)
    logits = module(X)
    yield "logits", logits
    torch.sum(logits * upstream).backward()
    yield "gradient of X", X.grad
    for name, parameter in sorted(module.named_parameters()):
        yield f"gradient of {name}", parameter.grad
    evaluated = module.eval()(others)
    yield "logits of other inputs, after module.eval()", evaluated
    yield "requires_grad of these logits", evaluated.requires_grad


@probe("MLP", cases=[(6, 3, 4, 2)])
def large_inputs(impl, rng, N, features, hidden, classes):
    """Some hidden units are saturated, and nothing is cut off."""
    import torch

    X = torch.tensor(10 * rng.standard_normal((N, features)), requires_grad=True)
    upstream = torch.tensor(rng.standard_normal((N, classes)))
    seed = int(rng.integers(2**32))
    module = with_weights(impl.MLP(features, hidden, classes).double(), seed)
    logits = module(X)
    yield "logits", logits
    torch.sum(logits * upstream).backward()
    yield "gradient of X", X.grad
    yield "X afterwards", X


@probe("MLP", cases=[(5, 3, 4, 2)])
def inputs_with_gaps(impl, rng, N, features, hidden, classes):
    """A view, of which `view` would make no flat one."""
    import torch

    X, seed = torch.tensor(rng.standard_normal((features, N))).T, int(rng.integers(2**32))
    module = with_weights(impl.MLP(features, hidden, classes).double(), seed)
    yield "logits of a transposed X", module(X)


@probe("MLP", cases=[(5, 3, 4, 2)])
def two_networks(impl, rng, N, features, hidden, classes):
    """Of the same sizes, and each with weights of its own."""
    import torch

    X = torch.tensor(rng.standard_normal((N, features)))
    seeds = rng.integers(2**32, size=2).tolist()
    one, other = (with_weights(impl.MLP(features, hidden, classes).double(), seed) for seed in seeds)
    yield "logits of the first network, after a second was made", one(X)
    yield "logits of the second", other(X)


@probe("MLP")
def hidden_unit_of_one_half_in_torch(impl, rng):
    import torch

    params, X = half_inputs()
    weights = {"hidden.weight": params["W1"].T, "readout.weight": params["W2"].T, "readout.bias": params["b2"]}
    module = impl.MLP(1, 1, 2).double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.tensor(weights.get(name, 0.0)))
    yield "logits", module(torch.tensor(X))


@probe("Softplus")
def at_zero_and_far_out(impl, rng):
    import torch

    x = torch.tensor([0.0, 1000.0, -1000.0], dtype=torch.float64, requires_grad=True)
    out = impl.Softplus.apply(x)
    out.backward(torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64))
    yield "out at x = 0, 1000, -1000", out
    yield "dx at x = 0, 1000, -1000", x.grad


@probe(
    "Softplus",
    cases=[
        ((), 1.0, 0.0),
        ((4, 3), 2.0, 0.0),
        ((6, 2), 1e3, 0.0),
        ((5,), 3.0, -25.0),
        ((5,), 1e-3, -40.0),
        ((3, 2), 0.1, 21.0),
    ],
)
def values_and_slopes(impl, rng, shape, size, centre):
    import torch

    x = torch.tensor(centre + size * rng.standard_normal(shape), dtype=torch.float64, requires_grad=True)
    upstream = torch.tensor(rng.standard_normal(shape), dtype=torch.float64)
    out = impl.Softplus.apply(x)
    yield "out", observe(out, rtol=1e-12)  # the text wants it to the last digits
    impl.Softplus.apply(-x.detach())  # what belongs to x must be kept with x
    out.backward(upstream)
    yield "dx", observe(x.grad, rtol=1e-12)
    yield "x afterwards", x


@probe("Softplus")
def tiny_values(impl, rng):
    """Logarithms, which show the digits of every value, however small."""
    import torch

    x = torch.tensor(np.array([-60.0, -200.0, -300.0]) + rng.random(3), requires_grad=True)
    upstream = torch.tensor(1 + rng.random(3))
    out = impl.Softplus.apply(x)
    yield "ln out", observe(torch.log(out), rtol=1e-12)
    out.backward(upstream)
    yield "ln dx", observe(torch.log(x.grad), rtol=1e-12)


@probe("Softplus", cases=["x", "dout"])
def transposed(impl, rng, which):
    """A view with gaps, of which `view` would make no flat one."""
    import torch

    x, upstream = torch.tensor(rng.standard_normal((3, 2))), torch.tensor(rng.standard_normal((3, 2)))
    x, upstream = (x.T, upstream.reshape(2, 3)) if which == "x" else (x.reshape(2, 3), upstream.T)
    x.requires_grad_()
    out = impl.Softplus.apply(x)
    yield "out", out
    out.backward(upstream)
    yield "dx", x.grad


@probe("Softplus")
def gradient_from_above_used_twice(impl, rng):
    """The sum hands the same gradient to both of its terms."""
    import torch

    x = torch.tensor(rng.standard_normal((4, 2)), requires_grad=True)
    upstream = torch.tensor(rng.standard_normal((4, 2)))
    torch.sum(upstream * (impl.Softplus.apply(x) + x)).backward()
    yield "gradient of softplus(x) + x", x.grad


@probe("Softplus")
def backward_again(impl, rng):
    import torch

    x = torch.tensor(rng.standard_normal((4, 2)), requires_grad=True)
    first, second = torch.tensor(rng.standard_normal((2, 4, 2)))
    out = impl.Softplus.apply(x)
    out.backward(first, retain_graph=True)
    once = x.grad.clone()
    out.backward(second)
    yield "dx", once
    yield "sum of dx and of that of a second backward", x.grad


def given_network(*sizes):
    """A network of torch's own, so that `train` can be right without `MLP`."""
    from torch import nn

    layers = [nn.Linear(n, m) for n, m in pairwise(sizes)]
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.Tanh())][:-1]).double()


def with_shift(*layers):
    """Layers, and a parameter beside them that is added to the two logits."""
    import torch
    from torch import nn

    class Shifted(nn.Sequential):
        def __init__(self):
            super().__init__(*layers)
            self.shift = nn.Parameter(torch.zeros(2))

        def forward(self, X):
            return super().forward(X) + self.shift

    return Shifted()


@probe("train")
def linear_from_zero(impl, rng):
    import torch

    module = given_network(1, 2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    X = torch.ones(1, 1, dtype=torch.float64)
    yield "losses", impl.train(module, X, torch.tensor([0]), 1.0, 2)


@probe("train", cases=[(1, 2, 3, 2, 1), (8, 3, 4, 2, 2), (8, 3, 4, 2, 0), (100, 2, 5, 3, 20)])
def losses_and_parameters(impl, rng, N, features, hidden, classes, steps):
    import torch

    X, y = torch.tensor(rng.standard_normal((N, features))), torch.tensor(rng.integers(classes, size=N))
    lr, seed = round(0.3 + 0.4 * rng.random(), 3), int(rng.integers(2**32))
    module = fill(given_network(features, hidden, classes), seed)
    yield "losses", impl.train(module, X, y, lr, steps)
    for name, parameter in module.named_parameters():
        yield f"{name} afterwards", parameter


@probe(
    "train",
    cases=[
        "float32",
        "BatchNorm1d inside",
        "Dropout, in eval mode",
        "shared weight",
        "LayerNorm inside, and a parameter of the model's own",
        "large gradients",
        "loss near 0",
    ],
)
def other_models(impl, rng, kind):
    """Dtype and mode stay, each parameter moves once, no gradient is too large and no loss too small to go on."""
    import torch
    from torch import nn

    X, y = torch.tensor(rng.standard_normal((6, 3))), torch.tensor(rng.integers(2, size=6))
    module = given_network(3, 2)
    if kind == "BatchNorm1d inside":
        module = nn.Sequential(nn.BatchNorm1d(3, affine=False), *module).double()
    if kind == "Dropout, in eval mode":
        module = nn.Sequential(nn.Dropout(0.5), *module).eval()
    if kind == "shared weight":
        module = given_network(3, 3, 3)
        module[2].weight = module[0].weight
    if kind == "LayerNorm inside, and a parameter of the model's own":
        module = with_shift(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double()
    if kind == "large gradients":
        X, y = torch.cat([50 * X, 50 * X]), torch.cat([y, 1 - y])  # which no weights get right
    if kind == "loss near 0":
        X, y = 50 * X[:1], y[:1]
    fill(module, int(rng.integers(2**32)))
    if kind == "float32":
        module, X = module.float(), X.float()
    rtol = 1e-4 if kind == "float32" else None
    yield "losses", observe(impl.train(module, X, y, 0.5, 4), rtol=rtol)
    for name, parameter in module.named_parameters():
        yield f"{name} afterwards", observe(parameter, rtol=rtol)
    if kind == "BatchNorm1d inside":
        yield "passes that batch norm has counted", int(module[0].num_batches_tracked)


@probe("train")
def nearly_learned(impl, rng):
    """Small losses, which every step still lowers."""
    import torch

    module, size = given_network(1, 2), 4 + rng.random()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[size], [-size]]))
        module[0].bias.zero_()
    yield "losses", impl.train(module, torch.ones(1, 1, dtype=torch.float64), torch.tensor([0]), 1.0, 4)
    yield "weight afterwards", module[0].weight


@probe("train", cases=[(4, 2, 3)])
def nothing_else_changes(impl, rng, N, features, classes):
    import torch

    X, y = torch.tensor(rng.standard_normal((N, features))), torch.tensor(rng.integers(classes, size=N))
    module = fill(given_network(features, classes), int(rng.integers(2**32)))
    yield "losses", impl.train(module, X, y, 0.5, 2)
    yield "X.requires_grad afterwards", X.requires_grad
    yield "requires_grad of the parameters afterwards", [p.requires_grad for p in module.parameters()]
    yield "torch.is_anomaly_enabled() afterwards", torch.is_anomaly_enabled()
    torch.autograd.set_detect_anomaly(False)


@probe("train", cases=[(6, 3, 2)])
def with_old_gradients(impl, rng, N, features, classes):
    import torch

    X, y = torch.tensor(rng.standard_normal((N, features))), torch.tensor(rng.integers(classes, size=N))
    old = rng.standard_normal((classes, features))
    seed = int(rng.integers(2**32))
    module = fill(given_network(features, classes), seed)
    module[0].weight.grad = torch.tensor(old)
    yield "losses", impl.train(module, X, y, 0.5, 3)
    yield "weight afterwards", module[0].weight


@probe("train", cases=[(6, 3, 2)])
def twice_at_two_rates(impl, rng, N, features, classes):
    """The second call goes on where the first ended, with a rate of its own."""
    import torch

    X, y = torch.tensor(rng.standard_normal((N, features))), torch.tensor(rng.integers(classes, size=N))
    module = fill(given_network(features, classes), int(rng.integers(2**32)))
    yield "losses at the first rate", impl.train(module, X, y, 0.5, 2)
    yield "losses at a smaller rate, from there on", impl.train(module, X, y, 0.1, 3)
    yield "weight afterwards", module[0].weight
