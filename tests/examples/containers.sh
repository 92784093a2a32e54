#!/bin/sh
# Containers, with nothing but the five tools of gocker and jq.
#
#     containers.sh run NAME IMAGE [COMMAND...]    ends with the exit code of the command
#     containers.sh exec NAME COMMAND...
#     containers.sh ps
#     containers.sh rm NAME...                     ends it if it runs, and removes what is left of it
#
# A container is its document. All that is done for it carries its id, so whatever happens, the id is enough to take it
# back. gocker-sh does the same with docker's options, stages side by side, and an eye on what SIGKILL leaves.
set -eu

state=${CONTAINERS:-/run/containers.sh}    # NAME.json is the document of the container NAME
limits=${LIMITS:---memory=64M --pids-limit=64}

run() {
    name=$1 image=$2
    shift 2
    document=$state/$name.json
    mkdir -p "$state"
    # With -C a shell makes a file only if it is not there: a name is taken once.
    (set -C && : > "$document") 2> /dev/null || fail "there is a container $name already"

    # The id comes first, so that from here on there is something to call undo with.
    id=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    trap 'take_down "$id"; rm -f "$document"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    # If one of them fails, those behind it get no document, do nothing, and end with 3.
    # shellcheck disable=SC2086    # $limits are several words
    pull "$image" | mount-overlay --id="$id" | netns | cgctl $limits > "$document" || exit 125

    # nsrun passes signals on; what it makes of them is its exit code.
    trap : INT TERM
    code=0
    nsrun --doc="$document" --interactive -- "$@" || code=$?

    # The document and the writable layer stay until rm.
    trap - EXIT
    take_down --keep-upper "$id"
    exit "$code"
}

# Takes back what the stages made, last first. Undo of what is not there is a success.
take_down() {
    for last; do :; done
    nsrun undo "$last"
    cgctl undo --kill "$last"
    netns undo "$last"
    mount-overlay undo "$@"
}

enter() {
    id=$(id_of "$1")
    shift
    exec nsrun exec --interactive "$id" "$@"
}

list() {
    alive=$(nsrun ls | jq -c 'map(select(.status == "running").id)')
    printf '%-15s %-15s %-10s %s\n' NAME ID STATUS IMAGE
    for document in "$state"/*.json; do
        # A document is empty while the stages are at work.
        [ -s "$document" ] || continue
        name=${document##*/}
        jq -r --argjson alive "$alive" --arg name "${name%.json}" '
            (if .id | IN($alive[]) then "running" else "exited" end) as $status
            | [$name, .id[:12], $status, .image.reference] | @tsv' "$document"
    done | while IFS='	' read -r name id status image; do
        printf '%-15s %-15s %-10s %s\n' "$name" "$id" "$status" "$image"
    done
}

remove() {
    for name; do
        id=$(id_of "$name")
        take_down "$id"
        rm -f "$state/$name.json"
        echo "$name"
    done
}

id_of() {
    jq -er .id "$state/$1.json" 2> /dev/null || fail "there is no container $1"
}

fail() {
    echo "containers.sh: $1" >&2
    exit 1
}

case ${1-} in
    run) [ $# -ge 3 ] || fail 'run NAME IMAGE [COMMAND...]'; shift; run "$@" ;;
    exec) [ $# -ge 3 ] || fail 'exec NAME COMMAND...'; shift; enter "$@" ;;
    ps) list ;;
    rm) [ $# -ge 2 ] || fail 'rm NAME...'; shift; remove "$@" ;;
    *) fail 'run, exec, ps or rm?' ;;
esac
