"""A sitting at the screen: what is wanted is shown, one thing after the other, until the operator ends it."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from appliance.asking import Hears, View
from appliance.offers import Offer, offers
from appliance.session import Session
from appliance.sitting import Attended, Wish, attended
from appliance.tui.table import Tell

MANY = 100
"""Takes of a task that no order asks for, before it is asked again what shall be shown."""


@dataclass
class OneAfterAnother:
    """Sittings without a pause: when what was wanted is shown, it is asked what comes next."""

    attended: Attended
    wish: Wish

    @property
    def session(self) -> Session:
        return self.attended.session

    @property
    def view(self) -> View:
        return self.attended.view

    def run(self) -> bool:
        """Go on until the operator ends it, or what they asked for by its number is shown."""
        while self.attended.run():
            if self.wish.order is not None:
                return True
            self.attended.offers = self.offered()
        return False

    def offered(self) -> Sequence[Offer]:
        """What may be shown now: open orders, and tasks for as long as one likes."""
        with self.wish.home.join() as catalog:
            found = offers(catalog, self.wish.task, self.wish.order, self.wish.takes)
        return [one if one.order is not None or self.wish.takes else replace(one, wanted=MANY) for one in found]


@contextmanager
def seated(wish: Wish, hears: Hears, tell: Tell) -> Generator[OneAfterAnother]:
    """Connect a station for sittings one after the other. Raises as `attended` does."""
    with attended(wish, hears, tell) as first:
        found = OneAfterAnother(first, wish)
        first.offers = found.offered()
        yield found
