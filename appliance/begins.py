"""What takes at a station begin from, and which of them a work order asks for."""

from collections.abc import Callable, Mapping
from typing import Any

from appliance.refusal import Refusal
from appliance.station import Station
from drivers.device import Foreseeing
from ops.axes import AXES, of_scene, shown
from ops.slices import Slice, Start
from ops.starts import start
from storage import WorkOrder


class CannotOrder(Refusal):
    """An order cannot be made, fulfilled or measured. The message says why."""


def begins(cell: Station, condition: Mapping[str, Any], instruction: str) -> Start:
    """What a take with this condition begins from. Where people set the scene, what they were asked for is all."""
    table = cell.cell
    scene = of_scene(condition)
    return start(table.places(scene) if isinstance(table, Foreseeing) else {}, condition, instruction)


def fits(cell: Station, instruction: str, order: WorkOrder | None) -> Callable[[int], bool]:
    """Whether a seed's start is what an order asks for; without one, every start is. Along axes, takes are varied.

    Raises:
        CannotOrder: a person sets the scene, so that a seed means nothing.
    """
    part = Slice() if order is None else Slice.said(order.part)
    where = Slice(tuple(bound for bound in part.bounds if bound.feature not in AXES))
    if order is None or not where.bounds:
        return lambda _seed: True
    if not isinstance(cell.cell, Foreseeing):
        raise CannotOrder(f"at {cell.name} a person sets the scene; order {order.id} wants: {part.words}")
    along = varied(order)
    return lambda seed: where.holds(begins(cell, {"seed": seed, **shown(along, seed), **order.condition}, instruction))


def varied(order: WorkOrder) -> tuple[str, ...]:
    """The axes along which takes for an order, and trials of what it brought, are varied: those that its part names."""
    return tuple(bound.feature for bound in Slice.said(order.part).bounds if bound.feature in AXES)
