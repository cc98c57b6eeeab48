#!/bin/sh
# Sorts lines "time,value": those with a number as value into good-NAME, the others into bad-NAME.
# summary-NAME.txt has the number of lines in each.
set -eu

name=${INPUT_FILE_PATH##*/}
cd "$TMP_OUTPUT_DIR"
awk -F '[,\t]' -v good="good-$name" -v bad="bad-$name" -v summary="summary-$name.txt" '
    { sub(/\r$/, ""); is_good = $2 ~ /^ *-?[0-9]+(\.[0-9]+)? *$/; print > (is_good ? good : bad); count[is_good]++ }
    END { printf "%d good, %d bad\n", count[1], count[0] > summary }
' "$INPUT_FILE_PATH"
cat "summary-$name.txt"
