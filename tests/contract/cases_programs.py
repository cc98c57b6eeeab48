# ruff: noqa: E501 - a table is easier to read in long lines
"""What runs, and how it ends."""

from __future__ import annotations

from tests.contract.case import Expected, matching, program, script
from tests.contract.images import LINKS

ENTRY_POINTS = [
    program("Without a script, the image's entry point and command run", None, "entry point: first a b c", in_batch=True),
    program("Arguments replace the command, not the entry point", ["x", "y z"], "entry point: first x y z", in_batch=True),
    program("With an empty list of arguments, only the entry point runs", [], "entry point: first"),
    program("Arguments can contain spaces, quotes, newlines and asterisks", ["run", "/usr/bin/sh", "-c", 'for word; do echo "<$word>"; done', "sh", "a  b", "'\"", "*", "$HOME", ""], "<a  b>\n<'\">\n<*>\n<$HOME>\n<>"),
    program("Arguments can contain non-ASCII characters", ["äöü €"], "entry point: first äöü €"),
    program("If the image has no entry point, the command runs", None, "hello from a static program", image="bare", in_batch=True),
    program("The init script runs before the image's command", None, "the init script of /work", image="busybox", in_batch=True),
    program("Arguments replace the init script", ["sh", "-c", "echo shell form"], "shell form", image="busybox"),
    program("Programs are looked up in PATH", ["echo", "in PATH"], "in PATH", image="busybox", in_batch=True),
    program("Relative paths start at the working directory", ["bin/echo", "relative"], fails="exited with code 127", image="busybox"),
    program("A missing program: exit code 127", ["/no/such"], "cannot start '/no/such': no such file in the image", fails="exited with code 127", image="busybox", in_batch=True),
    program("A name that is not in PATH: exit code 127", ["no-such-program"], matching(r"cannot start 'no-such-program'.*"), fails="exited with code 127", image="busybox"),
    program("A program that is not executable: exit code 126", ["/etc/passwd"], "cannot start '/etc/passwd': it is not executable for this user", fails="exited with code 126", image="busybox"),
    program("A directory instead of a program: exit code 126", ["/etc"], matching("cannot start '/etc'.*"), fails="exited with code 126", image="busybox"),
    program("An argument of 100 KB", ["x" * 100_000], matching("entry point: first x{480} \\[…\\]|entry point: first x+.*")),
    program("Arguments as a JSON string", None, "entry point: first a b", also={"cmd_args": '["a", "b"]'}),
    program("Arguments that are not a list of strings are rejected", None, fails="BadEvent.*cmd_args.*is not a list of strings", also={"cmd_args": {"a": 1}}),
]  # fmt: skip

SCRIPTS = [
    script("A script in the event replaces the entry point", "echo ran; echo $0", matching("ran\n/.*/script"), in_batch=True),
    script("A script in the event replaces the init script", "echo sent along", "sent along", image="busybox"),
    script("Arguments in the event are passed to the script", 'echo "$# $1 $2"', "2 a b c", also={"cmd_args": ["a", "b c"]}, in_batch=True),
    script("An interpreter that is not a shell", "#!/usr/bin/head -n2\nthe second line\nthe third", "#!/usr/bin/head -n2\nthe second line"),
    script("#!/usr/bin/env sh", "#!/usr/bin/env sh\necho by env", "by env"),
    script("#!/usr/bin/env -S sh -e", "#!/usr/bin/env -S sh -e\nfalse\necho not reached", "", fails="exited with code 1", in_batch=True),
    script("#!/bin/sh -e", "#!/bin/sh -e\nfalse\necho not reached", "", fails="exited with code 1"),
    script("Spaces after #!", "#!  /bin/sh\necho spaces", "spaces"),
    script("No #! line: /bin/sh is used", b"echo plain", "plain"),
    script("A missing interpreter: /bin/sh is used", "#!/usr/bin/python3\necho shell after all", "shell after all", in_batch=True),
    script("#!/usr/bin/env with a missing program: /bin/sh is used", "#!/usr/bin/env ruby\necho shell after all", "shell after all"),
    script("Windows line endings (CR LF)", b"#!/bin/sh\r\necho converted\r\n", "converted", in_batch=True),
    script("A byte order mark", b"\xef\xbb\xbf#!/bin/sh\necho without the mark\n", "without the mark"),
    script("An empty script does nothing", b"", ""),
    script("No newline at the end", b"#!/bin/sh\necho end", "end"),
    script("A script of 1 MB", b"#!/bin/sh\n" + b"# filler\n" * 120_000 + b"echo the end\n", "the end"),
    script("A script in an image without a shell fails with an explanation", "echo no", fails="NoInterpreter.*Use an image with a shell", image="bare", differs={"fakechroot": Expected(fails="NoInterpreter")}, in_batch=True),
    program("A script that is not base64 is rejected", None, fails="BadEvent.*`script` is not valid base64", also={"script": "%"}),
    script("Exit code 3 fails the run", "echo last words; exit 3", "last words", fails="ScriptFailed: The container exited with code 3", in_batch=True),
    script("Exit code 255 fails the run", "exit 255", "", fails="exited with code 255"),
    script("A script killed by SIGKILL", "kill -9 $$", "", fails="killed by signal 9 \\(SIGKILL\\)", in_batch=True),
    script("A script killed by SIGTERM", "kill -15 $$", "", fails="killed by signal 15 \\(SIGTERM\\)"),
    script("A script killed by SIGSEGV", "kill -11 $$", "", fails="killed by signal 11 \\(SIGSEGV\\)"),
    script("A killed child process does not fail the run by itself", "sh -c 'kill -9 $$'; echo $?", matching(".*137"), ),
    script("No signals are blocked or ignored", "cat /proc/self/status | grep -E 'Sig(Ign|Blk)'", matching(r"SigBlk:\t0{16}\nSigIgn:\t0{16}")),
    script("A trap runs", "trap 'echo trapped' USR1; kill -USR1 $$; echo on", "trapped\non"),
    script("A stopped process does not delay the end of the run", "sh -c 'kill -STOP $$' & sleep 0.1; echo done", "done"),
    script("Orphans are reaped while the script runs", "(sleep 0.01 &) ; sleep 0.2; for f in /proc/[0-9]*/stat; do read -r line < $f; case $line in *'(sleep) Z'*) echo zombie;; esac; done 2>/dev/null; echo none", "none"),
    script("A daemon ends with the run", "setsid sleep 300 > /dev/null 2>&1 < /dev/null &\necho left", "left", in_batch=True),
    script("A daemon that keeps standard output open ends with the run", "setsid sleep 301 &\necho left", "left"),
    script("Daemons of earlier runs are gone", "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f 2>/dev/null; done 2>/dev/null; for f in /proc/[0-9]*/stat; do read -r line < $f; case $line in *'(sleep)'*) echo found;; esac; done 2>/dev/null; echo looked", matching("(?!.*found).*looked")),
    script("200 processes", "i=0; while [ $i -lt 200 ]; do sleep 0.05 & i=$((i+1)); done; wait; echo all ended", "all ended"),
    script("A process that keeps forking ends with the run", "fork() { sleep 0.01; [ $1 -gt 0 ] && { fork $(($1-1)) & fork $(($1-1)) & }; sleep 300; }\nfork 4 & sleep 0.3; echo bounded", "bounded"),
    program("A timeout also kills processes that ignore SIGTERM", ["/static", "stubborn"], "begins", fails="TimedOut: The run timed out", image="bare", in_batch=True),
    program("A run after a timeout", ["/static", "hello"], "hello from a static program", image="bare"),
    program("Exit code of a static program", ["/static", "exit", "42"], "", fails="exited with code 42", image="bare"),
    program("A static program killed by a signal", ["/static", "signal", "6"], "", fails="killed by signal 6 \\(SIGABRT\\)", image="bare"),
]  # fmt: skip

LINKING = [
    program("A program without a C library, such as a Go program", ["/no-libc"], "no C library at all", image="bare", in_batch=True),
    program("A program linked with musl", ["musl", "args", "a", "b"], "<a>\n<b>", image="busybox", in_batch=True),
    program("Arguments of a static program", ["/static", "args", "a b", ""], "<a b>\n<>", image="bare"),
    script("A library found through $ORIGIN", "/opt/app/bin/origin", "the library says hello"),
    script("A library found through $ORIGIN and a symlink", "origin", "the library says hello", differs={"fakechroot": Expected(matching(".*libword.so: cannot open shared object file.*"), fails="exited with code 127", because="fakechroot does not resolve the symlink when it starts the program")}, in_batch=True),
    script("A library found through LD_LIBRARY_PATH of the image", "found", "the library says hello", in_batch=True),
    script("LD_PRELOAD set by the script", "LD_PRELOAD=/opt/preload/libpreload.so found", "the preloaded library says hello", differs={"fakechroot": Expected(matching(".*the library says hello"), because="fakechroot does not translate paths in LD_PRELOAD")}),
    script(f"{LINKS} symlinks, one after another", "cat /links/0", "the end of the links", in_batch=True),
    script("An absolute symlink, as created by update-alternatives", "/etc/alternatives/show /etc/os-release", 'ID=debian\nVERSION_ID="12"'),
    script("A program in the image that is a script", "in-path", "found in PATH"),
    script("A file that is not executable: exit code 126", "/not-executable", matching(".*ermission denied.*"), fails="exited with code 126", differs={"fakechroot": Expected("", because="fakechroot does not check this permission")}),
]  # fmt: skip
