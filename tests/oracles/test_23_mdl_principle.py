"""The references of 23 against brute force, scipy, exact fractions, torch.distributions, autograd and Monte Carlo."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import nn

from autograder.engine.inside.observe import load_grader
from course.base.project import Project


@pytest.fixture(scope="module")
def mdl(reference):
    return reference("23")


def prefix_free(words):
    return not any(a != b and b.startswith(a) for a in words for b in words) and len(set(words)) == len(words)


def test_elias_gamma_encode_is_a_code_that_elias_gamma_decode_undoes(mdl):
    words = [mdl.elias_gamma_encode(n) for n in range(1, 10_001)]
    assert [mdl.elias_gamma_decode(word) for word in words] == [(n, "") for n in range(1, 10_001)]
    assert prefix_free(words[:300])
    assert all(mdl.elias_gamma_decode(mdl.elias_gamma_encode(3**k) + "01") == (3**k, "01") for k in range(300))
    assert sum(Fraction(1, 2 ** len(word)) for word in words[: 2**13 - 1]) == 1 - Fraction(1, 2**13)
    assert all(len(word) == 2 * math.floor(math.log2(n)) + 1 for n, word in enumerate(words, 1))


def test_elias_gamma_decode_reads_a_long_stream_and_refuses_every_cut(mdl, rng):
    numbers = rng.integers(1, 5000, size=300).tolist()
    stream, found = "".join(map(mdl.elias_gamma_encode, numbers)), []
    while stream:
        n, stream = mdl.elias_gamma_decode(stream)
        found.append(n)
    assert found == numbers
    word = mdl.elias_gamma_encode(1234)
    for length in range(len(word)):
        with pytest.raises(ValueError, match="ends"):
            mdl.elias_gamma_decode(word[:length])


def test_elias_gamma_encode_refuses_what_it_has_no_word_for(mdl):
    with pytest.raises(ValueError, match="starts at 1"):
        mdl.elias_gamma_encode(0)


def least_length(counts):
    """The shortest message by a prefix-free code: every profile of lengths that satisfies Kraft's inequality."""
    most = max(1, len(counts) - 1)
    profiles = itertools.product(range(1, most + 1), repeat=len(counts))
    return min(
        sum(c * length for c, length in zip(counts, lengths, strict=True))
        for lengths in profiles
        if sum(Fraction(1, 2**length) for length in lengths) <= 1
    )


@pytest.mark.parametrize("symbols", [1, 2, 3, 4, 5])
def test_huffman_is_the_best_of_all_length_profiles(mdl, rng, symbols):
    for _ in range(15):
        counts = dict(zip("abcde", rng.integers(1, 12, size=symbols).tolist(), strict=False))
        code = mdl.huffman(counts)
        assert set(code) == set(counts)
        assert prefix_free(list(code.values()))
        assert all(word and set(word) <= {"0", "1"} for word in code.values())
        assert sum(counts[s] * len(code[s]) for s in counts) == least_length(list(counts.values()))


@pytest.mark.parametrize("counts", [{"a": 3, "b": 3, "c": 3}, {"a": 5, "b": 2, "c": 1}, {"a": 2, "b": 1}, {"a": 4}])
def test_the_judge_of_huffman_accepts_every_optimal_code_and_no_other(mdl, counts):
    judge = load_grader(Project().grader("23_mdl_principle")).an_optimal_code
    words = ["".join(bits) for length in range(4) for bits in itertools.product("01", repeat=length)]
    accepted = 0
    for chosen in itertools.product(words, repeat=len(counts)):
        code = dict(zip(counts, chosen, strict=True))
        right = all(chosen) and prefix_free(chosen)
        right = right and sum(counts[s] * len(code[s]) for s in counts) == least_length(list(counts.values()))
        accepted += right
        assert (judge(code, mdl.huffman(counts), counts) is None) == right
    assert accepted == (2 if len(counts) < 3 else 12 if counts["a"] == counts["b"] else 4)
    assert judge({**mdl.huffman(counts), "q": "0110"}, mdl.huffman(counts), counts)
    assert judge({}, mdl.huffman(counts), counts)


def test_huffman_is_within_a_bit_of_scipys_entropy(mdl, rng):
    for _ in range(20):
        counts = {f"s{i}": int(c) for i, c in enumerate(rng.geometric(0.01, size=40))}
        code = mdl.huffman(counts)
        mean = sum(counts[s] * len(code[s]) for s in counts) / sum(counts.values())
        entropy = stats.entropy(list(counts.values()), base=2)
        assert prefix_free(list(code.values()))
        assert sum(Fraction(1, 2 ** len(word)) for word in code.values()) == 1
        assert entropy - 1e-12 <= mean < entropy + 1


@pytest.mark.parametrize(("n", "degree"), [(8, 0), (20, 1), (60, 5)])
def test_two_part_poly_bits_is_a_gaussian_likelihood_with_rissanens_price(mdl, rng, n, degree):
    x, y = rng.uniform(-1, 1, n), rng.standard_normal(n) * 3
    model_bits, data_bits = mdl.two_part_poly_bits(x, y, degree)
    fitted = np.vander(x, degree + 1) @ np.linalg.lstsq(np.vander(x, degree + 1), y, rcond=None)[0]
    deviation = np.sqrt(np.mean((y - fitted) ** 2))
    assert data_bits == pytest.approx(-stats.norm(fitted, deviation).logpdf(y).sum() / np.log(2), rel=1e-10)
    assert model_bits == pytest.approx((degree + 1 + 1) * np.log2(np.sqrt(n)), rel=1e-12)
    bic = n * np.log(deviation**2) + (degree + 2) * np.log(n)
    assert 2 * np.log(2) * (model_bits + data_bits) - bic == pytest.approx(n * np.log(2 * np.pi * np.e), rel=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 12])
def test_nml_complexity_bits_is_the_sum_over_all_sequences(mdl, n):
    total = Fraction(0)
    for x in itertools.product((0, 1), repeat=n):
        share = Fraction(sum(x), n)
        total += share ** sum(x) * (1 - share) ** (n - sum(x))
    assert mdl.nml_complexity_bits(n) == pytest.approx(math.log2(total), rel=1e-12)


def test_nml_complexity_bits_approaches_its_limit(mdl):
    gaps = [mdl.nml_complexity_bits(n) - 0.5 * math.log2(n * math.pi / 2) for n in (10, 100, 1000, 10_000)]
    assert all(later < 0.4 * earlier for earlier, later in itertools.pairwise(gaps))
    assert 0 < gaps[-1] < 0.01
    k = np.arange(3001)
    terms = stats.binom.pmf(k, 3000, k / 3000)
    assert mdl.nml_complexity_bits(3000) == pytest.approx(np.log2(terms.sum()), rel=1e-9)


def test_bernoulli_bits_are_codes_but_for_ml(mdl):
    sums = dict.fromkeys(["ml", "two_part", "kt", "nml"], 0.0)
    for x in itertools.product((0, 1), repeat=12):
        lengths = mdl.bernoulli_bits(np.array(x))
        for name in sums:
            sums[name] += 2.0 ** -lengths[name]
    assert sums["kt"] == pytest.approx(1, rel=1e-12)
    assert sums["nml"] == pytest.approx(1, rel=1e-12)
    assert sums["two_part"] < 1 < sums["ml"]
    assert math.log2(sums["ml"]) == pytest.approx(mdl.nml_complexity_bits(12), rel=1e-12)


@pytest.mark.parametrize("n", [1, 6, 75])
def test_bernoulli_bits_by_beta_functions_entropies_and_a_search_of_the_grid(mdl, rng, n):
    for _ in range(5):
        x = (rng.random(n) < rng.random()).astype(int)
        k, lengths = int(x.sum()), mdl.bernoulli_bits(x)
        beta = special.betaln(k + 0.5, n - k + 0.5) - special.betaln(0.5, 0.5)  # the mixture with Jeffreys' prior
        assert lengths["kt"] == pytest.approx(-beta / np.log(2), rel=1e-10)
        assert lengths["ml"] == pytest.approx(n * stats.entropy([k, n - k], base=2), rel=1e-10, abs=1e-12)
        m = math.isqrt(n - 1) + 1
        grid = [math.sin(math.pi / 2 * (j + 0.5) / m) ** 2 for j in range(m)]
        best = max(math.prod(t if one else 1 - t for one in x) for t in grid)
        assert lengths["two_part"] == pytest.approx(-math.log2(best / m), rel=1e-10)
        assert lengths["nml"] - lengths["ml"] == pytest.approx(mdl.nml_complexity_bits(n), rel=1e-9)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_markov_kt_bits_is_the_bayes_mixture_of_all_chains(mdl, rng, order):
    """Each context's chance integrated out numerically, under Jeffreys' prior."""
    x = rng.integers(2, size=10)
    probability = 0.5**order
    for context in itertools.product((0, 1), repeat=order):
        after = [int(x[t]) for t in range(order, 10) if tuple(x[t - order : t].tolist()) == context]
        ones, zeros = sum(after), len(after) - sum(after)

        def integrand(angle, ones=ones, zeros=zeros):  # theta = sin², in which Jeffreys' prior is flat
            return np.sin(angle) ** (2 * ones) * np.cos(angle) ** (2 * zeros) * 2 / np.pi

        probability *= integrate.quad(integrand, 0, np.pi / 2, epsabs=1e-13)[0]
    assert mdl.markov_kt_bits(x, order) == pytest.approx(-math.log2(probability), rel=1e-9)


@pytest.mark.parametrize("order", [0, 1, 2, 5, 11])
def test_markov_kt_bits_is_a_complete_code(mdl, order):
    total = sum(2.0 ** -mdl.markov_kt_bits(np.array(x), order) for x in itertools.product((0, 1), repeat=9))
    assert total == pytest.approx(1, rel=1e-12)


def test_markov_kt_bits_of_order_0_is_kt(mdl, rng):
    x = rng.integers(2, size=50)
    assert mdl.markov_kt_bits(x, 0) == pytest.approx(mdl.bernoulli_bits(x)["kt"], rel=1e-12)


def draw(rng, batch, inputs, hidden, classes):
    shapes = {"W1": (inputs, hidden), "b1": (hidden,), "W2": (hidden, classes), "b2": (classes,)}
    params = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    return params, rng.standard_normal((batch, inputs)), rng.integers(classes, size=batch)


def normal(mean, deviation):
    """A distribution of torch's in double precision."""
    return torch.distributions.Normal(*torch.tensor([mean, deviation], dtype=torch.float64))


def torch_bits(params, X, y, sigma0, delta):
    hidden = torch.tanh(torch.from_numpy(X) @ params["W1"] + params["b1"])
    labels = torch.distributions.Categorical(logits=hidden @ params["W2"] + params["b2"]).log_prob(torch.from_numpy(y))
    prior = normal(0.0, sigma0)
    weights = sum((prior.log_prob(w) + math.log(delta)).sum() for w in params.values())
    return -(labels.sum() + weights) / math.log(2)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 2), (6, 3, 4, 5)])
def test_code_length_forward_and_code_length_backward_are_torchs_distributions_with_autograd(mdl, rng, sizes):
    params, X, y = draw(rng, *sizes)
    sigma0, delta, dbits = 0.7, 0.13, -1.9
    bits, cache = mdl.code_length_forward(params, X, y, sigma0, delta)
    leaves = {name: torch.tensor(w, requires_grad=True) for name, w in params.items()}
    theirs = torch_bits(leaves, X, y, sigma0, delta)
    assert bits == pytest.approx(theirs.item(), rel=1e-12)
    (dbits * theirs).backward()
    grads = mdl.code_length_backward(dbits, cache)
    assert set(grads) == set(params)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(grads[name], leaf.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_code_length_forward_counts_cells_of_the_grid(mdl):
    """For weights on the grid, the weights' bits are those of the probability of their cells, if delta is small."""
    delta, sigma0 = 1e-3, 0.8
    params = {"W1": np.array([[0.3]]), "b1": np.array([-1.1]), "W2": np.array([[0.5, 2.0]]), "b2": np.array([0.0, 0.7])}
    bits, _ = mdl.code_length_forward(params, np.zeros((0, 1)), np.zeros(0, dtype=int), sigma0, delta)
    w = np.concatenate([v.ravel() for v in params.values()])
    cells = stats.norm(0, sigma0).cdf(w + delta / 2) - stats.norm(0, sigma0).cdf(w - delta / 2)
    assert bits == pytest.approx(-np.log2(cells).sum(), rel=1e-6)


@pytest.mark.parametrize(("n", "D"), [(1, 1), (7, 4)])
def test_variational_code_grad_is_torchs_kl_with_autograd(mdl, rng, n, D):
    X, y = rng.standard_normal((n, D)), rng.standard_normal(n)
    sigma0, noise = 1.7, 0.4
    mu, rho = (torch.tensor(rng.standard_normal(D), requires_grad=True) for _ in range(2))
    weights = torch.distributions.Normal(mu, nn.functional.softplus(rho))
    kl = torch.distributions.kl_divergence(weights, normal(0.0, sigma0)).sum()
    X_torch, y_torch = torch.from_numpy(X), torch.from_numpy(y)
    # the expectation of a quadratic is exact on two points per weight, one deviation to each side
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=D)), dtype=torch.float64)
    w = mu + signs * weights.stddev
    errors = (
        -torch.distributions.Normal(w @ X_torch.T, torch.tensor(noise, dtype=torch.float64))
        .log_prob(y_torch)
        .sum(dim=1)
        .mean()
    )
    theirs = (kl + errors) / math.log(2)
    theirs.backward()
    bits, dmu, drho = mdl.variational_code_grad(mu.detach().numpy(), rho.detach().numpy(), X, y, sigma0, noise)
    assert bits == pytest.approx(theirs.item(), rel=1e-11)
    np.testing.assert_allclose(dmu, mu.grad.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(drho, rho.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_variational_code_grad_agrees_with_noise_that_is_drawn(mdl, rng):
    n, D, sigma0, noise = 5, 3, 1.2, 0.9
    X, y, mu, rho = rng.standard_normal((n, D)), rng.standard_normal(n), rng.standard_normal(D), rng.standard_normal(D)
    s = np.log1p(np.exp(rho))
    w = mu + s * rng.standard_normal((400_000, D))
    nats = -stats.norm(w @ X.T, noise).logpdf(y).sum(axis=1)
    nats += stats.norm(mu, s).logpdf(w).sum(axis=1) - stats.norm(0, sigma0).logpdf(w).sum(axis=1)
    bits, _, _ = mdl.variational_code_grad(mu, rho, X, y, sigma0, noise)
    assert bits == pytest.approx(nats.mean() / np.log(2), abs=6 * nats.std() / np.sqrt(len(nats)))


def test_variational_code_grad_far_out_is_torchs_softplus_with_autograd(mdl):
    rho = torch.tensor([-500.0, 30.0, 800.0], dtype=torch.float64, requires_grad=True)
    s = torch.logaddexp(rho, torch.zeros_like(rho))
    ((s**2).sum() / 2 + (s**2 / 2 - torch.log(s)).sum()).backward()  # X is the identity, y and mu are zero
    found = mdl.variational_code_grad(np.zeros(3), rho.detach().numpy(), np.eye(3), np.zeros(3), 1.0, 1.0)[2]
    np.testing.assert_allclose(found * np.log(2), rho.grad.numpy(), rtol=1e-12)


def test_prequential_bits_of_counting_models_are_their_closed_form(mdl, rng):
    """Networks whose training is counting: then the code is a product of smoothed shares."""
    y, C, splits = rng.integers(4, size=40), 4, [3, 7, 20, 40]

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.counts = torch.full((C,), 0.5, dtype=torch.float64)

        def forward(self, X):
            return torch.log(self.counts).expand(len(X), C)

    def fit(net, X, y):
        net.counts += torch.bincount(y, minlength=C)

    total, blocks = mdl.prequential_bits(Counting, fit, torch.zeros(40, 1), torch.from_numpy(y), splits, C)
    probability = [0.25**3]
    for known, end in itertools.pairwise(splits):
        shares = (np.bincount(y[:known], minlength=C) + 0.5) / (known + 0.5 * C)
        probability.append(np.prod(shares[y[known:end]]))
    np.testing.assert_allclose(blocks, -np.log2(probability), rtol=1e-10)
    assert total == pytest.approx(-np.log2(probability).sum(), rel=1e-10)


def test_prequential_bits_of_one_symbol_blocks_are_the_kt_code(mdl, rng):
    x = rng.integers(2, size=30)

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.counts = torch.full((2,), 0.5, dtype=torch.float64)

        def forward(self, X):
            return torch.log(self.counts).expand(len(X), 2)

    def fit(net, X, y):
        net.counts += torch.bincount(y, minlength=2)

    found, _ = mdl.prequential_bits(Counting, fit, torch.zeros(30, 1), torch.from_numpy(x), list(range(1, 31)), 2)
    beta = special.betaln(x.sum() + 0.5, 30 - x.sum() + 0.5) - special.betaln(0.5, 0.5)
    assert found == pytest.approx(-beta / np.log(2), rel=1e-10)


def test_prequential_bits_of_a_memoriser_pay_for_random_labels(mdl, rng):
    X, y = torch.from_numpy(rng.standard_normal((60, 2))), torch.from_numpy(rng.integers(3, size=60))

    def fit(net, X, y):
        optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
        for _ in range(100):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(X), y).backward()
            optimiser.step()

    def make():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 30), nn.Tanh(), nn.Linear(30, 3)).double()

    assert mdl.prequential_bits(make, fit, X, y, [10, 30, 60], 3)[0] > 60 * math.log2(3)


def step_down(net, X, y, after_step):
    for _ in range(3):
        loss = nn.functional.cross_entropy(net(X), y)
        grads = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for w, g in zip(net.parameters(), grads, strict=True):
                w -= 0.5 * g
        after_step()


def test_mdl_prune_against_torchs_own_pruning_scipy_and_cells_of_the_grid(mdl, rng):
    from torch.nn.utils import prune

    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    before = {name: w.detach().clone() for name, w in net.named_parameters()}
    X, y = torch.from_numpy(rng.standard_normal((30, 2))), torch.from_numpy(rng.integers(3, size=30))
    sigma0, delta, sparsities = 1.1, 0.2, [0.0, 0.4, 0.8, 1.0]
    best, table = mdl.mdl_prune(net, X, y, sparsities, sigma0, delta, step_down)
    assert all(torch.equal(w, before[name]) for name, w in net.named_parameters())
    for sparsity, row in zip(sparsities, table, strict=True):
        copied = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3)).double()
        copied.load_state_dict(before)
        layers = [(copied[0], "weight"), (copied[2], "weight")]
        prune.global_unstructured(layers, prune.L1Unstructured, amount=round(sparsity * 25))
        masks = [layer.weight_mask.bool() for layer, _ in layers]
        step_down_with_masks(copied, X, y)
        W1, W2 = (torch.round(layer.weight.detach() / delta) * delta for layer, _ in layers)
        b1, b2 = (torch.round(layer.bias.detach() / delta) * delta for layer, _ in layers)
        log_p = torch.log_softmax(torch.tanh(X @ W1.T + b1) @ W2.T + b2, dim=1)
        sent = torch.cat([W1[masks[0]], W2[masks[1]], b1, b2]).numpy()
        kept = 25 - round(sparsity * 25)
        choose = special.gammaln(26) - special.gammaln(kept + 1) - special.gammaln(26 - kept)
        assert row["sparsity"] == sparsity
        assert row["position_bits"] == pytest.approx(np.log2(26) + choose / np.log(2), rel=1e-10)
        density = stats.norm(0, sigma0).logpdf(sent)
        assert row["weight_bits"] == pytest.approx(-(density + np.log(delta)).sum() / np.log(2), rel=1e-9)
        assert row["data_bits"] == pytest.approx(-log_p[torch.arange(30), y].sum().item() / np.log(2), rel=1e-9)
        assert row["errors"] == int((log_p.argmax(dim=1) != y).sum())
        parts = row["position_bits"] + row["weight_bits"] + row["data_bits"]
        assert row["total_bits"] == pytest.approx(parts, rel=1e-12)
    assert best == min(table, key=lambda row: row["total_bits"])["sparsity"]


def step_down_with_masks(net, X, y):
    """The same training of a network that torch has pruned: the mask is part of its forward pass."""
    for _ in range(3):
        net.zero_grad()
        nn.functional.cross_entropy(net(X), y).backward()
        with torch.no_grad():
            for w in net.parameters():
                w -= 0.5 * w.grad
    net(X)  # so that `weight` is what is left of `weight_orig`


def test_mdl_prune_unpruned_costs_what_code_length_forward_says(mdl, rng):
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    X, y = rng.standard_normal((20, 2)), rng.integers(3, size=20)
    _, [row] = mdl.mdl_prune(
        net, torch.from_numpy(X), torch.from_numpy(y), [0.0], 1.5, 0.25, lambda net, X, y, after_step: after_step()
    )
    names = ("W1", "b1", "W2", "b2")
    params = {
        name: 0.25 * np.round(w.detach().numpy().T / 0.25) for name, w in zip(names, net.parameters(), strict=True)
    }
    bits, _ = mdl.code_length_forward(params, X, y, 1.5, 0.25)
    assert row["total_bits"] == pytest.approx(bits + np.log2(4 * 5 + 1), rel=1e-10)


def test_mdl_prune_keeps_exactly_m_of_equals(mdl):
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        for w in net.parameters():
            w.fill_(1.5)
    X, y = torch.zeros(3, 2, dtype=torch.float64), torch.tensor([0, 1, 2])
    _, table = mdl.mdl_prune(net, X, y, [0.3, 0.95, 1.0], 1.0, 0.5, lambda net, X, y, after_step: after_step())
    of_one = -(stats.norm.logpdf(1.5) + np.log(0.5)) / np.log(2)
    kept = [round(row["weight_bits"] / of_one, 9) - 7 for row in table]
    assert kept == [20 - 6, 20 - 19, 0]
