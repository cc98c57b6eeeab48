#!/bin/sh
# A video becomes pictures: one for each of its seconds, out001.jpg, out002.jpg, ...
#
# fps=1 with ffmpeg's own rounding takes the picture nearest to the middle of each second, so that a video of
# N whole seconds gives exactly N pictures, with the ffmpeg of today and with that of 2018. INPUT_FILE_PATH is
# absolute: a file named -rf.avi is not taken for an option. The "file:" keeps ffmpeg from reading a protocol
# into a name such as "http:x.avi"; "%" in the folder's name would be a picture number's pattern, hence the cd.
set -eu

echo "Splitting $INPUT_FILE_PATH: one picture a second"
cd "$TMP_OUTPUT_DIR"
ffmpeg -hide_banner -loglevel error -nostdin -i "file:$INPUT_FILE_PATH" -vf fps=1 -q:v 2 -an out%03d.jpg

set -- out*.jpg
if [ ! -s "$1" ]; then
    echo "ffmpeg made no picture: is $INPUT_FILE_PATH a video of at least one second?" >&2
    exit 1
fi
echo "$# pictures made"
