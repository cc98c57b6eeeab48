"""The three images of the contract suite, and the package of the function that each is deployed with.

- `debian`: this machine's own shell and tools with glibc, an entry point, variables that lead programs
  astray, `USER worker`, an extra payload, variables of the FDL file
- `busybox`: static programs and one that is linked with musl, `WORKDIR`, an init script, no entry point
- `bare`: static programs, no shell, no users; its function has little time
"""

from __future__ import annotations

import functools
import io
import json
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.function_configs import function_config
from tests.oci_images import File, Image, busybox_layer, directory, host_shell_layer, symlink, tar_of
from tests.static_programs import compiled

LINKS = 30
GIVEN = {"GIVEN": "by the FDL file", "OVERRIDDEN": "by the FDL file"}

_LIBRARY = 'const char *word(void) { return "the library"; }\n'
_PRELOADED = 'const char *word(void) { return "the preloaded library"; }\n'
_HELLO = """
#include <stdio.h>
const char *word(void);
int main(int count, char **words) { printf("%s says hello\\n", word()); return 0; }
"""
_STATIC = """
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* hello | args ... | env NAME | write PATH | exit N | signal N | stubborn | folder */
int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    char folder[4096];
    if (!strcmp(what, "hello")) puts("hello from a static program");
    else if (!strcmp(what, "args")) for (int word = 2; word < count; word++) printf("<%s>\\n", words[word]);
    else if (!strcmp(what, "env")) puts(getenv(words[2]) ? getenv(words[2]) : "unset");
    else if (!strcmp(what, "write")) {
        FILE *file = fopen(words[2], "w");
        if (!file) { printf("%s\\n", strerror(errno)); return 1; }
        fclose(file);
        puts("written");
    }
    else if (!strcmp(what, "exit")) return atoi(words[2]);
    else if (!strcmp(what, "signal")) raise(atoi(words[2]));
    else if (!strcmp(what, "folder")) {
        getcwd(folder, sizeof folder);
        puts(access(folder, W_OK) ? folder : "writable");
    }
    else if (!strcmp(what, "stubborn")) {
        signal(SIGTERM, SIG_IGN);
        puts("begins"); fflush(stdout);
        for (;;) pause();
    }
    return 0;
}
"""
# As Go makes them: no C library, system calls of its own, threads by clone.
_NO_LIBC = r"""
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
void _start(void) {
    static const char text[] = "no C library at all\n";
    call(1, 1, (long)text, sizeof text - 1);
    call(231, 0, 0, 0);
    __builtin_unreachable();
}
"""
_ENTRY = """#!/bin/sh
if [ "$2" = run ]; then shift 2; exec "$@"; fi
echo "entry point: $*"
"""
INIT_SCRIPT = "#!/bin/sh\necho the init script of $(pwd)\n"


@dataclass(frozen=True)
class ContractImage:
    """An image, and what is beside the configuration in the package of its function."""

    image: Image
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def configuration(self, name: str, bucket: str) -> dict[str, Any]:
        """Of the function, `function_config.json`."""
        script = "init_script" if "init_script" in self.files else None
        own = {"timeout_threshold_s": 1, "init_script": script, "batch": {"timeout_s": 60, "attempts": 1}}
        return function_config(name, f"contract/{name}", bucket, **own | dict(self.settings))

    def package(self, name: str, bucket: str) -> io.BytesIO:
        """The zip of the function's code."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for path, text in self._files(name, bucket).items():
                archive.writestr(path, text)
        content.seek(0)
        return content

    def write_package(self, folder: Path, name: str, bucket: str) -> None:
        """The same as files in a folder."""
        for path, text in self._files(name, bucket).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)

    def _files(self, name: str, bucket: str) -> dict[str, str]:
        return {**self.files, "function_config.json": json.dumps(self.configuration(name, bucket))}


@functools.cache
def contract_images() -> dict[str, ContractImage]:
    """All three, by name. Skips the test where there is no compiler or no busybox."""
    return {"debian": _debian(), "busybox": _busybox(), "bare": _bare()}


def _debian() -> ContractImage:
    files = _linked_programs()
    links = [symlink(f"links/{number}", f"/links/{number + 1}") for number in range(LINKS - 1)]
    top = tar_of(
        [
            directory("opt"),
            *(directory(f"opt/{name}") for name in ("app", "app/bin", "app/lib", "lib", "preload")),
            directory("usr/local"),
            directory("usr/local/bin"),
            directory("links"),
            directory("data", 0o700),
            directory("open", 0o777),
            File("entry", _ENTRY.encode(), 0o755),
            File("not-executable", b"#!/bin/sh\n", 0o644),
            File("data/secret", b"of root", 0o600),
            File("opt/app/bin/origin", files["origin"], 0o755),
            File("opt/app/lib/libword.so", files["libword"], 0o755),
            File("opt/lib/libfound.so", files["libfound"], 0o755),
            File("opt/preload/libpreload.so", files["preload"], 0o755),
            File("usr/bin/found", files["found"], 0o755),
            symlink("usr/local/bin/origin", "../../../opt/app/bin/origin"),
            File("usr/bin/in-path", b"#!/bin/sh\necho found in PATH\n", 0o755),
            *links,
            File(f"links/{LINKS - 1}", b"the end of the links"),
        ]
    )
    config = {
        "Env": [
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH=/opt/lib",
            "PYTHONPATH=/nowhere/path",
            "PYTHONHOME=/nowhere/home",
            "OF_THE_IMAGE=by the image",
            "OVERRIDDEN=by the image",
            "MALLOC_ARENA_MAX=1",
        ],
        "Entrypoint": ["/entry", "first"],
        "Cmd": ["a", "b c"],
        "User": "worker",
    }
    return ContractImage(
        Image([host_shell_layer(), top], config),
        {"container_environment": GIVEN, "extra_payload": "extra_payload"},
        {"extra_payload/note": "an extra payload\n"},
    )


def _busybox() -> ContractImage:
    layer, loader = busybox_layer(), Path("/lib/ld-musl-x86_64.so.1")
    if layer is None or not loader.exists():
        pytest.skip("needs busybox-static and musl-tools, on x86-64")
    top = tar_of(
        [
            directory("lib"),
            directory("work", 0o755),
            File("lib/ld-musl-x86_64.so.1", loader.read_bytes(), 0o755),
            File("bin/musl", _built("musl-gcc", _STATIC), 0o755),
        ]
    )
    config = {"Env": ["PATH=/bin"], "Cmd": ["sh", "-c", "echo the command"], "WorkingDir": "/work"}
    return ContractImage(Image([layer, top], config), {}, {"init_script": INIT_SCRIPT})


def _bare() -> ContractImage:
    files = [
        File("static", compiled(_STATIC), 0o755),
        File("no-libc", _built("gcc", _NO_LIBC, "-static", "-nostdlib"), 0o755),
    ]
    settings = {"timeout_s": 4, "batch": {"timeout_s": 6, "attempts": 1}}
    return ContractImage(Image([tar_of(files)], {"Cmd": ["/static", "hello"]}), settings)


def _linked_programs() -> dict[str, bytes]:
    """`origin` finds its library by `$ORIGIN`, `found` by LD_LIBRARY_PATH."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for library, source in (("libword", _LIBRARY), ("libfound", _LIBRARY), ("preload", _PRELOADED)):
            content = _built("gcc", source, "-shared", "-fPIC", f"-Wl,-soname,{library}.so")
            (folder / f"{library}.so").write_bytes(content)
        (folder / "origin").write_bytes(
            _built("gcc", _HELLO, f"-L{folder}", "-lword", "-Wl,-rpath,$ORIGIN/../lib")
        )
        (folder / "found").write_bytes(_built("gcc", _HELLO, f"-L{folder}", "-lfound"))
        return {path.name.removesuffix(".so"): path.read_bytes() for path in folder.iterdir()}


def _built(compiler: str, source: str, *options: str) -> bytes:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        program, text = Path(folder) / "program", Path(folder) / "program.c"
        text.write_text(source)
        subprocess.run([compiler, "-O1", "-w", str(text), "-o", str(program), *options], check=True)
        return program.read_bytes()
