#!/bin/sh
# Lab 6: a published port is a rule that gives packets another destination.
# shellcheck disable=SC1091,SC2016,SC2154,SC2034
. "$(dirname "$0")/prelude"

# A server that answers once, in the background: serve COMMAND-PREFIX.
serve() {
    # shellcheck disable=SC2086    # a prefix is several words
    $1 busybox nc -l -p 80 -e echo hello &
    server=$!
    undo "kill $server 2> /dev/null"
    until $1 grep -q ':0050 .* 0A ' /proc/net/tcp /proc/net/tcp6; do :; done
}

say "A container with the address 10.214.0.2, and a server in it."
# ip(8) makes this a mount of its own, the first time.
mountpoint -q /run/netns || undo "umount /run/netns"
run "ip netns add lab"
undo "ip netns del lab"
run "ip link add lab0 type veth peer name eth0 netns lab"
run "ip addr add 10.214.0.1/24 dev lab0; ip link set lab0 up"
run "ip -n lab addr add 10.214.0.2/24 dev eth0; ip -n lab link set eth0 up"

say "Left out: without a rule nobody answers at the host's port."
expect '*refused*' 'busybox nc 10.214.0.1 8080 < /dev/null'

say "nft(8): what is for port 8080 of the host goes to port 80 of the container."
run "nft add table ip lab"
undo "nft delete table ip lab"
run "nft 'add chain ip lab out { type nat hook output priority -100; }'"
run "nft add rule ip lab out ip daddr 10.214.0.1 tcp dport 8080 dnat to 10.214.0.2:80"
serve "ip netns exec lab"
expect hello 'busybox nc 10.214.0.1 8080 < /dev/null'

say "netns: the same with docker's words, for packets from outside, from other containers and from the host itself."
id=$(netns -p 127.0.0.1:8081:80 < /dev/null | jq -r .id)
undo "netns undo $id"
serve "netns exec $id --"
expect hello 'busybox nc 127.0.0.1 8081 < /dev/null'
