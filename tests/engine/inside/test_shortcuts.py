"""What is ruled out raises by whatever way it is reached, and only as long as it is ruled out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from autograder.engine.inside.shortcuts import Shortcut, ruled_out

torch = pytest.importorskip("torch")
F = torch.nn.functional
SOFTPLUS = ("torch.nn.functional.softplus", "torch.nn.Softplus")
KEPT = [torch._C._nn.softplus]  # where nobody looks for it
TRACED = torch.jit.trace(F.softplus, torch.ones(5, dtype=torch.float64))


def in_a_thread(x: Any) -> Any:
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(KEPT[0](x))
        except Shortcut as problem:
            found.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(found[0], Shortcut):
        raise found[0]
    return found[0]


def without_overrides(x: Any) -> Any:
    with torch._C.DisableTorchFunction():
        return KEPT[0](x)


def without_any_overrides(x: Any) -> Any:
    with torch._C.DisableTorchFunctionSubclass(), torch.inference_mode():
        return KEPT[0](x.detach())


softplus = F.softplus  # as a learner's own name for it
WAYS: dict[str, Callable[[Any], Any]] = {
    "by name": lambda x: F.softplus(x),
    "by a name of one's own": lambda x: softplus(x),
    "as a module": lambda x: torch.nn.Softplus()(x),
    "by the function below it": lambda x: torch._C._nn.softplus(x),
    "as an operator": lambda x: torch.ops.aten.softplus(x),
    "as an operator's overload": lambda x: torch.ops.aten.softplus.default(x),
    "with a place for the result": lambda x: KEPT[0](x.detach(), out=torch.empty_like(x.detach())),
    "in TorchScript": TRACED,
    "in another thread": in_a_thread,
    "with overrides turned off": without_overrides,
    "in inference": without_any_overrides,
    "vectorised": lambda x: torch.vmap(KEPT[0])(x),
    "with a functional gradient": lambda x: torch.func.grad(lambda y: KEPT[0](y).sum())(x.detach()),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_an_operator_is_ruled_out_by_whatever_way_it_is_reached(way):
    x = torch.linspace(-1, 1, 5, dtype=torch.float64, requires_grad=True)
    right = way(x)
    with ruled_out(SOFTPLUS, {}), pytest.raises((Shortcut, RuntimeError)) as told:
        way(x)
    assert "can't be used here" in str(told.value)
    assert torch.equal(way(x), right)


def test_what_is_not_ruled_out_works_as_ever():
    x = torch.linspace(-1, 1, 6, requires_grad=True)
    target = torch.tensor([0, 1])
    network, state = torch.nn.LSTM(2, 3), [torch.zeros(1, 3), torch.zeros(1, 3)]
    with ruled_out(("torch.nn.LSTM*", "torch.lstm*"), {}):
        F.softplus(x).sum().backward()
        F.cross_entropy(x.reshape(2, 3), target).backward()
        torch.nn.GRU(2, 3)(torch.ones(4, 2))[0].sum().backward()
        with pytest.raises(Shortcut):
            torch.ops.aten.lstm.input(torch.ones(4, 2), state, network._flat_weights, True, 1, 0.0, True, False, False)
    assert x.grad is not None
    assert network(torch.ones(4, 2))[0].requires_grad


def test_an_operator_with_a_name_that_is_not_ruled_out_works():
    x = torch.linspace(-1, 1, 6)
    with ruled_out(("torch.nn.functional.*",), {}):
        assert torch.equal(torch.relu(x), x.clamp(min=0))
        assert torch.equal(torch.tensor([1.0, 2.0]), torch.arange(1.0, 3.0))
        with pytest.raises(Shortcut):
            KEPT[0](x)
