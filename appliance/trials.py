"""Trials beside which somebody stands: they set the scene, say how it went, and may take over."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from appliance.asking import Asking, Hears, Shown, Tag, Typing, View, told
from appliance.evaluate import Here, Stopped, Trying, checked, drive, go, ready
from appliance.mending import mend
from appliance.offers import scene
from appliance.session import NotThere, State
from appliance.sitting import place
from collectors import Agent, Ended, Event, Events
from collectors.agents import Finishing
from collectors.events import ENDS
from collectors.ways import WAYS, Place, agent
from ops import failures, leases
from ops.judging.judgement import Judgement
from ops.rollout import Turn
from storage import Edit, EditKind, Episode, Observation, Outcome, Task, Trial, Wanted

LIMIT = 60.0
"""Seconds that a person may take to put right what a policy did."""

CLIP = 5.0
"""Seconds before a takeover that show what went wrong."""

INTERVENTION = "intervention"
"""Who drove, as the catalog calls them, when a person went on from a trial."""

TAKES_OVER = (Event.TAKEOVER, Event.START)
"""What hands control to the person: its own key, or whatever else begins a take."""

HELP = "Enter begin  s success  f failure  d does not count  t take over  1-9 choose  q end  Ctrl-C end"

WENT = {Event.SUCCESS: "it succeeded", Event.FAILURE: "it failed", Event.DISCARD: "it does not count"}


@dataclass
class Trials:
    """A batch with somebody beside it, who does not know which policy drives."""

    here: Here
    place: Place | None = None
    """What whoever takes over is given; None where nobody can."""
    way: str = ""
    """How they do."""
    typing: Typing | None = None
    make: Callable[[str, Place], Agent] = agent
    tell: Callable[[str], None] = lambda _line: None
    """Given a line for every trial that is over."""
    view: View = field(default_factory=View)
    trial: Trial | None = field(default=None, init=False)
    """The one in hand, or the last one. Whose it is must not be shown."""

    def __post_init__(self) -> None:
        self.session = self.here.session
        self._asking = Asking(self.session, self.view, self.typing)
        if self.place is not None:
            self.session.ends = (*ENDS, *TAKES_OVER)

    def run(self) -> bool:
        """Go on until every trial has run; return whether that is so, and it was not stopped before.

        Raises:
            CannotEvaluate: a policy's server is gone, or the cell is another than demonstrations know.
            RecordingFailed: rows could not be kept.
        """
        go(self.here, self.attempt, self._close)
        return self.session.catalog.batch(self.here.batch.id).closed is not None

    def attempt(self, trial: Trial) -> tuple[UUID, Judgement]:
        """Run one trial and have it judged.

        Raises:
            Stopped: the person ends the batch; the trial is given back.
            Deserted, Unlike: see `appliance.evaluate`.
        """
        self.trial, task = trial, self.session.catalog.task(trial.task)
        self._begin(trial, task)
        here = self.here
        episode = drive(self.session, here.drivers, here.limit, here.trying.delay, trial, self._over(task))
        pressed = self.session.ended
        self.session.later()
        if pressed in TAKES_OVER:
            judgement = self._taken_over(trial, task, episode)
        else:
            judgement = self._judged(task, episode, pressed)
        return episode, checked(self.session, here.drivers, trial, episode, judgement)

    def _begin(self, trial: Trial, task: Task) -> None:
        """Have the scene set, and wait until the person begins."""
        self.session.events.clear()
        sets = "Set the scene" if self.session.set_by_hand else "The scene"
        over = " TAKEOVER ends it, and you go on." if self.place is not None else ""
        self.view.asks = f"{sets}: {scene(trial.condition)}. START: {task.instruction}.{over}"
        while True:
            event = self._asking.wait(None, Event.START, Event.STOP)
            if event is not Event.START:
                self.session.stop.set()
                raise Stopped
            if not (trouble := self._mended()):
                break
            self.tell(f"no trial begins: {trouble}")
        self.view.asks = task.instruction

    def _mended(self) -> str:
        return mend(self.here.cell.drivers.values(), self.session.loop.clock.now())

    def _over(self, task: Task) -> Callable[[Observation], bool]:
        """Whether the task is done, where the cell can tell; elsewhere the person does."""

        def over(seen: Observation) -> bool:
            return "truth" in seen.streams and failures.finished(seen, task.instruction)

        return over

    def _judged(self, task: Task, episode: UUID, pressed: Event | None) -> Judgement:
        """Have it said how a trial went: by rules that need no person, unless one has said so.

        A policy that has the arm brake has failed; where no truth tells how, the person says it.
        """
        row = self.session.catalog.episode(episode)
        if row.ended_by == Ended.FAULT:
            record = Episode(self.session.root / row.path)
            found = failures.judge(record, task.instruction)
            if found.outcome is not Outcome.INVALID or failures.caused(record) is None:
                return found
        rules = self._by_rules(task, episode)
        if pressed is None and rules is not None and not self.session.stop.is_set():
            return rules
        event = pressed if pressed in WENT else None
        while True:
            if event is None:
                asks = "How did it go?"
                chosen = self._asking.choose(asks, [*WENT.values()], {one: k for k, one in enumerate(WENT)})
                if chosen is None:
                    raise Stopped
                event = [*WENT][chosen]
            if event is Event.SUCCESS:
                return _said(Outcome.SUCCESS)
            if event is Event.DISCARD:
                return _said(Outcome.INVALID, Tag(Outcome.INVALID, "S0", "ENV", "the person says it does not count"))
            if (tag := self._asking.tag(task.name, self._likely(task, rules))) is not None:
                return _said(tag.outcome, tag)
            if self.session.stop.is_set():
                raise Stopped
            event = None

    def _taken_over(self, trial: Trial, task: Task, episode: UUID) -> Judgement:
        """Let the person go on from where the policy was, and then say what it did wrong. The trial has failed."""
        rules, seconds = self._by_rules(task, episode), self.session.catalog.episode(episode).seconds
        correction = self._correct(trial, task, episode)
        tag = None
        while tag is None or tag.outcome is not Outcome.FAILURE:
            if tag is not None:
                self.tell("what was taken over has failed; a stage from S1 on says where")
            tag = self._asking.tag(task.name, self._likely(task, rules))
            if self.session.stop.is_set():
                raise Stopped
        clip = [max(0.0, seconds - CLIP), seconds]
        said = {"taken_over": seconds, "clip": clip, "correction": correction and str(correction)}
        return _said(Outcome.FAILURE, tag, **said)

    def _correct(self, trial: Trial, task: Task, episode: UUID) -> UUID | None:
        """Record what the person does from there, as a demonstration if it succeeds; None where they could not."""
        if self.place is None or self.session.stop.is_set():
            return None
        driver = self.make(self.way, self.place)
        done = driver.done if isinstance(driver, Finishing) else lambda _seen: False
        self.session.ends = ENDS
        try:
            correction = self.session.run(
                *(driver, INTERVENTION, task, LIMIT, done), condition=trial.condition, corrects=episode
            )
        except NotThere as error:
            self.tell(str(error))
            return None
        finally:
            self.session.ends = (*ENDS, *TAKES_OVER)
        rules = self._by_rules(task, correction)
        if self.session.ended is Event.SUCCESS or (
            self.session.ended is None and rules is not None and rules.outcome is Outcome.SUCCESS
        ):
            self.session.judge(Outcome.SUCCESS)
            return correction
        self.session.later()
        if self.session.ended in {Event.DISCARD, Event.AGAIN}:
            why = "discarded in the batch it was recorded in"
            by = self.session.operator
            self.session.catalog.edit(Edit(episode=correction, kind=EditKind.RETIRE, by=by, why=why))
        return correction

    def _by_rules(self, task: Task, episode: UUID) -> Judgement | None:
        """What rules say of a take; None where they can say nothing."""
        record = Episode(self.session.root / self.session.catalog.episode(episode).path)
        if "truth" not in record.streams:
            return None
        found = failures.judge(record, task.instruction)
        return None if found.outcome is Outcome.INVALID else found

    def _likely(self, task: Task, rules: Judgement | None) -> tuple[str, str] | None:
        """The stage and code that is most likely meant: what rules say, or how the task fails most often."""
        if rules is not None and rules.stage and rules.code:
            return rules.stage, rules.code
        catalog = self.session.catalog
        failed = [one.row.id for one in catalog.find(Wanted(task=task.name, outcome=Outcome.FAILURE))]
        told_ = Counter((one.stage, one.failure) for one in catalog.last_verdicts(failed).values())
        named = [(stage, code) for (stage, code), _ in told_.most_common() if stage and code]
        return named[0] if named else None

    def _close(self, turn: Turn) -> None:
        """Tell that a trial is over, and not whose it was."""
        said, facts = f"{turn.outcome} {turn.code or ''}".strip(), f"trial {turn.turn} of {turn.of}"
        self.tell(f"{facts}: {said}")
        self.view.shown.append(Shown(UUID(int=turn.turn), "policy", said, facts))


def _said(outcome: Outcome, tag: Tag | None = None, **evidence: Any) -> Judgement:
    """What a person says of a trial."""
    if tag is None:
        return Judgement(outcome, None, None, (), evidence, "S5", "human")
    why = {"why": tag.note} if tag.note else {}
    return Judgement(outcome, tag.stage, tag.code, (), evidence | why, tag.stage, "human")


@contextmanager
def attending(trying: Trying, operator: str, way: str, hears: Hears, tell: Callable[[str], None]) -> Generator[Trials]:
    """Connect a station for trials with somebody beside it.

    Args:
        trying: the batch.
        operator: who stands there.
        way: how they take over, e.g. ``vr``; empty if they do not.
        hears: how their keys are heard.
        tell: given a line for every trial that is over.

    Raises:
        CannotCollect: the station lacks something that this way needs.
        NoPedal: the station's pedal cannot be heard.
        drivers.DeviceError: a device does not answer.
    """
    with ExitStack() as stack:
        stack.enter_context(leases.attending(trying.home.folder, f"{operator} evaluates"))
        here = stack.enter_context(ready(trying, operator, threading.Event()))
        session, cell = here.session, here.cell
        session.events = Events()
        session.set_by_hand = cell.cell is None
        beside = place(cell, session.events, way) if way else None
        if beside is not None:
            session.sources = WAYS[way].sources(beside)
        if cell.pedal is not None:
            stack.enter_context(cell.pedal.hear(session.events))
        typing = stack.enter_context(hears(session, cell.keys))
        yield Trials(here, beside, way, typing, tell=tell)


def lines(trials: Trials) -> list[str]:
    """What the person sees, top to bottom. Never which policy drives."""
    session, batch = trials.session, trials.here.batch
    found = [f"{batch.task}, batch {batch.id}   {len(trials.view.shown)} of {batch.planned} trials"]
    if session.state is State.RUNNING:
        who = "you" if trials.session.ends == ENDS and trials.place is not None else "the policy"
        found.append(f"{who}: {time.monotonic() - session.began:.1f} s" if session.recording else "...")
    return found + told(trials.view)
