"""The references of 06 against loops, scipy's hulls, brute force over all tours and paths, torch with autograd."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull
from torch import nn

from course import data


@pytest.fixture(scope="module")
def pointers(reference):
    return reference("06")


def places(rng, B, T, M):
    open = rng.random((B, T, M)) < 0.6
    open[:, :, 0] |= ~open.any(axis=2)
    return open


def leaves(arrays):
    return {name: torch.tensor(value, requires_grad=True) for name, value in arrays.items()}


@pytest.mark.parametrize(("B", "T", "M", "H", "G", "A"), [(1, 1, 1, 1, 1, 1), (2, 3, 5, 2, 4, 6), (3, 3, 3, 3, 3, 3)])
def test_scores_and_their_gradients_are_those_of_loops_with_autograd(pointers, rng, B, T, M, H, G, A):
    p = {"W1": rng.standard_normal((H, A)), "W2": rng.standard_normal((G, A)), "v": rng.standard_normal(A)}
    inputs = {"E": rng.standard_normal((B, M, H)), "d": rng.standard_normal((B, T, G))}
    open, du = places(rng, B, T, M), rng.standard_normal((B, T, M))
    u, cache = pointers.pointer_logits(p, inputs["E"], inputs["d"], open)
    dE, dd, grads = pointers.pointer_backward(du, cache)

    w, x = leaves(p), leaves(inputs)
    total = torch.zeros((), dtype=torch.float64)
    for b, t, j in itertools.product(range(B), range(T), range(M)):
        score = torch.dot(w["v"], torch.tanh(w["W1"].T @ x["E"][b, j] + w["W2"].T @ x["d"][b, t]))
        if open[b, t, j]:
            assert u[b, t, j] == pytest.approx(score.item(), rel=1e-11)
            total = total + du[b, t, j] * score
        else:
            assert u[b, t, j] == -math.inf
    total.backward()
    for ours, theirs in ((dE, x["E"]), (dd, x["d"]), *((grads[name], w[name]) for name in p)):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


def looped_decoder(p, x, n, stops):
    """One example by itself, with torch's LSTM cells; the rules in words."""
    h = c = torch.zeros(1, len(p["end"]), dtype=torch.float64)

    def lstm(name, item, h, c):
        a = item @ p[f"Wx_{name}"] + h @ p[f"Wh_{name}"] + p[f"b_{name}"]
        i, f, g, o = a.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    memories = []
    for j in range(n):
        h, c = lstm("enc", x[j : j + 1], h, c)
        memories.append(h)
    left, order, read = set(range(n)), [], p["start"][None]
    while True:
        h, c = lstm("dec", read, h, c)
        scores = {j: (torch.tanh(memories[j] @ p["W1"] + h @ p["W2"]) @ p["v"]).item() for j in left}
        if stops or not left:
            scores["end"] = (torch.tanh(p["end"] @ p["W1"] + h @ p["W2"]) @ p["v"]).item()
        best = max(scores, key=scores.get)
        if best == "end":
            return order
        order.append(best)
        left.remove(best)
        read = x[best : best + 1]


@pytest.mark.parametrize("stops", [False, True])
def test_decoding_is_that_of_each_example_alone(pointers, rng, stops):
    p = {name: w + 0.5 * rng.standard_normal(w.shape) for name, w in pointers.make_params(rng, 2, 5).items()}
    x, lengths = 2 * rng.standard_normal((12, 6, 2)), rng.integers(1, 7, size=12)
    order = pointers.greedy_decode(p, x, lengths, stops)
    w = {name: torch.from_numpy(value) for name, value in p.items()}
    assert order.shape == (12, 7)
    for row, items, n in zip(order, x, lengths, strict=True):
        expected = looped_decoder(w, torch.from_numpy(items), int(n), stops)
        assert row.tolist() == expected + [6] * (7 - len(expected))


@pytest.mark.parametrize("N", [3, 5, 12, 80])
def test_hulls_are_scipys(pointers, rng, N):
    for _ in range(10):
        P = rng.standard_normal((N, 2))
        corners, theirs = pointers.hull_target(P), ConvexHull(P).vertices.tolist()
        first = theirs.index(min(theirs))
        assert corners == theirs[first:] + theirs[:first]


def test_points_on_edges_are_no_corners(pointers, rng):
    P = rng.permutation(np.array([(x, y) for x in range(4) for y in range(4)], dtype=float))
    corners = pointers.hull_target(P)
    assert sorted(map(tuple, P[corners])) == [(0, 0), (0, 3), (3, 0), (3, 3)]
    assert corners[0] == min(corners)


def signed_area(Q):
    """By triangles from the first corner."""
    a, b = Q[1:-1] - Q[0], Q[2:] - Q[0]
    return sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2


@pytest.mark.parametrize("N", [3, 4, 7])
def test_all_ways_to_write_a_path_become_one(pointers, rng, N):
    P, ring = rng.standard_normal((N, 2)), rng.permutation(N).tolist()
    found = {tuple(pointers.canonical_tour(P, (ring[k:] + ring[:k])[::way])) for k in range(N) for way in (1, -1)}
    assert len(found) == 1
    tour = list(found.pop())
    assert tour[0] == 0
    assert signed_area(P[tour]) > 0
    edges = {frozenset(edge) for edge in itertools.pairwise([*tour, tour[0]])}
    assert edges == {frozenset(edge) for edge in itertools.pairwise([*ring, ring[0]])}


@pytest.mark.parametrize("N", [1, 2, 3, 5, 7])
def test_tours_are_as_short_as_the_best_of_all(pointers, rng, N):
    for _ in range(5):
        P = rng.random((N, 2))
        tour = pointers.tsp_exact(P)
        assert tour[0] == 0
        assert sorted(tour) == list(range(N))
        every = [math.fsum(math.dist(P[a], P[b]) for a, b in itertools.pairwise([0, *rest, 0]))
                 for rest in itertools.permutations(range(1, N))]  # fmt: skip
        length = math.fsum(math.dist(P[a], P[b]) for a, b in itertools.pairwise([*tour, 0]))
        assert length == pytest.approx(min(every), rel=1e-12)


@pytest.mark.parametrize(("B", "T", "M"), [(1, 1, 1), (3, 4, 5), (5, 2, 3)])
def test_the_loss_and_its_gradient_are_torchs(pointers, rng, B, T, M):
    open = places(rng, B, T, M)
    logits = np.where(open, 3 * rng.standard_normal((B, T, M)), -np.inf)
    targets = np.where(rng.random((B, T)) < 0.7, (open * rng.random((B, T, M))).argmax(axis=2), -1)
    targets[0, 0] = open[0, 0].argmax()
    loss, dlogits = pointers.pointer_nll(logits, targets)
    leaf, k = torch.tensor(logits, requires_grad=True), torch.from_numpy(targets)
    theirs = nn.functional.cross_entropy(leaf.flatten(0, 1), k.flatten(), ignore_index=-1)
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), rel=1e-11)
    np.testing.assert_allclose(dlogits, leaf.grad.nan_to_num().numpy(), rtol=1e-9, atol=1e-13)


def numpys(p):
    """The names of the module for parameters of NumPy, in its layout."""
    state = {
        "start": p["start"],
        "end": p["end"],
        "W1.weight": p["W1"].T,
        "W2.weight": p["W2"].T,
        "v.weight": p["v"][None],
    }
    for ours, theirs in (("enc", "encoder"), ("dec", "decoder")):
        state |= {f"{theirs}.weight_ih_l0": p[f"Wx_{ours}"].T, f"{theirs}.weight_hh_l0": p[f"Wh_{ours}"].T}
        state |= {f"{theirs}.bias_ih_l0": p[f"b_{ours}"], f"{theirs}.bias_hh_l0": 0 * p[f"b_{ours}"]}
    return {name: torch.tensor(value) for name, value in state.items()}


@pytest.mark.parametrize("stops", [False, True])
def test_the_module_is_the_numpy_network(pointers, rng, stops):
    p = {name: w + 0.3 * rng.standard_normal(w.shape) for name, w in pointers.make_params(rng, 2, 4).items()}
    x, lengths = rng.standard_normal((3, 5, 2)), np.array([4, 2, 3])
    targets = np.array([[2, 0, 5, -1, -1, -1], [1, 0, 5, -1, -1, -1], [0, 2, 1, 5, -1, -1]])
    if not stops:
        targets[0] = [2, 0, 1, 3, 5, -1]
    net = pointers.PointerNet(2, 4, stops).double()
    net.load_state_dict(numpys(p))
    logits = net(torch.from_numpy(x), torch.from_numpy(lengths), torch.from_numpy(targets))
    expected, _ = pointers.forced(p, x, lengths, targets, stops)
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-10)
    real = torch.from_numpy(targets >= 0)
    nn.functional.cross_entropy(logits[real], torch.from_numpy(targets)[real]).backward()
    _, grads = pointers.loss_and_grads(p, x, lengths, targets, stops)
    for name, value in numpys(grads).items():
        if not name.startswith(("encoder.bias_hh", "decoder.bias_hh")):
            np.testing.assert_allclose(net.get_parameter(name).grad.numpy(), value.numpy(), rtol=1e-8, atol=1e-12)


def random_step(rng, N, S):
    W, U, V = (torch.from_numpy(rng.standard_normal(n)) for n in ((S, S), (N + 1, S), (S, N + 1)))

    def step(paths, state, open):
        if paths.shape[1]:
            state = torch.tanh(state @ W + U[paths[:, -1]])
        return (2 * state @ V).masked_fill(~open, -torch.inf).log_softmax(dim=1), state

    return step, torch.from_numpy(rng.standard_normal((1, S)))


def every_path(step, state, N, stops):
    """All valid paths with their log-probabilities, each walked by itself."""
    orders = [o for m in (range(N + 1) if stops else [N]) for o in itertools.permutations(range(N), m)]
    for order in orders:
        s, logp, left, path = state, 0.0, set(range(N)), []
        for k in (*order, N):
            open = torch.tensor([[j in left for j in range(N)] + [stops or not left]])
            scores, s = step(torch.tensor([path], dtype=torch.long), s, open)
            logp += scores[0, k].item()
            path.append(k)
            left -= {k}
        yield path, logp


@pytest.mark.parametrize("stops", [False, True])
def test_a_beam_with_room_for_all_finds_every_path_in_order(pointers, rng, stops):
    step, state = random_step(rng, 4, 3)
    found = pointers.beam_search(step, state, 4, 1000, stops)
    every = sorted(every_path(step, state, 4, stops), key=lambda item: -item[1])
    assert len(found) == len(every)
    for (path, logp), (theirs, their_logp) in zip(found, every, strict=True):
        assert path == theirs
        assert logp == pytest.approx(their_logp, rel=1e-5)


def test_a_beam_of_one_is_greedy(pointers, rng):
    for _ in range(10):
        step, state = random_step(rng, 6, 4)
        [(path, _)] = pointers.beam_search(step, state, 6, 1, True)
        s, greedy, open = state, [], torch.ones(1, 7, dtype=torch.bool)
        while not greedy or greedy[-1] != 6:
            scores, s = step(torch.tensor([greedy], dtype=torch.long), s, open)
            greedy.append(int(scores.argmax()))
            open[0, greedy[-1]] = greedy[-1] == 6
        assert path == greedy


def test_the_stored_weights_score_what_the_text_says(pointers):
    held, lengths = data.weights("06"), {}
    for name in ("tour", "hull"):
        net = pointers.PointerNet(2, 64, name == "hull")
        net.load_state_dict(
            {key[5:]: torch.tensor(w, dtype=torch.float32) for key, w in held.items() if key[:4] == name}
        )
        P = np.random.default_rng([90, 8]).random((100, 8, 2))
        x = torch.tensor(pointers.scaled(P), dtype=torch.float32)
        lengths[name] = P, pointers.point_out(net, x, torch.full((100,), 8))
    P, order = lengths["tour"]
    best = np.array([pointers.tsp_exact(p) for p in P])
    assert np.mean(pointers.tour_length(P, order[:, :8])) < 1.05 * np.mean(pointers.tour_length(P, best))
    P, order = lengths["hull"]
    exact = [[int(k) for k in row if k < 8] == pointers.hull_target(p) for p, row in zip(P, order, strict=True)]
    assert np.mean(exact) > 0.6
