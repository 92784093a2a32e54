#!/bin/sh
# Lab 3: the first process of a PID namespace is number 1, and number 1 is not like the others.
# shellcheck disable=SC1091,SC2016,SC2154,SC2034
. "$(dirname "$0")/prelude"

say "unshare(1): the child is 1 in the new namespace. It sees itself in a /proc of that namespace."
expect 1 "unshare --pid --fork --mount-proc sh -c 'echo \$\$'"
expect 1 "unshare --pid --fork --mount-proc readlink /proc/self"

say "nsrun: the same, with a root of its own."
id=$(pull -q busybox | mount-overlay | tee "$dir/document" | jq -r .id)
undo "mount-overlay undo $id"
expect 1 'nsrun --doc "$dir/document" -- sh -c "echo \$\$"'

say "A signal that 1 has no handler for is not delivered, if it comes from its own namespace."
expect 'still here' "unshare --pid --fork --mount-proc sh -c 'kill -TERM 1; echo still here'"

say "When 1 ends the kernel kills all the others: a container ends with its command."
expect 'done' "unshare --pid --fork --mount-proc sh -c 'sleep 1000 & exit 0'; echo done"

say "--init puts a process in front that passes signals on and reaps orphans; the command is no longer 1."
expect 'not 1' 'nsrun --doc "$dir/document" --init -- sh -c "[ \$\$ -gt 1 ] && echo not 1"'

say "Left out: with the /proc of the host the namespace has its numbers, and nobody in it can look anything up by them."
expect 'not 1' "unshare --pid --fork sh -c '[ \$(readlink /proc/self) != 1 ] && echo not 1'"
