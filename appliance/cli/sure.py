"""Nothing that cannot be taken back, or that much follows from, is done before a person types yes."""

import sys

import typer


def sure(asks: str, prompt: str, otherwise: str) -> None:
    """Go on only when a person types yes.

    Args:
        asks: who asks before what, e.g. ``purge asks before it deletes``.
        prompt: what the person is asked for.
        otherwise: what is said when it is not yes.

    Raises:
        Refusal: there is nobody to ask.
        typer.Exit: they did not.
    """
    from appliance.refusal import Refusal

    if not sys.stdin.isatty():
        raise Refusal(f"{asks}, and there is no terminal here; --yes says yes for scripts")
    if typer.prompt(prompt, default="no", show_default=False) != "yes":
        typer.echo(otherwise)
        raise typer.Exit(1)
