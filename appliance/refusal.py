"""When the appliance says no."""

import logging

log = logging.getLogger(__name__)


class Refusal(Exception):
    """What was wrong, where, and what would have been right: for a person, without a traceback."""


def refusal(error: Exception) -> str | None:
    """Return what a person is told of an error that is a clear no; None for a mistake of the program.

    What the disk or the network refuses is a clear no, too: the message names the file.
    """
    from collectors import Lacking, RecordingFailed
    from drivers import DeviceError
    from storage import Refused, Unavailable, Unknown

    if isinstance(error, (Refusal, DeviceError, Lacking, RecordingFailed, Refused, Unavailable, Unknown)):
        return str(error)
    if isinstance(error, OSError):
        return str(error) if error.filename is None else f"{error.filename}: {error.strerror}"
    return None


def said(error: Exception) -> str:
    """What a person at a screen that goes on reads of an error; a mistake of the program is logged with its trace."""
    if (refused := refusal(error)) is not None:
        return refused
    log.error("a mistake of the program", exc_info=error)
    return f"{type(error).__name__}: {error}"
