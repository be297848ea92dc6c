"""Probes of 12: messages, gated update, readout and the whole network with their gradients; colours; torch's network.

Graphs are directed, with edges that occur twice and loops, atoms that receive or send nothing, kinds of bond that don't
occur, molecules without atoms, and atoms of a molecule that do not lie side by side.
"""

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

GRU, READ = ("Wm", "Wh", "bm", "bh"), ("Wi", "bi", "Wj", "bj")

GRAPHS = [  # V, E, B, d, k
    (6, 14, 4, 4, 2),
    (7, 9, 5, 3, 3),
    (4, 30, 2, 2, 5),
    (9, 20, 1, 5, 4),
    (3, 7, 3, 3, 3),  # no size tells axes apart
    (1, 3, 3, 3, 2),
    (8, 5, 7, 1, 1),
    (5, 1, 2, 2, 6),
]


def eighths(values):
    """The odd multiples of 1/8 nearest below: numbers that a key keeps in few bytes, none of them zero."""
    return (np.floor(4 * values) + 0.5) / 4


def normal(rng, *shape, shift=0.3):
    """Numbers of order one whose mean is not zero."""
    return eighths(rng.standard_normal(shape) + shift)


def draw_edges(rng, V, E, B):
    """Edges that go one way; the last atom receives nothing and the second sends nothing, where there are several.

    A third of the edges occur twice. The last kind of bond does not occur, nor does a middle one if there are many.
    """
    src, dst = rng.integers(V, size=E), rng.integers(max(1, V - 1), size=E)
    if V > 2:
        src = np.where(src == 1, 0, src)
    kinds = np.delete(np.arange(B), [B // 2, B - 1] if B > 3 else [B - 1] if B > 1 else [])
    bond = kinds[rng.integers(len(kinds), size=E)]
    again = np.arange(E) % 3 == 2
    src[again], dst[again] = src[np.flatnonzero(again) - 1], dst[np.flatnonzero(again) - 1]
    return src, dst, bond


def draw_messages(rng, V, E, B, d, k):
    """Arguments of edge_messages_forward."""
    src, dst, bond = draw_edges(rng, V, E, B)
    return normal(rng, V, d), src, dst, bond, normal(rng, B, k, d)


def all_zero(got, expected):
    """Whether an array is of the right shape and zero: what no edge and no atom leads to, in whatever dtype."""
    if np.shape(got) != np.shape(expected):
        return f"its shape is {np.shape(got)}; {np.shape(expected)} is expected."
    return "all of it is zero here; yours is not." if np.any(got) else None


def zeros(value):
    """A value that is to be zero everywhere."""
    return observe(value, judge=all_zero)


HAND = (np.array([[1.0], [2.0], [3.0]]), np.array([0, 2]), np.array([1, 1]), np.array([0, 1]))
HAND_A = np.array([[[10.0]], [[100.0]]])


@probe("edge_messages_forward")
def three_atoms_by_hand(impl, rng):
    yield "m", impl.edge_messages_forward(*HAND, HAND_A)[0]


@probe("edge_messages_forward", cases=GRAPHS)
def messages(impl, rng, V, E, B, d, k):
    yield "m", impl.edge_messages_forward(*draw_messages(rng, V, E, B, d, k))[0]


@probe("edge_messages_forward", cases=[(5, 0, 2, 3, 4), (2, 0, 3, 2, 2)])
def no_edges(impl, rng, V, E, B, d, k):
    h, A = normal(rng, V, d), normal(rng, B, k, d)
    none = np.zeros(0, dtype=np.int64)
    yield "m", zeros(impl.edge_messages_forward(h, none, none.copy(), none.copy(), A)[0])


@probe("edge_messages_forward", cases=[(6, 3, 2, 4), (5, 2, 3, 3)])
def bonds_both_ways(impl, rng, V, B, d, k):
    """A molecule: a tree, every bond two edges, of one kind; the last atom is not bonded."""
    parent = np.array([int(rng.integers(v)) for v in range(1, V)])
    child, kinds = np.arange(1, V), rng.integers(B, size=V - 1)
    src, dst = np.concatenate([parent, child]), np.concatenate([child, parent])
    h, A = normal(rng, V + 1, d), normal(rng, B, k, d)
    yield "m", impl.edge_messages_forward(h, src, dst, np.concatenate([kinds, kinds]), A)[0]


@probe("edge_messages_forward", cases=[(1e6,), (1e-7,)])
def messages_of_any_size(impl, rng, size):
    h, src, dst, bond, A = draw_messages(rng, 5, 12, 3, 3, 2)
    yield "m", impl.edge_messages_forward(size * h, src, dst, bond, A)[0]


@probe("edge_messages_forward", cases=[(300, 2000, 5, 12, 9)])
def a_larger_graph(impl, rng, V, E, B, d, k):
    m = impl.edge_messages_forward(*draw_messages(rng, V, E, B, d, k))[0]
    yield "shape of m", list(m.shape)
    yield "m, some rows", m[::71]
    yield "sums of m", m.sum(axis=0)


# The update ---------------------------------------------------------------------------------------------------------

UPDATES = [(4, 3, 2), (1, 2, 5), (5, 4, 4), (3, 3, 3), (2, 1, 1), (6, 1, 3), (3, 5, 1)]  # V, d, k


def draw_gru(rng, V, d, k):
    """States, messages and weights of gru_forward."""
    shapes_of = ((V, d), (V, k), (3 * d, k), (3 * d, d), (3 * d,), (3 * d,))
    return [normal(rng, *shape, shift=0.1) for shape in shapes_of]


def silence(h, m, silent):
    """Every second atom hears nothing, or remembers nothing: rows of m or of h, or of both, are exactly 0."""
    for name, rows in (("m", m), ("h", h)):
        if silent in (name, "both"):
            rows[::2] = 0.0


def gru_by_hand():
    """h, m, Wm, Wh, bm, bh of the example."""
    none = np.zeros(3)
    one, two = np.array([[0.0], [1.0], [0.0]]), np.array([[0.0], [0.0], [2.0]])
    return np.ones((1, 1)), np.full((1, 1), np.log(3)), one, two, none, none.copy()


@probe("gru_forward")
def one_atom_by_hand(impl, rng):
    yield "h'", impl.gru_forward(*gru_by_hand())[0]


@probe("gru_forward", cases=UPDATES)
def updates(impl, rng, V, d, k):
    yield "h'", impl.gru_forward(*draw_gru(rng, V, d, k))[0]


@probe("gru_forward", cases=[(20.0,), (1e3,), (1e5,)])
def far_out_messages(impl, rng, size):
    h, m, *weights = draw_gru(rng, 5, 3, 2)
    yield "h'", impl.gru_forward(h, size * m, *weights)[0]


@probe("gru_forward", cases=[("m", 5, 3, 2), ("h", 4, 2, 3), ("m", 1, 3, 4), ("both", 3, 2, 2)])
def atoms_without_messages_or_memory(impl, rng, silent, V, d, k):
    h, m, *weights = draw_gru(rng, V, d, k)
    silence(h, m, silent)
    yield "h'", impl.gru_forward(h, m, *weights)[0]


@probe("gru_forward", cases=[(3.0,), (1e-4,)])
def states_of_other_sizes(impl, rng, size):
    h, m, *weights = draw_gru(rng, 4, 2, 3)
    yield "h'", impl.gru_forward(size * h, size * m, *weights)[0]


@probe("gru_forward", cases=[(300, 40, 70)])
def many_atoms_at_once(impl, rng, V, d, k):
    h, m, Wm, Wh, bm, bh = draw_gru(rng, V, d, k)
    h_new = impl.gru_forward(h, m, Wm / np.sqrt(k), Wh / np.sqrt(d), bm, bh)[0]
    yield "shape of h'", list(h_new.shape)
    yield "h', some rows", h_new[::71, ::13]
    yield "sum of h'", h_new.sum()


@probe("gru_forward", cases=[(0,), (1,), (2,)])
def one_block_of_biases(impl, rng, block):
    h, m, Wm, Wh, bm, bh = draw_gru(rng, 3, 2, 2)
    only = np.repeat(np.arange(3) == block, 2)
    yield "h', biases of the messages' side", impl.gru_forward(h, m, Wm, Wh, bm * only, 0 * bh)[0]
    yield "h', biases of the states' side", impl.gru_forward(h, m, Wm, Wh, 0 * bm, bh * only)[0]


# The readout --------------------------------------------------------------------------------------------------------

READOUTS = [  # V, d, c, o, G
    (7, 3, 2, 2, 4),
    (1, 2, 4, 2, 3),
    (9, 4, 2, 3, 5),
    (3, 3, 3, 3, 3),  # no size tells axes apart
    (5, 1, 1, 1, 4),
    (6, 2, 2, 4, 1),
]


def draw_readout(rng, V, d, c, o, G):
    """Arguments of readout_forward; the last molecule has no atoms, nor has the second if there are many."""
    full = np.delete(np.arange(G), [1, G - 1] if G > 3 else [G - 1] if G > 1 else [])
    graph = full[rng.permutation(V) % len(full)]
    weights = normal(rng, o, d + c, shift=0.0), normal(rng, o), normal(rng, o, d), normal(rng, o)
    return normal(rng, V, d), normal(rng, V, c), graph, G, *weights


def readout_by_hand():
    """The example's arguments."""
    h, h0, graph = np.array([[1.0], [2.0], [4.0]]), np.array([[0.0], [1.0], [0.0]]), np.array([0, 0, 2])
    return h, h0, graph, 3, np.array([[0.0, np.log(3)]]), np.zeros(1), np.full((1, 1), 2.0), np.ones(1)


@probe("readout_forward")
def three_offers_by_hand(impl, rng):
    yield "y", impl.readout_forward(*readout_by_hand())[0]


@probe("readout_forward", cases=READOUTS)
def readouts(impl, rng, V, d, c, o, G):
    yield "y", impl.readout_forward(*draw_readout(rng, V, d, c, o, G))[0]


@probe("readout_forward", cases=[(6, 3, 3), (4, 1, 2)])
def more_molecules_than_before(impl, rng, V, d, c):
    h, h0, graph, _, *weights = draw_readout(rng, V, d, c, 3, 3)
    for G in (3, 5, 4, 3):
        yield f"y of {G} molecules", impl.readout_forward(h, h0, graph, G, *weights)[0]


@probe("readout_forward", cases=[(40.0,), (1e4,)])
def far_out_gates(impl, rng, size):
    h, h0, graph, G, Wi, bi, Wj, bj = draw_readout(rng, 6, 3, 2, 2, 2)
    yield "y", impl.readout_forward(h, h0, graph, G, size * Wi, size * bi, Wj, bj)[0]


@probe("readout_forward", cases=[(900, 5, 3, 2, 260)])
def many_molecules(impl, rng, V, d, c, o, G):
    y = impl.readout_forward(*draw_readout(rng, V, d, c, o, G))[0]
    yield "shape of y", list(y.shape)
    yield "y, some rows", y[::37]
    yield "sums of y", y.sum(axis=0)


@probe("readout_forward", cases=[(2, 3)])
def no_atoms(impl, rng, d, G):
    _, _, _, _, *weights = draw_readout(rng, 1, d, d, 2, G)
    h = np.zeros((0, d))
    yield "y", zeros(impl.readout_forward(h, h.copy(), np.zeros(0, dtype=np.int64), G, *weights)[0])


# Colours ------------------------------------------------------------------------------------------------------------


def colours_alike(got, expected):
    """Whether two lists of colours name the same classes."""
    try:
        got = [value.item() if hasattr(value, "item") else value for value in got]
        len(set(got))
    except TypeError:
        return "the colours are integers, one for each atom, in an array of shape (V,)."
    if len(got) != len(expected):
        return f"there are {len(got)} colours; each of {len(expected)} atoms has one."
    negative = next((v for v, mine in enumerate(got) if type(mine) is not int or mine < 0), None)
    if negative is not None:
        return f"colours are integers from 0 on; atom {negative} has {got[negative]!r}."
    first, its_first = {}, {}
    for v, (mine, right) in enumerate(zip(got, expected, strict=True)):
        u, w = first.setdefault(mine, v), its_first.setdefault(right, v)
        if expected[u] != right:
            return f"atoms {u} and {v} have one colour, and should have two: (4) tells them apart."
        if got[w] != mine:
            return f"atoms {w} and {v} have two colours, and should have one: nothing in (4) tells them apart."
    return None


def colours(value):
    """Colours to be compared up to their names; proper ones are named anew, in the order of the atoms."""
    value = value if isinstance(value, list | tuple) else np.asarray(value).tolist()
    if isinstance(value, list) and all(type(name) is int and name >= 0 for name in value):
        names = {}
        value = [names.setdefault(name, len(names)) for name in value]
    return observe(value, judge=colours_alike)


@probe("wl_colors")
def a_path_by_hand(impl, rng):
    src, dst = np.array([0, 1, 1, 2]), np.array([1, 0, 2, 1])
    yield "colours", colours(impl.wl_colors(src, dst, np.zeros(4, dtype=np.int64), np.zeros(3, dtype=np.int64), 1))


@probe(
    "wl_colors",
    cases=[(12, 14, 2, 2), (9, 9, 1, 1), (15, 18, 3, 1), (10, 24, 2, 2), (8, 6, 2, 3), (25, 25, 1, 2), (14, 12, 1, 1)],
)
def directed_graphs(impl, rng, V, E, B, first):
    src, dst, bond = rng.integers(V, size=E), rng.integers(V, size=E), rng.integers(B, size=E)
    labels = rng.integers(first, size=V)
    for rounds in (1, 2, 0, 3):
        yield f"colours after {rounds} rounds", colours(impl.wl_colors(src, dst, bond, labels, rounds))


def tree(rng, V, most=4):
    """Parents of the atoms 1 to V - 1, with at most `most` bonds at each atom."""
    degree, parents = np.zeros(V, dtype=int), []
    for v in range(1, V):
        u = int(rng.choice(np.flatnonzero(degree[:v] < most)))
        degree[[u, v]] += 1
        parents.append(u)
    return np.array(parents)


@probe("wl_colors", cases=[(20, 1), (40, 1), (40, 2), (60, 1)])
def trees(impl, rng, V, first):
    parent, child = tree(rng, V), np.arange(1, V)
    order = rng.permutation(V)
    src, dst = order[np.concatenate([parent, child])], order[np.concatenate([child, parent])]
    bond, labels = np.zeros(2 * V - 2, dtype=np.int64), rng.integers(first, size=V)
    for rounds in (1, 2, 3, 7):
        yield f"colours after {rounds} rounds", colours(impl.wl_colors(src, dst, bond, labels, rounds))


@probe("wl_colors", cases=[(17, 5, 0), (16, 4, 0), (30, 9, 0), (80, 37, 0), (9, 4, 12)])
def rings_with_one_mark(impl, rng, V, rounds, alone):
    """News goes round one step a round; the mark, and how atoms are numbered, is drawn. Others hear nothing."""
    order = rng.permutation(V)
    src, dst = np.concatenate([order, np.roll(order, 1)]), np.concatenate([np.roll(order, 1), order])
    labels = (np.arange(V + alone) == int(rng.integers(V))).astype(np.int64)
    bond = np.zeros(2 * V, dtype=np.int64)
    yield "colours", colours(impl.wl_colors(src, dst, bond, labels, rounds))
    yield "one round more", colours(impl.wl_colors(src, dst, bond, labels, rounds + 1))
    yield "one way round", colours(impl.wl_colors(src[:V], dst[:V], bond[:V], labels, rounds))


@probe("wl_colors", cases=[(24,), (18,)])
def labels_of_any_size(impl, rng, V):
    """Labels that are no row of small numbers."""
    names = np.array([0, 10**12, 2**61 - 1, 7])  # the third has the hash of 0
    parent, child = tree(rng, V), np.arange(1, V)
    src, dst = np.concatenate([parent, child]), np.concatenate([child, parent])
    labels, bond = names[rng.integers(4, size=V)], 5 * rng.integers(2, size=2 * V - 2)
    for rounds in (0, 1, 2):
        yield f"colours after {rounds} rounds", colours(impl.wl_colors(src, dst, bond, labels, rounds))


@probe("wl_colors", cases=[(8,), (13,)])
def how_often_counts(impl, rng, V):
    """Edges that occur several times, atoms that hear nothing, and sums that are equal where colours are not."""
    times = rng.integers(1, 4, size=V)
    src = np.repeat(np.arange(V), times)
    dst = np.repeat((np.arange(V) + 1 + V // 2) % V, times)
    labels, bond, perm = np.arange(V) % 3, rng.integers(2, size=len(src)), rng.permutation(6)
    kept = dst % 4 != 0
    for rounds in (1, 2):
        found = impl.wl_colors(src[kept], dst[kept], bond[kept], labels, rounds)
        yield f"colours after {rounds} rounds", colours(found)
    pairs = np.array([[0, 4], [1, 3], [2, 2], [0, 3], [1, 2], [4, 0]])  # of hubs' neighbours, by label
    hubs, leaves = np.arange(6), 6 + np.arange(12)
    labels = np.concatenate([np.zeros(6, dtype=np.int64), pairs[perm].ravel()])
    found = impl.wl_colors(leaves, np.repeat(hubs, 2), np.zeros(12, dtype=np.int64), labels, 1)
    yield "hubs whose neighbours' labels have equal sums", colours(found)
    kinds = np.array([[0, 1], [1, 0], [0, 0], [1, 1], [2, 0], [0, 2]])[perm]
    leaf_labels = np.array([[0, 1], [0, 1], [0, 1], [0, 1], [2, 1], [0, 0]])[perm]
    labels = np.concatenate([np.zeros(6, dtype=np.int64), leaf_labels.ravel()])
    found = impl.wl_colors(leaves, np.repeat(hubs, 2), kinds.ravel(), labels, 1)
    yield "hubs whose bonds and neighbours pair differently", colours(found)


@probe("wl_colors", cases=[(3,)])
def digits_that_run_together(impl, rng, copies):
    """Own colours, kinds and heard colours whose digits are the same in a row; the hubs' order is drawn."""
    stars = [(1, 0, 10), (10, 1, 0), (1, 1, 11), (11, 1, 1), (1, 11, 1), (11, 11, 1), (1, 1, 111), (1, 0, 10)] * copies
    stars = [stars[k] for k in rng.permutation(len(stars))]
    own, kinds, heard = (np.array(column) for column in zip(*stars, strict=True))
    hubs = np.arange(len(stars))
    labels = np.concatenate([own, heard])
    for rounds in (1, 2):
        found = impl.wl_colors(len(hubs) + hubs, hubs, kinds, labels, rounds)
        yield f"colours after {rounds} rounds", colours(found)


@probe(
    "wl_colors",
    cases=[
        ((0, 1, 2, 3, 4, 5, 8, 10, 16, 32), ()),
        ((0, 64, 100), ()),
        ((0, 256, 1000), ()),
        ((0, 1, 2, 3), (7, 12, 16, 100, 1000)),
    ],
)
def pairs_that_share_a_number(impl, rng, kinds, labels):
    """Each hub hears one pair of kind and colour, of all that there are: no number made of both tells all apart.

    Labels are also as large as the number of atoms or edges, less or more one. The largest kinds stand in small
    graphs, for who counts in a table of atoms, kinds and colours is right.
    """
    count = len(kinds) * (12 + len(labels)) + 20
    sizes = [base + step for base in (count, 2 * count) for step in (-1, 0, 1)]
    pairs = np.array([(kind, label) for kind in kinds for label in (0, 1, 2, 3, 4, 10, *sizes, *labels)])
    pairs = pairs[np.concatenate([np.arange(len(pairs)), rng.integers(len(pairs), size=20)])[rng.permutation(count)]]
    hubs, everybody = np.arange(count), np.concatenate([np.zeros(count, dtype=np.int64), pairs[:, 1]])
    found = impl.wl_colors(count + hubs, hubs, pairs[:, 0].copy(), everybody, 1)
    yield "colours of the hubs", colours(found[:count])


@probe("wl_colors", cases=[(False,), (True,)])
def crowds(impl, rng, a_last_voice):
    """Hubs that hear one atom up to 258 times, and nothing else, or besides one of two others."""
    times = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 257, 258] * 2)[rng.permutation(30)]
    hubs, labels = np.arange(30), np.zeros(33, dtype=np.int64)
    labels[30:] = (1, 2, 3)
    src, dst = np.repeat(31, times.sum()), np.repeat(hubs, times)
    if a_last_voice:
        src, dst = np.concatenate([src, np.where(hubs % 3, 30, 32)]), np.concatenate([dst, hubs])
    yield "colours", colours(impl.wl_colors(src, dst, np.zeros(len(src), dtype=np.int64), labels, 1))


@probe("wl_colors", cases=[(5,)])
def no_bonds(impl, rng, V):
    none, labels = np.zeros(0, dtype=np.int64), rng.integers(3, size=V)
    for rounds in (0, 2):
        yield f"colours after {rounds} rounds", colours(impl.wl_colors(none, none.copy(), none.copy(), labels, rounds))


# Backward: messages -------------------------------------------------------------------------------------------------


@probe("edge_messages_backward")
def three_atoms_back_by_hand(impl, rng):
    _, cache = impl.edge_messages_forward(*HAND, HAND_A)
    yield from named("dh dA", impl.edge_messages_backward(np.array([[5.0], [7.0], [11.0]]), cache))


@probe("edge_messages_backward", cases=GRAPHS)
def message_gradients(impl, rng, V, E, B, d, k):
    arguments, dm = draw_messages(rng, V, E, B, d, k), normal(rng, V, k)
    _, cache = impl.edge_messages_forward(*arguments)
    yield from named("dh dA", impl.edge_messages_backward(dm, cache))


@probe("edge_messages_backward", cases=[(4, 0, 2, 3, 2), (3, 0, 3, 2, 2)])
def back_without_edges(impl, rng, V, E, B, d, k):
    h, A, dm = normal(rng, V, d), normal(rng, B, k, d), normal(rng, V, k)
    none = np.zeros(0, dtype=np.int64)
    _, cache = impl.edge_messages_forward(h, none, none.copy(), none.copy(), A)
    for name, gradient in named("dh dA", impl.edge_messages_backward(dm, cache)):
        yield name, zeros(gradient)


@probe("edge_messages_backward", cases=[(1e7,), (1e-7,)])
def message_gradients_of_any_size(impl, rng, size):
    arguments, dm = draw_messages(rng, 6, 13, 3, 3, 2), normal(rng, 6, 2)
    _, cache = impl.edge_messages_forward(*arguments)
    yield from named("dh dA", impl.edge_messages_backward(size * dm, cache))


@probe("edge_messages_backward", cases=[(6, 11, 3, 3, 2)])
def messages_walked_back_later(impl, rng, V, E, B, d, k):
    drawn = [draw_messages(rng, V, E, B, d, k) for _ in range(3)]
    dm = [normal(rng, V, k) for _ in range(3)]
    caches = [impl.edge_messages_forward(*arguments)[1] for arguments in drawn]
    for name, at in (("first", 0), ("third", 2), ("second", 1), ("first once more", 0)):
        dh, dA = impl.edge_messages_backward(dm[at], caches[at])
        yield f"dh from the {name} cache", dh
        yield f"dA from the {name} cache", dA[0]


@probe("edge_messages_backward", cases=[(400, 2400, 4, 48, 40)])
def many_messages(impl, rng, V, E, B, d, k):
    arguments, dm = draw_messages(rng, V, E, B, d, k), normal(rng, V, k)
    dh, dA = impl.edge_messages_backward(dm, impl.edge_messages_forward(*arguments)[1])
    yield from named("dh dA", (dh[::97, ::11], dA[::2, ::13, ::11]))


@probe("edge_messages_backward", cases=[(5, 12, 2, 3, 2)])
def with_own_messages(impl, rng, V, E, B, d, k):
    h, src, dst, bond, A = draw_messages(rng, V, E, B, d, k)
    dm, along = rng.standard_normal((V, k)), rng.standard_normal((V, d))
    dh, _ = impl.edge_messages_backward(dm, impl.edge_messages_forward(h, src, dst, bond, A)[1])
    yield "dh", dh
    numeric = slope(lambda v: np.sum(impl.edge_messages_forward(v, src, dst, bond, A)[0] * dm), h, along)
    yield "slope along h", agree(np.sum(dh * along), numeric)


# Backward: update ---------------------------------------------------------------------------------------------------


@probe("gru_backward")
def one_atom_back_by_hand(impl, rng):
    _, cache = impl.gru_forward(*gru_by_hand())
    yield from named("dh dm dWm dWh dbm dbh", impl.gru_backward(np.full((1, 1), 4.0), cache))


@probe("gru_backward", cases=[(4, 3, 2), (1, 2, 5), (3, 3, 3), (2, 1, 1), (6, 1, 3), (3, 4, 1)])
def update_gradients(impl, rng, V, d, k):
    arguments, dh_new = draw_gru(rng, V, d, k), normal(rng, V, d)
    _, cache = impl.gru_forward(*arguments)
    yield from named("dh dm dWm dWh dbm dbh", impl.gru_backward(dh_new, cache))


@probe("gru_backward", cases=[("m", 5, 3, 2), ("h", 4, 2, 3), ("m", 1, 3, 4), ("both", 3, 2, 2)])
def gradients_without_messages_or_memory(impl, rng, silent, V, d, k):
    h, m, *weights = draw_gru(rng, V, d, k)
    silence(h, m, silent)
    dh_new = normal(rng, V, d)
    dh, dm, _, _, _, dbh = impl.gru_backward(dh_new, impl.gru_forward(h, m, *weights)[1])
    yield from named("dh dm dbh", (dh, dm, dbh))


@probe("gru_backward", cases=[("r", 1.0), ("r", -1.0), ("z", 1.0), ("z", -1.0)])
def gradients_of_gates_of_0_or_1(impl, rng, gate, sign):
    """Every second atom has a gate that is exactly 0 or 1."""
    h, m, Wm, Wh, bm, bh = draw_gru(rng, 5, 3, 2)
    at = "rz".index(gate) * 3
    m[::2], Wm[at : at + 3] = 500 * np.abs(m[::2]), sign * np.abs(Wm[at : at + 3])
    Wm[6:] /= 1000  # the candidate is not saturated
    dh_new = normal(rng, 5, 3)
    dh, dm, _, _, dbm, _ = impl.gru_backward(dh_new, impl.gru_forward(h, m, Wm, Wh, bm, bh)[1])
    yield from named("dh dm dbm", (dh, dm, dbm))


@probe("gru_backward", cases=[(4.0,), (30.0,)])
def gradients_of_far_out_messages(impl, rng, size):
    h, m, *weights = draw_gru(rng, 6, 3, 2)
    m[::2] *= size
    dh_new = normal(rng, 6, 3)
    dh, dm, dWm, dWh, *_ = impl.gru_backward(dh_new, impl.gru_forward(h, m, *weights)[1])
    yield from named("dh dm dWm dWh", (dh[:2], dm[:2], dWm[::2], dWh[::2]))


@probe("gru_backward", cases=[(1e7,), (1e-7,)])
def update_gradients_of_any_size(impl, rng, size):
    arguments, dh_new = draw_gru(rng, 3, 2, 4), normal(rng, 3, 2)
    dh, dm, dWm, dWh, dbm, dbh = impl.gru_backward(size * dh_new, impl.gru_forward(*arguments)[1])
    yield from named("dh dm dWm dWh dbm dbh", (dh, dm[:, 1:3], dWm[:, 3], dWh[:, 0], dbm[::2], dbh[::2]))


@probe("gru_backward", cases=[(3, 2, 3)])
def updates_walked_back_later(impl, rng, V, d, k):
    drawn, dh_new = [draw_gru(rng, V, d, k) for _ in range(3)], [normal(rng, V, d) for _ in range(3)]
    caches = [impl.gru_forward(*arguments)[1] for arguments in drawn]
    for name, at in (("first", 0), ("third", 2), ("second", 1), ("first once more", 0)):
        grads = impl.gru_backward(dh_new[at], caches[at])
        yield f"dh from the {name} cache", grads[0]
        yield f"dWh from the {name} cache", grads[3][-1]


@probe("gru_backward", cases=[(128, 896, 640), (256, 96, 80)])
def wide_states(impl, rng, V, d, k):
    h, m, Wm, Wh, bm, bh = draw_gru(rng, V, d, k)
    dh_new = normal(rng, V, d)
    _, cache = impl.gru_forward(h, m, Wm / np.sqrt(k), Wh / np.sqrt(d), bm, bh)
    dh, dm, dWm, dWh, dbm, dbh = impl.gru_backward(dh_new, cache)
    yield from named("dh dm", (dh[::51, ::231], dm[::51, ::177]))
    yield from named("dWm dWh dbm dbh", (dWm[::591, ::199], dWh[::591, ::231], dbm[::297], dbh[::297]))


@probe("gru_backward", cases=[(4, 3, 2)])
def with_own_update(impl, rng, V, d, k):
    h, *rest = draw_gru(rng, V, d, k)
    dh_new, along = rng.standard_normal((V, d)), rng.standard_normal((V, d))
    dh = impl.gru_backward(dh_new, impl.gru_forward(h, *rest)[1])[0]
    yield "dh", dh
    numeric = slope(lambda v: np.sum(impl.gru_forward(v, *rest)[0] * dh_new), h, along)
    yield "slope along h", agree(np.sum(dh * along), numeric)


# Backward: readout --------------------------------------------------------------------------------------------------


@probe("readout_backward")
def three_offers_back_by_hand(impl, rng):
    _, cache = impl.readout_forward(*readout_by_hand())
    dy = np.array([[2.0], [100.0], [4.0]])
    yield from named("dh dh0 dWi dbi dWj dbj", impl.readout_backward(dy, cache))


@probe("readout_backward", cases=READOUTS)
def readout_gradients(impl, rng, V, d, c, o, G):
    arguments, dy = draw_readout(rng, V, d, c, o, G), normal(rng, G, o)
    _, cache = impl.readout_forward(*arguments)
    yield from named("dh dh0 dWi dbi dWj dbj", impl.readout_backward(dy, cache))


@probe("readout_backward", cases=[(5, 3, 2)])
def one_array_twice(impl, rng, V, d, G):
    """First and last states are one object, as in a network without rounds."""
    h, _, graph, _, *weights = draw_readout(rng, V, d, d, 2, G)
    dy = normal(rng, G, 2)
    _, cache = impl.readout_forward(h, h, graph, G, *weights)
    yield from named("dh dh0 dWi dbi dWj dbj", impl.readout_backward(dy, cache))


@probe("readout_backward", cases=[(1e7,), (1e-7,)])
def readout_gradients_of_any_size(impl, rng, size):
    arguments, dy = draw_readout(rng, 6, 2, 3, 2, 3), normal(rng, 3, 2)
    _, cache = impl.readout_forward(*arguments)
    yield from named("dh dh0 dWi dbi dWj dbj", impl.readout_backward(size * dy, cache))


@probe("readout_backward", cases=[(1e4,)])
def gradients_of_far_out_gates(impl, rng, size):
    """Some gates are exactly 0, others 1: the second output's are the first's, turned round."""
    h, h0, graph, G, Wi, bi, Wj, bj = draw_readout(rng, 5, 2, 1, 2, 2)
    Wi[1], bi[1] = -Wi[0], -bi[0]
    dy = normal(rng, G, 2)
    _, cache = impl.readout_forward(h, h0, graph, G, size * Wi, size * bi, Wj, bj)
    dh, dh0, _, dbi, dWj, _ = impl.readout_backward(dy, cache)
    yield from named("dh dh0 dbi dWj", (dh, dh0, dbi, dWj))


@probe("readout_backward", cases=[(5, 2, 3, 2, 3)])
def readouts_walked_back_later(impl, rng, V, d, c, o, G):
    drawn, dy = [draw_readout(rng, V, d, c, o, G) for _ in range(3)], [normal(rng, G, o) for _ in range(3)]
    caches = [impl.readout_forward(*arguments)[1] for arguments in drawn]
    for name, at in (("first", 0), ("third", 2), ("second", 1), ("first once more", 0)):
        dh, dh0, dWi, *_ = impl.readout_backward(dy[at], caches[at])
        yield f"dh from the {name} cache", dh
        yield f"dh0 from the {name} cache", dh0
        yield f"dWi from the {name} cache", dWi[0]


@probe("readout_backward", cases=[(1500, 64, 48, 24, 40)])
def many_atoms(impl, rng, V, d, c, o, G):
    h, h0, graph, _, Wi, bi, Wj, bj = draw_readout(rng, V, d, c, o, G)
    dy = normal(rng, G, o)
    _, cache = impl.readout_forward(h, h0, graph, G, Wi / 8, bi, Wj / 8, bj)
    dh, dh0, dWi, dbi, dWj, dbj = impl.readout_backward(dy, cache)
    yield from named("dh dh0 dWi dbi", (dh[::397, ::17], dh0[::397, ::13], dWi[::11, ::29], dbi[::5]))
    yield from named("dWj dbj", (dWj[::11, ::17], dbj[::5]))


@probe("readout_backward", cases=[(6, 3, 2, 2, 3)])
def with_own_readout(impl, rng, V, d, c, o, G):
    h, *rest = draw_readout(rng, V, d, c, o, G)
    dy, along = rng.standard_normal((G, o)), rng.standard_normal((V, d))
    dh = impl.readout_backward(dy, impl.readout_forward(h, *rest)[1])[0]
    yield "dh", dh
    numeric = slope(lambda v: np.sum(impl.readout_forward(v, *rest)[0] * dy), h, along)
    yield "slope along h", agree(np.sum(dh * along), numeric)


# Backward: the whole network ----------------------------------------------------------------------------------------

NETWORKS = [  # T, V, E, B, d, k, o, G
    (1, 5, 11, 3, 3, 2, 2, 3),
    (2, 6, 9, 2, 2, 4, 1, 2),
    (3, 4, 8, 4, 3, 3, 3, 4),
    (0, 5, 7, 2, 3, 2, 2, 3),
    (5, 5, 10, 2, 2, 2, 1, 2),
    (4, 1, 3, 3, 2, 3, 2, 1),
    (19, 3, 4, 2, 1, 2, 1, 2),
]


def draw_network(rng, V, E, B, d, k, o, G, scale=0.5):
    """First states, graphs, parameters, so small that gates don't saturate round after round."""
    src, dst, bond = draw_edges(rng, V, E, B)
    h0, _, graph, _, Wi, bi, Wj, bj = draw_readout(rng, V, d, d, o, G)
    shapes_of = {"A": (B, k, d), "Wm": (3 * d, k), "Wh": (3 * d, d), "bm": (3 * d,), "bh": (3 * d,)}
    params = {name: scale * normal(rng, *shape, shift=0.1) for name, shape in shapes_of.items()}
    params |= {"Wi": scale * Wi, "bi": bi, "Wj": Wj, "bj": bj}
    return h0, (src, dst, bond, graph, G), params


def whole(dh0, grads):
    """All that mpnn_backward returns, by name."""
    yield "dh0", dh0
    yield "names of the gradients", sorted(grads)
    for name in ("A", *GRU, *READ):
        yield f"d{name}", grads[name]


@probe("mpnn_backward")
def without_rounds_by_hand(impl, rng):
    _, h, graph, G, *weights = readout_by_hand()
    none = np.zeros(0, dtype=np.int64)
    names = {"A": (2, 1, 1), "Wm": (3, 1), "Wh": (3, 1), "bm": (3,), "bh": (3,)}
    params = {name: np.ones(shape) for name, shape in names.items()} | dict(zip(READ, weights, strict=True))
    _, cache = impl.mpnn_forward(h, (none, none.copy(), none.copy(), graph, G), params, 0)
    dh0, grads = impl.mpnn_backward(np.array([[2.0], [100.0], [4.0]]), cache)
    yield from whole(dh0, grads)


@probe("mpnn_backward", cases=NETWORKS)
def network_gradients(impl, rng, T, V, E, B, d, k, o, G):
    h0, graphs, params = draw_network(rng, V, E, B, d, k, o, G)
    dy = normal(rng, G, o)
    _, cache = impl.mpnn_forward(h0, graphs, params, T)
    yield from whole(*impl.mpnn_backward(dy, cache))


@probe("mpnn_backward", cases=[(3,), (1,)])
def a_network_without_edges(impl, rng, T):
    h0, (_, _, _, graph, G), params = draw_network(rng, 4, 3, 2, 3, 2, 2, 3)
    none, dy = np.zeros(0, dtype=np.int64), normal(rng, 3, 2)
    _, cache = impl.mpnn_forward(h0, (none, none.copy(), none.copy(), graph, G), params, T)
    yield from whole(*impl.mpnn_backward(dy, cache))


@probe("mpnn_backward", cases=[(1e6,), (1e-6,)])
def network_gradients_of_any_size(impl, rng, size):
    h0, graphs, params = draw_network(rng, 5, 9, 2, 2, 3, 2, 2)
    dy = normal(rng, 2, 2)
    _, cache = impl.mpnn_forward(h0, graphs, params, 2)
    dh0, grads = impl.mpnn_backward(size * dy, cache)
    yield from named("dh0 dA dWm dWh dWi", (dh0, grads["A"][0], grads["Wm"][::2], grads["Wh"][::2], grads["Wi"]))


@probe("mpnn_backward", cases=[(5, 9, 2, 2, 3, 2, 2)])
def networks_walked_back_later(impl, rng, V, E, B, d, k, o, G):
    drawn, dy = [draw_network(rng, V, E, B, d, k, o, G) for _ in range(3)], [normal(rng, G, o) for _ in range(3)]
    caches = [impl.mpnn_forward(*arguments, T)[1] for arguments, T in zip(drawn, (2, 3, 1), strict=True)]
    for name, at in (("first", 0), ("third", 2), ("second", 1), ("first once more", 0)):
        dh0, grads = impl.mpnn_backward(dy[at], caches[at])
        yield f"dh0 from the {name} cache", dh0
        yield f"dA from the {name} cache", grads["A"]
        yield f"dWh from the {name} cache", grads["Wh"][-1]


@probe("mpnn_backward", cases=[(4, 300, 1200, 4, 32, 24, 8, 20)])
def a_large_network(impl, rng, T, V, E, B, d, k, o, G):
    h0, graphs, params = draw_network(rng, V, E, B, d, k, o, G, scale=0.2)
    dy = normal(rng, G, o)
    _, cache = impl.mpnn_forward(h0, graphs, params, T)
    dh0, grads = impl.mpnn_backward(dy, cache)
    yield "dh0", dh0[::71, ::7]
    for name in ("A", *GRU, *READ):
        yield f"d{name}", grads[name].ravel()[:: 1 + grads[name].size // 20]


@probe("mpnn_backward", cases=[(3, 5, 9, 2, 2, 3, 2, 2)])
def with_own_network(impl, rng, T, V, E, B, d, k, o, G):
    h0, graphs, params = draw_network(rng, V, E, B, d, k, o, G)
    dy, along = rng.standard_normal((G, o)), rng.standard_normal((V, d))
    dh0, _ = impl.mpnn_backward(dy, impl.mpnn_forward(h0, graphs, params, T)[1])
    yield "dh0", dh0
    numeric = slope(lambda v: np.sum(impl.mpnn_forward(v, graphs, params, T)[0] * dy), h0, along)
    yield "slope along h0", agree(np.sum(dh0 * along), numeric)


# PyTorch ------------------------------------------------------------------------------------------------------------


def edge_network(f, d, hidden):
    """An edge network: one linear layer, without bias, or two with a tanh between them."""
    from torch import nn

    if not hidden:
        return nn.Linear(f, d * d, bias=False)
    return nn.Sequential(nn.Linear(f, hidden), nn.Tanh(), nn.Linear(hidden, d * d))


def draw_batch(rng, V, E, G, a, f, dtype="float64"):
    """x, src, dst, features, graph, G, as tensors; atoms of a molecule do not lie side by side."""
    import torch

    kind = getattr(torch, dtype)
    src, dst, _ = draw_edges(rng, V, E, 1)
    graph = draw_readout(rng, V, 1, 1, 1, G)[2]
    x, features = torch.tensor(normal(rng, V, a), dtype=kind), torch.tensor(normal(rng, E, f), dtype=kind)
    return x, torch.from_numpy(src), torch.from_numpy(dst), features, torch.from_numpy(graph), G


@probe("MPNN")
def three_atoms_without_rounds_by_hand(impl, rng):
    import torch

    module = impl.MPNN(2, 0, edge_network(1, 2, 0))
    fill(module, 0, scale=0.0)
    with torch.no_grad():
        module.value.bias.fill_(6.0)
    src, dst = torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0, 2, 1])
    yield "y", module(torch.ones(3, 1), src, dst, torch.ones(4, 1), torch.zeros(3, dtype=torch.int64), 1)


@probe(
    "MPNN",
    cases=[  # V, E, G, a, f, d, o, T, hidden, training
        (7, 14, 4, 2, 3, 4, 2, 1, 0, True),
        (6, 10, 3, 3, 2, 3, 1, 3, 5, True),
        (5, 12, 3, 1, 1, 5, 3, 2, 4, False),
        (9, 17, 5, 2, 4, 3, 2, 4, 0, False),
        (3, 3, 3, 3, 3, 3, 3, 3, 3, True),
        (1, 2, 1, 2, 2, 3, 1, 2, 0, True),
    ],
)
def networks(impl, rng, V, E, G, a, f, d, o, T, hidden, training):
    import torch

    x, src, dst, features, graph, _ = draw_batch(rng, V, E, G, a, f)
    dy, seed = torch.tensor(normal(rng, G, o)), int(rng.integers(2**32))
    module = impl.MPNN(d, T, edge_network(f, d, hidden), o).double().train(training)
    yield "parameters", shapes(module)
    fill(module, seed, scale=0.6)
    x.requires_grad_()
    features.requires_grad_()
    y = module(x, src, dst, features, graph, G)
    yield "y", y
    if y.requires_grad and y.shape == dy.shape:
        torch.sum(y * dy).backward()
    yield "dx", x.grad
    yield "dfeatures", None if features.grad is None else features.grad[::3]
    edge_weight = "edge.0.weight" if hidden else "edge.weight"
    for name in (edge_weight, "gru.weight_ih", "gru.bias_hh", "gate.weight", "value.weight"):
        part = dict(module.named_parameters()).get(name)
        yield f"d{name}", None if part is None or part.grad is None else part.grad.ravel()[:: 1 + part.numel() // 4]


@probe("MPNN", cases=[(0,), (1,), (2,), (3,), (6,), (25,)])
def rounds(impl, rng, T):
    import torch

    batch = draw_batch(rng, 6, 9, 4, 2, 2)
    seed = int(rng.integers(2**32))
    module = fill(impl.MPNN(3, T, edge_network(2, 3, 0), 2).double(), seed, scale=0.7)
    yield "parameters", shapes(module)
    yield "y", module(*batch)
    with torch.no_grad():
        yield "y without gradients", module(*batch)


@probe("MPNN", cases=[(2, 0), (4, 5)])
def how_often_the_edge_network_is_asked(impl, rng, T, hidden):
    x, src, dst, features, graph, G = draw_batch(rng, 5, 8, 4, 2, 3)
    edge, seen = edge_network(3, 4, hidden), []
    seed = int(rng.integers(2**32))
    module = fill(impl.MPNN(4, T, edge, 2).double(), seed, scale=0.6)
    edge.register_forward_hook(lambda part, inputs, out: seen.append(len(out)))
    y = module(x, src, dst, features, graph, G)
    yield "rows that the given edge network made", sum(seen)
    yield "y", y


@probe("MPNN", cases=[(2, 0), (1, 4)])
def given_module_changed_later(impl, rng, T, hidden):
    import torch

    batch, seeds = draw_batch(rng, 6, 9, 4, 2, 2), [int(seed) for seed in rng.integers(2**32, size=2)]
    edge = edge_network(2, 3, hidden)
    module = fill(impl.MPNN(3, T, edge, 2).double(), seeds[0], scale=0.6)
    yield "y", module(*batch)
    fill(edge.double(), seeds[1], scale=0.9)
    with torch.no_grad():
        yield "y after a change of the given edge network", module(*batch)


@probe("MPNN", cases=[(3, 0), (2, 4), (0, 0)])
def networks_without_edges(impl, rng, T, hidden):
    x, src, dst, features, graph, G = draw_batch(rng, 5, 2, 4, 2, 3)
    seed = int(rng.integers(2**32))
    module = fill(impl.MPNN(4, T, edge_network(3, 4, hidden), 2).double(), seed)
    yield "y", module(x, src[:0], dst[:0], features[:0], graph, G)
    yield "y of more molecules", module(x, src[:0], dst[:0], features[:0], graph, G + 2)


@probe("MPNN", cases=[(2,), (3,)])
def molecules_without_atoms(impl, rng, T):
    batch = draw_batch(rng, 5, 8, 4, 2, 2)
    seed = int(rng.integers(2**32))
    module = fill(impl.MPNN(3, T, edge_network(2, 3, 0), 2).double(), seed)
    for G in (4, 7, 5):
        yield f"y of {G} molecules", module(*batch[:5], G)


@probe("MPNN", cases=[(4,)])
def no_atoms_at_all(impl, rng, G):
    import torch

    x, src, dst, features, graph, _ = draw_batch(rng, 5, 2, 2, 2, 3)
    module = fill(impl.MPNN(3, 2, edge_network(3, 3, 0), 2).double(), int(rng.integers(2**32)))
    yield "y", module(x[:0], src[:0], dst[:0], features[:0], graph[:0].to(torch.int64), G)


@probe("MPNN", cases=[(8, 15, 3, 3, 2, 5)])
def in_float32_by_default(impl, rng, V, E, G, a, f, d):
    batch = draw_batch(rng, V, E, G, a, f, "float32")
    seed = int(rng.integers(2**32))
    module = impl.MPNN(d, 2, edge_network(f, d, 4))
    yield "kind of numbers", [str(parameter.dtype) for parameter in module.parameters()]
    yield "needs gradients", [bool(parameter.requires_grad) for parameter in module.parameters()]
    yield "parameters", shapes(module)
    y = fill(module, seed)(*batch)
    yield "kind of y", str(y.dtype)
    yield "y", observe(y, rtol=1e-4)


@probe("MPNN", cases=[(2,)])
def two_networks_and_two_batches(impl, rng, T):
    batches = [draw_batch(rng, V, E, 3, 2, 2) for V, E in ((5, 9), (7, 12), (5, 9))]
    seeds = [int(seed) for seed in rng.integers(2**32, size=2)]
    nets = [fill(impl.MPNN(3, T, edge_network(2, 3, 0), 1).double(), seed) for seed in seeds]
    for k, n in ((0, 0), (1, 0), (2, 1), (0, 0), (0, 1)):
        yield f"y of network {n} on batch {k}", nets[n](*batches[k])


@probe("MPNN", cases=[(250, 900, 12, 3, 4, 16, 3)])
def a_large_batch(impl, rng, V, E, G, a, f, d, T):
    batch = draw_batch(rng, V, E, G, a, f)
    module = fill(impl.MPNN(d, T, edge_network(f, d, 8), 2).double(), int(rng.integers(2**32)), scale=0.15)
    yield "y", module(*batch)
