#!/bin/sh
# Lab 7: root in a container is root. What it may do is cut down: capabilities, system calls, what it can see.
# shellcheck disable=SC1091,SC2016,SC2154,SC2034
. "$(dirname "$0")/prelude"

id=$(pull -q busybox | mount-overlay | tee "$dir/document" | jq -r .id)
undo "mount-overlay undo $id"
box() { printf 'nsrun --doc "$dir/document" %s' "$1"; }

say "Left out: with all capabilities, root in a namespace mounts what it likes."
expect mounted "unshare --mount sh -c 'mount -t tmpfs tmpfs /mnt && echo mounted'"

say "setpriv(1) takes capabilities away for good."
expect '*ermi*' \
    "unshare --mount setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin sh -c 'mount -t tmpfs tmpfs /mnt && echo mounted'"

say "nsrun leaves docker's fourteen."
expect 'CapEff:*00000000a80425fb' "$(box '-- grep CapEff /proc/self/status')"
expect 'CapEff:*0000000000000001' "$(box '--cap-drop ALL --cap-add CHOWN -- grep CapEff /proc/self/status')"
expect '*ermi*' "$(box '-- mount -t tmpfs tmpfs /mnt')"

say "A filter refuses system calls that containers have been left by: here unshare(2), even into a user namespace."
expect 'Seccomp:*2' "$(box '-- grep Seccomp: /proc/self/status')"
expect '*not permitted*' "$(box '-- unshare -U true')"

say "What in /proc and /sys is the machine's can be read, not written."
expect '*Read-only*' "$(box "-- sh -c 'echo 1 > /proc/sys/kernel/panic'")"
