"""The references of 04 against torch's cells with autograd, walks over the grid, torch's own functions; the weights."""

import itertools
import re

import numpy as np
import pytest
import torch
from torch import nn

from course import data


@pytest.fixture(scope="module")
def zaremba(reference):
    return reference("04")


def test_mask_is_zero_at_the_rate_and_one_on_average(zaremba, rng):
    u = rng.random(200_000)
    for p in (0.0, 0.1, 0.5, 0.9):
        m = zaremba.dropout_mask(u, p)
        assert abs(np.mean(m == 0) - p) < 0.005
        assert abs(m.mean() - 1) < 6 * np.sqrt(p / (1 - p) / len(u)) + 1e-12
        assert np.all(m[u == np.clip(u, p, None)] == 1 / (1 - p))
    theirs = nn.functional.dropout(torch.ones(1000, dtype=torch.float64), 0.3)
    assert np.allclose(theirs.unique().numpy(), np.unique(zaremba.dropout_mask(u, 0.3)))


SIZES = [(1, 1, 1, (1,)), (3, 4, 2, (5,)), (2, 5, 3, (4, 2)), (4, 3, 2, (3, 5, 4))]
PLACES = ["", "up", "h", "c", "up h c"]


def draw(rng, B, T, inputs, widths, places):
    """Layers, inputs, masks of any numbers, and first states."""
    layers, below = [], inputs
    for n in widths:
        layers.append({"W": rng.standard_normal((below + n, 4 * n)), "b": rng.standard_normal(4 * n)})
        below = n
    sizes = {"up": (inputs, *widths), "h": widths, "c": widths}
    masks = {place: [rng.standard_normal((B, T, n)) for n in sizes[place]] for place in places.split()}
    state = [tuple(rng.standard_normal((2, B, n))) for n in widths]
    return layers, rng.standard_normal((B, T, inputs)), masks, state


def torchs_stack(layers, X, masks, state):
    """nn.LSTMCell's function, step by step through all layers; leaves in, graph out."""
    masks = {place: [torch.from_numpy(m) for m in ms] for place, ms in masks.items()}
    state, out = [tuple(map(torch.from_numpy, pair)) for pair in state], []
    for t in range(X.shape[1]):
        z = X[:, t] * (masks["up"][0][:, t] if "up" in masks else 1)
        for k, q in enumerate(layers):
            h, c = (v * masks[place][k][:, t] if place in masks else v for v, place in zip(state[k], "hc", strict=True))
            n = h.shape[1]
            W, b = q["W"].T, q["b"]
            h, c = torch.lstm_cell(z, (h, c), W[:, : z.shape[1]], W[:, z.shape[1] :], b, torch.zeros_like(b))
            assert h.shape[1] == n
            state[k] = (h, c)
            z = h * (masks["up"][k + 1][:, t] if "up" in masks else 1)
        out.append(z)
    return torch.stack(out, dim=1), state


@pytest.mark.parametrize(("B", "T", "inputs", "widths"), SIZES)
@pytest.mark.parametrize("places", PLACES)
def test_stack_and_its_gradients_are_those_of_torchs_cell(zaremba, rng, B, T, inputs, widths, places):
    layers, X, masks, state = draw(rng, B, T, inputs, widths, places)
    dZ = rng.standard_normal((B, T, widths[-1]))
    Z, last, cache = zaremba.stacked_forward(layers, X, masks, state)
    dX, grads = zaremba.stacked_backward(dZ, cache)

    leaves = [{name: torch.tensor(w, requires_grad=True) for name, w in q.items()} for q in layers]
    x = torch.tensor(X, requires_grad=True)
    their_Z, their_last = torchs_stack(leaves, x, masks, state)
    np.testing.assert_allclose(Z, their_Z.detach().numpy(), rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(last, their_last, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-10, atol=1e-12)
    their_Z.backward(torch.from_numpy(dZ))
    np.testing.assert_allclose(dX, x.grad.numpy(), rtol=1e-8, atol=1e-10)
    for ours, theirs in zip(grads, leaves, strict=True):
        for name in "Wb":
            np.testing.assert_allclose(ours[name], theirs[name].grad.numpy(), rtol=1e-8, atol=1e-10)


def test_without_masks_it_is_torchs_lstm_in_evaluation_mode(zaremba, rng):
    layers, X, _, _ = draw(rng, 3, 6, 4, (5, 5), "")
    theirs = nn.LSTM(4, 5, num_layers=2, batch_first=True, dropout=0.7).double().eval()
    with torch.no_grad():
        for k, q in enumerate(layers):
            W = torch.from_numpy(q["W"].T)
            theirs.get_parameter(f"weight_ih_l{k}").copy_(W[:, :-5])
            theirs.get_parameter(f"weight_hh_l{k}").copy_(W[:, -5:])
            theirs.get_parameter(f"bias_ih_l{k}").copy_(torch.from_numpy(q["b"]))
            theirs.get_parameter(f"bias_hh_l{k}").zero_()
        expected, _ = theirs(torch.from_numpy(X))
    np.testing.assert_allclose(zaremba.stacked_forward(layers, X, {})[0], expected.numpy(), rtol=1e-10, atol=1e-12)


def test_perplexity_is_torchs_cross_entropy_over_all_words(zaremba, rng):
    logits = [10 * rng.standard_normal((n, 7)) for n in (3, 8, 1)]
    words = [rng.integers(7, size=len(scores)) for scores in logits]
    joined = torch.from_numpy(np.concatenate(logits)), torch.from_numpy(np.concatenate(words))
    assert np.isclose(zaremba.perplexity(logits, words), nn.functional.cross_entropy(*joined).exp().item(), rtol=1e-12)
    assert np.isclose(zaremba.perplexity([np.zeros((5, 6))], [np.arange(5)]), 6)


STANDS = {"none": "", "paper": "U", "h": "UR", "c": "UC", "everywhere": "URC", "variational": "UR"}


@pytest.mark.parametrize("kind", STANDS)
def test_masks_stand_where_the_table_says(zaremba, rng, kind):
    sizes = {"up": (2, 3, 4), "h": (3, 4), "c": (3, 4)}
    u = {place: [rng.random((5, 6, n)) for n in ns] for place, ns in sizes.items()}
    masks = zaremba.make_masks(kind, u, 0.4)
    assert set(masks) == {{"U": "up", "R": "h", "C": "c"}[letter] for letter in STANDS[kind]}
    for place, found in masks.items():
        for m, d in zip(found, u[place], strict=True):
            for b, t, n in np.ndindex(d.shape):
                decides = d[b, 0 if kind == "variational" else t, n]
                assert m[b, t, n] == (0 if decides < 0.4 else 1 / 0.6)


@pytest.mark.parametrize("kind", STANDS)
@pytest.mark.parametrize(("layers", "steps"), [(1, 0), (1, 3), (2, 3), (3, 2)])
def test_counts_are_those_of_every_walk_over_the_grid(zaremba, kind, layers, steps):
    for way, count in zip("RC", zaremba.corruptions(kind, layers, steps), strict=True):
        walks = set(itertools.permutations("U" * (layers + 1) + way * steps))
        assert {sum(move in STANDS[kind] for move in walk) for walk in walks} == {count}


@pytest.mark.parametrize(("epoch", "hold", "limit"), [(1, 6, 100.0), (9, 6, 1.0), (3, 0, 2.0)])
def test_update_is_torchs_sgd_after_torchs_clipping(zaremba, rng, epoch, hold, limit):
    p = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(5)}
    grads = {name: 3 * rng.standard_normal(w.shape) for name, w in p.items()}
    new, norm = zaremba.sgd_update(p, grads, epoch, rate=0.8, hold=hold, factor=1.3, limit=limit)
    leaves = {name: nn.Parameter(torch.tensor(w)) for name, w in p.items()}
    for name, leaf in leaves.items():
        leaf.grad = torch.tensor(grads[name])
    theirs = nn.utils.clip_grad_norm_(leaves.values(), limit)
    optimiser = torch.optim.SGD(leaves.values(), lr=0.8)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: 1.3 ** -max(0, k + 1 - hold))
    for _ in range(epoch - 1):
        schedule.step()
    optimiser.step()
    assert np.isclose(norm, theirs.item())
    for name, leaf in leaves.items():
        np.testing.assert_allclose(new[name], leaf.detach().numpy(), rtol=1e-5)


def test_one_mask_for_all_steps(zaremba):
    torch.manual_seed(0)
    drop, x = zaremba.VariationalDropout(0.3), torch.rand(50, 4, 60) + 1
    m = drop(x) / x
    assert torch.allclose(m, m[:, :1].expand_as(m), atol=1e-6)
    assert torch.all(torch.isclose(m, torch.tensor(0.0)) | torch.isclose(m, torch.tensor(1 / 0.7)))
    assert abs((m == 0).double().mean() - 0.3) < 0.05
    assert not torch.equal(drop(x), drop(x))
    assert torch.equal(drop.eval()(x), x)


def test_module_is_torchs_lstm_where_nothing_is_dropped(zaremba):
    torch.manual_seed(1)
    net, stack = zaremba.ZarembaLSTM(9, 5, 3, nn.Dropout(0.5)).eval(), nn.LSTM(5, 5, num_layers=3, batch_first=True)
    with torch.no_grad():
        for k, layer in enumerate(net.layers):
            for name, w in layer.named_parameters():
                stack.get_parameter(name.replace("l0", f"l{k}")).copy_(w)
    words, state = torch.randint(9, (2, 7)), None
    expected = net.readout(stack(net.embed(words))[0])
    assert torch.allclose(net(words)[0], expected, atol=1e-6)
    parts = []
    for piece in (words[:, :3], words[:, 3:]):
        logits, state = net(piece, state)
        parts.append(logits)
    assert torch.allclose(torch.cat(parts, dim=1), expected, atol=1e-6)
    assert not any(v.requires_grad for pair in state for v in pair)


def test_module_drops_as_the_stack_does(zaremba, rng):
    """In training mode: torch's masks, read off at the places where they stand, put into the NumPy stack."""
    seen = []

    class Watched(nn.Dropout):
        def forward(self, x):
            y = super().forward(x)
            seen.append((y / x).detach().numpy())
            return y

    torch.manual_seed(2)
    net = zaremba.ZarembaLSTM(6, 4, 2, Watched(0.4)).double()
    words = rng.integers(6, size=(3, 5))
    logits, _ = net(torch.from_numpy(words))
    layers = [
        {
            "W": np.vstack([layer.weight_ih_l0.detach().numpy().T, layer.weight_hh_l0.detach().numpy().T]),
            "b": (layer.bias_ih_l0 + layer.bias_hh_l0).detach().numpy(),
        }
        for layer in net.layers
    ]
    Z, *_ = zaremba.stacked_forward(layers, net.embed.weight.detach().numpy()[words], {"up": seen})
    expected = Z @ net.readout.weight.detach().numpy().T + net.readout.bias.detach().numpy()
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_weights_load_and_score_what_the_text_says(zaremba):
    """Through the notebook's own module: dropout is better on the documentation, with every seed."""
    saved = data.weights("04")
    words, scores = torch.from_numpy(words_of_the_test_part(saved)), {}
    for arm in ("none", "paper"):
        net = zaremba.ZarembaLSTM(len(saved["vocab"]), 64, 2, nn.Dropout(0.3)).eval()
        net.load_state_dict({name: torch.tensor(saved[f"{arm}/{name}"]).float() for name in net.state_dict()})
        with torch.no_grad():
            logits = net(words[None, :-1])[0][0].double().numpy()
        scores[arm] = zaremba.perplexity([logits], [words[1:].numpy()])
        curve = saved[f"{arm}/curves"][0]
        assert np.isclose(scores[arm], curve[curve[:, 0].argmin(), 1], rtol=0.05)  # half precision; another NumPy
    assert 15 < scores["paper"] < 0.95 * scores["none"] < 30
    best = {arm: [c[c[:, 0].argmin(), 1] for c in saved[f"{arm}/curves"]] for arm in ("none", "paper", "variational")}
    assert max(best["paper"] + best["variational"]) < min(best["none"])


def words_of_the_test_part(saved):
    """The test part of the documentation, in the saved vocabulary."""
    place = {word: k for k, word in enumerate(saved["vocab"].tolist())}
    found = re.findall(r"[a-z]+|\d+|[^\sa-z0-9]|\n", data.numpy_docs().test.lower())
    return np.array([place.get(word, 0) for word in found])
