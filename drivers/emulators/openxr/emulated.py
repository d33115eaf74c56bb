"""A headset that needs none: the real driver on an emulated runtime, with a person who follows a script."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from drivers.device import DeviceError
from drivers.emulators.openxr.admin import listening
from drivers.emulators.openxr.person import circles, played
from drivers.openxr.headset import Headset

if TYPE_CHECKING:
    from drivers.emulators.openxr.runtime import Runtime


@dataclass
class Emulated(Headset):
    """A ``Headset`` on an emulated OpenXR runtime in the same program, for a station without one.

    Everything of the driver runs for real, pyopenxr and the Khronos loader included. A program can have one.
    """

    script: Path | None = None
    """What the person does, a line of JSON per moment; without, the right hand draws circles."""
    profile: str = "/interaction_profiles/oculus/touch_controller"
    """The kind of controllers."""
    port: int = 0
    """Where other programs may inject faults, see ``drivers.emulators.openxr.admin``; 0 for nowhere."""

    @property
    def runtime(self) -> "Runtime":
        """The other end of the wire, while it is entered.

        Raises:
            DeviceError: it is not.
        """
        runtime: Runtime | None = getattr(self, "_runtime", None)
        if runtime is None:
            raise DeviceError(f"{self.name} has not been entered; use it as a context manager")
        return runtime

    def __enter__(self) -> Self:
        self._load()
        from drivers.emulators.openxr.runtime import Runtime

        script = circles if self.script is None else played(self.script)
        with ExitStack() as stack:
            runtime = Runtime(script, profile=self.profile)
            stack.enter_context(runtime.installed())
            if self.port:
                stack.enter_context(listening(runtime, self.port))
            super().__enter__()
            self._runtime: Runtime | None = runtime
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if getattr(self, "_runtime", None) is not None:
            self._runtime = None
            self._stack.close()
