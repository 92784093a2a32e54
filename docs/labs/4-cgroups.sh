#!/bin/sh
# Lab 4: namespaces hide, control groups limit. A group is a directory, a limit is a file in it.
# shellcheck disable=SC1091,SC2016,SC2154,SC2034
. "$(dirname "$0")/prelude"

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    group=/sys/fs/cgroup/${dir##*/}
    echo +pids > /sys/fs/cgroup/cgroup.subtree_control
else
    group=/sys/fs/cgroup/pids/${dir##*/}
fi
export group
fork='for i in 1 2 3 4 5 6; do sleep 0.1 & done; wait'
export fork

say "A group with at most 3 processes. A shell that writes its number into it is in it, and all that it starts."
run "mkdir $group"
undo "rmdir '$group'"
run "echo 3 > $group/pids.max"
expect "*[Cc]an*fork*" 'sh -c "echo \$\$ > $group/cgroup.procs; $fork"'

say "cgctl: the same, on both versions of the interface."
id=$(cgctl --pids-limit 3 < /dev/null | jq -r .id)
undo "cgctl undo --kill $id"
export id
expect "*[Cc]an*fork*" 'cgctl exec "$id" -- sh -c "$fork"'

say "The group counts, too."
expect '[0-9]*' 'cgctl stat "$id" | jq .pids.current'

say "Left out: whoever is not in the group is not limited, whatever it says."
expect '' 'sh -c "$fork"'
