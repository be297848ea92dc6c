"""The references of 25 against brute force, exact fractions, closed forms, autograd, and decoders of another kind."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

FLIPPED = str.maketrans("01", "10")
A = {"00": "0", "01": "1", "10": "double", "110": "flip", "111": "halt"}
ODD = {"1": "mirror", "000": "halt", "001": "1", "010": "0", "0110": "halt", "01110": "flip"}  # 01111 is no opcode


@pytest.fixture(scope="module")
def kolmogorov(reference):
    return reference("25")


def printed(program, machine):
    """What a program prints, by recursion from its front."""
    for opcode, does in machine.items():
        if program.startswith(opcode):
            rest = program[len(opcode) :]
            if does == "halt":
                return [] if rest == "" else None
            deeds = printed(rest, machine)
            return None if deeds is None else [does, *deeds]
    return None


def carried_out(deeds):
    out = ""
    for does in deeds:
        if does in "01":
            out += does
        else:
            out += {"double": out, "flip": out.translate(FLIPPED), "mirror": "".join(reversed(out))}[does]
    return out


@pytest.mark.parametrize("machine", [A, ODD])
def test_run_program_on_every_string_of_up_to_eleven_bits(kolmogorov, machine):
    for n in range(12):
        for bits in itertools.product("01", repeat=n):
            deeds = printed("".join(bits), machine)
            wanted = None if deeds is None else carried_out(deeds)
            assert kolmogorov.run_program("".join(bits), machine) == wanted


@pytest.mark.parametrize(("machine", "most"), [(A, 12), (ODD, 11)])
def test_enumerate_machine_by_trying_every_string(kolmogorov, machine, most):
    lengths = {}
    for n in range(most + 1):
        for bits in itertools.product("01", repeat=n):
            deeds = printed("".join(bits), machine)
            if deeds is not None:
                lengths.setdefault(carried_out(deeds), []).append(n)
    K, m = kolmogorov.enumerate_machine(machine, most)
    assert {x: min(found) for x, found in lengths.items()} == K
    assert m == {x: float(sum(Fraction(1, 2**n) for n in found)) for x, found in lengths.items()}


def test_enumerate_machine_obeys_kraft_and_the_recursion_of_its_programs(kolmogorov):
    K, m = kolmogorov.enumerate_machine(A, 16)
    unfinished = [0] * 17  # programs of each length that have not halted: three opcodes of 2 bits, one of 3
    for n in range(17):
        unfinished[n] = 1 if n == 0 else 3 * unfinished[max(n - 2, -1)] * (n >= 2) + unfinished[n - 3] * (n >= 3)
    assert sum(m.values()) == sum(unfinished[n] / 2 ** (n + 3) for n in range(14))
    assert sum(m.values()) < 1
    assert all(m[x] >= 2.0 ** -K[x] for x in K)
    assert kolmogorov.enumerate_machine(A, 2) == ({}, {})


def test_join_machines_is_the_machine_that_reads_a_name_first(kolmogorov):
    tables = [kolmogorov.enumerate_machine(machine, 8) for machine in (A, ODD)]
    for names in (["0", "1"], ["110", "0"]):
        lengths = {}
        for name, machine in zip(names, (A, ODD), strict=True):
            for n in range(9):
                for bits in itertools.product("01", repeat=n):
                    deeds = printed("".join(bits), machine)
                    if deeds is not None:
                        lengths.setdefault(carried_out(deeds), []).append(len(name) + n)
        K, m = kolmogorov.join_machines(tables, names)
        assert {x: min(found) for x, found in lengths.items()} == K
        assert m == {x: sum(2.0**-n for n in found) for x, found in lengths.items()}


def test_join_machines_refuses_what_is_not_prefix_free(kolmogorov):
    table = ({"0": 5}, {"0": 2.0**-5})
    words = ["".join(bits) for n in range(4) for bits in itertools.product("01", repeat=n)]
    for one, other in itertools.product(words, repeat=2):
        if one.startswith(other) or other.startswith(one):
            with pytest.raises(ValueError, match="prefix-free"):
                kolmogorov.join_machines([table, table], [one, other])
        else:
            kolmogorov.join_machines([table, table], [one, other])


def test_solomonoff_predict_is_the_conditional_of_a_measure_in_fractions(kolmogorov, rng):
    words = ["".join(bits) for n in range(6) for bits in itertools.product("01", repeat=n)]
    for rest in (Fraction(0), Fraction(3, 16)):
        m = {x: Fraction(int(rng.integers(1, 100)), 4096) for x in words if rng.random() < 0.7}
        for prefix in words:
            one, zero = (
                sum((w for y, w in m.items() if y[: len(prefix) + 1] == prefix + b), rest / 2 ** (len(prefix) + 1))
                for b in "10"
            )
            wanted = float(one / (one + zero)) if one + zero else 0.5
            found = kolmogorov.solomonoff_predict(prefix, {x: float(w) for x, w in m.items()}, float(rest))
            assert found == pytest.approx(wanted, rel=1e-12)


def test_solomonoff_predict_pays_at_most_the_complexity_of_a_string(kolmogorov):
    K, m = kolmogorov.enumerate_machine(A, 13)
    rest = 1 - sum(m.values())
    for x in list(K)[::7]:
        chances = [kolmogorov.solomonoff_predict(x[:t], m, rest) for t in range(len(x))]
        bits = -sum(math.log2(p if bit == "1" else 1 - p) for p, bit in zip(chances, x, strict=True))
        assert bits <= K[x] + 1e-9


def torch_learner(x, features, w0, rates):
    """Costs by torch's own loss, updates by autograd of that loss."""
    w, costs = w0, []
    for bit, phi in zip(torch.from_numpy(x).double(), torch.from_numpy(features), strict=True):
        loss = nn.functional.binary_cross_entropy_with_logits(phi @ w, bit)
        [gradient] = torch.autograd.grad(loss, w, create_graph=True)
        costs.append(loss / math.log(2))
        w = w - rates * gradient
    return torch.stack(costs)


@pytest.mark.parametrize(("n", "D"), [(1, 1), (7, 3), (30, 5)])
def test_online_code_forward_and_online_code_backward_are_autograd_through_autograd(kolmogorov, rng, n, D):
    x, features, g = rng.integers(2, size=n), rng.standard_normal((n, D)), rng.standard_normal(n)
    w0, rates = rng.standard_normal(D), rng.uniform(0.05, 0.9, D)
    leaves = [torch.tensor(array, requires_grad=True) for array in (w0, rates)]
    theirs = torch_learner(x, features, *leaves)
    bits, cache = kolmogorov.online_code_forward(x, features, w0, rates)
    np.testing.assert_allclose(bits, theirs.detach().numpy(), rtol=1e-10)
    (torch.from_numpy(g) * theirs).sum().backward()
    for found, leaf in zip(kolmogorov.online_code_backward(g, cache), leaves, strict=True):
        wanted = np.zeros(D) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11)


def test_online_code_forward_of_a_learner_that_stands_still_is_a_bernoulli_code(kolmogorov, rng):
    x, z = rng.integers(2, size=50), 0.8
    bits, _ = kolmogorov.online_code_forward(x, np.ones((50, 1)), np.array([z]), np.zeros(1))
    p = 1 / (1 + math.exp(-z))
    assert bits.sum() == pytest.approx(-x.sum() * math.log2(p) - (50 - x.sum()) * math.log2(1 - p), rel=1e-12)


def test_online_code_forward_far_out_costs_the_logit(kolmogorov):
    for sign, x in ((1, 0), (-1, 1)):
        bits, _ = kolmogorov.online_code_forward(np.array([x]), np.array([[sign * 5000.0]]), np.ones(1), np.zeros(1))
        assert bits[0] == pytest.approx(5000 / math.log(2), rel=1e-12)


def shortest(low, high, most=60):
    """The first binary fraction, by length and then by size, whose whole interval lies within two fractions."""
    for k in range(most):
        for c in range(math.floor(low * 2**k), math.ceil(high * 2**k) + 1):
            if low <= Fraction(c, 2**k) and Fraction(c + 1, 2**k) <= high:
                return f"{c:b}".zfill(k) if k else ""
    raise AssertionError


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8])
def test_arithmetic_encode_by_a_search_in_fractions(kolmogorov, rng, n):
    for x in list(itertools.product([0, 1], repeat=n))[:40]:
        counts = rng.integers(1, 2**16, size=n).tolist()
        low, high = Fraction(0), Fraction(1)
        for bit, q in zip(x, counts, strict=True):
            border = low + (high - low) * Fraction(2**16 - q, 2**16)
            low, high = (border, high) if bit else (low, border)
        if high - low > Fraction(1, 2**50):
            code = kolmogorov.arithmetic_encode(list(x), lambda past, counts=counts: counts[len(past)])
            assert code == shortest(low, high)


def test_arithmetic_encode_is_a_prefix_free_code_that_the_decoder_undoes_within_two_bits(kolmogorov, rng):
    table = rng.integers(1, 2**16, size=512).tolist()

    def predict(past):
        return table[int("1" + "".join(map(str, past)), 2)]

    codes = {}
    for x in itertools.product([0, 1], repeat=8):
        code = codes[x] = kolmogorov.arithmetic_encode(list(x), predict)
        chance = math.prod(Fraction(predict(x[:t]) if x[t] else 2**16 - predict(x[:t]), 2**16) for t in range(len(x)))
        assert -math.log2(chance) <= len(code) < -math.log2(chance) + 2
        assert kolmogorov.arithmetic_decode(code, 8, predict) == list(x)
        assert kolmogorov.arithmetic_decode(code + "10", 8, predict) == list(x)  # whatever follows
    words = sorted(codes.values())
    assert not any(later.startswith(word) for word, later in itertools.pairwise(words))


def test_refute_finds_the_least_contradiction_by_exhaustion(kolmogorov, rng):
    for _ in range(50):
        lengths = rng.integers(3, 40, size=60).tolist()
        bits = [99, *lengths, *[5] * 40]
        candidates = ["1" * n for n in rng.integers(0, 120, size=30).tolist()]
        L, x = kolmogorov.refute(len, bits.__getitem__, iter(candidates))
        assert next(n for n in range(1, 101) if bits[n] < n) == L
        reaching = [candidate for candidate in candidates if len(candidate) >= L]
        assert x == (reaching[0] if reaching else None)


def test_refute_convicts_a_claim_by_a_program_that_runs(kolmogorov):
    """With Python as the machine: what is found is printed by a program shorter than the claim allows."""
    text = "print(next('01' * n for n in range(10**6) if 2 * n >= {}))"

    def program_bits(L):
        return 8 * len(text.format(L))

    L, x = kolmogorov.refute(len, program_bits, ("01" * n for n in itertools.count()))
    assert x == "01" * (-(-L // 2))
    assert program_bits(L) < L <= len(x)
    assert program_bits(L - 1) >= L - 1


def by_hand(params, context, rate, x):
    """Counts of a network that learns by Adam, with gradients by hand in NumPy."""
    W1, b1, W2, b2 = (w.copy() for w in params)
    held = [W1, b1, W2, b2]
    m, v, found = [np.zeros_like(w) for w in held], [np.zeros_like(w) for w in held], []
    for t in range(len(x)):
        phi = np.zeros(context + 8)
        for back, bit in enumerate(reversed(x[max(0, t - context) : t])):
            phi[back] = 2 * bit - 1
        phi[context + t % 8] = 1
        before = W1 @ phi + b1
        h = np.maximum(before, 0)
        p = 1 / (1 + np.exp(-(W2 @ h + b2)))
        found.append(min(max(round(2**16 * float(p[0])), 1), 2**16 - 1))
        dz = p - x[t]
        da = (W2.T @ dz) * (before > 0)
        for w, g, first, second in zip(held, [np.outer(da, phi), da, np.outer(dz, h), dz], m, v, strict=True):
            first += 0.1 * (g - first)
            second += 0.001 * (g**2 - second)
            w -= rate * first / (1 - 0.9 ** (t + 1)) / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
    return found


def test_NeuralCompressor_by_hand_in_numpy(kolmogorov, rng):
    torch.manual_seed(1)
    model = kolmogorov.NeuralCompressor(6, 5, 0.03).double()
    x = rng.integers(2, size=60).tolist()
    predict = model.predictor()
    wanted = by_hand([w.detach().numpy() for w in model.parameters()], 6, 0.03, x)
    assert [predict(x[:t]) for t in range(60)] == wanted
    code = model.encode(x)
    assert code == kolmogorov.arithmetic_encode(x, lambda past: wanted[len(past)])
    assert model.decode(code, 60) == x
    assert model.decode(code + "0110", 60) == x


def test_NeuralCompressor_learns_a_shift_register_and_brings_it_back(kolmogorov):
    x = [1] * 9
    while len(x) < 700:
        x.append(x[-5] ^ x[-9])
    torch.manual_seed(2)
    model = kolmogorov.NeuralCompressor(12, 32, 0.01)
    before = [w.clone() for w in model.parameters()]
    code = model.encode(x)
    assert len(code) < 500
    assert model.decode(code, 700) == x
    assert all(torch.equal(w, held) for w, held in zip(model.parameters(), before, strict=True))
