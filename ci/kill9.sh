#!/usr/bin/env bash
# The kill -9 tier: three controllers and three brokers, each a process of its own, are killed,
# stopped and restarted at random while `seedbed verify` runs a workload on them and judges what its
# clients saw. docs/kill9.md says more.
#
#   ci/kill9.sh [--store folder|s3] [--workload NAME] [--for TIME] [--seed N] [--keep]
#
# Exit codes are verify's: 0 all held, 1 something did not, 2 it could not be run. 1, too, if a
# process ended that nobody had told to.
set -euo pipefail
cd "$(dirname "$0")/.."

store=folder workload=transactions length=60s keep=
seed=$(((RANDOM << 15) + RANDOM))
while [ $# -gt 0 ]; do
    case "$1" in
        --store) store=${2:?folder or s3} && shift 2 ;;
        --workload) workload=${2:?a name} && shift 2 ;;
        --for) length=${2:?a time, as in 60s or 10m} && shift 2 ;;
        --seed) seed=${2:?a number} && shift 2 ;;
        --keep) keep=yes && shift ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done
case "$store" in
    folder | s3) ;;
    *) echo "kill9: --store $store: folder and s3 are allowed" >&2; exit 2 ;;
esac
repeat="ci/kill9.sh --store $store --workload $workload --for $length --seed $seed"

parts="$PWD/ci/kill9"
home="$PWD/target/kill9"
mkdir -p "$home"
controllers=(101 102 103) brokers=(1 2 3)

# The path of an executable, built. One package at a time: together the brokers' mutants would be on.
built() {
    cargo build --quiet --message-format=json-render-diagnostics "$@" |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}
broker=$(built --package broker --features s3 --bin broker)
seedbed=$(built --package sim --bin seedbed)

run=$(mktemp -d "$home/run.XXXXXX")
# Copies: what is built meanwhile must not change what is restarted.
cp "$broker" "$run/broker"
cp "$seedbed" "$run/seedbed"

supervisors=() verify= server= interrupts=0
# Ends all that was started. A supervisor may be about to start its node: until it has ended, again.
clean_up() {
    code=$?
    trap - EXIT
    # Not what bash says of jobs that are killed.
    exec 2> /dev/null
    touch "$run/over"
    [ -z "$verify" ] || kill -KILL -- "-$verify" 2> /dev/null || true
    for supervisor in "${supervisors[@]}"; do
        while kill -0 "$supervisor" 2> /dev/null; do
            for pid in "$run"/*.pid; do
                [ ! -e "$pid" ] || kill -KILL "$(cat "$pid")" 2> /dev/null || true
            done
            sleep 0.05
        done
    done
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
    wait
    if [ "$code" = 0 ] && [ -z "$keep" ]; then
        rm -rf "$run"
    else
        rm -f "$run/broker" "$run/seedbed"
        echo "kept    $run: logs, acts.log, history.jsonl, configs, data"
        [ "$code" = 0 ] || echo "again   $repeat"
    fi
    exit "$code"
}
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 129' HUP
# The first ends the operations early, and what follows them is done all the same.
interrupted() {
    interrupts=$((interrupts + 1))
    if [ "$interrupts" -gt 1 ] || [ -z "$verify" ]; then exit 130; fi
    kill -INT "$verify" 2> /dev/null || true
}
trap interrupted INT

# Six ports that nobody listens on, below those that connections take by themselves: else one may
# be taken while its node is down.
free_ports() {
    local base=$((20000 + ($$ * 16 + RANDOM % 700 * 16) % 12000)) port
    ports=()
    for port in $(seq "$base" $((base + 400))); do
        if ! (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then ports+=("$port"); fi
        [ "${#ports[@]}" -lt 10 ] || return 0
    done
    echo "kill9: no free ports from $base on" >&2
    exit 2
}
free_ports

# An S3 server of this run's own: moto, with one request at a time, as its own checks need.
start_s3() {
    local python="$home/venv/bin/python"
    if ! "$python" -c 'import flask_cors, moto.server' 2> /dev/null; then
        python3 -m venv --clear "$home/venv"
        # Not moto's extra `server`: it brings what other services of AWS need.
        "$python" -m pip install --quiet --disable-pip-version-check --no-compile \
            'moto[s3]==5.2.5' flask flask-cors
    fi
    export AWS_ENDPOINT_URL="http://127.0.0.1:${ports[9]}" AWS_REGION=us-east-1
    export AWS_ACCESS_KEY_ID=kill9 AWS_SECRET_ACCESS_KEY=kill9 NO_PROXY=127.0.0.1
    setsid "$python" "$parts/s3.py" "${ports[9]}" kill9 > "$run/s3.log" 2>&1 &
    server=$!
    for _ in $(seq 600); do
        ! grep -qs '^serves' "$run/s3.log" || return 0
        kill -0 "$server" 2> /dev/null || break
        sleep 0.1
    done
    cat "$run/s3.log" >&2
    echo "kill9: the S3 server did not start" >&2
    exit 2
}

url="$run/objects" interval=10
if [ "$store" = s3 ]; then
    start_s3
    # The server does some hundred requests a second.
    url=s3://kill9 interval=50
fi

# The file of node $1, which listens for nodes at port $2 and as a broker for clients at port $3.
config() {
    printf 'cluster = "kill9"\nnode = %s\ndata = "%s"\nstore = "%s"\n' "$1" "$run/data/$1" "$url"
    printf 'listen_peers = "127.0.0.1:%s"\n' "$2"
    [ -z "$3" ] || printf 'listen_clients = "127.0.0.1:%s"\n' "$3"
    cat "$run/nodes.toml"
    printf '[limits]\nwal_interval_ms = %s\n' "$interval"
}

# The list of nodes: controllers have ports 0 to 2, brokers 3 to 5, for their clients 6 to 8.
bootstrap=
{
    echo 'nodes = ['
    for at in 0 1 2; do
        printf '    { id = %s, role = "controller", zone = %s, peers = "127.0.0.1:%s" },\n' \
            "${controllers[$at]}" "$at" "${ports[$at]}"
        clients="127.0.0.1:${ports[$((at + 6))]}"
        printf '    { id = %s, role = "broker", zone = %s, peers = "127.0.0.1:%s", ' \
            "${brokers[$at]}" "$at" "${ports[$((at + 3))]}"
        printf 'clients = "%s" },\n' "$clients"
        bootstrap="$bootstrap${bootstrap:+,}$clients"
    done
    echo ']'
} > "$run/nodes.toml"
for at in 0 1 2; do
    config "${controllers[$at]}" "${ports[$at]}" "" > "$run/${controllers[$at]}.toml"
    config "${brokers[$at]}" "${ports[$((at + 3))]}" "${ports[$((at + 6))]}" \
        > "$run/${brokers[$at]}.toml"
done

for node in "${controllers[@]}" "${brokers[@]}"; do
    setsid "$parts/supervise.sh" "$run" "$node" &
    supervisors+=("$!")
done
# Waits until every broker has said that it serves.
for node in "${brokers[@]}"; do
    for _ in $(seq 600); do
        ! grep -qs '^serves' "$run/$node.out" || continue 2
        [ ! -s "$run/unexpected" ] || break
        sleep 0.1
    done
    tail -n 5 "$run"/[0-9]*.log >&2
    echo "kill9: broker $node does not serve" >&2
    exit 2
done

echo "kill9   store $store, processes: ${#controllers[@]} controllers, ${#brokers[@]} brokers"
# Of two commands each has acts that do not overlap: at most one node of each role is down.
setsid "$run/seedbed" verify --bootstrap "$bootstrap" --workload "$workload" --for "$length" \
    --seed "$seed" --history "$run/history.jsonl" --watermarks \
    --nemesis "$parts/nemesis.sh $run $seed broker ${brokers[*]}" \
    --nemesis "$parts/nemesis.sh $run $seed controller ${controllers[*]}" &
verify=$!
# A signal ends a `wait`, not what is waited for.
code=130
while [ "$code" -gt 128 ] && kill -0 "$verify" 2> /dev/null; do
    wait "$verify" && code=0 || code=$?
done
[ "$code" -le 128 ] || { wait "$verify" && code=0 || code=$?; }
verify=

count() { grep -c "$1" "$run/acts.log" 2> /dev/null || true; }
for role in broker controller; do
    echo "acts    $role: $(count " KILL $role") SIGKILL, $(count " TERM $role") SIGTERM," \
        "$(count " STOP $role") SIGSTOP, $(count " start $role") starts"
done

# All are up, and end well when told to: brokers first, which need controllers for it.
stop() {
    local node
    for node; do
        if [ ! -e "$run/$node.pid" ]; then
            echo "node $node is down at the end" >> "$run/unexpected"
            continue
        fi
        touch "$run/$node.down" "$run/$node.told"
        kill -TERM "$(cat "$run/$node.pid")"
    done
    for node; do
        for _ in $(seq 600); do
            [ -e "$run/$node.pid" ] || continue 2
            sleep 0.1
        done
        echo "node $node does not stop" >> "$run/unexpected"
    done
}
stop "${brokers[@]}"
stop "${controllers[@]}"
# Where nobody was killed nothing was shown.
for role in broker controller; do
    [ "$(count " KILL $role")" != 0 ] || echo "no $role was killed: --for is too short" \
        >> "$run/unexpected"
done
if [ -s "$run/unexpected" ]; then
    sed 's/^/FAIL    /' "$run/unexpected"
    [ "$code" != 0 ] || code=1
fi
exit "$code"
