"""A headless Chromium that a test controls, over the Chrome DevTools Protocol on two pipes.

A page's console messages, uncaught errors and requests are recorded from its first moment. The program is
Debian's package `chromium` (see tools.sh).
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
_PATIENCE_S = 120.0
_KEYS = {
    **{f"Arrow{way}": 37 + number for number, way in enumerate(("Left", "Up", "Right", "Down"))},
    **{"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "Home": 36, "End": 35, "PageUp": 33, "PageDown": 34},
}
"""Windows key codes, which Chromium needs for keys without a character."""
_SHIFT = 8


class ScriptError(Exception):
    """A script in the page has thrown."""


class Page:
    """One tab."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0)
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.console: list[str] = []
        """Console messages, warnings of the browser, and uncaught errors."""
        self._requested: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    @property
    def requests(self) -> list[str]:
        """URLs that were requested, the page's own included; no `data:` or `blob:` URLs, and none that the
        browser has refused to request."""
        return list(self._requested.values())

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; returns its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._writing.write(json.dumps(message).encode() + b"\0")
        while True:
            received = self._receive()
            if received.get("id") != number:
                continue
            if "error" in received:
                raise RuntimeError(f"{method}: {received['error']['message']}")
            result: dict[str, Any] = received["result"]
            return result

    def _receive(self) -> dict[str, Any]:
        parts = bytearray()
        while (byte := self._reading.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("Chromium has ended")
            parts += byte
            # The rest of the message, as far as it has arrived.
            waiting = self._reading.peek()
            end = waiting.find(b"\0")
            parts += self._reading.read(len(waiting) if end < 0 else end)
        received: dict[str, Any] = json.loads(parts)
        self._record(received.get("method", ""), received.get("params", {}))
        return received

    def _record(self, method: str, told: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled":
            values = [str(one.get("value", one.get("description", ""))) for one in told["args"]]
            self.console.append(f"{told['type']}: {' '.join(values)}")
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.console.append(str(details.get("exception", {}).get("description") or details["text"]))
        elif method == "Log.entryAdded":
            self.console.append(f"{told['entry']['level']}: {told['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            url = str(told["request"]["url"])
            if not url.startswith(("data:", "blob:")):
                self._requested[told["requestId"]] = url
        elif method == "Network.loadingFailed" and "blockedReason" in told:
            self._requested.pop(told["requestId"], None)

    def open(self, url: str) -> None:
        """Load a page, and wait for its `load` event."""
        self.console.clear()
        self._requested.clear()
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of an expression, or of the promise that it returns.

        Raises:
            ScriptError: it has thrown.
        """
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            details = done["exceptionDetails"]
            raise ScriptError(details.get("exception", {}).get("description") or details["text"])
        return done["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + _PATIENCE_S
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > until:
                raise TimeoutError(f"never true: {condition}; console: {self.console}")
            time.sleep(0.02)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key: a character, or a name such as `ArrowLeft`."""
        code = _KEYS.get(key, ord(key[0].upper()))
        text = {"Enter": "\r", "Tab": ""}.get(key, key if len(key) == 1 else "")
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": _SHIFT if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Insert a text where the focus is."""
        self.call("Input.insertText", text=text)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Send an event of the mouse: `mouseMoved`, `mousePressed`, `mouseReleased` or `mouseWheel`."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the left button."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, button="left", buttons=1, clickCount=1)
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        for point in (middle, end):
            self.mouse("mouseMoved", *point, button="left", buttons=1)
        self.mouse("mouseReleased", *end, button="left", clickCount=1)

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse, after scrolling to it."""
        at = self.run(
            f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self.mouse("mousePressed", *at, button="left", clickCount=1)
        self.mouse("mouseReleased", *at, button="left", clickCount=1)

    def media(self, **features: str) -> None:
        """Emulate media features, such as `prefers_color_scheme="dark"`."""
        given = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=given)

    def size(self, width: int, height: int, *, scale: float = 1, mobile: bool = False) -> None:
        """Set the size of the window in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    def picture(self, *, clip: dict[str, float] | None = None) -> bytes:
        """A PNG file of the window, or of a part of the page (`x`, `y`, `width`, `height`)."""
        more: dict[str, Any] = {}
        if clip is not None:
            more = {"clip": {**clip, "scale": 1}, "captureBeyondViewport": True}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", **more)["data"])


@contextmanager
def opened(profile: Path, *, fonts: Path | None = None) -> Iterator[Page]:
    """A browser with one empty tab; `profile` is an empty folder, `fonts` a configuration of fontconfig."""
    assert CHROMIUM is not None
    to_browser, writing = os.pipe()
    reading, from_browser = os.pipe()
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
        *("--disable-dev-shm-usage", "--remote-debugging-pipe", f"--user-data-dir={profile}"),
        *("--no-first-run", "--hide-scrollbars", "--force-color-profile=srgb", "--font-render-hinting=none"),
    ]
    environment = {**os.environ, "TZ": "UTC"}
    if fonts is not None:
        environment["FONTCONFIG_FILE"] = str(fonts)

    def place_pipes() -> None:
        """Chromium reads from descriptor 3 and writes to descriptor 4."""
        high = [fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (to_browser, from_browser)]
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    with subprocess.Popen(
        command,
        pass_fds=(3, 4),
        preexec_fn=place_pipes,  # noqa: PLW1509 - it only calls the kernel
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as browser:
        os.close(to_browser)
        os.close(from_browser)
        try:
            yield Page(reading, writing)
        finally:
            browser.terminate()
