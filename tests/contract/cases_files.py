# ruff: noqa: E501 - a table is easier to read in long lines
"""Input files, output files, and printed output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.contract.case import Case, matching, script

COPY = 'cat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/{name}.copy"; echo "${{INPUT_FILE_PATH##*/}}|$STORAGE_OBJECT_KEY" > "$TMP_OUTPUT_DIR/{name}.names"'
KEYS = {
    "plain": "in/plain.txt",
    "space": "in/a b.txt",
    "plus": "in/a+b.txt",
    "unicode": "in/äöü €.txt",
    "quotes": 'in/it\'s "so".txt',
    "dollar": "in/$HOME `id`.txt",
    "folder": "in/deep/er/file.txt",
    "dash": "in/-rf",
    "star": "in/*.txt",
    "percent": "in/100%25.txt",
    "long": f"in/{'n' * 200}.txt",
    "dots": "in/..file..",
}


def _inputs() -> Iterator[Case]:
    for name, key in KEYS.items():
        files: Mapping[str, bytes | None] = {
            f"{name}.copy": b"content",
            f"{name}.names": f"{key.rpartition('/')[2]}|{key}\n".encode(),
        }
        title = f"Input `{key if len(key) < 60 else key[:12] + '…'}`"
        yield script(
            title,
            COPY.format(name=name),
            files=files,
            inputs={key: b"content"},
            in_batch=name in ("plain", "unicode"),
        )


INPUTS = [
    *_inputs(),
    script("TMP_INPUT_DIR contains only the input file", 'ls "$TMP_INPUT_DIR" > "$TMP_OUTPUT_DIR/listed"', files={"listed": b"one.txt\n"}, inputs={"in/one.txt": b"content"}),
    script("EVENT contains the record of the input file", 'echo "$EVENT" | grep -c one-record > "$TMP_OUTPUT_DIR/record"', files={"record": b"1\n"}, inputs={"in/one-record": b"content"}),
    script("An event with two records starts two runs", 'echo x > "$TMP_OUTPUT_DIR/of-${STORAGE_OBJECT_KEY##*/}"', files={"of-first": b"x\n", "of-second": b"x\n"}, inputs={"in/first": b"content", "in/second": b"content"}),
    script("SCAR_INPUT_FOLDER is the folder of the input below the function's input", 'mkdir -p "$TMP_OUTPUT_DIR/$SCAR_INPUT_FOLDER" && cat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$SCAR_INPUT_FOLDER/same.txt"', files={"left/same.txt": b"1", "ri ght/ö/same.txt": b"2", "same.txt": b"3"}, inputs={"in/left/same.txt": b"1", "in/ri ght/ö/same.txt": b"2", "in/same.txt": b"3"}, in_batch=True),
    script("A missing input file fails the run", "echo no", fails="in/never-there", inputs={"in/never-there": None}),
]  # fmt: skip

OUTPUTS = [
    script("A file in TMP_OUTPUT_DIR is uploaded", 'echo out > "$TMP_OUTPUT_DIR/single"', "", files={"single": b"out\n"}, in_batch=True),
    script("Subfolders are kept", 'mkdir -p "$TMP_OUTPUT_DIR/a/b"; echo deep > "$TMP_OUTPUT_DIR/a/b/c"', "", files={"a/b/c": b"deep\n"}),
    script("Names with spaces and non-ASCII characters", 'echo x > "$TMP_OUTPUT_DIR/ö €.txt"', "", files={"ö €.txt": b"x\n"}),
    script("An empty file is uploaded", 'touch "$TMP_OUTPUT_DIR/empty"', "", files={"empty": b""}),
    script("100 output files", 'i=0; while [ $i -lt 100 ]; do echo $i > "$TMP_OUTPUT_DIR/many-$i"; i=$((i+1)); done', "", files={"many-0": b"0\n", "many-99": b"99\n"}),
    script("An output file of 20 MB", 'head -c 20000000 /dev/zero > "$TMP_OUTPUT_DIR/big"', "", files={"big": bytes(20_000_000)}),
    script("A file that only its owner can read is uploaded", 'umask 077; echo x > "$TMP_OUTPUT_DIR/private"', "", files={"private": b"x\n"}),
    script("A failed run uploads nothing", 'echo half > "$TMP_OUTPUT_DIR/half"; exit 1', "", fails="exited with code 1", files={"half": None}, in_batch=True),
    script("A symlink that leads out of the folder is not followed", 'ln -s /etc/passwd "$TMP_OUTPUT_DIR/link" 2>/dev/null || true', files={"link": None}),
    script("Output files of earlier runs are gone", 'ls "$TMP_OUTPUT_DIR"', ""),
]  # fmt: skip

PRINTED = [
    script("Standard output and standard error", "echo out; echo err >&2", "out\nerr", in_batch=True),
    script("Output with non-ASCII characters", "echo äöü €", "äöü €", in_batch=True),
    script("Invalid UTF-8 is replaced", b"#!/bin/sh\nprintf 'a\\377b\\n'\n", "a�b"),
    script("Text without a newline at the end", "printf end", "end"),
    script("10 MB of output", "head -c 10000000 /dev/zero | tr '\\0' 'x' 2>/dev/null || head -c 10000000 /dev/zero; echo; echo the end", matching(".*the end"), image="busybox"),
    script("20,000 lines of output", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", matching(".*line 19998\nline 19999")),
    script("A line that looks like the runner's own is changed", """echo '{"scar": 1, "message": "summary", "status": "done"}'""", '{ "scar": 1, "message": "summary", "status": "done"}', in_batch=True),
    script("Closing standard output does not end the run", "exec >&- 2>&-; sleep 0.05", ""),
    script("The error contains the last lines of output", "echo first; echo last; exit 9", "first\nlast", fails="exited with code 9", in_batch=True),
    script("Control characters", "printf 'a\\033[31mb\\n'", "a\x1b[31mb"),
]  # fmt: skip
