"""When on the host's clock something happened, told from the clock of a page on another machine."""

WINDOW = 25
"""Answers after which the older ones begin to be forgotten; the page is asked every `ASKED` seconds."""

ASKED = 0.2


class Offset:
    """From a page's clock to the host's, never too young.

    An answer is never given before its question was asked, so the host's clock was at least at the question when the
    page's showed what the answer says. The largest such difference is late by no more than the quickest question's
    way: a row stamped by it may look that much older than it is, never younger, however long rows are on their way.
    Two windows take turns, so that the offset follows when the page's clock drifts or stands still.
    """

    def __init__(self) -> None:
        self._largest: int | None = None
        self._before: int | None = None
        self._count = 0

    def answered(self, asked: int, own: int) -> None:
        """Take note that the page's clock was at ``own`` after ``asked`` on the host's, both in nanoseconds."""
        if self._count == WINDOW:
            self._count, self._before, self._largest = 0, self._largest, None
        self._count += 1
        self._largest = asked - own if self._largest is None else max(self._largest, asked - own)

    def stamp(self, own: int) -> int | None:
        """Return when the page's ``own`` nanoseconds were, at the earliest; None before its first answer."""
        known = [difference for difference in (self._largest, self._before) if difference is not None]
        return own + max(known) if known else None
