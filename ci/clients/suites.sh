#!/usr/bin/env bash
# The test suites of other projects, unmodified, against clusters of three brokers: librdkafka's own
# test-runner, and the integration tests of the crates rdkafka and rskafka. All three come from
# crates.io, with their tests. Called by ci/clients.sh if SUITES=1; prints one line for each test and
# writes them to target/clients/suites/RESULTS. It takes most of an hour, and is no step of CI:
# some tests fail against any broker, others by the clock. What is expected is in docs/clients.md.
#
#   SUITES=1 ci/clients.sh                  everything
#   ci/clients/suites.sh [SUITE ...]        librdkafka, rdkafka, rskafka
#   TESTS='0011_produce_batch 0103_transactions' ci/clients/suites.sh librdkafka
#   TEST_CONSUMER_GROUP_PROTOCOL=consumer ci/clients/suites.sh librdkafka      groups by KIP-848
set -euo pipefail
cd "$(dirname "$0")/../.."

root="$PWD"
folder="$root/target/clients/suites"
results="$folder/RESULTS"
suites=("${@:-}")
[ -n "${suites[0]}" ] || suites=(librdkafka rdkafka rskafka)
# Long enough for every test that passes; one that hangs is a failure.
patience=${PATIENCE:-150}
mkdir -p "$folder/logs"
: > "$results"

. "$root/ci/clients/sources.sh"

# Starts a cluster whose topics have so many partitions if nobody says how many. Sets bootstrap.
serve=
start() {
    local partitions=$1
    shift
    stop
    data=$(mktemp -d "$folder/data.XXXXXX")
    : > "$folder/serve.out"
    [ $# != 0 ] || set -- --listen 127.0.0.1:0
    "$broker" serve --data "$data" --store memory --partitions "$partitions" "$@" \
        > "$folder/serve.out" 2>> "$folder/logs/broker.log" &
    serve=$!
    for _ in $(seq 300); do
        bootstrap=$(sed -n 's/^connect *bootstrap.servers=//p' "$folder/serve.out")
        [ -z "$bootstrap" ] || return 0
        sleep 0.1
    done
    echo "suites: the cluster did not start" >&2
    exit 1
}

stop() {
    [ -n "$serve" ] || return 0
    kill "$serve" 2> /dev/null || true
    wait "$serve" 2> /dev/null || true
    rm -rf "$data"
    serve=
}
trap stop EXIT

tell() {
    printf '%-12s %-60s %s\n' "$1" "$2" "$3" | tee -a "$results"
}

# A log without colours.
plain() {
    sed 's/\x1b\[[0-9;]*m//g' "$1"
}

# Each test in a process of its own: one that times out makes the runner end itself.
librdkafka() {
    librdkafka_sources
    local source="$folder/rdkafka-sys/librdkafka" test outcome log
    make -C "$source/tests" test-runner > "$folder/logs/librdkafka.build" 2>&1
    # 0118_commit_rebalance expects that two consumers which start together join together.
    start 4 --rebalance-delay 500 --listen 127.0.0.1:0
    echo "bootstrap.servers=$bootstrap" > "$folder/test.conf"
    # Local tests and those against librdkafka's own mock broker are left out, and what needs TLS,
    # SASL, or a person.
    local names
    names=$(sed -n 's/^ *_TEST(\([0-9][0-9a-z_]*\),.*/\1/p' "$source/tests/test.c" |
        grep -Ev '_mock|_local|_manual|^0000|^8|ssl|sasl|oauth|reauthentication')
    for test in ${TESTS:-$names}; do
        log="$folder/logs/librdkafka.$test"
        outcome=0
        (cd "$source/tests" && RDKAFKA_TEST_CONF="$folder/test.conf" TEST_KAFKA_VERSION=4.0.0 \
            TESTS="$test" LD_LIBRARY_PATH=../src:../src-cpp \
            timeout -k 5 "$patience" ./test-runner -Q -L -K -p1 > "$log" 2>&1) || outcome=$?
        if [ "$outcome" = 124 ]; then
            outcome="FAILED: not done in $patience s"
        else
            # The runner matches by parts of names: the line of this test counts. There is none if it
            # has ended itself.
            outcome=$(plain "$log" | sed -n "s/^| *$test *| *\([A-Z]*\) *|.*/\1/p" | head -n 1 || true)
            [ "$outcome" = PASSED ] || [ "$outcome" = SKIPPED ] || outcome="FAILED: $(plain "$log" |
                sed -n 's/^### Test ".*" failed at \(.*\) at [A-Z].*/\1/p' | head -n 1 || true)"
        fi
        tell librdkafka "$test" "$outcome"
    done
}

# The tests of a crate, file by file, one at a time.
crate() {
    local suite=$1 log="$folder/logs/$1"
    shift
    (cd "$folder/$suite" && env "$@" CARGO_TARGET_DIR="$folder/target" timeout 1800 \
        cargo test --quiet --no-fail-fast --test '*' -- --test-threads 1 --format pretty \
        > "$log" 2>&1) || true
    # What a test says may stand between its name and its outcome.
    awk '/^test .* \.\.\./ { name = $2 }
        name && /(ok|FAILED|ignored)$/ { n = split($0, w, " "); print name, w[n]; name = "" }' "$log" |
        sed 's/[^ ]*\(ok\|FAILED\|ignored\)$/\1/' |
        while read -r test outcome; do tell "$suite" "$test" "$outcome"; done
}

rdkafka() {
    fetch rdkafka "0.39.0"
    # Half of its tests go to this port whatever KAFKA_HOST says, and expect one broker.
    start 3 --brokers 1 --listen 127.0.0.1:9092
    crate rdkafka KAFKA_HOST="$bootstrap" KAFKA_VERSION=4.0.0
}

rskafka() {
    fetch rskafka "0.6.0"
    rm -f "$folder/rskafka/rust-toolchain.toml"
    # The version that it was published with does not build with newer compilers.
    cargo update --quiet --package rsasl --manifest-path "$folder/rskafka/Cargo.toml"
    # As its own compose file has it: no topic is created by asking for it.
    start 3 --no-auto-create --listen 127.0.0.1:0
    crate rskafka TEST_INTEGRATION=1 KAFKA_CONNECT="$bootstrap" TEST_BROKER_IMPL=redpanda
}

cargo build --quiet --package broker
broker="$(cargo metadata --format-version 1 --no-deps |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/debug/broker"
for suite in "${suites[@]}"; do
    case "$suite" in
        librdkafka | rdkafka | rskafka) "$suite" ;;
        *) echo "suites: $suite is not one of librdkafka, rdkafka, rskafka" >&2; exit 2 ;;
    esac
done
passed=$(grep -c -E '(PASSED|ok)$' "$results" || true)
failed=$(grep -c 'FAILED' "$results" || true)
echo "suites: $passed passed, $failed failed: $results"
