"""What learning management systems write into the names of what they hand over: whose it is, and when it came.

The patterns are those of the systems' own writers: Canvas' content_zipper.rb and quiz_submission_zipper.rb, Moodle's
mod/assign/classes/downloader.php, Sakai's AssignmentServiceImpl; Blackboard's and Gradescope's are those of exports.
"""

from __future__ import annotations

import email.utils
import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import yaml
from nbgrader.utils import parse_utc

from course.base.project import SLUG
from course.teach.sources import MAX_NAME

CANVAS, MOODLE, BLACKBOARD, GRADESCOPE, SAKAI, NBGRADER = (
    *("canvas", "moodle", "blackboard"),
    *("gradescope", "sakai", "nbgrader"),
)
METADATA = "submission_metadata.yml"  # Gradescope's, beside the folders of its submissions
TIMESTAMP = "timestamp.txt"  # nbgrader's, and Sakai's in another form
_TABLES = {METADATA, "grades.csv", "grades.xls", "grades.xlsx"}  # systems' own, beside everybody's
_SAKAIS = {TIMESTAMP, "comments.txt", "feedbacktext.html", "members.txt", "rubrics.pdf"}  # own, beside one's files
_FEEDBACK = "feedback attachment(s)"  # Sakai's folder for what a teacher has handed back


@dataclass(frozen=True)
class Name:
    """What the name of a file says.

    Attributes:
        called: whose it is, with the system's number of them; it is the same whenever they hand in.
        system: whose pattern the name has; "" for a folder or a file per student.
        person: their name, login or address, without the number.
        also: what else the system calls them.
        number: the system's number of them.
        late: it says that they were late.
        moment: when they handed in, in UTC; a naive one is in the system's own zone as long as `local`.
        order: grows with time, from one file of a student to the next.
        own: the system has written the file itself.
        text: it holds what was typed in instead of a file.
    """

    called: str
    system: str = ""
    person: str = ""
    also: tuple[str, ...] = ()
    number: str = ""
    late: bool = False
    moment: datetime | None = None
    order: int | None = None
    own: bool = False
    text: bool = False

    @property
    def lookups(self) -> tuple[str, ...]:
        """What to look for in a roster, the surest first; a group may stand before a name of Moodle."""
        after = self.person.partition("-")[2] if self.system == MOODLE else ""
        return tuple(dict.fromkeys(text for text in (self.called, self.person, *self.also, after) if text))


@dataclass(frozen=True)
class _Pattern:
    """How a system names what it hands over.

    Attributes:
        system: whose it is.
        pattern: what all of a folder's or a file's name is like.
        folder: whether only folders, or only files are named so.
    """

    system: str
    pattern: re.Pattern[str]
    folder: bool | None = None


def _pattern(system: str, text: str, *, folder: bool | None = None) -> _Pattern:
    return _Pattern(system, re.compile(text, re.DOTALL), folder)


_ASSIGN = r"(?P<person>.+?)(?:_(?P<number>\d+))?_assignsubmission_(?P<plugin>[a-z]+)"
_FILE = r"_(?:(?P<order>\d+)_.+|(?P<text>text|link)\.html)"
_PATTERNS = (  # of those that fit equally often the first one counts
    _pattern(MOODLE, _ASSIGN + "_?", folder=True),
    _pattern(MOODLE, _ASSIGN + "_.+", folder=False),
    _pattern(BLACKBOARD, r"(?P<person>.+?)_attempt_(?P<moment>\d{4}(?:-\d\d){5})(?:_.+|(?P<own>)\.txt)"),
    _pattern(GRADESCOPE, r"(?P<person>submission_\d+)", folder=True),
    _pattern(SAKAI, r"(?P<person>[^,]*,(?:.*\S)?)\((?P<login>[^()]+)\)", folder=True),
    _pattern(CANVAS, r"(?P<late>LATE_)?(?P<person>anon_[A-Za-z0-9]{5})(?P<late2>_LATE)?" + _FILE),
    _pattern(CANVAS, r"(?P<person>[-\w]*?)(?P<joined>\d+)_question_\d+_(?P<order>\d+)_.+"),
    _pattern(CANVAS, r"(?P<person>.+?)(?P<late>_LATE)?_(?P<number>\d+)" + _FILE),
)
Parts = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """How a source is laid out: how many folders lie round everybody's, and whose pattern names have."""

    depth: int = 0
    pattern: _Pattern | None = None

    @classmethod
    def of(cls, files: Collection[Parts], slug: str, knows: Callable[[str], bool], *, packed: bool) -> Layout:
        """The layout of files that are given by the parts of their paths.

        Args:
            files: the paths.
            slug: the assignment.
            knows: whether a name is one of the class's.
            packed: it is a zip, which often has one folder round everything.
        """
        round_all = _round(files)
        for depth in range(min(round_all, 2) + 1):
            pattern = _usual(files, depth)
            if pattern and pattern.system == SAKAI and depth < round_all and _usual(files, depth + 1) is pattern:
                continue  # this is the assignment's title
            if pattern:
                return cls(depth, pattern)
        inner = [parts[1:] for parts in files if len(parts) > 1]
        if not round_all or any(_is_slug(parts[0]) for parts in inner if len(parts) > 1):
            return cls()
        outer = next(parts[0] for parts in files if len(parts) > 1)
        folders, names = {p[0] for p in inner if len(p) > 1}, [stem(p[0]) for p in inner if len(p) == 1]
        if knows(outer):
            return cls()
        several = packed and sum(is_notebook(p[-1]) for p in inner) > 1
        ones_own = any(name.startswith(slug) for name in names)
        peeled = any(map(knows, {*folders, *names})) or any(_is_slug(p[1]) for p in inner if len(p) > 2)
        return cls(int(peeled or (several and not ones_own)))

    def named(self, path: Parts, slug: str) -> Name | None:
        """What a file's name says; None if it says nothing that the others' say."""
        parts = path[self.depth :]
        if len(path) <= self.depth:
            return None
        if is_own_table(parts):
            return Name("", self.pattern.system if self.pattern else "", own=True)
        if self.pattern is None:
            return _plain(parts, slug)
        match = _match(self.pattern, parts)
        return _told(self.pattern.system, match, parts) if match else None


def is_notebook(name: str) -> bool:
    """Whether a file is called as notebooks are, perhaps with another ending after it."""
    return ".ipynb" in name.casefold()


def is_own_table(parts: Parts) -> bool:
    """Whether a file is one that a system has written for all of its submissions."""
    return len(parts) == 1 and parts[0].casefold() in _TABLES


def stem(name: str) -> str:
    """A file's name without its endings."""
    return re.sub(r"\.ipynb(\.\w+)*$|\.\w{1,5}$", "", name, flags=re.IGNORECASE) or name


def as_id(called: str) -> str:
    """An id that can name a folder, made of what somebody is called."""
    student = re.sub(r"[^\w.@+-]+", "_", called).strip("._-") or "unnamed"
    if len(student) <= MAX_NAME:
        return student
    return f"{student[: MAX_NAME - 9]}-{hashlib.sha256(called.encode(errors='replace')).hexdigest()[:8]}"


def other_assignment(path: Parts, slug: str) -> str:
    """The assignment in whose folder a file of nbgrader's layout lies, if it is another one."""
    return path[1] if len(path) > 2 and _is_slug(path[1]) and path[1] != slug else ""


def _is_slug(name: str) -> bool:
    return SLUG.fullmatch(name) is not None


def _usual(files: Collection[Parts], depth: int) -> _Pattern | None:
    """The pattern that at least half of what is named at a depth has. What one student named counts once."""
    heads = {_head(parts, depth) for parts in files if len(parts) > depth and not is_own_table(parts[depth:])}
    votes = [sum(_match(pattern, parts) is not None for parts in heads) for pattern in _PATTERNS]
    return _PATTERNS[votes.index(max(votes))] if heads and 2 * max(votes) >= len(heads) else None


def _round(files: Collection[Parts]) -> int:
    """How many folders lie round everything; beside them may lie what no student hands in."""
    count = 0
    while True:
        tops = {parts[count] for parts in files if len(parts) > count + 1}
        loose = any(re.search(r"\.ipynb|\.zip$", p[count], re.IGNORECASE) for p in files if len(p) == count + 1)
        if len(tops) != 1 or loose:
            return count
        count += 1


def _head(parts: Parts, depth: int) -> Parts:
    """What is named by a pattern: a folder, which is followed by something, or a file."""
    return (parts[depth], "…") if len(parts) > depth + 1 else (parts[depth],)


def _match(pattern: _Pattern, parts: Parts) -> re.Match[str] | None:
    if not parts or (pattern.folder is not None and pattern.folder is not (len(parts) > 1)):
        return None
    return pattern.pattern.fullmatch(parts[0])


def _told(system: str, match: re.Match[str], parts: Parts) -> Name:
    said: dict[str, Any] = {"number": "", "login": "", "joined": "", "late": "", "late2": "", **match.groupdict()}
    number = said["number"] or said["joined"] or ""
    person = said["person"]
    called = said["login"] or person
    if number:
        called = f"{person}{number}" if said["joined"] else f"{person}_{number}"
    inner = tuple(part.casefold() for part in parts[1:])
    return Name(
        called=called,
        system=system,
        person=person,
        number=number,
        late=bool(said["late"] or said["late2"]),
        moment=_stamp(said["moment"], "%Y-%m-%d-%H-%M-%S") if said.get("moment") else None,
        order=int(said["order"]) if said.get("order") else None,
        own=said.get("own") is not None
        or (system == SAKAI and (inner[0] == _FEEDBACK or (len(inner) == 1 and inner[0] in _SAKAIS))),
        text=bool(said.get("text"))
        or (said.get("plugin") or "file") == "onlinetext"
        or (system == SAKAI and len(inner) == 1 and inner[0].endswith("_submissiontext.html")),
    )


def _plain(parts: Parts, slug: str) -> Name:
    """A folder or a file per student, or nbgrader's folder per student and assignment."""
    of_nbgrader = len(parts) > 2 and parts[1] == slug
    name = parts[0] if len(parts) > 1 else stem(parts[0])
    called = (name.replace(slug, "") or name).strip("._- ") or name
    own = of_nbgrader and parts[2:] == (TIMESTAMP,)
    return Name(called, NBGRADER if of_nbgrader else "", own=own)


# What systems write beside the files ----------------------------------------------------------------------------------


def moment_in(text: str, system: str) -> datetime | None:
    """The moment in a timestamp.txt, in UTC; None if it is empty. Raises ValueError for anything else."""
    text = text.strip()
    if not text:
        return None
    if system == SAKAI and text.isdigit():
        return datetime.strptime(text, "%Y%m%d%H%M%S%f")
    try:
        moment: datetime = parse_utc(text)
    except OverflowError as problem:
        raise ValueError(str(problem)) from None
    return moment.replace(tzinfo=None)


def moment_beside(folder: Path) -> datetime | None:
    """When what lies in one of nbgrader's folders was handed in, in UTC; None if its timestamp.txt is empty.

    Raises OSError if there is none, or it can't be read, and ValueError if it holds anything else.
    """
    return moment_in((folder / TIMESTAMP).read_bytes()[:200].decode(), NBGRADER)


def submitters(text: bytes) -> dict[str, list[Name]]:
    """Folder → whose it is, and when it came, as Gradescope's metadata say it. Raises ValueError for what are none."""
    try:
        tree = yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # builds nothing but text
    except (yaml.YAMLError, RecursionError) as problem:
        raise ValueError(str(problem).splitlines()[0] if str(problem) else "it is no YAML") from None
    found = {}
    for folder, entry in tree.items() if isinstance(tree, dict) else ():
        people = entry.get(":submitters") if isinstance(entry, dict) else None
        names = (
            [_submitter(person) for person in people if isinstance(person, dict)] if isinstance(people, list) else []
        )
        moment = _zoned(entry.get(":created_at")) if isinstance(entry, dict) else None
        found[str(folder)] = [replace(name, moment=moment) for name in names if name.called]
    return found


def _submitter(person: dict[Any, Any]) -> Name:
    sid, address, name = (str(person.get(key) or "").strip() for key in (":sid", ":email", ":name"))
    said = [text for text in (sid, address, name) if text not in ("", "null", "~")]
    return Name(said[0] if said else "", GRADESCOPE, person=name, also=tuple(said))


def _zoned(text: Any) -> datetime | None:
    """A moment as Ruby writes it, such as `2026-03-03 10:00:00.123456789 -08:00`."""
    compact = re.sub(r"\s+(?=[-+Z])", "", str(text).replace(" UTC", " Z").strip())
    try:
        moment = datetime.fromisoformat(compact)
    except ValueError:
        return None
    return (moment.astimezone(UTC) if moment.tzinfo else moment).replace(tzinfo=None)


@dataclass(frozen=True)
class Receipt:
    """What Blackboard writes of an attempt: who they are, and in what zone its times are, if that is known."""

    person: str
    login: str
    zone: timezone | None


def receipt_in(text: str) -> Receipt | None:
    """What Blackboard's file on an attempt says; None if it is none."""
    named = re.search(r"^Name:[ \t]*(.+?)[ \t]*\(([^()\r\n]+)\)[ \t]*\r?$", text, re.MULTILINE)
    if named is None:
        return None
    dated = re.search(r"^Date Submitted:.*[ \t](\w+)[ \t]*\r?$", text, re.MULTILINE)
    read = email.utils.parsedate_tz(f"1 Jan 2000 00:00:00 {dated[1]}") if dated else None
    offset = (read[9] or 0) if read else 0  # 0 also for a zone that it does not know
    known = offset != 0 or (dated is not None and dated[1] in ("UTC", "GMT"))
    return Receipt(named[1], named[2], timezone(timedelta(seconds=offset)) if known else None)


def attempt(name: Name, receipt: Receipt | None) -> Name:
    """Blackboard's name of an attempt, whose head is `Assignment_login`, with what its receipt says beside it.

    Where the zone is not known, the times are taken to be of this machine's.
    """
    head = name.person
    login = receipt.login if receipt and head.endswith(f"_{receipt.login}") else head.rpartition("_")[2] or head
    moment = name.moment
    if moment is not None:
        zoned = moment.replace(tzinfo=receipt.zone) if receipt and receipt.zone else moment
        moment = zoned.astimezone(UTC).replace(tzinfo=None)
    return replace(name, called=login, person=receipt.person if receipt else "", moment=moment)


def _stamp(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:  # 2026-02-30
        return None
