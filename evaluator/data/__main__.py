"""`python -m evaluator.data fetch mnist [cifar10]`: fetches data sets ahead of their first use, with a progress bar."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from evaluator.data.fetching import RECIPES, Fetching, fetch
from evaluator.errors import RedoubtError


def main() -> int:
    """Returns the exit status: 0 when every data set is in place, 1 when one could not be had."""
    parser = argparse.ArgumentParser(prog="python -m evaluator.data", description="Fetches data sets into the cache.")
    parser.add_argument("command", choices=["fetch"])
    parser.add_argument("dataset", nargs="+", choices=sorted(RECIPES))
    arguments = parser.parse_args()
    console = Console(stderr=True)
    for dataset in arguments.dataset:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TimeElapsedColumn())
        try:
            with Progress(*columns, console=console, transient=True) as progress:
                task = progress.add_task(f"{dataset}: checking", total=None)

                def show(step: Fetching, name: str = dataset, bar: Progress = progress, task: object = task) -> None:
                    bar.update(task, description=f"{name}: {step.source}", completed=step.bytes)  # type: ignore[arg-type]

                folder = fetch(dataset, on_progress=show)
        except RedoubtError as error:
            console.print(f"error: {error}", style="red", markup=False, highlight=False)
            return 1
        print(f"{dataset}: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
