"""The rules for old episodes as background work, to be asked for every night."""

from datetime import UTC, datetime
from typing import Any

from appliance.doing import Doing
from appliance.home import Home
from ops import keeping
from ops.keeping import Done, Due


def keep(home: Home, settings: dict[str, Any], doing: Doing) -> dict[str, Any]:
    """Do what the rules in force say, or only those whose numbers are in ``rules``. Asked again, it does the rest."""
    only = settings.get("rules")
    with home.join() as catalog:
        rules = [rule for rule in catalog.keeping_rules() if only is None or rule.id in only]
        planned = keeping.plan(catalog, home.folder, datetime.now(UTC), rules)

        def tell(due: Due, done: int, why: str) -> None:
            said: dict[str, Any] = {"level": "error", "why": why} if why else {}
            what = "left as it was, against a rule" if why else "kept by a rule"
            doing.log(what, episode=str(due.found.row.id), rule=due.rule.id, does=str(due.does), **said)
            doing.tell("episodes", done, len(planned.due))

        return told(keeping.run(catalog, home.folder, planned, tell))


def told(done: Done) -> dict[str, Any]:
    """What the rules did, as facts."""
    return {"did": {str(kind): number for kind, number in done.did.items()}, "freed": done.freed, "failed": done.failed}
