"""A job's process, for tests: it tells, waits, fails or dies, as its settings say, and writes down that it ran."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Do what the job asks."""
    asked = json.load(sys.stdin)
    wish: dict[str, Any] = asked["settings"]
    ran = Path(wish["note"])
    with ran.open("a") as note:
        note.write(f"{asked['job']} {os.getpid()}\n")
    lines = ran.read_text().count(f"{asked['job']} ")
    done = Path(f"{ran}.{asked['job']}")
    asked_to_stop = [False]

    def stop(_number: int, _frame: object) -> None:
        asked_to_stop[0] = True

    signal.signal(signal.SIGTERM, stop)
    begins = int(done.read_text()) if done.exists() else 0
    for step in range(begins, int(wish.get("steps", 1))):
        time.sleep(float(wish.get("seconds", 0.01)))
        say(progress={"what": "stepping", "done": step + 1, "of": wish["steps"], "loss": 1 / (step + 1)})
        done.write_text(str(step + 1))
        if asked_to_stop[0]:
            raise SystemExit(75)
    if lines <= int(wish.get("dies", 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    if lines <= int(wish.get("fails", 0)):
        say(refused="there is nothing new to learn from")
        raise SystemExit(1)
    if wish.get("mistake"):
        raise ZeroDivisionError("a mistake of the program")
    say(log={"what": "it is done", "level": "info"})
    say(result={"steps": wish.get("steps", 1), "attempt": lines})


def say(**said: Any) -> None:
    """A line for the worker."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
