#!/bin/sh
# Lab 2: the root of a container is the layers of its image, which are only read, and one directory that is written to.
# shellcheck disable=SC1091,SC2016,SC2154,SC2034
. "$(dirname "$0")/prelude"

say "A layer is a directory."
mkdir "$dir/layer" "$dir/upper" "$dir/work" "$dir/root"
echo "of the image" > "$dir/layer/file"
echo "unloved" > "$dir/layer/other"

say "mount(8): overlayfs shows both as one tree."
run "mount -t overlay overlay -o lowerdir=$dir/layer,upperdir=$dir/upper,workdir=$dir/work $dir/root"
undo "umount '$dir/root'"
expect 'of the image' 'cat "$dir/root/file"'

say "What is written goes into the upper directory. What is removed is hidden there, by a device with the number 0/0."
run "echo changed > $dir/root/file; rm $dir/root/other"
expect 'of the image' 'cat "$dir/layer/file"'
expect changed 'cat "$dir/upper/file"'
expect 'character special file 0,0' 'stat -c "%F %t,%T" "$dir/upper/other"'

say "mount-overlay does the same, of any directory, and keeps the id to take it back."
id=$(mount-overlay --lower "$dir/layer" < /dev/null | tee "$dir/document" | jq -r .id)
undo "mount-overlay undo $id"
expect 'of the image' 'cat "$(jq -r .rootfs.path "$dir/document")/file"'

say "Left out: without an upper directory the container writes into the image, and every later one sees it."
mkdir "$dir/bare"
run "mount --bind $dir/layer $dir/bare"
undo "umount '$dir/bare'"
run "echo spoilt > $dir/bare/file"
expect spoilt 'cat "$dir/layer/file"'
