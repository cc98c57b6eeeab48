"""`make pictures`: the pictures of the README, from real sessions on the embedded cloud.

    cloud, bucket with texts ─► commands, each in a pseudo-terminal ─► what it shows ─► docs/pictures/*.svg
                                scar report ─► its page in Chromium ─► docs/pictures/report.png

The commands run in their own folder, home folder and cloud, so that the pictures show nothing of the machine.
The text in the pictures is real text: it can be searched, copied and read aloud, in the reader's fonts.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from docs.pictures.screen import Screen
from local_cloud.cloud import Cloud
from tests import examples, oci_images
from tests.chromium import CHROMIUM, opened
from toolchain.node_packages import node_packages

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
EXAMPLE = REPOSITORY / "examples" / "single-function"
COLUMNS = 102
LINES_OF_WATCH = 22
TEXTS = 200
EMPTY = (41, 136)
_TEXT = "It was a dark and stormy night. "
_WITH_A_CHECK = """set -eu
grep -q "[a-z]" "$INPUT_FILE_PATH" || { echo "There are no words in it"; exit 3; }
"""
_CHAIN = """functions:
  aws:
  - lambda:
      name: split-chapters
      init_script: split.sh
      container: {image: "busybox:1.37"}
      input: [{storage_provider: s3, path: scar-books/texts}]
      output: [{storage_provider: s3, path: scar-books/parts}]
  - lambda:
      name: count-parts
      init_script: count-words.sh
      container: {image: "busybox:1.37"}
      input: [{storage_provider: s3, path: scar-books/parts, queue: {}}]
      output: [{storage_provider: s3, path: scar-books/counts}]
"""
_SPLIT = """set -eu
grep -q "[a-z]" "$INPUT_FILE_PATH" || { echo "There are no words in it"; exit 3; }
for part in 1 2 3; do cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/part-$part-${INPUT_FILE_PATH##*/}"; done
"""
_PARTS = 3
_ALL_WITHIN_S = 300.0
_LIMIT = 60_000
"""Bytes of a picture."""
PAGE_WIDTH, PAGE_HEIGHT = 1400, 1150
_PAGE_LIMIT = 250_000
_FONT_CONFIGURATION = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
<dir>{arimo}</dir><dir>/usr/share/fonts</dir><cachedir>{cache}</cachedir>
<match target="pattern"><test name="family"><string>Arial</string></test>
<edit name="family" mode="assign" binding="strong"><string>Arimo</string></edit></match>
</fontconfig>
"""
"""The picture has the same letters on all machines, like those of `scar graph` (scar_cli/drawing/png.py)."""
_PRIVATE = re.compile(r"/(?:root|home|tmp|work|Users)/|\b[\w.+-]+@[\w-]+\.[a-z]|pypi|npmjs")
_ANSWER = "[y/N]: "
_CTRL_C = b"\x03"
_LINES = 40
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_THEME = TerminalTheme(
    (24, 26, 32),
    (214, 218, 226),
    [(70, 76, 90), (240, 113, 120), (127, 210, 130), (240, 200, 100), (110, 170, 250), (205, 140, 240),
     (95, 210, 215), (214, 218, 226)],
    [(120, 128, 145), (255, 140, 145), (160, 230, 160), (255, 220, 130), (150, 195, 255), (225, 170, 255),
     (130, 230, 235), (255, 255, 255)],
)  # fmt: skip
_SVG = """<svg class="terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{ font-family: FONTS; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font: bold 16px sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONTS", _FONTS)


class PictureError(Exception):
    """A picture cannot be created or must not be published; the text says why."""


@dataclass(frozen=True)
class Shell:
    """The environment of the commands."""

    folder: Path
    environment: Mapping[str, str]

    def quietly(self, *words: str) -> str:
        """Run a command that no picture shows."""
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise PictureError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def shown(self, command: str, answer: str = "", *, code: int = 0, moment: str = "") -> Text:
        """Run a command; returns the final content of its terminal. `answer` is typed when it asks.

        With `moment`, also returns the content when a line first matches this expression.
        """
        process, terminal = self._started(command, _LINES)
        screen = Screen(COLUMNS)
        screen.feed(f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m\n")
        before: Text | None = None
        written = b""
        while chunk := _read(terminal):
            written += chunk
            if answer and written.endswith(_ANSWER.encode()):
                os.write(terminal, f"{answer}\n".encode())
            if moment and before is None:
                before = self._at(screen, written, moment)
        os.close(terminal)
        ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        screen.feed(self._text(written))
        if ended != code or (moment and before is None):
            raise PictureError(f"{command} ended with {ended}, not {code}:\n{screen.text().plain}")
        if before is None:
            return screen.text()
        _prompt, *lines = screen.text().split("\n")
        return Text("\n").join([before, Text(), Text("when it is done:", style="dim"), *lines])

    def interrupted(self, command: str, moment: str, *, code: int, lines: int) -> Text:
        """Run a command until its screen matches an expression, and interrupt it; returns that screen."""
        process, terminal = self._started(f"exec {command}", lines)  # Ctrl-C would end the shell, too
        screen, written = Screen(COLUMNS), b""
        found: Text | None = None
        while chunk := _read(terminal):
            written += chunk
            if found is None and (found := self._at(screen, written, moment)) is not None:
                os.write(terminal, _CTRL_C)
        os.close(terminal)
        ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if ended != code or found is None:
            screen.feed(self._text(written))
            raise PictureError(f"{command} ended with {ended}, not {code}:\n{screen.text().plain}")
        return found

    def _started(self, command: str, lines: int) -> tuple[int, int]:
        """A command in a pseudo-terminal."""
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(self.folder)
            os.execvpe("sh", ["sh", "-c", command], {**self.environment})  # noqa: S606
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, COLUMNS, 0, 0))
        return process, terminal

    def _at(self, screen: Screen, written: bytes, moment: str) -> Text | None:
        shown = deepcopy(screen)
        shown.feed(self._text(written))
        text = shown.text()
        return text if re.search(moment, text.plain, re.MULTILINE) else None

    def _text(self, written: bytes) -> str:
        return written.decode(errors="replace").replace(str(self.folder), "~")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError as error:
        if error.errno == errno.EIO:  # its last program has ended
            return b""
        raise


def save(name: str, title: str, *shown: Text) -> None:
    """Write a picture.

    Raises:
        PictureError: the picture is too large, or shows something of this machine.
    """
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for number, text in enumerate(shown):
        if number:
            console.print()
        console.print(text, no_wrap=True, overflow="crop", highlight=False)
    content = console.export_svg(title=title, theme=_THEME, code_format=_SVG, unique_id=f"scar-{name}")
    if found := _PRIVATE.search("\n".join(text.plain for text in shown)):
        raise PictureError(f"{name} would show {found[0]!r}")
    if len(content.encode()) > _LIMIT:
        raise PictureError(f"{name} has {len(content.encode())} bytes; {_LIMIT} are the limit")
    (HERE / f"{name}.svg").write_text(content, encoding="utf-8")
    print(f"docs/pictures/{name}.svg  {len(content.encode()) // 1000} kB")


def make(shell: Shell) -> None:
    """Create all pictures, in the order of a session."""
    right = (shell.folder / "single-function.yaml").read_text(encoding="utf-8")
    (shell.folder / "mistake.yaml").write_text(
        right.replace("count-words.sh", "count-word.sh").replace(
            "storage_provider: s3", "storage_provder: s3", 1
        ),
        encoding="utf-8",
    )
    save("validate", "scar validate", shell.shown("scar validate mistake.yaml", code=2))

    estimate = shell.shown("scar cost single-function.yaml --files 10000 --seconds 12 --size 5MB")
    texts = shell.folder / "texts"
    texts.mkdir()
    script = shell.folder / "count-words.sh"
    script.write_text(
        script.read_text(encoding="utf-8").replace("set -eu\n", _WITH_A_CHECK), encoding="utf-8"
    )
    for number in range(TEXTS):
        (texts / f"chapter-{number:03}.txt").write_text("...\n" if number in EMPTY else _TEXT * (number + 1))
    shell.quietly("python", "-c", "import boto3; boto3.client('s3').create_bucket(Bucket='scar-words')")
    shell.quietly("scar", "put", "-b", "scar-words/texts", "-p", "texts")
    save("init", "scar init", shell.shown("scar init -f single-function.yaml", "y"))
    launch = shell.shown("scar-launch -f single-function.yaml --wait", code=1, moment=r"^1\d\d/200 ")
    save("launch", "scar-launch", launch)
    save("status", "scar status", shell.shown("scar status", code=1))
    save("ls", "scar ls", shell.shown("scar ls"), shell.shown("scar ls -b scar-words/counts | head -n 4"))
    save("cost", "scar cost", estimate, shell.shown("scar cost --since 1d"))

    (shell.folder / "books.yaml").write_text(_CHAIN, encoding="utf-8")
    (shell.folder / "split.sh").write_text(_SPLIT, encoding="utf-8")
    shell.quietly("scar", "init", "-f", "books.yaml", "-y")
    shell.quietly("scar", "put", "-b", "scar-books/texts", "-p", "texts")
    watch = "scar watch -f books.yaml"
    save(
        "watch",
        watch,
        shell.interrupted(watch, r"count-parts +\S+ +\S+ +3\d\d ", code=1, lines=LINES_OF_WATCH),
    )
    report = shell.folder / "report.html"
    _wait_for_all(shell, report.with_suffix(".json"))
    shell.quietly("scar", "report", "-f", "books.yaml", "-o", report.name)
    save_page(report, shell.folder)


def _wait_for_all(shell: Shell, numbers: Path) -> None:
    """Wait until each file of the chain has been processed."""
    until = time.monotonic() + _ALL_WITHIN_S
    files = TEXTS - len(EMPTY)
    while True:
        shell.quietly("scar", "report", "-f", "books.yaml", "--json", "-o", numbers.name)
        done = json.loads(numbers.read_text(encoding="utf-8"))["totals"]["files"]["done"]
        if done == files * (1 + _PARTS):
            return
        if time.monotonic() > until:
            raise PictureError(f"books.yaml has processed {done} files, not {files * (1 + _PARTS)}")
        time.sleep(1)


def save_page(report: Path, folder: Path) -> None:
    """Write a picture of the beginning of a report.

    Raises:
        PictureError: Chromium is missing, or the picture is too large or shows something of this machine.
    """
    if CHROMIUM is None:
        raise PictureError("the picture of the report needs Chromium (apt install chromium)")
    arimo = node_packages() / "@expo-google-fonts" / "arimo"
    fonts = folder / "fonts.conf"
    fonts.write_text(_FONT_CONFIGURATION.format(arimo=arimo, cache=folder / "fonts"), encoding="utf-8")
    with opened(folder / "profile", fonts=fonts) as page:
        page.media(prefers_color_scheme="light")
        page.size(PAGE_WIDTH, PAGE_HEIGHT)
        page.open(report.as_uri())
        page.wait_for("performance.getEntriesByName('shown').length")
        page.run("new Promise(done => setTimeout(done, 300))")
        if found := _PRIVATE.search(page.run("document.body.innerText")):
            raise PictureError(f"report would show {found[0]!r}")
        content = page.picture()
    if len(content) > _PAGE_LIMIT:
        raise PictureError(f"report has {len(content)} bytes; {_PAGE_LIMIT} are the limit")
    (HERE / "report.png").write_bytes(content)
    print(f"docs/pictures/report.png  {len(content) // 1000} kB")


def main() -> int:
    """Start a cloud, create the pictures, stop the cloud."""
    with tempfile.TemporaryDirectory(prefix="scar-pictures-") as name:
        folder = Path(name)
        for file in EXAMPLE.iterdir():
            shutil.copy2(file, folder)
        registry = folder / ".registry"
        oci_images.write_layout(registry / "library" / "busybox", {"1.37": examples.busybox_image()})
        cloud = Cloud(folder / ".cloud")
        os.environ["SCAR_REGISTRY_MIRRORS"] = f"docker.io=file://{registry}"
        running = cloud.start(tied=True)
        try:
            environment = {
                "PATH": os.pathsep.join(
                    [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]
                ),
                "HOME": name,
                "LANG": "C.UTF-8",
                "TERM": "xterm-256color",
                "TZ": "UTC",
                "COLUMNS": str(COLUMNS),
                "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
                **running.environment(),
            }
            make(Shell(folder, environment))
        except PictureError as error:
            print(f"pictures: {error}", file=sys.stderr)
            return 1
        finally:
            cloud.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
