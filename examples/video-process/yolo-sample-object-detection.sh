#!/bin/sh
# A picture becomes a result: NAME.jpg gives NAME.out, what was seen ("person: 93%"), and NAME.png, where.
set -eu

file=${INPUT_FILE_PATH##*/}
name=${file%.*}
name=${name:-$file}
result=$TMP_OUTPUT_DIR/$name
echo "Looking at $INPUT_FILE_PATH"

# darknet finds its names and fonts beside itself.
cd /opt/darknet
./darknet detect cfg/yolo.cfg yolo.weights "$INPUT_FILE_PATH" -out "$result" > "$result.out"
cat "$result.out"

# darknet leaves with 0 even when it cannot read the picture: a result is a result only with its picture.
# (Old ones write NAME.png, new ones NAME.jpg.)
if [ ! -s "$result.png" ] && [ ! -s "$result.jpg" ]; then
    echo "darknet drew no picture for $INPUT_FILE_PATH" >&2
    exit 1
fi
