#!/bin/sh
# Builds a Linux worker VM with httpbin in gunicorn, both from Debian: httpbin.sh [DIR], default target/httpbin.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../target/httpbin}
exec "$here/initramfs.sh" "$dir" "gunicorn python3-httpbin" --to tcp:127.0.0.1:8000 -- \
    gunicorn --bind 127.0.0.1:8000 --threads 8 httpbin:app
