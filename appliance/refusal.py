"""When the appliance says no."""


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
