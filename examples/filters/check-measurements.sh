#!/bin/sh
# Lines "time,value" are sorted into those whose value is a number (good-NAME) and those whose is none (bad-NAME);
# how many there are of each stands in summary-NAME.txt.
set -eu

name=${INPUT_FILE_PATH##*/}
cd "$TMP_OUTPUT_DIR"
awk -F '[,\t]' -v good="good-$name" -v bad="bad-$name" -v summary="summary-$name.txt" '
    { sub(/\r$/, ""); is_good = $2 ~ /^ *-?[0-9]+(\.[0-9]+)? *$/; print > (is_good ? good : bad); count[is_good]++ }
    END { printf "%d good, %d bad\n", count[1], count[0] > summary }
' "$INPUT_FILE_PATH"
cat "summary-$name.txt"
