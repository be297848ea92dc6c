"""Where the corpus is handed in, graded by nbgrader's own commands, and looked at afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from corpus import (
    ANY,
    BUT_LAST,
    BYSTANDER,
    FULL,
    FULL_OR_UNGRADED,
    NO_EXTRA,
    NO_SURVIVOR,
    NOTHING,
    SEED_UNTOLD,
    UNCALLED,
    UNCOPIED,
    UNFILLED,
    UNGRADED,
    UNTOLD,
    UNWRITTEN,
    VICTIM_KEPT,
    Attack,
)
from ground import LOOT, VICTIM, Draft, Field, Ground, Target
from nbgrader.api import Gradebook, MissingEntry

from autograder.engine.assignment import with_needs
from autograder.engine.inside.load import load
from autograder.engine.inside.notebook import read_notebook
from autograder.engine.inside.observe import PUBLIC_SEED, load_grader, observe
from autograder.engine.probes import probes_of
from course.base.project import Project
from course.teach.folder import ClassFolder
from course.teach.gradebook import register
from course.teach.seed import SEEDS, seed_at
from course.teach.seed import expected as expected_at_seed

ROOT = Path(__file__).resolve().parents[2]
READ = {UNTOLD, SEED_UNTOLD, UNCOPIED}  # what is looked for in the pages that students get
HONEST = ("aa_honest", "mm_honest", "zz_honest")  # the first, one in the middle, the last but for the victim


def _seeds(secrets: Mapping[str, int]) -> list[int]:
    """What must not be told: a class's secrets, and the seeds that follow from them."""
    return [n for secret in secrets.values() for n in (secret, *(seed_at(secret, k) for k in range(SEEDS)))]


@dataclass(frozen=True)
class Seen:
    """What became of one submission.

    Attributes:
        scores: exercise → score as the gradebook has it, None where it has none.
        needs_human: the gradebook or the log of the run says so.
        told: everything that the student, or who reads the gradebook, is shown.
        verdicts: exercise → the explanation, where the grader gives one.
        happened: the canaries that died.
    """

    scores: dict[str, float | None]
    needs_human: bool
    told: str
    verdicts: dict[str, str] = field(default_factory=dict)
    happened: frozenset[str] = frozenset()

    @property
    def ungraded(self) -> bool:
        """No exercise has a score."""
        return all(score is None for score in self.scores.values())


@dataclass
class Run:
    """One command: how it ended, what it said, and how long it took."""

    code: int | None
    said: str
    seconds: float


@dataclass
class Aftermath:
    """A class after it was graded: student → what was seen, and whether the batch went to its end.

    Attributes:
        seen: student → what became of the submission.
        run: the command, or several one after the other.
        enders: the students with whom a batch ended before its time.
    """

    seen: dict[str, Seen]
    run: Run
    enders: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """The batch went to its end."""
        return not self.enders


@dataclass(frozen=True)
class Grader:
    """A way to grade a class.

    Attributes:
        target: the assignment.
        masters: worked solutions and answer keys.
        prepare: makes the folder of a class.
        autograde: the command that grades what was handed in, in so many seconds.
        feedback: the command that makes the pages of some students.
    """

    target: Target
    masters: tuple[Path, ...]
    prepare: Callable[[Path], None]
    autograde: Callable[[Path, float], Run]
    feedback: Callable[[Path, Collection[str]], None]


# Ours ---------------------------------------------------------------------------------------------------------------


def run(words: list[str], cwd: Path, seconds: float, **environment: str) -> Run:
    """Run a command in a session of its own, and end it and its children when its time is up."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            words, cwd=cwd, env={**os.environ, **environment}, stdout=said, stderr=said, start_new_session=True
        )
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = child.wait(seconds)
        if code is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        said.seek(0)
        return Run(code, said.read().decode(errors="replace"), time.monotonic() - started)


def grade_class(folder: Path, seconds: float) -> Run:
    """The command under test: grade everything that was handed in for the assignment."""
    (folder / "nbgrader_config.py").write_text(f"c = get_config()\nc.GradeSubmission.seconds = {CASE_SECONDS}\n")
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    words = ["-m", "course.cli", "grade", OURS, "--course-dir", str(folder)]
    return run([sys.executable, *words], ROOT, seconds, PYTHONPATH=paths, S30_SECRET=SECRET_WORD)


OURS = "03_lstm_understanding"
CASE_SECONDS = 4  # of one case; importing torch, as some attacks do, takes two or three
SECRET_WORD = "in-the-graders-environment"
WRONG = {
    "sigmoid": "return x",
    "lstm_cell_forward": "return h_prev, c_prev, ()",
    "lstm_forward": "return np.stack([h0] * X.shape[1], axis=1), [()] * X.shape[1]",
    "lstm_cell_backward": "return dh, dh, dc, dh, dh[0]",
    "lstm_backward": "return dHs, dHs[:, 0], dHs[:, 0], dHs[0], dHs[0, 0]",
    "state_gradient_norms": "return np.ones(len(cache))",
}


@cache
def ours() -> Grader:
    """The grader of this course, with assignment 03."""
    project = Project()
    assignment = project.assignment(OURS)
    solution = json.loads(project.solution(OURS).read_text(encoding="utf-8"))
    texts = {c["id"]: "".join(c["source"]) for c in solution["cells"]}
    target = Target(
        slug=OURS,
        stub=json.loads(project.release(OURS).read_text(encoding="utf-8")),
        solutions={e.name: texts[e.name] for e in assignment.exercises},
        wrong=WRONG,
        points={e.name: e.points for e in assignment.exercises},
        needs={e.name: frozenset(with_needs(assignment.exercises, {e.name})) for e in assignment.exercises},
        first="sigmoid",
        last="state_gradient_norms",
        public=_public_inputs,
        torch=tuple(e.name for e in assignment.exercises if e.track == "torch"),
    )
    masters = (project.key(OURS), project.source(OURS), project.solution(OURS))

    kept = tempfile.TemporaryDirectory(prefix="s30-prepared-")  # a class that nobody has handed in to, for all to copy
    register(project, OURS, ClassFolder.of(project, Path(kept.name)))
    expected_at_seed(project, OURS, Path(kept.name), 0)

    def prepare(folder: Path) -> None:
        shutil.copytree(kept.name, folder, dirs_exist_ok=True)

    def feedback(folder: Path, students: Collection[str]) -> None:
        others = sorted(path.name for path in (folder / "autograded").glob("*") if path.name not in students)
        words = ["generate_feedback", OURS, "--course-dir", str(folder)]
        words += [f"--CourseDirectory.student_id_exclude={','.join(others)}"] if others else []
        run([sys.executable, "-m", "nbgrader", *words], ROOT, 900)

    return Grader(target, masters, prepare, grade_class, feedback)


@cache
def _public_inputs() -> frozenset[int]:
    """Checksums of the first argument of the last exercise at the public seed, seen through the worked solution."""
    assignment = Project().assignment(OURS)
    assert assignment.reference is not None
    loaded = load(read_notebook(assignment.reference), [e.name for e in assignment.exercises])
    name, seen = "state_gradient_norms", set()
    right = loaded.namespace[name]

    def spy(*arguments):  # type: ignore[no-untyped-def]
        seen.add(zlib.crc32(arguments[0].tobytes()))
        return right(*arguments)

    loaded.namespace[name] = spy
    for _ in observe(probes_of(load_grader(assignment.grader)), [name], PUBLIC_SEED, loaded):
        pass
    return frozenset(seen)


# The ground ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def ground(grader: Grader) -> Iterator[tuple[Ground, set[str]]]:
    """A folder for a class, a folder outside of it, a listener and a bystander. Yields them, and who called."""
    callers: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="s30-class-") as inside, tempfile.TemporaryDirectory() as outside:
        os.chmod(outside, 0o777)
        stream, datagrams = socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM)
        port = stream.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(f"\0s30-redteam-{port}")
        abstract.listen()
        for listener in (stream, datagrams, abstract):
            threading.Thread(target=_listen, args=(listener, callers), daemon=True).start()
        bystander = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(3600)", "bystander"], start_new_session=True
        )
        try:
            yield (
                Ground(Path(inside), Path(outside), grader.masters, port, bystander.pid, SECRET_WORD),
                callers,
            )
        finally:
            bystander.kill()
            bystander.wait()
            for listener in (stream, datagrams, abstract):
                listener.close()
            _make_writable(Path(inside))


def _listen(listener: socket.socket, callers: set[str]) -> None:
    with contextlib.suppress(OSError):
        while True:
            if listener.type == socket.SOCK_DGRAM:
                callers.add(listener.recv(200).decode())
                continue
            caller, _ = listener.accept()
            with caller, contextlib.suppress(OSError):
                caller.settimeout(2)
                callers.add(caller.recv(200).decode())


def _make_writable(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)


def tagged(around: Ground) -> dict[int, str]:
    """Running processes that the class started: id → command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if f"s30-redteam-{around.port}-" in line:
                    found[int(entry.name)] = line
    return found


# A class ------------------------------------------------------------------------------------------------------------


def grade_corpus(
    grader: Grader, attacks: Collection[Attack], seconds: float = 1500, *, resume: bool = False
) -> Aftermath:
    """Hand in the attacks among honest students, grade the class, and look at what is left.

    Args:
        grader: who grades.
        attacks: what is handed in.
        seconds: after which the command is stopped.
        resume: when a batch ends before its time, set aside what ended it and go on, as a patient human would.
    """
    with ground(grader) as (around, callers):
        drafts = {item.name: item.build(Field(grader.target, around, item.name)) for item in attacks}
        drafts |= {name: Field(grader.target, around, name).solved() for name in (*HONEST, VICTIM)}
        grader.prepare(around.folder)
        for name, draft in drafts.items():
            draft.hand_in(around.folder / "submitted" / name / grader.target.slug)
        victim = around.folder / "submitted" / VICTIM / grader.target.slug / f"{grader.target.slug}.ipynb"
        before = victim.read_bytes()
        ran, enders = _autograde(grader, around.folder, seconds, resume)
        time.sleep(0.5)
        dead = not Path(f"/proc/{around.bystander}").exists() or _is_zombie(around.bystander)
        survivors = tagged(around)
        for pid in survivors:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        grader.feedback(around.folder, {item.name for item in attacks if item.says or READ & {*item.canaries}})
        looked = _Look(around, grader, ran, survivors, callers, dead, victim.read_bytes() != before)
        seen = {name: looked.at(name, draft) for name, draft in drafts.items()}
        for path in _fillings(around):
            shutil.rmtree(path, ignore_errors=True)
    return Aftermath(seen, ran, tuple(enders))


def _autograde(grader: Grader, folder: Path, seconds: float, resume: bool) -> tuple[Run, list[str]]:
    """Grade the class: the command, and who ended a batch."""
    enders: list[str] = []
    ran = Run(0, "", 0.0)
    while True:
        again = grader.autograde(folder, seconds)
        ran = Run(again.code, ran.said + again.said, ran.seconds + again.seconds)
        if (folder / "autograded" / HONEST[-1]).is_dir():
            return ran, enders
        reached = re.findall(r"(?:Sanitizing|Autograding|Copying) .*/(?:submitted|autograded)/([^/]+)/", again.said)
        enders.append(reached[-1] if reached else "nobody")
        if not resume or not reached or len(enders) > 30:
            return ran, enders
        for name in {reached[-1], *_refused(again.said)}:
            aside = folder / "set_aside" / name
            if (folder / "submitted" / name).exists():
                aside.parent.mkdir(exist_ok=True)
                (folder / "submitted" / name).rename(aside)
            shutil.rmtree(folder / "autograded" / name, ignore_errors=True)


def _refused(said: str) -> set[str]:
    """The students whose submissions a run says that it could not grade."""
    listed = re.findall(r"error processing assignment: .*/submitted/([^/]+)/", said)
    return {*listed, *re.findall(r"for student '([^']+)'", said)}


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    return True


def _fillings(around: Ground) -> list[Path]:
    """What an attack on the disk left in temporary folders."""
    return list(Path(tempfile.gettempdir()).glob(f"s30-redteam-{around.port}-*"))


@dataclass(frozen=True)
class _Look:
    """What there is to look at after a class was graded."""

    around: Ground
    grader: Grader
    ran: Run
    survivors: Mapping[int, str]
    callers: Collection[str]
    bystander_died: bool
    victim_changed: bool

    def at(self, name: str, draft: Draft) -> Seen:
        scores, extra, flagged = self._scores(name)
        told = self._told(name)
        seed_file = self.around.folder / "secret_seeds.json"
        seeds = json.loads(seed_file.read_text()) if seed_file.is_file() else {}
        folders = [self.around.folder / kind / name for kind in ("autograded", "feedback")]
        happened = {
            UNWRITTEN: (self.around.outside / name).exists(),
            UNTOLD: LOOT in told,
            SEED_UNTOLD: any(str(seed) in told for seed in _seeds(seeds)),
            NO_SURVIVOR: any(self.around.tag(name) in line for line in self.survivors.values()),
            UNCALLED: name in self.callers,
            BYSTANDER: self.bystander_died,
            VICTIM_KEPT: self.victim_changed,
            NO_EXTRA: extra > 0,
            UNFILLED: bool(_fillings(self.around)),
            UNCOPIED: any(
                path.read_bytes() == self.grader.masters[0].read_bytes() or path.read_bytes().startswith(b"SQLite")
                for folder in folders
                for path in folder.rglob("*.txt")
            ),
        }
        named = name in _refused(self.ran.said)
        died = frozenset(canary for canary, dead in happened.items() if dead)
        return Seen(scores, flagged or named, told, self._verdicts(name), died)

    def _verdicts(self, name: str) -> dict[str, str]:
        slug = self.grader.target.slug
        path = self.around.folder / "autograded" / name / slug / f"{slug}.ipynb"
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else []
        return {
            str(cell["metadata"]["nbgrader"]["grade_id"]).removesuffix("-check"): "".join(
                output["data"].get("text/plain", "")
            )
            for cell in cells
            for output in cell.get("outputs", [])
            if output["output_type"] == "display_data" and cell["metadata"].get("nbgrader", {}).get("grade")
        }

    def _scores(self, name: str) -> tuple[dict[str, float | None], float, bool]:
        slug = self.grader.target.slug
        scores: dict[str, float | None] = dict.fromkeys(self.grader.target.points)
        with Gradebook(f"sqlite:///{self.around.folder / 'gradebook.db'}") as gradebook:
            try:
                grades = gradebook.find_submission_notebook(slug, slug, name).grades
            except MissingEntry:
                return scores, 0.0, False
            mine = {g.name.removesuffix("-check"): g for g in grades if g.name.endswith("-check")}
            # as nbgrader adds them up, but for no score at all
            scores |= {n: None if g.auto_score is None else g.score for n, g in mine.items()}
            extra = sum(g.extra_credit or 0.0 for g in mine.values())
            return scores, extra, any(g.needs_manual_grade for g in mine.values())

    def _told(self, name: str) -> str:
        texts = []
        for folder, pattern in (("autograded", "*.ipynb"), ("feedback", "*.html")):
            for path in sorted((self.around.folder / folder / name).rglob(pattern)):
                texts.append(path.read_text(encoding="utf-8", errors="replace"))
        return "\n".join(texts)


# What is right ------------------------------------------------------------------------------------------------------


def expected(target: Target, draft_solved: Collection[str], outcome: str | tuple[str, ...]) -> dict[str, float]:
    """The right scores of a submission that solves some exercises, for an outcome that says what is lost."""
    if outcome == NOTHING:
        return dict.fromkeys(target.points, 0.0)
    lost = {BUT_LAST: {target.last}, FULL: set(), FULL_OR_UNGRADED: set()}.get(str(outcome), set(outcome))
    return {
        name: points if name in draft_solved and not target.needs[name] & lost else 0.0
        for name, points in target.points.items()
    }


def problems(target: Target, attack: Attack, solved: Collection[str], seen: Seen) -> list[str]:
    """What is not as it should be; nothing if all is right."""
    found = []
    if attack.outcome == ANY:
        pass
    elif attack.outcome == UNGRADED or (attack.outcome == FULL_OR_UNGRADED and seen.ungraded):
        if not seen.ungraded:
            found.append(f"graded: {_sum(seen.scores)} points")
        elif not seen.needs_human:
            found.append("no score, and nobody is told")
    else:
        wanted = expected(target, solved, attack.outcome)
        if seen.ungraded:
            found.append("ungraded")
        elif seen.scores != wanted:
            wrong = ", ".join(f"{n} {seen.scores[n]} for {w:g}" for n, w in wanted.items() if seen.scores[n] != w)
            found.append(f"{_sum(seen.scores)} points for {sum(wanted.values()):g} ({wrong})")
    found += [f"not so: {canary}" for canary in attack.canaries if canary in seen.happened]
    if not found:
        explained = seen.verdicts or not attack.says  # only a grader that explains can be asked for words
        found += [f"the feedback lacks {text!r}" for text in attack.says if explained and text not in seen.told]
    return found


def _sum(scores: Mapping[str, float | None]) -> str:
    return f"{sum(score or 0.0 for score in scores.values()):g}"


def solved_by(grader: Grader, attack: Attack) -> tuple[str, ...]:
    """The exercises that a submission has, right or wrong."""
    nowhere = Ground(Path("/nowhere"), Path("/nowhere"), grader.masters, 9, 0, "nothing")
    return attack.build(Field(grader.target, nowhere, attack.name)).solved
