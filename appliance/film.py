"""Film of people doing a task: which of it is learned from."""

from storage import Catalog, Listed, Outcome, Wanted

AGENTS = ("human", "synthetic_human")
"""Who acts in an episode that is film: it has no robot and no action."""

QUERY = "film of people, not judged a failure or invalid, neither retired nor quarantined"
"""Which of a task's film is learned from."""


def film(catalog: Catalog, task: str) -> list[Listed]:
    """The task's film of people, oldest first: there may be none.

    Nobody has to judge it; what somebody judged bad is left out.

    Raises:
        Unknown: there is no such task.
    """
    found = [one for agent in AGENTS for one in catalog.find(Wanted(task=task, agent=agent, quarantined=False))]
    good = [one for one in found if one.standing.outcome in {None, Outcome.SUCCESS}]
    return sorted(good, key=lambda one: (one.row.started, one.row.id))
