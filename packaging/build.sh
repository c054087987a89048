#!/bin/sh
# Builds the .deb and the .rpm: packaging/build.sh [FOLDER]. Needs cargo-deb, cargo-generate-rpm (`cargo install --locked …`) and Debian's dpkg-dev.
set -eu
cd "$(dirname "$0")/.."
out=${1:-packages}
target=${CARGO_TARGET_DIR:-target}

cargo build --release --locked --bin pushmaild
rm -rf "$target/release/manual"
cargo run --quiet --locked --example manual -- "$target/release/manual"
packaging/pack.sh deb "$out"
packaging/pack.sh rpm "$out"
ls -l "$out"
