"""Probes of 06: scores of places with their gradient, decoding, labels of hulls and tours, the loss, torch, a beam.

Sizes differ from each other, and some cases have them all equal; closed places are anywhere, and hold large numbers.
"""

import numpy as np

from autograder.engine.probes import WrongReturn, fill, named, observe, probe, shapes

HALF = np.log(3.0) / 2  # its tanh is 1/2


def draw_pointer(rng, H, G, A):
    """The pointer's parameters, in another order than in the notebook, and one more."""
    p = {"v": rng.standard_normal(A), "W2": rng.standard_normal((G, A)) / np.sqrt(G), "start": np.zeros(1)}
    return p | {"W1": rng.standard_normal((H, A)) / np.sqrt(H)}


def draw_open(rng, B, T, M):
    """True in about three of five places, anywhere, and at least once in a row."""
    open = rng.random((B, T, M)) < 0.6
    open[:, :, M // 2] |= ~open.any(axis=2)
    return open


def draw_whole(rng, D, H):
    """All parameters of the network, large enough for choices to differ from example to example."""
    p = {"end": 0.4 * rng.standard_normal(H), "start": rng.standard_normal(D)}
    for name in ("dec", "enc"):
        p |= {f"Wx_{name}": 1.5 * rng.standard_normal((D, 4 * H)), f"b_{name}": rng.standard_normal(4 * H)}
        p |= {f"Wh_{name}": 1.5 * rng.standard_normal((H, 4 * H)) / np.sqrt(H)}
    return p | {name: 2 * rng.standard_normal((H, H)) for name in ("W1", "W2")} | {"v": 2 * rng.standard_normal(H)}


def few(value, most=6):
    """Some numbers of an array or tensor, from all over it, so that keys stay small."""
    if not hasattr(value, "reshape") or len(flat := value.reshape(-1)) <= most:
        return value
    return flat[:: -(-len(flat) // most) | 1]


# Scores -------------------------------------------------------------------------------------------------------------

ONE = {"W1": np.ones((1, 1)), "W2": np.ones((1, 1)), "v": np.array([2.0])}
THREE = np.array([[[0.0], [HALF], [5.0]]]), np.zeros((1, 1, 1)), np.array([[[True, True, False]]])


@probe("pointer_logits")
def the_third_is_closed(impl, rng):
    yield "u", impl.pointer_logits(ONE, *THREE)[0]


@probe(
    "pointer_logits",
    cases=[
        (1, 1, 1, 1, 1, 3),
        (2, 3, 5, 2, 4, 6),
        (3, 5, 2, 4, 3, 1),
        (3, 3, 3, 3, 3, 3),
        (4, 1, 4, 2, 5, 3),
        (1, 4, 1, 3, 2, 4),
    ],
)
def scores(impl, rng, B, T, M, H, G, A):
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), 1.5 * rng.standard_normal((B, T, G))
    yield "u, all open", impl.pointer_logits(p, E, d, np.ones((B, T, M), dtype=bool))[0]


@probe("pointer_logits", cases=[(3, 4, 5, 2, 3, 4), (3, 4, 4, 4, 4, 4), (1, 3, 6, 2, 2, 3)])
def some_closed(impl, rng, B, T, M, H, G, A):
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), rng.standard_normal((B, T, G))
    yield "u", impl.pointer_logits(p, E, d, draw_open(rng, B, T, M))[0]


@probe("pointer_logits", cases=[(2, 4, 5, 3, 2, 4)])
def rows_with_nothing_open(impl, rng, B, T, M, H, G, A):
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), rng.standard_normal((B, T, G))
    open = draw_open(rng, B, T, M)
    open[0, 1:3] = open[1, 0] = False
    yield "u", impl.pointer_logits(p, E, d, open)[0]


@probe("pointer_logits", cases=[(2, 3, 4, 3, 2, 4)])
def masks_alone_differ(impl, rng, B, T, M, H, G, A):
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), rng.standard_normal((B, T, G))
    masks = [draw_open(rng, B, T, M), np.ones((B, T, M), dtype=bool), np.tile(np.arange(M) > 0, (B, T, 1))]
    for open in masks:
        yield "u", few(impl.pointer_logits(p, E, d, open)[0], 9)


@probe("pointer_logits", cases=[1e6, 1e-6])
def scores_of_another_size(impl, rng, size):
    p, E, d = draw_pointer(rng, 3, 2, 4), rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 3, 2))
    p["v"] = p["v"] * size
    yield "u", impl.pointer_logits(p, E, d, draw_open(rng, 2, 3, 5))[0]


@probe("pointer_logits", cases=[(2, 3, 4, 3, 2, 5)])
def annotations_and_states_are_large_or_zero(impl, rng, B, T, M, H, G, A):
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), rng.standard_normal((B, T, G))
    E[:, 1], d[:, 1], E[0, 2] = 0.0, 0.0, 300.0  # zeros are no sign of padding
    yield "u", impl.pointer_logits(p, E, d, draw_open(rng, B, T, M))[0]


@probe("pointer_logits", cases=[(2, 150, 160, 2, 3, 4)])
def many_places(impl, rng, B, T, M, H, G, A):
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), rng.standard_normal((B, T, G))
    open = draw_open(rng, B, T, M)
    u = impl.pointer_logits(p, E, d, open)[0]
    yield "u", few(u, 40)


# Decoding -----------------------------------------------------------------------------------------------------------


def even_scores(D, H):
    p = {
        f"{part}_{name}": np.zeros(n)
        for name in ("enc", "dec")
        for part, n in (("Wx", (D, 4 * H)), ("Wh", (H, 4 * H)), ("b", 4 * H))
    }
    return p | {
        "start": np.zeros(D),
        "end": np.zeros(H),
        "W1": np.zeros((H, H)),
        "W2": np.zeros((H, H)),
        "v": np.zeros(H),
    }


@probe("greedy_decode", cases=[False, True], part="stops")
def the_first_open_place(impl, rng, stops):
    x = rng.standard_normal((2, 3, 2))
    yield "places", impl.greedy_decode(even_scores(2, 2), x, np.array([2, 3]), stops)


@probe(
    "greedy_decode",
    cases=[
        (B, N, D, H, stops)
        for B, N, D, H in ((1, 1, 1, 1), (1, 5, 2, 3), (6, 7, 2, 3), (4, 4, 4, 4), (5, 6, 1, 4), (7, 3, 3, 2))
        for stops in (False, True)
    ],
    part="stops",
)
def chosen(impl, rng, B, N, D, H, stops):
    p, x = draw_whole(rng, D, H), 1.5 * rng.standard_normal((B, N, D))
    lengths = rng.integers(1, N + 1, size=B)
    lengths[B // 2] = N
    x[np.arange(N) >= lengths[:, None]] = 40.0
    yield "places", impl.greedy_decode(p, x, lengths, stops)


@probe("greedy_decode", cases=[False, True], part="stops")
def all_have_the_same_length(impl, rng, stops):
    p, x = draw_whole(rng, 2, 4), rng.standard_normal((8, 6, 2))
    yield "places", impl.greedy_decode(p, x, np.full(8, 6), stops)


@probe("greedy_decode", cases=[(5, 6, False), (5, 6, True)], part="stops")
def padding_behind_all(impl, rng, B, N, stops):
    p, x = draw_whole(rng, 2, 3), rng.standard_normal((B, N, 2))
    yield "places", impl.greedy_decode(p, x, np.array([4, 1, 3, 4, 2]), stops)


@probe("greedy_decode", cases=[(6, 5)])
def the_usual_value_of_stops(impl, rng, B, N):
    p, x = draw_whole(rng, 2, 3), rng.standard_normal((B, N, 2))
    yield "places", impl.greedy_decode(p, x, np.array([5, 3, 5, 1, 4, 5]))


@probe("greedy_decode", cases=[(6, 6, False), (6, 6, True)], part="stops")
def the_end_wins_at_once(impl, rng, B, N, stops):
    p, x = draw_whole(rng, 2, 3), rng.standard_normal((B, N, 2))
    p["end"] = np.array([9.0, -9.0, 9.0])
    p["v"] = np.abs(p["v"]) * np.sign(np.array([9.0, -9.0, 9.0]) @ p["W1"])
    yield "places", impl.greedy_decode(p, x, np.array([6, 2, 4, 6, 1, 5]), stops)


@probe("greedy_decode", cases=[(40, 8, False), (40, 8, True)], part="stops")
def a_large_batch(impl, rng, B, N, stops):
    p, x = draw_whole(rng, 2, 4), rng.standard_normal((B, N, 2))
    yield "places", impl.greedy_decode(p, x, np.arange(B) % N + 1, stops)


@probe("greedy_decode", cases=[(3, 60, False)], part="stops")
def a_long_list(impl, rng, B, N, stops):
    p, x = draw_whole(rng, 1, 3), rng.standard_normal((B, N, 1))
    yield "places", impl.greedy_decode(p, x, np.array([60, 41, 60]), stops)


@probe("greedy_decode", cases=[(4, 5, False)], part="stops")
def scores_far_below_zero(impl, rng, B, N, stops):
    p, x = draw_whole(rng, 2, 3), rng.standard_normal((B, N, 2))
    p["W1"], p["W2"] = np.abs(p["W1"]), 0.2 * np.abs(p["W2"])
    p["v"] = -1e6 * np.abs(p["v"])
    p["b_enc"], p["b_dec"] = p["b_enc"] + 2.0, p["b_dec"] + 2.0
    yield "places", impl.greedy_decode(p, x, np.array([5, 2, 4, 5]), stops)


# Labels -------------------------------------------------------------------------------------------------------------


@probe("hull_target")
def a_square_with_an_edge_point(impl, rng):
    yield "corners", impl.hull_target(np.array([[2.0, 0], [1, 1], [2, 2], [1, 0], [0, 2], [0, 0]]))


@probe("hull_target", cases=[3, 4, 5, 6, 8, 20, 150])
def corners_of_a_cloud(impl, rng, N):
    for k, P in enumerate(rng.standard_normal((3 if N < 9 else 1, N, 2))):
        yield f"corners of cloud {k}", impl.hull_target(P)


@probe("hull_target", cases=[4, 7, 20])
def all_are_corners(impl, rng, N):
    angle = rng.permutation(N) * 2 * np.pi / N + rng.uniform(0.1, 0.2)
    yield "corners", impl.hull_target(np.stack([2 * np.cos(angle) - 3, np.sin(angle) + 5], axis=1))


@probe("hull_target", cases=[3, 5])
def a_grid(impl, rng, side):
    """Many points on edges, and columns and rows of equal coordinates."""
    P = np.array([(x, y) for x in range(side) for y in range(side + 1)], dtype=float)
    for k, grid in enumerate([rng.permutation(P) - k for k in range(3)]):
        yield f"corners {k}", impl.hull_target(grid)


@probe("hull_target", cases=[1e-3, 1e-30, 1e6])
def clouds_of_other_sizes(impl, rng, size):
    here, far, other = rng.random((12, 2)), rng.random((9, 2)) + 50.0, -rng.random((9, 2)) - 5.0
    yield "corners", impl.hull_target(size * here)
    yield "corners far from the origin", impl.hull_target(size * far)
    yield "corners on the other side", impl.hull_target(size * other)


@probe("hull_target")
def the_lowest_index_is_inside(impl, rng):
    P = rng.standard_normal((9, 2))
    P[0], P[1] = P[2:].mean(axis=0), P[2:5].mean(axis=0)
    yield "corners", impl.hull_target(P)


@probe("hull_target")
def nearly_on_an_edge(impl, rng):
    """A corner that stands out by little is one all the same."""
    P = np.array([[0.0, 0.0], [8, 0], [8, 8], [0, 8], [4, -1e-7], [8 + 1e-7, 4], [3, 3]])
    yield "corners", impl.hull_target(rng.permutation(P))


@probe("hull_target", cases=["beside the origin", "around the origin", "small and far from the origin"])
def slanted_edges(impl, rng, where):
    """Whole numbers, so that every z is exact: what divides, centres or takes angles rounds where nothing should.

    In every other cloud the first point is outermost and has many digits: who moves it to the origin rounds, too.
    """
    clouds = []
    for k in range(8):
        along = rng.integers(11, 99, size=(2, 2)) * [[1.0, 1.0], [-1.0, 1.0]]
        more = 1 + rng.permuted(np.tile(np.arange(16), (4, 1)), axis=1)[:, :5].T
        edges = [point for a, b, c, d in more for point in ((a, 0), (17, b), (c, 17), (0, d))]
        P = rng.permutation([(0, 0), (17, 0), (17, 17), (0, 17), *edges]) @ along
        if where == "around the origin":
            P = P - np.floor(P.mean(axis=0))
        outermost = P.min(axis=0) - rng.uniform(1, 30, size=2)
        if where == "small and far from the origin":  # a sum of powers of two down to 2**-22, as it is in float64
            P = P * 2.0**-22 + rng.integers(7e7, 13e7, size=2) * [1.0, -1.0]
        elif k % 2:
            P = np.vstack([outermost, P])
        clouds.append(P)
    for k, P in enumerate(clouds):
        yield f"corners {k}", impl.hull_target(P)


def turned(rng, P):
    """P with its axes swapped or mirrored, by chance."""
    return P[:, rng.permutation(2)] * rng.choice([-1.0, 1.0], size=2)


@probe("hull_target", cases=[0, 1e8])
def edges_that_hardly_bend(impl, rng, far):
    """Whole numbers again, and products below 2**53: z is 1 or -1 exactly where angles and quotients are equal."""
    clouds = []
    for k in range(36):
        n, bend = rng.integers(85_000_000, 93_000_000), 1 if k % 3 else -1
        P = np.array([[0, 0], [n, n + bend], [n + 1, n + 1 + bend], [n, 5], [n - 9, 8 + rng.integers(9)]], dtype=float)
        clouds.append(rng.permutation(turned(rng, P)) + far)
    for k, P in enumerate(clouds):
        yield f"corners {k}", impl.hull_target(P)


@probe("hull_target", cases=[1e8, -1e8])
def a_small_map_far_away(impl, rng, far):
    """Differences of such coordinates are exact, products are not: of 1e16 the units are lost."""
    for k, P in enumerate(np.array([far, 1e8]) + rng.random((3, 9, 2))):
        yield f"corners {k}", impl.hull_target(P)


@probe("hull_target", cases=[1e-5, 1e-7, 1e-14])
def a_thin_hull(impl, rng, height):
    """However flat: z is small beside the coordinates, and not 0, where angles are all the same."""
    P = np.array([[0.0, 0.0], [1e6, 0], [5e5, height], [2e5, 0]])
    more = np.vstack([P, [[1e5, 0.5 * height], [2e5, 0.8 * height], [3e5, 0.1 * height]]])
    for k, points in enumerate([rng.permutation(P), rng.permutation(more), -rng.permutation(more)]):
        yield f"corners {k}", impl.hull_target(points)


@probe("hull_target")
def equal_left_ends(impl, rng):
    P = np.array([[1.0, 3], [1, 1], [1, 2], [5, -1], [5, 4], [5, 2], [2, 2]])
    for k, points in enumerate([rng.permutation(P) for _ in range(3)]):
        yield f"corners {k}", impl.hull_target(points)


@probe("canonical_tour")
def the_square(impl, rng):
    P = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    yield "tour", impl.canonical_tour(P, [2, 1, 0, 3])
    yield "tour that is canonical already", impl.canonical_tour(P, [0, 1, 2, 3])


@probe("canonical_tour", cases=[3, 4, 5, 6, 7, 9, 30])
def any_closed_path(impl, rng, N):
    clouds, tours = rng.standard_normal((4, N, 2)), [rng.permutation(N).tolist() for _ in range(4)]
    for k in range(4):
        yield f"tour {k}", impl.canonical_tour(clouds[k], tours[k])


@probe("canonical_tour", cases=[1, 2])
def paths_without_area(impl, rng, N):
    P, tours = rng.standard_normal((N, 2)), [list(range(N)), list(range(N))[::-1]]
    for k, tour in enumerate(tours):
        yield f"tour {k}", impl.canonical_tour(P, tour)


@probe("canonical_tour", cases=[4, 5])
def cities_on_a_line(impl, rng, N):
    P = np.stack([rng.permutation(N).astype(float), np.zeros(N)], axis=1)
    for k, tour in enumerate([rng.permutation(N).tolist() for _ in range(4)]):
        yield f"tour {k}", impl.canonical_tour(P, tour)


@probe("canonical_tour", cases=[3, 6, 7])
def cities_on_a_slanted_line(impl, rng, N):
    """Whole numbers: the area is exactly 0, as long as nothing is rounded on the way."""
    lines = [rng.permutation(20)[:N, None] * np.array([45.0, -43.0]) + [7.0, 13.0] for _ in range(4)]
    for k, tour in enumerate([rng.permutation(N).tolist() for _ in lines]):
        yield f"tour {k}", impl.canonical_tour(lines[k], tour)


@probe("canonical_tour", cases=[1e3, 3e4])
def cities_far_away(impl, rng, far):
    """Products of large coordinates almost cancel: float64 is enough for that, float32 is not."""
    clouds = far + rng.random((16, 6, 2))
    for k, tour in enumerate([rng.permutation(6).tolist() for _ in clouds]):
        yield f"tour {k}", impl.canonical_tour(clouds[k], tour)


@probe("canonical_tour", cases=["far away", "next to no area"])
def areas_small_beside_their_sums(impl, rng, what):
    """Whole numbers, and sums below 2**53: the area is exact in whatever order one adds."""
    maps = []
    for _ in range(8):
        n, tour = int(rng.integers(20_000_000, 30_000_000)), rng.permutation(6)
        thin = turned(rng, np.array([[0, 0], [n, n + 1], [n + 1, n + 2]], dtype=float))
        if what == "far away":
            maps.append((n + rng.integers(0, 20, size=(6, 2)).astype(float), tour.tolist()))
        else:
            maps.append((thin, tour[tour < 3].tolist()))
    for k, (P, tour) in enumerate(maps):
        yield f"tour {k}", impl.canonical_tour(P, tour)


@probe("canonical_tour", cases=[1e-30, 1e5])
def tours_of_another_size(impl, rng, size):
    clouds, tours = rng.random((2, 6, 2)), [rng.permutation(6).tolist() for _ in range(2)]
    for shift in (0.0, 40.0, -40.0):
        for k in range(2):
            for turn, tour in (("", tours[k]), (", backwards", tours[k][::-1])):  # one of them is clockwise
                named = f"tour {k}{turn}, cities around {shift:g}"
                yield named, impl.canonical_tour(size * (clouds[k] + shift), tour)


@probe("canonical_tour", cases=[5])
def direction_is_decided_by_the_last_step(impl, rng, N):
    """Paths round the origin, from each city on, in both directions."""
    angle = np.sort(rng.random(N) * 2 * np.pi)
    order = rng.permutation(N)
    P = np.stack([np.cos(angle), np.sin(angle)], axis=1)[order] + 1.5
    ring = order.argsort().tolist()
    for k in range(N):
        for way in (1, -1):
            yield f"ring from {k}, way {way}", impl.canonical_tour(P, (ring[k:] + ring[:k])[::way])


@probe("canonical_tour", cases=[6])
def long_last_steps(impl, rng, N):
    """Far from the origin the last step home, and each coordinate, weigh much."""
    clouds = rng.standard_normal((4, N, 2)) * [1.0, 6.0] + [30.0, -20.0]
    for k, tour in enumerate([rng.permutation(N).tolist() for _ in range(4)]):
        yield f"tour {k}", impl.canonical_tour(clouds[k], tour)


def a_shortest_tour(got, expected, P):
    """Judge a tour by its cities and its length."""
    P, got, N = np.asarray(P), [int(k) for k in np.ravel(got)], len(P)
    if len(got) != N:
        return f"the tour has {len(got)} entries, one for each of {N} cities is asked."
    if sorted(got) != list(range(N)):
        return "the tour doesn't name every city once."
    if got[0] != 0:
        return "the tour doesn't begin with city 0."
    mine, best = (np.linalg.norm(P[t] - P[np.roll(t, -1)], axis=1).sum() for t in (got, np.ravel(expected).astype(int)))
    if mine > best * (1 + 1e-9):
        return f"the tour is {mine:.6g} long; the shortest one is {best:.6g}."
    return None


def exact(value, P):
    """A tour as what it is, or what it returned instead, to be judged."""
    if not isinstance(value, list | tuple | np.ndarray) or not len(value):
        raise WrongReturn("It should return a tour: a list of N int.")
    return observe(np.asarray(value), judge=a_shortest_tour, given={"P": P})


@probe("tsp_exact")
def three_and_a_square(impl, rng):
    for P in (np.array([[0.0, 0], [3, 4], [3, 0]]), np.array([[0.0, 0], [1, 1], [1, 0], [0, 1]])):
        yield f"tour of {len(P)}", exact(impl.tsp_exact(P), P)


@probe("tsp_exact", cases=[1, 2, 3, 4, 5, 6, 7, 8, 9])
def shortest(impl, rng, N):
    for k, P in enumerate(rng.random((4 if N < 8 else 2, N, 2))):
        yield f"tour {k}", exact(impl.tsp_exact(P), P)


@probe("tsp_exact", cases=[10])
def too_many_to_try_all(impl, rng, N):
    P = rng.random((N, 2))
    yield "tour", exact(impl.tsp_exact(P), P)


TRAPS = [(9, 17, 11), (10, 11, 12)]


@probe("tsp_exact", cases=TRAPS)
def where_mending_ends_too_early(impl, rng, a, b, N):
    """Cities for which a tour that no swap and no move shortens is seldom the shortest."""
    P = np.random.default_rng([a, b]).random((N, 2))
    yield "tour", exact(impl.tsp_exact(P), P)


@probe("tsp_exact", cases=[1e6, 1e8])
def far_from_the_origin(impl, rng, far):
    P = rng.random((8, 2)) + far
    yield "tour", exact(impl.tsp_exact(P), P)


@probe("tsp_exact")
def nearly_as_short(impl, rng):
    """Two tours differ in the eighth digit of their lengths, now the one and now the other is shorter."""
    for k, by in enumerate((1e-7, -1e-7)):
        P = np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 3.0], [2.0 + by, 2.0]])
        yield f"tour {k}", exact(impl.tsp_exact(P), P)


@probe("tsp_exact")
def nearly_as_short_twice(impl, rng):
    """Round a ring with two pairs, whose orders hardly differ; each direction must find both by itself."""
    angle, radius = np.array([0, 60, 120, 120, 180, 240, 240, 300]) * np.pi / 180, np.full(8, 10.0)
    radius[[2, 5]], radius[[3, 6]] = 10.5, 9.5
    for k, by in enumerate(((1e-6, -1e-6), (-1e-6, 1e-6))):
        P = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        P[[3, 6]] += np.array(by)[:, None] * np.stack([-np.sin(angle), np.cos(angle)], axis=1)[[3, 6]]
        yield f"tour {k}", exact(impl.tsp_exact(P), P)


@probe("tsp_exact")
def city_0_in_the_middle(impl, rng):
    """All on one line, where a second visit to city 0 costs nothing; each city is visited once all the same."""
    P = np.array([[0.0, 0], [3, 0], [-2, 0], [1, 0], [-5, 0]])
    yield "tour", exact(impl.tsp_exact(P), P)


@probe("tsp_exact", cases=[1e-30, 1e-9, 1e-6, 1e30])
def distances_of_another_size(impl, rng, size):
    for k, P in enumerate(size * (rng.random((4, 7, 2)) - 0.3)):
        yield f"tour {k}", exact(impl.tsp_exact(P), P)


@probe("tsp_exact", cases=[7])
def long_and_flat(impl, rng, N):
    """Euclidean distances are neither squared nor taken along the axes; the way home counts."""
    clouds = rng.standard_normal((3, N, 2)) ** 3
    for k, stretch in enumerate(([1.0, 8.0], [8.0, 1.0], [1.0, 1.0])):
        yield f"tour {k}", exact(impl.tsp_exact(clouds[k] * stretch), clouds[k] * stretch)


@probe("tsp_exact", cases=[8])
def clusters(impl, rng, N):
    for k, P in enumerate(rng.standard_normal((3, N, 2)) + 10 * rng.integers(0, 2, size=(3, N, 2))):
        yield f"tour {k}", exact(impl.tsp_exact(P), P)


@probe("tsp_exact", cases=[7])
def cities_in_one_line(impl, rng, N):
    P = np.stack([rng.permutation(N) * 1.0, np.zeros(N)], axis=1)
    yield "tour", exact(impl.tsp_exact(P), P)


# The loss -----------------------------------------------------------------------------------------------------------


def draw_logits(rng, B, T, M, size=2.0, padding=0.3):
    """Logits with closed places, targets at open ones; some rows are padding, and hold all sorts of things."""
    open = draw_open(rng, B, T, M)
    logits = np.where(open, size * rng.standard_normal((B, T, M)), -np.inf)
    targets = (open * rng.random((B, T, M))).argmax(axis=2)
    pad = rng.random((B, T)) < padding
    pad[0, 0] = False
    targets[pad] = -1
    return logits, targets


@probe("pointer_nll")
def a_quarter(impl, rng):
    row, more = [0.0, np.log(3.0), -np.inf], [5.0, -2.0, 1.0]
    yield from named("loss dlogits", impl.pointer_nll(np.array([[row]]), np.array([[1]])))
    yield from named("loss dlogits", impl.pointer_nll(np.array([[row, more]]), np.array([[1, -1]])))


@probe("pointer_nll", cases=[(1, 1, 1), (1, 4, 5), (3, 4, 6), (5, 2, 3), (4, 4, 4), (6, 1, 2), (2, 7, 3)])
def losses(impl, rng, B, T, M):
    logits, targets = draw_logits(rng, B, T, M)
    loss, dlogits = (value for _, value in named("loss dlogits", impl.pointer_nll(logits, targets)))
    yield "loss", loss
    yield "dlogits", observe(few(dlogits, 40), atol=1e-12)


@probe("pointer_nll", cases=[(3, 4, 5)])
def nothing_closed_and_no_padding(impl, rng, B, T, M):
    logits, targets = rng.standard_normal((B, T, M)), rng.integers(M, size=(B, T))
    yield from named("loss dlogits", impl.pointer_nll(logits, targets))


@probe("pointer_nll", cases=[(4, 6, 3)])
def very_different_lengths(impl, rng, B, T, M):
    logits, targets = draw_logits(rng, B, T, M, padding=0.0)
    targets[np.arange(T) >= np.array([[6], [1], [2], [4]])] = -1
    yield from named("loss dlogits", impl.pointer_nll(logits, targets))


@probe("pointer_nll", cases=[(3, 4, 5)])
def one_real_step(impl, rng, B, T, M):
    logits, targets = draw_logits(rng, B, T, M, padding=0.0)
    keep = int(targets[1, 2])
    targets[:] = -1
    targets[1, 2] = keep
    yield from named("loss dlogits", impl.pointer_nll(logits, targets))


@probe("pointer_nll", cases=[(3, 5, 4)])
def padding_in_front(impl, rng, B, T, M):
    """What is real is said by each target alone, wherever it stands."""
    logits, targets = draw_logits(rng, B, T, M, padding=0.0)
    targets[np.arange(T) < np.array([[2], [0], [4]])] = -1
    yield from named("loss dlogits", impl.pointer_nll(logits, targets))


@probe("pointer_nll", cases=[1e3, 1e4])
def large_numbers(impl, rng, size):
    logits, targets = draw_logits(rng, 3, 4, 5, size=size)
    yield from named("loss dlogits", impl.pointer_nll(logits, targets))
    yield from named("loss dlogits", impl.pointer_nll(logits + 9 * size, targets))
    yield from named("loss dlogits", impl.pointer_nll(logits - 9 * size, targets))


@probe("pointer_nll", cases=["closed", "nan", "large", "infinite"])
def padding_holds_anything(impl, rng, what):
    logits, targets = draw_logits(rng, 3, 5, 4)
    targets[1, 2], targets[2, 4], targets[2, 3] = -1, -1, -1
    number = {"closed": -np.inf, "nan": np.nan, "large": 1e6, "infinite": np.inf}[what]
    logits[targets < 0] = number
    yield from named("loss dlogits", impl.pointer_nll(logits, targets))


@probe("pointer_nll", cases=[(3, 4, 5)])
def certain_and_wrong(impl, rng, B, T, M):
    logits, targets = rng.standard_normal((B, T, M)), rng.integers(M, size=(B, T))
    np.put_along_axis(logits, (targets[:, :, None] + 1) % M, 60.0, axis=2)
    np.put_along_axis(logits[:1], targets[:1, :, None], 99.0, axis=2)
    yield from named("loss dlogits", impl.pointer_nll(logits, targets))


@probe("pointer_nll", cases=[(2, 3, 4)])
def the_first_and_the_last_place(impl, rng, B, T, M):
    logits = rng.standard_normal((B, T, M))
    for k in (0, M - 1):
        yield from named("loss dlogits", impl.pointer_nll(logits, np.full((B, T), k)))


@probe("pointer_nll", cases=[(300, 5, 3)])
def many_examples(impl, rng, B, T, M):
    logits, targets = draw_logits(rng, B, T, M)
    loss, dlogits = impl.pointer_nll(logits, targets)
    yield "loss", loss
    yield "dlogits", few(dlogits, 40)


# Backward -----------------------------------------------------------------------------------------------------------


def back(values, part=lambda value: value):
    """Gradients of both inputs and those under the parameters' names."""
    for name, value in named("dE dd grads", values):
        if name != "grads":
            yield name, part(value)
            continue
        if not isinstance(value, dict):
            raise WrongReturn("The gradients of the parameters should come in a dict, under W1, W2 and v.")
        yield "names of the gradients", [key for key in ("W1", "W2", "v") if key in value]
        for key in ("W1", "W2", "v"):
            if key in value:
                yield f"d{key}", part(value[key])


@probe("pointer_backward")
def the_third_is_closed_backward(impl, rng):
    _, cache = impl.pointer_logits(ONE, *THREE)
    yield from back(impl.pointer_backward(np.ones((1, 1, 3)), cache))


@probe(
    "pointer_backward",
    cases=[
        (1, 1, 1, 1, 1, 1),
        (1, 3, 4, 2, 3, 2),
        (2, 3, 5, 2, 4, 6),
        (3, 5, 2, 4, 3, 2),
        (3, 3, 3, 3, 3, 3),
        (4, 1, 4, 2, 5, 3),
        (3, 4, 1, 3, 2, 4),
    ],
)
def gradients(impl, rng, B, T, M, H, G, A):
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), rng.standard_normal((B, T, G))
    du = rng.standard_normal((B, T, M))
    _, cache = impl.pointer_logits(p, E, d, np.ones((B, T, M), dtype=bool))
    yield from back(impl.pointer_backward(du, cache), lambda value: few(value, 12))


@probe("pointer_backward", cases=[(3, 4, 5, 2, 3, 4), (4, 4, 4, 4, 4, 4), (1, 2, 6, 3, 2, 2)])
def gradients_where_some_are_closed(impl, rng, B, T, M, H, G, A):
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), rng.standard_normal((B, T, G))
    open, du = draw_open(rng, B, T, M), rng.standard_normal((B, T, M))
    du[~open] *= 30.0
    open[0, 0], du[0, 0] = False, 7.0
    _, cache = impl.pointer_logits(p, E, d, open)
    yield from back(impl.pointer_backward(du, cache), lambda value: few(value, 12))


@probe("pointer_backward", cases=[(2, 3, 5, 3, 2, 4)])
def a_place_that_is_never_open(impl, rng, B, T, M, H, G, A):
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), rng.standard_normal((B, T, G))
    open, du = np.ones((B, T, M), dtype=bool), rng.standard_normal((B, T, M))
    open[0, :, 1] = open[1, 2] = False
    _, cache = impl.pointer_logits(p, E, d, open)
    dE, dd, _ = (value for _, value in named("dE dd grads", impl.pointer_backward(du, cache)))
    yield "dE", dE
    yield "dd", dd


@probe("pointer_backward", cases=[1e-9, 1e9])
def upstream_of_another_size(impl, rng, size):
    p, E, d = draw_pointer(rng, 3, 2, 5), rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 3, 2))
    open, du = draw_open(rng, 2, 3, 4), size * rng.standard_normal((2, 3, 4))
    _, cache = impl.pointer_logits(p, E, d, open)
    yield from back(impl.pointer_backward(du, cache), few)


@probe("pointer_backward", cases=[(2, 3, 4, 3, 2, 4)])
def saturated(impl, rng, B, T, M, H, G, A):
    """Where tanh is flat little comes through, and exactly where it isn't, all does."""
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), rng.standard_normal((B, T, G))
    E[0], E[1, 0], d[1, 0] = 6.0 * E[0], 0.0, 0.0
    du = rng.standard_normal((B, T, M))
    _, cache = impl.pointer_logits(p, E, d, np.ones((B, T, M), dtype=bool))
    yield from back(impl.pointer_backward(du, cache), lambda value: few(value, 12))


@probe("pointer_backward", cases=[(2, 3, 4, 3, 2, 4)])
def two_caches(impl, rng, B, T, M, H, G, A):
    """A cache is read, whatever was called since, and as often as one likes."""
    p = draw_pointer(rng, H, G, A)
    E, d, du = (rng.standard_normal((2, B, *n)) for n in ((M, H), (T, G), (T, M)))
    open = draw_open(rng, B, T, M)
    caches = [impl.pointer_logits(p, E[k], d[k], open)[-1] for k in range(2)]
    for said, k in (("first cache", 0), ("second cache", 1), ("first cache once more", 0)):
        for name, value in back(impl.pointer_backward(du[k], caches[k]), few):
            if name in ("dE", "dW1", "dW2"):
                yield f"{name} from the {said}", value


@probe("pointer_backward", cases=[(3, 40, 41, 64, 96, 80), (2, 160, 150, 4, 3, 5)])
def too_large_for_differences(impl, rng, B, T, M, H, G, A):
    p, E, d = draw_pointer(rng, H, G, A), rng.standard_normal((B, M, H)), rng.standard_normal((B, T, G))
    open, du = draw_open(rng, B, T, M), rng.standard_normal((B, T, M))
    _, cache = impl.pointer_logits(p, E, d, open)
    yield from back(impl.pointer_backward(du, cache), few)


# Torch --------------------------------------------------------------------------------------------------------------

SOME, ALL = True, False
TORCH = [(1, 1, 1, 1, ALL), (4, 5, 2, 3, SOME), (3, 3, 3, 3, ALL), (3, 3, 3, 3, SOME), (5, 4, 1, 2, ALL)]


def draw_targets(rng, lengths, N, stops):
    """Orders of items, the end (N), and -1 behind it."""
    targets = np.full((len(lengths), N + 1), -1)
    for row, n in zip(targets, lengths, strict=True):
        m = rng.integers(1, n + 1) if stops else n
        row[:m], row[m] = rng.permutation(n)[:m], N
    return targets


def draw_batch(rng, B, N, D, stops):
    lengths = rng.integers(1, N + 1, size=B)
    lengths[B // 2] = N
    x = rng.standard_normal((B, N, D))
    x[np.arange(N) >= lengths[:, None]] *= 40.0
    return x, lengths, draw_targets(rng, lengths, N, stops)


def all_tensors(*arrays):
    import torch

    return [torch.from_numpy(np.asarray(a)) for a in arrays]


def network(impl, D, H, stops=False, seed=5, double=True):
    net = fill(impl.PointerNet(D, H, stops), seed, scale=0.8)
    return net.double() if double else net


def finite(u):
    """Logits with -inf as a large number whose gradient is 0."""
    import torch

    return torch.where(torch.isinf(u), torch.zeros_like(u), u)


@probe("PointerNet")
def equal_scores(impl, rng):
    x, lengths, targets = all_tensors(rng.standard_normal((1, 3, 2)), np.array([3]), np.array([[2, 0, 1, 3]]))
    net = network(impl, 2, 3)
    net.v.weight.data.zero_()
    yield "logits", net(x, lengths, targets)
    net.stops = True
    yield "logits with stops", net(x, lengths, targets)
    yield "shapes of the parameters", shapes(net)


@probe("PointerNet", cases=[*TORCH, (2, 9, 2, 4, SOME)])
def logits_and_gradients(impl, rng, B, N, D, H, stops):
    x, lengths, targets = all_tensors(*draw_batch(rng, B, N, D, stops))
    up = rng.standard_normal((B, N + 1, N + 1))
    net = network(impl, D, H, stops)
    x.requires_grad_()
    u = net(x, lengths, targets)
    yield "logits", few(u, 40)
    yield "sum of the finite logits of each step", finite(u).sum(dim=2)
    (finite(u) * all_tensors(up)[0]).sum().backward()
    yield "dx", few(x.grad, 12)
    for name, w in sorted(net.named_parameters()):
        if "bias_hh" not in name:  # the same as bias_ih
            yield f"d{name}", observe(few(w.grad, 4), atol=1e-10)


@probe("PointerNet", cases=[(4, 6, 2, 3), (1, 4, 1, 2), (3, 3, 3, 3)])
def encodings(impl, rng, B, N, D, H):
    x, lengths, _ = draw_batch(rng, B, N, D, False)
    lengths[-1] = max(1, N - 2)
    net = network(impl, D, H)
    E, state = net.encode(*all_tensors(x, lengths))
    yield "annotations", few(E, 40)
    if not isinstance(state, tuple | list) or len(state) != 2:
        raise WrongReturn("encode should return annotations and the state, a pair (h, c).")
    yield "h", state[0]
    yield "c", state[1]


@probe("PointerNet", cases=[(3, 5)])
def all_shorter_than_the_batch(impl, rng, B, N):
    x, lengths = rng.standard_normal((B, N, 2)), np.array([3, 1, 2])
    targets = draw_targets(rng, lengths, N, True)
    net = network(impl, 2, 3, True)
    E, (h, _) = net.encode(*all_tensors(x, lengths))
    yield "annotations", E
    yield "h", h
    yield "logits", few(net(*all_tensors(x, lengths, targets)), 40)


@probe("PointerNet", cases=[(2, 3, 5, 4), (3, 3, 3, 3), (1, 1, 2, 3), (4, 1, 6, 2)])
def points(impl, rng, B, T, M, H):
    E, d, open = rng.standard_normal((B, M, H)), rng.standard_normal((B, T, H)), draw_open(rng, B, T, M)
    open[-1, -1] = False
    net = network(impl, 2, H)
    yield "logits of point", net.point(*all_tensors(E, d, open))


@probe("PointerNet", cases=[(3, 4)])
def shorter_targets(impl, rng, B, N):
    """Fewer steps than items, and more."""
    x, lengths, targets = rng.standard_normal((B, N, 2)), np.array([4, 2, 3]), np.array([[1, 3], [0, 4], [2, 0]])
    long = np.hstack([draw_targets(rng, lengths, N, True), np.full((B, 3), -1)])
    net = network(impl, 2, 3, True)
    yield "logits of two steps", net(*all_tensors(x, lengths, targets))
    yield "logits with padding behind", few(net(*all_tensors(x, lengths, long)), 40)


@probe("PointerNet", cases=[(3, 5), (2, 12)])
def other_numbers_of_items(impl, rng, B, N):
    batches = {n: draw_batch(rng, B, n, 2, False) for n in (N, N + 3, 2)}
    net = network(impl, 2, 4)
    for n, batch in batches.items():
        yield f"logits of {n}", few(net(*all_tensors(*batch)), 24)


@probe("PointerNet")
def in_single_precision(impl, rng):
    x, lengths, targets = draw_batch(rng, 3, 4, 2, True)
    net = network(impl, 2, 4, True, double=False)
    yield "logits", net(*all_tensors(x.astype(np.float32), lengths, targets))


@probe("PointerNet")
def scores_below_any_floor(impl, rng):
    E, d, open = 2 + np.abs(rng.standard_normal((2, 5, 4))), np.zeros((2, 3, 4)), draw_open(rng, 2, 3, 5)
    net = network(impl, 2, 4)
    net.W1.weight.data.abs_()
    net.v.weight.data = -1e30 * (1 + net.v.weight.data.abs())
    yield "logits of point", net.point(*all_tensors(E, d, open))


@probe("PointerNet", cases=[True, False])
def again_in_another_mode(impl, rng, stops):
    batch = all_tensors(*draw_batch(rng, 3, 4, 2, stops))
    E, d, open = all_tensors(rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 3, 3)), draw_open(rng, 2, 3, 4))
    open[1, 2] = False
    net = network(impl, 2, 3, stops).eval()
    yield "logits in evaluation mode", few(net(*batch), 20)
    yield "logits of point in evaluation mode", net.point(E, d, open)
    yield "logits of point in training mode", net.train().point(E, d, open)


@probe("PointerNet")
def gradients_of_the_methods(impl, rng):
    x, lengths, _ = draw_batch(rng, 3, 4, 2, False)
    x, lengths = all_tensors(x, lengths)
    ups = all_tensors(*(rng.standard_normal(n) for n in ((3, 5, 3), (1, 3, 3), (1, 3, 3), (2, 5, 4))))
    places, states = all_tensors(rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 5, 3)))
    open = all_tensors(draw_open(rng, 2, 5, 4))[0]
    net = network(impl, 2, 3)
    E, (h, c) = net.encode(x.requires_grad_(), lengths)
    sum((value * up).sum() for value, up in zip((E, h, c), ups, strict=False)).backward()
    yield "dx of encode", x.grad
    yield "dend", net.end.grad
    u = net.point(places.requires_grad_(), states.requires_grad_(), open)
    (finite(u) * ups[3]).sum().backward()
    yield "dE of point", places.grad
    yield "dd of point", states.grad


# The beam -----------------------------------------------------------------------------------------------------------


def by_hand():
    """The table of Figure 14: rows by the last pointer, the first row for none."""
    import torch

    table = torch.log(
        torch.tensor([[0.55, 0.45, 0, 0], [0, 0.5, 0.499, 0], [0.1, 0, 0.9, 0], [1.0, 1.0, 0, 0]], dtype=torch.float64)
    )
    table[:, 3] = torch.where(torch.isinf(table[:, 3]), torch.zeros(4, dtype=torch.float64), table[:, 3])

    def step(paths, state, open):
        no_longer(paths, 3)
        logp = table[paths[:, -1] + 1 if paths.shape[1] else torch.zeros(len(paths), dtype=torch.long)]
        left = torch.where(open[:, :3].any(dim=1, keepdim=True), logp, torch.zeros_like(logp))
        alone = open.sum(dim=1, keepdim=True) == 1
        return torch.where(alone, torch.zeros_like(left), left), state

    return step, torch.zeros(1, 1, dtype=torch.float64)


def no_longer(paths, N):
    """Every item once and then the end: what has N pointers lives for one step more, and no step is asked for later."""
    if paths.shape[1] > N:
        raise WrongReturn(
            f"step was called for a path of {paths.shape[1]} pointers though there are {N} items: "
            "items were named twice, or a path lives on that has ended or has probability 0."
        )


def recurrent(rng, N, S=3, sharp=2.0, like_end=0.0, junk=False):
    """Hypotheses whose states move with every pointer; at closed places there may be anything."""
    import torch

    W, U, V = (torch.from_numpy(rng.standard_normal(n)) for n in ((S, S), (N + 1, S), (S, N + 1)))

    def step(paths, state, open):
        no_longer(paths, N)
        if paths.shape[1]:
            state = torch.tanh(state @ W + U[paths[:, -1]])
        u = sharp * state @ V
        u[:, N] += like_end
        logp = torch.log_softmax(torch.where(open, u, u.new_tensor(-np.inf)), dim=1)
        return (torch.where(open, logp, torch.full_like(logp, 3.0)) if junk else logp), state

    return step, torch.from_numpy(rng.standard_normal((1, S)))


def found(values, most=8):
    """What a beam returned, as paths, lengths and sums."""
    if not isinstance(values, list | tuple):
        raise WrongReturn("It should return a list of (places, log p).")
    for item in values:
        if not isinstance(item, list | tuple) or len(item) != 2:
            raise WrongReturn("Each entry should be a pair: places, and their log p.")
    yield "how many", len(values)
    yield "best paths", [[int(k) for k in path] for path, _ in values[:most]]
    yield "their log p", observe(np.array([float(logp) for _, logp in values[:most]]), rtol=1e-5)


@probe("beam_search", cases=[(1, False), (2, False), (9, False)], part="stops")
def greedy_misses_the_best(impl, rng, width, stops):
    step, state = by_hand()
    yield from found(impl.beam_search(step, state, 3, width, stops))


@probe("beam_search", cases=[(3, False), (4, False), (3, True), (4, True)], part="stops")
def with_room_for_all(impl, rng, N, stops):
    step, state = recurrent(rng, N)
    yield from found(impl.beam_search(step, state, N, 200, stops))


@probe(
    "beam_search",
    cases=[
        (N, width, stops)
        for N, width in ((1, 3), (2, 1), (5, 1), (5, 3), (6, 2), (8, 5), (7, 20))
        for stops in (False, True)
    ],
    part="stops",
)
def narrow(impl, rng, N, width, stops):
    step, state = recurrent(rng, N, like_end=-1.0 if N > 3 else 0.0)
    yield from found(impl.beam_search(step, state, N, width, stops))


@probe("beam_search", cases=[(5, 3, False), (5, 3, True), (6, 1, True)], part="stops")
def closed_places_hold_anything(impl, rng, N, width, stops):
    step, state = recurrent(rng, N, junk=True)
    yield from found(impl.beam_search(step, state, N, width, stops))


@probe("beam_search", cases=[(6, 4)])
def stops_left_out(impl, rng, N, width):
    step, state = recurrent(rng, N)
    yield from found(impl.beam_search(step, state, N, width))


@probe("beam_search", cases=[(5, 4, 6.0, True), (5, 3, -9.0, True)], part="stops")
def ends_early_or_late(impl, rng, N, width, like_end, stops):
    step, state = recurrent(rng, N, like_end=like_end)
    yield from found(impl.beam_search(step, state, N, width, stops))


@probe("beam_search", cases=[(5, 6, False), (5, 30, True), (3, 9, False), (3, 9, True)], part="stops")
def some_are_impossible(impl, rng, N, width, stops):
    """Item 2 never follows item 0, and item 1 never comes first."""
    import torch

    inner, state = recurrent(rng, N)

    def step(paths, state, open):
        logp, state = inner(paths, state, open)
        if not paths.shape[1]:
            logp[:, 1] = -torch.inf
        else:
            logp[paths[:, -1] == 0, 2] = -torch.inf
        return logp, state

    yield from found(impl.beam_search(step, state, N, width, stops))


@probe("beam_search", cases=[(12, 4, False)], part="stops")
def many_items_and_small_sums(impl, rng, N, width, stops):
    inner, state = recurrent(rng, N, sharp=1.0)

    def step(paths, state, open):
        logp, state = inner(paths, state, open)
        return logp - 80.0, state

    yield from found(impl.beam_search(step, state, N, width, stops), 4)


@probe("beam_search", cases=[(4, 30, False)], part="stops")
def hardly_possible_is_possible(impl, rng, N, width, stops):
    """However far below the best a path lies: it is finite, and there is room for it."""
    step, state = recurrent(rng, N, sharp=1e12)
    yield from found(impl.beam_search(step, state, N, width, stops))


@probe("beam_search", cases=[(5, 4)])
def what_step_is_told(impl, rng, N, width):
    """Paths and open places of every call belong together, in each of its rows."""
    import torch

    inner, state = recurrent(rng, N)
    told = {"open fits the path": [], "the end is open": [], "paths are int64": []}

    def step(paths, state, open):
        for path, row in zip(paths.tolist(), open[:, :N].tolist(), strict=True):
            told["open fits the path"].append(sorted([*path, *(j for j in range(N) if row[j])]) == list(range(N)))
        told["the end is open"] += open[:, N].tolist()
        told["paths are int64"].append(paths.dtype == torch.int64)
        return inner(paths, state, open)

    yield "how many", len(impl.beam_search(step, state, N, width, True))
    for name, values in told.items():
        yield name, all(values)


@probe("beam_search", cases=[(4, 3, False), (4, 3, True)], part="stops")
def in_double_precision(impl, rng, N, width, stops):
    """Sums that differ late: states are handed on as they are."""
    step, state = recurrent(rng, N, S=6, sharp=0.5)
    yield from found(impl.beam_search(step, state, N, width, stops))
