"""What a person may be asked to show: what work orders want, or any task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.begins import varied
from appliance.collect import CannotCollect, ordered
from ops import axes
from storage import Catalog, Task


@dataclass(frozen=True)
class Offer:
    """Something that may be shown."""

    task: Task
    wanted: int
    """How many takes; of an order, how many good ones it lacks."""
    order: int | None = None
    condition: Mapping[str, Any] = field(default_factory=dict)
    """How the scene is to be set."""
    why: str = ""
    vary: tuple[str, ...] = ()
    """The axes along which takes are varied in turn, unless the person wants others."""

    @property
    def words(self) -> str:
        """In a line, e.g. ``pick_place, order 3: cube left; 12 more (it drops there)``."""
        of = f", order {self.order}: {scene(self.condition)}; {self.wanted} more" if self.order is not None else ""
        return f"{self.task.name}{of}" + (f" ({self.why})" if self.why else "")


def offers(catalog: Catalog, task: str | None, order: int | None, takes: int | None) -> list[Offer]:
    """What a person may be asked to show: one order; or the open orders and the tasks, or those of one task.

    Raises:
        CannotCollect: that order is not open, or of another task; or there is no task.
        Unknown: there is no such task.
    """
    if order is not None:
        if task is None:
            raise CannotCollect(f"--order {order} needs its task too: --task NAME")
        asked, lacking = ordered(catalog, task, order)
        return [Offer(catalog.task(task), takes or max(1, lacking), order, asked.condition, asked.why, varied(asked))]
    tasks = catalog.tasks() if task is None else [catalog.task(task)]
    if not tasks:
        raise CannotCollect(
            'there is no task yet; add one: appliance tasks add NAME --instruction "what is to be done"'
        )
    known = {one.name: one for one in tasks}
    found = [
        Offer(known[asked.task], takes or lacking, asked.id, asked.condition, asked.why, varied(asked))
        for asked in catalog.orders(closed=False)
        if asked.task in known and (lacking := asked.wanted - catalog.order_progress(asked.id)) > 0
    ]
    return found + [Offer(one, takes or 1) for one in tasks]


def scene(condition: Mapping[str, Any]) -> str:
    """How a scene is to be set, in words."""
    return axes.to_set(condition) or "as you like"
