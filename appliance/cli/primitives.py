"""``appliance primitives``: what a robot did in an episode, in words."""

from typing import Annotated

import typer

from appliance.cli.circle import fields
from appliance.cli.opened import opened
from appliance.cli.options import AsJson, OneEpisode
from appliance.cli.shown import show, show_one

naming = typer.Typer()


@naming.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def primitives(
    context: typer.Context,
    episode: OneEpisode,
    policy: Annotated[
        str | None,
        typer.Option("--policy", help="A LaDA policy: name as it does, and show what it says of its own motion."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every moment, and not just those at which words change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Name what the robot does in an episode: which way, about which axis, and whether the hand closes.

    Names are kept in the catalog, a row for each episode and way to name. Any field of the naming may be given as an
    option, e.g. --least-way 0.01 or --frame tool; --hz and --steps say how long a motion is.
    """
    from appliance.primitives import name
    from appliance.primitives import naming as how
    from appliance.settings import WrongSetting

    with opened() as (home, catalog):
        catalog.episode(episode)
    try:
        wanted = how(home, policy, fields(context.args))
    except WrongSetting as error:
        raise typer.BadParameter(str(error), context) from error
    found = name(home, episode, wanted)
    columns = ("seconds", "words", "policy says") if policy else ("seconds", "words")
    says = found.says or ("",) * len(found.words)
    rows = [
        dict(zip(("seconds", "words", "policy says"), (round(at, 3), *told), strict=True))
        for at, *told in zip(found.seconds, found.words, says, strict=True)
    ]
    if not every:
        told = [(row["words"], row["policy says"]) for row in rows]
        rows = [row for number, row in enumerate(rows) if number == 0 or told[number] != told[number - 1]]
    rows = [{column: row[column] for column in columns} for row in rows]
    if as_json:
        show_one({"episode": str(found.episode), "artefact": found.artefact, "new": found.new, "rows": rows}, as_json)
        return
    show([{**row, "seconds": f"{row['seconds']:.2f}"} for row in rows], columns, as_json)
