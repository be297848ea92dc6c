"""Probes of 23: integer and symbol codes, universal codes, bits of networks and their gradients, pruning by bits."""

import math
from itertools import pairwise

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, slope


def refusal(function, *args):
    """What a function does with arguments that it should refuse, in words."""
    try:
        return f"returns {function(*args)!r}"
    except ValueError:
        return "raises ValueError"


# Codes for integers and symbols -------------------------------------------------------------------------------------


@probe("elias_gamma_encode")
def first_codewords(impl, rng):
    yield "of 1", impl.elias_gamma_encode(1)
    yield "of 5", impl.elias_gamma_encode(5)
    yield "of 0", refusal(impl.elias_gamma_encode, 0)
    yield "of -3", refusal(impl.elias_gamma_encode, -3)


@probe("elias_gamma_encode", cases=[10, 100, 3000])
def codewords(impl, rng, below):
    drawn = rng.integers(1, below, size=40).tolist()
    yield "codewords", [impl.elias_gamma_encode(n) for n in drawn]


@probe("elias_gamma_encode")
def powers_of_two(impl, rng):
    around = [2**k + d for k in range(2, 12) for d in (-1, 0, 1)]
    yield "codewords", [impl.elias_gamma_encode(n) for n in around]


# from 2**49 on a floating-point logarithm is rounded up; a string of n characters fails at once; 2000 calls, one inside
# the other, are too many
@probe("elias_gamma_encode", cases=[49, 64, 300, 2000])
def beyond_machine_words(impl, rng, digits):
    drawn = int("".join(rng.choice(["0", "1"], size=digits).tolist()), 2)
    yield "codewords", [impl.elias_gamma_encode(n) for n in (2**digits - 1, 2**digits, 2**digits + drawn)]


# What is decoded is drawn, so that its number is known to nobody; and the pieces of a stream are not kept.


def codeword(rng, digits):
    """Zeros, a one and as many digits as zeros."""
    return "0" * digits + "1" + "".join(rng.choice(["0", "1"], size=digits).tolist())


def stream(rng, most, codewords):
    """Codewords of 1 to 2 * most + 1 characters."""
    return "".join(codeword(rng, digits) for digits in rng.integers(most + 1, size=codewords).tolist())


def with_tail(rng, digits, characters):
    """A codeword, and what follows it."""
    return codeword(rng, digits) + "".join(rng.choice(["0", "1"], size=characters).tolist())


@probe("elias_gamma_decode")
def five_and_what_follows(impl, rng):
    yield "5, then 011", impl.elias_gamma_decode("00101011")
    yield "1 alone", impl.elias_gamma_decode("1")
    yield "1, then 000", impl.elias_gamma_decode("1000")
    for stream in ("", "000", "0010", "00000001"):
        yield f"of the damaged stream {stream!r}", refusal(impl.elias_gamma_decode, stream)


@probe("elias_gamma_decode", cases=[1, 5, 16])
def streams(impl, rng, most):
    drawn = [stream(rng, most, codewords) for codewords in range(25, 0, -1)]
    for number, bits in enumerate(drawn):
        n, rest = impl.elias_gamma_decode(bits)
        yield f"first of stream {number}", n
        yield f"characters left of stream {number}", len(rest)


@probe("elias_gamma_decode", cases=[4, 11])
def what_remains(impl, rng, digits):
    yield from named("n rest", impl.elias_gamma_decode(with_tail(rng, digits, 12)))


@probe("elias_gamma_decode", cases=[33, 64, 300, 2000])
def a_long_codeword(impl, rng, digits):
    yield from named("n rest", impl.elias_gamma_decode(with_tail(rng, digits, 4)))


def total_bits(code, counts):
    """The length of a message with such counts."""
    return sum(count * len(code[symbol]) for symbol, count in counts.items())


def an_optimal_code(got, expected, counts):
    """Any prefix-free code of the least total length is right, whatever its ties."""
    if not isinstance(got, dict):
        return f"It should be a dict from symbol to codeword; it is a {type(got).__name__}."
    if len(counts) == 1 and set(got) == set(counts) and list(got.values()) == [""]:
        return "A lone symbol has the empty codeword, so a receiver can't count how often it was sent. Give it one bit."
    missing, extra = [s for s in counts if s not in got], [s for s in got if s not in counts]
    if missing:
        return f"The symbol {missing[0]!r} has no codeword."
    if extra:
        return f"{extra[0]!r} has a codeword, but it is none of the symbols."
    for symbol, word in got.items():
        if not isinstance(word, str) or set(word) - {"0", "1"}:
            return f"The codeword of {symbol!r} is {word!r}; it should be a string of the characters 0 and 1."
    in_order = sorted(got, key=got.__getitem__)
    for one, other in pairwise(in_order):  # a prefix comes right before what it begins
        if got[other].startswith(got[one]):
            same = got[one] == got[other]
            how = f"both are {got[one]!r}" if same else f"{got[one]!r} begins {got[other]!r}"
            text = f"It is not prefix-free: {one!r} and {other!r} can't be told apart, for {how}."
            backwards = sorted(word[::-1] for word in got.values())
            if any(b.startswith(a) for a, b in pairwise(backwards)):
                return text
            return f"{text} Read from right to left it would be: a bit that is found later belongs in front."
    mine, least = total_bits(got, counts), total_bits(expected, counts)
    if mine > least:
        close = mine - least < least / 10**6
        large = " Counts as large as these need whole numbers: a float rounds them." if close else ""
        return (
            f"It is a prefix-free code, but not an optimal one: the message of {sum(counts.values())} symbols takes "
            f"{mine} bits, and {least} are enough.{large}"
        )
    return None


def judged(code, counts):
    """A code with the counts that it is to be optimal for."""
    return observe(code, judge=an_optimal_code, given={"counts": counts})


@probe("huffman")
def three_symbols(impl, rng):
    counts = {"a": 5, "b": 2, "c": 1}
    yield "code", judged(impl.huffman(counts), counts)


@probe("huffman")
def lone_symbol(impl, rng):
    counts = {"z": 7}
    yield "code", judged(impl.huffman(counts), counts)


@probe("huffman", cases=[2, 3, 5, 8, 26])
def drawn_counts(impl, rng, symbols):
    letters = rng.permutation(list("abcdefghijklmnopqrstuvwxyz"))[:symbols].tolist()
    counts = dict(zip(letters, rng.geometric(0.03, size=symbols).tolist(), strict=True))
    yield "code", judged(impl.huffman(counts), counts)


@probe("huffman", cases=[4, 7, 12])
def ties(impl, rng, symbols):
    counts = dict(zip("abcdefghijkl"[:symbols], rng.integers(1, 4, size=symbols).tolist(), strict=True))
    yield "code", judged(impl.huffman(counts), counts)


@probe("huffman", cases=[2, 3, 6, 8, 13])
def all_equal(impl, rng, symbols):
    counts = dict.fromkeys("abcdefghijklm"[:symbols], int(rng.integers(1, 9)))
    yield "code", judged(impl.huffman(counts), counts)


# symbols of several characters, some of which begin or hold others; counts beyond 32 bits
@probe("huffman", cases=[4, 40])
def words_as_symbols(impl, rng, bits):
    words = ["a", "ab", "b", "ba", "abba", "the", "then", "0", "10"]
    counts = dict(zip(words, rng.integers(1, 2**bits, size=len(words)).tolist(), strict=True))
    yield "code", judged(impl.huffman(counts), counts)


# the pair of one tie has the letters of another symbol, and its count
@probe("huffman", cases=["ab", "ba"])
def a_pair_spelt_like_a_symbol(impl, rng, joined):
    counts = {"a": 1, "b": 1, joined: 2}
    yield "code", judged(impl.huffman(counts), counts)


# a symbol far more frequent than the others makes their shares tiny
@probe("huffman", cases=[1, 10**10])
def very_uneven(impl, rng, most):
    order = rng.permutation(12).tolist()
    fibonacci = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144]
    counts = {"abcdefghijkl"[i]: fibonacci[place] for i, place in enumerate(order)} | {"z": most}
    yield "code", judged(impl.huffman(counts), counts)


# large counts that differ in their last digits only: a float of 32 or 64 bits does not tell them apart
@probe("huffman", cases=[(5, 2**25), (11, 2**25), (5, 2**54), (11, 2**54), (6, 10**25)])
def nearly_equal(impl, rng, symbols, about):
    counts = {"abcdefghijk"[i]: about + d for i, d in enumerate(rng.permutation(symbols).tolist())}
    yield "code", judged(impl.huffman(counts), counts)


# Model orders and universal codes -----------------------------------------------------------------------------------


@probe("two_part_poly_bits")
def alternating(impl, rng):
    x, y = np.array([-1.0, -1.0, 1.0, 1.0]), np.array([1.0, -1.0, 1.0, -1.0])
    yield from named("model_bits data_bits", impl.two_part_poly_bits(x, y, 0))


# noise so small that the bits of the data are negative, and that an added 1e-12 shows
@probe(
    "two_part_poly_bits",
    cases=[(7, 0, 1.0), (12, 1, 3.0), (30, 3, 0.2), (50, 6, 1.0), (400, 2, 5.0), (9, 4, 1e-6), (40, 3, 1e-6)],
)
def parts(impl, rng, n, degree, noise):
    x, scale = rng.uniform(-1, 1, n), noise * rng.uniform(0.5, 1.5)
    y = 1 - x + (2 * x**3 if degree > 2 else 0) + scale * rng.standard_normal(n)
    found = impl.two_part_poly_bits(x, y, degree)
    for name, bits in named("model_bits data_bits", found):
        yield name, observe(bits, rtol=1e-9, atol=1e-9)


# powers of such an x are nearly the same column
@probe("two_part_poly_bits", cases=[(30, 3, 100), (30, 2, 1000)])
def far_from_zero(impl, rng, n, degree, around):
    x = around + rng.uniform(-1, 1, n)
    y = 1 - (x - around) + 0.2 * rng.standard_normal(n)
    for name, bits in named("model_bits data_bits", impl.two_part_poly_bits(x, y, degree)):
        yield name, observe(bits, rtol=1e-7, atol=1e-7)


@probe("nml_complexity_bits")
def short_sequences(impl, rng):
    yield "n = 1", impl.nml_complexity_bits(1)
    yield "n = 2", impl.nml_complexity_bits(2)


@probe("nml_complexity_bits")
def the_longest(impl, rng):
    yield "n = 5000", impl.nml_complexity_bits(5000)


@probe("nml_complexity_bits", cases=[(3, 12), (13, 60), (61, 900), (1100, 5000)])
def lengths(impl, rng, least, most):
    n = int(rng.integers(least, most))
    yield "bits", impl.nml_complexity_bits(n)


def coin(rng, n):
    """A sequence with a chance of its own."""
    return (rng.random(n) < rng.uniform(0.05, 0.95)).astype(np.int64)


@probe("bernoulli_bits")
def one_of_each(impl, rng):
    yield "bits", impl.bernoulli_bits(np.array([1, 0]))


@probe("bernoulli_bits", cases=[1, 2, 5, 17, 64, 400, 3000])
def sequences(impl, rng, n):
    x = coin(rng, n)
    yield "bits", impl.bernoulli_bits(x)


@probe("bernoulli_bits", cases=[(9, 0), (9, 1), (30, 1), (2000, 0)])
def all_alike(impl, rng, n, symbol):
    yield "bits", impl.bernoulli_bits(np.full(n, symbol))


# shares between two values of the grid: the nearer one isn't the cheaper one
@probe("bernoulli_bits", cases=[(20, 7), (150, 2), (150, 66), (400, 390)])
def between_grid_values(impl, rng, n, ones):
    yield "bits", impl.bernoulli_bits(rng.permutation(np.repeat([1, 0], [ones, n - ones])))


@probe("markov_kt_bits")
def zero_one(impl, rng):
    x = np.array([0, 1, 0, 1])
    yield "order 1", impl.markov_kt_bits(x, 1)
    yield "order 0", impl.markov_kt_bits(x, 0)


@probe("markov_kt_bits", cases=[(1, 0), (40, 0), (40, 1), (200, 2), (300, 5), (3000, 1), (800, 11), (60, 40)])
def chains(impl, rng, n, order):
    x = coin(rng, n)
    for t in range(3, n):  # what is next depends on what was
        x[t] = x[t] if rng.random() < 0.3 else x[t - 1] ^ (x[t - 3] & x[t - 2])
    yield "bits", impl.markov_kt_bits(x, order)


# copies of one block, each with a symbol changed: contexts return that differ in one place, however far back
@probe("markov_kt_bits", cases=[40, 70])
def long_contexts_that_nearly_agree(impl, rng, order):
    block = coin(rng, order + 5)
    copies = [block ^ (np.arange(len(block)) == place) for place in rng.integers(len(block), size=8)]
    yield "bits", impl.markov_kt_bits(np.concatenate(copies), order)


@probe("markov_kt_bits", cases=[(4, 4), (3, 6), (5, 100)])
def nothing_but_a_start(impl, rng, n, order):
    yield "bits", impl.markov_kt_bits(coin(rng, n), order)


# The bits of models with many weights -------------------------------------------------------------------------------


def draw_network(rng, batch, inputs, hidden, classes):
    """Weights of order one, inputs, labels, and the width of a prior and a step that are not 1."""
    params = {
        "W1": rng.standard_normal((inputs, hidden)),
        "b1": rng.standard_normal(hidden),
        "W2": rng.standard_normal((hidden, classes)),
        "b2": rng.standard_normal(classes),
    }
    X, y = rng.standard_normal((batch, inputs)), rng.integers(classes, size=batch)
    return params, X, y, float(rng.uniform(0.4, 2.5)), float(rng.uniform(0.05, 0.6))


ZEROS = {"W1": np.zeros((1, 1)), "b1": np.zeros(1), "W2": np.zeros((1, 2)), "b2": np.zeros(2)}
SMALL = {
    "W1": np.array([[0.5]]),
    "b1": np.array([0.25]),
    "W2": np.array([[1.0, -0.5]]),
    "b2": np.array([-0.25, 0.5]),
}
SIZES = [(1, 1, 1, 2), (4, 3, 5, 2), (7, 2, 4, 6), (5, 3, 3, 3)]


@probe("code_length_forward")
def seven_bits(impl, rng):
    step = math.sqrt(2 * math.pi) / 2
    bits, _ = impl.code_length_forward(ZEROS, np.array([[3.0]]), np.array([0]), 1.0, step)
    yield "bits", bits


@probe("code_length_forward", cases=[(1.0, 0.5), (0.5, 2.0)])
def small_weights(impl, rng, sigma0, delta):
    bits, _ = impl.code_length_forward(SMALL, np.array([[-2.0]]), np.array([1]), sigma0, delta)
    yield "bits", bits


# as many examples as classes in the last case
@probe("code_length_forward", cases=[*SIZES, (3, 2, 4, 3)])
def message(impl, rng, batch, inputs, hidden, classes):
    bits, _ = impl.code_length_forward(*draw_network(rng, batch, inputs, hidden, classes))
    yield "bits", bits


@probe("code_length_forward", cases=[(5, 2, 3, 4)])
def far_out_logits(impl, rng, batch, inputs, hidden, classes):
    params, *rest = draw_network(rng, batch, inputs, hidden, classes)
    params["b2"] = params["b2"] * 1e3
    bits, _ = impl.code_length_forward(params, *rest)
    yield "bits", bits


# the largest logits of one example are far below those of another
@probe("code_length_forward", cases=[4])
def low_logits(impl, rng, batch):
    params = {"W1": np.array([[20.0]]), "b1": np.zeros(1), "W2": np.array([[500.0, 500.0]]), "b2": rng.uniform(size=2)}
    X, y = np.array([[1.0], [-1.0]] * (batch // 2)), rng.integers(2, size=batch)
    bits, _ = impl.code_length_forward(params, X, y, 2.0, 0.5)
    yield "bits", bits


def another_order(params):
    """The same arrays; their names tell which is which, not their order."""
    return {name: params[name] for name in ("W2", "b1", "W1", "b2")}


@probe("code_length_forward", cases=[(5, 2, 2, 2)])
def in_another_order(impl, rng, batch, inputs, hidden, classes):
    params, *rest = draw_network(rng, batch, inputs, hidden, classes)
    bits, _ = impl.code_length_forward(another_order(params), *rest)
    yield "bits", bits


@probe("code_length_forward", cases=[(0, 2, 3, 4)])
def weights_alone(impl, rng, batch, inputs, hidden, classes):
    bits, _ = impl.code_length_forward(*draw_network(rng, batch, inputs, hidden, classes))
    yield "bits", bits


@probe("code_length_forward", cases=[(4, 2, 3, 3)])
def coarse_grid(impl, rng, batch, inputs, hidden, classes):
    *rest, sigma0, _ = draw_network(rng, batch, inputs, hidden, classes)
    bits, _ = impl.code_length_forward(*rest, sigma0, 5 * sigma0)  # small weights cost less than nothing
    yield "bits", bits


@probe("code_length_backward")
def half_a_nat(impl, rng):
    _, cache = impl.code_length_forward(ZEROS, np.array([[3.0]]), np.array([0]), 1.0, 1.0)
    yield from gradients_of(impl.code_length_backward(1.0, cache))


@probe("code_length_backward", cases=[(1.0, 0.5), (0.5, 2.0)])
def small_gradients(impl, rng, sigma0, delta):
    _, cache = impl.code_length_forward(SMALL, np.array([[-2.0]]), np.array([1]), sigma0, delta)
    yield from gradients_of(impl.code_length_backward(1.0, cache))


@probe("code_length_backward", cases=[(5, 2, 2, 2)])
def gradients_in_another_order(impl, rng, batch, inputs, hidden, classes):
    params, *rest = draw_network(rng, batch, inputs, hidden, classes)
    _, cache = impl.code_length_forward(another_order(params), *rest)
    yield from gradients_of(impl.code_length_backward(-1.5, cache))


def gradients_of(grads):
    """The gradients of a network by name: `dW1` and so on; anything that is no such dict as it is."""
    if not isinstance(grads, dict):
        yield "grads", grads
        return
    yield "names", sorted(grads)
    for name in sorted(ZEROS):
        yield f"d{name}", grads[name]


# in the last case finite differences run out of time, even of one hidden unit for all examples at once
@probe("code_length_backward", cases=[*SIZES, (0, 2, 3, 4), (64, 3, 1200, 2500)])
def gradients(impl, rng, batch, inputs, hidden, classes):
    drawn = draw_network(rng, batch, inputs, hidden, classes)
    dbits = float(rng.uniform(0.5, 3) * rng.choice([-1, 1]))
    _, cache = impl.code_length_forward(*drawn)
    grads = impl.code_length_backward(dbits, cache)
    if hidden < 100:
        yield from gradients_of(grads)
    else:  # a key of every element would be large
        for name, values in gradients_of(grads):
            yield name, values[:40] if name in ("dW1", "db1", "db2") else values[:6]


@probe("code_length_backward", cases=[(3, 2, 4, 3)])
def with_own_forward(impl, rng, batch, inputs, hidden, classes):
    params, *rest = draw_network(rng, batch, inputs, hidden, classes)
    along = {name: rng.standard_normal(w.shape) for name, w in params.items()}
    _, cache = impl.code_length_forward(params, *rest)
    grads = impl.code_length_backward(1.0, cache)

    def bits(name, w):
        return impl.code_length_forward({**params, name: w}, *rest)[0]

    for name in ("W1", "W2"):
        yield f"d{name}", grads[name]
        numeric = slope(lambda w, name=name: bits(name, w), params[name], along[name])
        yield f"slope along {name}", agree(np.sum(grads[name] * along[name]), numeric)


@probe("variational_code_grad")
def prior_itself(impl, rng):
    rho = np.array([math.log(math.e - 1)])  # a standard deviation of 1
    found = impl.variational_code_grad(np.zeros(1), rho, np.ones((1, 1)), np.zeros(1), 1.0, 1.0)
    yield from named("bits dmu drho", found)


@probe("variational_code_grad", cases=[(0.5, 2.0), (1.0, 1.0)])
def one_weight(impl, rng, sigma0, noise):
    mu, rho, X, y = np.array([0.5]), np.array([0.25]), np.array([[-2.0], [1.0]]), np.array([1.5, -1.0])
    found = impl.variational_code_grad(mu, rho, X, y, sigma0, noise)
    yield from named("bits dmu drho", found)


def draw_linear(rng, n, D):
    """A linear model with noisy weights; neither the prior's width nor the noise is 1."""
    mu, rho = rng.standard_normal((2, D))
    X, y = rng.standard_normal((n, D)), 2 * rng.standard_normal(n)
    return mu, rho, X, y, float(rng.uniform(1.3, 3)), float(rng.uniform(0.3, 0.8))


# in the last case finite differences, or noise that is drawn, run out of time
@probe("variational_code_grad", cases=[(1, 1), (6, 3), (3, 5), (4, 4), (500, 5000)])
def noisy_weights(impl, rng, n, D):
    found = impl.variational_code_grad(*draw_linear(rng, n, D))
    for name, values in named("bits dmu drho", found):
        yield name, values if name == "bits" or D < 100 else values[-300:]


# alone, so that the bits of a large rho hide nothing
@probe("variational_code_grad", cases=[(4, (-500.0, 30.0, 800.0)), (4, (-500.0,)), (4, (-30.0,)), (4, (30.0,))])
def far_out_rho(impl, rng, n, around):
    D = len(around)
    mu, _, X, y, _, _ = draw_linear(rng, n, D)
    rest = X, y, 2.0, 0.5
    rho = np.array(around) + rng.standard_normal(D)
    bits, dmu, drho = impl.variational_code_grad(mu, rho, *rest)
    yield "bits", bits
    yield "dmu", dmu
    for j in range(D):
        yield f"drho[{j}]", drho[j]


@probe("variational_code_grad", cases=[(5, 3)])
def with_own_bits(impl, rng, n, D):
    mu, rho, *rest = draw_linear(rng, n, D)
    along = rng.standard_normal(D)
    _, dmu, drho = impl.variational_code_grad(mu, rho, *rest)
    yield "dmu", dmu
    numeric = slope(lambda v: impl.variational_code_grad(v, rho, *rest)[0], mu, along)
    yield "slope along mu", agree(np.sum(dmu * along), numeric)
    numeric = slope(lambda v: impl.variational_code_grad(mu, v, *rest)[0], rho, along)
    yield "slope along rho", agree(np.sum(drho * along), numeric)


# PyTorch ------------------------------------------------------------------------------------------------------------


def linear(inputs, classes, seed):
    """A linear classifier in double precision with the weights of a seed."""
    import torch

    return fill(torch.nn.Linear(inputs, classes).double(), seed, scale=1.0)


def layers(widths, seed):
    """A network of tanh layers in double precision, with the weights of a seed."""
    import torch

    parts = [part for pair in pairwise(widths) for part in (torch.nn.Linear(*pair), torch.nn.Tanh())]
    return fill(torch.nn.Sequential(*parts[:-1]).double(), seed, scale=1.0)


def examples(rng, n, inputs, classes):
    """Inputs and labels as tensors."""
    import torch

    return torch.from_numpy(rng.standard_normal((n, inputs))), torch.from_numpy(rng.integers(classes, size=n))


def descend(net, X, y, after_step=None, steps=4, rate=0.3):
    """A few steps of gradient descent with momentum on the mean cross-entropy."""
    import torch

    optimiser = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(X), y).backward()
        optimiser.step()
        if after_step:
            after_step()


@probe("prequential_bits")
def two_blocks(impl, rng):
    import torch

    def certain():
        net = torch.nn.Linear(1, 2).double()
        with torch.no_grad():
            net.weight.zero_()
            net.bias.copy_(torch.tensor([math.log(3.0), 0.0]))  # probability 1/4 of class 1
        return net

    X, y = torch.zeros(4, 1, dtype=torch.float64), torch.tensor([0, 1, 1, 1])
    found = impl.prequential_bits(certain, lambda net, X, y: None, X, y, [2, 4], 2)
    yield from named("total_bits per_block", found)


@probe("prequential_bits", cases=[(9, 2, (3, 9)), (20, 3, (2, 5, 11, 20)), (30, 5, (1, 2, 4, 8, 16, 30))])
def blocks(impl, rng, n, classes, splits):
    X, y = examples(rng, n, 3, classes)
    seed = int(rng.integers(2**32))
    found = impl.prequential_bits(lambda: linear(3, classes, seed), descend, X, y, list(splits), classes)
    yield from named("total_bits per_block", found)


def one_by_one(net, X, y):
    """A step for each example, in their order, which the result depends on."""
    for i in range(len(y)):
        descend(net, X[i : i + 1], y[i : i + 1], steps=1, rate=1.0)


# two neighbouring blocks of one length
@probe("prequential_bits", cases=[(12, 3, (2, 4, 6, 12))])
def in_their_order(impl, rng, n, classes, splits):
    X, y = examples(rng, n, 3, classes)
    seed = int(rng.integers(2**32))
    found = impl.prequential_bits(lambda: linear(3, classes, seed), one_by_one, X, y, list(splits), classes)
    yield from named("total_bits per_block", found)


@probe("prequential_bits", cases=[(8, 3)])
def sure_and_wrong(impl, rng, n, classes):
    X, y = examples(rng, n, 2, classes)
    seed = int(rng.integers(2**32))

    def far_out():  # some labels have a probability that no float holds
        return fill(linear(2, classes, seed), seed, scale=500.0)

    found = impl.prequential_bits(far_out, lambda net, X, y: None, X, y, [2, 5, n], classes)
    yield from named("total_bits per_block", found)


@probe("prequential_bits", cases=[(6, 4), (5, 12)])
def one_block(impl, rng, n, classes):
    X, y = examples(rng, n, 2, classes - 1)  # the last class does not occur
    found = impl.prequential_bits(lambda: linear(2, classes, 1), descend, X, y, [n], classes)
    yield from named("total_bits per_block", found)


# networks of unlike weights, made in their turn, and paid for as they are
@probe("prequential_bits", cases=[(30, 3, (5, 10, 30))])
def each_another_network(impl, rng, n, classes, splits):
    X, y = examples(rng, n, 3, classes)
    seeds = iter(rng.integers(2**32, size=20).tolist())

    def another():
        return linear(3, classes, next(seeds))

    found = impl.prequential_bits(another, lambda net, X, y: None, X, y, list(splits), classes)
    yield from named("total_bits per_block", found)


def states(net):
    """The parameters of a network, by name."""
    return {name: w.detach().clone() for name, w in net.named_parameters()}


def columns(table, names):
    """The rows of a table without what nobody asked for; anything that is no such table as it is."""
    if not isinstance(table, list | tuple) or not all(isinstance(row, dict) for row in table):
        return table
    return [{name: row[name] for name in names.split() if name in row} for row in table]


ROW = "sparsity position_bits weight_bits data_bits total_bits errors"


@probe("mdl_prune")
def half_of_four(impl, rng):
    import torch

    net = torch.nn.Linear(2, 2).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[4.0, 1.0], [-2.0, 3.0]]))
        net.bias.zero_()
    X, y = torch.eye(2, dtype=torch.float64), torch.tensor([0, 1])
    _, table = impl.mdl_prune(net, X, y, [0.0, 0.5], 1.0, 0.5, lambda net, X, y, after_step: after_step())
    yield "table", columns(table, ROW)


# weights of one size: which of them stay is open, and with it the labels' bits
@probe("mdl_prune", cases=[((0.25, 0.5, 0.7),)])
def all_equal_in_size(impl, rng, sparsities):
    import torch

    net = layers((2, 4, 3), 1)
    size = float(rng.uniform(1, 2))
    with torch.no_grad():
        for w in net.parameters():
            w.copy_(size * torch.from_numpy(rng.choice([-1.0, 1.0], size=tuple(w.shape))))
    X, y = examples(rng, 9, 2, 3)
    _, table = impl.mdl_prune(net, X, y, list(sparsities), 1.5, 0.3, lambda net, X, y, after_step: after_step())
    yield "table", columns(table, "sparsity position_bits weight_bits")


@probe(
    "mdl_prune",
    cases=[
        (15, (2, 3, 2), (0.0, 0.3)),
        (25, (2, 6, 3), (0.0, 0.25, 0.6, 0.9)),
        (40, (3, 10, 4), (0.85, 0.1, 0.5)),
        (20, (2, 5, 4, 3), (0.0, 0.4, 0.7)),
        (20, (2, 4, 3), (0.98, 1.0)),
    ],
)
def tables(impl, rng, n, widths, sparsities):
    X, y = examples(rng, n, widths[0], widths[-1])
    sigma0, delta = float(rng.uniform(0.8, 2)), float(rng.uniform(0.1, 0.4))
    seed = int(rng.integers(2**32))
    net = layers(widths, seed)
    best, table = impl.mdl_prune(net, X, y, list(sparsities), sigma0, delta, descend)
    yield "best", best
    yield "table", columns(table, ROW)
    yield "the network that was given", states(net)


# 2.5 and 3.5 entries to remove
@probe("mdl_prune", cases=[((5, 2), (0.25, 0.35))])
def halves(impl, rng, widths, sparsities):
    X, y = examples(rng, 12, *widths)
    net = layers(widths, int(rng.integers(2**32)))
    _, table = impl.mdl_prune(net, X, y, list(sparsities), 1.2, 0.3, descend)
    yield "table", columns(table, ROW)


# more ways to choose than a float holds
@probe("mdl_prune", cases=[((30, 40, 3), (0.5, 0.9))])
def many_positions(impl, rng, widths, sparsities):
    X, y = examples(rng, 8, widths[0], widths[-1])
    net = layers(widths, int(rng.integers(2**32)))
    _, table = impl.mdl_prune(net, X, y, list(sparsities), 1.2, 0.3, descend)
    yield "table", columns(table, ROW)


def drift(net, X, y, after_step):
    """Training that moves every weight by hand: without a gradient, and out of zero."""
    import torch

    for _ in range(3):
        with torch.no_grad():
            for w in net.parameters():
                w += 0.2 + 0.1 * w.sum()
        after_step()


@probe("mdl_prune", cases=[(12, (2, 4, 3), (0.0, 0.45))])
def moved_by_hand(impl, rng, n, widths, sparsities):
    X, y = examples(rng, n, widths[0], widths[-1])
    net = layers(widths, int(rng.integers(2**32)))
    best, table = impl.mdl_prune(net, X, y, list(sparsities), 1.2, 0.3, drift)
    yield "best", best
    yield "table", columns(table, ROW)


# a kept weight may be 0 before the training, and need not stay so
@probe("mdl_prune", cases=[(12, (2, 4, 3), (0.0, 0.3))])
def a_weight_of_zero(impl, rng, n, widths, sparsities):
    import torch

    X, y = examples(rng, n, widths[0], widths[-1])
    net = layers(widths, int(rng.integers(2**32)))
    with torch.no_grad():
        net[0].weight[1, 0] = 0
    _, table = impl.mdl_prune(net, X, y, list(sparsities), 1.2, 0.3, descend)
    yield "table", columns(table, ROW)
