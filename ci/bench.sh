#!/usr/bin/env bash
# How fast the process is, by librdkafka's own rdkafka_performance: 1 KiB records, clusters of so many
# brokers in one process, objects and logs in local folders, all replicas acknowledge. Prints a table
# in Markdown; docs/benchmarks.md shows what was seen. Wants a machine that does nothing else.
#
#   ci/bench.sh [BROKERS ...]               clusters of so many brokers; default: 1 3
#   MESSAGES=100000 RATE=500 ci/bench.sh    records of the throughput rows; at most so many records a
#                                           second, from one producer, in the latency rows
#   PROFILE=FOLDER ci/bench.sh              with perf: where CPU time goes, one file a row
set -euo pipefail
cd "$(dirname "$0")/.."

root="$PWD"
folder="$root/target/bench"
mkdir -p "$folder"
messages=${MESSAGES:-500000}
rate=${RATE:-1000}
paced_seconds=20
clusters=("${@:-}")
[ -n "${clusters[0]}" ] || clusters=(1 3)
# All topics have so many partitions.
partitions=3

. "$root/ci/clients/sources.sh"
librdkafka_sources
examples="$folder/rdkafka-sys/librdkafka/examples"
make -C "$examples" rdkafka_performance >> "$folder/librdkafka.build" 2>&1
cargo build --quiet --release --package broker --bin broker
broker="$root/target/release/broker"

# Since LD_LIBRARY_PATH is not everybody's: the tool is linked against the built library.
tool() {
    LD_LIBRARY_PATH="$examples/../src" timeout 600 "$examples/rdkafka_performance" \
        -b "$bootstrap" -q "$@"
}

data=$(mktemp -d "$folder/data.XXXXXX")
serve=
stop() {
    [ -n "$serve" ] || return 0
    kill "$serve" 2> /dev/null || true
    wait "$serve" 2> /dev/null || true
    serve=
}
trap 'stop; rm -rf "$data"' EXIT

# Starts so many brokers on what is in "$data".
start() {
    stop
    : > "$folder/serve.out"
    "$broker" serve --data "$data" --brokers "$1" --partitions "$partitions" \
        --listen 127.0.0.1:0 --metrics 127.0.0.1:0 \
        > "$folder/serve.out" 2> "$folder/broker.log" &
    serve=$!
    for _ in $(seq 300); do
        bootstrap=$(sed -n 's/^connect *bootstrap.servers=//p' "$folder/serve.out")
        [ -z "$bootstrap" ] || return 0
        sleep 0.1
    done
    echo "bench: the cluster did not start: $folder/broker.log" >&2
    exit 1
}

# CPU time of the broker's process until now, in ticks of a hundredth of a second.
ticks() { awk '{ print $14 + $15 }' "/proc/$serve/stat"; }
memory() { awk -v key="$1:" '$1 == key { printf "%d", $2 / 1024 }' "/proc/$serve/status"; }

# Of milliseconds.
seconds() { printf '%d.%d' "$(($1 / 1000))" "$(($1 % 1000 / 100))"; }

# A row: what, and the command that does it. Leaves its output in "$folder/out".
row() {
    local what=$1 before begin profiler=
    shift
    if [ -n "${PROFILE:-}" ]; then
        mkdir -p "$PROFILE"
        perf record --quiet --freq 499 --pid "$serve" \
            --output "$PROFILE/$count-${what//[^a-z0-9]/-}.perf" 2> /dev/null &
        profiler=$!
    fi
    before=$(ticks) begin=$(date +%s%N)
    if ! "$@" > "$folder/out" 2>&1; then
        echo "bench: $what failed:" >&2
        tail -n 5 "$folder/out" >&2
        exit 1
    fi
    local took=$((($(date +%s%N) - begin) / 1000000)) used=$(($(ticks) - before))
    [ -z "$profiler" ] || { kill -INT "$profiler"; wait "$profiler" || true; }
    printf '| %s | %s | %s | %s of %s | %s / %s |\n' "$count" "$what" "$($figure)" \
        "$(seconds "$((used * 10))")" "$(seconds "$took")" "$(memory VmRSS)" "$(memory VmHWM)"
}

throughput() {
    sed -n 's/.* \([0-9]* msgs\/s\)[^0-9]*\([0-9.]* MB\/s\).*/\1, \2/p' "$folder/out" | tail -n 1
}

# Of the microseconds in "$folder/latencies".
percentiles() {
    sort -n "$folder/latencies" | awk '{ all[NR] = $1 / 1000 }
        function at(share) { return all[int((NR - 1) * share) + 1] }
        END { printf "p50 %.1f ms, p99 %.1f ms, most %.1f ms", at(0.5), at(0.99), at(1) }'
}

produce() { tool -P -t "$1" -s 1024 -c "$messages" -a -1; }
consume() {
    tool -G "group-$RANDOM" -t "$1" -c "$messages" -X auto.offset.reset=earliest
}
# One producer, which sends what it has at once.
paced() {
    tool -P -t "$1" -s 1024 -a -1 -X linger.ms=0 -r "$rate" -c $((rate * paced_seconds)) -l "${@:2}"
}
acknowledged() { paced "$1" -A "$folder/latencies"; }
# So that the topic is there, and led.
first() { tool -P -t "$1" -s 1024 -c "${2:-100}" -a -1 > "$folder/out" 2>&1; }
# From a producer's call to the consumer that waits for it.
end_to_end() {
    tool -G "group-$RANDOM" -t "$1" -l -A "$folder/latencies" -c $((rate * paced_seconds)) \
        -X auto.offset.reset=latest &
    local reader=$!
    # It has joined, and stands at the end of each partition.
    sleep 5
    paced "$1"
    wait "$reader"
}

echo '| brokers | what | figure | CPU, s | memory now / at most, MiB |'
echo '|---|---|---|---|---|'
for count in "${clusters[@]}"; do
    rm -rf "$data"
    start "$count"
    first bench 20000
    first acknowledged
    first end-to-end
    figure=throughput
    row 'produce' produce bench
    row 'consume' consume bench
    figure=percentiles
    row "acknowledged, $rate/s" acknowledged acknowledged
    row "end to end, $rate/s" end_to_end end-to-end
    metrics=$(sed -n 's/^metrics *//p' "$folder/serve.out")
    curl -s "$metrics" > "$folder/metrics-$count.txt"
    start "$count"
    figure=throughput
    row 'consume after a restart' consume bench
done
