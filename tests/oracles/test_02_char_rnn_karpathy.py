"""The references of 02 against torch.nn, autograd, torch's optimisers, scipy and counts by brute force."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import nn

SIZES = [(1, 1, 2, 1), (2, 1, 4, 3), (3, 7, 5, 4), (6, 3, 3, 5)]


@pytest.fixture(scope="module")
def char_rnn(reference):
    return reference("02")


def draw(rng, V, H):
    return {
        "Wx": rng.standard_normal((V, H)),
        "Wh": rng.standard_normal((H, H)),
        "bh": rng.standard_normal(H),
        "Wy": rng.standard_normal((H, V)),
        "by": rng.standard_normal(V),
    }


def torch_layer(params):
    """`nn.RNN` with our weights: transposed, and the second of its biases zero."""
    V, H = params["Wx"].shape
    layer = nn.RNN(V, H, batch_first=True, dtype=torch.float64)
    weights = {"weight_ih_l0": params["Wx"].T, "weight_hh_l0": params["Wh"].T, "bias_ih_l0": params["bh"]}
    weights["bias_hh_l0"] = np.zeros(H)
    layer.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return layer


def onehot(x, V):
    return nn.functional.one_hot(torch.from_numpy(x), V).double()


@pytest.mark.parametrize(("B", "T", "length"), [(1, 1, 2), (2, 3, 13), (3, 4, 60), (4, 5, 101)])
def test_batches_are_streams_that_continue_with_targets_one_ahead(char_rnn, B, T, length):
    ids = np.arange(length)  # every character says where it stands
    x, y = char_rnn.make_batches(ids, B, T)
    np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(x[1:, :, 0], y[:-1, :, -1])  # row b goes on where row b stopped
    np.testing.assert_array_equal(np.sort(x.ravel()), np.arange(x.size))  # nothing twice, nothing left out before
    np.testing.assert_array_equal(x[0, 1:, 0], y[-1, :-1, -1])  # stream b + 1 begins where stream b ends
    assert x.shape[1:] == (B, T)
    assert 0 <= length - 1 - x.size < B * T  # nothing more would have fitted


def brute_force(train, context, character, V, k):
    """Equation (2) by searching the text anew for every count."""
    if context is None:
        return 1 / V
    m = len(context)
    after = [train[i + m] for i in range(len(train) - m) if train[i : i + m] == context]
    below = brute_force(train, context[1:] if m else None, character, V, k)
    return (after.count(character) + k * below) / (len(after) + k)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_ngram_bits_is_a_search_through_the_text(char_rnn, rng, n):
    V, k = 3, 1.7
    train, test = rng.integers(V, size=70), rng.integers(V, size=20)
    p = [brute_force(train.tolist(), test[i - n + 1 : i].tolist(), test[i], V, k) for i in range(n - 1, len(test))]
    expected = -sum(map(math.log2, p)) / len(p)
    assert char_rnn.ngram_bits(train, test, n, V, k) == pytest.approx(expected, rel=1e-12)


def test_ngram_bits_is_a_distribution_and_finds_the_entropy_of_a_markov_chain(char_rnn, rng):
    train = rng.integers(3, size=50)
    for context in ([0], [2]):
        bits = [char_rnn.ngram_bits(train, np.array([*context, c]), 2, 4, 0.5) for c in range(4)]
        assert sum(2.0**-b for b in bits) == pytest.approx(1.0, rel=1e-12)
    stays = rng.random(40_000) < 0.9
    chain = np.cumsum(~stays) % 2
    entropy = -0.9 * math.log2(0.9) - 0.1 * math.log2(0.1)
    assert char_rnn.ngram_bits(chain[:30_000], chain[30_000:], 3, 2, 1.0) == pytest.approx(entropy, abs=0.02)


@pytest.mark.parametrize(("B", "T", "V", "H"), SIZES)
def test_forward_and_backward_are_torchs_layer_with_autograd(char_rnn, rng, B, T, V, H):
    params = {name: draw(rng, V, H)[name] for name in ("Wx", "Wh", "bh")}
    x, h0, dHs = rng.integers(V, size=(B, T)), rng.standard_normal((B, H)), rng.standard_normal((B, T, H))
    Hs, cache = char_rnn.rnn_forward(params, x, h0)
    grads, dh0 = char_rnn.rnn_backward(dHs, cache)

    layer, leaf = torch_layer(params), torch.tensor(h0[None], requires_grad=True)
    their_Hs, _ = layer(onehot(x, V), leaf)
    np.testing.assert_allclose(Hs, their_Hs.detach().numpy(), rtol=1e-11, atol=1e-13)
    their_Hs.backward(torch.from_numpy(dHs))
    np.testing.assert_allclose(grads["Wx"], layer.weight_ih_l0.grad.T.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grads["Wh"], layer.weight_hh_l0.grad.T.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grads["bh"], layer.bias_ih_l0.grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dh0, leaf.grad[0].numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize(("B", "T", "V", "H"), SIZES)
def test_loss_and_grads_is_cross_entropy_with_autograd(char_rnn, rng, B, T, V, H, scale):
    params, h0 = draw(rng, V, H), rng.standard_normal((B, H))
    params["Wy"] *= scale  # with large ones the probability of the target underflows
    x, y = rng.integers(V, size=(2, B, T))
    loss, grads, h = char_rnn.loss_and_grads(params, x, y, h0)

    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    state, terms = torch.from_numpy(h0), []
    for t in range(T):
        state = torch.tanh(leaves["Wx"][x[:, t]] + state @ leaves["Wh"] + leaves["bh"])
        terms.append(nn.functional.cross_entropy(state @ leaves["Wy"] + leaves["by"], torch.from_numpy(y[:, t])))
    their_loss = torch.stack(terms).mean()
    their_loss.backward()
    assert loss == pytest.approx(their_loss.item(), rel=1e-11)
    np.testing.assert_allclose(h, state.detach().numpy(), rtol=1e-11, atol=1e-13)
    assert grads.keys() == leaves.keys()
    for name, leaf in leaves.items():
        np.testing.assert_allclose(grads[name], leaf.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_loss_and_grads_agrees_with_finite_differences(char_rnn, rng):
    params, h0 = draw(rng, 4, 3), rng.standard_normal((2, 3))
    x, y = rng.integers(4, size=(2, 2, 5))
    _, grads, _ = char_rnn.loss_and_grads(params, x, y, h0)
    for name, value in params.items():
        along, h = rng.standard_normal(value.shape), 1e-6
        above, below = (
            char_rnn.loss_and_grads({**params, name: value + sign * h * along}, x, y, h0)[0] for sign in (1, -1)
        )
        assert np.sum(grads[name] * along) == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("T", [1, 4, 100])
def test_bits_per_char_is_torchs_cross_entropy_over_the_whole_text(char_rnn, rng, T, scale):
    V, H = 5, 4
    params, ids = draw(rng, V, H), rng.integers(V, size=30)
    params["Wy"] *= scale
    states, _ = torch_layer(params)(onehot(ids[None, :-1], V))
    scores = states[0] @ torch.from_numpy(params["Wy"]) + torch.from_numpy(params["by"])
    nats = nn.functional.cross_entropy(scores, torch.from_numpy(ids[1:])).item()
    assert char_rnn.bits_per_char(params, ids, T) == pytest.approx(nats / math.log(2), rel=1e-11)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sample_draws_with_the_frequencies_of_the_softmax(char_rnn, rng, temperature):
    V, H, B = 5, 3, 20_000
    params, h = draw(rng, V, H), rng.standard_normal(H)
    first, states = np.full(B, 2), np.tile(h, (B, 1))
    written = char_rnn.sample(params, first, states, rng.random((B, 2)), temperature)

    def probabilities(context):
        layer = torch_layer(params)
        hidden, _ = layer(onehot(np.array([context]), V), torch.tensor(h).reshape(1, 1, H))
        scores = hidden[0, -1] @ torch.from_numpy(params["Wy"]) + torch.from_numpy(params["by"])
        return torch.softmax(scores / temperature, dim=0).detach().numpy()

    def p_value(draws, context):
        p = probabilities(context)
        kept = p * len(draws) > 5
        assert np.bincount(draws, minlength=V)[~kept].sum() < 50
        counts = np.bincount(draws, minlength=V)[kept]
        return chisquare(counts, p[kept] / p[kept].sum() * counts.sum()).pvalue

    assert p_value(written[:, 0], [2]) > 1e-3
    common = np.bincount(written[:, 0]).argmax()  # what was drawn is what is read next, with the state carried
    assert p_value(written[written[:, 0] == common, 1], [2, common]) > 1e-3


def test_sample_is_argmax_when_cold_and_monotonic_in_u(char_rnn, rng):
    V, H, B = 6, 4, 50
    params, h = draw(rng, V, H), np.tile(rng.standard_normal(H), (B, 1))
    u = np.sort(rng.random(B))[:, None]
    first = np.zeros(B, dtype=int)
    assert (np.diff(char_rnn.sample(params, first, h, u, 1.0)[:, 0]) >= 0).all()
    state = np.tanh(params["Wx"][0] + h[0] @ params["Wh"] + params["bh"])
    best = np.argmax(state @ params["Wy"] + params["by"])
    assert (char_rnn.sample(params, first, h, u, 1e-4) == best).all()


@pytest.mark.parametrize("max_norm", [0.1, 2.0, 1e3])
def test_clip_by_global_norm_is_torchs(char_rnn, rng, max_norm):
    grads = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(5)}
    clipped, norm = char_rnn.clip_by_global_norm(grads, max_norm)
    theirs = [nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in grads.values()]
    for parameter, g in zip(theirs, grads.values(), strict=True):
        parameter.grad = torch.tensor(g)
    assert norm == pytest.approx(nn.utils.clip_grad_norm_(theirs, max_norm).item(), rel=1e-12)
    for name, parameter in zip(grads, theirs, strict=True):  # torch adds 1e-6 to the norm
        np.testing.assert_allclose(clipped[name], parameter.grad.numpy(), rtol=2e-6)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e3])
def test_adagrad_step_is_torchs_optimiser(char_rnn, rng, scale):
    params = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(5)}
    memory = {name: np.zeros_like(value) for name, value in params.items()}
    theirs = {name: nn.Parameter(torch.tensor(value)) for name, value in params.items()}
    optimiser = torch.optim.Adagrad(theirs.values(), lr=0.3, eps=1e-8)
    for _ in range(4):
        grads = {name: scale * rng.standard_normal(value.shape) for name, value in params.items()}
        given = [params, grads, memory]
        before = [{name: value.copy() for name, value in arrays.items()} for arrays in given]
        params, memory = char_rnn.adagrad_step(*given, 0.3)
        for arrays, copies in zip(given, before, strict=True):
            assert all(np.array_equal(arrays[name], copies[name]) for name in copies)
        for name, parameter in theirs.items():
            parameter.grad = torch.from_numpy(grads[name])
        optimiser.step()
    for name, parameter in theirs.items():
        np.testing.assert_allclose(params[name], parameter.detach().numpy(), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(memory[name], optimiser.state[parameter]["sum"].numpy(), rtol=1e-12)


@pytest.mark.parametrize(("B", "T", "V", "H"), SIZES)
def test_module_is_a_loop_over_torchs_cell_with_its_gradients(char_rnn, rng, B, T, V, H):
    module = char_rnn.CharRNN(V, H).double()
    cell = nn.RNNCell(V, H, dtype=torch.float64)
    cell.load_state_dict(
        {
            name: value.clone()
            for name, value in zip(
                ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), module.rnn.parameters(), strict=True
            )
        }
    )
    x, h0 = rng.integers(V, size=(B, T)), rng.standard_normal((1, B, H))
    upstream = torch.from_numpy(rng.standard_normal((B, T, V)))
    ours_h0, theirs_h0 = (torch.tensor(h0, requires_grad=True) for _ in range(2))
    z, last = module(torch.from_numpy(x), ours_h0)

    h, scores = theirs_h0[0], []
    for t in range(T):
        h = cell(onehot(x[:, t], V), h)
        scores.append(h @ module.readout.weight.detach().T + module.readout.bias.detach())
    torch.testing.assert_close(z, torch.stack(scores, dim=1), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(last[0], h, rtol=1e-11, atol=1e-12)
    torch.sum(z * upstream).backward()
    torch.sum(torch.stack(scores, dim=1) * upstream).backward()
    torch.testing.assert_close(ours_h0.grad, theirs_h0.grad, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(module.rnn.weight_hh_l0.grad, cell.weight_hh.grad, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(module.rnn.weight_ih_l0.grad, cell.weight_ih.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("max_norm", [0.05, 100.0])
def test_train_chunk_is_gradient_descent_written_out(char_rnn, rng, max_norm):
    """Autograd of a loss that is written out, the norm from NumPy, the update by hand."""
    B, T, V, H, lr = 3, 4, 4, 3, 0.7  # as many steps as characters: axes that are confused raise nothing
    model = char_rnn.CharRNN(V, H).double()
    names = [name for name, _ in model.named_parameters()]
    x, y = (torch.from_numpy(a) for a in rng.integers(V, size=(2, B, T)))
    h0 = torch.from_numpy(rng.standard_normal((1, B, H)))

    own = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
    h, terms = h0[0], []
    for t in range(T):
        into = own["rnn.weight_ih_l0"].T[x[:, t]] + own["rnn.bias_ih_l0"] + own["rnn.bias_hh_l0"]
        h = torch.tanh(into + h @ own["rnn.weight_hh_l0"].T)
        logp = (h @ own["readout.weight"].T + own["readout.bias"]).log_softmax(dim=1)
        terms.extend(-logp[b, y[b, t]] for b in range(B))
    loss = sum(terms) / (B * T)
    grads = dict(zip(names, torch.autograd.grad(loss, [own[name] for name in names]), strict=True))
    norm = np.linalg.norm(np.concatenate([g.numpy().ravel() for g in grads.values()]))

    returned, state = char_rnn.train_chunk(model, torch.optim.SGD(model.parameters(), lr=lr), x, y, h0, max_norm)
    assert returned == pytest.approx(loss.item(), rel=1e-11)
    torch.testing.assert_close(state[0], h.detach(), rtol=1e-11, atol=1e-12)
    assert not state.requires_grad
    for name, value in model.named_parameters():
        expected = own[name].detach() - lr * min(1, max_norm / norm) * grads[name]
        torch.testing.assert_close(value.detach(), expected, rtol=1e-5, atol=1e-6 * max_norm)


def test_the_numbers_worked_by_hand_in_the_text(char_rnn):
    ln3 = math.log(3)
    x, y = char_rnn.make_batches(np.arange(9), 2, 2)
    assert x.tolist() == [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]
    assert y[1].tolist() == [[3, 4], [7, 8]]
    bits = char_rnn.ngram_bits(np.array([0, 1, 0, 1, 0]), np.array([0, 1]), 2, 2, 1.0)
    assert bits == pytest.approx(math.log2(36 / 29))

    params = {"Wx": np.array([[0.0], [ln3 / 2]]), "Wh": np.array([[ln3]]), "bh": np.zeros(1)}
    Hs, cache = char_rnn.rnn_forward(params, np.array([[1, 0]]), np.zeros((1, 1)))
    np.testing.assert_allclose(Hs, [[[0.5], [0.5]]])
    grads, dh0 = char_rnn.rnn_backward(np.array([[[0.0], [1.0]]]), cache)
    np.testing.assert_allclose(grads["Wx"][:, 0], [0.75, 9 / 16 * ln3])
    np.testing.assert_allclose([grads["Wh"].item(), dh0.item()], [0.375, 9 / 16 * ln3**2])

    silent = {"Wx": np.zeros((2, 1)), "Wh": np.zeros((1, 1)), "bh": np.zeros(1), "Wy": np.zeros((1, 2))}
    silent["by"] = np.array([0.0, ln3])
    bits = char_rnn.bits_per_char(silent, np.array([0, 1, 1, 0]), 2)
    assert bits == pytest.approx((2 * math.log2(4 / 3) + 2) / 3)
    for temperature, u, drawn in ((1.0, 0.2, 0), (1.0, 0.3, 1), (0.5, 0.2, 1), (2.0, 0.3, 0)):
        written = char_rnn.sample(silent, np.array([0]), np.zeros((1, 1)), np.array([[u]]), temperature)
        assert written.tolist() == [[drawn]]
    silent["by"] = np.zeros(2)
    loss, grads, _ = char_rnn.loss_and_grads(silent, np.array([[1]]), np.array([[0]]), np.zeros((1, 1)))
    assert loss == pytest.approx(math.log(2))
    assert grads["by"].tolist() == [-0.5, 0.5]
    assert not any(grads[name].any() for name in ("Wx", "Wh", "bh", "Wy"))

    clipped, norm = char_rnn.clip_by_global_norm({"a": np.array([3.0]), "b": np.array([4.0])}, 1.0)
    np.testing.assert_allclose([norm, clipped["a"][0], clipped["b"][0]], [5, 0.6, 0.8])
    params, memory = char_rnn.adagrad_step(*({"w": np.array([v])} for v in (1.0, 3.0, 16.0)), 0.1)
    np.testing.assert_allclose([params["w"][0], memory["w"][0]], [0.94, 25])

    model = char_rnn.CharRNN(2, 1).double()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    loss, _ = char_rnn.train_chunk(model, optimiser, torch.tensor([[1]]), torch.tensor([[0]]), None, 10.0)
    assert loss == pytest.approx(math.log(2))
    assert model.readout.bias.tolist() == pytest.approx([0.5, -0.5])
