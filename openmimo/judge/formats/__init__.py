"""Problems in the formats of public benchmarks, as our own rows. The format is told from the first row's fields.

    with Judge() as judge:
        problems = read_problems("mbpp_plus.jsonl.gz", judge, only={"Mbpp/2", "Mbpp/3"})

| format | told by the fields | id |
|---|---|---|
| ours (openmimo/rows.py) | kind, messages | id |
| MBPP+, HumanEval+ (evalplus) | entry_point, base_input, plus_input | task_id |
| LiveCodeBench | public_test_cases, private_test_cases | question_id |
| APPS, TACO | input_output | problem_id or id; without one, the row's number from 0 |
| CodeContests | public_tests, private_tests | name |

Files: .jsonl, .json (a list of rows), each also as .gz, and .parquet. The judge runs the golden solutions whose results
are the expected values (evalplus' formats), in a sandbox of their own; no other format needs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from openmimo.errors import UserError
from openmimo.judge.formats import contests, evalplus, livecodebench
from openmimo.judge.formats.files import read_raw
from openmimo.judge.formats.golden import Progress, with_expected
from openmimo.judge.pool import Judge
from openmimo.rows import Problem, from_dict

Row = dict[str, Any]
Reader = tuple[Callable[[Row, int], str], Callable[[Row, str, str], Problem]]  # (row, number) -> id; (row, id, where)

FORMATS: dict[str, tuple[frozenset[str], Reader]] = {
    "openmimo": (
        frozenset({"kind", "messages"}),
        (lambda row, _: str(row.get("id")), lambda row, _, where: from_dict(row, Problem, where)),
    ),
    "evalplus": (frozenset({"entry_point", "base_input", "plus_input"}), (evalplus.name, evalplus.problem)),
    "livecodebench": (
        frozenset({"public_test_cases", "private_test_cases"}),
        (livecodebench.name, livecodebench.problem),
    ),
    "apps": (frozenset({"input_output"}), (contests.apps_name, contests.apps_problem)),
    "code_contests": (
        frozenset({"public_tests", "private_tests"}),
        (contests.code_contests_name, contests.code_contests_problem),
    ),
}


def detect(row: Row, where: str) -> str:
    """The name of the row's format, a key of FORMATS; a UserError when it is none of them."""
    for format_name, (fields, _) in FORMATS.items():
        if isinstance(row, dict) and fields <= row.keys():
            return format_name
    known = "; ".join(f"{format_name} ({', '.join(sorted(fields))})" for format_name, (fields, _) in FORMATS.items())
    raise UserError(f"{where}: a row of no known format; a format is told by its fields: {known}")


def read_problems(
    path: str | Path, judge: Judge, only: Collection[str] | None = None, progress: Progress = lambda done, total: None
) -> list[Problem]:
    """The file's problems in order; with `only`, those of these ids. A UserError names file and row. progress: called
    as golden solutions are run, see `golden.with_expected`. A problem may have no tests; then no verdict is possible."""
    path, found, number = Path(path), [], 0
    reader: Reader | None = None
    for number, (where, row) in enumerate(read_raw(path), 1):
        if reader is None:
            format_name = detect(row, where)
            reader = FORMATS[format_name][1]
        name, problem = reader
        try:
            task_id = name(row, number - 1)
            if only is None or task_id in only:
                found.append(problem(row, task_id, where))
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{where}: not a row of the format {format_name} ({error!r}); see {__name__}") from None
    if not number:
        raise UserError(f"{path}: there are no rows; give a file with at least one problem")
    if twice := next((task for task, count in Counter(p.id for p in found).items() if count > 1), None):
        raise UserError(f"{path}: problem {twice!r} comes twice; give each problem an id of its own")
    return with_expected(found, judge, progress)
