"""The least OpenGL that a runtime wants to see where it has no sessions without pictures. Nothing is drawn."""

import ctypes
import sys
from typing import Any

from drivers.device import DeviceError
from drivers.openxr.sdk import xr

OPENGL = "XR_KHR_opengl_enable"
EGL = "XR_MNDX_egl_enable"

SURFACELESS = 0x31DD
CHOICES = (ctypes.c_int * 5)(0x3033, 0x0001, 0x3040, 0x0008, 0x3038)
"""EGL_SURFACE_TYPE, EGL_PBUFFER_BIT, EGL_RENDERABLE_TYPE, EGL_OPENGL_BIT, EGL_NONE: no window."""


def extensions(offered: set[str]) -> list[str]:
    """Which extensions a session with OpenGL needs, or none where it cannot be had: on Linux it is had without X."""
    needed = [OPENGL] if sys.platform == "win32" else [OPENGL, EGL]
    return needed if offered.issuperset(needed) else []


def context() -> "EglContext | WindowContext":
    """Open an OpenGL context for this thread.

    Raises:
        DeviceError: there is no OpenGL on this machine.
    """
    return WindowContext() if sys.platform == "win32" else EglContext()


def ask_requirements(instance: Any, system: Any) -> None:
    """Ask which OpenGL the runtime wants; no session may begin before that."""
    kind = xr.PFN_xrGetOpenGLGraphicsRequirementsKHR
    ask = ctypes.cast(xr.get_instance_proc_addr(instance, "xrGetOpenGLGraphicsRequirementsKHR"), kind)
    answer = xr.GraphicsRequirementsOpenGLKHR()
    result = xr.check_result(xr.Result(ask(instance, system, ctypes.byref(answer))))
    if result.is_exception():
        raise result


class EglContext:
    """OpenGL without any window, current on the thread that made it."""

    def __init__(self) -> None:
        try:
            egl = self._egl = ctypes.CDLL("libEGL.so.1")
        except OSError as error:
            raise DeviceError(f"the OpenXR runtime wants OpenGL, and there is none here: {error}") from error
        for name in ("eglGetDisplay", "eglGetPlatformDisplay", "eglCreateContext"):
            getattr(egl, name).restype = ctypes.c_void_p
        self._display = self._open(egl)
        config, count = ctypes.c_void_p(), ctypes.c_int()
        egl.eglBindAPI(0x30A2)  # EGL_OPENGL_API
        egl.eglChooseConfig(self._display, CHOICES, ctypes.byref(config), 1, ctypes.byref(count))
        self._context = ctypes.c_void_p(egl.eglCreateContext(self._display, config, None, None))
        if not count.value or not egl.eglMakeCurrent(self._display, None, None, self._context):
            raise DeviceError("the OpenXR runtime wants OpenGL, and EGL gives no context for it here")
        self.binding: Any = xr.GraphicsBindingEGLMNDX()
        values = (egl.eglGetProcAddress, self._display, config, self._context)
        for (field, kind), value in zip(xr.GraphicsBindingEGLMNDX._fields_, values, strict=True):
            setattr(self.binding, field, ctypes.cast(value, kind))

    @staticmethod
    def _open(egl: Any) -> ctypes.c_void_p:
        """The default display, or Mesa's without one."""
        for display in (egl.eglGetDisplay(None), egl.eglGetPlatformDisplay(SURFACELESS, None, None)):
            if display and egl.eglInitialize(ctypes.c_void_p(display), None, None):
                return ctypes.c_void_p(display)
        raise DeviceError("the OpenXR runtime wants OpenGL, and EGL has no display here")

    def close(self) -> None:
        """Give the context back. The display stays: others in this program may draw on it."""
        self._egl.eglMakeCurrent(self._display, None, None, None)
        self._egl.eglDestroyContext(self._display, self._context)


class WindowContext:
    """OpenGL of a hidden window of one pixel on Windows, current on the thread that made it."""

    def __init__(self) -> None:
        import glfw

        glfw.init()
        glfw.window_hint(glfw.VISIBLE, glfw.FALSE)
        self._glfw, self._window = glfw, glfw.create_window(1, 1, "", None, None)
        if not self._window:
            raise DeviceError("the OpenXR runtime wants OpenGL, and no window could be opened for it here")
        glfw.make_context_current(self._window)
        wgl = ctypes.windll.opengl32  # type: ignore[attr-defined]  # Windows has it
        for name in ("wglGetCurrentDC", "wglGetCurrentContext"):
            getattr(wgl, name).restype = ctypes.c_void_p
        self.binding: Any = xr.GraphicsBindingOpenGLWin32KHR(wgl.wglGetCurrentDC(), wgl.wglGetCurrentContext())

    def close(self) -> None:
        self._glfw.destroy_window(self._window)
