"""The references of 14 against torch.nn with autograd, loops, exhaustive search; and the dates that it learns from."""

import datetime
import itertools
import math

import numpy as np
import pytest
import torch
from babel.dates import format_date
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from course import dates

PARTS = {"weight_ih": "Wx", "weight_hh": "Wh", "bias_ih": "bx", "bias_hh": "bh"}


@pytest.fixture(scope="module")
def bahdanau(reference):
    return reference("14")


def draw(bahdanau, rng, src_vocab, tgt_vocab, E, H):
    """Parameters of which none is zero."""
    p = bahdanau.make_params(rng, src_vocab, tgt_vocab, E, H)
    return {name: value + 0.3 * rng.standard_normal(value.shape) for name, value in p.items()}


def sentences(rng, B, S, T, src_vocab, tgt_vocab):
    """Sources with words at padding, too, and targets that end with EOS before their padding."""
    lengths, sizes, at = rng.permutation(B) % S + 1, rng.permutation(B) % T + 1, np.arange(T)
    tgt = np.where(at < sizes[:, None] - 1, rng.integers(3, tgt_vocab, size=(B, T)), 0)
    tgt[np.arange(B), sizes - 1] = dates.EOS
    return rng.integers(3, src_vocab, size=(B, S)), lengths, tgt


def leaves(arrays):
    return {name: torch.tensor(value, requires_grad=True) for name, value in arrays.items()}


def torchs_gru(p, inputs, hidden):
    """nn.GRU in both directions with the weights of "fwd" and "bwd"."""
    gru = nn.GRU(inputs, hidden, batch_first=True, bidirectional=True, dtype=torch.float64)
    for theirs, ours in PARTS.items():
        for tail, name in (("_l0", "fwd"), ("_l0_reverse", "bwd")):
            gru.get_parameter(theirs + tail).data.copy_(torch.from_numpy(p[f"{ours}_{name}"].T))
    return gru


@pytest.mark.parametrize(("B", "S", "E", "H"), [(1, 1, 1, 1), (4, 6, 2, 3), (3, 4, 5, 2)])
def test_annotations_and_their_gradients_are_those_of_packed_gru(bahdanau, rng, B, S, E, H):
    p = draw(bahdanau, rng, 4, 4, E, H)
    x, dh, lengths = rng.standard_normal((B, S, E)), rng.standard_normal((B, S, 2 * H)), rng.permutation(B) % S + 1
    h, cache = bahdanau.bigru_encode(p, x, lengths)
    dx, grads = bahdanau.bigru_backward(dh, cache)

    gru, leaf = torchs_gru(p, E, H), torch.tensor(x, requires_grad=True)
    packed = pack_padded_sequence(leaf, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False)
    theirs, _ = pad_packed_sequence(gru(packed)[0], batch_first=True, total_length=S)
    np.testing.assert_allclose(h, theirs.detach().numpy(), rtol=1e-11, atol=1e-13)
    theirs.backward(torch.from_numpy(dh))
    np.testing.assert_allclose(dx, leaf.grad.numpy(), rtol=1e-9, atol=1e-12)
    for part, ours in PARTS.items():
        for tail, name in (("_l0", "fwd"), ("_l0_reverse", "bwd")):
            expected = gru.get_parameter(part + tail).grad.numpy().T
            np.testing.assert_allclose(grads[f"{ours}_{name}"], expected, rtol=1e-9, atol=1e-12)


def looped_attention(p, s, h, mask):
    """Equations (2) to (4), one sentence and one place after the other; in torch, with its graph."""
    contexts, weights = [], []
    for b in range(len(s)):
        scores = {
            j: torch.dot(p["v_a"], torch.tanh(p["W_a"].T @ s[b] + p["U_a"].T @ h[b, j]))
            for j in range(h.shape[1])
            if mask[b, j]
        }
        total = torch.logsumexp(torch.stack(list(scores.values())), dim=0)
        alpha = {j: torch.exp(score - total) for j, score in scores.items()}
        contexts.append(sum(a * h[b, j] for j, a in alpha.items()))
        weights.append(torch.stack([alpha.get(j, torch.zeros((), dtype=s.dtype)) for j in range(h.shape[1])]))
    return torch.stack(contexts), torch.stack(weights)


@pytest.mark.parametrize(("B", "S", "H", "D", "A"), [(1, 1, 1, 1, 1), (3, 5, 2, 4, 6), (2, 4, 5, 3, 2)])
def test_attention_and_its_gradients_are_those_of_loops_with_autograd(bahdanau, rng, B, S, H, D, A):
    arrays = {name: rng.standard_normal(n) for name, n in (("W_a", (H, A)), ("U_a", (D, A)), ("v_a", A))}
    inputs = {"s": rng.standard_normal((B, H)), "h": rng.standard_normal((B, S, D))}
    mask, dc = rng.random((B, S)) < 0.6, rng.standard_normal((B, D))
    mask[:, 0] |= ~mask.any(axis=1)
    c, alpha, cache = bahdanau.additive_attention(arrays, inputs["s"], inputs["h"], mask)
    ds, dh, grads = bahdanau.additive_attention_backward(dc, cache)

    p, x = leaves(arrays), leaves(inputs)
    their_c, their_alpha = looped_attention(p, x["s"], x["h"], mask)
    np.testing.assert_allclose(c, their_c.detach().numpy(), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(alpha, their_alpha.detach().numpy(), rtol=1e-11, atol=1e-13)
    assert np.all(alpha[~mask] == 0)
    np.testing.assert_allclose(alpha.sum(axis=1), 1.0, rtol=1e-13)
    their_c.backward(torch.from_numpy(dc))
    for ours, theirs in ((ds, x["s"]), (dh, x["h"]), *((grads[name], p[name]) for name in p)):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


def torchs_step(p, y, s, h, mask):
    """nn.GRUCell's function and max_pool1d, on leaves."""
    c, alpha = looped_attention(p, s, h, mask)
    new = torch.gru_cell(torch.cat([y, c], 1), s, p["Wx_dec"].T, p["Wh_dec"].T, p["bx_dec"], p["bh_dec"])
    wide = torch.cat([new, y, c], 1) @ p["W_out"] + p["b_out"]
    return nn.functional.max_pool1d(wide[:, None], 2)[:, 0] @ p["W_vocab"] + p["b_vocab"], new, alpha


@pytest.mark.parametrize(("B", "S", "E", "H", "V"), [(1, 1, 1, 1, 3), (3, 5, 2, 4, 6), (2, 4, 5, 3, 2)])
def test_decoder_step_and_its_gradients_are_those_of_torchs_cell(bahdanau, rng, B, S, E, H, V):
    arrays = draw(bahdanau, rng, 4, V, E, H)
    inputs = {
        "y": rng.standard_normal((B, E)),
        "s": rng.standard_normal((B, H)),
        "h": rng.standard_normal((B, S, 2 * H)),
    }
    mask = np.arange(S) < (rng.permutation(B) % S + 1)[:, None]
    dlogits, ds_new = rng.standard_normal((B, V)), rng.standard_normal((B, H))
    logits, new, alpha, cache = bahdanau.decoder_step(arrays, inputs["y"], inputs["s"], inputs["h"], mask)
    *found, grads = bahdanau.decoder_step_backward(dlogits, ds_new, cache)

    p, x = leaves(arrays), leaves(inputs)
    theirs = torchs_step(p, x["y"], x["s"], x["h"], mask)
    for ours, expected in zip((logits, new, alpha), theirs, strict=True):
        np.testing.assert_allclose(ours, expected.detach().numpy(), rtol=1e-11, atol=1e-13)
    (torch.sum(theirs[0] * torch.from_numpy(dlogits)) + torch.sum(theirs[1] * torch.from_numpy(ds_new))).backward()
    for ours, name in zip(found, ("y", "s", "h"), strict=True):
        np.testing.assert_allclose(ours, x[name].grad.numpy(), rtol=1e-9, atol=1e-12)
    used = {name for name, leaf in p.items() if leaf.grad is not None}
    assert set(grads) == used
    for name in used:
        np.testing.assert_allclose(grads[name], p[name].grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("B", "S", "T", "E", "H"), [(1, 1, 1, 1, 1), (4, 5, 6, 2, 3), (3, 4, 3, 3, 2)])
def test_the_loss_and_all_gradients_are_autograds(bahdanau, rng, B, S, T, E, H):
    arrays = draw(bahdanau, rng, 7, 6, E, H)
    src, lengths, tgt = sentences(rng, B, S, T, 7, 6)
    loss, grads = bahdanau.seq2seq_loss_and_grads(arrays, src, lengths, tgt)

    p, mask = leaves(arrays), np.arange(S) < lengths[:, None]
    gru = torchs_gru(arrays, E, H)
    packed = pack_padded_sequence(p["E_src"][src], torch.from_numpy(lengths), batch_first=True, enforce_sorted=False)
    h, _ = pad_packed_sequence(gru(packed)[0], batch_first=True, total_length=S)
    s, total = torch.tanh(h[:, 0, H:] @ p["W_init"] + p["b_init"]), torch.zeros((), dtype=torch.float64)
    for t in range(T):
        before = p["E_tgt"][tgt[:, t - 1] if t else np.full(B, dates.BOS)]
        logits, s, _ = torchs_step(p, before, s, h, mask)
        total = total + nn.functional.cross_entropy(
            logits, torch.from_numpy(tgt[:, t]), ignore_index=dates.PAD, reduction="sum"
        )
    theirs = total / np.sum(tgt != dates.PAD)
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), rel=1e-11)
    assert set(grads) == set(arrays)
    for name, leaf in p.items():
        if leaf.grad is not None:
            np.testing.assert_allclose(grads[name], leaf.grad.numpy(), rtol=1e-8, atol=1e-12)
    for part, ours in PARTS.items():
        np.testing.assert_allclose(
            grads[f"{ours}_bwd"], gru.get_parameter(f"{part}_l0_reverse").grad.numpy().T, atol=1e-12
        )
        np.testing.assert_allclose(grads[f"{ours}_fwd"], gru.get_parameter(f"{part}_l0").grad.numpy().T, atol=1e-12)


def moved_into(bahdanau, model, p):
    """A module with the weights of NumPy, whose matrices are transposed."""
    names = {f"{name}.weight": name for name in ("E_src", "E_tgt", "W_a", "U_a", "v_a")}
    for theirs, ours in (("init", "init"), ("readout", "out"), ("vocab", "vocab")):
        names |= {f"{theirs}.weight": f"W_{ours}", f"{theirs}.bias": f"b_{ours}"}
    for part, ours in PARTS.items():
        names |= {f"encoder.{part}_l0": f"{ours}_fwd", f"encoder.{part}_l0_reverse": f"{ours}_bwd"}
        names[f"cell.{part}"] = f"{ours}_dec"
    model.load_state_dict({theirs: bahdanau.in_torch(ours, p[ours]) for theirs, ours in names.items()})
    return model


@pytest.mark.parametrize(("B", "S", "T", "E", "H"), [(1, 2, 1, 1, 1), (4, 5, 6, 2, 3), (3, 4, 3, 3, 2)])
def test_the_module_gives_the_numpy_networks_logits_and_weights(bahdanau, rng, B, S, T, E, H):
    p = draw(bahdanau, rng, 7, 6, E, H)
    src, lengths, tgt = sentences(rng, B, S, T, 7, 6)
    model = moved_into(bahdanau, bahdanau.AttnSeq2Seq(7, 6, E, H).double(), p)
    expected, _ = bahdanau.seq2seq_forward(p, src, lengths, tgt)
    tensors = [torch.from_numpy(a) for a in (src, lengths, tgt)]
    np.testing.assert_allclose(model(*tensors).detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    h, mask, s = model.encode(*tensors[:2])
    c, alpha = model.attend(s, h, mask)
    their_c, their_alpha, _ = bahdanau.additive_attention(p, s.detach().numpy(), h.detach().numpy(), mask.numpy())
    np.testing.assert_allclose(c.detach().numpy(), their_c, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(alpha.detach().numpy(), their_alpha, rtol=1e-10, atol=1e-12)


def test_without_attention_the_context_is_torchs_last_states(bahdanau, rng):
    torch.manual_seed(0)
    model = bahdanau.AttnSeq2Seq(7, 6, 2, 3, attention=False).double()
    src, lengths, _ = (torch.from_numpy(a) for a in sentences(rng, 4, 5, 3, 7, 6))
    h, mask, s = model.encode(src, lengths)
    packed = pack_padded_sequence(model.E_src(src), lengths, batch_first=True, enforce_sorted=False)
    _, last = model.encoder(packed)
    torch.testing.assert_close(model.attend(s, h, mask)[0], torch.cat([last[0], last[1]], dim=1))
    torch.testing.assert_close(s, torch.tanh(model.init(last[1])))


def table_step(rng, V, H):
    W, E, U = (torch.from_numpy(rng.standard_normal(n)) for n in ((H, H), (V, H), (H, V)))

    def step(words, states):
        states = torch.tanh(states @ W + E[words])
        return torch.log_softmax(2 * states @ U, dim=1), states

    return step, torch.from_numpy(rng.standard_normal((1, H)))


def every_sentence(step, state, bos, eos, V, max_len):
    """All sentences that end with eos, or have max_len words, with their log-probabilities."""
    for n in range(1, max_len + 1):
        for words in itertools.product(range(V), repeat=n):
            if eos in words[:-1] or (words[-1] != eos and n < max_len):
                continue
            s, last, logp = state, bos, 0.0
            for word in words:
                scores, s = step(torch.tensor([last]), s)
                logp, last = logp + scores[0, word].item(), word
            yield list(words), logp


@pytest.mark.parametrize("a", [0.0, 0.7, 1.0])
def test_a_beam_with_room_for_all_finds_every_sentence_in_order(bahdanau, rng, a):
    step, state = table_step(rng, 4, 3)
    found = bahdanau.beam_search(step, state, 0, 2, 4**4, 4, a)
    every = sorted(every_sentence(step, state, 0, 2, 4, 4), key=lambda item: -item[1] / len(item[0]) ** a)
    assert len(found) == len(every)
    for (words, logp), (their_words, their_logp) in zip(found, every, strict=True):
        assert words == their_words
        assert logp == pytest.approx(their_logp, rel=1e-9)


def test_a_beam_of_one_is_greedy(bahdanau, rng):
    for _ in range(20):
        step, state = table_step(rng, 6, 4)
        [(words, logp)] = bahdanau.beam_search(step, state, 0, 2, 1, 8)
        last, s, greedy, total = 0, state, [], 0.0
        while len(greedy) < 8 and (not greedy or last != 2):
            scores, s = step(torch.tensor([last]), s)
            last = int(scores.argmax())
            greedy.append(last)
            total += scores.max().item()
        assert words == greedy
        assert logp == pytest.approx(total, rel=1e-9)


def test_the_case_in_which_greedy_misses_the_best(bahdanau):
    table = torch.log(torch.tensor([[0, 0, 0.6, 0.4], [0, 1, 0, 0], [0, 0.5, 0.3, 0.2], [0, 0.9, 0.1, 0]]).double())

    def step(words, states):
        return table[words], states

    def best(width):
        return bahdanau.beam_search(step, torch.zeros(1, 1), 0, 1, width, 2, 0.0)[0]

    assert best(1)[1] == pytest.approx(math.log(0.3), rel=1e-6)
    assert best(2)[0] == [3, 1]
    assert best(2)[1] == pytest.approx(math.log(0.36), rel=1e-6)


@pytest.mark.parametrize("kind", ["dot", "general", "scaled", "additive"])
def test_other_scores_are_those_of_loops(bahdanau, rng, kind):
    s, h = rng.standard_normal((2, 3)), rng.standard_normal((2, 4, 3))
    p = {name: rng.standard_normal((3, 3)) for name in ("W_a", "U_a", "W_g")} | {"v_a": rng.standard_normal(3)}
    formulas = {
        "dot": lambda a, b: a @ b,
        "scaled": lambda a, b: a @ b / math.sqrt(3),
        "general": lambda a, b: a @ p["W_g"] @ b,
        "additive": lambda a, b: p["v_a"] @ np.tanh(a @ p["W_a"] + b @ p["U_a"]),
    }
    expected = [[formulas[kind](s[b], h[b, j]) for j in range(4)] for b in range(2)]
    np.testing.assert_allclose(bahdanau.score_variants(s, h, kind, p), expected, rtol=1e-12)


def test_scores_that_need_equal_sizes_say_so(bahdanau, rng):
    with pytest.raises(ValueError, match="one size"):
        bahdanau.score_variants(rng.standard_normal((2, 3)), rng.standard_normal((2, 4, 5)), "dot")


def test_a_fixed_vector_learns_dates_too_in_twice_the_steps(bahdanau):
    """What the text says beside Figure 17: after 500 steps it has most unseen dates right."""
    words, pairs = dates.vocabularies(), dates.draw(np.random.default_rng(0), 4000)
    arrays, rng = dates.encode(pairs, *words), np.random.default_rng([0, 0])
    torch.manual_seed(0)
    model = bahdanau.AttnSeq2Seq(len(words[0]), len(words[1]), 16, 32, attention=False)

    def batch():
        pick = rng.integers(len(pairs), size=32)
        return [torch.from_numpy(a[pick]) for a in arrays]

    bahdanau.train(model, batch, steps=500)
    tests = dates.draw(np.random.default_rng(1), 100, held_out=True)
    src, lengths, tgt = map(torch.from_numpy, dates.encode(tests, *words))
    with torch.no_grad():
        right = (model(src, lengths, tgt).argmax(dim=2) == tgt) | (tgt == dates.PAD)
    assert right.all(dim=1).double().mean() > 0.75


# The dates ----------------------------------------------------------------------------------------------------------


def test_dates_are_babels_and_cut_without_loss():
    day = datetime.date(1984, 3, 27)
    for locale in dates.LANGUAGES:
        for form in dates.FORMATS:
            pair = dates.pair(day, locale, form)
            assert "".join(pair.target) == format_date(day, form, locale=locale)
            assert pair.source[0] == f"<{locale}>"
            assert "".join(pair.source[1:]) == format_date(day, form, locale="en")


def test_partners_of_a_hungarian_date_are_year_month_day_weekday():
    pair = dates.pair(datetime.date(1984, 3, 27), "hu", "full")
    said = [
        (part.strip(), pair.source[at].strip()) for part, at in zip(pair.target, pair.partner, strict=True) if at >= 0
    ]
    assert said == [
        *(("1", "1"), ("9", "9"), ("8", "8"), ("4", "4")),
        *(("március", "March"), ("2", "2"), ("7", "7"), ("kedd", "Tuesday")),
    ]
    assert pair.source[pair.partner[0]] == " 1"  # the year's, which is the only one


def test_held_out_years_are_never_trained_on():
    rng = np.random.default_rng(0)
    train, test = dates.draw(rng, 500), dates.draw(rng, 500, held_out=True)
    assert {p.day.year % 11 for p in test} == {4}
    assert not {p.day.year for p in train} & {p.day.year for p in test}
    assert {p.locale for p in test} == set(dates.LANGUAGES)


def test_vocabularies_hold_all_parts_and_text_is_what_was_encoded():
    source_words, target_words = dates.vocabularies()
    assert tuple(source_words[:3]) == tuple(target_words[:3]) == dates.SPECIAL
    pairs = dates.draw(np.random.default_rng(1), 300, held_out=True)
    src, lengths, tgt = dates.encode(pairs, source_words, target_words)
    for row, pair in enumerate(pairs):
        assert dates.text(tgt[row], target_words) == "".join(pair.target)
        assert "".join(source_words[k] for k in src[row, : lengths[row]]) == "".join(pair.source)
        assert np.all(src[row, lengths[row] :] == dates.PAD)
        assert tgt[row, len(pair.target)] == dates.EOS
