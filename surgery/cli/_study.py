"""`surgery study`: plan, run, show, compare what a file sets up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from surgery.cli._errors import told
from surgery.cli._study_file import load_study, seeds_from
from surgery.cli._tables import json_records
from surgery.errors import StudyError
from surgery.study import StudyResults, StudyTable

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE.py",
        help="The Python file that makes the study: a variable of any name, or a "
        "function make_study(). FILE.py:NAME picks one of several.",
        show_default=False,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Another value in the config; repeatable."
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        metavar="SEEDS",
        help="Other seeds than the file's: how many (5), a list (0,3,7) or a range "
        "(3-7).",
    ),
]
Arms = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME...",
        help="Only these arms (and the base), by the names of `plan`; those that "
        "failed are tried again.",
    ),
]
More = Annotated[list[str] | None, typer.Argument(hidden=True)]
Metric = Annotated[
    str | None, typer.Option(help="A metric of the study; by default its first.")
]
View: TypeAlias = Literal[
    "arms",
    "trials",
    "importance",
    "shares",
    "joint",
    "build-up",
    "expected",
    "costs",
    "summary",
]
Form: TypeAlias = Literal["text", "markdown", "latex", "csv", "json"]

study = typer.Typer(
    name="study",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Retrain with one thing left out, over seeds, and compare.",
)


def plan(
    file: File,
    seeds: Seeds = None,
    settings: Set = None,
    smoke_test: Annotated[
        bool, typer.Option("--smoke-test", help="Try one training step of every arm.")
    ] = False,
) -> None:
    """Show the arms, and how far they are; nothing is trained.

    Examples:

        surgery study plan titanic.py --set optim.lr=0.01
    """
    made = load_study(file, settings or ())
    print(made.plan(seeds=seeds_from(seeds)))
    if smoke_test:
        print(f"\n{made.smoke_test()}")


def run(
    file: File,
    more: More = None,
    arms: Arms = None,
    seeds: Seeds = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that trials run in.")
    ] = 1,
    settings: Set = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Forget what the arms named came to, and rerun."),
    ] = False,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="Show how far it is.")
    ] = True,
) -> None:
    """Run what is not done yet, and show the results.

    Stop it when you like: the same command goes on where it stood.

    Examples:

        surgery study run titanic.py --workers 2
        surgery study run titanic.py --arms sex 'fc2 + fc4' --again
    """
    made = load_study(file, settings or ())
    try:
        results = made.run(
            workers=workers,
            arms=_arms(arms, more),
            seeds=seeds_from(seeds),
            again=again,
            progress=progress,
        )
    except KeyboardInterrupt:
        print(
            "interrupted; what is done is kept: the same command goes on from here",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None
    print(results)


def show(
    file: File,
    view: Annotated[View, typer.Option(help="Which table.")] = "arms",
    form: Annotated[Form, typer.Option("--format", help="How to write it.")] = "text",
    metric: Metric = None,
    seeds: Seeds = None,
    settings: Set = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save all results as JSON as well."),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write all results for TensorBoard as well."),
    ] = None,
) -> None:
    """Show what is known so far, also while another process runs the study.

    Examples:

        surgery study show titanic.py --view importance --format latex
    """
    results = load_study(file, settings or ()).results(seeds=seeds_from(seeds))
    if save is not None:
        results.save(save)
    if tensorboard is not None:
        results.to_tensorboard(tensorboard)
    if view == "summary":
        if form not in ("text", "json"):
            raise StudyError("--view summary is written as text or json")
        found = results.summary(metric)
        if form == "json":
            print(json.dumps(found, indent=1))
        else:
            for name, value in found.items():
                print(
                    f"{name}: {value if isinstance(value, str) else json.dumps(value)}"
                )
        return
    if view == "trials" and form == "json":
        print(json.dumps(json_records(results.trials()), indent=1))
        return
    tables: dict[str, Callable[[], StudyResults | StudyTable]] = {
        "arms": lambda: results,
        "trials": results.trial_table,
        "importance": lambda: results.importance(metric),
        "shares": lambda: results.shares(metric),
        "joint": lambda: results.joint(metric),
        "build-up": lambda: results.build_up(metric),
        "expected": results.expectations,
        "costs": results.costs,
    }
    shown = tables[view]()
    match form:
        case "text":
            print(shown)
        case "markdown":
            print(shown.to_markdown(), end="")
        case "latex":
            print(shown.to_latex(), end="")
        case "csv":
            print(shown.to_csv(), end="")
        case "json":
            print(json.dumps(json_records(shown.to_pandas()), indent=1))


def compare(
    file: File,
    ranking: Annotated[
        Path,
        typer.Argument(
            metavar="RANKING.json", help="What Ranking.save or rank --save wrote."
        ),
    ],
    metric: Metric = None,
    ranked: Annotated[
        str | None,
        typer.Option(help="The ranking's metric; by default the same, or its first."),
    ] = None,
    seeds: Seeds = None,
    settings: Set = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw it as well.")
    ] = None,
) -> None:
    """Show whether a ranking of the trained model predicts what retraining finds.

    Examples:

        surgery study compare titanic.py ranking.json
    """
    from surgery import Ranking

    if not ranking.is_file():
        raise StudyError(f"there is no ranking {str(ranking)!r}; save one first")
    results = load_study(file, settings or ()).results(seeds=seeds_from(seeds))
    found = results.compare(Ranking.load(ranking), metric, ranked)
    print(found)
    if plot is not None:
        found.plot().savefig(plot)


def _arms(arms: list[str] | None, more: list[str] | None) -> list[str] | None:
    """`--arms a b`: what follows the first name is read as arguments."""
    if more and not arms:
        raise StudyError(f"got {more[0]!r}; arms are named so: --arms {more[0]}")
    return [*(arms or ()), *(more or ())] or None


study.command()(told(plan))
study.command()(told(run))
study.command()(told(show))
study.command()(told(compare))
