"""A person at the command line: what they type, and what a command answers."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from appliance.cli import main


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


type Type = Callable[..., Said]


def typing_on(capsys: pytest.CaptureFixture[str]) -> Type:
    """A way to type commands in this process, and to read what they print."""

    def run(*words: str) -> Said:
        capsys.readouterr()
        try:
            main(words)
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run
