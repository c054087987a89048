#!/bin/sh
# Packs what cargo has built: packaging/pack.sh deb|rpm FOLDER [OPTION…]. Takes `release/pushmaild` and `release/manual/` from the target folder.
# Needs cargo-deb and Debian's dpkg-dev, or cargo-generate-rpm.
set -eu
cd "$(dirname "$0")/.."
kind=$1
out=$2
shift 2
manual=${CARGO_TARGET_DIR:-target}/release/manual

# The page that is written by hand, and all of them as systems keep them. -n: without a time, so that the same page is the same file.
cp packaging/man/*.5 "$manual/man/"
find "$manual/man" -name '*.[15]' -exec gzip -9nf {} +
mkdir -p "$out"
case $kind in
deb) cargo deb --locked --no-build --quiet --output "$out" "$@" ;;
rpm) cargo generate-rpm --output "$out" "$@" ;;
esac
