"""Probes of 25: a tiny machine and its table, prediction by it, Berry's search, and codes of learners."""

import itertools
import math

import numpy as np

from autograder.engine.probes import agree, fill, named, observe, probe, shapes, slope

MACHINE = {"00": "0", "01": "1", "10": "double", "110": "flip", "111": "halt"}
DOING = ["0", "1", "double", "flip", "mirror"]


def refusal(function, *args):
    """What a function does with arguments that it should refuse, in words."""
    try:
        return f"returns {function(*args)!r}"
    except ValueError:
        return "raises ValueError"


def draw_words(rng, count):
    """Prefix-free words that leave nothing out, in any order: the leaves of a drawn tree."""
    words = ["0", "1"]
    while len(words) < count:
        words += [(split := words.pop(int(rng.integers(len(words))))) + "0", split + "1"]
    return [words[i] for i in rng.permutation(count)]


def draw_machine(rng, opcodes, halts=1, left_out=0):
    """A machine with drawn opcodes, of which the first are a halt and the two writes; some words may be no opcode."""
    words = draw_words(rng, opcodes + left_out)[:opcodes]
    does = ["halt"] * halts + ["0", "1"] + rng.choice(DOING, size=opcodes).tolist()
    pairs = list(zip(words, does, strict=False))
    return dict(pairs[i] for i in rng.permutation(len(pairs)))


def draw_program(rng, machine, steps):
    """A program of so many instructions and a halt."""
    moves = [opcode for opcode, does in machine.items() if does != "halt"]
    stops = [opcode for opcode, does in machine.items() if does == "halt"]
    return "".join(rng.choice(moves, size=steps).tolist()) + str(rng.choice(stops))


# The machine and its table ------------------------------------------------------------------------------------------


@probe("run_program")
def by_hand(impl, rng):
    for program in (
        "0010110111",
        "10111",
        "111",
        "01111",
        "0010",
        "1110",
        "0011",
        "",
        "1",
        "111111",
        "00111111",
        "1111",
        "00111",
    ):
        yield f"of {program!r}", impl.run_program(program, MACHINE)


# opcodes of many lengths; one or two that halt; words that are no opcode
@probe("run_program", cases=[(3, 1, 0, 4), (5, 1, 0, 6), (7, 2, 0, 7), (12, 1, 0, 8), (6, 1, 3, 7)])
def drawn_machines(impl, rng, opcodes, halts, left_out, steps):
    machine = draw_machine(rng, opcodes, halts, left_out)
    programs = [draw_program(rng, machine, int(rng.integers(1, steps + 1))) for _ in range(12)]
    for number, program in enumerate(programs):
        yield f"output {number}", impl.run_program(program, machine)


@probe("run_program", cases=[5, 8])
def almost_programs(impl, rng, opcodes):
    machine = draw_machine(rng, opcodes)
    program, other = (draw_program(rng, machine, 5) for _ in range(2))
    yield "as it is", impl.run_program(program, machine)
    yield "with a bit more", impl.run_program(program + "0", machine)
    yield "without its last bit", impl.run_program(program[:-1], machine)
    yield "with its last bit again", impl.run_program(program + program[-1], machine)
    yield "with another program after it", impl.run_program(program + other, machine)
    yield "the other", impl.run_program(other, machine)


@probe("run_program", cases=[6])
def one_program_on_many_machines(impl, rng, opcodes):
    words = draw_words(rng, opcodes)
    deeds = [rng.permutation(["halt", "0", "1", "double", "flip", "mirror"]).tolist() for _ in range(6)]
    programs = ["".join(rng.choice(words, size=4).tolist()) for _ in range(40)]
    for number, does in enumerate(deeds):
        machine = dict(zip(words, does, strict=True))
        yield f"outputs of machine {number}", [impl.run_program(program, machine) for program in programs]


# what begins no opcode stands before, between and after what does; without it, all would be programs
@probe("run_program", cases=[2, 3])
def words_that_are_no_opcode(impl, rng, unknown):
    words = ["".join(bits) for bits in itertools.product("01", repeat=3)]
    names = [words[i] for i in rng.permutation(8)]
    deeds = ["halt", "0", "1", "double", "flip", "mirror"][: 8 - unknown]
    machine, no_opcode = dict(zip(names, deeds, strict=False)), names[-1]
    halt, zero, one = names[:3]
    programs = [zero + one + halt, no_opcode + one + halt, one + no_opcode + zero + halt, one + no_opcode, no_opcode]
    for number, program in enumerate(programs):
        yield f"output {number}", impl.run_program(program, machine)


@probe("run_program", cases=[30, 3000])
def long_programs(impl, rng, bits):
    written = "".join(rng.choice(["0", "1"], size=bits).tolist())
    program = "".join("0" + bit for bit in written) + "111"
    yield "output", impl.run_program(program, MACHINE)


@probe("run_program", cases=["double", "flip", "mirror"])
def each_action(impl, rng, does):
    start = "".join(rng.choice(["0", "1"], size=7).tolist())
    machine = {"00": "0", "01": "1", "10": "halt", "11": does}
    program = "".join("0" + bit for bit in start) + "11" * 2 + "10"
    yield "output", impl.run_program(program, machine)


@probe("run_program")
def never_halts(impl, rng):
    machine = {"0": "0", "1": "1"}
    yield "on a machine without halt", impl.run_program("0101", machine)


@probe("enumerate_machine", cases=[0, 2, 3, 5, 6])
def small_tables(impl, rng, most):
    yield from named("K m", impl.enumerate_machine(MACHINE, most))


@probe("enumerate_machine", cases=[8])
def with_a_mirror(impl, rng, most):
    machine = dict(zip(["00", "01", "10", "110", "111"], ["0", "1", "mirror", "halt", "flip"], strict=True))
    yield from named("K m", impl.enumerate_machine(machine, most))


# among them opcodes of one bit, two that halt, and words that are no opcode
@probe("enumerate_machine", cases=[(3, 9, 1, 0), (4, 9, 1, 0), (5, 9, 1, 0), (6, 10, 2, 0), (5, 10, 1, 2)])
def drawn_tables(impl, rng, opcodes, most, halts, left_out):
    machine = draw_machine(rng, opcodes, halts, left_out)
    yield from named("K m", impl.enumerate_machine(machine, most))


# a short halt and a long one
@probe("enumerate_machine", cases=[8])
def two_halts(impl, rng, most):
    does = rng.permutation(["0", "1", str(rng.choice(["double", "flip", "mirror"]))]).tolist()
    machine = dict(zip(["10", "1110", "00", "01", "110"], ["halt", "halt", *does], strict=True))
    yield from named("K m", impl.enumerate_machine(machine, most))


@probe("enumerate_machine", cases=[7])
def other_arguments(impl, rng, most):
    deeds = rng.permutation(["halt", "0", "1", "double", "flip", "mirror"]).tolist()
    words = ["00", "01", "100", "101", "110", "111"]
    first, turned = (dict(zip(words, does, strict=True)) for does in (deeds, deeds[1:] + deeds[:1]))
    other = dict(zip(draw_words(rng, 6), deeds, strict=True))
    asked = (other, most), (other, most + 4), (first, most + 3), (turned, most + 3)
    for name, (machine, bits) in zip(("other words", "more bits", "first", "same words"), asked, strict=True):
        for table, held in named("K m", impl.enumerate_machine(machine, bits)):
            yield f"{table}, {name}", held


@probe("enumerate_machine", cases=[16])
def larger_table(impl, rng, most):
    deeds = rng.permutation(["0", "1", "double", "flip", "mirror", "halt"]).tolist()
    machine = dict(zip(["00", "01", "100", "101", "110", "111"], deeds, strict=True))
    asked = ["".join(rng.choice(["0", "1"], size=n).tolist()) for n in rng.integers(1, 5, size=12)]
    K, m = (dict(table) for _, table in named("K m", impl.enumerate_machine(machine, most)))
    yield "number of strings", len(K)
    yield "sum of m", math.fsum(m.values())
    yield "K of some", [K.get(x) for x in asked]
    yield "m of some", [m.get(x) for x in asked]


# outputs of hundreds of bits, for an opcode of one bit doubles
@probe("enumerate_machine", cases=[14])
def long_outputs(impl, rng, most):
    machine = {"0": "double", "10": "halt", "110": "0", "111": "1"}
    start = "".join(rng.choice(["0", "1"], size=2).tolist())
    K, m = (dict(table) for _, table in named("K m", impl.enumerate_machine(machine, most)))
    # the longest, and short ones: nothing between, where a limit might lie
    for name, table in (("K", K), ("m", m)):
        yield f"{name} of doubled strings", [table.get(start * 2**k) for k in (0, 1, 2, 3, 7)]
        yield f"{name} of repeated bits", [table.get(start[0] * 2**k) for k in (0, 1, 2, 3, 4, 9, 10)]


def draw_table(rng, strings):
    """Some strings with lengths and weights that have nothing to do with each other."""
    found = {"".join(rng.choice(["0", "1"], size=n).tolist()) for n in rng.integers(0, 5, size=strings)}
    ordered = sorted(found)
    lengths, weights = rng.integers(3, 15, size=len(ordered)), rng.uniform(0, 0.2, size=len(ordered))
    return dict(zip(ordered, lengths.tolist(), strict=True)), dict(zip(ordered, weights.tolist(), strict=True))


@probe("join_machines")
def two_by_hand(impl, rng):
    tables = [({"0": 5}, {"0": 0.0625}), ({"0": 3, "1": 4}, {"0": 0.125, "1": 0.25})]
    yield from named("K m", impl.join_machines(tables, ["0", "10"]))


@probe("join_machines", cases=[2, 3, 4, 7])
def several(impl, rng, machines):
    names = draw_words(rng, machines)
    tables = [draw_table(rng, 12) for _ in range(machines)]
    yield from named("K m", impl.join_machines(tables, names))


@probe("join_machines", cases=["", "0", "1101"])
def one_alone(impl, rng, name):
    yield from named("K m", impl.join_machines([draw_table(rng, 10)], [name]))


# names that leave much out, a long one first or last
@probe("join_machines", cases=[(["111", "0"],), (["0", "1010101"],), (["00", "01"],), (["0110", "10", "1111111"],)])
def wasteful_names(impl, rng, names):
    yield from named("K m", impl.join_machines([draw_table(rng, 10) for _ in names], list(names)))


# all is as in the call before, but the numbers
@probe("join_machines", cases=[2, 3])
def the_same_names_again(impl, rng, machines):
    names, tables = draw_words(rng, machines), [draw_table(rng, 8) for _ in range(machines)]
    others = [({x: k + 3 for x, k in K.items()}, {x: w / 5 for x, w in m.items()}) for K, m in reversed(tables)]
    for when, given in (("first", tables), ("then", others)):
        for name, table in named("K m", impl.join_machines(given, list(names))):
            yield f"{name}, {when}", table


BROKEN = [
    ["0", "0"], ["0", "01"], ["01", "0"], ["", "1"], ["1", ""], ["10", "0", "101"], ["0110", "10", "01"], ["00", "000"],
    ["1101", "0", "11", "10"],
]  # fmt: skip


@probe("join_machines", cases=[(names,) for names in BROKEN])
def names_that_begin_others(impl, rng, names):
    tables = [({"0": 5}, {"0": 0.03125})] * len(names)
    yield "what it does", refusal(impl.join_machines, tables, list(names))


# Prediction ---------------------------------------------------------------------------------------------------------

OF_FOUR = {"": 1 / 8, "0": 1 / 4, "01": 1 / 8, "11": 1 / 16}


@probe("solomonoff_predict")
def four_strings(impl, rng):
    for prefix, rest in (("", 0.25), ("0", 0.25), ("01", 0.25), ("", 0.0), ("0", 0.0), ("1", 0.0), ("01", 0.0)):
        found = impl.solomonoff_predict(prefix, dict(OF_FOUR), rest)
        yield f"after {prefix!r}, rest {rest}", observe(found, rtol=1e-13)
    yield "nothing but zeros", impl.solomonoff_predict("1", {"10": 1 / 8, "100": 1 / 8, "1": 1 / 4}, 0.0)


def draw_weights(rng, strings, longest, scale):
    """Strings of many lengths with weights from a wide range."""
    found = ["".join(rng.choice(["0", "1"], size=n).tolist()) for n in rng.integers(0, longest + 1, size=strings)]
    return {x: scale * float(rng.uniform(0.01, 1)) for x in found}


@probe("solomonoff_predict", cases=[(20, 5, 0.3), (60, 8, 0.0), (200, 10, 0.9), (5, 3, 0.1)])
def drawn_weights(impl, rng, strings, longest, rest):
    m = draw_weights(rng, strings, longest, 0.02)
    prefixes = ["", *("".join(rng.choice(["0", "1"], size=n).tolist()) for n in (1, 1, 2, 2, 3, 4, 5, 6))]
    for number, prefix in enumerate(prefixes):
        yield f"of prefix {number}", impl.solomonoff_predict(prefix, m, rest)


# what the table lacks decides: the prefix stands in no string, or at no beginning
@probe("solomonoff_predict", cases=[6])
def within_but_not_at_the_beginning(impl, rng, bits):
    prefix = "1" + "".join(rng.choice(["0", "1"], size=bits).tolist())
    m = {"0" + prefix + "1": 0.2, prefix: 0.3, prefix[:-1]: 0.1, prefix + "0": float(rng.uniform(1e-3, 1e-2))}
    yield "probability", impl.solomonoff_predict(prefix, m, 0.2)
    yield "probability, rest 0", impl.solomonoff_predict(prefix + "1", m, 0.0)


# weights so small that whatever is added to them shows
@probe("solomonoff_predict", cases=[(70, 0.0), (75, 0.5), (110, 0.25)])
def tiny_weights(impl, rng, bits, rest):
    prefix = "".join(rng.choice(["0", "1"], size=bits).tolist())
    m = {prefix + end: float(rng.uniform(0.5, 3)) * 2.0**-bits for end in ("0", "1", "01", "110", "")} | {
        "0": 0.2,
        "1": 0.1,
    }
    yield "probability", impl.solomonoff_predict(prefix, m, rest)


@probe("solomonoff_predict", cases=[4])
def one_argument_changes(impl, rng, bits):
    m = draw_weights(rng, 40, 6, 0.02)
    other = {x: float(rng.uniform(0.001, 0.02)) for x in m}
    prefix = "".join(rng.choice(["0", "1"], size=bits // 2).tolist())
    for name, table, rest in (("m", m, 0.1), ("another m", other, 0.1), ("another rest", m, 0.6)):
        yield f"with {name}", impl.solomonoff_predict(prefix, table, rest)
    m.update(other)
    yield "with other weights in the same dict", impl.solomonoff_predict(prefix, m, 0.1)


# what goes on for hundreds of bits goes on
@probe("solomonoff_predict", cases=[70, 300])
def far_beyond(impl, rng, bits):
    prefix, tail = ("".join(rng.choice(["0", "1"], size=n).tolist()) for n in (2, bits))
    m = {prefix + "1" + tail: float(rng.uniform(0.1, 0.2)), prefix + "0": float(rng.uniform(0.1, 0.2)), prefix: 0.1}
    yield "probability", impl.solomonoff_predict(prefix, m, 0.0)


def draw_learner(rng, n, D, scale=1.0):
    """Bits, features, weights, and rates of which no two are equal."""
    x, features = rng.integers(2, size=n), scale * rng.standard_normal((n, D))
    return x, features, rng.standard_normal(D), rng.uniform(0.05, 0.9, D)


@probe("online_code_forward")
def two_ones(impl, rng):
    bits, _ = impl.online_code_forward(np.array([1, 1]), np.ones((2, 1)), np.zeros(1), np.ones(1))
    yield "bits", bits


SIZES = [(1, 1), (1, 4), (2, 3), (5, 5), (12, 2), (40, 7)]


@probe("online_code_forward", cases=[(0, 3), *SIZES, (300, 3)])
def learners(impl, rng, n, D):
    bits, _ = impl.online_code_forward(*draw_learner(rng, n, D))
    yield "bits", bits


# what was expected, almost: a small error and a large rate make a step that the next bits feel
@probe("online_code_forward", cases=[5.0, 14.5])
def surprised_a_little(impl, rng, z):
    features = np.ones((4, 1)) * rng.uniform(1.0, 1.1, (4, 1))
    bits, _ = impl.online_code_forward(np.array([0, 1, 1, 0]), features, np.full(1, -z), np.full(1, math.exp(z)))
    yield "bits", bits


@probe("online_code_forward", cases=[(8, 3, 0), (8, 3, 1)])
def all_alike(impl, rng, n, D, symbol):
    _, *rest = draw_learner(rng, n, D)
    bits, _ = impl.online_code_forward(np.full(n, symbol), *rest)
    yield "bits", bits


def price(got, expected):
    """Whether the price of a bit is right; if it is too low for a great surprise, that is said."""
    if np.ndim(got) or not np.isreal(got):
        return "It should be one number for each bit."
    if abs(got - expected) <= 1e-9 * abs(expected) + 1e-9:
        return None
    if expected > 15 and 0 < got < expected:
        return (
            f"{got:.6g} bits are paid for a surprise of {expected:.6g}: something cuts it off, such as a logit or a "
            "probability kept from its ends, or a small number in the logarithm."
        )
    return f"{got:.9g} bits; {expected:.9g} are expected."


# logits up to 1000 and beyond, bit by bit so that a large one hides nothing; alone, with the wrong and the right symbol
@probe("online_code_forward", cases=[(6, 2, 300.0), (10, 3, 20.0)])
def far_out(impl, rng, n, D, scale):
    bits, _ = impl.online_code_forward(*draw_learner(rng, n, D, scale))
    for t in range(n):
        yield f"bits[{t}]", observe(bits[t], judge=price)


@probe("online_code_forward", cases=[40.0, 700.0, 2000.0])
def a_certain_bit(impl, rng, z):
    features = np.array([[z + float(rng.uniform())], [-z]])
    for name, x in (("right", [1, 0]), ("wrong", [0, 1])):
        bits, _ = impl.online_code_forward(np.array(x), features, np.ones(1), np.zeros(1))
        for t in range(2):
            yield f"bits[{t}] of the {name} symbols", observe(bits[t], judge=price)


@probe("online_code_forward", cases=[(15, 4)])
def rates_of_zero(impl, rng, n, D):
    x, features, w0, rates = draw_learner(rng, n, D)
    rates[1:3] = 0
    bits, _ = impl.online_code_forward(x, features, w0, rates)
    yield "bits", bits


# Codes --------------------------------------------------------------------------------------------------------------

SCALE = 2**16


@probe("arithmetic_encode")
def pieces_by_hand(impl, rng):
    for q, x in (
        (3 * SCALE // 4, [1, 1]),
        (3 * SCALE // 4, [0]),
        (SCALE // 2, [1, 0]),
        (SCALE // 2, [0]),
        (SCALE // 2, []),
    ):
        yield f"q = {q}, {x}", impl.arithmetic_encode(x, lambda past, q=q: q)


@probe("arithmetic_encode", cases=[1, 2, 3, 5, 8])
def one_count(impl, rng, n):
    counts = rng.integers(1, SCALE, size=10).tolist()
    strings = rng.integers(2, size=(10, n)).tolist()
    yield "codes", [impl.arithmetic_encode(x, lambda past, q=q: q) for q, x in zip(counts, strings, strict=True)]


@probe("arithmetic_encode", cases=[12, 60, 400])
def counts_that_follow_the_past(impl, rng, n):
    table, x = rng.integers(1, SCALE, size=64).tolist(), rng.integers(2, size=n).tolist()

    def predict(past):
        return table[(len(past) + sum(bit << place for place, bit in enumerate(reversed(past[-3:])))) % 64]

    yield "code", impl.arithmetic_encode(x, predict)


# the rarest and the surest: a piece of 16 bits for each, or of hardly any
@probe("arithmetic_encode", cases=[(5, 1), (5, SCALE - 1), (150, 1), (150, SCALE - 1), (150, 2)])
def the_ends(impl, rng, n, q):
    x = (rng.random(n) < q / SCALE + 0.05 * rng.random()).astype(int).tolist()
    yield "code", impl.arithmetic_encode(x, lambda past: q)


@probe("arithmetic_encode", cases=[(0, 1), (1, SCALE - 1), (0, SCALE // 2), (1, SCALE // 2)])
def all_the_same(impl, rng, symbol, q):
    lengths = rng.integers(1, 40, size=4).tolist()
    yield "codes", [impl.arithmetic_encode([symbol] * n, lambda past: q) for n in lengths]


# codes of thousands of bits, whose probability no float can hold
@probe("arithmetic_encode", cases=[(200, 8), (700, SCALE // 16)])
def beyond_any_float(impl, rng, n, most):
    counts, x = rng.integers(1, most, size=n).tolist(), rng.integers(2, size=n).tolist()
    code = impl.arithmetic_encode(x, lambda past: counts[len(past)])
    yield "length of the code", len(code)
    yield "its ends", [code[:40], code[-40:]]


# the same bits, other predictions
@probe("arithmetic_encode", cases=[9])
def another_predictor(impl, rng, n):
    x, counts = rng.integers(2, size=n).tolist(), rng.integers(1, SCALE, size=(3, n)).tolist()
    yield "codes", [impl.arithmetic_encode(x, lambda past, q=q: q[len(past)]) for q in counts]


# what learns as it goes: each call is the next position, and there is one for each
@probe("arithmetic_encode", cases=[150])
def called_once_in_order(impl, rng, n):
    counts, x = rng.integers(1, SCALE, size=4 * n).tolist(), rng.integers(2, size=n).tolist()
    calls, seen, kinds = iter(counts), [], set()

    def predict(past):
        kinds.add(type(past).__name__)
        seen.append(list(past))
        return next(calls)

    yield "code", impl.arithmetic_encode(x, predict)
    yield "what predict was given", ["".join(map(str, past)) for past in seen]
    yield "kinds of it", sorted(kinds)


def binary_length(L):
    """Bits of a program of 4 bits and the digits of L."""
    return 4 + L.bit_length()


@probe("refute")
def nine_zeros(impl, rng):
    yield from named("L x", impl.refute(len, binary_length, ("0" * n for n in itertools.count(1))))
    yield "b(L) = L - 1 from the start", impl.refute(len, lambda L: L - 1, ("1" * n for n in itertools.count(1)))


def strings_without_end(rng, longest):
    """Drawn strings, then the same written twice, three times, and so on for ever."""
    drawn = ["".join(rng.choice(["0", "1"], size=n).tolist()) for n in rng.integers(1, longest, size=200)]
    drawn.append("01")  # so that some grow whatever was drawn
    return (x * times for times in itertools.count(1) for x in drawn)


# a program of so many bits that nobody would go on counting
@probe("refute", cases=[12_000])
def large_numbers(impl, rng, bits):
    bits += int(rng.integers(1000))
    candidates = ("1" * n for n in itertools.count(bits - 5, 4))
    L, x = (value for _, value in named("L x", impl.refute(len, lambda least: bits, candidates)))
    yield "L", L
    yield "length of x", None if x is None else len(x)


# claims of several kinds, also such that fall again, and fractions; endless, and only to be gone through once
@probe("refute", cases=[(3, 20), (10, 30), (40, 90), (4000, 2000)])
def drawn_candidates(impl, rng, constant, longest):
    candidates = strings_without_end(rng, longest)
    found = impl.refute(len, lambda L: constant + 2 * math.floor(math.log2(L)), candidates)
    yield from named("L x", found)


@probe("refute", cases=[(5, 1.1), (9, 1.3), (5, 0.25), (9, 0.3)])
def claims_of_fractions(impl, rng, constant, least):
    weight = float(rng.uniform(least, 1.5 * least))
    candidates = strings_without_end(rng, 60)
    found = impl.refute(lambda x: weight * x.count("1") + 0.3, lambda L: constant + L.bit_length(), candidates)
    yield from named("L x", found)


# the length of the program is equal to L for a while, then smaller, larger again, and smaller for good
@probe("refute", cases=[7, 12])
def uneven_lengths(impl, rng, first):
    dip = first + int(rng.integers(2, 6))
    candidates = strings_without_end(rng, 60)

    def program_bits(least):
        more = 0 if least < dip else -1 if least == dip else 3
        return dip if least > dip + 10 else least + more

    yield from named("L x", impl.refute(len, program_bits, candidates))


# the program is as long as L for a while, and then suddenly much shorter; the first claims lie between the two
@probe("refute", cases=[20, 35])
def sudden_fall(impl, rng, L):
    short = int(rng.integers(3, 9))
    between = ["".join(rng.choice(["0", "1"], size=n).tolist()) for n in rng.integers(short + 1, L, size=3)]
    candidates = itertools.chain(between, strings_without_end(rng, 60))
    yield from named("L x", impl.refute(len, lambda least: short if least >= L else least, candidates))


# the first claim that reaches L is equal to it; a larger one comes later, and smaller ones before
@probe("refute", cases=[0, 1, 3])
def just_reached(impl, rng, before):
    L = int(rng.integers(12, 20))
    ends = rng.permutation(["1" * k for k in range(1, 6)]).tolist()
    candidates = ["0" * (L - k) for k in range(before, 0, -1)] + ["0" * L, ends[0] + "0" * L, ends[1] + "0" * 2 * L]
    yield from named("L x", impl.refute(len, lambda bits: L - 1, iter(candidates)))


# a single L that is small enough stands among many that are not
@probe("refute", cases=[7, 30])
def a_dip(impl, rng, L):
    lengths = {L: L - int(rng.integers(1, 4)), L + 1: L + 1}
    candidates = strings_without_end(rng, 60)
    yield from named("L x", impl.refute(len, lambda least: lengths.get(least, 70), candidates))


# a string may be said to be more complex than it is long, even the empty one
@probe("refute", cases=[8, 15])
def claims_beyond_the_length(impl, rng, L):
    words = ["".join(rng.choice(["0", "1"], size=n).tolist()) for n in rng.permutation(L - 1)]
    most = len(words[int(rng.integers(L // 2, L - 1))])
    yield from named("L x", impl.refute(lambda x: L + most - len(x), lambda least: L - 1, iter(words)))


@probe("refute", cases=[9, 16])
def nothing_is_a_string(impl, rng, L):
    after = "".join(rng.choice(["0", "1"], size=L).tolist())
    yield from named("L x", impl.refute(lambda x: L + 0.5, lambda least: L - 1, iter(["", after])))


# claims that miss L by much of a bit, by little of it, and by as little as there is
@probe("refute", cases=[11, 23])
def almost_reached(impl, rng, L):
    words = ["".join(rng.choice(["0", "1"], size=n).tolist()) for n in (9, 8, 7, 6)]
    misses = float(rng.uniform(0.55, 0.95)), float(rng.uniform(0.05, 0.45)), L - math.nextafter(L, 0), -0.25
    claims = {x: L - miss for x, miss in zip(words, misses, strict=True)}
    yield from named("L x", impl.refute(lambda x: claims[x], lambda least: L - 1, iter(words)))


# what comes after x is left to whoever holds the candidates
@probe("refute", cases=[(6, 2), (9, 40)])
def nothing_after_x(impl, rng, L, before):
    ends = ["".join(rng.choice(["0", "1"], size=L).tolist()) for _ in range(4)]
    candidates = itertools.chain(itertools.repeat("0", before), ends)
    yield from named("L x", impl.refute(len, lambda least: L - 1, candidates))
    yield "what comes next", next(candidates, None)


# more than a million that come before
@probe("refute", cases=[12])
def long_wait(impl, rng, L):
    found = "".join(rng.choice(["0", "1"], size=L + 2).tolist())
    candidates = itertools.chain(itertools.repeat(found[:-3], 1_100_000), [found, "0" * 90])
    yield from named("L x", impl.refute(len, lambda least: L - 1, candidates))


@probe("refute", cases=[0, 5])
def no_candidate(impl, rng, count):
    candidates = ["".join(rng.choice(["0", "1"], size=n).tolist()) for n in rng.integers(1, 9, size=count)]
    yield from named("L x", impl.refute(len, lambda L: 20, candidates))


# Learning to learn --------------------------------------------------------------------------------------------------


def gradients_of(impl, learner, dbits):
    _, cache = impl.online_code_forward(*learner)
    yield from named("dw0 drates", impl.online_code_backward(dbits, cache))


@probe("online_code_backward")
def second_of_two(impl, rng):
    learner = np.array([1, 1]), np.ones((2, 1)), np.zeros(1), np.ones(1)
    yield from gradients_of(impl, learner, np.array([0.0, 1.0]))


@probe("online_code_backward", cases=[(0, 3), *SIZES, (200, 3)])
def through_all_updates(impl, rng, n, D):
    learner, dbits = draw_learner(rng, n, D), rng.standard_normal(n)
    yield from gradients_of(impl, learner, dbits)


# one cost alone: what came after it has no part in it
@probe("online_code_backward", cases=[0, 3, 7])
def of_one_bit(impl, rng, t):
    learner = draw_learner(rng, 8, 3, 0.5)
    yield from gradients_of(impl, learner, float(rng.uniform(0.5, 3)) * np.eye(8)[t])


# two forward passes of the same sizes, then the way back of the first, of the second, and of the first once more
@probe("online_code_backward", cases=[(9, 3)])
def each_its_own_cache(impl, rng, n, D):
    learners, dbits = [draw_learner(rng, n, D) for _ in range(2)], rng.standard_normal((2, n))
    caches = [impl.online_code_forward(*learner)[1] for learner in learners]
    for when, k in (("first", 0), ("second", 1), ("first again", 0)):
        for name, gradient in named("dw0 drates", impl.online_code_backward(dbits[k], caches[k])):
            yield f"{name}, {when}", gradient


# here finite differences run out of time
@probe("online_code_backward", cases=[(300, 6000)])
def many_weights(impl, rng, n, D):
    x, features, w0, rates = draw_learner(rng, n, D)
    learner, dbits = (x, features / math.sqrt(D), w0, rates), rng.standard_normal(n)
    some = rng.choice(D, size=150)
    for name, values in gradients_of(impl, learner, dbits):
        yield name, values[some]


# surprised by the first and the last bit: if all came as expected, there would be no gradient but rounding
@probe("online_code_backward", cases=[(6, 2, 100.0), (8, 3, 8.0)])
def far_out_gradients(impl, rng, n, D, scale):
    x, features, w0, rates = draw_learner(rng, n, D, scale)
    x[[0, -1]] = (features[[0, -1]] @ w0) < 0
    yield from gradients_of(impl, (x, features, w0, rates / scale**2), rng.standard_normal(n))


# a gradient that grows beyond any bound one might think of
@probe("online_code_backward", cases=[1e5])
def steep(impl, rng, scale):
    features, w0 = scale * rng.uniform(0.9, 1.1, (2, 1)), np.full(1, -500 / scale)
    yield from gradients_of(impl, (np.array([1, 1]), features, w0, np.full(1, 1e-14)), rng.uniform(1, 2, 2))


@probe("online_code_backward", cases=[(9, 4)])
def with_rates_of_zero(impl, rng, n, D):
    x, features, w0, rates = draw_learner(rng, n, D)
    rates[:2] = 0
    yield from gradients_of(impl, (x, features, w0, rates), rng.standard_normal(n))


@probe("online_code_backward", cases=[(6, 3)])
def with_own_forward(impl, rng, n, D):
    x, features, w0, rates = draw_learner(rng, n, D)
    dbits, along = rng.standard_normal(n), rng.standard_normal(D)
    _, cache = impl.online_code_forward(x, features, w0, rates)
    dw0, drates = (value for _, value in named("dw0 drates", impl.online_code_backward(dbits, cache)))
    yield "dw0", dw0
    yield "drates", drates
    numeric = slope(lambda w: np.sum(dbits * impl.online_code_forward(x, features, w, rates)[0]), w0, along)
    yield "slope along w0", agree(np.sum(dw0 * along), numeric)
    numeric = slope(lambda r: np.sum(dbits * impl.online_code_forward(x, features, w0, r)[0]), rates, along)
    yield "slope along rates", agree(np.sum(drates * along), numeric)


# PyTorch ------------------------------------------------------------------------------------------------------------


def compressor(impl, seed, context, hidden, rate, scale=0.5):
    """A compressor in double precision with the weights of a seed."""
    return fill(impl.NeuralCompressor(context, hidden, rate).double(), seed, scale=scale)


def counts(predict, x):
    """What a predictor says of each bit of a string."""
    return [predict(x[:t]) for t in range(len(x))]


@probe("NeuralCompressor")
def three_quarters(impl, rng):
    import torch

    model = impl.NeuralCompressor(2, 3, math.log(3)).double()
    with torch.no_grad():
        for w in model.parameters():
            w.zero_()
    yield "parameters", shapes(model)
    yield "counts", counts(model.predictor(), [1, 1])
    yield "of nothing", model.encode([])
    yield "nothing again", model.decode("", 0)


@probe("NeuralCompressor", cases=[(1, 2, 0.05, 6), (8, 5, 0.02, 40), (20, 3, 0.1, 25), (3, 16, 0.001, 110)])
def predictions(impl, rng, context, hidden, rate, n):
    seed, x = int(rng.integers(2**31)), rng.integers(2, size=n).tolist()
    model = compressor(impl, seed, context, hidden, rate)
    yield "counts", counts(model.predictor(), x)


@probe("NeuralCompressor", cases=[(4, 6, 0.03, 50), (12, 4, 0.05, 30)])
def there_and_back(impl, rng, context, hidden, rate, n):
    seed, x = int(rng.integers(2**31)), rng.integers(2, size=n).tolist()
    sender, receiver = (compressor(impl, seed, context, hidden, rate) for _ in range(2))
    code = sender.encode(x)
    yield "code", code
    yield "sent again", sender.encode(x)
    yield "by the sender", sender.decode(code, n)
    yield "by a receiver of the same weights", receiver.decode(code, n)
    yield "by a receiver, first bits", receiver.decode(code, n // 2)


# another network than at first, and another string
@probe("NeuralCompressor", cases=[(5, 4, 0.05, 25)])
def other_weights_and_strings(impl, rng, context, hidden, rate, n):
    first, second = rng.integers(2**31, size=2).tolist()
    strings = rng.integers(2, size=(2, n)).tolist()
    model = compressor(impl, first, context, hidden, rate)
    yield "codes", [model.encode(x) for x in strings]
    fill(model, second)
    yield "with other weights", [model.encode(x) for x in strings]
    yield "back", [model.decode(model.encode(x), n) for x in strings]


@probe("NeuralCompressor", cases=[(4, 3, 0.05, 20)])
def two_at_a_time(impl, rng, context, hidden, rate, n):
    seed, (x, y) = int(rng.integers(2**31)), rng.integers(2, size=(2, n)).tolist()
    model = compressor(impl, seed, context, hidden, rate)
    one, other = model.predictor(), model.predictor()
    pairs = [(one(x[:t]), other(y[:t])) for t in range(n)]
    yield "counts of the first", [pair[0] for pair in pairs]
    yield "counts of the second", [pair[1] for pair in pairs]


# so sure that a count has to be kept from 0 and from all
@probe("NeuralCompressor", cases=[30.0])
def too_sure(impl, rng, scale):
    seed, x = int(rng.integers(2**31)), rng.integers(2, size=12).tolist()
    model = compressor(impl, seed, 4, 5, 0.01, scale)
    yield "counts", counts(model.predictor(), x)


# the first bit was as good as certain, so that Adam divides by little more than its own small number
@probe("NeuralCompressor", cases=[(3, 4, 0.5, 12)])
def nearly_sure(impl, rng, context, hidden, rate, n):
    import torch

    seed, x = int(rng.integers(2**31)), [1, *rng.integers(2, size=n - 1).tolist()]
    z = float(rng.uniform(16.5, 18.5))
    model = compressor(impl, seed, context, hidden, rate, 0.2)
    with torch.no_grad():
        first, _, last = model.net
        first.weight[0, context], first.bias[0] = 1.0, 0.0
        last.weight[0] = torch.tensor([z] + [0.1] * (hidden - 1), dtype=last.weight.dtype)
    yield "counts", counts(model.predictor(), x)


# the compressor as it is used: single precision, and predictions far from a half
@probe("NeuralCompressor", cases=[(6, 8, 0.01, 40)])
def single_precision(impl, rng, context, hidden, rate, n):
    seed, x = int(rng.integers(2**31)), np.tile(rng.integers(2, size=5), n // 5).tolist()
    model = fill(impl.NeuralCompressor(context, hidden, rate), seed)
    yield "back", model.decode(model.encode(x), n)
