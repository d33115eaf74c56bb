"""A sitting with a person: the scene is set, something is shown, it is said how that went, and on to the next."""

import functools
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any
from uuid import UUID

from appliance import station
from appliance.asking import DISCARDED, UNSAID, Asking, Hears, Shown, Typing, View, told
from appliance.begins import fits
from appliance.collect import CannotCollect, starts
from appliance.home import Home
from appliance.keys import Keyboard
from appliance.mending import mend
from appliance.offers import Offer, offers, scene
from appliance.session import NotThere, Session, State, sitting
from appliance.station import Station
from collectors import Agent, Ended, Event, Events, Lacking, Source
from collectors.agents import Finishing, Lasting, Telling
from collectors.events import ENDS, Press
from collectors.ways import WAYS, Place, Pulse, agent, can, report
from drivers import DeviceError
from drivers.hosted import Hosted
from ops import axes, leases
from storage import Edit, EditKind, Episode, Outcome

LIMIT = 120.0
"""Seconds until a take of a person ends anyway."""

SPARE = 10.0
"""Seconds that an agent may take longer than it needs."""

BRIEF = 0.25
"""A take of fewer seconds succeeded only if the person says so once more: a button may have been touched."""

MINDS = {"replay": "Hands away: the robot moves alone. ", "kinesthetic": "Hold the arm: it gives way. "}
"""What a person has to mind when a take begins."""

VERDICTS = {
    Event.SUCCESS: "it succeeded",
    Event.FAILURE: "it failed",
    Event.DISCARD: "discard it",
    Event.AGAIN: "discard it, and record it again",
}


def place(cell: Station, events: Events, way: str, repeats: Episode | None = None) -> Place:
    """What whoever drives at a station is given.

    Raises:
        CannotCollect: the station lacks something that this way needs.
    """
    settings = cell.ways.get(way, {})
    named = str(settings.get("device", ""))
    pulse = shaking({named: cell.drivers[named]} if named in cell.drivers else cell.drivers)
    found = Place(cell.robot, cell.drivers, cell.hz, events, pulse, repeats, settings)
    if lacks := WAYS[way].lacks(found):
        line = getattr(cell.cell, "adds", {}).get(way)
        raise CannotCollect(f"--by {way} at {cell.name} needs {lacks if line is None else f'[cell] to say: {line}'}")
    return found


def ways(cell: Station) -> list[str]:
    """How tasks can be shown at a station; what repeats an episode is left out."""
    found = Place(cell.robot, cell.drivers, cell.hz)
    return [name for name, way in WAYS.items() if not way.lacks(found)]


def shaking(devices: Mapping[str, Any]) -> Pulse:
    """What shakes the things in a person's hands: the first of the devices that can; or nothing."""
    for device in devices.values():
        if can(device, "pulse"):
            return functools.partial(_shake, device)
    return lambda _hand, _seconds, _amplitude: None


def _shake(device: Any, hand: int, seconds: float, amplitude: float) -> None:
    """Nobody drives worse for a pulse that is not felt: a device that is lost is the loop's to tell."""
    with suppress(DeviceError):
        if isinstance(device, Hosted):
            device.tell("pulse", hand=hand, seconds=seconds, amplitude=amplitude)
        else:
            device.pulse(hand, seconds, amplitude)


@dataclass(frozen=True)
class Wish:
    """What a person wants to show, and how."""

    home: Home
    station: str
    way: str
    operator: str
    task: str | None = None
    """None to choose at the table."""
    order: int | None = None
    takes: int | None = None
    """None for one, or what an order lacks."""
    seed: int | None = None
    """Which scenes, where a program sets them; None to go on."""
    limit: float = LIMIT
    replay: bool = False
    follows: str | None = None
    """The episode to repeat, for ``replay``."""
    vary: tuple[str, ...] = ()
    """The axes along which takes are varied in turn."""


@contextmanager
def attended(wish: Wish, hears: Hears, tell: Callable[[str], None]) -> Generator["Attended"]:
    """Connect a station for a person whose keys are heard so.

    Raises:
        CannotCollect: the station lacks something that this way needs, or nothing like that was ever recorded.
        NoPedal: the station's pedal cannot be heard.
        StationError: there is no such station, its file is wrong, or its scene cannot be varied so.
        Unknown: there is no such task or episode.
        drivers.DeviceError: a device does not answer.
    """
    cell = station.load(wish.station)
    with wish.home.join() as catalog, ExitStack() as stack:
        stack.enter_context(leases.attending(wish.home.folder, f"{wish.operator} collects"))
        found = offers(catalog, wish.task, wish.order, wish.takes)
        repeated = None if wish.follows is None else catalog.standing(wish.follows)
        record = None if repeated is None else Episode(wish.home.folder / repeated.path)
        events = Events()
        here = place(cell, events, wish.way, record)
        if cell.pedal is not None:
            stack.enter_context(cell.pedal.hear(events))
        session = stack.enter_context(sitting(cell, catalog, wish.home.folder, wish.operator))
        session.events, session.sources = events, WAYS[wish.way].sources(here)
        session.set_by_hand = cell.cell is None
        typing = stack.enter_context(hears(session, cell.keys))
        yield Attended(
            session,
            here,
            wish.way,
            found,
            functools.partial(_seeds, wish, cell),
            wish.limit,
            wish.replay,
            None if repeated is None else repeated.episode,
            typing,
            tell=tell,
            vary=cell.vary(wish.vary),
        )


def _seeds(wish: Wish, cell: Station, offer: Offer) -> tuple[int, ...]:
    """Starts for the takes of an offer, where a program sets the scene."""
    if cell.cell is None:
        return ()
    with wish.home.join() as catalog:
        order = None if offer.order is None else catalog.work_order(offer.order)
    meant = fits(cell, offer.task.instruction, order)
    return starts(wish.home, wish.task, cell.name, offer.wanted, wish.seed, meant)


@dataclass
class Attended:
    """A sitting in which a person shows something, and says how it went."""

    session: Session
    place: Place
    way: str
    offers: Sequence[Offer]
    starts: Callable[[Offer], Sequence[int]] = lambda _offer: ()
    """Seeds of an offer's scenes, one after the other, where a program sets them."""
    limit: float = LIMIT
    replay: bool = False
    """Whether every success is repeated by the robot alone."""
    follows: UUID | None = None
    """The episode that is repeated, when all of them repeat one."""
    typing: Typing | None = None
    make: Callable[[str, Place], Agent] = agent
    """Makes whoever drives, of a way."""
    tell: Callable[[str], None] = lambda _line: None
    """Given a line for every take that is over."""
    view: View = field(default_factory=View)
    vary: Sequence[str] = ()
    """The axes along which takes are varied in turn."""

    def __post_init__(self) -> None:
        self._asking = Asking(self.session, self.view, self.typing)
        self._sources = self.session.sources

    def run(self) -> bool:
        """Go on until everything wanted was shown; return whether it was, and not stopped before.

        Raises:
            RecordingFailed: rows could not be kept.
            Lacking: the place has not what whoever drives needs.
        """
        offer = self._offer()
        if offer is None:
            return False
        self.session.order, self.view.offer, driver = offer.order, offer, self.make(self.way, self.place)
        self._before = len(self.view.shown) if offer.order is None else self.session.catalog.order_progress(offer.order)
        starts = self.starts(offer)
        while (made := self._done(offer)) < offer.wanted:
            start = starts[made % len(starts)] if starts else made
            condition = (
                ({"seed": start} if starts else {}) | axes.shown(self.vary or offer.vary, start) | dict(offer.condition)
            )
            shown = self._take(driver, self.way, offer, condition, self.follows)
            if shown is None:
                return False
            if self.replay and shown.said == str(Outcome.SUCCESS) and not self._repeat(shown.episode, offer, condition):
                return False
        return True

    def _done(self, offer: Offer) -> int:
        """How many takes count: for an order, those that are good to learn from, whoever made them since."""
        if offer.order is None:
            return sum(one.kept and one.way == self.way for one in self.view.shown[self._before :])
        return self.session.catalog.order_progress(offer.order) - self._before

    def _offer(self) -> Offer | None:
        if len(self.offers) == 1:
            return self.offers[0]
        chosen = self._asking.choose("What shall be shown?", [one.words for one in self.offers])
        return None if chosen is None else self.offers[chosen]

    def _repeat(self, episode: UUID, offer: Offer, condition: Mapping[str, Any]) -> bool:
        """Let the robot do alone what it was just shown, or not; False when the sitting is over."""
        row = self.session.catalog.episode(episode)
        again = replace(self.place, repeats=Episode(self.session.root / row.path))
        try:
            driver = self.make("replay", again)
        except Lacking as error:
            self.tell(f"not repeated: {error}")
            return True
        while True:
            shown = self._take(driver, "replay", offer, condition, episode)
            if shown is None or shown.kept or shown.episode == episode:
                return shown is not None

    def _take(
        self, driver: Agent, way: str, offer: Offer, condition: Mapping[str, Any], follows: UUID | None
    ) -> Shown | None:
        """Have one take made and judged, or the last one taken back or left as it is; None when the sitting is over."""
        task, done = offer.task, driver.done if isinstance(driver, Finishing) else _never
        limit = max(self.limit, driver.lasts + SPARE) if isinstance(driver, Lasting) else self.limit
        self.session.sources = self._heard(way)
        while True:
            event = self._ready(way, offer, condition)
            if event is None:
                return None
            if event is Event.FAILURE:
                return next(one for one in self.view.shown if one.episode == follows)
            if event is not Event.START:
                if (back := self._take_back()) is not None:
                    return back
                continue
            if (pressed := self.session.events.take(*ENDS)) is not None:
                self.tell(f"no take begins: {pressed} was pressed")
                continue
            self.view.asks = task.instruction
            try:
                episode = self.session.run(driver, way, task, limit, done, condition=condition, follows=follows)
            except NotThere as error:
                self.tell(str(error))
                continue
            shown = self._settle(episode, way)
            self.view.shown.append(shown)
            self.tell(f"{shown.said}: {shown.facts}")
            if self.session.stop.is_set():
                return None
            return shown

    def _heard(self, way: str) -> Sequence[Source]:
        """What counts: no button of an arm that moves alone, for whoever presses that one has a hand on it."""
        return [one for one in self._sources if way != "replay" or one.stream != self.place.robot.name]

    def _ready(self, way: str, offer: Offer, condition: Mapping[str, Any]) -> Event | None:
        """Wait until the person begins, takes back the last take, or leaves it; None when they end the sitting."""
        kinds = [Event.START, Event.DISCARD, Event.AGAIN, Event.STOP]
        leave = ""
        if way != self.way:
            kinds, leave = [*kinds, Event.FAILURE], "; FAILURE: leave it as it was shown"
        self.session.events.clear()
        sets = "Set the scene" if self.session.set_by_hand else "The scene"
        self.view.asks = f"{MINDS.get(way, '')}{sets}: {scene(condition)}. START: {offer.task.instruction}{leave}"
        while True:
            event = self._asking.wait(None, *kinds)
            if event is Event.START and (trouble := self._mended()):
                self.tell(f"no take begins: {trouble}")
                continue
            if event is Event.START:
                self.place.pulse(1, 0.1, 0.6)
            return None if event is Event.STOP else event

    def _mended(self) -> str:
        """Have what was lost come back; return what does not."""
        return mend(self.place.devices.values(), self.session.loop.clock.now())

    def _take_back(self) -> Shown | None:
        """Discard the last take after all."""
        if not self.view.shown or not self.view.shown[-1].kept:
            return None
        last = self.view.shown[-1]
        self._retire(last.episode)
        self.view.shown[-1] = back = replace(last, said=DISCARDED)
        self.tell(f"{DISCARDED}: the last take, that was {last.said}")
        return back

    def _settle(self, episode: UUID, way: str) -> Shown:
        """Say of a take how it went."""
        facts = self._facts(episode)
        event = self.session.ended if self.session.ended in VERDICTS else None
        if event is Event.SUCCESS and self.session.catalog.episode(episode).seconds < BRIEF:
            event = None
        while not self.session.stop.is_set():
            if event is None:
                asks = f"{facts}. How did it go?"
                chosen = self._asking.choose(asks, list(VERDICTS.values()), {one: k for k, one in enumerate(VERDICTS)})
                if chosen is None:
                    break
                event = list(VERDICTS)[chosen]
            if event is Event.FAILURE:
                if (said := self._asking.failure(self.session.catalog.episode(episode).task)) is not None:
                    return Shown(episode, way, said, facts)
                event = None
            elif event is Event.SUCCESS:
                self.session.judge(Outcome.SUCCESS)
                return Shown(episode, way, str(Outcome.SUCCESS), facts)
            else:
                self.session.later()
                self._retire(episode)
                return Shown(episode, way, DISCARDED, facts)
        self.session.later()
        return Shown(episode, way, UNSAID, facts)

    def _retire(self, episode: UUID) -> None:
        why = "discarded in the sitting it was recorded in"
        self.session.catalog.edit(Edit(episode=episode, kind=EditKind.RETIRE, by=self.session.operator, why=why))

    def _facts(self, episode: UUID) -> str:
        """How long a take was and how well it was recorded."""
        row = self.session.catalog.episode(episode)
        record = Episode(self.session.root / row.path)
        graded = {"gap {:.0f} ms": (row.gap, 1e3), "lost {:.1f} %": (row.lost, 1), "late {:.0f} ms": (row.late, 1e3)}
        parts = [f"{row.seconds:.1f} s", *(f"ended by {row.ended_by}" for _ in range(row.ended_by != Ended.DONE))]
        parts += [words.format(value * by) for words, (value, by) in graded.items() if value is not None]
        parts += [said for said in (report(row.agent, record),) if said]
        parts += [f"put aside: {why}" for why in (record.attributes.get("quarantine"),) if why]
        return ", ".join(parts)


def _never(_seen: object) -> bool:
    return False


@contextmanager
def interrupts(session: Session) -> Generator[None]:
    """Let the first Ctrl-C of a take end it safely, and any other stop the sitting; a third one interrupts at once."""

    def hear(_number: int, _frame: FrameType | None) -> None:
        if session.stop.is_set():
            raise KeyboardInterrupt
        if session.state is State.RUNNING and not session.interrupted:
            session.interrupted = True
            session.events.put(Event.STOP)
        else:
            session.stop.set()

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def at_terminal(session: Session, keys: Mapping[str, Press]) -> Generator[Typing | None]:
    """Let Ctrl-C count and, where somebody types, the keys of this terminal."""
    with interrupts(session):
        if not sys.stdin.isatty():
            yield None
            return
        with Keyboard(session.events, keys) as keyboard:
            yield keyboard


def lines(attended: Attended) -> list[str]:
    """What the person sees, top to bottom."""
    view, session = attended.view, attended.session
    free = shutil.disk_usage(session.root).free / 1e9
    offer = view.offer
    top = [f"{offer.words}" if offer else attended.way, f"take {len(view.shown) + 1}", f"{view.good} good"]
    found = ["   ".join([*top, f"{free:.1f} GB free"])]
    if session.state is State.RUNNING:
        took = f"REC {time.monotonic() - session.began:.1f} s of {attended.limit:g}" if session.recording else "..."
        driving = session.driving  # it may be gone in the next line: another thread draws
        found.append(f"{took}   {driving.status if isinstance(driving, Telling) else ''}")
    return found + told(view)
