#!/bin/sh
# Lab 8: all of it, by five small programs and one document; then by none of them.
# shellcheck disable=SC1091,SC2016,SC2154,SC2034
. "$(dirname "$0")/prelude"

command="hostname | wc -c; echo \$\$; ip -4 -o addr show dev eth0 | wc -l"
export command

say "Each program reads the document, does one thing, and adds what it has made."
run "pull -q busybox | mount-overlay | netns | cgctl -m 64M --pids-limit 20 > $dir/document"
id=$(jq -r .id "$dir/document")
undo "for tool in cgctl netns mount-overlay; do \$tool undo $id; done"
expect 'cgroup gocker id image network rootfs' 'jq -r "keys | join(\" \")" "$dir/document"'
expect '13
1
1' 'nsrun --doc "$dir/document" -- sh -c "$command"'

say "gocker-sh does that for you, and prints it as a script, with these programs or with util-linux."
expect '13
1
1' 'gocker-sh run --rm -m 64m busybox sh -c "$command"'
expect '*mount-overlay*nsrun*' 'gocker-sh run --rm --print-script busybox true'
expect '*unshare*' 'gocker-sh run --rm --print-script=util-linux busybox true'
run "gocker-sh run --rm -m 64m --print-script=util-linux busybox sh -c 'echo \$\$' > $dir/script"
expect 1 'sh "$dir/script"'

say "Left out: what nobody takes back stays. Each program knows what is its own, and the id is enough."
export id
expect "$id" 'mount-overlay ls | jq -r ".[].id" | grep "$id"'
for tool in cgctl netns mount-overlay; do run "$tool undo $id"; done
expect '' 'mount-overlay ls | jq -r ".[].id" | grep "$id"'
