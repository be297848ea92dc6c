"""Probes of 09: a partition, schedules and what they cost, a pipeline's backward pass, checkpointing in torch."""

from itertools import pairwise

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

# Partition and schedule ---------------------------------------------------------------------------------------------


def best_cut(got, expected, costs):
    """Judge of `balanced_partition`: any split into K cells whose heaviest is as light as the reference's."""
    K, L = len(expected), len(costs)
    if not isinstance(got, list | tuple):
        return f"it is a {type(got).__name__}; a list of {K} pairs (start, stop) is expected"
    for k, cell in enumerate(got):
        if not isinstance(cell, list | tuple) or len(cell) != 2 or not all(whole(s) for s in cell):
            return f"cell {k} is {cell!r}; a pair of ints (start, stop) is expected"
    if len(got) != K:
        return f"it has {len(got)} cells; {K} are asked for"
    for k, (start, stop) in enumerate(got):
        before = got[k - 1][1] if k else 0
        if start != before:
            which = "the cell before it stops" if k else "the first layer is"
            return f"cell {k} starts at layer {start}, but {which} at {before}: every layer is in one cell, in order"
        if stop <= start:
            return f"cell {k} is empty, from {start} to {stop}: no device may be left without layers"
    if got[-1][1] != L:
        return f"the last cell stops at {got[-1][1]}; there are {L} layers, so the last stop is {L}"
    weights = [float(np.sum(costs[start:stop])) for start, stop in got]
    best = max(float(np.sum(costs[start:stop])) for start, stop in expected)
    if max(weights) > best * (1 + 1e-9):
        k = int(np.argmax(weights))
        digits = next(d for d in (6, 9, 12, 17) if f"{weights[k]:.{d}g}" != f"{best:.{d}g}")
        mine, its = f"{weights[k]:.{digits}g}", f"{best:.{digits}g}"
        return f"its heaviest cell, {k}, costs {mine}; there is a split whose heaviest costs {its}"
    return None


def whole(value):
    """Whether a value is an integer, and no truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@probe("balanced_partition")
def four_layers_by_hand(impl, rng):
    costs = np.array([1.0, 2.0, 3.0, 4.0])
    yield "cells", observe(impl.balanced_partition(costs, 2), judge=best_cut, given={"costs": costs})


@probe(
    "balanced_partition",
    cases=[
        (1, 1, 1.0),
        (6, 1, 1.0),
        (5, 5, 1.0),
        (7, 3, 1e-3),
        (9, 2, 1.0),
        (12, 4, 1e12),
        (9, 3, 1e-10),
        (20, 6, 1.0),
    ],
)
def random_costs(impl, rng, L, K, scale):
    costs = scale * rng.uniform(0.2, 3.0, size=L)
    yield "cells", observe(impl.balanced_partition(costs, K), judge=best_cut, given={"costs": costs})


@probe("balanced_partition", cases=[(8, 3), (10, 4), (15, 5)])
def many_equal_costs(impl, rng, L, K):
    costs = rng.integers(1, 4, size=L).astype(float)
    yield "cells", observe(impl.balanced_partition(costs, K), judge=best_cut, given={"costs": costs})


@probe("balanced_partition", cases=[(6, 4), (9, 5)])
def one_giant_layer(impl, rng, L, K):
    costs = rng.uniform(0.5, 1.0, size=L)
    costs[rng.integers(L)] = 100.0
    yield "cells", observe(impl.balanced_partition(costs, K), judge=best_cut, given={"costs": costs})


@probe("balanced_partition", cases=[((4, 8, 3, 5, 3, 3), 3), ((1, 1, 8, 7, 1, 3, 4, 2), 4)])
def other_measures_part(impl, rng, about, K):
    """Squares, spread, deviation from the mean or the lightest cell would have another best cut here."""
    costs = rng.uniform(0.1, 10.0) * np.array(about) * rng.uniform(1.0, 1.01, size=len(about))
    yield "cells", observe(impl.balanced_partition(costs, K), judge=best_cut, given={"costs": costs})


@probe("balanced_partition", cases=[(20, 6)])
def nearly_equal_costs(impl, rng, L, K):
    """Which cells get four layers and which three: that matters by less than float32 tells."""
    costs = 1.0 + 1e-6 * rng.random(L)
    yield "cells", observe(impl.balanced_partition(costs, K), judge=best_cut, given={"costs": costs})


@probe("balanced_partition", cases=[(60, 8)])
def too_many_to_try_all(impl, rng, L, K):
    costs = np.exp(rng.standard_normal(L))
    yield "cells", observe(impl.balanced_partition(costs, K), judge=best_cut, given={"costs": costs})


def valid_schedule(got, expected, K, M, tf, tb):
    """Judge of `gpipe_schedule`: any order of micro-batches and of the list, if the rules hold and no time is lost."""
    if not isinstance(got, list | tuple):
        return f"it is a {type(got).__name__}; a list of events (op, k, m, start, end) is expected"
    done = {}
    for event in got:
        wrong = misshapen(event, K, M)
        if wrong:
            return wrong
        op, k, m, start, end = event
        if (op, k, m) in done:
            return f"{op}({k}, {m}) is there twice"
        done[op, int(k), int(m)] = float(start), float(end)
    missing = [f"{op}({k}, {m})" for op in "FB" for k in range(K) for m in range(M) if (op, k, m) not in done]
    if missing:
        return f"{len(missing)} events are missing, the first is {missing[0]}"
    slack = 1e-9 * (M + K) * (tf + tb)
    for (op, k, m), (start, end) in done.items():
        duration = tf if op == "F" else tb
        if abs(end - start - duration) > slack:
            return f"{said(op, k, m, done)} lasts {end - start:.6g}; it takes {duration:.6g}"
        if start < -slack:
            return f"{said(op, k, m, done)} starts before 0"
    late = max(end for _, end in done.values()) - (M + K - 1) * (tf + tb)
    broken = overlapping(done, K, slack) or too_early(done, K, M, slack)
    if broken:
        return broken
    if late > slack:
        return f"no rule is broken, but it ends {late:.6g} later than equation (2): {waste(done, K, M, slack)}"
    return None


def misshapen(event, K, M):
    """What is wrong with the form of an event, if anything."""
    if not isinstance(event, list | tuple) or len(event) != 5:
        return f"an event is {event!r}; a tuple (op, k, m, start, end) is expected"
    op, k, m, start, end = event
    if op not in ("F", "B"):
        return f"the op of an event is {op!r}; it is 'F' or 'B'"
    if not (whole(k) and whole(m) and 0 <= k < K and 0 <= m < M):
        return (
            f"there is an event for device {k!r} and micro-batch {m!r}; devices are 0 to {K - 1}, batches 0 to {M - 1}"
        )
    numbers = (start, end)
    if any(isinstance(t, bool) or not isinstance(t, int | float | np.number) or not np.isfinite(t) for t in numbers):
        return f"{op}({k}, {m}) runs from {start!r} to {end!r}, which are no times"
    return None


def said(op, k, m, done):
    """`F(0, 1), which runs from 1 to 2`."""
    start, end = done[op, k, m]
    return f"{op}({k}, {m}), which runs from {start:.6g} to {end:.6g},"


def overlapping(done, K, slack):
    """Two events of one device at the same time."""
    for k in range(K):
        mine = sorted((times, op, m) for (op, device, m), times in done.items() if device == k)
        for (first, op, m), (second, later_op, later_m) in pairwise(mine):
            if second[0] < first[1] - slack:
                return (
                    f"device {k} does two things at once: {said(op, k, m, done)} and {later_op}({k}, {later_m}), "
                    f"which starts at {second[0]:.6g}"
                )
    return None


def too_early(done, K, M, slack):
    """An event before what it needs."""
    for (op, k, m), (start, _) in sorted(done.items(), key=lambda item: item[1]):
        if op == "F":
            needed = [("F", k - 1, m)] if k else []
        else:
            needed = [("F", k, m)] + ([("B", k + 1, m)] if k < K - 1 else [])
        for other in needed:
            if start < done[other][1] - slack:
                return f"{said(op, k, m, done)} starts before what it needs has ended: {said(*other, done)[:-1]}"
    for k in range(K):
        last = max(range(M), key=lambda m: done["F", k, m][1])
        for m in range(M):
            if done["B", k, m][0] < done["F", k, last][1] - slack:
                return (
                    f"{said('B', k, m, done)} starts before all forward passes of device {k} have ended, such as "
                    f"{said('F', k, last, done)[:-1]}: GPipe flushes first"
                )
    return None


def waste(done, K, M, slack):
    """An event that waits longer than it must; or how many devices ever work at once."""
    starts = sorted(done.values())
    together = max(sum(a <= start + slack and start + slack < b for a, b in starts) for start, _ in starts)
    if together == 1 and K > 1 and M > 1:
        return "never more than one device works at a time, so nothing is gained over one device"
    flushed = {k: max(done["F", k, m][1] for m in range(M)) for k in range(K)}
    for (op, k, m), (start, _) in sorted(done.items(), key=lambda item: item[1]):
        ready = [0.0]
        ready += [end for (_, device, _), (begin, end) in done.items() if device == k and begin < start - slack]
        if op == "F" and k:
            ready.append(done["F", k - 1, m][1])
        if op == "B":
            ready += [flushed[k]] + ([done["B", k + 1, m][1]] if k < K - 1 else [])
        if start > max(ready) + slack:
            return f"{said(op, k, m, done)} could start at {max(ready):.6g}"
    return "the order of micro-batches on one device does not fit that of another"


@probe("gpipe_schedule")
def two_devices_by_hand(impl, rng):
    given = {"K": 2, "M": 1, "tf": 1.0, "tb": 2.0}
    yield "events", observe(impl.gpipe_schedule(2, 1), judge=valid_schedule, given=given)


@probe("gpipe_schedule", cases=[(1, 1), (1, 4), (4, 1), (2, 2), (3, 5), (4, 8), (5, 3)])
def drawn_times(impl, rng, K, M):
    tf, tb = rng.uniform(0.5, 3.0, size=2).tolist()
    given = {"K": K, "M": M, "tf": tf, "tb": tb}
    yield "events", observe(impl.gpipe_schedule(K, M, tf, tb), judge=valid_schedule, given=given)


@probe("gpipe_schedule", cases=[(3, 4)])
def forward_dearer_than_backward(impl, rng, K, M):
    tf, tb = float(rng.uniform(2.0, 3.0)), float(rng.uniform(0.2, 0.5))
    given = {"K": K, "M": M, "tf": tf, "tb": tb}
    yield "events", observe(impl.gpipe_schedule(K, M, tf, tb), judge=valid_schedule, given=given)


@probe("gpipe_schedule", cases=[(2, 3)])
def only_the_forward_time_is_given(impl, rng, K, M):
    tf = float(rng.uniform(2.5, 4.0))
    given = {"K": K, "M": M, "tf": tf, "tb": 2.0}
    yield "events", observe(impl.gpipe_schedule(K, M, tf), judge=valid_schedule, given=given)


def any_events(rng, K, M, *, used=None, origin=0.0, flush=False):
    """A list, in no order, in which every device that is used passes M micro-batches forward and back, with gaps.

    With `flush` all forward passes of a device come first.
    """
    events = []
    for k in range(used or K):
        waiting, ahead, clock = [], [int(m) for m in rng.permutation(M)], origin + rng.uniform(0.0, 2.0)
        while waiting or ahead:
            forward = bool(ahead) and (flush or not waiting or rng.random() < 0.6)
            m = ahead.pop() if forward else waiting.pop(int(rng.integers(len(waiting))))
            if forward:
                waiting.append(m)
            duration = rng.uniform(0.5, 2.0)
            events.append(("F" if forward else "B", k, m, float(clock), float(clock + duration)))
            clock += duration + rng.choice([0.0, rng.uniform(0.1, 1.0)])
    return [events[i] for i in rng.permutation(len(events))]


@probe("bubble_fraction")
def half_of_it_by_hand(impl, rng):
    events = [("F", 0, 0, 0.0, 1.0), ("F", 1, 0, 1.0, 2.0), ("B", 1, 0, 2.0, 4.0), ("B", 0, 0, 4.0, 6.0)]
    yield "bubble", observe(impl.bubble_fraction(events, 2), atol=1e-12)


@probe("bubble_fraction", cases=[(1, 1), (1, 5), (3, 2), (4, 8)])
def flushed(impl, rng, K, M):
    events = any_events(rng, K, M, flush=True)
    yield "bubble", observe(impl.bubble_fraction(events, K), atol=1e-12)


@probe(
    "bubble_fraction",
    cases=[(2, 3, 2, 0.0), (3, 4, 3, 5.0), (5, 3, 3, -7.0), (4, 1, 1, 2.5), (3, 3, 3, -500.0), (2, 3, 2, 2e9)],
)
def any_schedule(impl, rng, K, M, used, origin):
    events = any_events(rng, K, M, used=used, origin=origin)
    yield "bubble", observe(impl.bubble_fraction(events, K), atol=1e-12 + 1e-14 * abs(origin))


@probe("bubble_fraction", cases=[(3, 2)])
def part_of_a_schedule(impl, rng, K, M):
    """The last forward passes of device 0 end last, though backward passes of the others start later."""
    events = []
    for k in range(K):
        clock = float(4.2 * (k > 0) + rng.uniform(0.0, 0.1))
        for m in range(M):
            end = clock + float(rng.uniform(0.2, 0.4) if k else rng.uniform(3.0, 4.0))
            events.append(("B" if k else "F", k, m, clock, end))
            clock = end
    yield "bubble", observe(impl.bubble_fraction([events[i] for i in rng.permutation(len(events))], K), atol=1e-12)


@probe("peak_activations")
def three_layers_by_hand(impl, rng):
    forward = [("F", 0, 0, 0.0, 1.0), ("F", 0, 1, 1.0, 2.0)]
    smaller_first = [*forward, ("B", 0, 0, 2.0, 4.0), ("B", 0, 1, 4.0, 6.0)]
    larger_first = [*forward, ("B", 0, 1, 2.0, 4.0), ("B", 0, 0, 4.0, 6.0)]
    yield "rows, all kept", impl.peak_activations(larger_first, [3], [2, 4], False)
    yield "rows, recomputed, larger first", impl.peak_activations(larger_first, [3], [2, 4], True)
    yield "rows, recomputed, smaller first", impl.peak_activations(smaller_first, [3], [2, 4], True)


@probe("peak_activations", cases=[(1, 1, True), (2, 3, True), (4, 8, True), (4, 8, False), (3, 5, False)])
def of_a_flushed_schedule(impl, rng, K, M, remat):
    events = any_events(rng, K, M, flush=True)
    layers, sizes = rng.integers(1, 6, size=K).tolist(), rng.integers(1, 9, size=M).tolist()
    yield "rows", impl.peak_activations(events, layers, sizes, remat)


@probe(
    "peak_activations",
    cases=[
        (1, 6, 1, True, 3.0),
        (3, 7, 3, True, 3.0),
        (4, 12, 2, True, 3.0),
        (3, 9, 3, False, 3.0),
        (2, 12, 1, False, 3.0),
        (2, 7, 2, True, -500.0),
        (2, 9, 2, True, 1e9),
    ],
)
def of_any_schedule(impl, rng, K, M, used, remat, origin):
    events = any_events(rng, K, M, used=used, origin=origin)
    layers, sizes = rng.integers(1, 6, size=K).tolist(), rng.integers(1, 9, size=M).tolist()
    yield "rows", impl.peak_activations(events, layers, sizes, remat)


@probe("peak_activations", cases=[(2, 9, True)])
def short_operations(impl, rng, K, M, remat):
    """A hundred of them in one unit of time."""
    events = [(op, k, m, start / 100, end / 100) for op, k, m, start, end in any_events(rng, K, M)]
    layers, sizes = rng.integers(1, 6, size=K).tolist(), rng.integers(1, 9, size=M).tolist()
    yield "rows", impl.peak_activations(events, layers, sizes, remat)


# Backward -----------------------------------------------------------------------------------------------------------


def draw_stage(rng, widths):
    """Weights of order one over the root of the width, so that no tanh saturates all the way; biases too."""
    return [(rng.standard_normal((D, after)) / np.sqrt(D), rng.standard_normal(after)) for D, after in pairwise(widths)]


ONE_UNIT = [(np.array([[2.0]]), np.array([1.0]))]


@probe("stage_backward")
def one_unit_by_hand(impl, rng):
    _, cache = impl.stage_forward(ONE_UNIT, np.array([[0.0]]))
    yield from named("dx grads", impl.stage_backward(np.array([[3.0]]), cache))


@probe(
    "stage_backward",
    cases=[
        (1, (1, 1), 0.0, 1.0),
        (4, (3, 5), 0.0, 1.0),
        (5, (3, 6, 2, 4), 0.0, 1.0),
        (6, (4, 7, 3, 2), 0.4, 1.0),
        (5, (4, 4, 4, 4), 0.4, 1.0),  # every mask has the same shape
        (7, (5, 3), 0.3, 8.0),  # most units saturate
    ],
)
def gradients(impl, rng, n, widths, p, scale):
    stage, dout = draw_stage(rng, widths), rng.standard_normal((n, widths[-1]))
    x = scale * rng.standard_normal((n, widths[0]))
    dice = np.random.default_rng(int(rng.integers(2**32)))
    _, cache = impl.stage_forward(stage, x, p, dice)
    yield from named("dx grads", impl.stage_backward(dout, cache))


# So many units that finite differences run out of time, also those that perturb a unit in all examples at once.
WIDE = (64, 512, 8)


def few_of(grads):
    """The number of layers, and a part of the first one's gradients: all of them would make the key large."""
    dW, db = grads[0]
    return {"layers": len(grads), "dW": dW[:1, :256], "db": db[:256]}


@probe("stage_backward", cases=[WIDE])
def wide(impl, rng, n, width, layers):
    stage = draw_stage(rng, [width] * (layers + 1))
    x, dout = rng.standard_normal((2, n, width))
    _, cache = impl.stage_forward(stage, x)
    (_, dx), (_, grads) = named("dx grads", impl.stage_backward(dout, cache))
    yield "dx", dx[:1, :256]
    yield "grads of the first layer", few_of(grads)


@probe("stage_backward", cases=[(5, (3, 6, 4))])
def with_own_forward(impl, rng, n, widths):
    stage, x, dout = draw_stage(rng, widths), rng.standard_normal((n, widths[0])), rng.standard_normal((n, widths[-1]))
    along = rng.standard_normal(x.shape)
    dx, _ = impl.stage_backward(dout, impl.stage_forward(stage, x)[1])
    yield "dx", dx
    numeric = slope(lambda v: np.sum(impl.stage_forward(stage, v)[0] * dout), x, along)
    yield "slope along x", agree(np.sum(dx * along), numeric)


def split_in_order(got, expected):
    """Judge of the micro-batches that a loss was called on: the sizes of np.array_split, in any order."""
    if sorted(got) == sorted(expected):
        return None
    if len(got) != len(expected):
        return f"`loss` was called {len(got)} times; there are {len(expected)} micro-batches, of {expected} examples"
    return f"`loss` was called on {got} examples; np.array_split makes micro-batches of {expected}"


@probe("pipeline_grads")
def three_examples_by_hand(impl, rng):
    def loss(out, y):
        return (3.0 if len(y) == 2 else 6.0), np.zeros_like(out)

    total, _ = impl.pipeline_grads([ONE_UNIT], np.array([[1.0], [2.0], [3.0]]), np.array([0, 0, 0]), 2, loss)
    yield "loss", total


@probe("pipeline_grads", cases=[(1, 1, 1), (6, 1, 2), (6, 3, 2), (7, 3, 3), (5, 5, 1), (11, 4, 3)])
def micro_batches(impl, rng, N, M, K):
    widths = rng.integers(2, 7, size=2 * K + 1).tolist()
    layers = draw_stage(rng, widths)
    stages = [layers[2 * k : 2 * k + 2] for k in range(K)]
    X, y = rng.standard_normal((N, widths[0])), rng.integers(3, size=N)
    targets = rng.standard_normal((3, widths[-1]))
    sizes = []

    def loss(out, labels):
        sizes.append(len(labels))
        apart = out - targets[labels]
        return float(0.5 * np.sum(apart**2) / len(labels)), apart / len(labels)

    total, grads = impl.pipeline_grads(stages, X, y, M, loss)
    yield "loss", total
    yield "grads", grads
    yield "sizes of the micro-batches", observe(sizes, judge=split_in_order)


@probe("pipeline_grads", cases=[(9, 2, 3)])
def with_cross_entropy(impl, rng, N, M, K):
    layers = draw_stage(rng, [4, 5, 3, 6])
    X, y = rng.standard_normal((N, 4)), rng.integers(6, size=N)
    yield from named("loss grads", impl.pipeline_grads([layers[k : k + 1] for k in range(K)], X, y, M))


@probe("pipeline_grads", cases=[(6, 3)])
def loss_that_keeps_its_gradient(impl, rng, N, M):
    """A linear loss has the same gradient for each micro-batch of two, and may return the same array."""
    layers = draw_stage(rng, [4, 5, 3])
    X, y = rng.standard_normal((N, 4)), rng.integers(3, size=N)
    slopes = rng.standard_normal((N // M, 3))

    def loss(out, labels):
        return float(np.sum(out * slopes)), slopes

    yield from named("loss grads", impl.pipeline_grads([layers[:1], layers[1:]], X, y, M, loss))


@probe("pipeline_grads", cases=[(7, 3)])
def loss_that_fills_its_gradient_again(impl, rng, N, M):
    """A loss with one array of its own, which the next call fills anew."""
    layers = draw_stage(rng, [4, 5, 3])
    X, y = rng.standard_normal((N, 4)), rng.integers(3, size=N)
    targets, own = rng.standard_normal((3, 3)), np.empty((N, 3))

    def loss(out, labels):
        apart = np.subtract(out, targets[labels], out=own[: len(labels)])
        apart /= len(labels)
        return float(0.5 * np.sum(apart**2) * len(labels)), apart

    yield from named("loss grads", impl.pipeline_grads([layers[:1], layers[1:]], X, y, M, loss))


@probe("pipeline_grads", cases=[(5, 2)])
def layers_of_one_shape(impl, rng, N, M):
    stage = draw_stage(rng, [3, 3, 3])
    X, y = rng.standard_normal((N, 3)), rng.integers(3, size=N)
    yield from named("loss grads", impl.pipeline_grads([stage], X, y, M))


@probe("pipeline_grads", cases=[(6, 2)])
def one_stage_twice(impl, rng, N, M):
    """Two places of the chain have the same weights; each has gradients of its own."""
    stage, other = draw_stage(rng, [4, 4]), draw_stage(rng, [4, 4])
    X, y = rng.standard_normal((N, 4)), rng.integers(4, size=N)
    yield from named("loss grads", impl.pipeline_grads([stage, other, stage], X, y, M))


@probe("pipeline_grads", cases=[(*WIDE, 3, 4)])
def wide_pipeline(impl, rng, N, width, L, M, K):
    layers = draw_stage(rng, [width] * (L + 1))
    X, y = rng.standard_normal((N, width)), rng.integers(width, size=N)
    stages = [layers[k * L // K : (k + 1) * L // K] for k in range(K)]
    (_, total), (_, grads) = named("loss grads", impl.pipeline_grads(stages, X, y, M))
    yield "loss", total
    yield "number of stages with gradients", len(grads)
    yield "grads of the first layer", few_of(grads[0])


def same_masks_again(got, expected):
    """Judge of dx from two calls with one cache."""
    one, other = got
    if np.array_equal(one, other):
        return None
    return (
        "two calls with the same cache return different gradients. The generator of the second forward pass must start "
        "from the state that the cache holds, or it draws other masks each time"
    )


@probe("remat_backward", cases=[(600, 256, 0.5)])
def one_cache_twice(impl, rng, n, width, p):
    """Whether the masks come from the state at all."""
    stage, x, dout = draw_stage(rng, (width, 1)), rng.standard_normal((n, width)), rng.standard_normal((n, 1))
    dice = np.random.default_rng(int(rng.integers(2**32)))
    _, cache = impl.remat_forward(stage, x, p, dice)
    (_, one), _ = named("dx grads", impl.remat_backward(dout, cache))
    (_, other), _ = named("dx grads", impl.remat_backward(dout, cache))
    yield "dx of two calls", observe([dx[0, :32] for dx in (one, other)], judge=same_masks_again)


@probe("remat_backward")
def dropped_or_kept_by_hand(impl, rng):
    dice = np.random.default_rng(5)
    _, cache = impl.remat_forward(ONE_UNIT, np.zeros((6, 1)), 0.5, dice)
    yield from named("dx grads", impl.remat_backward(np.full((6, 1), 3.0), cache))


@probe("remat_backward", cases=[(1, (1, 1), 0.0), (4, (3, 5, 2), 0.0), (4, (3, 5, 2), 0.3), (7, (4, 6, 3, 5), 0.6)])
def recomputed(impl, rng, n, widths, p):
    stage, x, dout = draw_stage(rng, widths), rng.standard_normal((n, widths[0])), rng.standard_normal((n, widths[-1]))
    dice = np.random.default_rng(int(rng.integers(2**32)))
    _, cache = impl.remat_forward(stage, x, p, dice)
    yield from named("dx grads", impl.remat_backward(dout, cache))
    yield from named("dx_again grads_again", impl.remat_backward(dout, cache))


@probe("remat_backward", cases=[(3, 4, (3, 5, 4), 0.4)])
def several_wait(impl, rng, M, n, widths, p):
    stage = draw_stage(rng, widths)
    xs, douts = rng.standard_normal((M, n, widths[0])), rng.standard_normal((M, n, widths[-1]))
    dice = np.random.default_rng(int(rng.integers(2**32)))
    caches = [impl.remat_forward(stage, x, p, dice)[1] for x in xs]
    for m in reversed(range(M)):
        yield from named(f"dx_{m} grads_{m}", impl.remat_backward(douts[m], caches[m]))


@probe("remat_backward", cases=[(4, (3, 5, 4), 0.4)])
def one_input_three_passes(impl, rng, n, widths, p):
    """Other weights, and then other random numbers too, for the same input."""
    x, dout = rng.standard_normal((n, widths[0])), rng.standard_normal((n, widths[-1]))
    stages, seed = [draw_stage(rng, widths) for _ in range(2)], int(rng.integers(2**32))
    for part, (stage, further) in enumerate([(0, 0), (1, 0), (1, 1)]):
        _, cache = impl.remat_forward(stages[stage], x, p, np.random.default_rng(seed + further))
        yield from named(f"dx_{part} grads_{part}", impl.remat_backward(dout, cache))


@probe("remat_backward", cases=[(4, (3, 5, 4), 0.4)])
def global_generator(impl, rng, n, widths, p):
    stage, x, dout = draw_stage(rng, widths), rng.standard_normal((n, widths[0])), rng.standard_normal((n, widths[-1]))
    seed, its_seed = rng.integers(2**32, size=2).tolist()
    _, cache = impl.remat_forward(stage, x, p, np.random.default_rng(seed))
    np.random.seed(its_seed)
    following = np.random.RandomState()
    following.set_state(np.random.get_state())
    dx, _ = impl.remat_backward(dout, cache)
    yield "NumPy's global generator is where it was", bool(np.random.random() == following.random())
    yield "dx", dx


@probe("remat_backward", cases=[WIDE])
def wide_and_recomputed(impl, rng, n, width, layers):
    stage = draw_stage(rng, [width] * (layers + 1))
    x, dout = rng.standard_normal((2, n, width))
    dice = np.random.default_rng(int(rng.integers(2**32)))
    _, cache = impl.remat_forward(stage, x, 0.1, dice)
    (_, dx), (_, grads) = named("dx grads", impl.remat_backward(dout, cache))
    yield "dx", dx[:1, :256]
    yield "grads of the first layer", few_of(grads)


# PyTorch ------------------------------------------------------------------------------------------------------------


def tanh_layers(rng, widths, ran, draws=None):
    """Layers x → tanh(x) @ W + b that note their position when they run; with `draws` also what they draw."""
    import torch

    class Spied(torch.nn.Module):
        def __init__(self, position, D, after):
            super().__init__()
            self.position = position
            self.W = torch.nn.Parameter(torch.from_numpy(rng.standard_normal((D, after)) / np.sqrt(D)))
            self.b = torch.nn.Parameter(torch.from_numpy(rng.standard_normal(after)))

        def forward(self, x):
            ran.append(self.position)
            scale = 1.0
            if draws is not None:
                scale = torch.rand((), dtype=torch.float64)
                draws[self.position].append(float(scale))
            return scale * (torch.tanh(x) @ self.W) + self.b

    return [Spied(i, D, after) for i, (D, after) in enumerate(pairwise(widths))]


def noted(run):
    """What `run` returns, and the shape of everything that is put aside for the backward pass on the way."""
    import torch

    seen = []

    def note(tensor):
        seen.append(list(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = run()
    return out, seen


def few_activations(got, expected, n, most, what, least=0):
    """Judge of the shapes that were put aside: those with a row per example, and no weights, have n in them."""
    held = sum(int(np.prod(shape)) for shape in got if n in shape)
    if held < least:
        return (
            "x is not kept with `ctx.save_for_backward`: as an attribute of ctx it may be changed in place before the "
            "backward pass, and nobody notices"
        )
    return (
        f"{held} numbers are kept for {n} examples; {what} take {most}, and no more is needed" if held > most else None
    )


def cell_by_cell(got, expected, remat):
    """Judge of the order in which layers ran: forward once; with `remat` again, cell by cell, the last one first."""
    if got == expected:
        return None
    layers = 1 + max(expected)
    forward, again = got[:layers], got[layers:]
    if forward != expected[:layers]:
        return f"forward the layers ran in the order {forward}"
    if not remat:
        return f"layers ran again in the backward pass ({again}), although nothing was to be recomputed"
    if not again:
        return "no layer ran again in the backward pass"
    return f"in the backward pass the layers ran again in the order {again}; cell by cell it is {expected[layers:]}"


def same_numbers_again(got, expected):
    """Judge of what a layer drew, per call: the last must be the first."""
    if any(len(drawn) < 2 for drawn in got):
        return "a layer ran only once: in the backward pass it must run again"
    wrong = sum(drawn[0] != drawn[-1] for drawn in got)
    return f"{wrong} of {len(got)} layers drew other random numbers when they ran again" if wrong else None


def with_dropout(rng, width):
    """Half of the units dropped, the rest times a weight each: which they are shows in output and gradient."""
    import torch

    class Scale(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.from_numpy(rng.uniform(1.0, 2.0, size=width)))

        def forward(self, x):
            return x * self.w

    return [torch.nn.Dropout(0.5), Scale()]


def with_batch_norm(rng, width):
    """A linear layer, BatchNorm and tanh. No bias: its gradient is 0. The running statistics are those of no batch."""
    import torch

    layers = torch.nn.Linear(width, width, bias=False), torch.nn.BatchNorm1d(width), torch.nn.Tanh()
    cell = fill(torch.nn.Sequential(*layers).double(), int(rng.integers(2**32)))
    cell[1].running_mean.copy_(torch.from_numpy(rng.standard_normal(width)))
    cell[1].running_var.copy_(torch.from_numpy(rng.uniform(2.0, 4.0, size=width)))
    return list(cell)


def same_units_dropped(got, expected, x, dout):
    """Judge of a `with_dropout` cell: (the plain cell's output, the output, dx), all from the same random state."""
    plain, out, dx = np.asarray(got)
    if out.shape != plain.shape or not np.allclose(out, plain, rtol=1e-9, atol=0):
        return (
            "from the same random state the cell alone gives another output: is it in another mode, or is torch's "
            "generator seeded anew?"
        )
    if dx.shape != x.shape or not np.allclose(dx * x, dout * out, rtol=1e-9, atol=0):  # both are r x w dout
        return "the gradient does not go through the units that were dropped, or kept, forward"
    return None


def dropout_in(run, cell, x, dout):
    """What `same_units_dropped` looks at, of `run(x)`."""
    import torch

    torch.rand(3)  # whatever was seeded before, the generator has moved on
    state = torch.get_rng_state()
    plain = cell(x).detach()
    torch.set_rng_state(state)
    leaf = x.clone().requires_grad_()
    out = run(leaf)
    out.backward(dout)
    return torch.stack([plain, out.detach(), leaf.grad]).numpy()


CELLS = ((0, 2), (2, 3), (3, 6))


@probe("PipelineModel", cases=[(5, False), (5, True)])
def names_values_gradients(impl, rng, n, remat):
    import torch

    widths, ran = (3, 5, 4, 6, 2, 7, 4), []
    layers = tanh_layers(rng, widths, ran)
    x = torch.from_numpy(rng.standard_normal((n, 3)))
    dout = torch.from_numpy(rng.standard_normal((n, 4)))
    model = impl.PipelineModel(layers, CELLS, remat)
    yield "parameters", shapes(model)
    out = model(x)
    yield "out", out
    out.backward(dout)
    for name, parameter in sorted(model.named_parameters()):
        yield f"d{name}", parameter.grad
    yield "order in which the layers ran", observe(ran, judge=cell_by_cell, given={"remat": remat})
    yield "x.requires_grad", x.requires_grad
    with torch.no_grad():
        layers[0].b += 1.0
    yield "out, once the given layers have changed", model(x)


@probe("PipelineModel", cases=[(True, True, False), (False, True, True), (True, False, True)])
def remat_switched_or_evaluating(impl, rng, first, then, training):
    import torch

    ran = []
    layers = tanh_layers(rng, (3, 5, 4, 6, 2, 7, 4), ran)
    x, dout = torch.from_numpy(rng.standard_normal((5, 3))), torch.from_numpy(rng.standard_normal((5, 4)))
    model = impl.PipelineModel(layers, CELLS, first).train(training)
    model.remat = then
    out = model(x)
    yield "out", out
    out.backward(dout)
    yield "order in which the layers ran", observe(ran, judge=cell_by_cell, given={"remat": then})


@probe("PipelineModel", cases=["single precision", "a frozen BatchNorm", "a frozen layer"])
def layers_as_they_are(impl, rng, given):
    import torch

    single = given == "single precision"
    layers, x = with_batch_norm(rng, 4), torch.from_numpy(rng.standard_normal((6, 4)))
    if single:
        layers, x = [layer.float() for layer in layers], x.float()
    elif given == "a frozen layer":
        layers[0].requires_grad_(False)
    else:
        layers[1].eval()
    model = impl.PipelineModel(layers, ((0, 1), (1, 3)), True)
    yield "type of cells", type(model.cells).__name__
    yield "which parameters require a gradient", [parameter.requires_grad for parameter in model.parameters()]
    yield "training, of the given layers", [layer.training for layer in layers]
    yield "dtypes of the parameters", sorted({str(parameter.dtype) for parameter in model.parameters()})
    yield "out", model(x)


@probe("PipelineModel", cases=[(True, True), (True, False), (False, True)])
def modes(impl, rng, remat, training):
    import torch

    x, dout = (torch.from_numpy(a) for a in rng.standard_normal((2, 30, 4)))
    model = impl.PipelineModel(with_batch_norm(rng, 4), ((0, 1), (1, 3)), remat).train(training)
    yield "out with BatchNorm", model(x)
    dropping = with_dropout(rng, 4)
    model = impl.PipelineModel(dropping, ((0, 2),), remat).train(training)
    got = dropout_in(model, torch.nn.Sequential(*dropping), x, dout)
    given = {"x": x.numpy(), "dout": dout.numpy()}
    yield "outputs and dx with dropout", observe(got, judge=same_units_dropped, given=given)
    yield "training, of all modules", [module.training for module in model.modules()]


@probe("PipelineModel", cases=[(1, ((0, 1), (1, 2), (2, 3))), (6, ((0, 3),)), (4, ((0, 3), (3, 4)))])
def other_cuts(impl, rng, n, cuts):
    import torch

    ran = []
    widths = (4, 3, 5, 2, 6)[: cuts[-1][1] + 1]
    layers = tanh_layers(rng, widths, ran)
    x = torch.tensor(rng.standard_normal((n, 4)), requires_grad=True)
    dout = torch.from_numpy(rng.standard_normal((n, widths[-1])))
    model = impl.PipelineModel(layers, cuts, True)
    yield "parameters", shapes(model)
    out = model(x)
    yield "out", out
    out.backward(dout)
    yield "dx", x.grad
    yield "order in which the layers ran", observe(ran, judge=cell_by_cell, given={"remat": True})


@probe("PipelineModel", cases=[(50, 8)])
def what_is_kept(impl, rng, n, width):
    import torch

    layers = tanh_layers(rng, [width] * 7, [])
    x = torch.from_numpy(rng.standard_normal((n, width)))
    model = impl.PipelineModel(layers, CELLS, True)
    out, kept = noted(lambda: model(x))
    yield "out", out
    given = {"n": n, "most": 3 * n * width, "what": "the inputs of 3 cells"}
    yield "shapes of what is kept", observe(kept, judge=few_activations, given=given)


@probe("PipelineModel", cases=[(4,)])
def random_layers(impl, rng, n):
    import torch

    draws = [[] for _ in range(6)]
    layers = tanh_layers(rng, [3] * 7, [], draws)
    x = torch.from_numpy(rng.standard_normal((n, 3)))
    impl.PipelineModel(layers, CELLS, True)(x).sum().backward()
    yield "random numbers of each layer", observe(draws, judge=same_numbers_again)


def forward_then_backward(got, expected):
    """Judge of what happened in a step: micro-batches of the right sizes, each back before the next goes forward.

    A forward pass that makes no graph keeps nothing, so it is free.
    """
    sizes = [entry for entry in got if entry != "backward"]
    right = [entry for entry in expected if entry != "backward"]
    if sorted(sizes) != sorted(right):
        return (
            f"the model ran on {', '.join(map(str, sizes))} examples; tensor_split makes {', '.join(map(str, right))}"
        )
    if got.count("backward") != len(sizes) or got[1::2] != ["backward"] * len(sizes):
        told = ", ".join("back" if entry == "backward" else f"forward {entry}" for entry in got)
        return (
            f"the order was: {told}. Each micro-batch must go back before the next goes forward, or all graphs pile up"
        )
    return None


def classifier(inputs, hidden, classes, seed):
    """A small network in float64, its weights from NumPy."""
    import torch

    layers = torch.nn.Linear(inputs, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, classes)
    return fill(torch.nn.Sequential(*layers).double(), seed)


@probe("microbatch_step", cases=[(1, 1), (3, 2), (6, 1), (6, 3), (7, 3), (5, 5), (10, 4)])
def two_steps(impl, rng, N, M):
    import torch

    X, y = torch.from_numpy(rng.standard_normal((2, N, 4))), torch.from_numpy(rng.integers(3, size=(2, N)))
    seed = int(rng.integers(2**32))
    left_over = [rng.standard_normal(shape) for shape in ((5, 4), (5,), (3, 5), (3,))]
    model = classifier(4, 5, 3, seed)
    for parameter, gradient in zip(model.parameters(), left_over, strict=True):
        parameter.grad = torch.from_numpy(gradient)  # as a step before would leave it
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    log = []

    def seen(module, args, out):
        if out.requires_grad:
            log.append(len(out))
            out.register_hook(lambda gradient: log.append("backward"))

    model.register_forward_hook(seen)
    for step in range(2):
        log.clear()
        yield f"loss of step {step}", impl.microbatch_step(model, X[step], y[step], M, optimiser)
        yield f"what happened in step {step}", observe(list(log), judge=forward_then_backward)
        for name, parameter in sorted(model.named_parameters()):
            yield f"{name} after step {step}", parameter.detach().clone()


@probe("microbatch_step", cases=[(9, 4)])
def other_optimiser(impl, rng, N, M):
    import torch

    X, y = torch.from_numpy(rng.standard_normal((N, 4))), torch.from_numpy(rng.integers(3, size=N))
    model = classifier(4, 5, 3, int(rng.integers(2**32)))
    optimiser = torch.optim.Adam([{"params": model[0].parameters()}, {"params": model[2].parameters()}], lr=0.1)
    for step in range(3):
        yield f"loss of step {step}", impl.microbatch_step(model, X, y, M, optimiser)
    for name, parameter in sorted(model.named_parameters()):
        yield f"{name} after 3 steps", parameter


def one_graph_at_a_time(got, expected):
    """Judge of how many saved tensors are alive when each micro-batch goes forward: none but its own."""
    m = next((m for m, held in enumerate(got) if held), None)
    if m is None:
        return None
    return (
        f"when forward pass {m} starts, {got[m]} tensors of earlier graphs are still there: a backward pass frees its "
        "graph, unless it is told to retain it"
    )


@probe("microbatch_step", cases=[(7, 3)])
def graphs_alive(impl, rng, N, M):
    import weakref

    import torch

    class Box:
        def __init__(self, tensor):
            self.tensor = tensor

    X, y = torch.from_numpy(rng.standard_normal((N, 4))), torch.from_numpy(rng.integers(3, size=N))
    model = classifier(4, 5, 3, int(rng.integers(2**32)))
    alive, held = weakref.WeakSet(), []

    def pack(tensor):
        box = Box(tensor)
        if tensor.ndim:
            alive.add(box)
        return box

    def count(module, args):
        if torch.is_grad_enabled():
            held.append(len(alive))

    model.register_forward_pre_hook(count)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
        loss = impl.microbatch_step(model, X, y, M, torch.optim.SGD(model.parameters(), lr=0.5))
    yield "loss", loss
    yield "saved tensors as each micro-batch starts", observe(held, judge=one_graph_at_a_time)


@probe("microbatch_step", cases=[(7, 3)])
def with_a_frozen_layer(impl, rng, N, M):
    import torch

    X, y = torch.from_numpy(rng.standard_normal((N, 4))), torch.from_numpy(rng.integers(3, size=N))
    model = classifier(4, 5, 3, int(rng.integers(2**32)))
    model[0].requires_grad_(False)
    impl.microbatch_step(model, X, y, M, torch.optim.SGD(model.parameters(), lr=0.5))
    for name, parameter in sorted(model.named_parameters()):
        yield f"{name} requires a gradient", parameter.requires_grad
        yield f"{name} after the step", parameter.detach()


@probe("microbatch_step", cases=[(9, 4, "training"), (9, 4, "evaluating"), (9, 4, "training, BatchNorm frozen")])
def with_batch_norm_inside(impl, rng, N, M, mode):
    import torch

    X, y = torch.from_numpy(rng.standard_normal((N, 4))), torch.from_numpy(rng.integers(4, size=N))
    model = torch.nn.Sequential(*with_batch_norm(rng, 4)).train(mode != "evaluating")
    if "frozen" in mode:
        model[1].eval()
    impl.microbatch_step(model, X, y, M, torch.optim.SGD(model.parameters(), lr=0.5))
    yield from sorted(model.named_parameters())
    for name, parameter in sorted(model.named_parameters()):
        yield f"d{name}, which the step leaves", parameter.grad
    yield from sorted(model.named_buffers())
    yield "training, of all modules", [module.training for module in model.modules()]


@probe("microbatch_step", cases=[(8, 3)])
def with_dropout_inside(impl, rng, N, M):
    """The model draws other units for each micro-batch, and torch's generator moves on as far as it does by itself."""
    import torch

    X, y = torch.from_numpy(rng.standard_normal((N, 4))), torch.from_numpy(rng.integers(4, size=N))
    model = torch.nn.Sequential(*with_dropout(rng, 4))
    state = torch.get_rng_state()
    for part in X.tensor_split(M):
        model(part)
    moved = torch.get_rng_state()
    torch.set_rng_state(state)
    impl.microbatch_step(model, X, y, M, torch.optim.SGD(model.parameters(), lr=0.1))
    yield "torch's generator is where the model leaves it", torch.equal(torch.get_rng_state(), moved)


def keeper():
    """An operation that keeps whatever tensors it is given, and returns its first argument times their number."""
    import torch

    class Keep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, *tensors):
            ctx.save_for_backward(*tensors)
            return x * len(tensors)

        @staticmethod
        def backward(ctx, dout):
            total = sum(tensor.double().sum() for tensor in ctx.saved_tensors)
            return dout * total, *[None] * len(ctx.saved_tensors)

    return Keep.apply


@probe("saved_bytes")
def products_by_hand(impl, rng):
    import torch

    x, y = (torch.arange(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for name, run, parameters in (
        ("x * y", lambda: (x * y).sum(), []),
        ("x * x", lambda: (x * x).sum(), []),
        ("x * x with x a parameter", lambda: (x * x).sum(), [x]),
    ):
        _, size = impl.saved_bytes(run, parameters)
        yield f"bytes of {name}", size


@probe("saved_bytes", cases=[(1,), (2,), (3,), (4,), (5,), (6,)])
def kept_tensors(impl, rng, which):
    import torch

    rows, columns = (int(n) for n in rng.integers(3, 40, size=2))
    keep = keeper()
    x = torch.tensor(rng.standard_normal((rows, columns)), requires_grad=True)
    weight = torch.from_numpy(rng.standard_normal((columns + 1, rows)))[1:].requires_grad_()  # not its storage's start
    fresh = [torch.from_numpy(rng.standard_normal((rows, columns))) for _ in range(3)]
    mask = torch.from_numpy(rng.random((rows, columns)) < 0.5)
    twin = torch.from_numpy(rng.standard_normal((columns + 1, rows)))
    single = torch.from_numpy(rng.standard_normal((columns, 2), dtype=np.float32))
    dout = torch.from_numpy(rng.standard_normal((rows, columns)))
    kept = {
        1: [fresh[0], fresh[1], fresh[0]],  # one of them twice
        2: [fresh[0][:1], fresh[0].T, fresh[1], fresh[1][1:, 1:], mask, single],  # views hold all of their storage
        3: [weight, weight.T, fresh[2], weight.detach()[2:], x],  # parameters, and views of them
        4: [fresh[0][:2], fresh[1][1:, 1:]],  # of a storage that is never saved whole
        5: [fresh[0], twin, weight],  # as large as a parameter, and none
        6: [fresh[0], twin, weight],  # the same, as a parameter that is frozen
    }[which]
    parameters = [weight, twin] if which == 6 else [weight]
    calls = []

    def run():
        calls.append(1)
        return keep(keep(x, *kept), fresh[2])  # saved by two operations

    result, size = impl.saved_bytes(run, (p for p in parameters))
    yield "bytes", size
    yield "result", result
    result.backward(dout)
    yield "gradient through the result", x.grad
    yield "how often it ran", len(calls)


@probe("saved_bytes", cases=[(4,)])
def what_comes_later(impl, rng, n):
    """Once the call is over, no hook of it is left: hooks can be forbidden only where there are none."""
    import torch

    x = torch.tensor(rng.standard_normal(n), requires_grad=True)
    _, size = impl.saved_bytes(lambda: (x * x).sum(), [])
    yield "bytes", size
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks("a hook is left"):
            left = True
    except RuntimeError:
        left = False
    yield "saved_tensors_hooks has been left", left


@probe("saved_bytes", cases=[(5,)])
def tensors_themselves(impl, rng, n):
    """What is saved is handed on, no copy of it; a result that an operation saves counts."""
    import torch

    x = torch.tensor(rng.standard_normal(n), requires_grad=True)
    result, size = impl.saved_bytes(lambda: torch.tanh(x), [])
    yield "bytes of tanh, which saves its result", size
    saved = result.grad_fn._saved_result.untyped_storage().data_ptr()
    yield "the graph holds the result itself", saved == result.untyped_storage().data_ptr()


@probe("saved_bytes", cases=[(6, 5)])
def nothing_is_kept(impl, rng, n, width):
    import torch

    x = torch.from_numpy(rng.standard_normal((n, width)))
    result, size = impl.saved_bytes(lambda: torch.tanh(x), [])
    yield "bytes", size
    yield "result", result


@probe("Checkpoint")
def one_weight_by_hand(impl, rng):
    import torch

    cell = torch.nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        cell.weight.fill_(2.0)
    x = torch.tensor([[3.0]], dtype=torch.float64, requires_grad=True)
    out = impl.Checkpoint.apply(cell, x, *cell.parameters())
    yield "out", out
    out.backward(torch.tensor([[5.0]], dtype=torch.float64))
    yield "dx", x.grad
    yield "dw", cell.weight.grad


@probe(
    "Checkpoint",
    cases=[(2, (1, 1), True), (1, (3, 2), True), (5, (3, 6, 4), True), (5, (3, 6, 4), False), (4, (2, 5, 3, 6), True)],
)
def one_cell(impl, rng, n, widths, wants_dx):
    import torch

    ran = []
    cell = torch.nn.Sequential(*tanh_layers(rng, widths, ran))
    x = torch.tensor(rng.standard_normal((n, widths[0])), requires_grad=wants_dx)
    dout = torch.from_numpy(rng.standard_normal((n, widths[-1])))
    out, kept = noted(lambda: impl.Checkpoint.apply(cell, x, *cell.parameters()))
    yield "out", out
    given = {"n": n, "most": n * widths[0], "what": "the cell's inputs", "least": n * widths[0]}
    yield "shapes of what is kept", observe(kept, judge=few_activations, given=given)
    out.backward(dout)
    if wants_dx:
        yield "dx", x.grad
    yield "x.requires_grad", x.requires_grad
    for name, parameter in sorted(cell.named_parameters()):
        yield f"d{name}", parameter.grad
    yield "order in which the layers ran", observe(ran, judge=cell_by_cell, given={"remat": True})


@probe("Checkpoint", cases=[(5, (3, 6, 4))])
def what_is_saved(impl, rng, n, widths):
    import torch

    cell = torch.nn.Sequential(*tanh_layers(rng, widths, []))
    x = torch.tensor(rng.standard_normal((n, widths[0])), requires_grad=True)
    saved = []

    def pack(tensor):
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = impl.Checkpoint.apply(cell, x, *cell.parameters())
    own = {tensor.untyped_storage().data_ptr() for tensor in (x, *cell.parameters())}
    others = [t for t in saved if t.is_floating_point() and t.untyped_storage().data_ptr() not in own]
    yield "tensors that are saved besides x itself", len(others)
    yield "out", out


@probe("Checkpoint", cases=[(5, (3, 6, 4))])
def upstream_not_contiguous(impl, rng, n, widths):
    import torch

    cell = torch.nn.Sequential(*tanh_layers(rng, widths, []))
    x = torch.tensor(rng.standard_normal((n, widths[0])), requires_grad=True)
    dout = torch.from_numpy(rng.standard_normal((widths[-1], n)))
    impl.Checkpoint.apply(cell, x, *cell.parameters()).T.backward(dout)
    yield "dx", x.grad
    for name, parameter in sorted(cell.named_parameters()):
        yield f"d{name}", parameter.grad


@probe("Checkpoint", cases=[(4, 3, False), (4, 3, True)])
def chain_of_cells(impl, rng, n, K, same):
    import torch

    layers = tanh_layers(rng, [3] * (2 * K + 1), [])
    cells = [torch.nn.Sequential(*layers[2 * k : 2 * k + 2]) for k in range(K)]
    cells = cells[:1] * K if same else cells
    start = torch.tensor(rng.standard_normal((n, 3)), requires_grad=True)
    dout = torch.from_numpy(rng.standard_normal((n, 3)))
    for part in (0, 1):  # of two micro-batches the gradients add up
        x = torch.sin(start + part)
        for cell in cells:
            x = impl.Checkpoint.apply(cell, x, *cell.parameters())
        yield f"out {part}", x
        (x * x).backward(dout)  # more of the graph on both sides
    yield "gradient in front of all cells", start.grad
    for k, cell in enumerate(cells):
        for name, parameter in sorted(cell.named_parameters()):
            yield f"d{name} of cell {k}", parameter.grad


@probe("Checkpoint", cases=[(3, (2, 4))])
def gradients_that_are_asked_for(impl, rng, n, widths):
    """torch.autograd.grad gets them as results; .grad is somebody else's."""
    import torch

    cell = torch.nn.Sequential(*tanh_layers(rng, widths, []))
    x = torch.tensor(rng.standard_normal((n, widths[0])), requires_grad=True)
    out = impl.Checkpoint.apply(cell, x, *cell.parameters())
    names = ["x", *(name for name, _ in cell.named_parameters())]
    found = torch.autograd.grad(out.sum(), [x, *cell.parameters()], allow_unused=True)
    yield from ((f"d{name}", gradient) for name, gradient in zip(names, found, strict=True))
    yield "parameters with a .grad afterwards", sum(parameter.grad is not None for parameter in cell.parameters())


@probe("Checkpoint", cases=["training", "evaluating", "training, BatchNorm frozen"])
def modes_inside(impl, rng, mode):
    """A cell with BatchNorm, compared by value, and one with dropout, held against itself."""
    import torch

    x, dout = (torch.from_numpy(a) for a in rng.standard_normal((2, 30, 4)))
    normed, dropping = (torch.nn.Sequential(*make(rng, 4)) for make in (with_batch_norm, with_dropout))
    for cell in (normed, dropping):
        cell.train(mode != "evaluating")
    if "frozen" in mode:
        normed[1].eval()
    leaf = x.clone().requires_grad_()
    out = impl.Checkpoint.apply(normed, leaf, *normed.parameters())
    yield "out with BatchNorm", out
    out.backward(dout)
    yield "dx with BatchNorm", leaf.grad
    yield "momentum of BatchNorm afterwards", normed[1].momentum
    for name, parameter in sorted(normed.named_parameters()):
        yield f"d{name} with BatchNorm", parameter.grad

    def applied_twice(x):
        return [impl.Checkpoint.apply(dropping, x, *dropping.parameters()) for _ in range(2)]

    got = dropout_in(lambda x: impl.Checkpoint.apply(dropping, x, *dropping.parameters()), dropping, x, dout)
    given = {"x": x.numpy(), "dout": dout.numpy()}
    yield "outputs and dx with dropout", observe(got, judge=same_units_dropped, given=given)
    got = dropout_in(lambda x: applied_twice(x)[0], dropping, x, dout)
    yield "the same, after another micro-batch", observe(got, judge=same_units_dropped, given=given)
    yield "training, of all modules", [module.training for cell in (normed, dropping) for module in cell.modules()]


@probe("Checkpoint", cases=[(4,)])
def random_cell(impl, rng, n):
    import torch

    draws = [[] for _ in range(3)]
    cell = torch.nn.Sequential(*tanh_layers(rng, [3] * 4, [], draws))
    x = torch.tensor(rng.standard_normal((n, 3)), requires_grad=True)
    start = torch.get_rng_state()
    cell(x)
    moved = torch.get_rng_state()
    for drawn in draws:
        drawn.clear()
    torch.set_rng_state(start)
    out = impl.Checkpoint.apply(cell, x, *cell.parameters())
    yield "forward moves torch's generator on, as the cell does", torch.equal(torch.get_rng_state(), moved)
    torch.rand(7)  # somebody else draws in between
    before = torch.get_rng_state()
    out.sum().backward()
    yield "random numbers of each layer", observe(draws, judge=same_numbers_again)
    yield "torch's generator is where it was", torch.equal(torch.get_rng_state(), before)
