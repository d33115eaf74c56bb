"""``appliance lineage``: where a policy, a trial or an episode comes from, and what came of it."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.opened import opened
from appliance.cli.options import AsJson
from appliance.cli.shown import print_wide, show_one

if TYPE_CHECKING:
    from rich.tree import Tree

    from ops.lineage import Branch
    from storage import Catalog

ways = typer.Typer()

Picture = Annotated[
    Path | None, typer.Option("--save", help="Draw it into this file, too; its ending says how: .svg or .png.")
]


@ways.command()
def lineage(
    of: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A policy's name or ID; an episode's ID; or a trial: its BATCH:TURN."),
    ],
    save: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Show where something comes from, down to who showed it with what, and what came of it."""
    from ops import lineage as lines
    from storage import PolicyRow

    with opened() as (home, catalog):
        found = _named(catalog, of)
        if isinstance(found, PolicyRow):
            facts = lines.of_policy(catalog, home.folder, found)
            tree = lines.tree(facts)
        else:
            facts = lines.of_episode(catalog, home.folder, found.id)
            tree = lines.tree_of_episode(facts)
    answer(facts, tree, save, as_json)


def answer(facts: dict[str, Any], tree: "Branch", save: Path | None, as_json: bool) -> None:
    """Print a tree, or what it says as JSON; and draw it, if that is asked.

    Raises:
        Refusal: the file's ending is of no picture that can be drawn.
    """
    if as_json:
        show_one(facts, as_json)
    else:
        print_wide(grown(tree))
    if save is None:
        return
    from appliance.refusal import Refusal
    from ops.family import draw

    try:
        draw(tree, save)
    except ValueError as error:
        raise Refusal(f"{save}: {error}") from error
    typer.echo(f"Wrote {save}", err=as_json)


def grown(branch: "Branch") -> "Tree":
    """A tree for the terminal."""
    from rich.text import Text
    from rich.tree import Tree

    bold = branch.kind == "policy"
    made = Tree(Text(branch.says, style="bold" if bold else ""), guide_style="dim")
    for one in branch.branches:
        made.children.append(grown(one))
    return made


def _named(catalog: "Catalog", of: str) -> Any:
    """The policy or the episode of that name; a trial is the episode that ran it.

    Raises:
        Refusal: there is none, or the trial has not run.
    """
    from appliance.refusal import Refusal
    from storage import Unknown

    batch, colon, turn = of.rpartition(":")
    if colon:
        ran = {str(one.turn): one.episode for one in catalog.trials(batch)}
        if turn not in ran:
            raise Refusal(f"batch {batch} has no turn {turn}; its turns are {min(ran, key=int)} to {max(ran, key=int)}")
        if (episode := ran[turn]) is None:
            raise Refusal(f"turn {turn} of batch {batch} has not run yet")
        return catalog.episode(episode)
    try:
        return catalog.policy(of)
    except Unknown as no_policy:
        try:
            return catalog.episode(of)
        except Unknown as no_episode:
            with suppress(Unknown):
                catalog.batch(of)
                raise Refusal(f"{of} is a batch; name one of its trials, BATCH:TURN, e.g. {of}:1") from no_episode
            raise Refusal(f"{no_policy}; nor is it an episode: {no_episode}") from no_episode
