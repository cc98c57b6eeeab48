#!/bin/sh
# Detects objects in NAME.jpg: writes NAME.out, which lists them ("person: 93%"), and NAME.png with boxes.
set -eu

file=${INPUT_FILE_PATH##*/}
name=${file%.*}
name=${name:-$file}
result=$TMP_OUTPUT_DIR/$name
echo "Detecting objects in $INPUT_FILE_PATH"

# darknet looks for its names and fonts in the working directory.
cd /opt/darknet
./darknet detect cfg/yolo.cfg yolo.weights "$INPUT_FILE_PATH" -out "$result" > "$result.out"
cat "$result.out"

# darknet exits with code 0 even if it cannot read the picture, so check that it wrote one.
# (Old versions write NAME.png, new ones NAME.jpg.)
if [ ! -s "$result.png" ] && [ ! -s "$result.jpg" ]; then
    echo "darknet wrote no picture for $INPUT_FILE_PATH" >&2
    exit 1
fi
