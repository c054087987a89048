#!/bin/sh
# The shell loop that people put together from inotify-tools: what pushmaild is measured against.
#
#   inotifywait.sh SEND SOCKET LIST     LIST: a file with a path `…/USER/new` on each line
#
# SEND stands for pushmailnow: a small program that sends one datagram and ends, here `inotify_send SOCKET -u USER`.
# The user's name comes from the path without a further process, so the loop costs one fork and exec a delivery and
# no more; with basename, awk or socat in it, as they are often found, it is slower still.
inotifywait -m -e moved_to -e create --format %w --fromfile "$3" |
while read -r dir; do
    user=${dir%/new/}
    "$1" "$2" -u "${user##*/}"
done
