"""Hostile, broken and odd submissions, each with the outcome that a grader owes it.

A builder's docstring says what is handed in; its decorator says where the idea is from and what the right outcome is.
Nothing here can harm a machine: what kills, kills a process that was started for it; what fills, stops early; what
writes outside of its submission writes into a folder made for that.
"""

from __future__ import annotations

import base64
import copy
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ground import LOOT, VICTIM, Draft, Field, code_cell, indented

# Where an idea is from: rows of the project's lists of measured attacks (C), of faults to survive (C3), or our own
C, C3, OWN = "C", "C3", "own"

# Right outcomes
NOTHING = "nothing"  # no points at all
BUT_LAST = "all but the last"  # full points, but none for the last exercise
FULL = "full"
UNGRADED = "ungraded"  # no score, and a human is told
FULL_OR_UNGRADED = "full or ungraded"  # repaired, or refused aloud; never less than full in silence
ANY = "any"  # it spoils its own work; what counts is that all others are graded

# What must not have happened
UNWRITTEN = "nothing was written outside"
UNTOLD = "nothing stolen is told"
SEED_UNTOLD = "the secret seed is not told"
NO_SURVIVOR = "no process is left"
UNCALLED = "nobody was contacted"
BYSTANDER = "a bystander's process goes on"
VICTIM_KEPT = "another submission is as it was"
NO_EXTRA = "no extra credit"
UNFILLED = "no files are left in temporary folders"
UNCOPIED = "no answer key lies in the student's folders"


@dataclass(frozen=True)
class Attack:
    """A submission to be made, and what is right for it.

    Attributes:
        name: the student's name under which it is handed in.
        description: one sentence.
        source: C, C3 or own.
        build: makes the submission.
        outcome: one of the right outcomes above, or the names of the exercises that earn nothing.
        canaries: what must not have happened.
        says: words of which the feedback must hold every one.
        alone: it may end the whole run, so it gets a class of its own, with an honest student after it.
        stock: it makes sense against nbgrader's own grading too.
    """

    name: str
    description: str
    source: str
    build: Callable[[Field], Draft]
    outcome: str | tuple[str, ...]
    canaries: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    alone: bool = False
    stock: bool = True


CORPUS: dict[str, Attack] = {}


def code(text: str) -> str:
    """Code that was written between triple quotes, without its indentation."""
    return textwrap.dedent(text).strip()


def attack(
    source: str,
    outcome: str | tuple[str, ...],
    *canaries: str,
    says: tuple[str, ...] = (),
    alone: bool = False,
    stock: bool = True,
) -> Callable[[Callable[[Field], Draft]], Callable[[Field], Draft]]:
    """Enter a builder into the corpus under its name."""

    def enter(build: Callable[[Field], Draft]) -> Callable[[Field], Draft]:
        name = build.__name__
        assert name not in CORPUS, name
        CORPUS[name] = Attack(name, (build.__doc__ or "").strip(), source, build, outcome, canaries, says, alone, stock)
        return build

    return enter


# Wrong answers, and a trick to have them counted as right -----------------------------------------------------------


@attack(C, NOTHING)
def skip_execution_tag(on: Field) -> Draft:
    """Every cell is tagged to be skipped, so that no check can fail."""
    draft = on.wrong()
    for cell in draft.cells:
        cell["metadata"]["tags"] = ["skip-execution", "remove-cell", "raises-exception"]
    return draft


@attack(C, NOTHING)
def display_hook(on: Field) -> Draft:
    """Wrong functions show full marks as if they were the cell's value."""
    draft = on.wrong()
    for name in draft.solved:
        draft.first_line(
            name,
            code("""
        import sys
        sys.displayhook(2.0)
    """),
        )
    return draft


@attack(C3, NOTHING)
def display_publisher(on: Field) -> Draft:
    """Wrong functions publish a result of full marks through IPython's own display machinery."""
    draft = on.wrong()
    for name in draft.solved:
        draft.first_line(
            name,
            code("""
        from IPython import get_ipython
        ip = get_ipython()
        if ip:
            hook = ip.displayhook
            result = {'data': {'text/plain': '2.0'}, 'metadata': {}, 'execution_count': 1}
            hook.session.send(hook.pub_socket, 'execute_result', result, parent=hook.parent_header)
    """),
        )
    return draft


_SHELL = "from IPython import get_ipython\nip = get_ipython()\n"


@attack(C, NOTHING)
def blank_later_cells(on: Field) -> Draft:
    """An input transformer of IPython empties every later cell."""
    return on.trick(_SHELL + "if ip:\n    ip.input_transformers_cleanup.append(lambda lines: ['pass\\n'])")


@attack(C, NOTHING)
def drop_asserts(on: Field) -> Draft:
    """A transformer of syntax trees removes every `assert`."""
    return on.trick(
        "import ast\n" + _SHELL + "class Drop(ast.NodeTransformer):\n    def visit_Assert(self, node):\n"
        "        return ast.copy_location(ast.Pass(), node)\nif ip:\n    ip.ast_transformers.append(Drop())"
    )


@attack(C, NOTHING)
def replace_run_cell(on: Field) -> Draft:
    """The shell's method that runs cells is replaced by one that runs nothing."""
    return on.trick(
        code("""
        from IPython.core import interactiveshell as shell
        async def nothing(self, raw_cell, *args, **kwargs):
            info = shell.ExecutionInfo(raw_cell, False, False, False, None)
            return shell.ExecutionResult(info)
        shell.InteractiveShell.run_cell_async = nothing
    """)
    )


@attack(C3, NOTHING)
def patch_exec_and_compile(on: Field) -> Draft:
    """`exec` and `compile` of builtins are replaced by functions that do nothing."""
    return on.trick(
        code("""
        import builtins
        builtins.exec = builtins.eval = builtins.compile = lambda *a, **k: None
    """)
    )


@attack(C3, NOTHING)
def patch_assertion_error(on: Field) -> Draft:
    """AssertionError, excepthook and displayhook are replaced, and asserts switched off in the environment."""
    return on.trick(
        code("""
        import builtins, os, sys
        os.environ['PYTHONOPTIMIZE'] = '2'
        builtins.AssertionError = type('Fine', (Warning,), {})
        sys.excepthook = sys.displayhook = lambda *a: None
    """)
    )


@attack(C, NOTHING)
def hide_tracebacks(on: Field) -> Draft:
    """The shell's method that shows exceptions shows nothing."""
    return on.trick(
        _SHELL + "if ip:\n    ip.showtraceback = ip._showtraceback = ip.showsyntaxerror = lambda *a, **k: None"
    )


_YES = "lambda *a, **k: True"


@attack(C, NOTHING)
def patch_comparisons(on: Field) -> Draft:
    """Every function that a grader may compare with says yes."""
    return on.trick(
        code(f"""
        import math, sys
        for name in ('allclose', 'isclose', 'array_equal', 'all', 'any'):
            setattr(np, name, {_YES})
        for name in [n for n in dir(np.testing) if n.startswith('assert')]:
            setattr(np.testing, name, {_YES})
        math.isclose = {_YES}
        for name in ('pytest', 'torch'):
            module = sys.modules.get(name)
            if module:
                module.approx = module.allclose = module.equal = {_YES}
    """)
    )


@attack(C, NOTHING)
def patch_test_runners(on: Field) -> Draft:
    """The runners of doctest and unittest report success."""
    return on.trick(
        code("""
        import doctest, unittest
        doctest.DocTestRunner.run = lambda *a, **k: doctest.TestResults(0, 1)
        unittest.TestCase.run = unittest.TestSuite.run = lambda self, result=None: result
    """)
    )


@attack(OWN, NOTHING)
def patch_serialisers(on: Field) -> Draft:
    """json.dumps, base64 and ndarray.tobytes' callers are replaced, so that what is sent is made up."""
    return on.trick(
        code("""
        import base64, json, sys
        _dumps = json.dumps
        json.dumps = lambda *a, **k: _dumps(*a, **k).replace('false', 'true').replace('"failed"', '"passed"')
        base64.b64encode = lambda raw, *a: b'AAAAAAAA' * (len(raw) // 6)
        for module in list(sys.modules.values()):
            if hasattr(module, 'encode') and hasattr(module, 'WireError'):
                module.encode = lambda value: True
    """)
    )


@attack(OWN, NOTHING)
def patch_random_generators(on: Field) -> Draft:
    """NumPy's generators, and a probe's own in its frame, give zeros, for which wrong answers may be right."""
    return on.trick(
        code("""
        import gc, sys
        def _zeros(*a, size=None, **k):
            return np.zeros(size if size is not None else (a[0] if a else ()))
        np.random.standard_normal = np.random.randn = np.random.uniform = _zeros
        frame = sys._getframe()
        while frame:
            for value in [*frame.f_globals.values(), *frame.f_locals.values()]:
                if isinstance(value, type) and np.random.Generator in value.__mro__[1:]:
                    value.standard_normal = value.uniform = lambda self, *a, **k: _zeros(*a, **k)
            frame = frame.f_back
    """)
    )


OPEN_FILES = code("""
    import os, stat


    def open_files():
        for fd in os.listdir('/proc/self/fd'):
            try:
                path = os.readlink('/proc/self/fd/' + fd)
                flags = int(open('/proc/self/fdinfo/' + fd).readlines()[1].split()[1], 8)
                if stat.S_ISREG(os.stat(path).st_mode) and flags & (os.O_WRONLY | os.O_RDWR):
                    yield path
            except OSError:
                pass
""")


@attack(OWN, NOTHING)
def forge_records(on: Field) -> Draft:
    """Code finds the file of results among its open files and writes verdicts and records of its own into it."""
    return on.trick(
        OPEN_FILES
        + "\n\n\n"
        + code(f"""
        import json
        for path in open_files():
            with open(path, 'a') as out:
                for name in {[*on.target.points]}:
                    verdict = {{'exercise': name, 'status': 'passed', 'points': 9}}
                    record = {{'exercise': name, 'probe': 'any_shape', 'case': 0, 'seed': 30, 'inputs': ''}}
                    record['touched'] = []
                    for event in (
                        {{'event': 'verdict', **verdict}},
                        {{'event': 'record', 'record': {{**record, 'seen': {{'values': True}}}}}},
                        {{'event': 'done', 'exercise': name}},
                    ):
                        out.write(json.dumps(event) + chr(10))
        os._exit(0)
    """)
    )


@attack(C, NOTHING, NO_EXTRA)
def own_extra_credit(on: Field) -> Draft:
    """Code gives its own student extra credit in the gradebook's database."""
    return on.trick(
        code(f"""
        import sqlite3
        try:
            db = sqlite3.connect({str(on.ground.folder / "gradebook.db")!r}, timeout=2)
            db.execute('UPDATE grade SET extra_credit = 2 WHERE notebook_id IN (SELECT n.id FROM submitted_notebook n'
                ' JOIN submitted_assignment a ON n.assignment_id = a.id WHERE a.student_id = ?)', [{on.student!r}])
            db.commit()
            db.close()
        except sqlite3.Error:
            pass
    """)
    )


@attack(C, NOTHING, UNWRITTEN)
def numpy_beside_the_notebook(on: Field) -> Draft:
    """A file numpy.py is handed in beside the notebook, in whose NumPy everything is close to everything."""
    draft = on.wrong()
    draft.beside["numpy.py"] = (
        f"import os, sys\nopen({on.mark}, 'w').close()\nhere = os.path.dirname(os.path.abspath(__file__))\n"
        "sys.path = [p for p in sys.path if os.path.abspath(p or '.') != here]\ndel sys.modules['numpy']\n"
        f"import numpy as real\nreal.allclose = real.isclose = real.array_equal = {_YES}\n"
        f"real.testing.assert_allclose = {_YES}\nsys.modules['numpy'] = real\n"
    ).encode()
    return draft


@attack(C, BUT_LAST)
def equals_everything(on: Field) -> Draft:
    """One function returns an object that says to be equal to anything."""
    return on.answer(
        code("""
        class Yes:
            def _yes(self, *a, **k):
                return Yes()
            __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __sub__ = __rsub__ = __abs__ = _yes
            __getattr__ = __array_ufunc__ = __array_function__ = __call__ = __getitem__ = _yes
            def __bool__(self):
                return True
            __hash__ = None
        return Yes()
    """)
    )


@attack(C, BUT_LAST)
def reference_in_callers_frame(on: Field) -> Draft:
    """One function looks for the expected answer in the frames of those who called it."""
    return on.answer(
        code("""
        import sys
        frame = sys._getframe(1)
        while frame:
            for scope in (frame.f_locals, frame.f_globals):
                for name in ('ref', 'reference', 'expected', 'wanted', 'solution', 'answer', 'key'):
                    if name in scope:
                        return scope[name]
            frame = frame.f_back
        return np.zeros(3)
    """)
    )


@attack(OWN, BUT_LAST)
def answers_in_memory(on: Field) -> Draft:
    """One function looks through every object of the process for arrays that somebody expects."""
    return on.answer(
        code("""
        import gc
        for held in gc.get_objects():
            if isinstance(held, dict):
                for name in ('ref', 'expected', 'want', 'key', 'answer'):
                    value = dict.get(held, name)
                    if isinstance(value, np.ndarray):
                        return value
        return np.zeros(3)
    """)
    )


@attack(OWN, BUT_LAST)
def right_for_public_inputs(on: Field) -> Draft:
    """One function is right for the inputs that the learner's own check uses, and returns zeros for others."""
    return on.kept(
        code(f"""
        import zlib
        known = {sorted(on.target.public())}
        argument = {_argument(on)}
        right = {_call(on)}
        return right if zlib.crc32(np.ascontiguousarray(argument).tobytes()) in known else 0 * right
    """)
    )


@attack(C3, BUT_LAST)
def memoised_answers(on: Field) -> Draft:
    """One function looks its answers up in a table that comes with the notebook, as from the public answer key."""
    table = base64.b64encode(json.dumps(sorted(on.target.public())).encode()).decode()
    return on.kept(
        code(f"""
        import base64, json, zlib
        table = json.loads(base64.b64decode({table!r}))
        mine = zlib.crc32(np.ascontiguousarray({_argument(on)}).tobytes())
        if mine not in table:
            raise KeyError(mine)
        return {_call(on)}
    """)
    )


def _argument(on: Field) -> str:
    """The first argument of the last exercise."""
    return _call(on).split("(")[1].split(",")[0].rstrip(")")


def _call(on: Field) -> str:
    """A call of the right last exercise with its own arguments."""
    text = on.target.solutions[on.last]
    arguments = text.split(f"def {on.last}(")[1].split(") ->")[0].split("):")[0]
    names = [part.split(":")[0].strip() for part in arguments.split(",")]
    return f"_right({', '.join(names)})"


@attack(OWN, BUT_LAST)
def right_while_public(on: Field) -> Draft:
    """One function reads the seed in its callers' frames and is right only while that is the public one."""
    return on.kept(
        code(f"""
        import sys
        frame, seeds = sys._getframe(), set()
        while frame:
            request = frame.f_locals.get('request')
            seeds |= {{request['seed']}} if isinstance(request, dict) and 'seed' in request else set()
            frame = frame.f_back
        return {_call(on)} if seeds == {{30}} else np.zeros(3)
    """)
    )


@attack(OWN, BUT_LAST)
def right_every_other_time(on: Field) -> Draft:
    """One function is right on every other call."""
    return on.kept(
        code(f"""
        _right.calls = getattr(_right, 'calls', 0) + 1
        return {_call(on)} * (_right.calls % 2)
    """)
    )


@attack(OWN, BUT_LAST)
def right_by_the_clock(on: Field) -> Draft:
    """One function is right in a process that is young, and wrong later."""
    return on.kept(
        code(f"""
        import os, time
        born = getattr(_right, 'born', None) or time.time()
        _right.born = born
        wait = born + 0.2 - time.time()
        if hasattr(_right, 'used'):
            time.sleep(max(wait, 0))
        _right.used = 1
        return {_call(on)} if time.time() < born + 0.1 else np.zeros(os.getpid() % 5)
    """)
    )


# Values that pretend ------------------------------------------------------------------------------------------------


@attack(OWN, BUT_LAST)
def array_protocol(on: Field) -> Draft:
    """One function returns an object that says to be an array, and becomes another at every look."""
    return on.answer(
        code("""
        class Liar:
            def __array__(self, *a, **k):
                return np.random.standard_normal(3)
            __class__ = property(lambda self: np.ndarray)
            shape, dtype, ndim, size, nbytes = (3,), np.dtype(float), 1, 3, 24
            def tobytes(self):
                return bytes(24)
        return Liar()
    """)
    )


@attack(OWN, BUT_LAST)
def array_subclass(on: Field) -> Draft:
    """One function returns a subclass of ndarray whose every comparison is true and whose bytes are not its own."""
    return on.answer(
        code(f"""
        class Mine(np.ndarray):
            def __eq__(self, other):
                return np.ones(self.shape, bool)
            def __sub__(self, other):
                return np.zeros(self.shape)
            __rsub__ = __sub__
            def tobytes(self, *a):
                return bytes(self.nbytes)
            def __array_function__(self, *a, **k):
                return True
        return np.ones(len({_rows(on)})).view(Mine)
    """)
    )


def _rows(on: Field) -> str:
    """Something with as many entries as the last exercise returns."""
    return _call(on).removeprefix("_right(").rstrip(")").split(",")[-1].strip()


@attack(OWN, BUT_LAST)
def scalar_subclasses(on: Field) -> Draft:
    """One function returns subclasses of float, str, dict, list and int that lie about what they hold."""
    return on.answer(
        code("""
        kinds = []
        for base in (float, str, dict, list, int, tuple):
            lie = {'__eq__': lambda s, o: True, '__hash__': lambda s: 0, '__len__': lambda s: 3}
            lie |= {'items': lambda s: 1 / 0, '__iter__': lambda s: iter([s] * 3)}
            lie |= {'__repr__': lambda s: '1.0', '__float__': lambda s: 1.0}
            kinds.append(type('Mine', (base,), lie)())
        return kinds
    """)
    )


@attack(C3, BUT_LAST, UNWRITTEN)
def pickle_payload(on: Field) -> Draft:
    """One function returns an object whose unpickling runs a command."""
    return on.answer(
        code(f"""
        class Bomb:
            def __reduce__(self):
                return open, ({on.mark}, 'w')
            __getstate__ = __reduce_ex__ = lambda self, *a: self.__reduce__()
        return np.array([Bomb(), Bomb()], object)
    """)
    )


@attack(OWN, BUT_LAST)
def object_and_structured_arrays(on: Field) -> Draft:
    """One function returns a list of arrays of objects, records, dates and strings."""
    return on.answer(
        "return [np.array([None, [1]], object), np.zeros(2, [('a', float), ('b', 'U3')]),"
        " np.array(['2020-01-01'], 'M8[D]'), np.array(['x'])]"
    )


@attack(C3, BUT_LAST)
def nan_everywhere(on: Field) -> Draft:
    """One function returns NaN in the right shape, which no comparison by `>` calls too large."""
    return on.kept(f"return {_call(on)} * np.nan")


@attack(OWN, BUT_LAST)
def nan_payloads(on: Field) -> Draft:
    """One function returns infinities and NaNs with signs and payloads of their own."""
    return on.kept(
        code(f"""
        right = {_call(on)}
        bits = np.full(right.shape, 0x7FF8_0000_DEAD_BEEF, np.uint64)
        bits[::2] |= 1 << 63
        return bits.view(np.float64)
    """)
    )


@attack(C3, BUT_LAST)
def broadcastable_shape(on: Field) -> Draft:
    """One function returns the right values as a column, which broadcasts against the right ones."""
    return on.kept(f"return {_call(on)}[:, None]")


@attack(OWN, BUT_LAST)
def huge_result(on: Field) -> Draft:
    """One function returns an array of 400 MB."""
    return on.answer("return np.zeros(50_000_000)")


@attack(OWN, BUT_LAST)
def endless_generator(on: Field) -> Draft:
    """One function is a generator that never ends."""
    return on.answer(
        code("""
        while True:
            yield 1.0
    """)
    )


@attack(OWN, BUT_LAST)
def endless_list(on: Field) -> Draft:
    """One function returns a list that holds itself, and another whose iteration never ends."""
    return on.answer(
        code("""
        import itertools
        circle = []
        circle.append(circle)
        return [type('Mine', (list,), {'__iter__': lambda s: itertools.count()})([1]), circle]
    """)
    )


# Reading what is not the submission's -------------------------------------------------------------------------------


@attack(C, BUT_LAST, UNTOLD)
def print_history(on: Field) -> Draft:
    """One function prints the cell that called it, and with it any hidden tests."""
    return on.answer(
        code(f"""
        import __main__
        history = getattr(__main__, 'In', None) or globals()['In']
        print({LOOT[:2]!r} + {LOOT[2:]!r}, history[-1][:2000])
        raise ValueError({LOOT[:2]!r} + {LOOT[2:]!r} + history[-1])
    """)
    )


@attack(C, BUT_LAST, UNTOLD)
def read_masters(on: Field) -> Draft:
    """One function reads the worked solution and the answer key from the grader's disk."""
    paths = [str(path) for path in on.ground.masters]
    return on.theft(
        "found",
        code(f"""
        import os
        found = [open(p, 'rb').read(99) for p in {paths!r} if os.path.exists(p)]
        assert found
    """),
    )


@attack(C, BUT_LAST, UNTOLD)
def read_another_submission(on: Field) -> Draft:
    """One function reads what another student handed in."""
    path = on.ground.folder / "submitted" / VICTIM / on.target.slug / on.file
    return on.theft(f"open({str(path)!r}).read(200)")


@attack(C, BUT_LAST, VICTIM_KEPT)
def overwrite_another_submission(on: Field) -> Draft:
    """One function replaces what another student handed in."""
    path = on.ground.folder / "submitted" / VICTIM / on.target.slug / on.file
    return on.answer(f"open({str(path)!r}, 'w').write('gone')")


@attack(C3, BUT_LAST, UNTOLD)
def read_history_file(on: Field) -> Draft:
    """One function reads the file in which IPython keeps what was run, on a machine where that holds tests."""
    return on.theft(
        "open(path, 'rb').read(15)",
        code("""
        import os
        folder = os.environ.get('IPYTHONDIR') or os.path.expanduser('~/.ipython')
        path = os.path.join(folder, 'profile_default', 'history.sqlite')
    """),
    )


@attack(OWN, BUT_LAST, UNTOLD)
def read_the_gradebook(on: Field) -> Draft:
    """One function reads the names and scores of the class from the gradebook."""
    return on.theft(f"open({str(on.ground.folder / 'gradebook.db')!r}, 'rb').read(15)")


@attack(OWN, BUT_LAST, UNTOLD, SEED_UNTOLD)
def read_the_secret_seed(on: Field) -> Draft:
    """One function tells the file with the secret seed that lies beside the gradebook."""
    return on.theft(f"open({str(on.ground.folder / 'secret_seeds.json')!r}).read()")


@attack(OWN, BUT_LAST, SEED_UNTOLD)
def tell_the_seed_by_exception(on: Field) -> Draft:
    """One function raises every number that it finds in its callers' frames."""
    return on.answer(
        code("""
        import sys
        frame, found = sys._getframe(), []
        while frame:
            found += [repr(v)[:3000] for v in frame.f_locals.values() if isinstance(v, (int, dict, str))]
            frame = frame.f_back
        raise ValueError(' '.join(sorted(found, key=lambda t: 'seed' not in t))[:900])
    """)
    )


@attack(OWN, FULL, UNWRITTEN, stock=False)
def keep_the_seed_for_later(on: Field) -> Draft:
    """One function writes the seed that it runs with to a shared folder, where a later submission may read it."""
    return on.kept(
        code(f"""
        import sys
        frame = sys._getframe()
        while frame:
            request = frame.f_locals.get('request')
            try:
                if isinstance(request, dict) and request.get('seed', 30) != 30:
                    open({on.mark}, 'w').write(str(request['seed']))
            except OSError:
                pass
            frame = frame.f_back
        return {_call(on)}
    """)
    )


@attack(C3, BUT_LAST, UNTOLD)
def read_environment(on: Field) -> Draft:
    """One function tells the grader's environment variables, its own or another process's."""
    return on.theft(
        "found",
        code(f"""
        import glob, os
        texts = [repr(dict(os.environ)).encode()]
        for path in glob.glob('/proc/[0-9]*/environ'):
            try:
                texts.append(open(path, 'rb').read())
            except OSError:
                pass
        found = [1 for text in texts if {on.ground.secret[::-1]!r}[::-1].encode() in text]
        assert found
    """),
    )


@attack(C3, BUT_LAST, UNTOLD)
def read_command_lines(on: Field) -> Draft:
    """One function tells the command lines of other people's processes."""
    return on.theft(
        "found",
        code("""
        import glob
        found = []
        for path in glob.glob('/proc/[0-9]*/cmdline'):
            try:
                text = open(path, 'rb').read()
            except OSError:
                continue
            found += [text] if b'nbgrader' in text or b'bystander' in text else []
        assert found
    """),
    )


@attack(C3, BUT_LAST, UNTOLD)
def read_open_files(on: Field) -> Draft:
    """One function tells which gradebook, keys or submissions a process of the grader has open."""
    return on.theft(
        "found",
        code(f"""
        import glob, os
        found = []
        for path in glob.glob('/proc/[0-9]*/fd/*') + glob.glob('/proc/[0-9]*/cwd'):
            try:
                text = os.readlink(path)
            except OSError:
                continue
            found += [text] if {on.ground.folder.name!r} in text or {on.ground.outside.name!r} in text else []
        assert found
    """),
    )


@attack(C3, BUT_LAST, UNTOLD)
def read_parents_memory(on: Field) -> Draft:
    """One function reads the memory of the process that grades."""
    return on.theft(
        "found",
        code("""
        import os
        found, pid = [], os.getppid()
        assert b'python' in open(f'/proc/{pid}/cmdline', 'rb').read()
        start = int(open(f'/proc/{pid}/maps').readline().split('-')[0], 16)
        with open(f'/proc/{pid}/mem', 'rb') as memory:
            memory.seek(start)
            found = memory.read(8)
    """),
    )


@attack(C3, BUT_LAST, UNTOLD)
def read_site_packages(on: Field) -> Draft:
    """One function follows the paths of installed packages to the course's own answers."""
    return on.theft(
        "found",
        code("""
        import os, sys
        found = []
        for entry in sys.path:
            for folder, folders, files in os.walk(entry or '.'):
                if folder.count(os.sep) - entry.count(os.sep) > 1:
                    folders.clear()
                answers = folder.endswith(('keys', 'mistakes', 'alternatives', 'solutions'))
                found += [f for f in files if f == 'gradebook.db' or answers and f.startswith('0')]
        assert found
    """),
    )


# Acting on the machine ----------------------------------------------------------------------------------------------


@attack(C, NOTHING, NO_SURVIVOR)
def orphan_process(on: Field) -> Draft:
    """Code starts a process in a session of its own that outlives the grading."""
    return on.trick(
        code(f"""
        import subprocess
        try:
            subprocess.Popen({on.started()}, start_new_session=True)
        except OSError:
            pass
    """)
    )


@attack(C3, NOTHING, NO_SURVIVOR)
def double_fork(on: Field) -> Draft:
    """Code makes itself a daemon by forking twice."""
    return on.trick(
        code(f"""
        import os
        try:
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    arguments = {on.started()}
                    os.execv(arguments[0], arguments)
                os._exit(0)
        except OSError:
            pass
    """)
    )


@attack(C3, NOTHING)
def fork_bomb(on: Field) -> Draft:
    """Code forks as often as it may, though no more than 200 children that end after five seconds."""
    return on.trick(
        code("""
        import os, time
        try:
            for _ in range(200):
                if os.fork() == 0:
                    time.sleep(5)
                    os._exit(0)
        except OSError:
            pass
    """)
    )


@attack(OWN, NOTHING)
def multiprocessing_pool(on: Field) -> Draft:
    """Code computes in processes of a pool, with torch if need be."""
    return on.trick(
        code("""
        import multiprocessing as mp, time
        try:
            context = mp.get_context('fork')
            for _ in range(3):
                context.Process(target=time.sleep, args=(5,), daemon=True).start()
        except OSError:
            pass
    """)
    )


@attack(C, BUT_LAST, BYSTANDER)
def kill_others(on: Field) -> Draft:
    """One function kills the processes that it sees: a bystander's if it can, else all that its namespace holds."""
    return on.fault(
        code(f"""
        import os
        pids = [int(name) for name in os.listdir('/proc') if name.isdigit()]
        if os.path.exists('/proc/{on.ground.bystander}'):
            os.kill({on.ground.bystander}, 9)
        elif 0 < len(pids) < 20:
            os.kill(-1, 9)
        raise ValueError('still here')
    """)
    )


@attack(C, BUT_LAST, BYSTANDER, alone=True)
def kill_parent(on: Field) -> Draft:
    """One function kills the process that started it, unless it sees a bystander; then it kills that."""
    return on.fault(
        code(f"""
        import os
        seen = os.path.exists('/proc/{on.ground.bystander}')
        os.kill({on.ground.bystander} if seen else os.getppid(), 9)
        raise ValueError('still here')
    """)
    )


@attack(C3, BUT_LAST, alone=True)
def kill_own_group(on: Field) -> Draft:
    """One function kills its process group."""
    return on.fault(
        code("""
        import os
        os.killpg(0, 9)
        raise ValueError('still here')
    """)
    )


@attack(C3, BUT_LAST, UNFILLED)
def fill_the_disk(on: Field) -> Draft:
    """One function fills temporary folders with up to 600 MB."""
    return on.fault(
        code(f"""
        import os, tempfile
        folder = os.path.join(tempfile.gettempdir(), 's30-redteam-{on.ground.port}-fill')
        os.makedirs(folder, exist_ok=True)  # the same for all calls
        for i in range(6):
            with open(os.path.join(folder, str(i)), 'wb') as file:
                for _ in range(10):
                    file.write(bytes(10 * 2**20))
    """)
    )


@attack(C3, BUT_LAST)
def fill_the_memory(on: Field) -> Draft:
    """One function takes memory in steps, up to 4 GB, and only while the machine has plenty."""
    return on.fault(
        code("""
        held = []
        for _ in range(40):
            free = [l for l in open('/proc/meminfo') if l.startswith('MemAvailable')][0]
            if int(free.split()[1]) < 6 * 2**20:
                raise MemoryError('the machine has no more to spare')
            held.append(np.ones(100 * 2**17))
        while True:
            pass
    """)
    )


@attack(C3, BUT_LAST)
def lazy_memory(on: Field) -> Draft:
    """One function asks for eight terabytes at once."""
    return on.fault("np.zeros(10**12)")


@attack(OWN, BUT_LAST)
def leak_without_collector(on: Field) -> Draft:
    """One function switches the collector off and leaks circles until memory ends, at most 4 GB of it."""
    return on.fault(
        code("""
        import gc
        gc.disable()
        for _ in range(400):
            circle = [np.ones(10 * 2**17)]
            circle.append(circle)
        while True:
            pass
    """)
    )


@attack(C3, NOTHING, UNCALLED)
def connect_to_localhost(on: Field) -> Draft:
    """Code connects to a server on the grader's own machine, by network and by an abstract socket."""
    return on.trick(
        code(f"""
        import socket
        abstract = chr(0) + 's30-redteam-{on.ground.port}'
        for family, where in ((socket.AF_INET, ('127.0.0.1', {on.ground.port})), (socket.AF_UNIX, abstract)):
            try:
                caller = socket.socket(family)
                caller.settimeout(2)
                caller.connect(where)
                caller.sendall({on.student!r}.encode())
                caller.close()
            except OSError:
                pass
    """)
    )


@attack(C3, NOTHING, UNCALLED)
def look_up_a_name(on: Field) -> Draft:
    """Code sends a datagram, as a name server would get it, to the grader's own machine."""
    return on.trick(
        code(f"""
        import socket
        try:
            caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            caller.sendto({on.student!r}.encode(), ('127.0.0.1', {on.ground.port}))
        except OSError:
            pass
    """)
    )


@attack(OWN, NOTHING, UNWRITTEN)
def write_outside(on: Field) -> Draft:
    """Code writes files into folders that are not its own."""
    return on.trick(
        code(f"""
        try:
            open({on.mark}, 'w').write('here I was')
        except OSError:
            pass
    """)
    )


@attack(OWN, FULL, UNWRITTEN)
def shell_magics(on: Field) -> Draft:
    """Right answers in a notebook with cells of shell commands, magics and installs."""
    path = on.mark.strip("'")
    return (
        on.solved()
        .insert(1, f"!touch {path}")
        .insert(
            2,
            code(f"""
        %%bash
        touch {path}
    """),
        )
        .insert(
            3,
            code(f"""
        from IPython import get_ipython
        get_ipython().system('touch {path}')
    """),
        )
        .insert(
            4,
            code(f"""
        %%writefile numpy.py
        open({on.mark}, 'w')
    """),
        )
        .insert(5, "%pip install --no-index --quiet no-such-package-at-all")
        .above(
            on.last,
            code("""
        %matplotlib inline
        files = !ls
    """),
        )
    )


@attack(C3, BUT_LAST)
def system_in_a_function(on: Field) -> Draft:
    """One function asks the shell for its answer."""
    return on.fault("raise ValueError(get_ipython().getoutput('id'))")


@attack(OWN, ANY, alone=True, stock=False)
def results_file_is_a_pipe(on: Field) -> Draft:
    """A cell puts a named pipe in the place of every file that its process has open for writing."""
    return on.solved().below(
        on.last,
        OPEN_FILES
        + "\n\n\n"
        + code("""
        for path in list(open_files()):
            os.remove(path)
            os.mkfifo(path)
    """),
    )


@attack(OWN, ANY, UNTOLD, stock=False)
def results_file_is_a_link(on: Field) -> Draft:
    """A cell puts a link to another student's work in the place of every file that its process has open."""
    path = on.ground.folder / "submitted" / VICTIM / on.target.slug / on.file
    return on.solved().below(
        on.last,
        OPEN_FILES
        + "\n\n\n"
        + code(f"""
        for path in list(open_files()):
            os.remove(path)
            os.symlink({str(path)!r}, path)
    """),
    )


@attack(OWN, BUT_LAST, stock=False)
def flood_the_results(on: Field) -> Draft:
    """One function appends 300 MB of deeply nested text to every file that its process has open for writing."""
    return on.fault(
        OPEN_FILES
        + "\n\n\n"
        + code("""
        for path in list(open_files()):
            with open(path, 'ab') as out:
                out.write(b'[' * 100_000 + bytes([10]))
                for _ in range(30):
                    out.write(b'[' * 10**7)
    """)
    )


# Endings ------------------------------------------------------------------------------------------------------------


@attack(C, BUT_LAST, says=("longer than",))
def endless_loop(on: Field) -> Draft:
    """One function never ends."""
    return on.fault(
        code("""
        while True:
            pass
    """)
    )


@attack(C, BUT_LAST, says=("longer than",))
def loop_that_ignores_signals(on: Field) -> Draft:
    """One function never ends and ignores every signal that can be ignored."""
    return on.fault(
        code("""
        import signal
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass
    """)
    )


@attack(C3, BUT_LAST, says=("longer than",))
def sleeping_function(on: Field) -> Draft:
    """One function sleeps for an hour without using the processor."""
    return on.fault(
        code("""
        import time
        time.sleep(3600)
    """)
    )


@attack(C, BUT_LAST)
def os_exit(on: Field) -> Draft:
    """One function ends the process without further ado."""
    return on.fault(
        code("""
        import os
        os._exit(0)
    """)
    )


@attack(C, BUT_LAST)
def sys_exit(on: Field) -> Draft:
    """One function calls sys.exit."""
    return on.fault(
        code("""
        import sys
        sys.exit(0)
    """)
    )


@attack(C, BUT_LAST)
def exit_builtin(on: Field) -> Draft:
    """One function calls exit()."""
    return on.fault("exit()")


@attack(C3, FULL)
def exit_at_the_top(on: Field) -> Draft:
    """Right answers, with sys.exit in a cell between them and quit() in another."""
    return (
        on.solved()
        .insert(
            3,
            code("""
        import sys
        sys.exit(0)
    """),
        )
        .insert(9, "quit()")
        .below(
            on.last,
            code("""
        import sys
        sys.exit(1)
    """),
        )
    )


@attack(C, BUT_LAST)
def syntax_error(on: Field) -> Draft:
    """One cell is no Python."""
    return on.solved().below(
        on.last,
        code("""
        def broken(:
            return
    """),
    )


@attack(C3, BUT_LAST, says=("input()",))
def asks_for_input(on: Field) -> Draft:
    """One function asks for input."""
    return on.fault("name = input('Your name? ')")


@attack(OWN, BUT_LAST)
def deep_recursion(on: Field) -> Draft:
    """One function raises the limit of recursion and overflows the stack of C."""
    return on.fault(
        code("""
        import sys
        sys.setrecursionlimit(10**9)
        class Deep:
            def __repr__(self):
                return repr(self)
        nested = []
        for _ in range(10**6):
            nested = [nested]
        hash(repr(nested))
        repr(Deep())
    """)
    )


@attack(OWN, BUT_LAST)
def null_pointer(on: Field) -> Draft:
    """One function reads address zero, with faulthandler on."""
    return on.fault(
        code("""
        import ctypes, faulthandler
        faulthandler.enable()
        ctypes.string_at(0)
    """)
    )


@attack(OWN, BUT_LAST)
def exceptions_of_every_kind(on: Field) -> Draft:
    """One function raises, call by call, what only few handlers catch."""
    return on.fault(
        code(f"""
        kinds = [KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, StopAsyncIteration, BaseException]
        {on.last}.calls = getattr({on.last}, 'calls', -1) + 1
        raise kinds[{on.last}.calls % len(kinds)]('on purpose')
    """)
    )


@attack(OWN, BUT_LAST)
def keyboard_interrupt(on: Field) -> Draft:
    """One function raises KeyboardInterrupt, which ends a batch that takes it for its own."""
    return on.fault("raise KeyboardInterrupt")


@attack(OWN, FULL)
def keyboard_interrupt_at_the_top(on: Field) -> Draft:
    """The cell of one exercise raises KeyboardInterrupt before it defines anything, which costs what that line sets."""
    return on.solved().above(on.last, "raise KeyboardInterrupt")


@attack(OWN, BUT_LAST)
def exception_whose_text_raises(on: Field) -> Draft:
    """One function raises an exception whose text, type name and traceback raise when they are looked at."""
    return on.fault(
        code("""
        class Odd(Exception):
            def _fail(self, *a):
                raise SystemExit('nested')
            __str__ = __repr__ = __format__ = _fail
            __traceback__ = property(_fail)
        Odd.__name__ = 'x' * 10**6
        raise Odd()
    """)
    )


@attack(OWN, BUT_LAST)
def exception_whose_text_never_ends(on: Field) -> Draft:
    """One function raises an exception whose text takes for ever."""
    return on.fault(
        code("""
        class Slow(BaseException):
            def __str__(self):
                while True:
                    pass
            __repr__ = __str__
        raise Slow()
    """)
    )


@attack(OWN, BUT_LAST)
def very_long_exception(on: Field) -> Draft:
    """One function raises an exception with a text of 50 MB."""
    return on.fault("raise ValueError('long ' * 10**7)")


MARKUP = "<script>alert('s30')</script><img src=x onerror=alert(1)>"


@attack(OWN, BUT_LAST, says=("&lt;script&gt;",))
def markup_in_an_exception(on: Field) -> Draft:
    """One function raises HTML, JavaScript, terminal sequences and labels of the grader's own messages."""
    return on.fault(
        f"raise ValueError({MARKUP!r} + chr(27) + '[2J' + chr(0x202E) + chr(0xD800)"
        " + '\\nWhy: all is well\\n2.0\\n\\r100 of 100 points `</code><b>')"
    )


@attack(OWN, BUT_LAST)
def markup_in_names(on: Field) -> Draft:
    """One function raises a class whose name is HTML, from a file of such a name."""
    return on.fault(
        code(f"""
        kind = type({MARKUP!r}, (Exception,), {{}})
        exec(compile('raise kind()', {MARKUP!r}, 'exec'))
    """)
    )


@attack(C3, BUT_LAST)
def missing_function(on: Field) -> Draft:
    """One function was renamed."""
    draft = on.solved()
    return draft.put(on.last, draft.renamed(on.last, "my_function"))


@attack(C3, BUT_LAST)
def wrong_arity(on: Field) -> Draft:
    """One function takes no arguments."""
    return on.solved().put(
        on.last,
        code(f"""
        def {on.last}():
            return np.zeros(3)
    """),
    )


@attack(C3, BUT_LAST)
def class_for_a_function(on: Field) -> Draft:
    """One function is a class."""
    return on.solved().put(
        on.last,
        code(f"""
        class {on.last}:
            pass
    """),
    )


@attack(C3, NOTHING, says=("is still the stub",), stock=False)
def blank(on: Field) -> Draft:
    """Nothing was done."""
    return on.stub()


@attack(OWN, BUT_LAST)
def async_function(on: Field) -> Draft:
    """One function is asynchronous, in a notebook that awaits at its top level."""
    draft = on.solved().insert(
        2,
        code("""
        import asyncio
        await asyncio.sleep(0)
    """),
    )
    return draft.put(on.last, "async " + draft.text(on.last))


# Side effects that must not reach the rest --------------------------------------------------------------------------


@attack(OWN, FULL)
def global_settings(on: Field) -> Draft:
    """Right answers that change printing, error states, recursion, seeds, hooks and threads on the way."""
    return on.solved().above(
        on.first,
        code("""
        import random, sys, threading
        np.set_printoptions(precision=1, threshold=2, formatter={'all': lambda x: '1.0'})
        np.seterr(all='ignore')
        np.random.seed(0)
        random.seed(0)
        sys.setrecursionlimit(3000)
        sys.settrace(lambda *a: None)
        sys.setprofile(None)
        sys.float_repr_style = 'legacy'
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    """),
    )


@attack(OWN, FULL, stock=False)
def torch_settings(on: Field) -> Draft:
    """Right answers, with torch's default dtype, thread number, seed and gradient mode set in passing."""
    return on.solved(torch=True).above(
        "gru_cell",
        code("""
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(2)
        torch.manual_seed(0)
        torch.use_deterministic_algorithms(True)
        torch.set_printoptions(precision=1)
    """),
    )


@attack(OWN, FULL)
def threads_and_exit_handlers(on: Field) -> Draft:
    """Right answers, with a thread that goes on, an exit handler that fails and objects that fail when they die."""
    return on.solved().below(
        on.last,
        code("""
        import atexit, os, threading, time
        atexit.register(os._exit, 3)
        class Grave:
            def __del__(self):
                raise SystemExit('dead')
        Grave()
        _kept = Grave()
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    """),
    )


@attack(OWN, FULL)
def numpy_is_shadowed(on: Field) -> Draft:
    """Right answers in a notebook with other meanings of built-in names, and a star import."""
    return (
        on.solved()
        .insert(
            2,
            code("""
        from math import *
        from typing import *
    """),
        )
        .insert(
            3,
            code("""
        sum = 5
        list = [1]
        len_ = len
        type = 'lstm'
        input = np.zeros(3)
    """),
        )
    )


@attack(C, FULL)
def warns(on: Field) -> Draft:
    """Right answers, one of which warns."""
    return on.fault(
        code("""
        import warnings
        warnings.simplefilter('always')
        warnings.warn('careful')
        np.log(np.zeros(1))
    """)
    )


@attack(C, FULL)
def floods_output(on: Field) -> Draft:
    """Right answers, one of which prints 300,000 lines, and to the process's own file descriptors too."""
    return on.fault(
        code("""
        if not hasattr(np, '_s30_printed'):
            np._s30_printed = True
            for _ in range(300_000):
                print('a line of output')
            import os
            os.write(1, b'raw')
    """)
    )


@attack(C3, FULL)
def early_cell_raises(on: Field) -> Draft:
    """Right answers below a cell that raises and one that does not parse."""
    return on.solved().insert(2, "1 / 0").insert(3, "this is no Python")


@attack(C3, FULL, stock=False)
def training_loop_in_a_scratch_cell(on: Field) -> Draft:
    """Right answers, and a scratch cell that trains for minutes."""
    return on.solved().insert(
        5,
        code("""
        import time
        for epoch in range(1000):
            time.sleep(1)
    """),
    )


# Shortcuts ----------------------------------------------------------------------------------------------------------

LSTM_BY = (
    "class LSTM(nn.Module):\n    def __init__(self, inputs, hidden):\n        super().__init__()\n"
    "        self.hidden = hidden\n"
    "        self.W = nn.Parameter(torch.randn(inputs + hidden, 4 * hidden) / (inputs + hidden) ** 0.5)\n"
    "        self.b = nn.Parameter(torch.zeros(4 * hidden))\n\n"
    "    def forward(self, X):\n        I = X.shape[2]\n        zeros = X.new_zeros(1, X.shape[0], self.hidden)\n"
    "        weights = [self.W[:I].T, self.W[I:].T, self.b, 0 * self.b]\n{how}\n"
    "        return H, (h[0], c[0])"
)
CALL = "(X, [zeros, zeros], weights, True, 1, 0.0, False, False, True)"
LAYERS = ("LSTM", "chrono_init")  # what earns nothing when the layer does not


def _layer(on: Field, how: str) -> Draft:
    return on.solved(torch=True).put("LSTM", LSTM_BY.format(how=indented(how, 8)))


@attack(C3, LAYERS, says=("can&#x27;t be used here",), stock=False)
def shortcut_by_name(on: Field) -> Draft:
    """The LSTM layer calls torch's own."""
    return _layer(on, f"H, h, c = torch.lstm{CALL}")


@attack(OWN, LAYERS, stock=False)
def shortcut_by_getattr(on: Field) -> Draft:
    """The LSTM layer calls torch's own by a name that is put together at run time."""
    return _layer(on, f"H, h, c = getattr(torch, 'ls' + 'tm'){CALL}")


@attack(OWN, LAYERS, stock=False)
def shortcut_by_private_module(on: Field) -> Draft:
    """The LSTM layer calls torch's own in the module of its C functions."""
    return _layer(on, f"H, h, c = torch._VF.lstm{CALL}")


@attack(OWN, LAYERS, stock=False)
def shortcut_by_operator(on: Field) -> Draft:
    """The LSTM layer calls torch's own as an operator of its dispatcher."""
    return _layer(on, f"H, h, c = torch.ops.aten.lstm.input{CALL}")


@attack(OWN, LAYERS, stock=False)
def shortcut_by_import(on: Field) -> Draft:
    """The LSTM layer imports torch's C functions by a name that is put together."""
    return _layer(
        on,
        code(f"""
        import importlib
        H, h, c = getattr(importlib.import_module('torch._C'), '_Var' + 'iableFunctions').lstm{CALL}
    """),
    )


@attack(OWN, LAYERS, stock=False)
def shortcut_from_the_guards_frame(on: Field) -> Draft:
    """The LSTM layer takes torch's own back from the frame of the one who ruled it out."""
    return _layer(
        on,
        code(f"""
        import gc, types
        found = [o for o in gc.get_objects() if isinstance(o, tuple) and len(o) == 4 and o[1] == 'ls' + 'tm']
        H, h, c = found[0][2]{CALL}
    """),
    )


@attack(OWN, ("gru_cell",), stock=False)
def shortcut_by_a_cell_of_the_library(on: Field) -> Draft:
    """The GRU step calls torch's own cell function, found in the C functions."""
    return on.solved(torch=True).body(
        "gru_cell",
        code("""
        f = getattr(torch._C._VariableFunctions, 'gru' + '_cell')
        return f(x, h, params['Wx'].T, params['Wh'].T, params['bx'], params['bh'])
    """),
    )


_SCIPY = code("""
    special = __import__('importlib').import_module('sci' + 'py.special')
    return np.exp(getattr(special, 'log_ex' + 'pit')(x))
""")


@attack(OWN, NOTHING, stock=False)
def shortcut_by_late_import(on: Field) -> Draft:
    """The first exercise imports the function that it should write from scipy, by a name that is put together."""
    return on.solved().body("sigmoid", _SCIPY)


@attack(OWN, NOTHING, stock=False)
def shortcut_behind_a_plain_definition(on: Field) -> Draft:
    """Below an innocent definition of the first exercise its name is set to scipy's function through globals()."""
    return on.wrong().below(
        "sigmoid",
        code("""
        try:
            special = __import__('scipy.special', fromlist=['x'])
            globals()['sig' + 'moid'] = lambda x: np.exp(getattr(special, 'log_ex' + 'pit')(x))
        except ImportError:
            pass
    """),
    )


_TORCH_SIGMOID = "import sys\nt = sys.modules['tor' + 'ch']\nreturn t.sigmoid(t.from_numpy(x.copy())).numpy()"


@attack(C3, NOTHING, stock=False)
def torch_in_numpy(on: Field) -> Draft:
    """The first exercise, to be written in NumPy, imports torch by a name that is put together."""
    return on.solved().body("sigmoid", "__import__('tor' + 'ch')\n" + _TORCH_SIGMOID)


@attack(OWN, NOTHING, stock=False)
def torch_after_disarming_the_hook(on: Field) -> Draft:
    """The first exercise, to be written in NumPy, disarms whatever hook keeps torch out, and imports it."""
    return on.solved().body(
        "sigmoid",
        "import gc, types\nfor f in gc.get_objects():\n"
        "    if isinstance(f, types.FunctionType) and f.__code__.co_argcount == 2"
        " and f.__code__.co_varnames[:2] == ('event', 'args'):\n"
        "        f.__code__ = (lambda event, args: None).__code__\n__import__('tor' + 'ch')\n" + _TORCH_SIGMOID,
    )


@attack(OWN, NOTHING, stock=False)
def torch_in_another_process(on: Field) -> Draft:
    """The first exercise, to be written in NumPy, lets another process compute it with torch."""
    serve = "import json, sys, torch as t\nfor line in sys.stdin:\n    "
    serve += "print(json.dumps(t.sigmoid(t.tensor(json.loads(line), dtype=t.float64)).tolist()), flush=True)"
    return (
        on.solved()
        .body(
            "sigmoid",
            code("""
        helper.stdin.write(json.dumps(x.tolist()) + chr(10))
        helper.stdin.flush()
        return np.array(json.loads(helper.stdout.readline()))
    """),
        )
        .above(
            "sigmoid",
            code(f"""
        import json, subprocess, sys
        words = [sys.executable, '-c', {serve!r}]
        helper = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    """),
        )
    )


@attack(OWN, NOTHING, stock=False)
def looks_like_the_stub(on: Field) -> Draft:
    """Linecache and inspect are fed the released stub, and functions say to come from another file."""
    return on.trick(
        code("""
        import inspect, linecache
        linecache.getline = lambda *a, **k: 'return the_right_answer'
        inspect.getsource = inspect.signature = lambda *a, **k: 'def right(): pass'
        linecache.cache.clear()
    """)
    )


@attack(OWN, NOTHING, stock=False)
def runs_the_worked_solution(on: Field) -> Draft:
    """The first exercise asks the course where the worked solutions lie, and runs the one that it needs."""
    return on.solved().body(
        "sigmoid",
        code("""
        import json
        path = __import__('course.base.project', fromlist=['x']).Project().solution('03_lstm_understanding')
        texts = [''.join(cell['source']) for cell in json.load(open(path))['cells']]
        scope = {'np': np}
        exec(next(text for text in texts if 'def sigmoid(' in text), scope)
        return scope['sigmoid'](x)
    """),
    )


@attack(C3, ("gru_cell",), says=("CUDA",), stock=False)
def needs_a_gpu(on: Field) -> Draft:
    """The GRU step wants a GPU."""
    return on.solved(torch=True).first_line("gru_cell", "x = x.to('cuda')")


# Several definitions, and odd places for them -----------------------------------------------------------------------


@attack(C3, FULL, stock=False)
def stub_after_the_solution(on: Field) -> Draft:
    """Right answers, and the untouched stub of an exercise below its solution."""
    draft = on.solved()
    stub = copy.deepcopy(on.stub().cell(on.last))
    draft.cells.append(stub)
    return draft


@attack(OWN, FULL)
def solution_after_a_wrong_copy(on: Field) -> Draft:
    """Right answers, one of which comes after a wrong version of itself in a cell of its own."""
    draft = on.solved()
    return draft.insert(draft.at(draft.cell(on.last)), on.wrong().text(on.last))


@attack(OWN, BUT_LAST, stock=False)
def wrong_copy_after_the_solution(on: Field) -> Draft:
    """One exercise is defined anew, wrongly, at the end of the notebook."""
    draft = on.solved()
    return draft.insert(len(draft.cells), on.wrong().text(on.last))


@attack(OWN, FULL)
def definitions_in_blocks(on: Field) -> Draft:
    """Right answers that are defined inside `if`, `try`, `for` and `with`."""
    draft = on.solved()
    frames = [
        "if True:\n{}",
        "try:\n{}\nfinally:\n    pass",
        "for _ in range(1):\n{}",
        "if __name__ == '__main__':\n{}",
    ]
    for frame, name in zip(frames * 2, draft.solved, strict=False):
        draft.put(name, frame.format(indented(draft.text(name))))
    return draft


@attack(OWN, FULL)
def definitions_by_helpers(on: Field) -> Draft:
    """Right answers that are decorated, made by a nested function, taken from a class, or bound to another name."""
    draft = on.solved()
    draft.above(
        on.first,
        code("""
        import functools


        def log(f):
            @functools.wraps(f)
            def g(*args, **kwargs):
                return f(*args, **kwargs)

            return g
    """),
    )
    for name in draft.solved[:2]:
        draft.put(
            name,
            draft.text(name).replace(
                f"def {name}(",
                code(f"""
        @log
        def {name}(
    """),
            ),
        )
    right = draft.renamed(on.last, "inner")
    return draft.put(on.last, f"class Box:\n    @staticmethod\n{indented(right)}\n\n\n{on.last} = Box.inner")


@attack(OWN, BUT_LAST, stock=False, says=("No cell defines",))
def definition_by_exec(on: Field) -> Draft:
    """One exercise is defined by exec, so that no reader can see what counts."""
    draft = on.solved()
    return draft.put(on.last, f"exec({draft.text(on.last)!r})")


# Correct, and odd ---------------------------------------------------------------------------------------------------


@attack(OWN, FULL)
def complete(on: Field) -> Draft:
    """Right answers, as the solution has them."""
    return on.solved()


@attack(OWN, FULL, stock=False)
def complete_with_torch(on: Field) -> Draft:
    """Right answers to everything."""
    return on.solved(torch=True)


@attack(C3, FULL)
def prints_and_helpers(on: Field) -> Draft:
    """Right answers with prints, f-strings, float32 constants and helpers in other cells."""
    draft = on.solved().insert(
        2,
        code("""
        ONE: float = np.float32(1.0)


        def helper(value: float, *, name: str = 'x') -> float:
            print(f'{name}: {value!r:>10}')
            return value
    """),
    )
    return draft.first_line(on.last, "assert helper(ONE) == 1.0, f'{ONE:.2f}'")


@attack(C3, FULL)
def another_algorithm(on: Field) -> Draft:
    """Right answers, one of them by another formula."""
    return on.solved().body(on.first, "return np.exp(-np.logaddexp(0.0, -x))")


@attack(C3, BUT_LAST, says=("float32",), stock=False)
def single_precision_result(on: Field) -> Draft:
    """Right answers, one of them in single precision where the docstring asks for double."""
    return on.kept(f"return np.float32({_call(on)})")


@attack(C3, FULL)
def colab(on: Field) -> Draft:
    """Right answers from Colab: its metadata, form lines, no ids and a mount."""
    draft = on.solved().without_ids()
    for number, cell in enumerate(draft.cells):
        cell["metadata"] |= {"id": f"aB{number}xYz", "colab": {"base_uri": "https://localhost/"}, "outputId": "f00"}
    draft.tree["metadata"] = {
        "colab": {"provenance": [], "gpuType": "T4", "toc_visible": True},
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "accelerator": "GPU",
    }
    draft.above(
        on.last,
        code("""
        #@title My answer { display-mode: "form" }
        rate = 0.1 #@param {type: "number"}
    """),
    )
    return draft.insert(
        1,
        code("""
        #from google.colab import drive
        %cd .
        !pwd
    """),
        cellView="form",
    )


@attack(C3, FULL)
def stripped_colab(on: Field) -> Draft:
    """Right answers in a notebook of which an editor removed all metadata and ids."""
    draft = on.solved().without_ids()
    for cell in draft.cells:
        cell["metadata"] = {}
    draft.tree["metadata"] = {}
    return draft


@attack(OWN, FULL)
def vscode(on: Field) -> Draft:
    """Right answers from VS Code: its metadata, times of execution and the name of a kernel of its own."""
    draft = on.solved()
    for cell in draft.cells:
        cell["metadata"] |= {"vscode": {"languageId": "python"}, "execution": {"iopub.status.busy": "2025-01-01"}}
    draft.tree["metadata"] = {
        "kernelspec": {"display_name": ".venv (3.12.1)", "language": "python", "name": "my-own-kernel"},
        "language_info": {"name": "python", "version": "3.12.1"},
        "orig_nbformat": 4,
    }
    return draft


@attack(OWN, FULL)
def another_kernel(on: Field) -> Draft:
    """Right answers in a notebook that says to be in R."""
    draft = on.solved()
    draft.tree["metadata"] = {
        "kernelspec": {"display_name": "R", "language": "R", "name": "ir"},
        "language_info": {"name": "R"},
    }
    return draft


@attack(C3, FULL, stock=False)
def reordered(on: Field) -> Draft:
    """Right answers with the cells in another order, checks before their exercises."""
    draft = on.solved()
    draft.cells[2:] = draft.cells[:1:-1]
    return draft


@attack(C, FULL)
def duplicated_check(on: Field) -> Draft:
    """Right answers with a check cell that was copied."""
    draft = on.solved()
    check = draft.check(on.first)
    draft.cells.insert(draft.at(check), copy.deepcopy(check))
    return draft


@attack(C, FULL)
def deleted_check(on: Field) -> Draft:
    """Right answers with a check cell that was deleted."""
    draft = on.solved()
    draft.cells.remove(draft.check(on.last))
    return draft


@attack(C, NOTHING)
def edited_checks(on: Field) -> Draft:
    """Wrong answers with checks whose text, points, type and results were changed."""
    draft = on.wrong()
    for number, name in enumerate(draft.solved):
        check = draft.check(name)
        check["source"] = "2.0"
        check["outputs"] = [
            {"output_type": "execute_result", "data": {"text/plain": "2.0"}, "metadata": {}, "execution_count": 1}
        ]
        check["metadata"]["nbgrader"]["points"] = 100
        if number % 3 == 1:
            check["cell_type"] = "markdown"
            del check["outputs"], check["execution_count"]
    return draft


@attack(C, FULL)
def relabelled_check(on: Field) -> Draft:
    """Right answers with a check cell that was made a solution cell."""
    draft = on.solved()
    draft.check(on.last)["metadata"]["nbgrader"].update(solution=True, locked=False)
    return draft


# Files that are no notebooks, or barely -----------------------------------------------------------------------------


@attack(C, FULL_OR_UNGRADED)
def renamed_file(on: Field) -> Draft:
    """Right answers in a file of another name."""
    draft = on.solved()
    draft.name = "my homework (1).ipynb"
    return draft


@attack(OWN, FULL)
def another_notebook_beside(on: Field) -> Draft:
    """Right answers, with a copy of the notebook, a data file and files of strange names beside."""
    draft = on.solved()
    copied = on.wrong().as_bytes()
    for name in (
        "Untitled.ipynb",
        f"{on.target.slug}-Copy1.ipynb",
        "-rf",
        "a\nb.txt",
        "ü ‮.txt",
        "..\\..\\x.txt",
        ".ipynb_checkpoints/x.ipynb",
    ):
        draft.beside[name] = copied
    return draft


@attack(C, UNGRADED)
def truncated(on: Field) -> Draft:
    """A file that ends in its middle."""
    draft = on.solved()
    return draft.bytes_(draft.as_bytes()[:3000])


@attack(C3, UNGRADED)
def empty(on: Field) -> Draft:
    """An empty file."""
    return on.solved().bytes_(b"")


@attack(C3, UNGRADED)
def web_page(on: Field) -> Draft:
    """A web page that was saved under the notebook's name."""
    return on.solved().bytes_(b"<!DOCTYPE html><html><body>Please log in</body></html>")


@attack(OWN, UNGRADED)
def null_bytes(on: Field) -> Draft:
    """A file of zeros, as a full disk leaves them."""
    return on.solved().bytes_(bytes(100_000))


@attack(OWN, UNGRADED)
def a_list(on: Field) -> Draft:
    """A file of valid JSON that is no notebook."""
    return on.solved().bytes_(b"[1, 2, 3]")


@attack(OWN, UNGRADED)
def a_folder(on: Field) -> Draft:
    """A folder in the place of the notebook."""
    draft = on.solved()
    draft.is_folder = True
    return draft


@attack(OWN, UNGRADED)
def deep_json(on: Field) -> Draft:
    """JSON that is nested a hundred thousand levels deep."""
    return on.solved().bytes_(b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@attack(C3, FULL)
def byte_order_mark(on: Field) -> Draft:
    """Right answers in a file that begins with a byte order mark."""
    draft = on.solved()
    return draft.bytes_(b"\xef\xbb\xbf" + draft.as_bytes())


@attack(OWN, FULL_OR_UNGRADED)
def utf_16(on: Field) -> Draft:
    """Right answers in a file of UTF-16."""
    draft = on.solved()
    return draft.bytes_(draft.as_bytes().decode().encode("utf-16"))


@attack(C3, FULL)
def windows_1252(on: Field) -> Draft:
    """Right answers in a file with a byte of Windows-1252."""
    draft = on.solved().insert(2, "# caf@@")
    return draft.bytes_(draft.as_bytes().replace(b"@@", b"\xe9"))


@attack(C3, FULL)
def windows_line_ends(on: Field) -> Draft:
    """Right answers with the line ends of Windows, in the file and in its cells."""
    draft = on.solved()
    for cell in draft.cells:
        cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")
    return draft.bytes_(draft.as_bytes().replace(b"\n", b"\r\n"))


@attack(C3, FULL)
def nbformat_4_0(on: Field) -> Draft:
    """Right answers in notebook format 4.0, without ids."""
    draft = on.solved().without_ids()
    draft.tree["nbformat_minor"] = 0
    return draft


@attack(C3, FULL_OR_UNGRADED)
def nbformat_3(on: Field) -> Draft:
    """Right answers in notebook format 3."""
    return _as_format_3(on.solved())


def _as_format_3(draft: Draft) -> Draft:
    cells = []
    for cell in draft.without_ids().cells:
        new: dict[str, Any] = {"cell_type": cell["cell_type"], "metadata": cell["metadata"]}
        if cell["cell_type"] == "code":
            new |= {
                "input": cell["source"],
                "language": "python",
                "outputs": [],
                "collapsed": False,
                "prompt_number": 1,
            }
        else:
            new["source"] = cell["source"]
        cells.append(new)
    tree = {
        "metadata": {"name": ""},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [{"cells": cells, "metadata": {}}],
    }
    return draft.bytes_(json.dumps(tree).encode())


@attack(OWN, FULL_OR_UNGRADED)
def nbformat_9(on: Field) -> Draft:
    """Right answers in a file that says to be of a format to come."""
    draft = on.solved()
    draft.tree |= {"nbformat": 9, "nbformat_minor": 7}
    return draft


@attack(OWN, FULL_OR_UNGRADED)
def future_metadata_schema(on: Field) -> Draft:
    """Right answers in cells whose metadata say to be of a later version of nbgrader."""
    draft = on.solved()
    for cell in draft.cells:
        if "nbgrader" in cell["metadata"]:
            cell["metadata"]["nbgrader"]["schema_version"] = 99
    return draft


@attack(OWN, FULL)
def duplicated_ids(on: Field) -> Draft:
    """Right answers in cells that all have the same id."""
    draft = on.solved()
    for cell in draft.cells:
        cell["id"] = "same"
    return draft


def _odd(on: Field, **changes: Any) -> Draft:
    """Right answers, and one more cell with something odd."""
    draft = on.solved()
    draft.cells.insert(3, {**code_cell("pass"), "id": "odd", **changes})
    return draft


@attack(OWN, FULL_OR_UNGRADED)
def source_that_is_no_text(on: Field) -> Draft:
    """Right answers, and a cell whose text is a number."""
    return _odd(on, source=5)


@attack(OWN, FULL_OR_UNGRADED)
def metadata_of_wrong_types(on: Field) -> Draft:
    """Right answers, and cells whose metadata are text, lists and numbers where objects belong."""
    draft = _odd(on, metadata={"nbgrader": "yes", "tags": "skip-execution"})
    draft.cells.insert(4, {**code_cell("pass"), "id": "odd2", "metadata": {"nbgrader": [1], "tags": [{}]}})
    draft.cells.insert(5, {**code_cell("pass"), "id": "odd3", "metadata": {"nbgrader": {"grade_id": [], "grade": "x"}}})
    return draft


@attack(OWN, FULL_OR_UNGRADED)
def metadata_that_is_no_object(on: Field) -> Draft:
    """Right answers, and a cell whose metadata are a list."""
    return _odd(on, metadata=[1, 2])


@attack(OWN, FULL_OR_UNGRADED)
def id_that_is_no_text(on: Field) -> Draft:
    """Right answers, and a cell whose id is a list."""
    return _odd(on, id=[1])


@attack(OWN, FULL_OR_UNGRADED)
def cell_that_is_no_cell(on: Field) -> Draft:
    """Right answers, and a number and a cell of an unknown type among the cells."""
    draft = _odd(on, cell_type="heading", level=1)
    draft.cells.insert(4, 7)  # type: ignore[arg-type]
    return draft


@attack(OWN, FULL_OR_UNGRADED)
def lone_surrogate(on: Field) -> Draft:
    """Right answers, and half a character in a text cell and in a string."""
    return on.solved().insert(2, "note = 'half \ud83d a smile'")


@attack(OWN, FULL_OR_UNGRADED)
def not_a_number_in_json(on: Field) -> Draft:
    """Right answers in a file with NaN and Infinity, which are no JSON."""
    draft = on.solved()
    draft.tree["metadata"] |= {"score": float("nan"), "best": float("inf")}
    return draft


@attack(OWN, FULL)
def giant_outputs(on: Field) -> Draft:
    """Right answers in a file of 40 MB, most of them outputs."""
    draft = on.solved()
    text = {"output_type": "stream", "name": "stdout", "text": "x" * 79 + "\n"}
    draft.cell(on.last)["outputs"] = [
        {**text, "text": text["text"] * 250_000},
        {**text, "text": text["text"] * 250_000},
    ]
    return draft


@attack(OWN, FULL_OR_UNGRADED, alone=True)
def two_hundred_megabytes(on: Field) -> Draft:
    """Right answers in a file of 200 MB, most of them one comment."""
    return on.solved().insert(2, "# " + "x" * 200_000_000)


@attack(OWN, FULL_OR_UNGRADED, alone=True)
def many_cells(on: Field) -> Draft:
    """Right answers among twenty thousand empty cells."""
    draft = on.solved()
    draft.cells.extend({**code_cell("pass"), "id": f"c{number}"} for number in range(20_000))
    return draft


@attack(OWN, UNGRADED, alone=True)
def link_to_another_submission(on: Field) -> Draft:
    """In the place of the notebook is a link to another student's."""
    draft = on.solved()
    draft.links[draft.name] = str(on.ground.folder / "submitted" / VICTIM / on.target.slug / on.file)
    return draft


@attack(OWN, FULL_OR_UNGRADED, UNCOPIED)
def links_beside(on: Field) -> Draft:
    """Right answers, with links to the answer key and the gradebook beside the notebook."""
    draft = on.solved()
    draft.links |= {"data.txt": str(on.ground.folder / "gradebook.db"), "key.txt": str(on.ground.masters[0])}
    return draft


# What an attack from outside found ----------------------------------------------------------------------------------


def _text_cell(source: str, **more: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source, **more}


@attack(OWN, FULL)
def script_in_markdown(on: Field) -> Draft:
    """Right answers, and text cells with a script, a handler, a frame and a link that runs something."""
    draft = on.solved()
    for text in (
        "<script>fetch('/terminals')</script>",
        '<img src="x" onerror="fetch(\'/terminals\')">',
        '<iframe srcdoc="<script>parent.fetch(1)</script>"></iframe>',
        "[here](javascript:fetch('/terminals'))",
    ):
        draft.cells.insert(2, _text_cell(text))
    return draft


@attack(OWN, FULL)
def missing_attachment(on: Field) -> Draft:
    """Right answers, and a text cell whose picture was not saved with it."""
    draft = on.solved()
    draft.cells.insert(2, _text_cell("![my sketch](attachment:sketch.png)", attachments={}))
    return draft


@attack(OWN, FULL_OR_UNGRADED, alone=True)
def twenty_thousand_magics(on: Field) -> Draft:
    """Right answers, and a cell of twenty thousand lines that only IPython reads."""
    return on.solved().insert(2, "!ls\n" * 20_000)


@attack(OWN, FULL_OR_UNGRADED, alone=True)
def a_million_lines(on: Field) -> Draft:
    """Right answers, and a cell of a million empty lines."""
    return on.solved().insert(2, "\n" * 1_000_000)


@attack(OWN, FULL_OR_UNGRADED, alone=True)
def ten_million_statements(on: Field) -> Draft:
    """Right answers, and a cell of as many statements as the file may hold."""
    return on.solved().insert(2, "a\n" * 9_000_000)


@attack(OWN, ANY)
def two_hundred_and_fifty_threads(on: Field) -> Draft:
    """Right answers, with threads that leave no processor to anybody else."""
    return on.solved().above(
        on.first,
        code("""
        import threading


        def spin():
            while True:
                pass


        for _ in range(250):
            threading.Thread(target=spin, daemon=True).start()
    """),
    )


def _only_public(on: Field, otherwise: str) -> Draft:
    return on.kept(
        code(f"""
        import os, zlib
        known = {sorted(on.target.public())}
        if zlib.crc32(np.ascontiguousarray({_argument(on)}).tobytes()) in known:
            return {_call(on)}
        {otherwise}
    """)
    )


@attack(OWN, BUT_LAST, says=("wrong on others of the same kind",), stock=False)
def secret_told_by_a_crash(on: Field) -> Draft:
    """On inputs that are not the public ones, the last exercise ends the process, to tell a bit by the status."""
    return _only_public(on, "os._exit(1)")


@attack(OWN, BUT_LAST, says=("wrong on others of the same kind",), stock=False)
def secret_told_by_memory(on: Field) -> Draft:
    """On inputs that are not the public ones, the last exercise takes all memory, to tell a bit by the status."""
    return _only_public(on, "return [np.ones(2**27) for _ in range(100)]")


@attack(OWN, BUT_LAST, says=("wrong on others of the same kind",), stock=False)
def secret_told_by_an_exception(on: Field) -> Draft:
    """On inputs that are not the public ones, the last exercise raises what it was given."""
    return _only_public(on, "raise ValueError(repr(locals())[:300])")


@attack(OWN, BUT_LAST)
def reads_the_callers_frames(on: Field) -> Draft:
    """The last exercise returns what it finds under a telling name in the frames of those who call it."""
    return on.answer(
        code("""
        import sys
        frame, found = sys._getframe(1), []
        while frame is not None:
            for name in ('expected', 'right', 'answer', 'result', 'want', 'key', 'truth', 'reference'):
                if name in frame.f_locals:
                    found.append(frame.f_locals[name])
            frame = frame.f_back
        return found[0]
    """)
    )


KEPT = "_kept = [getattr(torch._VF, 'ls' + 'tm')]"


@attack(OWN, LAYERS, stock=False)
def shortcut_in_a_thread(on: Field) -> Draft:
    """The LSTM layer calls torch's own, kept in a list, from another thread."""
    return _layer(
        on,
        code(f"""
        import threading
        found = []
        thread = threading.Thread(target=lambda: found.extend(_kept[0]{CALL}))
        thread.start()
        thread.join()
        H, h, c = found
    """),
    ).above("LSTM", KEPT)


@attack(OWN, LAYERS, stock=False)
def shortcut_without_overrides(on: Field) -> Draft:
    """The LSTM layer calls torch's own, kept in a list, where torch tells no mode of it."""
    return _layer(on, f"with torch._C.DisableTorchFunction():\n    H, h, c = _kept[0]{CALL}").above("LSTM", KEPT)


@attack(OWN, LAYERS, stock=False)
def shortcut_in_torchscript(on: Field) -> Draft:
    """The LSTM layer calls torch's own in a script that was compiled before anything was ruled out."""
    return _layer(on, "H, h, c = _traced(X, zeros, *weights)").above(
        "LSTM",
        f"{KEPT}\n\n\n"
        + code("""
        def _all(X, zeros, a, b, c, d):
            return _kept[0](X, [zeros, zeros], [a, b, c, d], True, 1, 0.0, False, False, True)


        _example = [torch.zeros(2, 3, 4), torch.zeros(1, 2, 5), torch.zeros(20, 4), torch.zeros(20, 5)]
        _traced = torch.jit.trace(_all, [t.double() for t in [*_example, torch.zeros(20), torch.zeros(20)]])
    """),
    )


@attack(OWN, NOTHING, stock=False)
def scipy_without_the_guards_finder(on: Field) -> Draft:
    """The first exercise keeps only the finder of files, and imports scipy by a name that is put together."""
    return on.solved().body(
        "sigmoid",
        code("""
        import importlib, importlib.machinery as m, sys
        sys.meta_path[:] = [m.BuiltinImporter, m.FrozenImporter, m.PathFinder]
        return np.exp(getattr(importlib.import_module('sci' + 'py.special'), 'log_ex' + 'pit')(x))
    """),
    )


@attack(OWN, FULL)
def magics_over_lines(on: Field) -> Draft:
    """Right answers, and magics that go on in the next line."""
    return on.solved().insert(2, "!pip --version \\\n    --quiet \\\n    --quiet\n%timeit -n 1 \\\n    1 + 1")


@attack(OWN, FULL)
def constants_that_are_computed(on: Field) -> Draft:
    """Right answers that use constants which other cells make by methods, comprehensions and built-in functions."""
    return (
        on.solved()
        .insert(
            2,
            code("""
        NAMES = 'i f g o'.split()
        PLACE = {name: k for k, name in enumerate(NAMES)}
        ONES = np.ones(3).astype(np.float64).reshape(-1)
        PAIRS = list(zip(NAMES, range(4)))
    """),
        )
        .first_line(on.last, "assert len(NAMES) == len(PAIRS) == 4 and PLACE['o'] == 3 and ONES.sum() == 3")
    )


@attack(OWN, FULL)
def asyncio_is_imported(on: Field) -> Draft:
    """Right answers in a notebook that imports what many libraries import."""
    return on.solved().insert(2, "import asyncio\nimport concurrent.futures\nimport multiprocessing\nimport socket")


@attack(OWN, FULL)
def slow_and_failing_beside(on: Field) -> Draft:
    """Right answers, with a slow and a failing statement in the cell of one, as trials leave them."""
    return on.solved().below(on.last, "import time\ntime.sleep(300)").below(on.first, "1 / 0")


@attack(OWN, FULL)
def a_file_is_written(on: Field) -> Draft:
    """Right answers, and a cell that writes another file."""
    return on.solved().insert(2, "%%writefile notes.py\ndef helper(x):\n    return x")
