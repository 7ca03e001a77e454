"""Options that every command takes, spelled once."""

from pathlib import Path
from typing import Annotated

import typer

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
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more; show tracebacks of errors.")
]
