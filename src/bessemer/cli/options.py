"""Options that every command takes, spelled once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"


Home = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="BESSEMER_HOME",
        help="The folder with everything that this Bessemer knows and runs.",
        show_default=True,
        readable=False,  # that is judged with the home, and told with the cure
    ),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="table or json")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more; show tracebacks of errors.")
]
