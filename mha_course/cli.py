"""Command line of the course.

`mha-course heads MODEL` looks into the heads of a real model; `mha-course experiment NAME` makes a
result file of the book anew; `mha-course ledger` compares them with the book's verdicts.

For learners: `mha-course check NOTEBOOK` checks an exercise, `mha-course progress` all of them. For
instructors: `mha-course grade` grades a class; `mha-course report` says what it has understood;
`mha-course new-task` makes an exercise to start from, and `mha-course audit-exercises` tests the
exercises themselves; `mha-course bundle` packs them for learners. `mha-course doctor` says what is
missing on a machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

DEFAULT_TEXT = "Python's own reference, pydoc_data.topics"
RESULTS = Path("chapters/data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code.

    0: done; 1: what was checked is not as it should be; 2: wrong use; 130: interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.carry_out(options))
    except FileNotFoundError as error:
        says = f"no file {error.filename}" if error.filename else error
        print(f"mha-course: {says}", file=sys.stderr)
        return 2
    except (ValueError, ImportError, OSError) as error:
        print(f"mha-course: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "; finished steps are kept, and the same command goes on from there"
        print(f"\nmha-course: interrupted{kept if _goes_on(options) else ''}", file=sys.stderr)
        return 130


def _goes_on(options: argparse.Namespace) -> bool:
    """Whether a command that was interrupted goes on from there the next time."""
    if options.carry_out is _heads:
        return not options.table_only
    if options.carry_out is _experiments:
        return not options.quick or options.folder is not None
    return options.carry_out in (_progress, _grade, _update_course)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mha-course", description="Tools of the course on multi-head attention."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_heads(commands)
    _add_experiment(commands)
    _add_ledger(commands)
    _add_check(commands)
    _add_progress(commands)
    _add_audit(commands)
    _add_new_task(commands)
    _add_grade(commands)
    _add_report(commands)
    _add_bundle(commands)
    _add_init_course(commands)
    _add_trial_class(commands)
    _add_update_course(commands)
    _add_students(commands)
    _add_extend(commands)
    _add_doctor(commands)
    return parser


def _add_heads(commands: Any) -> None:
    heads = commands.add_parser(
        "heads",
        help="what the heads of a model do, what they are worth, and how alike they are",
        description="Look at every head of a model over a text: patterns, worth, redundancy. "
        "Prints a table and writes a report that is one HTML file. Ctrl-C keeps what was done; the "
        "same command goes on from there.",
    )
    heads.add_argument(
        "model",
        metavar="MODEL",
        help="minilm, smollm2, a folder with a model, or an id on the Hugging Face hub",
    )
    heads.add_argument(
        "--text", type=Path, metavar="FILE", help=f"UTF-8 text; by default {DEFAULT_TEXT}"
    )
    heads.add_argument(
        "--report", type=Path, metavar="FILE", help="where to write it; by default heads-MODEL.html"
    )
    heads.add_argument("--force", action="store_true", help="replace a report that exists")
    heads.add_argument(
        "--chunks",
        type=int,
        help="pieces of text to look at; by default 16, or 64 for a model that embeds passages",
    )
    heads.add_argument("--size", type=int, default=128, help="tokens in each; 128 by default")
    heads.add_argument("--seed", type=int, default=0, help="of everything random; 0 by default")
    heads.add_argument(
        "--table-only", action="store_true", help="only print the table of patterns: far quicker"
    )
    heads.set_defaults(carry_out=_heads)


def _add_experiment(commands: Any) -> None:
    parser = commands.add_parser(
        "experiment",
        help="measure again what the book reports",
        description="Carry out an experiment of the book and say what it found. Without a NAME, "
        "list them. Ctrl-C keeps what was done; the same command goes on from there.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="one or more experiments")
    parser.add_argument("--all", action="store_true", help="all of them, within two hours")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small version, in seconds: prints what it found, and writes no file without --folder",
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="by default, what each one needs")
    parser.add_argument(
        "--folder",
        type=Path,
        help=f"where NAME.json is written; by default {RESULTS}, which the book reads",
    )
    parser.add_argument("--force", action="store_true", help="replace a result file that exists")
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        help="processes that share the work, which changes no result; by default one per core",
    )
    parser.set_defaults(carry_out=_experiments)


def _add_ledger(commands: Any) -> None:
    parser = commands.add_parser(
        "ledger",
        help="verdicts of the book on what is said about heads",
        description=f"Print the verdicts of {RESULTS}/ledger.yml and where they contradict the "
        "result files; exit code 1 if any does.",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"make {RESULTS}/ledger.json anew: the ledger with its numbers, for other programs",
    )
    parser.set_defaults(carry_out=_ledger)


def _add_check(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        help="run an exercise notebook, and say which tasks pass",
        description="Run a notebook from top to bottom with the tests that you see, and say of "
        "each task whether it passes and what is likely wrong. The file stays as it is. Exit code "
        "0 if all of them pass, 1 if not.",
    )
    parser.add_argument("notebook", type=Path, metavar="NOTEBOOK", help="exercises/NAME/NAME.ipynb")
    parser.set_defaults(carry_out=_check)


def _add_progress(commands: Any) -> None:
    parser = commands.add_parser(
        "progress",
        help="how far you are in all exercises",
        description="Run each exercise notebook that has changed since the last time, and say how "
        "many of its tasks pass the tests that you see, and what could come next. What was found "
        "is kept in .progress.json beside them.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("exercises"),
        metavar="FOLDER",
        help="with NAME/NAME.ipynb in it; by default exercises",
    )
    parser.set_defaults(carry_out=_progress)


def _add_audit(commands: Any) -> None:
    parser = commands.add_parser(
        "audit-exercises",
        help="test the exercises: wrong answers must lose their points, right ones get them",
        description="For each assignment, run the solution, the wrong and right answers of its "
        "bank, and small changes to the solution. Prints a table, and what does not come out as "
        "it should; exit code 1 if there is any.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="assignments; by default all")
    parser.add_argument("--solutions", type=Path, default=Path("solutions"), metavar="FOLDER")
    parser.add_argument("--exercises", type=Path, default=Path("exercises"), metavar="FOLDER")
    parser.add_argument(
        "--banks",
        type=Path,
        metavar="FOLDER",
        help="where NAME.py holds the answers to an assignment; by default tests/exercises in the "
        "course's repository, and banks elsewhere",
    )
    parser.add_argument(
        "--no-mutants", action="store_true", help="leave the mutants out: far quicker"
    )
    parser.set_defaults(carry_out=_audit)


def _add_new_task(commands: Any) -> None:
    parser = commands.add_parser(
        "new-task",
        help="an assignment of your own, to start from",
        description="Make solutions/NAME/NAME.ipynb, with a small task, its tests and a written "
        "question, and a bank of wrong and right answers. It works as it is; put your own in its "
        "place, and let audit-exercises say what is missing. Nothing that exists is touched.",
    )
    parser.add_argument("name", metavar="NAME", help="small letters, digits, hyphens: my-task")
    parser.add_argument("--solutions", type=Path, default=Path("solutions"), metavar="FOLDER")
    parser.add_argument("--banks", type=Path, metavar="FOLDER", help="as for audit-exercises")
    parser.set_defaults(carry_out=_new_task)


def _add_grade(commands: Any) -> None:
    grade = commands.add_parser(
        "grade",
        help="grade what a class has handed in",
        description="Grade the submissions of an assignment, in the folder of a course: in a "
        "sandbox, several at a time, into nbgrader's gradebook. What has a result already is left "
        "alone, unless something new was handed in. Ctrl-C loses nothing; the same command goes on "
        "from there. Exit code 0 only if every submission has a result.",
    )
    grade.add_argument("assignment", metavar="ASSIGNMENT", help="its name, such as heads")
    grade.add_argument(
        "--student",
        action="append",
        default=[],
        metavar="ID",
        help="only this one; may be given several times",
    )
    grade.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="submissions at a time on this machine; by default one for each of its "
        f"{os.cpu_count()} cores",
    )
    grade.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask cluster to use instead: tcp://host:8786"
    )
    grade.add_argument(
        "--force",
        action="store_true",
        help="grade what has a result again, too; grades given by hand stay",
    )
    grade.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help="seconds for one cell; by default as in nbgrader_config.py, or 60",
    )
    grade.add_argument(
        "--memory",
        type=int,
        metavar="MB",
        help="megabytes for one submission; by default as in nbgrader_config.py, or 2048",
    )
    grade.add_argument(
        "--no-sandbox",
        action="store_true",
        help="run what was handed in as you: only if you trust every submission",
    )
    grade.set_defaults(carry_out=_grade)


def _add_report(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        help="what a class has understood, and what to look at",
        description="Write a report on a graded assignment, in the folder of a course: a page, one "
        "HTML file without scripts, and a CSV file with a row for each student. Nothing that was "
        "handed in is run. A report that is there already is replaced.",
    )
    report.add_argument("assignment", metavar="ASSIGNMENT", help="its name, such as heads")
    report.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where to write ASSIGNMENT-report.html and .csv; by default grading/ in the course",
    )
    report.add_argument(
        "--force", action="store_true", help="replace files that are no report, or were changed"
    )
    report.set_defaults(carry_out=_report)


def _add_bundle(commands: Any) -> None:
    bundle = commands.add_parser(
        "bundle",
        help="a zip file with the exercises, for learners",
        description="Pack what a learner needs, in the course's repository: exercises with their "
        "data, the package, and the versions of all packages; no solution, no hidden test.",
    )
    bundle.add_argument(
        "--student", action="store_true", required=True, help="for learners: the one kind there is"
    )
    bundle.add_argument(
        "--output", type=Path, metavar="FILE", help="where; by default _build/, under its name"
    )
    bundle.add_argument(
        "--book",
        default=os.environ.get("MHA_SITE_URL", ""),
        metavar="URL",
        help="where learners read the book; by default MHA_SITE_URL",
    )
    bundle.add_argument("--force", action="store_true", help="replace a file that exists")
    bundle.set_defaults(carry_out=_bundle)


def _add_init_course(commands: Any) -> None:
    init = commands.add_parser(
        "init-course",
        help="make a private course folder, to teach a class",
        description="Make a folder of your own beside the public checkout, in which you run it: "
        "settings, secret, solutions, class, gradebook. Nothing that exists is overwritten; if "
        "something goes wrong, nothing is left.",
    )
    init.add_argument("folder", type=Path, metavar="DIR", help="new, outside of the checkout")
    init.add_argument(
        "--students",
        type=Path,
        metavar="FILE.csv",
        help="the class: id,first_name,last_name,email,lms_user_id, or as Canvas or Moodle has it",
    )
    init.add_argument(
        "--db",
        default="",
        metavar="URL",
        help="of the gradebook, as postgresql+psycopg://grader@localhost/mha; by default a file "
        "in the folder",
    )
    init.add_argument(
        "--exchange",
        type=Path,
        metavar="FOLDER",
        help="through which learners fetch and submit; by default nbgrader's own",
    )
    init.add_argument(
        "--course-id", default="", metavar="NAME", help="by default multi-head-attention"
    )
    init.add_argument(
        "--assignments", default="", type=_names, metavar="A,B", help="only these; all by default"
    )
    init.add_argument(
        "--due",
        action="append",
        default=[],
        type=_due,
        metavar="NAME=DATE",
        help="due date, as heads=2026-12-01T23:59 in this machine's time zone, or with one of its "
        "own, as heads=2026-12-01T23:59+01:00; may be given several times",
    )
    init.set_defaults(carry_out=_init_course)


def _add_trial_class(commands: Any) -> None:
    trial = commands.add_parser(
        "trial-class",
        help="a class of three that are all you, to try everything out",
        description="In the public checkout: make a course folder, an exchange and the folders of "
        "three learners, all for your own account. Nothing that exists is touched.",
    )
    trial.add_argument("folder", type=Path, metavar="DIR", help="new, outside of the checkout")
    trial.add_argument(
        "--assignments", default="heads", type=_names, metavar="A,B", help="these; by default heads"
    )
    trial.set_defaults(carry_out=_trial_class)


def _add_update_course(commands: Any) -> None:
    update = commands.add_parser(
        "update-course",
        help="bring a newer public course into a private folder",
        description="In the checkout of the newer public course: replace the files of a private "
        "course folder that were not changed there, add new ones, name what was left alone. "
        "Nothing is removed.",
    )
    update.add_argument("folder", type=Path, metavar="DIR", help="made by init-course")
    update.set_defaults(carry_out=_update_course)


def _add_students(commands: Any) -> None:
    students = commands.add_parser(
        "students",
        help="add students to a course",
        description="In the folder of a course: add students to its list and gradebook, or change "
        "their names there. Nobody is taken out.",
    )
    students.add_argument("file", type=Path, metavar="FILE.csv", help="as for init-course")
    students.set_defaults(carry_out=_students)


def _add_extend(commands: Any) -> None:
    extend = commands.add_parser(
        "extend",
        help="give one student more time",
        description="In the folder of a course, when a late submission has been graded: move its "
        "due date for one student, and take back the points that it cost. What they had before is "
        "replaced; --days 0 takes an extension away.",
    )
    extend.add_argument("assignment", metavar="ASSIGNMENT", help="such as heads")
    extend.add_argument("student", metavar="STUDENT", help="their id")
    extend.add_argument("--days", type=float, required=True, metavar="N", help="as 3, or 0.5")
    extend.set_defaults(carry_out=_extend)


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="what is missing on this machine, and what to do",
        description="Look at Python, packages, kernel, browser, disk, GPU, sandbox, and in the "
        "folder of a course at its settings and gradebook. Nothing is changed. Exit code 0 if "
        "nothing is bad; what is only needed for a part of the course is not.",
    )
    doctor.set_defaults(carry_out=_doctor)


def _heads(options: argparse.Namespace) -> int:
    report = options.report or Path(f"heads-{Path(options.model).resolve().name}.html")
    if not options.table_only and report.exists() and not options.force:
        raise ValueError(f"{report} exists; give another --report FILE, or --force to replace it")
    text, source = _read(options.text)

    # heavy, and not needed for --help or a wrong path
    from mha_course.heads import load
    from mha_course.heads.pattern_table import pattern_table
    from mha_course.heads.report import (
        Survey,
        html_page,
        layer_lines,
        pattern_lines,
        worth_lines,
    )
    from mha_course.heads.report_figures import sections
    from mha_course.heads.steps import Steps
    from mha_course.heads.survey import (
        Settings,
        alike,
        chosen_chunks,
        default_settings,
        identity,
        worth,
    )

    model = load(options.model)
    count = options.chunks or default_settings(model).chunks
    settings = Settings(size=options.size, chunks=count, seed=options.seed)
    chunks = chosen_chunks(model, text, settings)
    with Bars() as bars:
        patterns = pattern_table(
            model, chunks, seed=settings.seed, progress=partial(bars.update, "patterns")
        )
    print("\n".join([*layer_lines(patterns), "", *pattern_lines(patterns)]), flush=True)
    if options.table_only:
        return 0

    steps = Steps(report.with_name(report.name + ".steps"), identity(model, text, settings))
    with Bars() as bars:
        found = worth(model, text, settings=settings, steps=steps, progress=bars.update)
    print("\n".join(["", *worth_lines(found, patterns)]), flush=True)
    compared = alike(model, text, settings=settings)
    survey = Survey(model.name, source, settings, patterns, found, compared)
    report.write_text(html_page(survey, sections(survey)), encoding="utf-8")
    steps.forget()
    print(f"\nwritten: {report}")
    return 0


def _experiments(options: argparse.Namespace) -> int:
    from mha_course.experiments.catalogue import NAMES, experiment, findings, perform  # heavy
    from mha_course.experiments.result import write

    names = list(NAMES) if options.all else list(dict.fromkeys(options.names))
    if not names:
        for name in NAMES:
            module = experiment(name)
            print(f"{name:24}{module.QUESTION} ({', '.join(module.CLAIMS)})")
        return 0
    for name in names:
        experiment(name)  # says so now if there is none, not after hours
    folder = options.folder or (None if options.quick else RESULTS)
    if folder == RESULTS and not RESULTS.is_dir():
        raise ValueError(f"no folder {RESULTS} here: run this in the course's folder, or --folder")
    files = {name: None if folder is None else folder / f"{name}.json" for name in names}
    there = [str(file) for file in files.values() if file is not None and file.exists()]
    if there and not options.force:
        raise ValueError(
            f"{', '.join(there)}: exists; --force to replace, or another --folder to keep both"
        )
    for name, file in files.items():
        with Bars() as bars:
            result = perform(
                name,
                quick=options.quick,
                seeds=options.seeds,
                steps_in=None if file is None else file.with_suffix(".steps"),
                workers=options.workers,
                progress=bars.update,
            )
        print(f"{name}: {result.question} ({result.seconds:.0f} s of work)")
        for key, finding in findings(result).items():
            print(f"  {'holds' if finding.holds else 'FAILS'}  {key}: {finding.says}")
        if file is not None:
            write(result, file)
            print(f"  written: {file}")
        print(flush=True)
    return 0


def _ledger(options: argparse.Namespace) -> int:
    from mha_course.experiments.ledger import all_findings, problems, read_ledger, resolved  # heavy

    rows, found = read_ledger(RESULTS), all_findings(RESULTS)
    for row in rows:
        print(f"{row.id}  {row.verdict:24}{row.claim}")
    wrong = problems(rows, found)
    for problem in wrong:
        print(problem, file=sys.stderr)
    if wrong:
        return 1
    if options.write:
        text = json.dumps(resolved(rows, RESULTS), indent=1, ensure_ascii=False)
        (RESULTS / "ledger.json").write_text(text + "\n", encoding="utf-8")
        print(f"written: {RESULTS / 'ledger.json'}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from mha_course.grading.check import check_notebook, lines  # heavy

    verdicts = check_notebook(options.notebook)
    print("\n".join(lines(verdicts)))
    return 0 if all(one.points in (None, one.task.points) for one in verdicts) else 1


def _progress(options: argparse.Namespace) -> int:
    from mha_course.grading.book import built_book
    from mha_course.grading.progress import lines, link, progress  # heavy

    with Bars() as bars:
        standings = list(progress(options.folder, bars.update))
    print("\n".join(lines(standings)))
    if book := built_book(options.folder):
        print(f"in the book: {link(standings, book)}")
    return 0


def _audit(options: argparse.Namespace) -> int:
    import torch  # heavy

    from mha_course.grading.assignment import read_assignment, read_assignments
    from mha_course.grading.audit import LEAST_SCORE, audit, table
    from mha_course.grading.bank import bank_file, read_bank

    found = {one.name: one for one in read_assignments(options.solutions)}
    if unknown := [name for name in options.names if name not in found]:
        raise ValueError(f"no assignment {unknown[0]!r}; there are {', '.join(found)}")
    torch.set_num_threads(1)  # on tensors so small, threads only wait for each other
    audits = []
    for name in options.names or found:
        released = options.exercises / name / f"{name}.ipynb"
        if not released.exists():
            raise ValueError(f"no {released} yet: run `nbgrader generate_assignment {name}`")
        release = read_assignment(released)
        answers = bank_file(name, options.banks)
        bank = read_bank(answers) if options.banks or answers.exists() else None
        with Bars() as bars:
            audits.append(
                audit(
                    found[name],
                    release,
                    bank,
                    mutate=not options.no_mutants,
                    progress=bars.update,
                )
            )
    print("\n".join(table(audits)))
    wanting = [one for one in audits if one.problems or one.score < LEAST_SCORE]
    return 1 if wanting else 0


def _new_task(options: argparse.Namespace) -> int:
    from mha_course.classroom.own_task import new_task  # heavy

    notebook, bank = new_task(options.name, options.solutions, options.banks)
    print(f"written: {notebook}\nwritten: {bank}\n")
    print(f"Change both, then: nbgrader generate_assignment {options.name} --force")
    print(f"What is missing:   mha-course audit-exercises {options.name}")
    return 0


def _grade(options: argparse.Namespace) -> int:
    from mha_course.autograder import command  # heavy

    with Bars() as bars:
        said, code = command.grade(options, bars.update)
    print("\n".join(said))
    return code


def _report(options: argparse.Namespace) -> int:
    from mha_course.autograder.report import command  # heavy

    with Bars() as bars:
        said, code = command.report(options, bars.update)
    print("\n".join(said))
    return code


def _bundle(options: argparse.Namespace) -> int:
    from mha_course.bundle import name, write_bundle

    file = options.output or Path("_build", name())
    if file.exists() and not options.force:
        raise ValueError(f"{file} exists; give another --output FILE, or --force to replace it")
    write_bundle(Path.cwd(), file, options.book)
    print(f"written: {file}, {file.stat().st_size / 1e6:.1f} MB")
    return 0


def _init_course(options: argparse.Namespace) -> int:
    from mha_course.classroom.folder import Wanted, init_course  # heavy
    from mha_course.classroom.students import read_students

    due: dict[str, datetime] = {}
    for name, date in options.due:
        if name in due:
            raise ValueError(f"--due {name}: given twice")
        due[name] = date
    wanted = Wanted(
        students=read_students(options.students) if options.students else (),
        db_url=options.db,
        exchange=options.exchange,
        course_id=options.course_id,
        assignments=options.assignments,
        due=due,
    )
    return _printed(init_course(Path.cwd(), options.folder, wanted))


def _trial_class(options: argparse.Namespace) -> int:
    from mha_course.classroom.trial_class import trial_class  # heavy

    return _printed(trial_class(Path.cwd(), options.folder, options.assignments))


def _printed(lines: Iterable[str]) -> int:
    """Print each line when it comes; return the exit code of a command that is done."""
    for line in lines:
        print(line)
    return 0


def _names(text: str) -> tuple[str, ...]:
    """Return names that have commas between them."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def _due(text: str) -> tuple[str, datetime]:
    """Return an assignment and its due date, with a time zone."""
    name, _, written = text.partition("=")
    try:
        date = datetime.fromisoformat(written)
    except ValueError:
        date = None
    if not name or date is None or ":" not in written:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no NAME=DATE with a time, such as heads=2026-12-01T23:59"
        )
    return name, date if date.tzinfo else date.astimezone()


def _update_course(options: argparse.Namespace) -> int:
    from mha_course.classroom.folder import update_course  # heavy

    return _printed(update_course(Path.cwd(), options.folder))


def _students(options: argparse.Namespace) -> int:
    from mha_course.classroom.students import add_students  # heavy

    return _printed(add_students(Path.cwd(), options.file))


def _extend(options: argparse.Namespace) -> int:
    from mha_course.autograder.course import Course
    from mha_course.classroom.late import extend  # heavy

    try:
        more = timedelta(days=options.days)
    except (OverflowError, ValueError):  # nan, and centuries
        raise ValueError(f"--days {options.days:g}: give a number of days, such as 3") from None
    course, waiting = Course(), partial(print, file=sys.stderr)
    return _printed(extend(course, options.assignment, options.student, more, waiting=waiting))


def _doctor(_: argparse.Namespace) -> int:
    from mha_course.doctor import BAD, examine, lines

    looks = list(examine(Path.cwd()))
    print("\n".join(lines(looks)))
    return 1 if any(look.state == BAD for look in looks) else 0


class Bars:
    """A progress bar for each kind of step, one after the other."""

    def __init__(self) -> None:
        self._kind = ""
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, kind: str, done: int, total: int) -> None:
        """Show that so many steps of a kind are done."""
        from tqdm import tqdm

        if kind != self._kind:
            self.__exit__()
            self._kind, self._bar = kind, tqdm(total=total, desc=kind, leave=False)
        self._bar.update(done - self._bar.n)


def _read(path: Path | None) -> tuple[str, str]:
    """Return the text, and what to call it."""
    if path is None:
        from pydoc_data.topics import topics

        return "\n".join(topics.values()), DEFAULT_TEXT
    try:
        return path.read_text(encoding="utf-8"), path.name
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
