"""The references of 05 against torch's distributions, pruning and autograd, quadrature, and counting by brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch.nn.utils import prune

SHAPES = [(4, 3, 5), (1, 6, 2), (3, 1, 1), (5, 2, 4)]


@pytest.fixture(scope="module")
def notebook(reference):
    return reference("05")


def tensor(array):
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def close(ours, theirs, rtol=1e-9):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=rtol, atol=1e-10)


def draw_prior(rng, K):
    return {"logits": rng.standard_normal(K), "mean": rng.standard_normal(K), "log_sd": rng.uniform(-1, 1, K)}


def torch_mixture(mu, log_s, prior):
    """Equation (4) from torch's KL divergences."""
    q = torch.distributions.Normal(mu[..., None], log_s.exp()[..., None])
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(prior["mean"], prior["log_sd"].exp()))
    return -torch.logsumexp(torch.log_softmax(prior["logits"], 0) - kl, -1) / math.log(2)


@pytest.mark.parametrize("sparsity", [0.0, 0.31, 0.5, 0.93, 1.0])
def test_masks_are_those_of_torchs_global_pruning(notebook, rng, sparsity):
    W, V = rng.standard_normal((7, 5)), 2 * rng.standard_normal((5, 3, 2))
    modules = [torch.nn.Linear(5, 7), torch.nn.Conv1d(3, 5, 2)]
    for module, values in zip(modules, (W, V), strict=True):
        module.weight.data = torch.tensor(values)
    amount = round(sparsity * (W.size + V.size))
    prune.global_unstructured([(m, "weight") for m in modules], prune.L1Unstructured, amount=amount)
    masks = notebook.magnitude_masks({"W": W, "b": rng.standard_normal(7), "V": V}, sparsity)
    assert list(masks) == ["W", "V"]
    assert sum(int((~mask).sum()) for mask in masks.values()) == amount
    if amount:
        for module, mask in zip(modules, masks.values(), strict=True):
            assert np.array_equal(module.weight_mask.numpy() > 0, mask)


def test_of_equal_magnitudes_the_earlier_goes(notebook):
    masks = notebook.magnitude_masks({"A": np.ones((2, 3)), "B": -np.ones((2, 2))}, 0.7)
    assert not masks["A"].any()
    assert np.array_equal(masks["B"], [[False, True], [True, True]])


@pytest.mark.parametrize(("n", "k"), [(5, 2), (6, 0), (6, 6), (9, 4)])
def test_sizes_count_all_choices(notebook, n, k):
    choices = sum(1 for _ in itertools.combinations(range(n), k))
    mask = (np.arange(n) < k).reshape(1, n)
    positions, values = notebook.sparse_code_bits({"W": mask}, 7.5)
    assert math.isclose(2**positions, (n + 1) * choices, rel_tol=1e-9)
    assert values == 7.5 * k


def test_large_sizes_are_exact(notebook, rng):
    masks = {"W": rng.random((200, 300)) < 0.1, "V": rng.random((300, 40)) < 0.9}
    n, k = 72_000, sum(int(mask.sum()) for mask in masks.values())
    positions, values = notebook.sparse_code_bits(masks)
    assert math.isclose(positions, math.log2(n + 1) + math.log2(math.comb(n, k)), rel_tol=1e-9)
    assert values == 16 * k
    assert math.isclose(
        positions - math.log2(n + 1), -math.log2(n + 1) - special.betaln(k + 1, n - k + 1) / math.log(2)
    )


def test_bits_are_the_kl_by_quadrature_and_torchs(notebook, rng):
    for _ in range(5):
        mu, m = rng.standard_normal(2)
        s, sigma = rng.uniform(0.3, 2, 2)
        q, p = stats.norm(mu, s), stats.norm(m, sigma)
        by_hand = integrate.quad(lambda w, q=q, p=p: q.pdf(w) * (q.logpdf(w) - p.logpdf(w)), mu - 12 * s, mu + 12 * s)[
            0
        ]
        assert math.isclose(notebook.gauss_bits(mu, s, m, sigma), by_hand / math.log(2), rel_tol=1e-6, abs_tol=1e-9)
    mu, m = rng.standard_normal((2, 4, 3))
    s, sigma = rng.uniform(0.3, 2, (2, 4, 3))
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(tensor(mu), tensor(s)), normal(tensor(m), tensor(sigma)))
    close(notebook.gauss_bits(mu, s, m, sigma), kl / math.log(2))


@pytest.mark.parametrize("K", [1, 2, 4])
def test_mixtures_and_their_gradients_are_autograds(notebook, rng, K):
    mu, log_s, prior = rng.standard_normal((3, 5)), rng.uniform(-2, 0, (3, 5)), draw_prior(rng, K)
    dbits = rng.standard_normal((3, 5))
    leaves, m, ls = {name: tensor(a) for name, a in prior.items()}, tensor(mu), tensor(log_s)
    theirs = torch_mixture(m, ls, leaves)
    bits, cache = notebook.mixture_bits(mu, log_s, prior)
    close(bits, theirs)
    theirs.backward(torch.tensor(dbits))
    dmu, dlog_s, dprior = notebook.mixture_bits_backward(dbits, cache)
    close(dmu, m.grad)
    close(dlog_s, ls.grad)
    for name, leaf in leaves.items():
        close(dprior[name], leaf.grad)


def test_a_mixtures_bits_are_never_below_the_true_kl(notebook, rng):
    prior = draw_prior(rng, 3)
    shares, sds = np.exp(prior["logits"]) / np.exp(prior["logits"]).sum(), np.exp(prior["log_sd"])
    for mu, s in ((0.3, 0.5), (-2.0, 0.1), (1.0, 1.5)):

        def integrand(w, mu=mu, s=s):
            p = np.sum(shares * stats.norm(prior["mean"], sds).pdf(w))
            return stats.norm(mu, s).pdf(w) * (stats.norm(mu, s).logpdf(w) - np.log(p))

        true = integrate.quad(integrand, mu - 10 * s, mu + 10 * s, limit=200)[0] / math.log(2)
        assert notebook.mixture_bits(np.array([mu]), np.log([s]), prior)[0][0] >= true - 1e-6


@pytest.mark.parametrize(("N", "D", "H"), SHAPES)
def test_layers_and_their_gradients_are_autograds(notebook, rng, N, D, H):
    layer = [
        rng.standard_normal((N, D)),
        rng.uniform(0, 2, (N, D)),
        rng.standard_normal((D, H)),
        rng.uniform(-1, 0, (D, H)),
    ]
    dmean, dvar = rng.standard_normal((2, N, H))
    x, v, mu, log_s = leaves = [tensor(part) for part in layer]
    s2 = (2 * log_s).exp()
    second = (x[..., None] ** 2 + v[..., None]) * (mu**2 + s2)
    theirs = x @ mu, (second - (x[..., None] * mu) ** 2).sum(1)
    mean, var, cache = notebook.noisy_linear_forward(*layer)
    close(mean, theirs[0])
    close(var, theirs[1])
    (torch.sum(theirs[0] * torch.tensor(dmean)) + torch.sum(theirs[1] * torch.tensor(dvar))).backward()
    for ours, leaf in zip(notebook.noisy_linear_backward(dmean, dvar, cache), leaves, strict=True):
        close(ours, leaf.grad)


def test_moments_are_exact_for_weights_of_two_values(notebook, rng):
    """Every weight is μ + s or μ - s, and every input x + √v or x - √v: all 2^9 networks, enumerated."""
    x, mu, s = rng.standard_normal(3), rng.standard_normal(3), rng.uniform(0.2, 1, 3)
    v = np.array([0.0, 0.5, 2.0])
    outputs = [
        np.sum((x + np.sqrt(v) * signs[:3]) * (mu + s * signs[3:]))
        for signs in map(np.array, itertools.product((-1, 1), repeat=6))
    ]
    mean, var, _ = notebook.noisy_linear_forward(x[None], v[None], mu[:, None], np.log(s)[:, None])
    assert math.isclose(mean[0, 0], np.mean(outputs), rel_tol=1e-9)
    assert math.isclose(var[0, 0], np.var(outputs), rel_tol=1e-9)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0, 3.0])
def test_description_lengths_and_their_gradients_are_autograds(notebook, rng, beta):
    p = {k: v * 2 for k, v in notebook.new_weights(rng, inputs=4, hidden=3, log_s=-0.6).items()}
    prior, X, t = draw_prior(rng, 2), rng.standard_normal((6, 4)), rng.standard_normal(6)
    leaves = {name: tensor(a) for name, a in (p | prior).items()}
    z, q = np.polynomial.hermite_e.hermegauss(16)
    z, q = torch.tensor(z), torch.tensor(q / q.sum())
    ones = torch.ones(6, 1, dtype=torch.float64)
    x = torch.cat([torch.tensor(X), ones], 1)
    m, v = x @ leaves["mu1"], x**2 @ (2 * leaves["log_s1"]).exp()
    f = torch.tanh(m[..., None] + v.sqrt()[..., None] * z)
    h, vh = f @ q, (f - (f @ q)[..., None]) ** 2 @ q
    h, vh = torch.cat([h, ones], 1), torch.cat([vh, 0 * ones], 1)
    s2 = (2 * leaves["log_s2"]).exp()
    y, vy = (h @ leaves["mu2"])[:, 0], (h**2 @ s2 + vh @ (leaves["mu2"] ** 2 + s2))[:, 0]
    data = 3 * torch.log2(2 * math.pi * math.e * ((y - torch.tensor(t)) ** 2 + vy).mean())
    weights = sum(torch_mixture(leaves[f"mu{k}"], leaves[f"log_s{k}"], leaves).sum() for k in (1, 2))
    (data + beta * weights).backward()
    weight_bits, data_bits, grads = notebook.description_length(p, prior, X, t, beta)
    close(weight_bits, weights)
    close(data_bits, data)
    for name, leaf in leaves.items():
        close(grads[name], leaf.grad, rtol=1e-8)


def test_expected_errors_are_those_of_drawn_networks(notebook, rng):
    p = notebook.new_weights(rng, inputs=6, hidden=4, log_s=-1.6)
    X = rng.standard_normal((5, 6))
    mean, var, _ = notebook.network_forward(p, X)
    outputs = []
    for _ in range(20_000):
        W1, W2 = (p[f"mu{k}"] + np.exp(p[f"log_s{k}"]) * rng.standard_normal(p[f"mu{k}"].shape) for k in (1, 2))
        outputs.append((notebook.with_bias(np.tanh(notebook.with_bias(X, 1) @ W1), 1) @ W2)[:, 0])
    np.testing.assert_allclose(np.mean(outputs, axis=0), mean, atol=0.02)
    np.testing.assert_allclose(np.std(outputs, axis=0), np.sqrt(var), rtol=0.03)


def test_modules_agree_with_numpy(notebook, rng):
    torch.manual_seed(0)
    layer = notebook.NoisyLinear(4, 3, -1.0).double()
    x, eps, prior = rng.standard_normal((5, 4)), rng.standard_normal((5, 3)), draw_prior(rng, 2)
    mu, log_s = layer.mu.detach().numpy(), layer.log_s.detach().numpy()
    assert not mu[-1].any()
    assert (log_s == -1).all()
    mean, var, _ = notebook.noisy_linear_forward(notebook.with_bias(x, 1), np.zeros((5, 5)), mu, log_s)
    close(mean, layer.moments(torch.tensor(x))[0])
    close(var, layer.moments(torch.tensor(x))[1])
    close(mean + np.sqrt(var) * eps, layer.train()(torch.tensor(x), torch.tensor(eps)))
    close(mean, layer.eval()(torch.tensor(x), torch.tensor(eps)))
    bits = notebook.mixture_bits(mu, log_s, prior)[0].sum()
    close(bits, layer.bits(*(tensor(prior[name]) for name in ("logits", "mean", "log_sd"))))
    sampled = torch.stack([layer.train()(torch.tensor(x)) for _ in range(4000)]).detach().numpy()
    np.testing.assert_allclose(sampled.std(axis=0), np.sqrt(var), rtol=0.06)
