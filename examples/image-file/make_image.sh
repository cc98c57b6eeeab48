#!/bin/sh
# Builds the image of image/Dockerfile on this machine, and writes it to shift-letters.tar. With Docker or Podman.
set -eu

cd "$(dirname "$0")"
builder=$(command -v docker || command -v podman) || {
    echo "make_image.sh: neither docker nor podman is installed" >&2
    exit 1
}
"$builder" build --platform linux/amd64 --tag scar-example/shift-letters image
rm -f shift-letters.tar
"$builder" save --output shift-letters.tar scar-example/shift-letters
