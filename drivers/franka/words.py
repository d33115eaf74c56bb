"""What went wrong with a Franka and what to do about it, for the person at the cell."""

from typing import Any


def explain_state(state: Any, otherwise: str = "") -> str:
    """Say why a robot in this state does not obey, and what to do; ``otherwise`` when its state does not tell."""
    mode, errors = state.robot_mode.name, str(state.current_errors).strip("[]").replace('"', "")
    if mode == "UserStopped":
        return "the user stop is pressed, and the arm holds: release it when everybody is clear, then recover"
    if mode == "Guiding":
        return "a person leads the arm by hand: let go of the guiding button, then recover"
    if "communication_constraints_violation" in errors:
        return (
            "too many commands in a row came too late, and the arm braked: make sure that nothing else keeps this "
            "computer busy and that the cable goes straight to the controller, then recover"
        )
    if "joint_position_limits_violation" in errors:
        return (
            "a joint was pushed beyond its limit, and the arm braked: lead it back by hand, or with Desk's joint "
            "position recovery, then recover"
        )
    if "joint_reflex" in errors or "cartesian_reflex" in errors:
        return f"the arm felt a collision and braked ({errors}): look what it touched, clear the way, then recover"
    if mode == "Reflex" or errors:
        return f"the arm braked by itself ({errors or 'it does not say why'}): look whether it is clear, then recover"
    if mode not in {"Idle", "Move"}:
        return f"the robot is busy with itself (mode {mode}): wait until Desk shows it ready, then recover"
    return f"the arm stopped ({_plain(otherwise)}): look whether it is clear, then recover" if otherwise else ""


def explain_connection(host: str, error: Exception) -> str:
    """Say why a robot cannot be talked to, and what to do."""
    said, kind = _plain(str(error)), type(error).__name__
    if kind == "IncompatibleVersionException":
        return (
            f"the robot at {host} speaks another version of its interface ({said}): install the franky-control that "
            "fits its system image"
        )
    if kind == "RealtimeException":
        return f"this kernel is not real-time ({said}): boot the real-time kernel, or set realtime = 'ignore'"
    if "refused" in said:
        return f"nobody answers at {host}: switch the controller on, and activate FCI in Desk"
    if kind in {"NetworkException", "TimeoutError"} or "Net Exception" in said:
        return (
            f"no word from {host} any more ({said}): check the cable, that the controller is on, that FCI is active in "
            "Desk and that no other program is connected; then recover"
        )
    return f"the robot at {host} does not do as told ({said}): look at Desk, then recover"


def explain_priority() -> str:
    """Say what it means that this thread was not given real-time priority, which franky asks for, and how to get it."""
    return (
        "this system allows no real-time priority, so commands come late whenever the computer is busy: put "
        "'* - rtprio 99' into /etc/security/limits.conf, and log in again"
    )


def _plain(said: str) -> str:
    return said.strip().splitlines()[0].removeprefix("libfranka: ").rstrip("!. ") if said.strip() else "no reason given"
