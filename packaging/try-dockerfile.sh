#!/bin/sh
# Executes the steps of packaging/Dockerfile in folders, where no container engine is at hand: packaging/try-dockerfile.sh WORK
#
# As root, on Debian with debootstrap, and a Rust toolchain in the place of the one in the image rust:…; it takes the minutes of a
# release build. FROM is a debootstrap of bookworm in WORK/base, kept for the next time, with a layer above it for each stage; RUN is
# a chroot; COPY is cp. At the end the program is run as USER in the last stage. Not tried: what docker does with layers, volumes,
# signals and HEALTHCHECK. All mounts are in a namespace of its own and go with it.
set -eu
[ "${IN_NAMESPACE:-}" ] || { mkdir -p "$1"; IN_NAMESPACE=1 exec unshare --mount "$0" "$(realpath "$1")"; }
work=$1
project=$(realpath "$(dirname "$0")/..")

[ -e "$work/base/etc/debian_version" ] || {
    debootstrap --variant=minbase bookworm "$work/base"
}
[ -e "$work/rust/done" ] || {
    rm -rf "$work/rust"
    cp -a "$work/base" "$work/rust"
    cp /etc/resolv.conf "$work/rust/etc/"
    chroot "$work/rust" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev'
    touch "$work/rust/done"
}
rm -rf "$work/stages"
mkdir "$work/stages"
stage=0 root='' dir=/ args='' user=root

layer() {
    stage=$((stage + 1))
    root=$work/stages/$stage/root
    mkdir -p "$work/stages/$stage/upper" "$work/stages/$stage/work" "$root"
    mount -t overlay overlay -o "lowerdir=$1,upperdir=$work/stages/$stage/upper,workdir=$work/stages/$stage/work" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    dir=/ args='' user=root
    echo "$root" > "$work/stages/name-${2:-$stage}"
}

within() { chroot "$root" env -i PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo "$@"; }

# A step with its continued lines, without comments.
sed -e '/^#/d' -e '/^$/d' "$project/packaging/Dockerfile" | sed -e ':more' -e '/\\$/{N;s/\\\n//;b more' -e '}' > "$work/stages/steps"
while read -r step rest <&3; do
    printf '== %s %s\n' "$step" "$rest"
    case $step in
    FROM)
        name=${rest##* AS }
        case $rest in
        rust:*)
            layer "$work/rust" "$name"
            # The toolchain and the crates that this machine has, at the places where the image has its own.
            for part in rustup cargo; do
                mkdir -p "$root/usr/local/$part"
            done
            mount --bind "${RUSTUP_HOME:-$HOME/.rustup}" "$root/usr/local/rustup"
            mount --bind "${CARGO_HOME:-$HOME/.cargo}" "$root/usr/local/cargo"
            ;;
        debian:bookworm*) layer "$work/base" "$name" ;;
        *) echo "no stand-in for the image $rest" >&2; exit 1 ;;
        esac
        ;;
    ARG) args="$args $rest" ;;
    WORKDIR) dir=$rest; mkdir -p "$root$dir" ;;
    USER) user=$rest ;;
    RUN)
        # shellcheck disable=SC2086 # the words of ARG are words here
        within $args sh -c "cd $dir && $rest"
        ;;
    COPY)
        case $rest in
        --from=*)
            from=$(cat "$work/stages/name-$(expr "$rest" : '--from=\([^ ]*\)')")
            rest=${rest#* }
            cp -a "$from${rest% *}" "$root${rest##* }"
            ;;
        '. .')
            # What the ignore file leaves out stays out.
            # shellcheck disable=SC2046 # its lines are words
            tar -C "$project" $(sed '/^#/d; s,^,--exclude=./,' "$project/packaging/Dockerfile.dockerignore") -c . | tar -C "$root$dir" --no-same-owner -x
            ;;
        *) cp "$project/${rest% *}" "$root${rest##* }" ;;
        esac
        ;;
    VOLUME | HEALTHCHECK | ENTRYPOINT | CMD) echo '   (kept for docker)' ;;
    *) echo "unknown step $step" >&2; exit 1 ;;
    esac
done 3< "$work/stages/steps"

echo "== as $user"
as_user() { chroot "$root" setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all --bounding-set=-all "$@"; }
as_user id
as_user pushmaild --version
# 1: the default configuration is valid, and its certificate is not there.
status=0
as_user pushmaild check || status=$?
[ "$status" -eq 1 ]
# The daemon itself comes up, keeps its state, and ends when it is told.
as_user timeout --preserve-status 5 pushmaild run
ls -l "$root/var/lib/pushmaild"
du -sh --exclude=proc --exclude=dev "$work/stages/$stage/upper"
