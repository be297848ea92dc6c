"""Running probes on an implementation and recording what it returned.

:func:`observe` is the one loop over probes and cases. It runs in the process of the code under test: in a notebook's
kernel for `check`, in a child process for a file (:mod:`autograder.engine.inside.child`), and in the trusted process
for the reference. It knows inputs, never answers.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import importlib.util
import inspect
import itertools
import linecache
import os
import sys
import time
import traceback
import types
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autograder.engine.inside.load import Loaded, as_main
from autograder.engine.inside.records import EARLIER, OTHERWISE, Raised, Record
from autograder.engine.inside.shortcuts import Shortcut, ruled_out
from autograder.engine.inside.wire import WireError, encode
from autograder.engine.probes import Case, Observed, Probe, WrongReturn, only

PUBLIC_SEED = 30
MAX_OBSERVATIONS = 1000
MAX_DECOYS = 3  # calls of one function in one case that are preceded or followed by one with other inputs
MAX_DEPTH = 8  # of arguments that are copied
LONG = 0.3  # seconds of calls of which nothing is observed, after which a case has no further ones
Look = Callable[[str, Mapping[str, Any]], None]
GRADER = "grader_"  # what the name of a grader's module begins with


def load_grader(path: Path) -> types.ModuleType:
    """Import a grader file by its path (its name begins with a number)."""
    spec = importlib.util.spec_from_file_location(f"{GRADER}{path.stem}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _HashedRng(np.random.Generator):
    """A NumPy generator that keeps a hash of everything it gave out."""

    def __init__(self, bit_generator: np.random.BitGenerator) -> None:
        super().__init__(bit_generator)
        self.digest = hashlib.sha256()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("_") or name == "spawn" or not callable(value):
            return value

        def draw(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            drawn = np.asarray(result if result is not None else args[0])
            if drawn.dtype.kind in "fc":  # the last digits may differ between machines
                drawn = np.round(drawn, 6) + 0.0
            content = repr(drawn.tolist()).encode() if drawn.dtype.hasobject else drawn.tobytes()
            self.digest.update(f"{name}{drawn.shape}".encode() + content)
            return result

        return draw


class _Implementation:
    """The learner's names, as a probe sees them: calls are described, and changed arguments are noticed.

    So are calls of the methods of a class, as long as its case runs. Calls that the learner's own code makes are not
    looked at.
    """

    def __init__(self, names: Mapping[str, Any], exercise: str, rng: _HashedRng, look: Look) -> None:
        self._names = names
        self._exercise = exercise
        self._rng = rng
        self._look = look
        self._drawn_before = ""  # hash of what had been drawn when the implementation was first called
        self._calls: set[str] = set()  # of the exercise, in words
        self._called: set[str] = set()
        self._decoys: Counter[str] = Counter()
        self._touched: set[str] = set()
        self._remembered = False
        self._asked = False  # whether a call depends on others
        self._spent = 0.0  # seconds of calls of which nothing is observed
        self._needed: Callable[[], Any] | None = None  # the last call of what the exercise needs
        self._inside = False  # code of the learner's is running
        self._watched: dict[type, dict[str, Any]] = {}  # class → its methods as they were

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise NameError(f"name {name!r} is not defined", name=name)
        value = self._names[name]
        if inspect.isclass(value):
            self._called.add(name)
            self._watch(name, value)
            return value
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._drawn_before = self._drawn_before or self._rng.digest.hexdigest()
            self._called.add(name)
            return self._call(name, name, value, args, kwargs)

        return call

    def _close(self) -> None:
        """Give classes their methods back."""
        for cls, methods in self._watched.items():
            for name, method in methods.items():
                setattr(cls, name, method)

    def _watch(self, name: str, cls: type) -> None:
        """Look at the calls of a class's own public methods from now on."""
        if cls in self._watched:
            return
        public = {n: m for n, m in vars(cls).items() if n[0] != "_" or n in _DUNDERS}
        own = {n: m for n, m in public.items() if inspect.isfunction(m) or isinstance(m, staticmethod)}
        self._watched[cls] = own
        for method, held in own.items():
            if isinstance(held, staticmethod):  # as those of an autograd.Function
                setattr(cls, method, staticmethod(self._method(name, f"{name}.{method}", held.__func__)))
            else:
                setattr(cls, method, self._method(name, f"{name}.{method}", held))

    def _method(self, owner: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(owner, name, function, args, kwargs)

        return call

    def _call(
        self, owner: str, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a function, or a method of the class `owner`."""
        if self._inside:
            return function(*args, **kwargs)
        self._inside = True
        try:
            arguments = _bind(function, args, kwargs)
            if owner == self._exercise and not name.endswith("__init__"):
                shown = [f"{n}: {summary(v)}" for n, v in arguments.items() if n != "self"]
                self._calls.add(f"{name}({', '.join(shown)})")
            if name.endswith("__init__"):  # what it makes of its object is its own business
                arguments.pop("self", None)
            self._look(owner, arguments)
            before = _states(arguments)
            decoy = self._decoy(owner, name, args, kwargs)
            if owner == self._exercise:  # what it keeps of one call must not become the answer to the next
                other = decoy(function)
                its_state = _checksum(other)
                self._alone(owner, name, function, args, kwargs)
            again = self._again(function, args, kwargs, needed=owner != self._exercise)
            result = function(*args, **kwargs)
            if owner == self._exercise and other is not None:  # nor may the next change what the first returned
                self._touched |= {f"{name}: {EARLIER}"} if _checksum(other) != its_state else set()
                first, its_first = (next(_arrays(value), None) for value in (result, other))
                self._remembered |= _telling(first) and _checksum(first) == _checksum(its_first)
            if again and again(result):
                self._touched.add(f"{name}: {OTHERWISE}")
            after = _states(arguments)
            self._touched |= {f"{name}: {n}" for n, state in before.items() if not _kept(state, after[n])}
            if owner != self._exercise:  # what it keeps aside is not what whoever gets its cache may look at
                decoy(function)
            return result
        finally:
            self._inside = False

    def _again(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, needed: bool
    ) -> Callable[[Any], bool] | None:
        """What tells whether a result depends on other calls: the same call right after what it needs, and after one in
        which the same arrays held other numbers.

        Only for the first call of a case, and where copies of its arguments cost little.
        """
        arrays = list(_arrays([*args, *kwargs.values()]))
        data = all(isinstance(array, np.ndarray) for array in arrays) and not any(map(callable, args))
        if not data or not arrays or sum(array.nbytes for array in arrays) > 2**20 or self._asked or self._spent > LONG:
            return None
        try:
            copied = copy.deepcopy((args, kwargs))
        except Exception:
            return None
        if needed:
            self._needed = functools.partial(function, *copied[0], **copied[1])
            return None
        self._asked = True

        def differs(result: Any) -> bool:
            held = list({id(array): array for array in _arrays(copied)}.values())
            values = [array.copy() for array in held]
            with contextlib.suppress(Exception), _random_kept():
                if self._needed:
                    self._needed()
                for array in held:
                    array[...] = np.flip(array)
                with contextlib.suppress(Exception):
                    function(*copied[0], **copied[1])
                for array, value in zip(held, values, strict=True):
                    array[...] = value
                return not _alike(result, function(*copied[0], **copied[1]))
            return False

        return differs

    def _decoy(
        self, owner: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[[Callable[..., Any]], Any]:
        """A call of the same function with the same arrays in another order, of which nothing is observed.

        Only where all arguments are data or modules, and for the first few calls as long as they are quick: a probe may
        measure a function a hundred times. Of methods, only what a module computes: others are there to change their
        object.
        """
        self._decoys[name] += 1
        if self._spent > LONG or self._decoys[name] > MAX_DECOYS or name not in (owner, f"{owner}.forward"):
            return lambda function: None
        modules: list[Any] = []
        try:
            other = _other(args, modules), _other(kwargs, modules)
        except _NoData:
            return lambda function: None
        if _checksum(other) == _checksum((args, kwargs)):
            return lambda function: None
        return lambda function: self._unseen(function, *other, modules)

    def _unseen(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], modules: Sequence[Any]
    ) -> Any:
        """A call of which nothing is observed, and after which modules and random numbers are as if it had not been."""
        since, result = time.monotonic(), None
        with contextlib.suppress(Exception), _random_kept(), _modules_kept(modules):
            result = function(*args, **kwargs)
        self._spent += time.monotonic() - since
        return result

    def _alone(
        self, owner: str, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Calls in which one argument alone is another: what is remembered by the rest would be wrong.

        Only before the first call of a case, and where all arguments are data or modules, of which other parameters are
        tried with the very same arguments.
        """
        if self._decoys[name] > 1 or name not in (owner, f"{owner}.forward"):
            return
        done = {_checksum((args, kwargs))}
        with contextlib.suppress(_NoData):
            done.add(_checksum((_other(args, []), _other(kwargs, []))))
        for place, value in [*enumerate(args), *kwargs.items()]:
            modules: list[Any] = []
            with contextlib.suppress(_NoData):
                others = tuple(_other(v, modules, changed=place == i) for i, v in enumerate(args))
                by_name = {n: _other(v, modules, changed=place == n) for n, v in kwargs.items()}
                if self._spent > LONG:
                    return
                if any(value is module for module in modules):
                    self._unseen(_with_other_parameters(function, value), args, kwargs, modules)
                elif _checksum((others, by_name)) not in done:
                    self._unseen(function, others, by_name, modules)


_DUNDERS = ("__init__", "__call__")


def _is_tensor(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach")


def _arrays(value: Any, depth: int = 0) -> Iterator[Any]:
    """The arrays and tensors that a value holds."""
    if isinstance(value, np.ndarray) or _is_tensor(value):
        yield value
    elif isinstance(value, dict | list | tuple) and depth < MAX_DEPTH:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _arrays(item, depth + 1)


def _alike(one: Any, other: Any) -> bool:
    """Whether two results hold the same numbers, up to what rounding may do in memory that lies elsewhere."""
    pairs = list(itertools.zip_longest(_arrays(one), _arrays(other)))
    if not pairs:
        pairs = [(one, other)] if isinstance(one, int | float) and isinstance(other, int | float) else []
    for mine, its in pairs:
        if np.shape(mine) != np.shape(its) or mine is None:
            return False
        scale = np.max(np.abs(mine), initial=0.0, where=np.isfinite(mine))
        if not np.allclose(mine, its, rtol=1e-6, atol=1e-6 * scale, equal_nan=True):
            return False
    return True


def _telling(array: Any) -> bool:
    """Whether an array holds so many different numbers that two are not equal by chance."""
    if _is_tensor(array):
        return bool(array.numel() < 2**20 and array.detach().unique().numel() > 2)
    floats = isinstance(array, np.ndarray) and array.dtype.kind in "fc"
    return floats and array.size < 2**20 and np.unique(array).size > 2


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _measured(module: Any) -> bool:
    """Whether a probe counts a module's calls: by a hook, or in a class of its own."""
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return any(hooks) or type(module).__module__.startswith(GRADER)


def _kept(before: Any, after: Any) -> bool:
    """Whether a state is still what it was; a module may have more buffers than before."""
    return bool(before == after if not isinstance(before, dict) else before.items() <= after.items())


def _states(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A checksum of each argument; for a module, of each thing that a call of it leaves alone.

    What an object of any other class holds is its own business: `self` above all.
    """
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        if _is_module(value):
            found[f"{name}.parameters()"] = {n: _checksum(p) for n, p in value.named_parameters()}
            found[f"{name}.buffers()"] = {n: _checksum(b) for n, b in value.named_buffers()}
            found[f"{name}.training"] = _checksum([module.training for module in value.modules()])
        else:
            found[name] = _checksum(value)
    return found


@contextlib.contextmanager
def _modules_kept(modules: Sequence[Any]) -> Iterator[None]:
    """Modules are afterwards what they were, but for what is kept on them as plain attributes. No graph is made."""
    if not modules:
        yield
        return
    torch = sys.modules["torch"]
    parts = {id(part): part for module in modules for part in module.modules()}.values()
    tables = [(t, dict(t)) for part in parts for t in (part._parameters, part._buffers, part._modules)]
    tensors = {id(t): t for _, held in tables for t in held.values() if isinstance(t, torch.Tensor)}.values()
    values = [(t, t.detach().clone(), t.grad, None if t.grad is None else t.grad.clone()) for t in tensors]
    modes = [(part, part.training) for part in parts]
    try:
        with torch.no_grad():
            yield
    finally:
        for table, held in tables:
            table.clear()
            table.update(held)
        for part, training in modes:
            part.training = training
        with torch.no_grad():
            for tensor, value, grad, its_value in values:
                if not _same(tensor, value):
                    tensor.copy_(value)
                if grad is not None and not _same(grad, its_value):
                    grad.copy_(its_value)
                tensor.grad = grad


def _same(one: Any, other: Any) -> bool:
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def _with_other_parameters(function: Callable[..., Any], module: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        for parameter in module.parameters():
            parameter.data.mul_(0.5)
        return function(*args, **kwargs)

    return call


class _NoData(Exception):
    """An argument that is more than data: to call with a copy of it could change something."""


def _other(value: Any, modules: list[Any], depth: int = 0, *, changed: bool = True) -> Any:
    """A copy, in which all arrays have their elements in reverse order if it is to be `changed`.

    Raises _NoData for what is no data. A module stays itself, and is added to `modules`.
    """
    if type(value) is float and changed and depth == 0:
        return value / 2
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return (np.flip(value) if changed else value).copy()
    if type(value) is dict and depth < MAX_DEPTH:
        return {key: _other(item, modules, depth + 1, changed=changed) for key, item in value.items()}
    if type(value) in (list, tuple) and depth < MAX_DEPTH:
        return type(value)(_other(item, modules, depth + 1, changed=changed) for item in value)
    torch = sys.modules.get("torch")
    if torch and type(value) is torch.Tensor:
        axes = tuple(range(value.ndim)) if changed else ()
        return value.detach().flip(axes).clone().requires_grad_(value.requires_grad)
    if _is_module(value) and not any(map(_measured, value.modules())):
        modules.append(value)
        return value
    raise _NoData


def _bind(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        return {**{f"argument {i}": a for i, a in enumerate(args, 1)}, **kwargs}


def summary(value: Any, depth: int = 0) -> str:
    """A value in a few words: arrays by shape and dtype, containers by their parts."""
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype}"
    if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "shape"):
        return f"tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, dict) and depth < 2:
        return "{" + ", ".join(f"{k}: {summary(v, depth + 1)}" for k, v in list(value.items())[:6]) + "}"
    if isinstance(value, list | tuple) and depth < 2 and len(value) > 0:
        kinds = {summary(item, depth + 1) for item in value}
        if len(kinds) == 1:
            return f"{type(value).__name__} of {len(value)} × {kinds.pop()}"
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, bool | int | float | str | None):
        text = repr(value)
        return text if len(text) <= 40 else text[:37] + "…"
    return type(value).__name__


def _checksum(value: Any, depth: int = 0) -> int:
    """A checksum of the arrays, numbers and strings that an argument holds."""
    if isinstance(value, float | complex | str | bytes | np.generic):
        return zlib.crc32(repr(value).encode(errors="replace"))
    if isinstance(value, int):
        return hash(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return hash((value.shape, value.flags.writeable, zlib.crc32(np.ascontiguousarray(value).data)))
    if depth < 4 and isinstance(value, dict):
        return hash(tuple(_checksum(item, depth + 1) for item in value.values()))
    if depth < 4 and isinstance(value, list | tuple):
        return hash(tuple(_checksum(item, depth + 1) for item in value))
    if depth < 4 and (isinstance(value, types.SimpleNamespace) or is_dataclass(value)):  # as caches are
        return _checksum(getattr(value, "__dict__", 0), depth + 1)
    if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach"):
        with contextlib.suppress(Exception):
            held = value.detach().float().cpu().contiguous().numpy()
            return hash((held.shape, value.requires_grad, zlib.crc32(held)))
    return 0


@dataclass(frozen=True)
class Seen:
    """What one case of a probe has seen: as data that may cross to another process, and raw, for the trusted side."""

    probe: Probe
    case: Case
    record: Record
    raw: dict[str, Observed]


def observe(
    probes: Iterable[Probe],
    exercises: Iterable[str],
    seed: int,
    loaded: Loaded,
    *,
    forbids: Mapping[str, Sequence[str]] | None = None,
    before: Callable[[Probe, Case], None] = lambda probe, case: None,
    look: Look = lambda name, arguments: None,
) -> Iterator[Seen]:
    """Run the probes of some exercises on the names of a notebook, one case after another.

    Args:
        probes: of the assignment.
        exercises: in this order; their probes are run in the order of `probes`.
        seed: at which their inputs are drawn.
        loaded: the notebook.
        forbids: exercise → patterns of what it may not use, and which raises while it is observed.
        before: called before each case.
        look: called before each call that a probe makes, with the exercise and the arguments by name.
    """
    listed = list(probes)
    for patterns, together in itertools.groupby(exercises, key=lambda name: tuple((forbids or {}).get(name, ()))):
        with ruled_out(patterns, loaded.namespace):
            for name in together:
                for probe in only(listed, [name]):
                    for case in probe.cases:
                        before(probe, case)
                        yield _observe_case(probe, case, seed, loaded, look)


def _observe_case(probe: Probe, case: Case, seed: int, loaded: Loaded, look: Look) -> Seen:
    rng = _HashedRng(np.random.PCG64([seed, case.index]))  # the stream of default_rng
    impl = _Implementation(loaded.namespace, probe.exercise, rng, look)
    raw: dict[str, Observed] = {}
    seen: dict[str, Any] = {}
    raised = None
    try:
        with (
            _silenced(),
            _seeded(seed % 2**32, case.index),
            as_main(loaded.module),
            _modes(probe.exercise, impl._touched),
        ):
            for name, value in probe.run(impl, rng, *copy.deepcopy(case.params)):
                held = value if isinstance(value, Observed) else Observed(value)
                try:
                    seen[name] = encode(held.value)
                except WireError as problem:
                    raise WrongReturn(f"`{name}` can't be compared: {problem}.") from None
                raw[name] = held
                if len(seen) > MAX_OBSERVATIONS:
                    raise WrongReturn("It yields more values than can be compared.")
    except KeyboardInterrupt:
        raise
    except BaseException as problem:
        raised = _describe(problem, loaded, _file_of(loaded.namespace.get(probe.exercise)))
    finally:
        impl._close()
    drawn = rng.digest.hexdigest()
    record = Record(
        exercise=probe.exercise,
        probe=probe.name,
        case=case.index,
        seed=seed,
        inputs=drawn[:16],
        seen=seen,
        touched=tuple(sorted(impl._touched)),
        called=tuple(sorted(impl._called)),
        call=impl._calls.pop() if len(impl._calls) == 1 else "",
        remembered=impl._remembered,
        drew_late=impl._drawn_before not in ("", drawn),
        raised=raised,
    )
    return Seen(probe, case, record, raw)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Printing and warnings change no verdict, and would only drown it."""
    with (
        open(os.devnull, "w", encoding="utf-8", errors="replace") as nowhere,
        np.errstate(all="warn"),  # so that it shows who ignores them for good
        warnings.catch_warnings(action="ignore"),
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


@contextlib.contextmanager
def _random_kept() -> Iterator[Any]:
    """The global generators of NumPy and torch are afterwards where they were. Yields torch, if it is there."""
    state = np.random.get_state()
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    try:
        yield torch
    finally:
        np.random.set_state(state)
        if torch:
            torch.set_rng_state(torch_state)


@contextlib.contextmanager
def _seeded(*seed: int) -> Iterator[None]:
    """The global generators of NumPy and torch at a seed, and back to where they were."""
    with _random_kept() as torch:
        np.random.seed(seed)
        if torch:
            torch.default_generator.manual_seed(hash(seed) % 2**31)  # that of the CPU; all others take long to reach
        yield


@contextlib.contextmanager
def _modes(exercise: str, touched: set[str]) -> Iterator[None]:
    """Modes are afterwards what they were; one that was not put back is noted, as a changed argument is."""
    torch = sys.modules.get("torch")

    def modes() -> dict[str, Any]:
        found: dict[str, Any] = {"np.geterr()": np.geterr()}
        if torch:
            found["torch.is_grad_enabled()"] = torch.is_grad_enabled()
            found["torch.get_default_dtype()"] = torch.get_default_dtype()
            found["torch.initial_seed()"] = torch.initial_seed()
            found["torch.is_anomaly_enabled()"] = torch.is_anomaly_enabled()
        return found

    before = modes()
    try:
        yield
    finally:
        touched |= {f"{exercise}: {name}" for name, mode in modes().items() if mode != before[name]}
        np.seterr(**before["np.geterr()"])
        if torch:
            torch.set_grad_enabled(before["torch.is_grad_enabled()"])
            torch.set_default_dtype(before["torch.get_default_dtype()"])
            torch.autograd.set_detect_anomaly(before["torch.is_anomaly_enabled()"])


def _file_of(value: Any) -> str:
    """The name of the cell in which a function or class was defined, as tracebacks have it."""
    parts = [value, *(vars(value).values() if inspect.isclass(value) else ())]
    codes = [getattr(inspect.unwrap(part), "__code__", None) for part in parts if inspect.isfunction(part)]
    return next((code.co_filename for code in codes if code), "")


def _describe(problem: BaseException, loaded: Loaded, own: str = "") -> Raised:
    """An exception as data: its kind, its text, and where in the learner's code.

    That is in the cell `own` of the exercise, if it came by it, and further down: what is given is seldom to blame.
    """
    if isinstance(problem, RuntimeError) and isinstance(problem.__cause__, StopIteration):
        problem = problem.__cause__  # a generator, which a probe is, turns one into the other
    text = ""
    with contextlib.suppress(Exception):
        text = str(problem)[:1000]
    memory = isinstance(problem, MemoryError) or "can't allocate memory" in text or "DefaultCPUAllocator" in text
    found = Raised(type(problem).__name__, text, _sentence(problem, text, loaded), memory)
    frames = [
        (frame, line)
        for frame, line in traceback.walk_tb(problem.__traceback__)
        if frame.f_globals is loaded.namespace and frame.f_code.co_filename != "<string>"  # text that was executed
    ]
    if not frames:
        return replace(found, unusable=not found.sentence and not memory)
    mine = next((f for f in reversed(frames) if f[0].f_code.co_filename == own), frames[-1])
    cell, line, function, source = _place(*mine)
    found = replace(found, file=cell, line=line, function=function, source=source)
    if mine[0].f_code.co_filename == frames[-1][0].f_code.co_filename:
        return found
    cell, line, function, source = _place(*frames[-1])
    where = f"{cell.strip('<>')}, line {line}" if cell else f"line {line} of its cell"
    return replace(found, below=f"{where}, in `{function}`: `{source}`")


def _place(frame: types.FrameType, line: int) -> tuple[str, int, str, str]:
    """Where a frame is: cell, line, function, and the text of the line."""
    file, source = frame.f_code.co_filename, ""
    with contextlib.suppress(Exception):
        source = linecache.getline(file, line).strip()[:200]
    return file if file.startswith("<cell ") else "", line, frame.f_code.co_name, source


def _sentence(problem: BaseException, text: str, loaded: Loaded) -> str:
    """What to tell in place of an exception's own words, if anything."""
    if isinstance(problem, WrongReturn | Shortcut):
        return text
    name = str(getattr(problem, "name", None)) if isinstance(problem, NameError) else ""
    if name in loaded.skipped:
        return (
            f"`{name}` is set by a cell that is not run in grading (cell {loaded.skipped[name]}); move it into "
            "the function, or make it an argument."
        )
    return f"`{name}` is missing because {loaded.spoiled[name]}" if name in loaded.spoiled else ""
