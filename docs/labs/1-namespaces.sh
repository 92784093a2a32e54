#!/bin/sh
# Lab 1: a namespace is the kernel's answer to "what is there?", for some processes another than for the rest.
# shellcheck disable=SC1091,SC2016,SC2154,SC2034
. "$(dirname "$0")/prelude"

say "Every process is in one namespace of each kind; two that see the same have the same number."
expect 'uts:*' 'readlink /proc/self/ns/uts'

say "unshare(1) puts a command into a new one: the host name that it sets is nobody else's."
expect box "unshare --uts sh -c 'hostname box; hostname'"
before=$(hostname)
export before
expect same '[ "$(hostname)" = "$before" ] && echo same'

say "nsrun does it for five kinds at once, and the name comes from an option."
id=$(pull -q busybox | mount-overlay | tee "$dir/document" | jq -r .id)
undo "mount-overlay undo $id"
expect box 'nsrun --doc "$dir/document" --hostname box -- hostname'

say "Left out: without a namespace of its own, a command renames whoever it shares one with."
expect box "unshare --uts sh -c 'sh -c \"hostname box\"; hostname'"
