#!/bin/sh
# Splits a video into pictures, one for each second: out001.jpg, out002.jpg, ...
#
# fps=1 with ffmpeg's default rounding selects the picture nearest to the middle of each second, so that a video
# of N whole seconds gives exactly N pictures, with current versions of ffmpeg and with those of 2018.
# INPUT_FILE_PATH is absolute, so a file named -rf.avi is not parsed as an option. "file:" prevents ffmpeg from
# parsing a name such as "http:x.avi" as a URL. A "%" in the folder's name would be parsed as a picture number,
# hence the cd.
set -eu

echo "Splitting $INPUT_FILE_PATH into one picture per second"
cd "$TMP_OUTPUT_DIR"
ffmpeg -hide_banner -loglevel error -nostdin -i "file:$INPUT_FILE_PATH" -vf fps=1 -q:v 2 -an out%03d.jpg

set -- out*.jpg
if [ ! -s "$1" ]; then
    echo "ffmpeg wrote no picture: expected $INPUT_FILE_PATH to be a video of at least one second" >&2
    exit 1
fi
echo "Wrote $# pictures"
