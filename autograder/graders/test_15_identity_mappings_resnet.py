"""Probes of 15: joins, residual units in five orders, open paths and gradient profiles; pre-activation in torch."""

import contextlib
import zlib
from collections.abc import Mapping

import numpy as np

from autograder.engine.probes import WrongReturn, agree, fill, named, observe, probe, shapes, slope

KINDS = ("exclusive", "gated", "conv", "scaled", "dropout", "identity")
PLACEMENTS = ("original", "bn_after_addition", "relu_before_addition", "relu_only", "full")
LN3 = np.log(3.0)


def one(*values):
    """Examples of one feature."""
    return np.array(values, dtype=float).reshape(-1, 1)


def draw_join(rng, N, D):
    """What any kind may need, of order one."""
    p = {"wg": rng.standard_normal((D, D)), "bg": rng.standard_normal(D), "ws": rng.standard_normal((D, D))}
    p |= {"lam": float(rng.uniform(-2.0, 2.0)), "rho": float(rng.uniform(1.5, 3.0))}
    mask = rng.random((N, D)) < 0.6
    mask.flat[0], mask.flat[-1] = True, False
    return p | {"mask": mask.astype(float)}


def draw_unit(rng, N, D, H, placement):
    """Parameters of a unit, of order one, and what any kind of shortcut may need."""
    first, second = (D, H) if placement == "full" else (H, D)
    p = {"w1": rng.standard_normal((D, H)), "w2": rng.standard_normal((H, D))}
    for k, width in (("1", first), ("2", second)):
        p |= {f"gamma{k}": rng.standard_normal(width), f"beta{k}": rng.standard_normal(width)}
    return p | draw_join(rng, N, D)


def silent_unit(D=1, H=1):
    """A unit whose branch says nothing."""
    p = {"w1": np.ones((D, H)), "w2": np.zeros((H, D)), "gamma1": np.ones(D), "beta1": np.zeros(D)}
    return p | {"gamma2": np.ones(D), "beta2": np.zeros(D)}


def of_grads(grads, atol=0.0):
    """The names of gradients, and each under its own."""
    if not isinstance(grads, Mapping):
        raise WrongReturn(f"grads should be a dict, by the parameters' names; it is a {type(grads).__name__}.")
    yield "names in grads", sorted(grads)
    for name in sorted(grads):
        yield f"d{name}", observe(grads[name], atol=atol) if atol else grads[name]


def three(names, found):
    """What was returned, or a message about how many there should be."""
    return tuple(value for _, value in named(names, found))


# Joins --------------------------------------------------------------------------------------------------------------


@probe("join_forward", cases=[(kind,) for kind in KINDS], part="kind")
def joined_by_hand(impl, rng, kind):
    gate = {"wg": np.zeros((1, 1)), "bg": np.array([-LN3])}
    p = {
        "identity": {},
        "scaled": {"lam": 0.5, "rho": 3.0},
        "exclusive": gate,
        "gated": gate,
        "conv": {"ws": np.array([[3.0]])},
        "dropout": {"mask": np.zeros((1, 1))},
    }[kind]
    yield "z", impl.join_forward(one(2), one(1), kind, p)[0]


@probe("join_forward", cases=[(4, 3, kind) for kind in KINDS] + [(1, 4, kind) for kind in KINDS], part="kind")
def joins(impl, rng, N, D, kind):
    p, (x, F) = draw_join(rng, N, D), rng.standard_normal((2, N, D))
    yield "z", impl.join_forward(x, F, kind, p)[0]


@probe("join_forward", cases=[(3, 3, kind) for kind in KINDS], part="kind")
def after_all_other_kinds(impl, rng, N, D, kind):
    """The same numbers as for the kinds before, which may not be there yet."""
    p, (x, F) = draw_join(rng, N, D), rng.standard_normal((2, N, D))
    for other in KINDS:
        if other != kind:
            with contextlib.suppress(Exception):
                impl.join_forward(x, F, other, p)
    yield "z", impl.join_forward(x, F, kind, p)[0]


@probe("join_forward", cases=[(N, D, kind) for kind in KINDS for N, D in ((130, 3), (2, 130))], part="kind")
def large_joins(impl, rng, N, D, kind):
    """More examples or features than anybody would write out; the last ones are looked at."""
    p, (x, F) = draw_join(rng, N, D), rng.standard_normal((2, N, D))
    yield "z of the last examples", impl.join_forward(x, F, kind, p)[0][-2:, -3:]


@probe("join_forward", cases=[(3, 2, "identity")], part="kind")
def without_parameters(impl, rng, N, D, kind):
    x, F = rng.standard_normal((2, N, D))
    yield "by default", impl.join_forward(x, F)[0]
    yield "with an empty p", impl.join_forward(x, F, kind, {})[0]
    yield "with None", impl.join_forward(x, F, kind, None)[0]


@probe("join_forward", cases=[(kind, size) for kind in KINDS[:2] for size in (3000.0, 1e-5)], part="kind")
def far_gates(impl, rng, kind, size):
    p, (x, F) = draw_join(rng, 5, 3), size * rng.standard_normal((2, 5, 3))
    yield "z", impl.join_forward(x, F, kind, p)[0]


@probe("join_forward", cases=[(5, 3, "dropout"), (5, 3, "scaled")], part="kind")
def other_numbers(impl, rng, N, D, kind):
    """A mask of True and False; no λ at all; ρ alone."""
    p, (x, F) = draw_join(rng, N, D), rng.standard_normal((2, N, D))
    others = {
        "dropout": {"a mask of bools": {"mask": p["mask"] > 0}, "nothing dropped": {"mask": np.ones((N, D))}},
        "scaled": {
            "λ = 0": {"lam": 0.0, "rho": 1.0},
            "ρ = 0": {"lam": 0.7, "rho": 0.0},
            "λ = 1": {"lam": 1.0, "rho": 1.3},
            "integers": {"lam": 2, "rho": 3},
        },
    }[kind]
    for name, numbers in others.items():
        yield f"z, {name}", impl.join_forward(x, F, kind, p | numbers)[0]


def joined_back(impl, p, x, F, dz, kind):
    """All gradients."""
    dx, dF, grads = three("dx dF grads", impl.join_backward(dz, impl.join_forward(x, F, kind, p)[1]))
    yield from named("dx dF", (dx, dF))
    yield from of_grads(grads)


@probe("join_backward", cases=[(4, 3, "identity"), (1, 3, "identity")])
def identity_gradients(impl, rng, N, D, kind):
    """Nothing to derive: it can only take points away."""
    yield from joined_back(impl, draw_join(rng, N, D), *rng.standard_normal((3, N, D)), kind)


@probe("join_backward", cases=[(N, 3, kind) for N in (4, 1) for kind in KINDS[:5]], part="kind")
def join_gradients(impl, rng, N, D, kind):
    yield from joined_back(impl, draw_join(rng, N, D), *rng.standard_normal((3, N, D)), kind)


@probe("join_backward", cases=[("exclusive",), ("gated",)], part="kind")
def join_gradients_by_hand(impl, rng, kind):
    p = {"wg": np.ones((1, 1)), "bg": np.array([-2 - LN3])}
    yield from joined_back(impl, p, one(2), one(1), one(16), kind)


@probe("join_backward", cases=[(3, 3, kind, size) for kind in KINDS[:4] for size in (1e6, 1e-9)], part="kind")
def square_joins(impl, rng, N, D, kind, size):
    """As many examples as features, and gradients far from one."""
    p, (x, F, dz) = draw_join(rng, N, D), rng.standard_normal((3, N, D))
    yield from joined_back(impl, p, x, F, size * dz, kind)


@probe("join_backward", cases=[("exclusive",), ("gated",)], part="kind")
def shut_gates(impl, rng, kind):
    """Some gates at 0 or 1, as far as numbers go."""
    p, (x, F, dz) = draw_join(rng, 4, 3), rng.standard_normal((3, 4, 3))
    p["bg"] = np.array([800.0, -800.0, 0.5])
    yield from joined_back(impl, p, x, F, dz, kind)


@probe("join_backward", cases=[(kind,) for kind in KINDS[:5]], part="kind")
def joins_of_zeros(impl, rng, kind):
    """Examples that are exactly 0, and factors that are: a gradient comes back all the same, or none."""
    p, (x, F, dz) = draw_join(rng, 3, 2), rng.standard_normal((3, 3, 2))
    x[0] = F[1] = dz[2] = 0.0
    for name, numbers in (
        {"λ = 0": {"lam": 0.0}, "ρ = 0": {"rho": 0.0}, "λ = 1": {"lam": 1.0}}.items()
        if kind == "scaled"
        else [("zeros", {})]
    ):
        dx, dF, _ = three("dx dF grads", impl.join_backward(dz, impl.join_forward(x, F, kind, p | numbers)[1]))
        yield f"dx, {name}", dx
        yield f"dF, {name}", dF


@probe("join_backward", cases=[(3, 2, kind) for kind in KINDS[:5]], part="kind")
def joins_walked_back_later(impl, rng, N, D, kind):
    ps = [draw_join(rng, N, D) for _ in range(2)]
    x, F, dz = rng.standard_normal((3, 2, N, D))
    caches = [impl.join_forward(x[k], F[k], kind, ps[k])[1] for k in range(2)]
    for call, k in enumerate((0, 1, 0)):
        dx, dF, _ = three("dx dF grads", impl.join_backward(dz[k], caches[k]))
        yield f"dx, call {call}", dx
        yield f"dF, call {call}", dF[:1]


@probe("join_backward", cases=[(3, 2, kind) for kind in KINDS[:5]], part="kind")
def joins_of_all_kinds_walked_back_later(impl, rng, N, D, kind):
    """The same numbers for each kind; others may not be there yet."""
    p, (x, F, dz) = draw_join(rng, N, D), rng.standard_normal((3, N, D))
    caches = {each: impl.join_forward(x, F, each, p)[1] for each in KINDS}
    for other in KINDS:
        if other != kind:
            with contextlib.suppress(Exception):
                impl.join_backward(dz, caches[other])
    dx, dF, _ = three("dx dF grads", impl.join_backward(dz, caches[kind]))
    yield "dx", dx
    yield "dF", dF[:1]


@probe(
    "join_backward",
    cases=[
        (130, 200, "exclusive"),
        (130, 70, "gated"),
        (130, 70, "conv"),
        (130, 70, "scaled"),
        (130, 70, "dropout"),
    ],
    part="kind",
)
def a_wide_join(impl, rng, N, D, kind):
    p = {"lam": 0.3, "rho": 2.0, "mask": (rng.random((N, D)) < 0.6).astype(float)}
    if kind in KINDS[:3]:
        w = rng.standard_normal((D, D)) / np.sqrt(D)
        p |= {"wg": w, "bg": np.zeros(D), "ws": w}
    x, F, dz = rng.standard_normal((3, N, D))
    dx, dF, grads = three("dx dF grads", impl.join_backward(dz, impl.join_forward(x, F, kind, p)[1]))
    yield "dx of the last examples", dx[-2:, 3 :: D // 5]
    yield "dF of the last examples", dF[-2:, 3 :: D // 5]
    for name in {"exclusive": ("bg", "wg"), "gated": ("bg", "wg"), "conv": ("ws",)}.get(kind, ()):
        value = grads.get(name)
        yield f"d{name}", value if value is None else value[::97] if value.ndim == 1 else value[3::97, -3:]


@probe("join_backward", cases=[(3, 4, kind) for kind in KINDS[:3]], part="kind")
def with_own_join(impl, rng, N, D, kind):
    p, (x, F, dz, along) = draw_join(rng, N, D), rng.standard_normal((4, N, D))
    dx, _, _ = three("dx dF grads", impl.join_backward(dz, impl.join_forward(x, F, kind, p)[1]))
    yield "dx of the last example", dx[-1:]
    numeric = slope(lambda v: np.sum(impl.join_forward(v, F, kind, p)[0] * dz), x, along)
    yield "slope along x", agree(np.sum(dx * along), numeric)


# Units --------------------------------------------------------------------------------------------------------------

SIZES = [(5, 3, 4), (4, 3, 3)]  # N, D, H


@probe("unit_forward", cases=[(placement,) for placement in PLACEMENTS], part="placement")
def silent_by_hand(impl, rng, placement):
    yield "y", impl.unit_forward(silent_unit(), one(-1, 3), placement)[0]


@probe("unit_forward", cases=[(*size, placement) for placement in PLACEMENTS for size in SIZES], part="placement")
def units(impl, rng, N, D, H, placement):
    p, x = draw_unit(rng, N, D, H, placement), 2 * rng.standard_normal((N, D))
    yield "y", impl.unit_forward(p, x, placement)[0]


@probe("unit_forward", cases=[(4, 3, 5, placement) for placement in PLACEMENTS], part="placement")
def units_with_shortcuts(impl, rng, N, D, H, placement):
    """Every kind; what the gate and the matrix read is x as it came."""
    p, x = draw_unit(rng, N, D, H, placement), 2 * rng.standard_normal((N, D))
    for kind in KINDS:
        yield f"y, {kind}", impl.unit_forward(p, x, placement, kind)[0][1::2]


@probe("unit_forward", cases=[(4, 3, placement) for placement in PLACEMENTS], part="placement")
def after_all_other_placements(impl, rng, N, D, placement):
    """The same numbers as in the orders before, which may not be there yet."""
    p, x = draw_unit(rng, N, D, D, "full"), rng.standard_normal((N, D))
    for other in PLACEMENTS:
        if other != placement:
            with contextlib.suppress(Exception):
                impl.unit_forward(p, x, other)
    yield "y", impl.unit_forward(p, x, placement)[0]


@probe("unit_forward", cases=[(4, 2, 3, "full"), (1, 3, 8, "full")], part="placement")
def units_by_default(impl, rng, N, D, H, placement):
    p, x = draw_unit(rng, N, D, H, placement), rng.standard_normal((N, D))
    p["beta1"] += 5.0 * (N == 1)  # all that a batch of one leaves of it: something must get through
    yield "y", impl.unit_forward(p, x)[0]
    yield "y, conv", impl.unit_forward(p, x, kind="conv")[0]


@probe(
    "unit_forward",
    cases=[(5, 2, 3, placement, size) for placement in PLACEMENTS for size in (1e4, 1e-3)],
    part="placement",
)
def units_far_from_one(impl, rng, N, D, H, placement, size):
    p, x = draw_unit(rng, N, D, H, placement), size * (rng.standard_normal((N, D)) + 1.0)
    yield "y", observe(impl.unit_forward(p, x, placement)[0], rtol=1e-8)


@probe("unit_forward", cases=[(N, D, 4, how) for how in PLACEMENTS for N, D in ((130, 3), (4, 130))], part="placement")
def large_units(impl, rng, N, D, H, placement):
    """More examples or features than anybody would write out; the last ones are looked at."""
    p, x = draw_unit(rng, N, D, H, placement), rng.standard_normal((N, D))
    yield "y of the last examples", impl.unit_forward(p, x, placement)[0][-2:, -3:]


@probe("unit_forward", cases=[("original",), ("relu_only",), ("full",)], part="placement")
def a_stack_of_units(impl, rng, placement):
    ps, x = [draw_unit(rng, 6, 3, 4, placement) for _ in range(3)], rng.standard_normal((6, 3))
    for p in ps:
        x, _ = impl.unit_forward(p, x, placement)
        yield "y", x


def walk_back(found, atol=1e-9):
    """The three things that come back, in one form."""
    shortcut, branch, grads = three("dx_shortcut dx_branch grads", found)
    yield "dx_shortcut", observe(shortcut, atol=atol)
    yield "dx_branch", observe(branch, atol=atol)
    yield from of_grads(grads, atol)


@probe("unit_backward", cases=[("full",), ("original",)], part="placement")
def silent_back_by_hand(impl, rng, placement):
    _, cache = impl.unit_forward(silent_unit(), one(-1, 3), placement)
    shortcut, branch, _ = three("dx_shortcut dx_branch grads", impl.unit_backward(one(5, 7), cache))
    yield "dx_shortcut", shortcut
    yield "dx_branch", branch


@probe("unit_backward", cases=[(*size, placement) for placement in PLACEMENTS for size in SIZES], part="placement")
def unit_gradients(impl, rng, N, D, H, placement):
    p, x = draw_unit(rng, N, D, H, placement), 2 * rng.standard_normal((N, D))
    dy = rng.standard_normal((N, D)) + 0.5
    shortcut, branch, grads = three(
        "dx_shortcut dx_branch grads", impl.unit_backward(dy, impl.unit_forward(p, x, placement)[1])
    )
    yield from walk_back((shortcut[-3:], branch[-3:], grads))


@probe(
    "unit_backward",
    cases=[(5, 3, 4, placement, kind) for placement in PLACEMENTS for kind in KINDS[:5]],
    part="placement",
)
def gradients_with_shortcuts(impl, rng, N, D, H, placement, kind):
    p, x = draw_unit(rng, N, D, H, placement), 2 * rng.standard_normal((N, D))
    dy = rng.standard_normal((N, D)) + 0.5
    found = impl.unit_backward(dy, impl.unit_forward(p, x, placement, kind)[1])
    shortcut, branch, grads = three("dx_shortcut dx_branch grads", found)
    yield "dx_shortcut of an example", observe(shortcut[1:2], atol=1e-9)
    yield "dx_branch of an example", observe(branch[1:2], atol=1e-9)
    for name, gradient in of_grads(grads, 1e-9):
        if name in ("names in grads", "dwg", "dbg", "dws"):
            yield name, gradient


@probe("unit_backward", cases=[("original",), ("bn_after_addition",), ("full",), ("relu_only",)], part="placement")
def at_the_kink(impl, rng, placement):
    """Numbers that are exactly 0 before a ReLU: its derivative is 0 there."""
    p, x, dy = draw_unit(rng, 4, 2, 2, placement), rng.standard_normal((4, 2)), rng.standard_normal((4, 2)) + 1.0
    for k in "12" if placement == "bn_after_addition" else "1":
        p[f"gamma{k}"][0] = p[f"beta{k}"][0] = 0.0
    if placement == "original":
        p["gamma2"][:] = p["beta2"][:] = 0.0
    x[::2] = 0.0
    yield from walk_back(impl.unit_backward(dy, impl.unit_forward(p, x, placement)[1]))


@probe(
    "unit_backward",
    cases=[(4, 3, placement, size) for placement in PLACEMENTS[:2] for size in (1e5, 1e-7)],
    part="placement",
)
def far_gradients(impl, rng, N, D, placement, size):
    p, x = draw_unit(rng, N, D, D, placement), rng.standard_normal((N, D))
    dy = size * (rng.standard_normal((N, D)) + 0.5)
    yield from walk_back(impl.unit_backward(dy, impl.unit_forward(p, x, placement)[1]), atol=1e-9 * size)


@probe("unit_backward", cases=[(4, 2, placement) for placement in PLACEMENTS], part="placement")
def units_walked_back_later(impl, rng, N, D, placement):
    """Two units, and the same numbers in other orders, which may not be there yet."""
    ps = [draw_unit(rng, N, D, D, "full") for _ in range(2)]
    x, dy = rng.standard_normal((2, 2, N, D))
    caches = [impl.unit_forward(p, row, placement)[1] for p, row in zip(ps, x, strict=True)]
    for other in PLACEMENTS:
        if other != placement:
            with contextlib.suppress(Exception):
                impl.unit_backward(dy[0], impl.unit_forward(ps[0], x[0], other)[1])
    for call, k in enumerate((0, 1, 0)):
        shortcut, branch, grads = three("dx_shortcut dx_branch grads", impl.unit_backward(dy[k], caches[k]))
        yield f"dx_shortcut, call {call}", shortcut[:2]
        yield f"dx_branch, call {call}", observe(branch[:2], atol=1e-9)
        yield f"dw1, call {call}", observe(grads["w1"], atol=1e-9)


WIDE = {"original": "gated", "bn_after_addition": "scaled"}


@probe("unit_backward", cases=[(130, 20, 140, how, WIDE.get(how, "identity")) for how in PLACEMENTS], part="placement")
def a_wide_unit(impl, rng, N, D, H, placement, kind):
    p, x = draw_unit(rng, N, D, H, placement), rng.standard_normal((N, D))
    dy = rng.standard_normal((N, D))
    found = impl.unit_backward(dy, impl.unit_forward(p, x, placement, kind)[1])
    shortcut, branch, grads = three("dx_shortcut dx_branch grads", found)
    yield "dx_shortcut of the last examples", shortcut[-2:, ::7]
    yield "dx_branch of the last examples", branch[-2:, ::7]
    yield "dw1", grads["w1"][::29, ::47]
    yield "dw2", grads["w2"][::47, ::29]


@probe("unit_backward", cases=[(5, 3, 4, placement) for placement in PLACEMENTS], part="placement")
def with_own_unit(impl, rng, N, D, H, placement):
    p, (x, dy, along) = draw_unit(rng, N, D, H, placement), rng.standard_normal((3, N, D))
    found = impl.unit_backward(dy, impl.unit_forward(p, x, placement)[1])
    shortcut, branch, _ = three("dx_shortcut dx_branch grads", found)
    yield "dx of the last example", shortcut[-1:] + branch[-1:]
    numeric = slope(lambda v: np.sum(impl.unit_forward(p, v, placement)[0] * dy), x, along)
    yield "slope along x", agree(np.sum((shortcut + branch) * along), numeric)


# Paths and profiles -------------------------------------------------------------------------------------------------


@probe("open_paths")
def two_units(impl, rng):
    masks = [np.array([[True, True, False, True]]), np.array([[True, False, True, True]])]
    yield from named("each through", impl.open_paths(masks))


@probe("open_paths", cases=[(3, 4, 5), (3, 9, 9), (1, 3, 2), (6, 1, 7), (5, 6, 1), (2, 3, 5)])
def paths(impl, rng, L, N, D):
    """Units that differ in how far they are open."""
    open_to = rng.permutation(np.linspace(0.5, 0.95, L))
    masks = [rng.random((N, D)) < share for share in open_to]
    yield from named("each through", impl.open_paths(masks))


@probe("open_paths", cases=[(300, 66, 10)])
def long_paths(impl, rng, L, N, D):
    masks = [rng.random((N, D)) < 0.99 for _ in range(L)]
    each, through = (value for _, value in named("each through", impl.open_paths(masks)))
    yield "each", each[5::31]
    yield "through", through[5::31]


@probe("open_paths", cases=[(4, 3, 6)])
def as_open_elsewhere(impl, rng, L, N, D):
    """Masks that are open as often, at other places."""
    masks = [rng.random((N, D)) < 0.6 for _ in range(L)]
    for turn in range(3):
        turned = [np.roll(mask, turn * k) for k, mask in enumerate(masks)]
        _, through = (value for _, value in named("each through", impl.open_paths(turned)))
        yield f"through, masks rolled by {turn}", through


@probe("open_paths", cases=[(0,), (2,), (4,)])
def one_unit_is_shut(impl, rng, shut):
    masks = [rng.random((3, 4)) < 0.8 for _ in range(5)]
    masks[shut][:] = False
    masks[(shut + 1) % 5][:] = True
    yield from named("each through", impl.open_paths(masks))


@probe("gradient_profile")
def tenths(impl, rng):
    p = silent_unit(2, 2) | {"lam": 0.1, "rho": 1.0}
    caches = [impl.unit_forward(p, np.array([[1.0, -2.0]]), "full", "scaled")[1] for _ in range(3)]
    yield from named("total direct", impl.gradient_profile(np.array([[3.0, 4.0]]), caches))


def stack(impl, rng, L, N, D, H, placement, kind):
    """A network of units with weights that keep gradients moderate."""
    ps, x = [draw_unit(rng, N, D, H, placement) for _ in range(L)], rng.standard_normal((N, D))
    dy = rng.standard_normal((N, D))
    caches = []
    for p in ps:
        x, cache = impl.unit_forward(p, x, placement, kind)
        caches.append(cache)
    return dy, caches


@probe(
    "gradient_profile",
    cases=[
        (4, 6, 3, 5, "full", "identity", 1.0),
        (5, 6, 3, 4, "original", "identity", 1.0),
        (3, 5, 4, 4, "bn_after_addition", "identity", 1e-6),
        (4, 7, 3, 2, "relu_before_addition", "scaled", 1e5),
        (1, 5, 3, 3, "relu_only", "gated", 7.0),
        (3, 6, 4, 3, "full", "exclusive", 1.0),
        (3, 6, 3, 3, "full", "conv", 1.0),
        (2, 8, 4, 3, "full", "dropout", 1e-40),
    ],
)
def profiles(impl, rng, L, N, D, H, placement, kind, size):
    dy, caches = stack(impl, rng, L, N, D, H, placement, kind)
    total, direct = (value for _, value in named("total direct", impl.gradient_profile(size * dy, caches)))
    yield "total", observe(total, atol=1e-8)
    yield "direct", observe(direct, atol=1e-8)


@probe("gradient_profile", cases=[(1e-9, 40), (-1e9, 38), (0.9, 140)])
def factors_beyond_floats(impl, rng, lam, units):
    """The same unit again and again: its factor is met in each."""
    p, (x, dy) = draw_unit(rng, 3, 2, 2, "full"), rng.standard_normal((2, 3, 2))
    p |= {"w2": np.zeros((2, 2)), "lam": lam}
    _, cache = impl.unit_forward(p, x, "full", "scaled")
    total, direct = (value for _, value in named("total direct", impl.gradient_profile(dy, [cache] * units)))
    yield "total", observe(total[:: units // 10], atol=1e-6)
    yield "direct", observe(direct[:: units // 10], atol=1e-6)


@probe("gradient_profile")
def no_unit_at_all(impl, rng):
    yield from named("total direct", impl.gradient_profile(rng.standard_normal((3, 2)), []))


@probe("gradient_profile", cases=[(70, 0.0), (70, 1.0)])
def exploding_layers(impl, rng, units, lam):
    """Gradients beyond any float on the way back, without a shortcut, and with one that stays as it is."""
    p, (x, dy) = draw_unit(rng, 5, 3, 4, "relu_only"), rng.standard_normal((2, 5, 3))
    p |= {"lam": lam, "rho": 1.0, "gamma2": 1e6 * p["gamma2"]}
    _, cache = impl.unit_forward(p, x, "relu_only", "scaled")
    total, direct = (value for _, value in named("total direct", impl.gradient_profile(dy, [cache] * units)))
    yield "total", observe(total[::7], rtol=1e-8)
    yield "direct", observe(direct[::7], atol=1e-8)


@probe("gradient_profile", cases=[(False,), (True,)])
def nothing_comes_back(impl, rng, spoken):
    """A closed original unit in the middle, with or without a branch."""
    p, (x, dy) = draw_unit(rng, 4, 2, 3, "original"), rng.standard_normal((2, 4, 2))
    shut = {**p, "gamma2": np.zeros(2), "beta2": np.full(2, -50.0)}
    wide = {**p, "gamma2": np.ones(2), "beta2": np.full(2, 50.0)}
    if spoken:  # only the shortcut is cut, by a factor of 0
        shut, wide = {**wide, "lam": 0.0}, {**wide, "lam": 0.5}
    caches = [impl.unit_forward(q, x, "original", "scaled" if spoken else "identity")[1] for q in (wide, shut, wide)]
    yield from named("total direct", impl.gradient_profile(dy, caches))


@probe("gradient_profile")
def the_same_gradient_elsewhere(impl, rng):
    """Two networks, into which the same gradient comes."""
    ps, (x, dy) = [draw_unit(rng, 5, 3, 2, "full") for _ in range(2)], rng.standard_normal((2, 5, 3))
    for k, p in enumerate(ps):
        caches = [impl.unit_forward(p, x)[1]] * 2
        total, direct = (value for _, value in named("total direct", impl.gradient_profile(dy, caches)))
        yield f"total of network {k}", observe(total, atol=1e-8)
        yield f"direct of network {k}", observe(direct, atol=1e-8)


@probe("gradient_profile", cases=[("original",), ("full",)])
def profiles_of_zero(impl, rng, placement):
    """No gradient comes in."""
    dy, caches = stack(impl, rng, 2, 4, 3, 2, placement, "identity")
    yield from named("total direct", impl.gradient_profile(0 * dy, caches))
    total, direct = (value for _, value in named("total direct", impl.gradient_profile(dy, caches)))
    yield "total of a gradient", observe(total, atol=1e-8)
    yield "direct of a gradient", observe(direct, atol=1e-8)


# PyTorch ------------------------------------------------------------------------------------------------------------


def worn(module, seed):
    """Give every batch norm running statistics of its own, as after training: one stream for each name."""
    import torch

    for name, part in module.named_modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            part.running_mean.copy_(torch.from_numpy(0.5 * rng.standard_normal(part.num_features)))
            part.running_var.copy_(torch.from_numpy(rng.uniform(0.3, 4.0, size=part.num_features)))
    return module


def largest(layer):
    """The largest first weight in units of 1 / √fan-in; what others draw is as large as they are lucky, so 1.5 is all.

    Rounded, for no two processors draw the same last digits.
    """
    return round(min(layer.weight[0].numel() ** 0.5 * layer.weight.abs().max().item(), 1.5), 2)


def torch_s_own(got, expected):
    """The largest of many first weights is close to the bound that they are drawn within."""
    if abs(float(got) - float(expected)) < 0.02:
        return None
    return (
        f"the largest first weight is {float(got):.2f} / √fan-in{' or more' if got >= 1.5 else ''}; PyTorch's own come "
        "close to 1 / √fan-in, and never exceed it. Layers keep PyTorch's own first weights here: don't draw new ones."
    )


@probe(
    "PreActUnit",
    cases=[
        (2, 3, 3, 2, 5, 1, True),
        (3, 3, 3, 4, 3, 1, False),
        (2, 2, 4, 3, 4, 2, True),
        (2, 2, 5, 3, 4, 1, False),
        (2, 3, 3, 5, 4, 2, True),
        (3, 4, 2, 3, 3, 1, True),
        (2, 1, 2, 7, 4, 3, False),
        (1, 2, 2, 3, 4, 1, True),
        (2, 5, 3, 6, 2, 2, False),
        (4, 3, 3, 1, 1, 2, True),
        (1, 7, 7, 1, 1, 1, False),
    ],
)
def pre_activated(impl, rng, N, C, channels, H, W, stride, training):
    import torch

    x = torch.tensor(2 * rng.standard_normal((N, C, H, W)), requires_grad=True)
    dy = torch.tensor(rng.standard_normal((N, channels, -(-H // stride), -(-W // stride))))
    seed, wear = (int(number) for number in rng.integers(2**32, size=2))
    unit = impl.PreActUnit(C, channels, stride).double()
    yield "parameters", shapes(unit)
    unit = worn(fill(unit, seed), wear).train(training)
    y = unit(x)
    yield "y of the last picture", y[-1:, -2:, :2, :3]
    if y.requires_grad:
        torch.sum(y * dy).backward()
    yield "dx", None if x.grad is None else x.grad[-1:, -2:, :2, :3]
    for name, parameter in sorted(unit.named_parameters()):
        if name in ("bn1.weight", "conv1.weight", "proj.weight"):
            grad = parameter.grad
            yield f"d {name}", observe(grad if grad is None or grad.dim() == 1 else grad[-1:, :1], atol=1e-9)
    yield "running variances", (unit.bn1.running_var, unit.bn2.running_var)


@probe("PreActUnit", cases=[(3, 3, "float32"), (2, 4, "float64")])
def units_of_default_stride(impl, rng, C, channels, dtype):
    import torch

    dtype = getattr(torch, dtype)
    x, seed = torch.tensor(rng.standard_normal((70, C, 2, 3)), dtype=dtype), int(rng.integers(2**32))
    unit = impl.PreActUnit(C, channels).to(dtype)
    yield "parameters", shapes(unit)
    yield "y of the last pictures", fill(unit, seed, scale=4.0)(x)[-3:, :3]


@probe("PreActUnit", cases=[(24, 32, 2), (32, 32, 1)])
def first_weights(impl, rng, C, channels, stride):
    import torch

    x, seed = torch.tensor(rng.standard_normal((2, C, 2, 2)), dtype=torch.float32), int(rng.integers(2**32))
    torch.manual_seed(seed)
    unit = impl.PreActUnit(C, channels, stride)
    for name, layer in (("conv1", unit.conv1), ("conv2", unit.conv2)):
        yield f"first weights of {name}", observe(largest(layer), judge=torch_s_own)
    for name, layer in (("bn1", unit.bn1), ("bn2", unit.bn2)):
        yield f"γ and β of {name}", (layer.weight, layer.bias)
        yield f"ε and momentum of {name}", (layer.eps, layer.momentum)
    yield "shape of y", list(unit(x).shape)


@probe("PreActUnit", cases=[(True,), (False,)])
def a_silent_unit(impl, rng, training):
    import torch

    x, dy = torch.tensor(3 * rng.standard_normal((2, 2, 3, 4, 5)))
    x.requires_grad_()
    seed = int(rng.integers(2**32))
    unit = fill(impl.PreActUnit(3, 3).double(), seed).train(training)
    with torch.no_grad():
        unit.conv2.weight.zero_()
    y = unit(x)
    yield "y", y[:, :, 1:3, ::2]
    torch.sum(y * dy).backward()
    yield "dx", x.grad[:, :, 1:3, ::2]


@probe("PreActResNet", cases=[(1, 4, 1, 10), (2, 3, 2, 5), (3, 2, 3, 4)])
def layers_of_a_network(impl, rng, n, width, colours, classes):
    import torch

    x, seed = torch.tensor(rng.standard_normal((2, colours, 9, 6))), int(rng.integers(2**32))
    net = impl.PreActResNet(n, width, colours, classes).double()
    yield "parameters", shapes(net)
    yield "parameters in all", sum(p.numel() for p in net.parameters())
    yield "units", len(net.units)
    yield "logits", fill(net, seed, scale=0.3).eval()(x)


@probe(
    "PreActResNet",
    cases=[
        (1, 3, 2, 4, 8, 8, True),
        (2, 2, 1, 3, 7, 9, True),
        (2, 3, 3, 5, 8, 6, False),
        (3, 2, 1, 10, 5, 4, False),
        (1, 2, 2, 2, 4, 4, True),
    ],
)
def networks(impl, rng, n, width, colours, classes, H, W, training):
    import torch

    x = torch.tensor(rng.standard_normal((3, colours, H, W)), requires_grad=True)
    dy = torch.tensor(rng.standard_normal((3, classes)))
    seed, wear = (int(number) for number in rng.integers(2**32, size=2))
    net = worn(fill(impl.PreActResNet(n, width, colours, classes).double(), seed, scale=0.3), wear).train(training)
    logits = net(x)
    yield "logits", observe(logits, rtol=1e-7)
    torch.sum(logits * dy).backward()
    yield "d fc.bias", net.fc.bias.grad
    yield "d stem.weight", observe(net.stem.weight.grad[:2, -1], rtol=1e-6)
    yield "running mean of the last batch norm", observe(net.bn.running_mean, rtol=1e-7)


@probe("PreActResNet", cases=[(1,)])
def networks_by_default(impl, rng, n):
    import torch

    x, seed = torch.tensor(rng.standard_normal((1, 3, 6, 7))), int(rng.integers(2**32))
    net = impl.PreActResNet(n).double()
    yield "parameters", shapes(net)
    yield "logits", fill(net, seed, scale=0.1).eval()(x)


@probe("PreActResNet", cases=[(1, 24)])
def first_weights_of_a_network(impl, rng, n, width):
    import torch

    x, seed = torch.tensor(rng.standard_normal((2, 3, 4, 4)), dtype=torch.float32), int(rng.integers(2**32))
    torch.manual_seed(seed)
    net = impl.PreActResNet(n, width)
    for name, layer in (("stem", net.stem), ("the last unit's conv2", net.units[-1].conv2), ("fc", net.fc)):
        yield f"first weights of {name}", observe(largest(layer), judge=torch_s_own)
    yield "γ of the last batch norm", net.bn.weight
    yield "the linear layer's bias is drawn as PyTorch draws it, not zero", bool(net.fc.bias.abs().max() > 0)
    yield "shape of the logits", list(net(x).shape)


@probe("PreActResNet")
def a_silent_network(impl, rng):
    """All branches off, projections that copy: the last batch norm and ReLU alone stand before the mean."""
    import torch

    x, seed = torch.tensor(2 * rng.standard_normal((3, 2, 8, 8))), int(rng.integers(2**32))
    net = fill(impl.PreActResNet(2, 3, 2, 4).double(), seed)
    with torch.no_grad():
        for unit in net.units:
            unit.conv2.weight.zero_()
    yield "logits in training", net(x)
    yield "logits in evaluation", net.eval()(x)


def crossed():
    """Units that run in another order than they are listed in; batch norm, dropout and what is no unit beside them."""
    from torch import nn

    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.units = nn.ModuleList(
                [
                    nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh()),
                    nn.Conv2d(2, 3, 3),
                    nn.Sequential(nn.Flatten(), nn.Linear(12, 7)),
                ]
            )
            self.fc = nn.Linear(7, 4)

        def forward(self, x):
            x = self.units[1](x)
            x = x + self.units[0](self.norm(x))
            return self.fc(torch_relu(self.units[2](x)))

    return Crossed()


def torch_relu(x):
    """A ReLU that leaves its input alone."""
    import torch

    return torch.relu(x)


def listed(found):
    """A tensor of numbers as a list of them."""
    return list(found.unbind()) if hasattr(found, "unbind") and found.dim() else found


@probe("gradient_norms")
def a_quarter(impl, rng):
    import torch

    class Through(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.units = torch.nn.ModuleList([torch.nn.Identity()])

        def forward(self, x):
            return self.units[0](x)

    x = torch.tensor([[0.0, LN3]], dtype=torch.float64, requires_grad=True)
    yield "norms", listed(impl.gradient_norms(Through(), x, torch.tensor([1])))
    yield "x.grad", x.grad


@probe("gradient_norms", cases=[(5, True), (1, False), (8, False), (3, True)])
def norms(impl, rng, N, training):
    import torch

    x, y = torch.tensor(rng.standard_normal((N, 2, 4, 4))), torch.from_numpy(rng.integers(4, size=N))
    seed, wear = (int(number) for number in rng.integers(2**32, size=2))
    net = worn(fill(crossed().double(), seed), wear).train(training)
    yield "norms", listed(impl.gradient_norms(net, x, y))
    yield "running variance", net.norm.running_var


@probe("gradient_norms", cases=[(True,), (False,)])
def left_as_it_was(impl, rng, training):
    import torch

    x, y = torch.tensor(rng.standard_normal((6, 2, 4, 4))), torch.from_numpy(rng.integers(4, size=6))
    seed, wear = (int(number) for number in rng.integers(2**32, size=2))
    net = worn(fill(crossed().double(), seed), wear).train(training)
    net.norm.train(not training)
    modes = [part.training for part in net.modules()]
    heard = []
    net.units[1].register_forward_hook(lambda part, inputs, output: heard.append(len(output)))
    net.fc.weight.grad = torch.ones(4, 7, dtype=torch.float64)
    net.units[1].bias.requires_grad_(False)
    yield "norms", listed(impl.gradient_norms(net, x, y))
    yield "modes are as before", [part.training for part in net.modules()] == modes
    yield "forward hooks that are left", [len(part._forward_hooks) for part in net.modules()]
    yield "backward hooks that are left", [len(part._backward_hooks) for part in net.modules()]
    yield "how often the caller's hook was called, with how many examples", heard
    yield "gradients", {name: parameter.grad for name, parameter in sorted(net.named_parameters())}
    yield "requires_grad", [parameter.requires_grad for parameter in net.parameters()]
    yield "x", (x.requires_grad, x.grad)


@probe("gradient_norms", cases=[(1, 3, True), (2, 2, False)])
def norms_of_a_network(impl, rng, n, width, training):
    import torch

    x, y = torch.tensor(rng.standard_normal((4, 1, 8, 8))), torch.from_numpy(rng.integers(10, size=4))
    seed, wear = (int(number) for number in rng.integers(2**32, size=2))

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = torch.nn.Conv2d(1, width, 3)
            parts = [torch.nn.Sequential(torch.nn.BatchNorm2d(width), torch.nn.ReLU()) for _ in range(3 * n)]
            self.units = torch.nn.ModuleList(parts)
            self.fc = torch.nn.Linear(width, 10)

        def forward(self, x):
            x = self.stem(x)
            for unit in self.units:
                x = x + unit(x)
            return self.fc(x.mean(dim=(2, 3)))

    net = worn(fill(Net().double(), seed), wear).train(training)
    yield "norms", listed(impl.gradient_norms(net, x, y))
    yield "norms for other labels", listed(impl.gradient_norms(net, x, (y + 3) % 10))
    yield "norms of 50 examples", listed(impl.gradient_norms(net, x.repeat(13, 1, 1, 1)[:50], y.repeat(13)[:50]))


@probe("gradient_norms", cases=[(130,)])
def norms_of_many_units(impl, rng, units):
    """More units than anybody would list; the last ones are looked at."""
    import torch

    class Deep(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.units = torch.nn.ModuleList([torch.nn.Linear(3, 3) for _ in range(units)])

        def forward(self, x):
            for unit in self.units:
                x = x + torch.tanh(unit(x)) / 4
            return x

    x, y = torch.tensor(rng.standard_normal((66, 3))), torch.from_numpy(rng.integers(3, size=66))
    net = fill(Deep().double(), int(rng.integers(2**32)))
    found = listed(impl.gradient_norms(net, x, y))
    yield "how many", len(found)
    yield "norms of some units", found[9::43]


@probe("gradient_norms", cases=[(1e3,), (1e-4,)])
def far_norms(impl, rng, size):
    import torch

    x, y = torch.tensor(size * rng.standard_normal((4, 2, 4, 4))), torch.from_numpy(rng.integers(4, size=4))
    seed = int(rng.integers(2**32))
    net = fill(crossed().double(), seed)
    yield "norms", observe(listed(impl.gradient_norms(net, x, y)), rtol=1e-7)
