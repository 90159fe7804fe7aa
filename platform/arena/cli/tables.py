"""Tables on stdout that cut nothing: what they show, people copy into the next command."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 10_000


def show(table: Table) -> None:
    """Prints the table at the terminal's width, wider where words would be cut; into a file or a pipe a line for each row."""
    console = Console()
    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), table)
    Console(width=max(console.width, needed.minimum if console.is_terminal else needed.maximum)).print(table)
