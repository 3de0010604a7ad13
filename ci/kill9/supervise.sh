#!/usr/bin/env bash
# Runs a node's process, and starts it again when it has ended, as an init system would. While
# RUN/NODE.down is there it is left down; when RUN/over is there, for good. RUN/NODE.told says that
# its end is wanted: any other end, and any but a success or by SIGKILL or SIGTERM, is written into
# RUN/unexpected.
#
#   supervise.sh RUN NODE
set -uo pipefail
run=$1 node=$2
[ "$node" -gt 100 ] && role=controller || role=broker

say() { echo "$(date +%T.%3N) $*" >> "$run/acts.log"; }

while [ ! -e "$run/over" ]; do
    if [ -e "$run/$node.down" ]; then
        sleep 0.05
        continue
    fi
    # The lock's file and the sockets are gone with the process before.
    "$run/broker" serve --node "$run/$node.toml" >> "$run/$node.out" 2>> "$run/$node.log" &
    pid=$!
    say "start $role $node, process $pid"
    echo "$pid" > "$run/$node.pid.new"
    mv "$run/$node.pid.new" "$run/$node.pid"
    wait "$pid" 2> /dev/null
    code=$?
    told=no
    if [ -e "$run/$node.told" ]; then told=yes; fi
    rm -f "$run/$node.pid" "$run/$node.told"
    say "end $role $node, process $pid, code $code"
    case $told,$code in
        yes,0 | yes,137 | yes,143) ;;
        *)
            [ -e "$run/over" ] && break
            echo "$role $node ended by itself, code $code: $run/$node.log" >> "$run/unexpected"
            # It may do so again.
            sleep 0.5
            ;;
    esac
done
