"""The references of 21 against enumeration, recursion by definition, torch's loss and layers, and autograd."""

from functools import cache
from itertools import groupby, pairwise, product

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from torch import nn
from torch.nn import functional as F

# labels to be spelled with classes 0, 1, 2, blank 0: with repeats, without labels, too long for six frames
TARGETS = [(), (1,), (2,), (1, 1), (1, 2), (2, 1, 2), (1, 1, 2), (2, 2, 2), (1, 2, 1, 2, 1, 2), (1, 1, 1, 1)]


@pytest.fixture(scope="module")
def ctc(reference):
    return reference("21")


def read(path, blank=0):
    """What a path spells, by definition."""
    return tuple(symbol for symbol, _ in groupby(path) if symbol != blank)


def paths_of(logp):
    """Every path with its labelling and its probability."""
    for path in product(range(logp.shape[1]), repeat=len(logp)):
        yield path, read(path), float(np.exp(sum(row[k] for row, k in zip(logp, path, strict=True))))


def labellings(logp):
    """The probability of every labelling."""
    found = {}
    for _, labels, p in paths_of(logp):
        found[labels] = found.get(labels, 0.0) + p
    return found


def torch_loss(logits, y, blank=0):
    """The loss of torch and its gradient at the logits."""
    z = torch.tensor(logits, requires_grad=True)
    logp = F.log_softmax(z, dim=-1)[:, None]
    loss = F.ctc_loss(logp, torch.tensor(y)[None], [len(logits)], [len(y)], blank=blank, reduction="sum")
    loss.backward()
    return loss.item(), z.grad.numpy()


def test_collapse_of_every_path(ctc):
    for blank in range(3):
        for path in product(range(3), repeat=6):
            assert ctc.collapse(path, blank) == list(read(path, blank))


@pytest.mark.parametrize(
    ("y", "l", "skip"),
    [
        ([], [0], [0]),
        ([7], [0, 7, 0], [0, 0, 0]),
        ([7, 7], [0, 7, 0, 7, 0], [0, 0, 0, 0, 0]),
        ([7, 8], [0, 7, 0, 8, 0], [0, 0, 0, 1, 0]),
        ([7, 8, 8, 7], [0, 7, 0, 8, 0, 8, 0, 7, 0], [0, 0, 0, 1, 0, 0, 0, 1, 0]),
    ],
)
def test_extend_with_blanks_is_the_table_of_the_paper(ctc, y, l, skip):
    found = ctc.extend_with_blanks(np.array(y, dtype=int))
    np.testing.assert_array_equal(found[0], l)
    np.testing.assert_array_equal(found[1], np.array(skip, dtype=bool))


@pytest.mark.parametrize("labels", TARGETS)
def test_ctc_alpha_is_the_sum_over_all_paths(ctc, rng, labels):
    logp = log_softmax(rng.standard_normal((6, 3)), axis=1)
    with np.errstate(divide="raise", invalid="raise"):
        loss, log_alpha = ctc.ctc_alpha(logp, np.array(labels, dtype=int))
    exact = labellings(logp).get(labels, 0.0)
    assert loss == (pytest.approx(-np.log(exact), rel=1e-12) if exact else np.inf)
    l, skip = ctc.extend_with_blanks(np.array(labels, dtype=int))
    for t in (0, 3):  # all walks through the states that start right, one by one
        ends = np.zeros(len(l))
        for walk in product(range(len(l)), repeat=t + 1):
            legal = all(b - a in (0, 1) or (b - a == 2 and skip[b]) for a, b in pairwise(walk))
            if walk[0] < 2 and legal:
                ends[walk[-1]] += np.exp(sum(logp[i, l[s]] for i, s in enumerate(walk)))
        np.testing.assert_allclose(np.exp(log_alpha[t]), ends, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(("frames", "count"), [(1, 1), (9, 4), (30, 10), (400, 60), (12, 0)])
@pytest.mark.parametrize("blank", [0, 3])
def test_ctc_alpha_and_ctc_grad_are_torchs_loss_and_autograd(ctc, rng, frames, count, blank):
    for _ in range(5):
        logits = 2 * rng.standard_normal((frames, 7))
        y = rng.choice([k for k in range(7) if k != blank], size=count)
        loss, dlogits = ctc.ctc_grad(logits, y, blank)
        theirs, gradient = torch_loss(logits, y, blank)
        assert loss == pytest.approx(theirs, rel=1e-11)
        assert ctc.ctc_alpha(log_softmax(logits, axis=1), y, blank)[0] == pytest.approx(theirs, rel=1e-11)
        np.testing.assert_allclose(dlogits, gradient, atol=1e-10)
        np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-10)


@pytest.mark.parametrize("labels", [(1, 1, 1, 1), (1, 2, 1, 2, 1, 2, 1)])
def test_ctc_grad_of_an_impossible_target_is_that_of_zero_infinity(ctc, rng, labels):
    logits = rng.standard_normal((6, 3))
    loss, dlogits = ctc.ctc_grad(logits, np.array(labels))
    z = torch.tensor(logits, requires_grad=True)
    theirs = F.ctc_loss(F.log_softmax(z, dim=-1), torch.tensor(labels), [6], [len(labels)], zero_infinity=True)
    theirs.backward()
    assert loss == np.inf
    np.testing.assert_array_equal(dlogits, z.grad.numpy())


@pytest.mark.parametrize("labels", [y for y in TARGETS if len(y) < 4])
def test_ctc_beta_and_occupancy_are_counted_path_by_path(ctc, rng, labels):
    logits = rng.standard_normal((5, 3))
    logp, y = log_softmax(logits, axis=1), np.array(labels, dtype=int)
    log_beta = ctc.ctc_beta(logp, y)
    loss, log_alpha = ctc.ctc_alpha(logp, y)
    l, skip = ctc.extend_with_blanks(y)
    for t, s in product(range(5), range(len(l))):  # all ways from a state to the end
        exact = 0.0
        for rest in product(range(len(l)), repeat=4 - t):
            walk = (s, *rest)
            legal = all(b - a in (0, 1) or (b - a == 2 and skip[b]) for a, b in pairwise(walk))
            if legal and walk[-1] >= len(l) - 2:
                exact += np.exp(sum(logp[t + 1 + i, l[state]] for i, state in enumerate(rest)))
        assert np.exp(log_beta[t, s]) == pytest.approx(exact, rel=1e-12)
    if np.isfinite(loss):
        np.testing.assert_allclose(logsumexp(log_alpha + log_beta, axis=1), -loss, rtol=1e-12)  # in every frame
        occupancy, total = np.zeros((5, 3)), 0.0
        for path, spelled, p in paths_of(logp):
            if spelled == labels:
                occupancy[np.arange(5), path] += p
                total += p
        _, dlogits = ctc.ctc_grad(logits, y)
        np.testing.assert_allclose(dlogits, np.exp(logp) - occupancy / total, atol=1e-12)


def test_edit_distance_is_the_recursion_and_a_metric(ctc, rng):
    @cache
    def recursive(a, b):
        if not a or not b:
            return len(a) + len(b)
        return min(recursive(a[1:], b) + 1, recursive(a, b[1:]) + 1, recursive(a[1:], b[1:]) + (a[0] != b[0]))

    words = [tuple(rng.integers(3, size=length).tolist()) for length in rng.integers(0, 7, size=14)]
    D = {(a, b): ctc.edit_distance(a, b) for a, b in product(words, words)}
    for (a, b), distance in D.items():
        assert distance == recursive(a, b) == D[b, a]
        assert (distance == 0) == (a == b)
        assert all(distance <= D[a, c] + D[c, b] for c in words)


def test_error_rate_is_edits_over_labels(ctc):
    assert ctc.error_rate([list("kitten"), list("saturday")], [list("sitting"), list("sunday")]) == (3 + 3) / (6 + 8)
    assert ctc.error_rate([[1], [1, 2, 3, 4]], [[2], [1, 2, 3, 4]]) == 0.2
    assert ctc.error_rate([[1]], [[2, 2, 2]]) == 3.0


@pytest.mark.parametrize("with_model", [False, True])
def test_prefix_beam_search_without_a_limit_is_the_best_labelling(ctc, rng, with_model):
    for frames, classes in [(1, 2), (4, 2), (5, 3), (4, 4)] * 5:
        logp = log_softmax(rng.standard_normal((frames, classes)), axis=1)
        lm = log_softmax(rng.standard_normal((classes, classes)), axis=1)
        a, b = (0.7, 0.9) if with_model else (0.0, 0.0)

        def quality(labels, p, lm=lm, a=a, b=b):
            before = [0, *labels]
            return np.log(p) + sum(a * lm[i, j] for i, j in zip(before, labels, strict=False)) + b * len(labels)

        exact = {labels: quality(labels, p) for labels, p in labellings(logp).items()}
        best = max(exact, key=exact.get)
        labels, q = ctc.prefix_beam_search(logp, 500, lm=lm if with_model else None, a=a, b=b)
        assert labels == list(best)
        assert q == pytest.approx(exact[best], rel=1e-12)


def test_prefix_beam_search_never_claims_more_than_there_is(ctc, rng):
    """A narrow beam loses mass: its Q is at most the true one, which the loss gives."""
    for beam in (1, 2, 5):
        logp = log_softmax(2 * rng.standard_normal((15, 5)), axis=1)
        labels, q = ctc.prefix_beam_search(logp, beam)
        exact = -F.ctc_loss(torch.tensor(logp), torch.tensor(labels), [15], [len(labels)], reduction="sum").item()
        assert q <= exact + 1e-9


@pytest.mark.parametrize(("frames", "inputs", "hidden", "classes", "count"), [(2, 1, 1, 2, 1), (12, 3, 5, 4, 4)])
def test_rnn_ctc_backward_is_torchs_network_with_its_loss(ctc, rng, frames, inputs, hidden, classes, count):
    sizes = {"Wx": (inputs, hidden), "Wh": (hidden, hidden), "b": (hidden,), "V": (hidden, classes), "c": (classes,)}
    params = {name: rng.standard_normal(size) for name, size in sizes.items()}
    x, y = rng.standard_normal((frames, inputs)), rng.integers(1, classes, size=count)
    loss, grads = ctc.rnn_ctc_backward(params, x, y)

    rnn, out = nn.RNN(inputs, hidden).double(), nn.Linear(hidden, classes).double()
    theirs = {"Wx": rnn.weight_ih_l0, "Wh": rnn.weight_hh_l0, "b": rnn.bias_ih_l0, "V": out.weight, "c": out.bias}
    with torch.no_grad():
        rnn.bias_hh_l0.zero_()
        for name, parameter in theirs.items():
            parameter.copy_(torch.from_numpy(params[name].T))
    logp = F.log_softmax(out(rnn(torch.from_numpy(x)[:, None])[0]), dim=-1)
    expected = F.ctc_loss(logp, torch.from_numpy(y)[None], [frames], [count], reduction="sum")
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-11)
    assert grads.keys() == params.keys()
    for name, parameter in theirs.items():
        np.testing.assert_allclose(grads[name], parameter.grad.numpy().T, rtol=1e-8, atol=1e-11)


def test_rnn_ctc_backward_of_an_impossible_target_is_zero(ctc, rng):
    params = {name: rng.standard_normal(size) for name, size in {"Wx": (2, 3), "Wh": (3, 3), "V": (3, 4)}.items()}
    params |= {"b": np.zeros(3), "c": np.zeros(4)}
    loss, grads = ctc.rnn_ctc_backward(params, rng.standard_normal((4, 2)), np.array([1, 1, 1]))
    assert loss == np.inf
    assert {name: grad.shape for name, grad in grads.items()} == {name: value.shape for name, value in params.items()}
    assert not any(grad.any() for grad in grads.values())


@pytest.mark.parametrize(("kernel", "stride"), [(5, 2), (3, 3), (7, 1), (1, 2)])
def test_DeepSpeechMini_is_its_layers_one_utterance_at_a_time(ctc, rng, kernel, stride):
    lens = [9, 4, 12, 7]
    model = ctc.DeepSpeechMini(3, 5, 4, kernel, stride).double()
    X = torch.from_numpy(rng.standard_normal((4, 12, 3)))
    for n, length in enumerate(lens):
        X[n, length:] = 0
    convolved = [
        F.conv1d(X[n, :m].T, model.conv.weight, model.conv.bias, stride, kernel // 2) for n, m in enumerate(lens)
    ]
    together = torch.cat(convolved, dim=1)
    mean, variance = together.mean(dim=1, keepdim=True), together.var(dim=1, unbiased=False, keepdim=True)
    logp, out_lens = model(X, torch.tensor(lens))
    assert out_lens.tolist() == [one.shape[1] for one in convolved]
    assert logp.shape == (max(out_lens), 4, 5)
    for n, one in enumerate(convolved):
        normal = (one - mean) / torch.sqrt(variance + 1e-5) * model.norm.weight[:, None] + model.norm.bias[:, None]
        expected = F.log_softmax(model.out(model.gru(F.relu(normal).T[None])[0][0]), dim=-1)
        torch.testing.assert_close(logp[: one.shape[1], n], expected, rtol=1e-10, atol=1e-12)
    loss = F.ctc_loss(logp, torch.tensor([1] * 4), out_lens, torch.tensor([1] * 4))
    assert torch.isfinite(loss)
    model.eval()
    whole, _ = model(X, torch.tensor(lens))
    for n, m in enumerate(lens):
        alone, [length] = model(X[n : n + 1, :m], torch.tensor([m]))
        torch.testing.assert_close(whole[:length, n], alone[:, 0], rtol=1e-10, atol=1e-12)


def test_sortagrad_batches_hold_everybody_and_epoch_0_grows(ctc, rng):
    for count, size in [(1, 1), (10, 3), (12, 4), (5, 9)]:
        lens, order = rng.integers(1, 30, size=count).tolist(), rng.permutation(count)
        for epoch in (0, 1, 5):
            batches = ctc.sortagrad_batches(lens, size, epoch, order)
            flat = [i for batch in batches for i in batch]
            assert sorted(flat) == list(range(count))
            assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
            if epoch == 0:
                assert all(lens[i] <= lens[j] for i, j in pairwise(flat))
            else:
                assert flat == order.tolist()


@pytest.mark.parametrize("max_norm", [0.2, 100.0])
def test_train_step_is_gradient_descent_on_the_mean_of_our_own_loss(ctc, rng, max_norm):
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(torch.from_numpy(weights.copy()))

        def forward(self, X, lens):
            return F.log_softmax(X @ self.W, dim=-1).transpose(0, 1), lens - 1

    weights, X = rng.standard_normal((3, 4)), rng.standard_normal((2, 8, 3))
    targets, lens = [np.array([1, 1, 3]), np.array([2])], np.array([8, 6])
    model = Linear()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    found = ctc.train_step(
        model, optimiser, torch.from_numpy(X), torch.from_numpy(lens), [torch.from_numpy(y) for y in targets], max_norm
    )
    parts = [ctc.ctc_grad((x @ weights)[: n - 1], y) for x, y, n in zip(X, targets, lens, strict=True)]
    gradient = sum(x[: n - 1].T @ dz for x, (_, dz), n in zip(X, parts, lens, strict=True)) / 2
    gradient = gradient * min(1.0, max_norm / np.linalg.norm(gradient))
    assert found == pytest.approx(np.mean([loss for loss, _ in parts]), rel=1e-10)
    np.testing.assert_allclose(model.W.detach().numpy(), weights - 0.5 * gradient, rtol=1e-5)
