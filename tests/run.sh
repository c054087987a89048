#!/bin/sh
# All tests. Installs what they need and is not there: packages of Debian (as root, or with sudo), cargo-nextest, cargo-deny, cargo-deb and
# cargo-generate-rpm.
# A prerequisite that cannot be had fails the run; nothing is skipped.
set -eu
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

# command:package, for what the tests and the benchmark run.
needs='
    dovecot:dovecot-imapd doveadm:dovecot-lmtpd doveconf:dovecot-core
    inotifywait:inotify-tools systemd-analyze:systemd cc:gcc strace:strace
    unshare:util-linux nsenter:util-linux setpriv:util-linux script:bsdutils ip:iproute2
    mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs
    getent:libc-bin kill:procps sysctl:procps useradd:passwd
    openssl:openssl curl:curl nghttp:nghttp2-client h2load:nghttp2-client redis-server:redis-server sqlite3:sqlite3
    chromium:chromium promtool:prometheus
    dpkg-shlibdeps:dpkg-dev strip:binutils rpm:rpm
    man:man-db mandoc:mandoc groff:groff-base zsh:zsh fish:fish shellcheck:shellcheck
'
missing=''
for need in $needs; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${need%%:*}" > /dev/null || missing="$missing ${need#*:}"
done
[ -e /usr/lib/dovecot/lmtp ] || missing="$missing dovecot-lmtpd"
if [ -n "$missing" ]; then
    step "installing$missing"
    sudo=''
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing
fi
for tool in nextest deny deb generate-rpm; do
    cargo "$tool" --version > /dev/null 2>&1 || {
        step "installing cargo-$tool"
        # Packing a few files needs no optimised program, and that one takes four times as long to build.
        profile=release
        [ "$tool" != generate-rpm ] || profile=dev
        cargo install --quiet --locked --profile "$profile" "cargo-$tool"
    }
done

step formatting
cargo fmt --check
step clippy
cargo clippy --quiet --locked --all-targets -- -D warnings
step documentation
RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --no-deps --document-private-items
step 'licences, bans and sources'
cargo deny --locked --log-level error check bans licenses sources
step tests
cargo nextest run --locked --no-fail-fast
step 'the demonstration of the README'
examples/demo.sh
step 'the benchmarks, a short run'
cargo bench --quiet --locked --bench delivery -- --quick
cargo bench --quiet --locked --bench devices -- --quick
cargo bench --quiet --locked --bench scale -- --quick
