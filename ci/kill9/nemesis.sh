#!/usr/bin/env bash
# Begins or ends one act against one node: which, and what, follows from the seed and the act's
# number. `seedbed verify` calls it, with SEEDBED_NEMESIS_ACT and SEEDBED_NEMESIS_NUMBER.
#
#   nemesis.sh RUN SEED ROLE NODE...
set -euo pipefail
trap '' INT
run=$1 seed=$2 role=$3
shift 3
nodes=("$@")

# A number from 0 to below $1, which the seed, the act and $2 decide.
draw() {
    local sum
    sum=$(echo "$seed $role $SEEDBED_NEMESIS_NUMBER $2" | cksum)
    echo $((${sum%% *} % $1))
}

say() { echo "$(date +%T.%3N) $*" >> "$run/acts.log"; }

# Sends signal $1 to the node's process; waits for one that is just being started.
send() {
    for _ in $(seq 100); do
        if [ -e "$run/$node.pid" ]; then
            case $1 in KILL | TERM) touch "$run/$node.told" ;; esac
            say "act $SEEDBED_NEMESIS_NUMBER, $how: $1 $role $node"
            kill "-$1" "$(cat "$run/$node.pid")"
            return
        fi
        sleep 0.05
    done
    echo "nemesis: $role $node has no process" >&2
    exit 1
}

# Waits until the process that was killed is gone: the next signal is for its successor.
gone() {
    local pid=$1
    while [ "$(cat "$run/$node.pid" 2> /dev/null)" = "$pid" ]; do sleep 0.02; done
}

kill_now() {
    local pid
    pid=$(cat "$run/$node.pid" 2> /dev/null || true)
    send KILL
    gone "$pid"
}

node=${nodes[$(draw "${#nodes[@]}" node)]}
case $(draw 10 how) in
    0 | 1 | 2 | 3) how=killed ;;            # down until the act ends
    4 | 5) how=killed-twice ;;              # up at once, and killed again when the act ends
    6) how=paused ;;                        # and goes on
    7) how=paused-then-killed ;;            # deposed meanwhile, it never finds out
    8 | 9) how=told-to-stop ;;              # a broker hands over; killed if the act ends before
esac

case $SEEDBED_NEMESIS_ACT,$how in
    begin,killed) touch "$run/$node.down" && kill_now ;;
    begin,killed-twice) kill_now ;;
    begin,paused*) send STOP ;;
    begin,told-to-stop) touch "$run/$node.down" && send TERM ;;
    end,killed) rm -f "$run/$node.down" ;;
    end,killed-twice) kill_now ;;
    end,paused) send CONT ;;
    end,paused-then-killed) kill_now ;;
    end,told-to-stop)
        if [ -e "$run/$node.pid" ]; then kill_now; fi
        rm -f "$run/$node.down"
        ;;
esac
