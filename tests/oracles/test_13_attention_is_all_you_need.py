"""The references of 13 against torch's layers and losses, autograd, finite differences and scalar loops."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn
from torch.nn import functional as F

from course.gradcheck import numerical_gradient, relative_error


@pytest.fixture(scope="module")
def transformer(reference):
    return reference("13")


def draw_mask(rng, *shape):
    """About half True, with a row of nothing but False and a row of nothing but True."""
    mask = rng.random(shape) < 0.5
    mask[..., 0, :], mask[..., 1, :] = False, True
    return mask


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def close(ours, theirs, tolerance=1e-10):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    assert relative_error(ours, theirs) < tolerance


@pytest.mark.parametrize("masked", [False, True])
def test_attention_weights_and_sdpa_backward_are_torchs_attention_with_autograd(transformer, rng, masked):
    Q, K, V = (rng.standard_normal((2, 3, t, d)) for t, d in ((5, 4), (7, 4), (7, 6)))
    dO, mask = rng.standard_normal((2, 3, 5, 6)), draw_mask(rng, 2, 3, 5, 7) if masked else None
    O, cache = transformer.sdpa_forward(Q, K, V, mask)
    leaves = [leaf(a) for a in (Q, K, V)]
    theirs = F.scaled_dot_product_attention(*leaves, attn_mask=None if mask is None else torch.from_numpy(mask))
    close(O, theirs)
    theirs.backward(torch.from_numpy(dO))
    for ours, oracle in zip(transformer.sdpa_backward(dO, cache), leaves, strict=True):
        close(ours, oracle.grad)
    if masked:  # a query that sees nothing
        assert not O[:, :, 0].any()
        assert not transformer.attention_weights(Q, K, mask)[:, :, 0].any()
        assert not transformer.sdpa_backward(dO, cache)[0][:, :, 0].any()


def test_attention_weights_are_scipys_softmax_for_scores_of_any_size(transformer, rng):
    Q, K = 1e4 * rng.standard_normal((3, 5, 4)), rng.standard_normal((3, 6, 4))
    with np.errstate(all="raise", under="ignore"):
        close(transformer.attention_weights(Q, K), softmax(np.einsum("bid,bjd->bij", Q, K) / 2, axis=-1), 1e-12)
        below = transformer.attention_weights(np.ones((1, 2, 4)), K - 1e3)  # every score far below zero
        close(below, softmax(np.ones((3, 2, 1)) * (K - 1e3).sum(axis=-1)[:, None] / 2, axis=-1), 1e-12)


def test_sdpa_backward_is_the_finite_difference(transformer, rng):
    Q, K, V = (rng.standard_normal((2, t, d)) for t, d in ((3, 4), (5, 4), (5, 2)))
    dO, mask = rng.standard_normal((2, 3, 2)), draw_mask(rng, 2, 3, 5)
    found = transformer.sdpa_backward(dO, transformer.sdpa_forward(Q, K, V, mask)[1])
    for ours, array in zip(found, (Q, K, V), strict=True):
        loss = lambda: float(np.sum(transformer.sdpa_forward(Q, K, V, mask)[0] * dO))  # noqa: E731
        close(ours, numerical_gradient(loss, array), 1e-7)


@pytest.mark.parametrize(("T", "d"), [(1, 1), (7, 2), (5, 5), (40, 16), (9, 7)])
def test_sinusoidal_pe_is_the_papers_formula_one_by_one_and_a_rotation(transformer, T, d):
    pe = transformer.sinusoidal_pe(T, d)
    assert pe.shape == (T, d)
    for pos in range(T):
        for i in range((d + 1) // 2):
            angle = pos / 10000 ** (2 * i / d)
            assert pe[pos, 2 * i] == pytest.approx(math.sin(angle), abs=1e-12)
            if 2 * i + 1 < d:
                assert pe[pos, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-12)
    if d % 2 == 0 and T > 3:
        gram = pe @ pe.T
        np.testing.assert_allclose(gram[1:, 1:], gram[:-1, :-1], atol=1e-10)  # it depends on the difference alone


def torch_attention(p, heads):
    """nn.MultiheadAttention with our matrices, which nn.Linear keeps transposed."""
    D = len(p["Wq"])
    layer = nn.MultiheadAttention(D, heads, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.from_numpy(np.concatenate([p[n].T for n in ("Wq", "Wk", "Wv")])))
        layer.out_proj.weight.copy_(torch.from_numpy(p["Wo"].T))
    return layer


@pytest.mark.parametrize(("B", "Tq", "Tk", "D", "heads"), [(1, 2, 1, 2, 1), (2, 3, 5, 6, 3), (3, 4, 4, 8, 2)])
def test_mha_forward_and_mha_backward_are_torchs_layer_with_autograd(transformer, rng, B, Tq, Tk, D, heads):
    p = {name: rng.standard_normal((D, D)) for name in ("Wq", "Wk", "Wv", "Wo")}
    x_q, x_kv, dout = (rng.standard_normal((B, T, D)) for T in (Tq, Tk, Tq))
    mask = rng.random((B, heads, Tq, Tk)) < 0.7
    mask[..., 0] = True
    out, cache = transformer.mha_forward(p, x_q, x_kv, heads, mask)
    dx_q, dx_kv, grads = transformer.mha_backward(dout, cache)

    layer, q, kv = torch_attention(p, heads), leaf(x_q), leaf(x_kv)
    hidden = torch.from_numpy(~mask).reshape(B * heads, Tq, Tk)  # torch's mask: True is hidden
    theirs, _ = layer(q, kv, kv, attn_mask=hidden)
    theirs.backward(torch.from_numpy(dout))
    close(out, theirs)
    close(dx_q, q.grad)
    close(dx_kv, kv.grad)
    for k, name in enumerate(("Wq", "Wk", "Wv")):
        close(grads[name], layer.in_proj_weight.grad[k * D : (k + 1) * D].T)
    close(grads["Wo"], layer.out_proj.weight.grad.T)


@pytest.mark.parametrize("shape", [(4,), (3, 2), (2, 5, 6), (2, 3, 2, 5)])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_layer_norm_forward_and_layer_norm_backward_are_torchs_with_autograd(transformer, rng, shape, eps):
    x, dout = 1 + math.sqrt(eps) * rng.standard_normal(shape), rng.standard_normal(shape)
    gain, bias = rng.standard_normal((2, shape[-1]))
    out, cache = transformer.layer_norm_forward(x, gain, bias, eps)
    found = transformer.layer_norm_backward(dout, cache)
    leaves = [leaf(a) for a in (x, gain, bias)]
    theirs = F.layer_norm(leaves[0], shape[-1:], leaves[1], leaves[2], eps)
    theirs.backward(torch.from_numpy(dout))
    close(out, theirs)
    for ours, oracle in zip(found, leaves, strict=True):
        close(ours, oracle.grad, 1e-8)
    np.testing.assert_allclose(found[0].sum(axis=-1), 0, atol=1e-9 * np.abs(found[0]).max() * shape[-1] * 10)


def test_layer_norm_backward_without_gain_is_orthogonal_to_the_normalised_vector(transformer, rng):
    x, dout = rng.standard_normal((2, 6, 8))
    xhat, cache = transformer.layer_norm_forward(x, np.ones(8), np.zeros(8), 0.0)
    dx, _, _ = transformer.layer_norm_backward(dout, cache)
    np.testing.assert_allclose(np.sum(dx * xhat, axis=-1), 0, atol=1e-12)


@pytest.mark.parametrize(("B", "T", "D", "F_", "heads"), [(1, 2, 3, 2, 1), (3, 5, 6, 7, 3), (2, 4, 8, 3, 2)])
def test_encoder_block_backward_is_autograd_through_torchs_layer(transformer, rng, B, T, D, F_, heads):
    p = {name: rng.standard_normal((D, D)) for name in ("Wq", "Wk", "Wv", "Wo")}
    p |= {"W1": rng.standard_normal((D, F_)), "b1": rng.standard_normal(F_), "W2": rng.standard_normal((F_, D))}
    p |= {name: rng.standard_normal(D) for name in ("b2", "gain1", "bias1", "gain2", "bias2")}
    x, dout = rng.standard_normal((2, B, T, D))
    mask = np.arange(T) < rng.integers(1, T + 1, size=(B, 1))
    y, cache = transformer.encoder_block_forward(p, x, heads, mask[:, None, None])
    dx, grads = transformer.encoder_block_backward(dout, cache)

    layer = nn.TransformerEncoderLayer(D, heads, F_, dropout=0.0, batch_first=True, dtype=torch.float64)
    layer.self_attn = torch_attention(p, heads)
    names = {"linear1.weight": "W1", "linear1.bias": "b1", "linear2.weight": "W2", "linear2.bias": "b2"}
    names |= {
        f"norm{k}.{theirs}": f"{ours}{k}" for k in (1, 2) for theirs, ours in (("weight", "gain"), ("bias", "bias"))
    }
    with torch.no_grad():
        for theirs, ours in names.items():
            layer.get_parameter(theirs).copy_(torch.from_numpy(p[ours].T))
    x_torch = leaf(x)
    expected = layer(x_torch, src_key_padding_mask=torch.from_numpy(~mask))
    expected.backward(torch.from_numpy(dout))
    close(y, expected)
    close(dx, x_torch.grad, 1e-9)
    for theirs, ours in names.items():
        close(grads[ours], layer.get_parameter(theirs).grad.numpy().T, 1e-9)
    for k, name in enumerate(("Wq", "Wk", "Wv")):
        close(grads[name], layer.self_attn.in_proj_weight.grad[k * D : (k + 1) * D].T, 1e-9)
    close(grads["Wo"], layer.self_attn.out_proj.weight.grad.T, 1e-9)


def torchs_own(layer):
    """nn.TransformerEncoderLayer or nn.TransformerDecoderLayer with the weights of a TransformerLayer."""
    d, cross = layer.norm1.bias.numel(), hasattr(layer, "cross_attn")
    kind = nn.TransformerDecoderLayer if cross else nn.TransformerEncoderLayer
    heads, d_ff = layer.self_attn.heads, layer.ffn[0].out_features
    theirs = kind(d, heads, d_ff, dropout=0.0, batch_first=True, dtype=torch.float64)
    ours = {"self_attn": layer.self_attn} | ({"multihead_attn": layer.cross_attn} if cross else {})
    with torch.no_grad():
        for name, attention in ours.items():
            target = getattr(theirs, name)
            target.in_proj_weight.copy_(torch.cat([attention.Wq.weight, attention.Wk.weight, attention.Wv.weight]))
            target.out_proj.weight.copy_(attention.Wo.weight)
    theirs.linear1.load_state_dict(layer.ffn[0].state_dict())
    theirs.linear2.load_state_dict(layer.ffn[2].state_dict())
    norms = [layer.norm1, *([layer.norm2] if cross else []), layer.norm3]
    for k, norm in enumerate(norms, 1):
        getattr(theirs, f"norm{k}").load_state_dict(norm.state_dict())
    return theirs


def randomised(module, seed):
    """In float64, norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


@pytest.mark.parametrize("cross", [False, True])
def test_transformer_layer_is_torchs_layer_with_its_gradients(transformer, rng, cross):
    B, T, S, d = 3, 4, 5, 6
    layer = randomised(transformer.TransformerLayer(d, 2, 7, cross), 1)  # the exercise TransformerLayer
    theirs = torchs_own(layer)
    x, memory, upstream = (rng.standard_normal((B, t, d)) for t in (T, S, T))
    causal = torch.ones(T, T, dtype=torch.bool).tril()
    there = torch.from_numpy(np.arange(S) < rng.integers(1, S + 1, size=(B, 1)))
    grads = []
    for which in (layer, theirs):
        a, m = leaf(x), leaf(memory)
        if which is layer:
            y = layer(a, causal, m, there[:, None, None]) if cross else layer(a, causal)
        elif cross:
            y = theirs(a, m, tgt_mask=~causal, memory_key_padding_mask=~there)
        else:
            y = theirs(a, src_mask=~causal)
        y.backward(torch.from_numpy(upstream))
        grads.append((y.detach(), a.grad, *([m.grad] if cross else [])))
    for ours, oracle in zip(*grads, strict=True):
        torch.testing.assert_close(ours, oracle, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(layer.ffn[0].weight.grad, theirs.linear1.weight.grad, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(layer.self_attn.Wo.weight.grad, theirs.self_attn.out_proj.weight.grad)


def test_transformer_is_a_stack_of_torchs_layers_with_their_gradients(transformer, rng):
    vocab, d, S, T = 9, 6, 5, 4
    model = randomised(transformer.Transformer(vocab, d, 2, 2, 8), 2)  # the exercise Transformer
    src, tgt = (torch.from_numpy(rng.integers(1, vocab, size=(3, t))) for t in (S, T))
    there = torch.from_numpy(np.arange(S) < np.array([[5], [2], [3]]))
    upstream = torch.from_numpy(rng.standard_normal((3, T, vocab)))

    E = model.embedding.weight
    angles = torch.arange(64.0, dtype=torch.float64)[:, None] * 10000.0 ** (-torch.arange(0, d, 2) / d)
    pe = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    memory = F.embedding(src, E) * math.sqrt(d) + pe[:S]
    for layer in model.encoder:
        memory = torchs_own(layer)(memory, src_key_padding_mask=~there)
    read = torch.tensor([[0, *row[:-1]] for row in tgt.tolist()])
    y = F.embedding(read, E) * math.sqrt(d) + pe[:T]
    ahead = nn.Transformer.generate_square_subsequent_mask(T, dtype=torch.float64)
    for layer in model.decoder:
        y = torchs_own(layer)(y, memory, tgt_mask=ahead, memory_key_padding_mask=~there)
    expected = F.linear(y, E)
    [their_grad] = torch.autograd.grad(expected, E, upstream)

    logits = model(src, tgt, there)
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-11)
    [our_grad] = torch.autograd.grad(logits, E, upstream)
    torch.testing.assert_close(our_grad, their_grad, rtol=1e-8, atol=1e-10)


def test_transformer_does_not_leak(transformer, rng):
    model = randomised(transformer.Transformer(9, 6, 2, 2, 8), 3)
    src, tgt = (torch.from_numpy(rng.integers(1, 9, size=(1, t))) for t in (5, 6))
    there = torch.ones(1, 5, dtype=torch.bool)
    before = model(src, tgt, there)
    for at in range(6):
        other = tgt.clone()
        other[0, at] = tgt[0, at] % 8 + 1
        after = model(src, other, there)
        assert torch.equal(after[:, : at + 1], before[:, : at + 1])
        assert at == 5 or not torch.equal(after[:, at + 1], before[:, at + 1])


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.7])
def test_label_smoothing_loss_is_torchs_with_its_gradient(transformer, rng, eps):
    logits, y = 3 * rng.standard_normal((6, 5)), torch.from_numpy(rng.integers(5, size=6))
    ours, theirs = leaf(logits), leaf(logits)
    loss, expected = transformer.label_smoothing_loss(ours, y, eps), F.cross_entropy(theirs, y, label_smoothing=eps)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-14)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-14)


def test_greedy_decode_cached_is_the_uncached_pass_and_no_other_first_choice(transformer, rng):
    model = randomised(transformer.Transformer(11, 8, 2, 3, 6), 4)
    src = torch.from_numpy(rng.integers(1, 11, size=(4, 6)))
    there = torch.from_numpy(np.arange(6) < np.array([[6], [1], [3], [5]]))
    tokens, logits = transformer.greedy_decode_cached(model, src, there, 9)
    with torch.no_grad():
        again = model(src, tokens, there)  # all at once, each position given what was written before it
    torch.testing.assert_close(logits, again, rtol=1e-9, atol=1e-11)
    assert torch.equal(tokens, again.argmax(dim=-1))
