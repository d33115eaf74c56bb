"""The door every command goes through: the data folder, and who is asking."""

import getpass
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from appliance.home import Home
    from storage import Catalog


@contextmanager
def opened() -> Generator[tuple["Home", "Catalog"]]:
    """The data folder and its catalog; what a crash left behind is brought in, and told."""
    from appliance.home import Home

    home = Home.from_environment()
    with home.open(lambda line: typer.echo(line, err=True)) as catalog:
        yield home, catalog


def user() -> str:
    """Who types, as the machine knows them."""
    try:
        return getpass.getuser()
    except OSError:
        return "somebody"
