"""Probes of 01: automata, forwards and back, entropies, a blurred picture, diffusion and its adjoint; learned laws."""

import contextlib

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope


def cells(rng, *shape, share=0.5):
    """Zeros and ones, the given share of them ones."""
    return (rng.random(shape) < share).astype(np.uint8)


def own(result, *given):
    """Whether a result is an array with memory of its own."""
    return isinstance(result, np.ndarray) and not any(np.shares_memory(result, array) for array in given)


def written_over(result):
    """Write into a result, as whoever called for it may; the next one is to be right all the same."""
    with contextlib.suppress(TypeError, ValueError):
        result[...] = 3


# Elementary automata ------------------------------------------------------------------------------------------------


@probe("eca_run")
def rule_30_by_hand(impl, rng):
    yield "history", impl.eca_run(np.array([0, 0, 1, 0, 0], dtype=np.uint8), 30, 2)


@probe("eca_run", cases=[(3, 4), (4, 1), (7, 5), (16, 3), (33, 20), (5, 5)])
def histories(impl, rng, width, steps):
    state, rules = cells(rng, width), [int(rule) for rule in rng.integers(256, size=6)]
    for rule in rules:
        yield f"history, rule {rules.index(rule)} of six", impl.eca_run(state, rule, steps)


@probe("eca_run", cases=[(0,), (64,), (128,), (192,)])
def many_rules(impl, rng, first):
    state = cells(rng, 12)
    rows = [impl.eca_run(state, rule, 2)[-1] for rule in range(first, first + 64)]
    yield f"last rows of the rules {first} to {first + 63}, one after the other", np.hstack(rows)


@probe("eca_run", cases=[("left",), ("right",), ("all but one",)])
def one_cell_at_the_edge(impl, rng, where):
    rules = [int(rule) for rule in rng.integers(256, size=5)] + [30, 110]
    state = np.zeros(9, dtype=np.uint8)
    state[0 if where == "left" else -1] = 1
    state = 1 - state if where == "all but one" else state
    for k, rule in enumerate(rules):
        yield f"history {k}", impl.eca_run(state, rule, 4)


@probe("eca_run", cases=[(0,), (1,)])
def few_steps(impl, rng, steps):
    state, rule = cells(rng, 10), int(rng.integers(1, 255))
    history = impl.eca_run(state, rule, steps)
    yield "history", history
    yield "history is a new array", own(history, state)
    yield "history of zeros", impl.eca_run(0 * state, rule | 1, steps)
    yield "history of ones", impl.eca_run(0 * state + 1, rule, steps)


@probe("eca_run", cases=[(300, 200, 30), (257, 300, 110), (200, 100, 105), (9, 600, 30)])
def long_runs(impl, rng, width, steps, rule):
    history = impl.eca_run(cells(rng, 2 * width)[::2], rule, steps)
    yield "shape", list(history.shape)
    yield "last row", history[-1]


@probe("eca_run")
def rules_and_steps_in_turn(impl, rng):
    state, rules = cells(rng, 11), [int(rule) for rule in rng.integers(1, 255, size=3)]
    for k, (rule, steps) in enumerate([(rules[0], 3), (rules[1], 3), (rules[0], 5), (rules[2], 2), (rules[0], 3)]):
        yield f"history of call {k}", impl.eca_run(state, rule, steps)
    yield "history of the reverse", impl.eca_run(state[::-1], rules[0], 3)


@probe("eca_run")
def a_history_belongs_to_the_caller(impl, rng):
    state, rule = cells(rng, 9), int(rng.integers(1, 255))
    written_over(impl.eca_run(state, rule, 3))
    yield "history, the first one written over", impl.eca_run(state, rule, 3)


# Entropy of blocks --------------------------------------------------------------------------------------------------


@probe("block_entropy")
def rings_of_four(impl, rng):
    for name, ring in (("0, 1, 0, 1", [0, 1, 0, 1]), ("0, 0, 1, 1", [0, 0, 1, 1])):
        for k in (1, 2):
            yield f"H_{k} of {name}", observe(impl.block_entropy(np.array(ring, dtype=np.uint8), k), atol=1e-12)


@probe(
    "block_entropy",
    cases=[
        (5, 1, 0.5),
        (12, 2, 0.3),
        (12, 3, 0.7),
        (100, 4, 0.5),
        (100, 1, 0.9),
        (7, 7, 0.5),
        (500, 6, 0.2),
        (31, 5, 0.5),
    ],
)
def entropies(impl, rng, width, k, share):
    state = cells(rng, width, share=share)
    state[0], state[1] = 0, 1
    yield "bits", impl.block_entropy(state, k)
    yield "bits of the reverse", impl.block_entropy(state[::-1], k)
    yield "bits of every second", observe(impl.block_entropy(np.repeat(state, 2)[::2], k), atol=1e-12)


@probe("block_entropy", cases=[(40, 9), (60, 12), (600, 16), (300, 10), (16, 16)])
def long_blocks(impl, rng, width, k):
    state, few = cells(rng, width), cells(rng, width, share=0.1) | (np.arange(width) == 3)
    yield "bits", impl.block_entropy(state, k)
    yield "bits with few ones", impl.block_entropy(few, k)


@probe("block_entropy", cases=[(3,), (5,), (8,)])
def patterns(impl, rng, period):
    pattern = cells(rng, period)
    pattern[:2] = 0, 1
    for k in (1, 2, period, period + 2):
        yield f"bits, k = {k}", impl.block_entropy(np.tile(pattern, 6), k)


@probe("block_entropy", cases=[(2, 4), (3, 6), (2, 8), (4, 16), (5, 15), (6, 12)])
def windows_as_long_as_the_ring(impl, rng, period, width):
    """The ring repeats itself, so windows from different places read the same block."""
    pattern, flips = cells(rng, period), cells(rng, width)
    pattern[:2] = 0, 1
    for k in (width, width - 1):
        yield f"bits, k = {k}", impl.block_entropy(np.tile(pattern, width // period), k)
        yield f"bits of flips, k = {k}", impl.block_entropy(flips, k)


@probe("block_entropy", cases=[(0,), (1,)])
def rows_without_surprise(impl, rng, value):
    width = int(rng.integers(6, 20))
    for k in (1, 2, 5):
        yield f"bits, k = {k}", observe(impl.block_entropy(np.full(width, value, dtype=np.uint8), k), atol=1e-9)
    yield "bits of a single cell", observe(impl.block_entropy(np.array([value], dtype=np.uint8), 1), atol=1e-9)
    yield "bits, one other", impl.block_entropy((np.arange(width) == 2).astype(np.uint8) ^ np.uint8(value), 3)


@probe("block_entropy", cases=[(64,), (1000,)])
def sorted_and_mixed(impl, rng, width):
    state = cells(rng, width, share=0.4)
    for k in (3, 1, 4, 3):
        yield f"bits, k = {k}", impl.block_entropy(state, k)
        yield f"bits when sorted, k = {k}", impl.block_entropy(np.sort(state), k)


# Blocks of 2 × 2 ----------------------------------------------------------------------------------------------------

PLANES = [  # H, W, T
    (2, 2, 1),
    (2, 2, 2),
    (2, 4, 2),
    (4, 2, 3),
    (6, 4, 5),
    (4, 10, 6),
    (8, 8, 7),
    (12, 6, 1),
    (6, 6, 2),
    (10, 14, 12),
]


def draw_plane(rng, H, W, T, share=0.5):
    """A plane and its turns."""
    return cells(rng, H, W, share=share), rng.integers(4, size=(T, H // 2, W // 2))


@probe("margolus_run", cases=[False, True], part="backwards")
def one_block_by_hand(impl, rng, backwards):
    turns = np.ones((1, 1, 1), dtype=np.int64)
    for name, block in (("odd", [[1, 0], [0, 0]]), ("even", [[1, 1], [0, 0]])):
        yield f"{name} block", impl.margolus_run(np.array(block, dtype=np.uint8), turns, backwards)


@probe("margolus_run", cases=[False, True], part="backwards")
def every_block_and_turn(impl, rng, backwards):
    """All 64 pairs of contents and turns, in any order."""
    order = rng.permutation(64)
    contents, turns = (order % 16).reshape(16, 4), (order // 16).reshape(1, 16, 4)
    corners = [(contents >> k & 1).astype(np.uint8) for k in range(4)]
    grid = np.stack([np.stack(corners[:2], axis=-1), np.stack(corners[2:], axis=-1)], axis=1).reshape(32, 8)
    yield "plane", impl.margolus_run(grid, turns, backwards)


@probe("margolus_run", cases=[(*plane, backwards) for backwards in (False, True) for plane in PLANES], part="backwards")
def planes(impl, rng, H, W, T, backwards):
    (grid, turns), few = draw_plane(rng, H, W, T), cells(rng, H, W, share=0.15)
    yield "plane", impl.margolus_run(grid, turns, True) if backwards else impl.margolus_run(grid, turns)
    yield "plane with few ones", impl.margolus_run(few, turns, backwards=backwards)


@probe("margolus_run", cases=[(6, 8, 4, True), (8, 6, 5, True), (4, 4, 1, True)], part="backwards")
def there_and_back(impl, rng, H, W, T, backwards):
    grid, turns = draw_plane(rng, H, W, T)
    yield "and back", impl.margolus_run(impl.margolus_run(grid, turns), turns, backwards)
    yield "first undone, then done", impl.margolus_run(impl.margolus_run(grid, turns, backwards), turns)


@probe("margolus_run", cases=[(6, 4, False), (2, 2, False), (6, 4, True), (2, 2, True)], part="backwards")
def no_turns_at_all(impl, rng, H, W, backwards):
    grid, turns = draw_plane(rng, H, W, 0)
    zeros = np.zeros((3, H // 2, W // 2), dtype=np.int64)
    plane = impl.margolus_run(grid, turns, backwards)
    yield "plane, T = 0", plane
    yield "plane is a new array", own(plane, grid)
    yield "plane, turns of 0", impl.margolus_run(grid, zeros, backwards)


@probe("margolus_run", cases=[(turn, backwards) for backwards in (False, True) for turn in (1, 2, 3)], part="backwards")
def the_same_turn_everywhere(impl, rng, turn, backwards):
    grid = cells(rng, 8, 6)
    turns = np.full((3, 4, 3), turn)
    for T in (1, 2, 3):
        yield f"plane, T = {T}", impl.margolus_run(grid, turns[:T], backwards)


@probe("margolus_run", cases=[(9, False), (10, False), (9, True), (10, True)], part="backwards")
def a_lone_cell(impl, rng, T, backwards):
    i, j = rng.integers(10, size=2)
    grid, turns = np.zeros((10, 10), dtype=np.uint8), rng.integers(1, 4, size=(T, 5, 5))
    grid[i, j] = 1
    for k in (1, 2, T):
        yield f"plane, T = {k}", impl.margolus_run(grid, turns[:k], backwards)


@probe("margolus_run", cases=[(64, 48, 60, False), (64, 48, 60, True)], part="backwards")
def a_large_plane(impl, rng, H, W, T, backwards):
    grid, turns = draw_plane(rng, H, W, T)
    yield "rows of the plane", impl.margolus_run(np.asfortranarray(grid), turns, backwards)[::9]


@probe("margolus_run", cases=[(4, 6, 301, False), (6, 4, 300, True)], part="backwards")
def many_turns(impl, rng, H, W, T, backwards):
    grid, turns = draw_plane(rng, H, W, T)
    yield "plane", impl.margolus_run(grid, turns, backwards)


@probe("margolus_run", cases=[False, True], part="backwards")
def a_plane_belongs_to_the_caller(impl, rng, backwards):
    grid, turns = draw_plane(rng, 4, 6, 3)
    written_over(impl.margolus_run(grid, turns, backwards))
    yield "plane, the first one written over", impl.margolus_run(grid, turns, backwards)


# A blurred picture --------------------------------------------------------------------------------------------------


def about_as_long(got, expected):
    """Compressed lengths: other builds of zlib may write a few bytes more or less."""
    if not np.issubdtype(np.asarray(got).dtype, np.integer) or np.size(got) != 1:
        return "the size should be a number of bytes, an int."
    mine = int(got)
    if abs(mine - expected) <= max(3, 0.06 * expected):
        return None
    return (
        f"yours is {mine} bytes where about {expected} are expected. What is compressed are "
        "the shades of the blurred picture, row by row, one byte each."
    )


def looked_at(results, measure, name=""):
    """One of the two measures, with what it is made from; each result is judged in its way."""
    (_, picture), (_, bits), (_, size) = named("picture bits size", results)
    if measure == "entropy":
        yield f"bits{name}", observe(bits, atol=1e-10)
    else:
        yield f"picture{name}", picture
        yield f"size{name}", observe(size, judge=about_as_long)
        yield f"bits are finite{name}", bool(np.isfinite(bits))


def measured(cases):
    """Each case once for each of the two measures."""
    return [(*case, measure) for measure in ("complexity", "entropy") for case in cases]


@probe("coarse_measures", cases=measured([()]), part="measure")
def four_blocks_by_hand(impl, rng, measure):
    grid = np.array([[1, 1, 0, 1], [1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 1, 1]], dtype=np.uint8)
    for levels in (3, 4):
        yield from looked_at(impl.coarse_measures(grid, 2, levels), measure, f", L = {levels}")


@probe(
    "coarse_measures",
    cases=measured(
        [
            (4, 6, 2, 3, 0.5),
            (6, 9, 3, 4, 0.3),
            (8, 8, 4, 3, 0.6),
            (12, 4, 2, 2, 0.5),
            (10, 20, 5, 5, 0.8),
            (6, 6, 6, 3, 0.4),
            (7, 5, 1, 2, 0.5),
            (5, 8, 1, 5, 0.5),
            (16, 32, 8, 7, 0.2),
            (48, 16, 16, 6, 0.7),
            (12, 24, 4, 200, 0.5),
            (8, 4, 2, 255, 0.6),
            (40, 20, 20, 3, 0.55),
            (9, 9, 3, 8, 0.5),
        ]
    ),
    part="measure",
)
def pictures(impl, rng, H, W, c, levels, share, measure):
    grid = cells(rng, H, W, share=share)
    grid[:c, :c] = 1  # the darkest block there can be
    grid[-c:, -c:] = np.arange(c * c).reshape(c, c) % 3 == 1
    found = impl.coarse_measures(grid, c, levels)
    yield from looked_at(found, measure)
    if measure == "entropy" and c == 1:
        yield "picture of single cells", found[0]


@probe(
    "coarse_measures",
    cases=measured([(96, 64, 32, 3), (64, 96, 32, 255), (50, 75, 25, 7), (64, 192, 64, 5), (256, 512, 256, 3)]),
    part="measure",
)
def large_blocks(impl, rng, H, W, c, levels, measure):
    """More cells in a block than a byte counts, or two; some blocks are full."""
    shares = rng.random((H // c, W // c)).repeat(c, axis=0).repeat(c, axis=1)
    grid = cells(rng, H, W, share=shares)
    grid[-c:, :c] = 1
    yield from looked_at(impl.coarse_measures(grid, c, levels), measure)


@probe(
    "coarse_measures",
    cases=measured(
        [(c, levels) for c in (2, 3, 4) for levels in (2, 3, 4, 8)]
        + [(5, 5), (5, 2), (6, 3), (6, 4), (6, 180), (7, 49), (9, 81), (10, 50)]
    ),
    part="measure",
)
def on_the_border(impl, rng, c, levels, measure):
    """Blocks with every count of ones, so all that lie on a border as well."""
    counts = rng.permutation(c * c + 1)
    blocks = [rng.permutation((np.arange(c * c) < n).astype(np.uint8)).reshape(c, c) for n in counts]
    picture, bits, _ = impl.coarse_measures(np.hstack(blocks), c, levels)
    if measure == "entropy":
        yield "bits", observe(bits, atol=1e-10)
    else:
        yield "picture", picture


@probe("coarse_measures", cases=measured([(0,), (1,)]), part="measure")
def nothing_unknown(impl, rng, value, measure):
    c, levels = int(rng.integers(2, 5)), int(rng.integers(2, 6))
    even, large = np.full((3 * c, 5 * c), value, dtype=np.uint8), cells(rng, 16, 32)
    tiles = cells(rng, 3, 5).repeat(c, axis=0).repeat(c, axis=1)
    for name, grid in (("", even), (", cells of a block all alike", tiles)):
        found = impl.coarse_measures(grid, c, levels)
        yield from looked_at(found, measure, name)
        if measure == "entropy":
            yield f"bits where all is known{name}", observe(found[1], atol=1e-13)
    yield from looked_at(impl.coarse_measures(large, 16, levels), measure, ", two large blocks")


@probe(
    "coarse_measures",
    cases=measured([(128, 128, 1, 2), (96, 128, 4, 3), (256, 128, 4, 5), (128, 192, 2, 4)]),
    part="measure",
)
def compressed(impl, rng, H, W, c, levels, measure):
    """Pictures that are shaded, striped along rows, or along columns: they compress unlike each other."""
    shaded = cells(rng, H, W, share=np.linspace(0, 1, H)[:, None])
    stripes = rng.integers(2, size=H // c).repeat(c)[:, None] * np.ones(W, dtype=int)
    columns = rng.integers(2, size=W // c).repeat(c) * np.ones((H, 1), dtype=int)
    for name, grid in (("shaded", shaded), ("rows", stripes.astype(np.uint8)), ("columns", columns.astype(np.uint8))):
        picture, bits, size = impl.coarse_measures(grid, c, levels)
        if measure == "entropy":
            yield f"bits, {name}", observe(bits, atol=1e-10)
        else:
            yield f"size, {name}", observe(size, judge=about_as_long)
            yield f"a row of the picture, {name}", picture[len(picture) // 2]


@probe("coarse_measures", cases=measured([()]), part="measure")
def many_eyes_in_turn(impl, rng, measure):
    grid = cells(rng, 24, 12)
    for k, (c, levels) in enumerate([(2, 3), (2, 5), (4, 3), (12, 3), (1, 2), (2, 3)]):
        yield from looked_at(impl.coarse_measures(grid, c, levels), measure, f" of call {k}")


@probe("coarse_measures", cases=measured([()]), part="measure")
def the_same_cells_in_another_shape(impl, rng, measure):
    grid = cells(rng, 8, 16)
    (_, picture), *_ = named("picture bits size", impl.coarse_measures(grid, 4, 5))
    written_over(picture)
    yield from looked_at(impl.coarse_measures(grid.reshape(16, 8), 4, 5), measure, " of 16 × 8")
    yield from looked_at(impl.coarse_measures(grid, 4, 5), measure, ", the first one written over")


# Diffusion ----------------------------------------------------------------------------------------------------------

DIFFUSIONS = [  # H, W, rate, steps
    (4, 6, 0.2, 3),
    (1, 5, 0.25, 4),
    (5, 1, 0.1, 2),
    (3, 3, 0.15, 1),
    (2, 7, 0.25, 6),
    (5, 2, -0.1, 3),
    (5, 4, 0.7, 2),
    (2, 2, 0.05, 9),
    (1, 1, 0.2, 3),
    (3, 4, 0.0, 2),
    (4, 4, 0.24, 30),
]
LONG = [(4, 3, 2e-3, 130), (2, 5, 1e-3, 260)]  # in which all steps count about the same
ROW = np.array([[1.0, 0.0, 0.0]])


@probe("diffuse_forward")
def a_row_by_hand(impl, rng):
    for steps in (1, 2):
        yield f"after {steps}", impl.diffuse_forward(ROW.copy(), 0.25, steps)[0]


@probe("diffuse_forward", cases=[*DIFFUSIONS, *LONG, (2, 4, 5e-4, 600), (2, 3, 1e-6, 500), (3, 4, 3e-9, 40)])
def diffused(impl, rng, H, W, rate, steps):
    u = rng.standard_normal((H, W)) + 0.5
    yield "y", impl.diffuse_forward(u, rate, steps)[0]


@probe("diffuse_forward", cases=[(1e9,), (1e-9,), (1e-30,)])
def small_and_large_densities(impl, rng, size):
    u = size * rng.random((4, 3))
    yield "y", impl.diffuse_forward(u, 0.2, 5)[0]
    yield "y of one column", impl.diffuse_forward(u[:, ::3], 0.2, 3)[0]


@probe("diffuse_forward", cases=[(4, 5)])
def pictures_that_add_up_to_nothing(impl, rng, H, W):
    u = rng.standard_normal((H, W))
    yield "y", impl.diffuse_forward(u - u[::-1], 0.2, 3)[0]
    yield "y of zeros", impl.diffuse_forward(0 * u, 0.2, 3)[0]


@probe("diffuse_forward", cases=[(4, 5), (1, 3)])
def not_a_step(impl, rng, H, W):
    u = rng.standard_normal((H, W))
    y, _ = impl.diffuse_forward(u, 0.2, 0)
    yield "y", y
    yield "y is a new array", own(y, u)


@probe("diffuse_forward", cases=[(4, 5)])
def rates_and_steps_in_turn(impl, rng, H, W):
    u, (first, second) = rng.standard_normal((H, W)), rng.uniform(0.05, 0.25, size=2).tolist()
    for k, (rate, steps) in enumerate([(first, 2), (second, 2), (first, 3), (first, 0), (second, 1), (first, 2)]):
        yield f"y of call {k}", impl.diffuse_forward(u, rate, steps)[0]


@probe("diffuse_forward", cases=[(2, 6)])
def the_same_densities_in_another_shape(impl, rng, H, W):
    u = rng.standard_normal((H, W))
    written_over(impl.diffuse_forward(u, 0.2, 3)[0])
    yield f"y of {W} × {H}", impl.diffuse_forward(u.reshape(W, H), 0.2, 3)[0]
    yield "y, the first one written over", impl.diffuse_forward(u, 0.2, 3)[0]


@probe("diffuse_forward", cases=[(40, 30, 0.25, 50), (3, 90, 0.1, 80)])
def a_larger_glass(impl, rng, H, W, rate, steps):
    y, _ = impl.diffuse_forward(rng.random((H, W)), rate, steps)
    yield "first row of y", y[0, ::7]
    yield "last column of y", y[::9, -1]
    yield "middle of y", y[H // 2, ::11]
    yield "sum of y", y.sum()


@probe("diffuse_backward")
def a_row_back_by_hand(impl, rng):
    for steps in (1, 2):
        _, cache = impl.diffuse_forward(ROW.copy(), 0.25, steps)
        yield from named(f"du_{steps} drate_{steps}", impl.diffuse_backward(ROW.copy(), cache))


@probe(
    "diffuse_backward",
    cases=[(*case, 1.0) for case in DIFFUSIONS + LONG] + [(4, 5, 0.2, 3, 1e8), (4, 5, 0.2, 3, 1e-8)],
)
def gradients(impl, rng, H, W, rate, steps, size):
    u, dy = rng.standard_normal((H, W)) + 0.5, size * (rng.standard_normal((H, W)) + 0.3)
    _, cache = impl.diffuse_forward(u, rate, steps)
    (_, du), (_, drate) = named("du drate", impl.diffuse_backward(dy, cache))
    yield "du", du
    yield "drate", observe(drate, atol=1e-12 * size)


@probe("diffuse_backward", cases=[(4, 5)])
def no_steps(impl, rng, H, W):
    u, dy = rng.standard_normal((2, H, W))
    _, cache = impl.diffuse_forward(u, 0.2, 0)
    (_, du), (_, drate) = named("du drate", impl.diffuse_backward(dy, cache))
    yield "du", du
    yield "du is a new array", own(du, dy)
    yield "drate", drate


@probe("diffuse_backward", cases=[(4, 3)])
def walked_back_later(impl, rng, H, W):
    u, dy, rates = rng.standard_normal((3, H, W)), rng.standard_normal((3, H, W)), (0.1, 0.25, 0.1)
    caches = [impl.diffuse_forward(u[k], rates[k], steps)[1] for k, steps in enumerate((3, 2, 5))]
    for name, k in (("first", 0), ("third", 2), ("second", 1), ("first once more", 0)):
        yield from named(f"du_of_{k} drate_of_{k}", impl.diffuse_backward(dy[k], caches[k]))
        yield f"the {name}", k


@probe("diffuse_backward", cases=[(120, 90, 0.2, 40)])
def a_large_glass(impl, rng, H, W, rate, steps):
    u, dy = rng.standard_normal((2, H, W))
    du, drate = impl.diffuse_backward(dy, impl.diffuse_forward(u, rate, steps)[1])
    yield "du", du[::37, ::29]
    yield "drate", drate


@probe("diffuse_backward", cases=[(4, 5, 0.2, 4)])
def with_own_diffusion(impl, rng, H, W, rate, steps):
    u, dy, along = rng.standard_normal((3, H, W))
    du, drate = impl.diffuse_backward(dy, impl.diffuse_forward(u, rate, steps)[1])
    yield "du", du
    numeric = slope(lambda v: np.sum(impl.diffuse_forward(v, rate, steps)[0] * dy), u, along)
    yield "slope along u", agree(np.sum(du * along), numeric)
    at, one = np.array(rate), np.array(1.0)
    numeric = slope(lambda r: np.sum(impl.diffuse_forward(u, float(r), steps)[0] * dy), at, one)
    yield "slope along the rate", agree(drate, numeric)


# Entropy of a place -------------------------------------------------------------------------------------------------


@probe("spread_entropy")
def three_cells_by_hand(impl, rng):
    yield from named("bits gradient", impl.spread_entropy(np.array([[1.0, 1.0, 2.0]])))


@probe(
    "spread_entropy",
    cases=[(3, 4, 1.0), (4, 3, 1e6), (1, 7, 1e-6), (6, 1, 30.0), (4, 4, 0.1), (2, 2, 1.0), (3, 3, 1e-9), (2, 6, 1e12)],
)
def entropies_of_places(impl, rng, H, W, size):
    u = size * rng.exponential(size=(H, W)) ** 2 + 1e-3 * size
    yield from named("bits gradient", impl.spread_entropy(u))


@probe("spread_entropy", cases=[(1e-12,), (1e-20,), (1e-200,)])
def hardly_anything_there(impl, rng, least):
    u = rng.uniform(0.5, 1.5, size=(3, 4))
    u[0, :3] *= least
    u[2, 1] *= 50 * least
    bits, gradient = impl.spread_entropy(u)
    yield "bits", bits
    yield "gradient where there is little", gradient[u < 1e-6]
    yield "gradient where there is much", gradient[u > 1e-6]


@probe("spread_entropy", cases=[(3,), (1,)])
def crowded(impl, rng, cells_taken):
    u = np.full((4, 5), 1e-9)
    u.flat[rng.permutation(20)[:cells_taken]] = rng.uniform(1, 3, size=cells_taken)
    bits, gradient = impl.spread_entropy(u)
    yield "bits", observe(bits, atol=1e-12)
    yield "gradient where there is little", gradient[u < 0.5]
    yield "gradient in the crowd", observe(gradient[u > 0.5], atol=1e-9)


@probe("spread_entropy", cases=[(1, 1), (4, 4), (2, 8)])
def even(impl, rng, H, W):
    value = float(rng.uniform(0.1, 9))
    bits, gradient = impl.spread_entropy(np.full((H, W), value))
    yield "bits", observe(bits, atol=1e-9)
    yield "gradient", observe(gradient, atol=1e-9)


@probe("spread_entropy", cases=[(0.009,), (1e-3,), (1e-6,)])
def nearly_even(impl, rng, unevenness):
    u = np.full((3, 5), rng.uniform(0.1, 9))
    u.flat[rng.permutation(15)[:3]] *= 1 + unevenness
    bits, _ = impl.spread_entropy(u)
    yield "bits", observe(bits, rtol=1e-12)


@probe("spread_entropy", cases=[(2, 3), (4, 5)])
def the_same_sum_in_turn(impl, rng, H, W):
    """Pictures of one shape and exactly one sum; only where the cream lies differs."""
    first = rng.integers(2, 9, size=(H, W)).astype(float)
    second = rng.permuted(first.ravel()).reshape(H, W)
    second[0, 0] += second[-1, -1] - 1
    second[-1, -1] = 1
    for k, u in enumerate((first, second, first)):
        yield from named(f"bits_{k} gradient_{k}", impl.spread_entropy(u))


@probe("spread_entropy", cases=[(2, 3)])
def the_same_places_in_another_shape(impl, rng, H, W):
    u = rng.uniform(0.5, 2.0, size=(H, W))
    written_over(impl.spread_entropy(u)[1])
    yield f"gradient of {W} × {H}", impl.spread_entropy(u.reshape(W, H))[1]
    yield "gradient, the first one written over", impl.spread_entropy(u)[1]


@probe("spread_entropy", cases=[(60, 40)])
def many_places(impl, rng, H, W):
    bits, gradient = impl.spread_entropy(rng.exponential(size=(H, W)) + 1e-4)
    yield "bits", bits
    yield "gradient", gradient[::23, ::17]


@probe("spread_entropy", cases=[(4, 3)])
def with_own_entropy(impl, rng, H, W):
    u, along = rng.uniform(0.5, 2.0, size=(H, W)), rng.standard_normal((H, W))
    _, gradient = impl.spread_entropy(u)
    yield "gradient", gradient
    yield "slope along u", agree(np.sum(gradient * along), slope(lambda v: impl.spread_entropy(v)[0], u, along))


# PyTorch ------------------------------------------------------------------------------------------------------------


def soft(rng, B, W):
    """Chances, a few of them certain."""
    x = rng.random((B, W))
    x[rng.random((B, W)) < 0.2] = 0.0
    x[rng.random((B, W)) < 0.2] = 1.0
    return x


def chances_and_gradients(model, x, dy, name=""):
    """What a module makes of x, and what comes back; as much of it as there is."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    y = model(x)
    yield f"y{name}", y
    if y.requires_grad:
        (y * dy).sum().backward()
    yield f"dx{name}", x.grad
    yield f"dlogits{name}", model.logits.grad


@probe("SoftRule")
def three_cells_and_a_table(impl, rng):
    import torch

    model = impl.SoftRule().double()
    yield "parameters", shapes(model)
    yield "logits at first", model.logits
    with torch.no_grad():
        model.logits[1] = float(np.log(3.0))
    yield "y of 0, 0, 1", model(torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))
    yield "y of halves", model(torch.full((1, 3), 0.5, dtype=torch.float64))
    yield "rule", model.rule()
    yield "rule is an integer", isinstance(model.rule(), int | np.integer)


@probe("SoftRule", cases=[(1, 3, 0.8), (4, 6, 0.8), (3, 3, 2.0), (5, 5, 0.5), (2, 11, 3.0)])
def chances(impl, rng, B, W, scale):
    import torch

    x, dy = torch.tensor(soft(rng, B, W)), torch.tensor(rng.standard_normal((B, W)))
    seed = int(rng.integers(2**32))
    model = fill(impl.SoftRule().double(), seed, scale=scale)
    yield from chances_and_gradients(model, x, dy)
    yield "rule", model.rule()


@probe("SoftRule", cases=[(2, 9, 2), (3, 5, 3)])
def steps_in_a_row(impl, rng, B, W, steps):
    import torch

    x, dy = torch.tensor(soft(rng, B, W)), torch.tensor(rng.standard_normal((B, W)))
    seed = int(rng.integers(2**32))
    model = fill(impl.SoftRule().double(), seed, scale=1.5)
    for _ in range(steps):
        x = model(x)
    yield "y", x
    if x.requires_grad:
        torch.sum(x * dy).backward()
    yield "dlogits", model.logits.grad


@probe("SoftRule", cases=[(6, "float32"), (9, "float64")])
def certain_cells(impl, rng, width, dtype):
    import torch

    x, dy = torch.tensor(cells(rng, 3, width)), torch.tensor(rng.standard_normal((3, width)))
    x[1] = width % 2  # a whole row of one kind
    seed, kind = int(rng.integers(2**32)), getattr(torch, dtype)
    model = fill(impl.SoftRule().to(kind), seed, scale=2.0)
    yield from chances_and_gradients(model, x.to(kind), dy.to(kind))


@probe("SoftRule", cases=[(2, 7)])
def rows_of_one_dtype_after_the_other(impl, rng, B, W):
    import torch

    x, dy = torch.tensor(soft(rng, B, W)), torch.tensor(rng.standard_normal((B, W)))
    seed = int(rng.integers(2**32))
    model = fill(impl.SoftRule(), seed, scale=1.5)
    for kind in (torch.float32, torch.float64):
        name = str(kind).removeprefix("torch.")
        yield from chances_and_gradients(model.to(kind), x.to(kind), dy.to(kind), f" in {name}")


@probe("SoftRule", cases=[(3, 5)])
def rows_in_evaluation(impl, rng, B, W):
    """Evaluation is no other law: it follows the logits, and gradients come back."""
    import torch

    x, dy = torch.tensor(soft(rng, B, W)), torch.tensor(rng.standard_normal((B, W)))
    drawn = torch.tensor(1.5 * rng.standard_normal((2, 8)))
    model = impl.SoftRule().double().eval()
    for k, logits in enumerate(drawn):
        with torch.no_grad():
            model.logits.copy_(logits)
        yield from chances_and_gradients(model, x, dy, f" of table {k}")


@probe("SoftRule", cases=[(3.0,), (8.0,)])
def sharp_tables(impl, rng, size):
    """Chances that are close to 0 or 1, and neither."""
    import torch

    x, dy = torch.tensor(soft(rng, 2, 7)), torch.tensor(rng.standard_normal((2, 7)))
    signs = torch.tensor(rng.choice([-1.0, 1.0], size=8) * rng.uniform(1.0, 1.2, size=8))
    model = impl.SoftRule().double()
    with torch.no_grad():
        model.logits.copy_(size * signs)
    yield from chances_and_gradients(model, x, dy)


@probe("SoftRule", cases=[(1e3,), (40.0,)])
def certain_laws(impl, rng, size):
    import torch

    x, signs = torch.tensor(soft(rng, 2, 11)), torch.tensor(rng.choice([-1.0, 1.0], size=8))
    model = impl.SoftRule().double()
    with torch.no_grad():
        model.logits.copy_(size * signs)
    yield "y", observe(model(x), atol=1e-12)
    yield "rule", model.rule()


@probe("SoftRule", cases=[(1e-9,), (1.0,)])
def rules_read_off(impl, rng, size):
    import torch

    drawn = rng.standard_normal((6, 8))
    drawn[np.arange(6), rng.integers(8, size=6)] = 0.0
    model = impl.SoftRule()
    for k in range(6):
        with torch.no_grad():
            model.logits.copy_(torch.tensor(size * drawn[k]))
        yield f"rule {k}", model.rule()
    with torch.no_grad():
        model.logits.copy_(torch.tensor(np.abs(drawn[0]) + 1))
    yield "rule, all above 0", model.rule()
    yield "rule, fresh", impl.SoftRule().rule()


def pictures_and_gradients(model, u, dy, steps, name=""):
    """What a module makes of u, and what comes back; as much of it as there is."""
    u = u.clone().requires_grad_()
    model.zero_grad()
    y = model(u, steps)
    yield f"y{name}", y
    if y.requires_grad:
        (y * dy).sum().backward()
    yield f"du{name}", u.grad
    drate, cancelled = model.rate.grad, 1e-12 if str(u.dtype) == "torch.float64" else 1e-4
    yield f"drate{name}", None if drate is None else observe(drate, atol=cancelled)


@probe("Diffusion")
def a_row_in_torch(impl, rng):
    import torch

    model = impl.Diffusion(0.25)
    yield "parameters", shapes(model)
    yield "kind of numbers", str(model.rate.dtype)
    yield "rate", model.rate
    yield "y", model(torch.tensor([[[1.0, 0.0, 0.0]]]), 2)


@probe(
    "Diffusion",
    cases=[
        (1, 1, 5, 2),
        (3, 3, 4, 3),
        (2, 4, 4, 1),
        (2, 3, 1, 4),
        (4, 2, 2, 5),
        (3, 3, 3, 2),
        (1, 1, 1, 2),
        (2, 5, 3, 12),
    ],
)
def modules(impl, rng, N, H, W, steps):
    import torch

    u = torch.tensor(rng.standard_normal((N, H, W)) + 0.5)
    dy, rate = torch.tensor(rng.standard_normal((N, H, W)) + 0.3), float(rng.integers(4, 16)) / 64
    model = impl.Diffusion(rate).double()
    yield from pictures_and_gradients(model, u, dy, steps)
    yield "rate", model.rate


@probe("Diffusion", cases=[(2, 3, 5, 2)])
def pictures_of_one_dtype_after_the_other(impl, rng, N, H, W, steps):
    import torch

    u, dy = torch.tensor(rng.standard_normal((2, N, H, W)))
    model = impl.Diffusion(float(rng.integers(4, 16)) / 64)
    for kind in (torch.float32, torch.float64):
        name = str(kind).removeprefix("torch.")
        yield from pictures_and_gradients(model.to(kind), u.to(kind), dy.to(kind), steps, f" in {name}")


@probe("Diffusion", cases=[(2, 2, 3, 2)])
def pictures_in_evaluation(impl, rng, N, H, W, steps):
    """Evaluation is no other law: it follows the rate, and gradients come back."""
    import torch

    u, dy, rates = *torch.tensor(rng.standard_normal((2, N, H, W))), rng.uniform(0.05, 0.5, size=2)
    model = impl.Diffusion(0.25).double().eval()
    for k, rate in enumerate(rates.tolist()):
        with torch.no_grad():
            model.rate.fill_(rate)
        yield from pictures_and_gradients(model, u, dy, steps, f" at rate {k}")


@probe("Diffusion", cases=[(2, 2, 3)])
def where_nothing_flows(impl, rng, N, H, W):
    """A rate of 0, or empty glasses: nothing moves, and yet there are gradients."""
    import torch

    u, dy = torch.tensor(rng.standard_normal((2, N, H, W)))
    yield from pictures_and_gradients(impl.Diffusion(0.0).double(), u, dy, 3, " at rate 0")
    yield from pictures_and_gradients(impl.Diffusion(0.25).double(), 0 * u, dy, 2, " of empty glasses")


@probe("Diffusion", cases=[(2, 2, 3, 130)])
def many_steps(impl, rng, N, H, W, steps):
    import torch

    u, dy = torch.tensor(rng.standard_normal((2, N, H, W)))
    yield from pictures_and_gradients(impl.Diffusion(1 / 512).double(), u, dy, steps)


@probe("Diffusion", cases=[(1e-30,)])
def hardly_any_cream(impl, rng, size):
    import torch

    u, dy = size * torch.tensor(rng.random((2, 3, 4))), torch.tensor(rng.standard_normal((2, 3, 4)))
    model = impl.Diffusion(0.1875).double()
    y = model(u, 4)
    yield "y", y
    yield "y of pictures that add up to nothing", model(u - u.flip(1), 3)
    if y.requires_grad:
        (y * dy).sum().backward()
    yield "drate", model.rate.grad


@probe("Diffusion", cases=[(0.05, 0.25), (1e-6, 1e-4), (3.0, 400.0)])
def rates_at_first(impl, rng, least, most):
    rates = rng.uniform(least, most, size=3).tolist()
    for k, rate in enumerate(rates):
        yield f"rate {k}", impl.Diffusion(rate).rate


@probe("Diffusion", cases=[(2, 3, 4)])
def other_rates(impl, rng, N, H, W):
    import torch

    u = torch.tensor(rng.standard_normal((N, H, W)), dtype=torch.float32)
    seed = int(rng.integers(2**32))
    model = fill(impl.Diffusion(0.1), seed, scale=0.2)
    for steps in (1, 0, 3, 1):
        yield f"y after {steps}", model(u, steps)
    yield "y in evaluation", model.eval()(u[:1], 2)
    yield "y with a negative rate", impl.Diffusion(-0.125)(u, 3)
    yield "y with a large rate", impl.Diffusion(1.5)(u, 2)
    yield "y with a rate of 0", impl.Diffusion(0.0)(u, 2)
    yield "y of a large picture", impl.Diffusion(0.125)(1e6 * u, 2)
    yield "kind of numbers", str(model(u, 1).dtype)


@probe("Diffusion", cases=[(30, 20, 25)])
def a_glass_in_torch(impl, rng, H, W, steps):
    import torch

    u = torch.tensor(rng.random((2, H, W)))
    y = impl.Diffusion(0.1875).double()(u, steps)
    yield "first rows of y", y[:, 0, ::7]
    yield "last columns of y", y[:, ::7, -1]
    yield "sums of y", y.sum(dim=(1, 2))
