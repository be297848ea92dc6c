"""Correct implementations of 25 unlike the reference; a class that is no exercise holds a further set of them.

Each takes the place of its exercise's cell. Functions of one set share their caches.
"""

import copy
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import torch
from torch import nn


def run_program(program, machine):
    """Slices instead of collected bits: the only opcode that the rest begins with, if there is one."""
    rest, out = program, ""
    while rest:
        matching = [opcode for opcode in machine if rest.startswith(opcode)]
        if not matching:
            return None
        [opcode] = matching
        rest = rest[len(opcode) :]
        if machine[opcode] == "halt":
            return None if rest else out
        out = ACTIONS[machine[opcode]](out)  # noqa: F821
    return None


def enumerate_machine(machine, max_bits):
    """Length by length: how many programs that are not over print what, so that equal ones are grown together."""
    at = [Counter() for _ in range(max(max_bits, 0) + 1)]
    at[0][""] = 1
    K, m = {}, defaultdict(float)
    for length in range(max_bits + 1):
        for out, count in at[length].items():
            for opcode, does in machine.items():
                if length + len(opcode) > max_bits:
                    continue
                if does == "halt":
                    K[out] = min(K.get(out, max_bits), length + len(opcode))
                    m[out] += count / 2 ** (length + len(opcode))
                else:
                    at[length + len(opcode)][ACTIONS[does](out)] += count  # noqa: F821
    return K, dict(m)


def join_machines(tables, names):
    """Sorted names, in which a beginning stands right before what it begins; and one string after the other."""
    ordered = sorted(names)
    for one, other in pairwise(ordered):
        if other[: len(one)] == one:
            raise ValueError("no receiver could tell these names apart")
    strings = set().union(*(K for K, _ in tables))
    K = {x: min(len(n) + k[x] for (k, _), n in zip(tables, names, strict=True) if x in k) for x in strings}
    m = {x: sum(w.get(x, 0) / 2 ** len(n) for (_, w), n in zip(tables, names, strict=True)) for x in strings}
    return K, m


def solomonoff_predict(prefix, m, rest):
    """One pass; a warning-free division by cases."""
    n, ahead = len(prefix), [0.5 * rest / 2.0 ** len(prefix)] * 2
    for y in m:
        if len(y) > n and y[:n] == prefix:
            ahead[int(y[n])] += m[y]
    if ahead == [0.0, 0.0]:
        return np.float64(0.5)
    return 1 / (1 + ahead[0] / ahead[1]) if ahead[1] else 0.0


def online_code_forward(x, features, w0, rates):
    """Signs in place of bits, weights of all steps in a matrix."""
    n = len(x)
    signs, W = 2.0 * x - 1, np.empty((n + 1, len(w0)))
    W[0] = w0
    bits = np.empty(n)
    for t in range(n):
        margin = signs[t] * np.dot(features[t], W[t])
        bits[t] = np.logaddexp(0, -margin) * math.log2(math.e)
        miss = math.exp(-np.logaddexp(0, margin))  # the probability of the other symbol
        W[t + 1] = W[t] + signs[t] * miss * rates * features[t]
    return bits, {"x": x, "features": features, "rates": rates, "W": W}


def online_code_backward(dbits, cache):
    """By the Jacobian of one step, and probabilities from the stored weights."""
    features, rates, W = cache["features"], cache["rates"], cache["W"]
    lam, drates = np.zeros_like(rates), np.zeros_like(rates)
    for t in range(len(features) - 1, -1, -1):
        phi = features[t]
        z = phi @ W[t]
        p = 0.5 * (1 + math.tanh(z / 2))
        error = p - cache["x"][t]
        drates = drates - lam * phi * error
        through = lam - (p - p * p) * phi * np.dot(rates * phi, lam)
        lam = through + dbits[t] * error * math.log2(math.e) * phi
    return lam, drates


def arithmetic_encode(x, predict):
    """In fractions; the length from the width, then one more place if that one does not fit."""
    low, width = Fraction(0), Fraction(1)
    for t in range(len(x)):
        one = Fraction(int(predict(list(x[:t]))), SCALE)  # noqa: F821
        if x[t]:
            low, width = low + width * (1 - one), width * one
        else:
            width *= 1 - one
    places = 0
    while Fraction(1, 2**places) > width:
        places += 1
    while True:
        c = math.ceil(low * 2**places)
        if Fraction(c + 1, 2**places) <= low + width:
            return bin(c)[2:].zfill(places) if places else ""
        places += 1


def refute(claim, program_bits, candidates):
    """Two plain loops."""
    L = 1
    while not program_bits(L) < L:
        L += 1
    for x in candidates:
        if not claim(x) < L:
            return L, x
    return L, None


class NeuralCompressor(nn.Module):
    """An object as the predictor, logarithms as the loss, the logit made anew when its bit has arrived."""

    def __init__(self, context: int, hidden: int, rate: float) -> None:
        super().__init__()
        self.context, self.rate = context, rate
        self.net = nn.Sequential(nn.Linear(context + 8, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def predictor(self) -> Callable[[list[int]], int]:
        class Predictor:
            def __init__(self, net, rate):
                self.net = copy.deepcopy(net)
                self.optimiser = torch.optim.Adam(list(self.net.parameters()), lr=rate)

            def __call__(self, past):
                if len(past):
                    z = self.net(inputs_of(past[:-1], self.net)).squeeze()  # noqa: F821
                    loss = -nn.functional.logsigmoid(z if past[-1] else -z)
                    self.net.zero_grad()
                    loss.backward()
                    self.optimiser.step()
                with torch.no_grad():
                    return count_of(self.net(inputs_of(past, self.net)).sigmoid().item())  # noqa: F821

        return Predictor(self.net, self.rate)

    def encode(self, x: list[int]) -> str:
        predictor = self.predictor()
        return arithmetic_encode(x, lambda past: predictor(past))

    def decode(self, code: str, n: int) -> list[int]:
        return arithmetic_decode(code, n, self.predictor())  # noqa: F821


class Further:
    """A second set."""

    def run_program(program, machine):
        """By places: the opcodes of each length that occurs."""
        lengths = sorted({len(opcode) for opcode in machine})
        place, out = 0, ""
        while place < len(program):
            found = [program[place : place + n] for n in lengths if program[place : place + n] in machine]
            found = [op for op in found if place + len(op) <= len(program)]
            if not found:
                return None
            place += len(found[0])
            if machine[found[0]] == "halt":
                return out if place == len(program) else None
            out = ACTIONS[machine[found[0]]](out)  # noqa: F821
        return None

    def enumerate_machine(machine, max_bits):
        """By recursion, depth first, shortest kept by sorting in the end."""
        printed = defaultdict(list)

        def grow(length, out):
            for opcode, does in machine.items():
                longer = length + len(opcode)
                if longer > max_bits:
                    pass
                elif does == "halt":
                    printed[out].append(longer)
                else:
                    grow(longer, ACTIONS[does](out))  # noqa: F821

        grow(0, "")
        return {x: min(found) for x, found in printed.items()}, {x: sum(0.5**k for k in s) for x, s in printed.items()}

    def arithmetic_encode(x, predict):
        """Counts first; then numerator and denominator, and bits of the code one by one from the binary search."""
        counts = [predict(x[:t]) for t in range(len(x))]
        low, high, unit = 0, 1, 1
        for bit, q in zip(x, counts, strict=True):
            border = low * SCALE + (high - low) * (SCALE - q)  # noqa: F821
            low, high = (border, high * SCALE) if bit else (low * SCALE, border)  # noqa: F821
            unit *= SCALE  # noqa: F821
        k = 0
        while True:
            c, left = divmod(low << k, unit)
            c += bool(left)
            if (c + 1) * unit <= high << k:
                return "".join(str(c >> place & 1) for place in reversed(range(k)))
            k += 1


# Mutants of the reference that compute the same, with the reason.
EQUIVALENT = {
    "run_program": {
        "return output if place >= len(program) else None": "no bit comes after the last one",
    },
    "enumerate_machine": {
        "elif bits < max_bits:": "what has reached the limit without a halt has no room for one",
    },
    "join_machines": {
        "for (its_K, its_m), name in zip(tables, names, strict=False):": "there is a name for each table",
    },
    "solomonoff_predict": {
        "return one / (zero + one) if zero - one else 0.5": "equal sums make a half anyway",
    },
    "NeuralCompressor": {
        "optimiser = torch.optim.Adam(net.parameters(), lr=self.rate, fused=False)": "the same steps, more slowly",
    },
}
