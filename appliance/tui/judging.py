"""Saying of an episode how it went: a key for success; for a failure its stage, its code, and a note."""

from abc import abstractmethod
from typing import ClassVar
from uuid import UUID

from textual import work
from textual.binding import Binding, BindingType

from appliance.asking import STAGES, Tag, ways
from appliance.tui.asks import Pick, Write
from appliance.tui.telling import Telling, Told
from appliance.verdict import judge
from storage import FailureMode, Listed, Outcome


class Judging(Telling):
    """A screen on which one episode is meant, which can be judged."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "success", "Success"),
        Binding("f", "failed", "Failed"),
        Binding("x", "invalid", "Invalid"),
    ]

    @abstractmethod
    def meant(self) -> Listed | None:
        """The episode that a key is about."""

    def judged(self) -> None:
        """Show how it stands now."""

    def action_success(self) -> None:
        """It did what it was to do."""
        if (found := self.meant()) is not None:
            self._say(found, Outcome.SUCCESS)

    def action_invalid(self) -> None:
        """The cell was at fault."""
        if (found := self.meant()) is not None:
            self._say(found, Outcome.INVALID)

    def action_failed(self) -> None:
        """It failed: have it said how."""
        if (found := self.meant()) is not None:
            self._ways(found.row.id, found.standing.task)

    @work(exclusive=True, group="tag")
    async def _say(self, found: Listed, outcome: Outcome) -> None:
        """Judge it, after a question where that would contradict what counts."""
        before = found.standing.outcome
        if before not in {None, outcome}:
            asks = Pick(f"It counts as {before}. Say {outcome} instead?", ["yes", "no"])
            if await self.app.push_screen_wait(asks) != 0:
                return
        self._judge(found.row.id, outcome, None)

    @work(thread=True, exclusive=True, group="judge")
    def _ways(self, episode: UUID, task: str) -> None:
        with self.trying(), self.room.home.join() as catalog:
            modes = catalog.failure_modes(task)
            self.call_later(self._tag, episode, modes)

    @work(exclusive=True, group="tag")
    async def _tag(self, episode: UUID, modes: list[FailureMode]) -> None:
        keys = list(STAGES)
        ask = self.app.push_screen_wait
        stage = await ask(Pick("It failed. In which stage?", [f"{key} {STAGES[key]}" for key in keys]))
        if stage is None:
            return
        here = ways(modes, key := keys[stage])
        how = await ask(Pick(f"How, in {key} {STAGES[key]}?", [f"{mode.code} {mode.name}" for mode in here]))
        if how is None or (note := await ask(Write("A note?", needed=False))) is None:
            return
        outcome = Outcome.INVALID if key == "S0" else Outcome.FAILURE
        self._judge(episode, outcome, Tag(outcome, key, here[how].code, note))

    @work(thread=True, exclusive=True, group="judge")
    def _judge(self, episode: UUID, outcome: Outcome, tag: Tag | None) -> None:
        code, note, stage = (None, "", None) if tag is None else (tag.code, tag.note, tag.stage)
        with self.trying(), self.room.home.join() as catalog:
            judge(catalog, episode, self.room.operator, outcome, code, note, stage=stage)
            self.post_message(Told(f"{str(episode)[:8]}: {outcome}{f' {code}' if code else ''}"))
            self.call_later(self.judged)
