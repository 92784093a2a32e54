#!/bin/sh
# Lab 5: a network namespace begins with nothing. A cable leads out of it: a veth pair, one end inside, one at a bridge.
# shellcheck disable=SC1091,SC2016,SC2154,SC2034
. "$(dirname "$0")/prelude"

say "An empty one: a loopback, which is down."
# ip(8) makes this a mount of its own, the first time.
mountpoint -q /run/netns || undo "umount /run/netns"
run "ip netns add lab"
undo "ip netns del lab"
expect '*lo*DOWN*' 'ip -n lab -br link'

say "ip(8): a bridge, a cable, an address at each end."
run "ip link add lab0 type bridge"
undo "ip link del lab0"
run "ip link add lab1 type veth peer name eth0 netns lab"
run "ip link set lab1 master lab0"
run "ip addr add 10.213.0.1/24 dev lab0"
run "ip -n lab addr add 10.213.0.2/24 dev eth0"
for link in lab0 lab1; do run "ip link set $link up"; done
for link in lo eth0; do run "ip -n lab link set $link up"; done
expect '10.213.0.1 dev eth0 *' 'ip -n lab route get 10.213.0.1'

say "netns: the same, with an address that nobody else has, and address translation behind it."
id=$(netns < /dev/null | tee "$dir/document" | jq -r .id)
undo "netns undo $id"
export id
expect 'eth0@* 172.29.*' 'netns exec "$id" -- ip -4 -br addr show dev eth0 | tr -s " "'
expect '*via 172.29.0.1 dev eth0*' 'netns exec "$id" -- ip route get 192.0.2.1'

say "Left out: without a default route there is the bridge, and nothing behind it."
expect '*nreachable*' 'ip -n lab route get 192.0.2.1'
run "ip -n lab route add default via 10.213.0.1"
expect '*via 10.213.0.1*' 'ip -n lab route get 192.0.2.1'
