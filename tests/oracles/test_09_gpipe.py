"""The references of 09 against brute force, longest paths, autograd and torch's own checkpoint; and its judges."""

import contextlib
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import NegativeCycleError, bellman_ford
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from autograder.engine.inside.observe import load_grader

GRADER = Path(__file__).resolve().parents[2] / "autograder" / "graders" / "test_09_gpipe.py"


@pytest.fixture(scope="module")
def gpipe(reference):
    return reference("09")


@pytest.fixture(scope="module")
def judges():
    return load_grader(GRADER)


# balanced_partition -------------------------------------------------------------------------------------------------


def all_cuts(L, K):
    """Every split of L layers into K cells, none of them empty."""
    for inner in itertools.combinations(range(1, L), K - 1):
        yield list(itertools.pairwise((0, *inner, L)))


def heaviest(costs, cells):
    return max(sum(costs[start:stop]) for start, stop in cells)


@pytest.mark.parametrize(("L", "K"), [(L, K) for L in range(1, 9) for K in range(1, L + 1)])
def test_balanced_partition_is_the_best_of_all_cuts(gpipe, rng, L, K):
    for costs in (rng.uniform(0.1, 5.0, size=L), rng.integers(1, 4, size=L).astype(float), np.ones(L)):
        cells = gpipe.balanced_partition(costs, K)
        listed = list(all_cuts(L, K))
        assert cells in listed
        assert math.isclose(heaviest(costs, cells), min(heaviest(costs, cut) for cut in listed), rel_tol=1e-12)


def test_balanced_partition_of_many_layers_can_not_be_lighter(gpipe, rng):
    costs = np.exp(rng.standard_normal(80))
    for K in (3, 9, 20):
        limit = heaviest(costs, gpipe.balanced_partition(costs, K)) * (1 - 1e-9)
        cells, room = 1, limit
        for cost in costs:  # the fewest cells whose costs stay below a limit: fill each as far as it goes
            cells, room = (cells, room - cost) if cost <= room else (cells + 1, limit - cost)
        assert cells > K or max(costs) > limit


@pytest.mark.parametrize(("L", "K"), [(1, 1), (5, 2), (6, 3), (7, 4), (6, 6)])
def test_the_judge_accepts_every_best_cut_and_no_other(gpipe, judges, rng, L, K):
    for costs in (rng.uniform(0.1, 5.0, size=L), rng.integers(1, 3, size=L).astype(float), np.ones(L)):
        expected = gpipe.balanced_partition(costs, K)
        best = heaviest(costs, expected)
        for cells in all_cuts(L, K):
            told = judges.best_cut([list(cell) for cell in cells], expected, costs)
            assert (told is None) == (heaviest(costs, cells) <= best * (1 + 1e-9)), (cells, told)


@pytest.mark.parametrize(
    ("got", "told"),
    [
        (None, "NoneType"),
        ([(0, 2), (2, 4)], "3 are asked"),
        ([(0, 2), (2, 2), (2, 4)], "empty"),
        ([(0, 1), (2, 3), (3, 4)], "starts at layer 2"),
        ([(1, 2), (2, 3), (3, 4)], "the first layer is"),
        ([(0, 2), (1, 3), (3, 4)], "starts at layer 1"),
        ([(0, 1), (1, 2), (2, 3)], "there are 4 layers"),
        ([(0, 1), (1, 2), (2, 4.0)], "pair of ints"),
        ([(0, 1), (1, 2), 2], "pair of ints"),
        ([(2, 4), (1, 2), (0, 1)], "starts at layer 2"),
        ([(0, 1), (1, 2), (2, 4)], "a split whose heaviest costs 4"),
    ],
)
def test_the_judge_says_what_is_wrong_with_a_cut(judges, got, told):
    costs = np.array([1.0, 1.0, 4.0, 1.0])
    assert told in judges.best_cut(got, [(0, 2), (2, 3), (3, 4)], costs)


# gpipe_schedule -----------------------------------------------------------------------------------------------------


def end_of(orders, K, M, tf, tb):
    """When the last operation ends if each device takes its operations in a given order: the longest path."""
    events = [(op, k, m) for op in "FB" for k in range(K) for m in range(M)]
    index = {event: i + 1 for i, event in enumerate(events)}
    length = {"F": tf, "B": tb}
    edges = {(0, index[event]): 0.0 for event in events}
    for op, k, m in events:
        if op == "F" and k:
            edges[index["F", k - 1, m], index["F", k, m]] = tf
        if op == "B":
            edges[index["F", k, m], index["B", k, m]] = tf
            if k < K - 1:
                edges[index["B", k + 1, m], index["B", k, m]] = tb
    for k, order in enumerate(orders):
        for (op, m), (next_op, next_m) in itertools.pairwise(order):
            edges[index[op, k, m], index[next_op, k, next_m]] = length[op]
    rows, columns = zip(*edges, strict=True)
    weights = -np.array(list(edges.values())) - 1e-12  # sparse graphs drop zeros
    distances = bellman_ford(csr_array((weights, (rows, columns)), shape=(len(events) + 1,) * 2), indices=0)
    return max(-distances[index[op, k, m]] + length[op] for op, k, m in events)


@pytest.mark.parametrize(("tf", "tb"), [(1.0, 2.0), (1.0, 1.0), (2.0, 0.5)])
@pytest.mark.parametrize(("K", "M"), [(1, 2), (2, 1), (2, 2), (3, 2)])
def test_no_order_of_a_flushed_schedule_ends_earlier(gpipe, K, M, tf, tb):
    ends = []
    waves = list(itertools.permutations(range(M)))
    for orders in itertools.product(itertools.product(waves, waves), repeat=K):
        listed = [[("F", m) for m in forward] + [("B", m) for m in back] for forward, back in orders]
        with contextlib.suppress(NegativeCycleError):  # orders that wait for each other
            ends.append(end_of(listed, K, M, tf, tb))
    last = max(end for *_, end in gpipe.gpipe_schedule(K, M, tf, tb))
    assert last == pytest.approx(min(ends), abs=1e-9)
    assert last == pytest.approx((M + K - 1) * (tf + tb), rel=1e-12)


@pytest.mark.parametrize(("K", "M"), [(1, 1), (1, 5), (4, 1), (3, 4), (4, 8), (6, 2)])
def test_gpipe_schedule_keeps_the_rules_in_integer_time(gpipe, K, M):
    at = {}
    for op, k, m, start, end in gpipe.gpipe_schedule(K, M, 2.0, 3.0):
        assert end - start == (2 if op == "F" else 3)
        for tick in range(int(start), int(end)):
            assert (k, tick) not in at, "two operations of one device at once"
            at[k, tick] = op, m
    first = {(op, k, m): min(t for (d, t), what in at.items() if d == k and what == (op, m)) for op in "FB"
             for k in range(K) for m in range(M)}  # fmt: skip
    last = {key: max(t for (d, t), what in at.items() if d == key[1] and what == (key[0], key[2])) for key in first}
    for m in range(M):
        for k in range(K):
            assert k == 0 or first["F", k, m] > last["F", k - 1, m]
            assert k == K - 1 or first["B", k, m] > last["B", k + 1, m]
            assert first["B", k, m] > max(last["F", k, other] for other in range(M))
    assert max(tick for _, tick in at) + 1 == (M + K - 1) * 5


def valid(rng, K, M, tf, tb):
    """One of the many best schedules: micro-batches in any order, forward and backward, the list shuffled."""
    forward, back = rng.permutation(M).tolist(), rng.permutation(M).tolist()
    events = []
    for k in range(K):
        events += [("F", k, m, (k + i) * tf, (k + i + 1) * tf) for i, m in enumerate(forward)]
        since = (M + K - 1) * tf + (K - 1 - k) * tb
        events += [("B", k, m, since + i * tb, since + (i + 1) * tb) for i, m in enumerate(back)]
    return [events[i] for i in rng.permutation(len(events))]


def test_the_judge_accepts_every_best_schedule(gpipe, judges, rng):
    for K, M in [(1, 1), (1, 4), (4, 1), (2, 3), (4, 8), (5, 2)]:
        tf, tb = rng.uniform(0.3, 3.0, size=2).tolist()
        for _ in range(20):
            assert judges.valid_schedule(valid(rng, K, M, tf, tb), [], K, M, tf, tb) is None
        own = gpipe.gpipe_schedule(K, M, tf, tb)
        assert judges.valid_schedule(own, [], K, M, tf, tb) is None
    late = [("F", 0, 0, 0, 1), ("F", 0, 1, 1, 2), ("F", 1, 0, 1, 2), ("F", 1, 1, 2, 3), ("B", 1, 0, 3, 5)]
    late += [("B", 1, 1, 5, 7), ("B", 0, 0, 6, 8), ("B", 0, 1, 8, 10)]
    assert "could start at 5" in judges.valid_schedule(late, [], 2, 2, 1.0, 2.0)


def changed(events, **times):
    """A schedule in which some events start at other times; `F10` is F(1, 0)."""
    moved = []
    for op, k, m, start, end in events:
        shift = times.get(f"{op}{k}{m}", start) - start
        moved.append((op, k, m, start + shift, end + shift))
    return moved


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda events: None, "NoneType"),
        (lambda events: events[1:], "missing"),
        (lambda events: [*events, events[0]], "twice"),
        (lambda events: [("forward", *event[1:]) for event in events], "'F' or 'B'"),
        (lambda events: [(op, k, m + 1, s, e) for op, k, m, s, e in events], "batches 0 to 1"),
        (lambda events: [(op, k, m, s, e, 0) for op, k, m, s, e in events], "tuple"),
        (lambda events: [(op, k, m, s, float("nan")) for op, k, m, s, e in events], "no times"),
        (lambda events: [(op, k, m, s, e + 1) for op, k, m, s, e in events], "it takes"),
        (lambda events: [(op, k, m, s - 1, e - 1) for op, k, m, s, e in events], "before 0"),
        (lambda events: [(op, k, m, s + 1, e + 1) for op, k, m, s, e in events], "1 later than equation (2)"),
        (lambda events: changed(events, F01=0.5), "two things at once"),
        (lambda events: changed(events, F10=0, F11=2), "F(1, 0), which runs from 0 to 1, starts before what it needs"),
        (lambda events: changed(events, B01=4.5, B00=6.5), "B(0, 1), which runs from 4.5 to 6.5, starts before"),
        (
            lambda events: [
                ("F", 0, 0, 0, 1), ("F", 1, 0, 1, 2), ("B", 1, 0, 2, 4), ("F", 0, 1, 1, 2), ("F", 1, 1, 4, 5),
                ("B", 1, 1, 5, 7), ("B", 0, 0, 4, 6), ("B", 0, 1, 7, 9),
            ],
            "flushes first",
        ),
        (
            lambda events: [
                ("F", 0, 0, 0, 1), ("F", 1, 0, 1, 2), ("F", 0, 1, 2, 3), ("F", 1, 1, 3, 4),
                ("B", 1, 0, 4, 6), ("B", 0, 0, 6, 8), ("B", 1, 1, 8, 10), ("B", 0, 1, 10, 12),
            ],
            "never more than one device",
        ),
    ],
)  # fmt: skip
def test_the_judge_says_which_rule_is_broken(gpipe, judges, spoil, told):
    events = spoil(gpipe.gpipe_schedule(2, 2, 1.0, 2.0))
    assert told in judges.valid_schedule(events, [], 2, 2, 1.0, 2.0)


# bubble_fraction, peak_activations ----------------------------------------------------------------------------------


def integer_schedule(rng, K, M):
    """Operations with whole times, per device one after the other, with gaps; B after F."""
    events = []
    for k in range(K):
        clock, ahead, waiting = int(rng.integers(4)), list(range(M)), []
        while ahead or waiting:
            forward = bool(ahead) and (not waiting or rng.random() < 0.5)
            m = ahead.pop(int(rng.integers(len(ahead)))) if forward else waiting.pop(int(rng.integers(len(waiting))))
            waiting += [m] if forward else []
            length = int(rng.integers(1, 4))
            events.append(("F" if forward else "B", k, m, clock, clock + length))
            clock += length + int(rng.integers(3))
    return [events[i] for i in rng.permutation(len(events))]


@pytest.mark.parametrize(("K", "M"), [(1, 1), (2, 3), (4, 5)])
def test_bubble_fraction_counts_idle_ticks(gpipe, rng, K, M):
    for spare in (0, 2):
        events = integer_schedule(rng, K, M)
        ticks = range(min(e[3] for e in events), max(e[4] for e in events))
        idle = [not any(k == e[1] and e[3] <= t < e[4] for e in events) for k in range(K + spare) for t in ticks]
        assert gpipe.bubble_fraction(events, K + spare) == pytest.approx(np.mean(idle), abs=1e-12)


def test_bubble_fraction_of_gpipe_is_the_papers(gpipe):
    found = {(K, M): gpipe.bubble_fraction(gpipe.gpipe_schedule(K, M), K) for K in (1, 4, 8) for M in (1, 4, 8, 32)}
    assert {pair: round(bubble, 4) for pair, bubble in found.items() if pair in ((4, 1), (4, 8), (4, 32), (8, 32))} == {
        (4, 1): 0.75, (4, 8): 0.2727, (4, 32): 0.0857, (8, 32): 0.1795,
    }  # fmt: skip
    assert all(bubble == pytest.approx((K - 1) / (M + K - 1), abs=1e-12) for (K, M), bubble in found.items())


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize(("K", "M"), [(1, 1), (2, 4), (3, 6)])
def test_peak_activations_looks_at_every_tick(gpipe, rng, K, M, remat):
    events = integer_schedule(rng, K, M)
    layers, sizes = rng.integers(1, 6, size=K).tolist(), rng.integers(1, 9, size=M).tolist()
    peaks = []
    for k in range(K):
        times = {(op, m): (start, end) for op, device, m, start, end in events if device == k}
        rows = []
        for tick in range(max(end for _, end in times.values())):
            live = [m for m in range(M) if times["F", m][0] <= tick < times["B", m][1]]
            back = [m for m in live if times["B", m][0] <= tick]
            if remat:
                rows.append(sum(sizes[m] for m in live) + sum((layers[k] - 1) * sizes[m] for m in back))
            else:
                rows.append(layers[k] * sum(sizes[m] for m in live))
        peaks.append(max(rows))
    assert gpipe.peak_activations(events, layers, sizes, remat) == peaks


@pytest.mark.parametrize(("L", "K", "N", "M"), [(16, 4, 64, 8), (12, 3, 30, 5), (8, 1, 16, 4), (6, 6, 12, 1)])
def test_peak_activations_of_gpipe_is_equation_5(gpipe, L, K, N, M):
    events, layers, sizes = gpipe.gpipe_schedule(K, M), [L // K] * K, [N // M] * M
    assert gpipe.peak_activations(events, layers, sizes, False) == [L // K * N] * K
    assert gpipe.peak_activations(events, layers, sizes, True) == [N + (L // K - 1) * N // M] * K


def test_the_given_1f1b_keeps_the_rules_and_holds_few(gpipe):
    for K, M in [(1, 3), (3, 2), (4, 8), (4, 4)]:
        events = gpipe.one_f_one_b(K, M, 1.0, 2.0)
        times = {(op, k, m): (start, end) for op, k, m, start, end in events}
        assert len(times) == len(events) == 2 * K * M
        for (op, k, m), (start, _) in times.items():
            before = ("F", k - 1, m) if op == "F" else ("B", k + 1, m) if k < K - 1 else ("F", k, m)
            assert before not in times or start >= times[before][1]
        for k in range(K):
            mine = sorted(span for (_, device, _), span in times.items() if device == k)
            assert all(a[1] <= b[0] for a, b in itertools.pairwise(mine))
        assert max(end for _, end in times.values()) == (M + K - 1) * 3
        assert gpipe.peak_activations(events, [1] * K, [1] * M, False) == [min(K - k, M) for k in range(K)]


# stage_backward, pipeline_grads, remat_backward ----------------------------------------------------------------------


def draw_stage(rng, widths):
    return [(rng.standard_normal((a, b)) / np.sqrt(a), rng.standard_normal(b)) for a, b in itertools.pairwise(widths)]


def torch_stage(stage):
    return [tuple(torch.tensor(array, requires_grad=True) for array in pair) for pair in stage]


def torch_forward(stage, x, p=0.0, seed=0):
    """The layers in torch, with the masks that NumPy's generator gives."""
    dice = np.random.default_rng(seed)
    for W, b in stage:
        t = torch.tanh(x)
        if p:
            t = t * torch.from_numpy((dice.random(tuple(t.shape)) >= p) / (1 - p))
        x = t @ W + b
    return x


def same(ours, theirs):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize(("n", "widths"), [(1, (1, 1)), (5, (3, 6, 2, 4)), (4, (2, 7))])
def test_stage_backward_and_remat_backward_are_autograds(gpipe, rng, n, widths, p):
    stage, x, dout = draw_stage(rng, widths), rng.standard_normal((n, widths[0])), rng.standard_normal((n, widths[-1]))
    leaf, theirs = torch.tensor(x, requires_grad=True), torch_stage(stage)
    out = torch_forward(theirs, leaf, p, 3)
    out.backward(torch.from_numpy(dout))
    ours, cache = gpipe.stage_forward(stage, x, p, np.random.default_rng(3))
    same(ours, out)
    kept = gpipe.remat_forward(stage, x, p, np.random.default_rng(3))
    np.testing.assert_array_equal(kept[0], ours)
    stored, again = gpipe.stage_backward(dout, cache), gpipe.remat_backward(dout, kept[1])
    for dx, grads in (stored, again):
        same(dx, leaf.grad)
        for pair, expected in zip(grads, theirs, strict=True):
            for gradient, parameter in zip(pair, expected, strict=True):
                same(gradient, parameter.grad)
    np.testing.assert_array_equal(stored[0], again[0])  # bit for bit
    for pair, other in zip(stored[1], again[1], strict=True):
        np.testing.assert_array_equal(pair[0], other[0])
        np.testing.assert_array_equal(pair[1], other[1])


def test_remat_backward_finds_the_masks_of_each_micro_batch(gpipe, rng):
    stage, xs = draw_stage(rng, (4, 5, 4)), rng.standard_normal((3, 6, 4))
    douts = rng.standard_normal((3, 6, 4))
    dice, dice_again = np.random.default_rng(8), np.random.default_rng(8)
    stored = [gpipe.stage_forward(stage, x, 0.5, dice)[1] for x in xs]
    kept = [gpipe.remat_forward(stage, x, 0.5, dice_again)[1] for x in xs]
    for m in (1, 2, 0):
        expected, got = gpipe.stage_backward(douts[m], stored[m])[0], gpipe.remat_backward(douts[m], kept[m])[0]
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("M", [1, 2, 3, 7])
def test_pipeline_grads_is_the_full_batch_in_torch_whatever_M(gpipe, rng, M):
    layers = draw_stage(rng, (4, 6, 5, 3))
    X, y = rng.standard_normal((7, 4)), rng.integers(3, size=7)
    loss, grads = gpipe.pipeline_grads([layers[:2], layers[2:]], X, y, M)
    theirs = torch_stage(layers)
    expected = F.cross_entropy(torch_forward(theirs, torch.from_numpy(X)), torch.from_numpy(y))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    assert [len(stage) for stage in grads] == [2, 1]
    for pair, parameters in zip([*grads[0], *grads[1]], theirs, strict=True):
        same(pair[0], parameters[0].grad)
        same(pair[1], parameters[1].grad)


def test_recomputing_pays_between_the_ends_as_the_text_found(gpipe):
    cells = [1, 2, 4, 8, 16]
    kept, again = ([gpipe.peak_rows(K, remat) for K in cells] for remat in (False, True))
    assert cells[int(np.argmin(again))] == 4
    assert again[2] < 0.7 * min(kept)
    assert all(3.5 < peak - (K + 16 / K - 1) < 6.5 for K, peak in zip(cells, again, strict=True))
    assert all(again[i] > kept[i] for i in (0, -1))


# PyTorch ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remat", [False, True])
def test_pipeline_model_is_the_plain_chain_with_its_gradients(gpipe, remat):
    torch.manual_seed(1)
    layers = [gpipe.Layer(*widths) for widths in itertools.pairwise((4, 6, 3, 5, 2))]
    x, dout = torch.randn(7, 4, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64)
    plain = nn.Sequential(*layers)(x)
    parameters = [p for layer in layers for p in layer.parameters()]
    expected = torch.autograd.grad(plain, parameters, dout)
    model = gpipe.PipelineModel(layers, [(0, 1), (1, 4)], remat)
    passes = []
    for layer in layers:
        layer.register_forward_pre_hook(lambda module, _: passes.append(layers.index(module)))
    assert [name for name, _ in model.named_parameters()] == [
        *("cells.0.0.W", "cells.0.0.b"), *(f"cells.1.{i}.{name}" for i in range(3) for name in "Wb")
    ]  # fmt: skip
    out = model(x)
    torch.testing.assert_close(out, plain, rtol=0, atol=0)
    torch.testing.assert_close(torch.autograd.grad(out, parameters, dout), expected, rtol=1e-12, atol=1e-14)
    assert passes == [0, 1, 2, 3] + ([1, 2, 3, 0] if remat else [])  # the last cell is recomputed first


def test_pipeline_model_drops_the_same_units_again(gpipe):
    torch.manual_seed(7)
    layers = [gpipe.Layer(4, 6), nn.Dropout(0.5), gpipe.Layer(6, 5), nn.Dropout(0.5), gpipe.Layer(5, 2)]
    x, found = torch.randn(7, 4, dtype=torch.float64), []
    for remat in (False, True):
        model = gpipe.PipelineModel(layers, [(0, 2), (2, 5)], remat)
        torch.manual_seed(8)
        found.append(torch.autograd.grad(model(x).sum(), list(model.parameters())))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


@pytest.mark.parametrize("M", [1, 3, 10])
def test_microbatch_step_is_one_step_on_the_full_batch(gpipe, M):
    def network():
        torch.manual_seed(2)
        model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()
        return model, torch.optim.Adam(model.parameters(), lr=0.01)

    (ours, our_optimiser), (theirs, their_optimiser) = network(), network()
    for _ in range(4):
        X, y = torch.randn(10, 5, dtype=torch.float64), torch.randint(4, (10,))
        value = gpipe.microbatch_step(ours, X, y, M, our_optimiser)
        their_optimiser.zero_grad()
        loss = F.cross_entropy(theirs(X), y)
        loss.backward()
        their_optimiser.step()
        assert isinstance(value, float)
        assert value == pytest.approx(loss.item(), rel=1e-9)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)


def test_saved_bytes_is_what_derivatives_need(gpipe):
    x, y = (torch.randn(6, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for run, arrays in [
        (lambda: x + y, 0),
        (lambda: x * y, 2),  # each is the other's derivative
        (lambda: x.exp(), 1),  # the result is its own derivative
        (lambda: torch.tanh(torch.tanh(x)), 2),  # 1 - tanh² needs the result
        (lambda: (x + y) * (x + y), 2),
        (lambda: x.T @ x, 1),  # twice the same storage
        (lambda: x[:2] * y[1:3], 2),  # a view keeps all of its storage
    ]:
        result, size = gpipe.saved_bytes(run, [])
        assert size == 8 * 30 * arrays
        torch.testing.assert_close(result, run())
    W = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert gpipe.saved_bytes(lambda: torch.tanh(x) @ W, [W])[1] == 8 * 30
    assert gpipe.saved_bytes(lambda: torch.tanh(x) @ W, [])[1] == 8 * (30 + 15)
    halves = [torch.randn(6, 5, dtype=torch.float32, requires_grad=True) for _ in range(2)]
    assert gpipe.saved_bytes(lambda: halves[0] * halves[1], [])[1] == 2 * 4 * 30
    V = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)  # its transpose is what is saved
    assert gpipe.saved_bytes(lambda: torch.tanh(x) @ V.T, [V])[1] == 8 * 30
    result, _ = gpipe.saved_bytes(lambda: (x * y).sum(), [])
    torch.testing.assert_close(torch.autograd.grad(result, x)[0], y)


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_checkpoint_class_is_torchs_checkpoint(gpipe, p):
    torch.manual_seed(3)
    cell = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(p), nn.Linear(6, 3), nn.Dropout(p)).double()
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    dout = torch.randn(5, 3, dtype=torch.float64)
    leaves = [x, *cell.parameters()]
    torch.manual_seed(4)
    expected = checkpoint(cell, x, use_reentrant=False)
    torch.manual_seed(4)
    out, size = gpipe.saved_bytes(lambda: gpipe.Checkpoint.apply(cell, x, *cell.parameters()), cell.parameters())
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(out, leaves, dout), torch.autograd.grad(expected, leaves, dout), rtol=1e-12, atol=1e-14
    )
    assert size == 8 * 5 * 4
    found = {}
    for name, run in (("ours", lambda: gpipe.Checkpoint.apply(cell, x, *cell.parameters())),
                      ("theirs", lambda: checkpoint(cell, x, use_reentrant=False))):  # fmt: skip
        for leaf in leaves:
            leaf.grad = None
        torch.manual_seed(6)
        run().backward(dout)
        found[name] = [leaf.grad for leaf in leaves]
    torch.testing.assert_close(found["ours"], found["theirs"], rtol=1e-12, atol=1e-14)


def test_checkpoint_class_passes_gradcheck_and_leaves_the_generator_alone(gpipe):
    torch.manual_seed(5)
    cell = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: gpipe.Checkpoint.apply(cell, x, *cell.parameters()), (x,))
    data, parameters = x.detach(), list(cell.parameters())
    found = torch.autograd.grad(gpipe.Checkpoint.apply(cell, data, *parameters).sum(), parameters)
    torch.testing.assert_close(found, torch.autograd.grad(cell(data).sum(), parameters), rtol=1e-12, atol=1e-14)
    out = gpipe.Checkpoint.apply(cell, x, *cell.parameters())
    torch.rand(3)
    before = torch.get_rng_state()
    out.sum().backward()
    assert torch.equal(torch.get_rng_state(), before)
