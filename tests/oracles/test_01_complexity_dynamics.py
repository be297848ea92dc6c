"""The references of 01 against Pascal's triangle, enumeration, scipy, closed forms, autograd and finite differences."""

import itertools
import math
import zlib

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from scipy.linalg import expm
from torch import nn


@pytest.fixture(scope="module")
def world(reference):
    return reference("01")


def test_rule_90_is_pascals_triangle_and_rule_30_has_its_known_centre(world):
    state = np.zeros(101, dtype=np.uint8)
    state[50] = 1
    history = world.eca_run(state, 90, 40)
    for t in range(41):
        pascal = np.zeros(101, dtype=np.uint8)
        pascal[50 - t : 51 + t : 2] = [math.comb(t, i) % 2 for i in range(t + 1)]
        np.testing.assert_array_equal(history[t], pascal)
    centre = world.eca_run(state, 30, 15)[:, 50]
    assert "".join(map(str, centre)) == "1101110011000101"
    assert history.dtype == np.uint8


@pytest.mark.parametrize("rule", [0, 30, 45, 86, 110, 184, 255])
def test_an_automaton_is_a_lookup_by_strings(world, rng, rule):
    state = rng.integers(2, size=13).astype(np.uint8)
    table = dict(zip(itertools.product((1, 0), repeat=3), map(int, f"{rule:08b}"), strict=True))
    rows = [state.tolist()]
    for _ in range(6):
        row = rows[-1]
        rows.append([table[row[i - 1], row[i], row[(i + 1) % 13]] for i in range(13)])
    np.testing.assert_array_equal(world.eca_run(state, rule, 6), rows)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_block_entropies_are_scipys_and_known_ones(world, rng, k):
    state = (rng.random(50) < 0.3).astype(np.uint8)
    ring = np.r_[state, state].tolist()
    windows = [tuple(ring[i : i + k]) for i in range(50)]
    counts = [windows.count(block) for block in itertools.product((0, 1), repeat=k)]
    assert world.block_entropy(state, k) == pytest.approx(stats.entropy(counts, base=2))
    assert world.block_entropy(np.zeros(9, dtype=np.uint8), k) == 0
    assert world.block_entropy(np.tile([0, 1], 8).astype(np.uint8), k) == pytest.approx(1)
    assert world.block_entropy(np.tile([0, 1, 1], 4).astype(np.uint8), 12) == pytest.approx(math.log2(3))
    flips = rng.integers(2, size=200_000).astype(np.uint8)
    assert world.block_entropy(flips, k) == pytest.approx(k, abs=1e-3)


def turned(grid, turns, backwards=False):
    """Every block by itself, with rot90."""
    grid, (H, W) = grid.copy(), grid.shape
    times = range(len(turns))
    for t in reversed(times) if backwards else times:
        for i, j in np.ndindex(H // 2, W // 2):
            at = np.ix_((2 * i + t % 2 + np.arange(2)) % H, (2 * j + t % 2 + np.arange(2)) % W)
            sign = -1 if grid[at].sum() % 2 else 1  # rot90 turns anticlockwise
            grid[at] = np.rot90(grid[at], (-sign if backwards else sign) * turns[t, i, j])
    return grid


@pytest.mark.parametrize(("H", "W", "T"), [(2, 2, 3), (4, 6, 5), (8, 6, 4), (2, 8, 1)])
def test_blocks_turn_as_rot90_and_back(world, rng, H, W, T):
    grid, turns = rng.integers(2, size=(H, W)).astype(np.uint8), rng.integers(4, size=(T, H // 2, W // 2))
    there = world.margolus_run(grid, turns)
    np.testing.assert_array_equal(there, turned(grid, turns))
    assert there.sum() == grid.sum()
    np.testing.assert_array_equal(world.margolus_run(there, turns, backwards=True), grid)
    undone = world.margolus_run(grid, turns, True)
    np.testing.assert_array_equal(undone, turned(grid, turns, True))
    np.testing.assert_array_equal(world.margolus_run(undone, turns), grid)
    assert there.dtype == np.uint8


@pytest.mark.parametrize(
    ("H", "W", "c", "levels"),
    [(6, 9, 3, 4), (8, 4, 4, 3), (10, 5, 5, 5), (4, 4, 1, 2), (63, 70, 7, 49), (64, 96, 32, 255)],
)
def test_coarse_measures_are_averages_scipys_entropy_and_zlibs_size(world, rng, H, W, c, levels):
    grid = rng.integers(2, size=(H, W)).astype(np.uint8)
    grid[:c, :c] = 1
    picture, bits, size = world.coarse_measures(grid, c, levels)
    m = nn.functional.avg_pool2d(torch.tensor(grid[None], dtype=torch.float64), c)[0].numpy()
    borders = [k / levels for k in range(1, levels)]
    np.testing.assert_array_equal(picture, np.digitize(np.rint(m * c * c) / c**2, borders))
    assert bits == pytest.approx(np.mean([stats.entropy([p, 1 - p], base=2) for p in m.ravel()]))
    assert size == len(zlib.compress(bytes(picture.ravel().tolist()), 9))
    assert picture.dtype == np.uint8


def test_what_does_nothing_still_makes_new_arrays(world, rng):
    state, grid = rng.integers(2, size=(1, 8)).astype(np.uint8)[0], rng.integers(2, size=(4, 6)).astype(np.uint8)
    u, dy = rng.random((2, 3, 4))
    y, cache = world.diffuse_forward(u, 0.2, 0)
    du, drate = world.diffuse_backward(dy, cache)
    pairs = [(world.eca_run(state, 30, 0)[0], state), (world.margolus_run(grid, np.zeros((0, 2, 3), dtype=int)), grid)]
    for result, given in (*pairs, (y, u), (du, dy)):
        np.testing.assert_array_equal(result, given)
        assert not np.shares_memory(result, given)
    assert drate == 0


def laplacian(H, W):
    """The graph Laplacian of a grid, with a minus."""
    matrix = np.zeros((H * W, H * W))
    cells = list(np.ndindex(H, W))
    for a, b in itertools.combinations(range(H * W), 2):
        if abs(cells[a][0] - cells[b][0]) + abs(cells[a][1] - cells[b][1]) == 1:
            matrix[a, b] = matrix[b, a] = 1
    return matrix - np.diag(matrix.sum(axis=1))


@pytest.mark.parametrize(("H", "W", "steps"), [(3, 4, 5), (1, 6, 3), (5, 2, 0)])
def test_diffusion_is_a_power_of_a_matrix_and_goes_back_by_its_transpose(world, rng, H, W, steps):
    u, dy, L = rng.standard_normal((H, W)), rng.standard_normal((H, W)), laplacian(H, W)
    y, cache = world.diffuse_forward(u, 0.23, steps)
    step = np.eye(H * W) + 0.23 * L
    np.testing.assert_allclose(y.ravel(), np.linalg.matrix_power(step, steps) @ u.ravel(), atol=1e-12)
    np.testing.assert_allclose(y.sum(), u.sum())
    du, drate = world.diffuse_backward(dy, cache)
    np.testing.assert_allclose(du.ravel(), np.linalg.matrix_power(step, steps).T @ dy.ravel(), atol=1e-12)
    numeric = (world.diffuse_forward(u, 0.23 + 1e-6, steps)[0] - world.diffuse_forward(u, 0.23 - 1e-6, steps)[0]) / 2e-6
    assert drate == pytest.approx(np.sum(numeric * dy), abs=1e-6)


def test_small_steps_of_diffusion_are_the_heat_kernel(world, rng):
    u = rng.random((3, 4))
    y, _ = world.diffuse_forward(u, 1e-4, 5000)
    np.testing.assert_allclose(y.ravel(), expm(0.5 * laplacian(3, 4)) @ u.ravel(), atol=1e-4)
    image = ndimage.convolve(u, [[0, 1, 0], [1, -4, 1], [0, 1, 0]], mode="nearest")
    np.testing.assert_allclose(world.diffuse_forward(u, 0.2, 1)[0], u + 0.2 * image)


@pytest.mark.parametrize("shape", [(3, 4), (1, 5), (6, 1)])
def test_entropies_of_places_are_scipys_with_autograd(world, rng, shape):
    u = rng.exponential(size=shape) + 1e-3
    bits, gradient = world.spread_entropy(u)
    assert bits == pytest.approx(stats.entropy(u.ravel(), base=2))
    leaf = torch.tensor(u, requires_grad=True)
    p = leaf / leaf.sum()
    (-(p * torch.log2(p)).sum()).backward()
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_a_soft_rule_is_an_expectation_over_certain_rows_and_reads_its_number(world, rng):
    model = world.SoftRule().double()
    assert [tuple(p.shape) for p in model.parameters()] == [(8,)]
    with torch.no_grad():
        model.logits.copy_(torch.tensor(rng.standard_normal(8)))
    logits = model.logits.tolist()
    x, expected = rng.random((2, 4)), np.zeros((2, 4))
    for row in itertools.product((0, 1), repeat=4):
        weight = np.prod(np.where(np.array(row) == 1, x, 1 - x), axis=1)
        for i in range(4):
            n = 4 * row[i - 1] + 2 * row[i] + row[(i + 1) % 4]
            expected[:, i] += weight / (1 + math.exp(-logits[n]))
    leaf = torch.tensor(x, requires_grad=True)
    np.testing.assert_allclose(model(leaf).detach().numpy(), expected)
    assert torch.autograd.gradcheck(model, (leaf,))
    for rule in (0, 30, 86, 110, 255):
        with torch.no_grad():
            model.logits.copy_(torch.tensor([500.0 if rule >> n & 1 else -500.0 for n in range(8)]))
        rows = world.eca_run(rng.integers(2, size=20).astype(np.uint8), rule, 1)
        answered = model(torch.tensor(rows[:1], dtype=torch.float64)).detach()[0].numpy()
        np.testing.assert_allclose(answered, rows[1], atol=1e-12)
        assert model.rule() == rule


def test_the_twin_of_diffusion_agrees_with_a_matrix_and_autograd(world, rng):
    model = world.Diffusion(0.125).double()
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {"rate": ()}
    u = rng.standard_normal((3, 4, 5))
    leaf = torch.tensor(u, requires_grad=True)
    step = np.linalg.matrix_power(np.eye(20) + 0.125 * laplacian(4, 5), 3)
    np.testing.assert_allclose(model(leaf, 3).detach().numpy().reshape(3, 20), u.reshape(3, 20) @ step.T, atol=1e-12)
    dy = rng.standard_normal(u.shape)
    model(leaf, 3).backward(torch.tensor(dy))
    backs = [world.diffuse_backward(g, world.diffuse_forward(a, 0.125, 3)[1]) for a, g in zip(u, dy, strict=True)]
    np.testing.assert_allclose(leaf.grad.numpy(), [du for du, _ in backs], atol=1e-12)
    assert model.rate.grad.item() == pytest.approx(sum(drate for _, drate in backs))
