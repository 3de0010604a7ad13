#!/usr/bin/env bash
# Real Kafka clients, unmodified, against a cluster of three brokers. Installs the clients into
# target/clients, starts `broker serve` there, and prints what worked as a table.
#
#   ci/clients.sh [CLIENT ...]      librdkafka, kafka-python, aiokafka, kafkajs; default: all
#
# With SUITES=1 the test suites of other projects follow (ci/clients/suites.sh).
#
# A client that can not be installed is skipped, with a message; with CI=true it is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

suites="$PWD/ci/clients"
folder="$PWD/target/clients"
clients=("${@:-}")
[ -n "${clients[0]}" ] || clients=(librdkafka kafka-python aiokafka kafkajs)
mkdir -p "$folder"
log="$folder/broker.log"

# Installs a client, if it is not there. The versions are those of the table in docs/clients.md.
install() {
    case "$1" in
        librdkafka) packages=(confluent-kafka==2.16.1) ;;
        kafka-python) packages=(kafka-python==3.0.12 python-snappy lz4 zstandard) ;;
        aiokafka) packages=(aiokafka==0.14.0 cramjam) ;;
        kafkajs) npm install --silent --no-audit --no-fund --prefix "$folder" kafkajs@2.2.4; return ;;
        *) echo "clients: $1 is not one of librdkafka, kafka-python, aiokafka, kafkajs" >&2; exit 2 ;;
    esac
    [ -x "$folder/venv/bin/pip" ] || python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
}

# Tries all features of a client; one line of JSON for each.
try() {
    case "$1" in
        librdkafka) timeout 300 "$folder/venv/bin/python" "$suites/librdkafka.py" "$2" ;;
        kafka-python) timeout 300 "$folder/venv/bin/python" "$suites/kafka_python.py" "$2" ;;
        aiokafka) timeout 300 "$folder/venv/bin/python" "$suites/aio_kafka.py" "$2" ;;
        kafkajs) NODE_PATH="$folder/node_modules" timeout 300 node "$suites/kafkajs.js" "$2" ;;
    esac
}

there=()
for client in "${clients[@]}"; do
    if install "$client"; then
        there+=("$client")
    elif [ "${CI:-}" = true ]; then
        echo "clients: $client can not be installed" >&2
        exit 1
    else
        echo "clients: $client can not be installed: skipped" >&2
    fi
done

cargo build --quiet --package broker
data=$(mktemp -d "$folder/data.XXXXXX")
: > "$folder/serve.out"
cargo run --quiet --package broker -- serve --data "$data" --listen 127.0.0.1:0 \
    > "$folder/serve.out" 2> "$log" &
serve=$!
trap 'kill "$serve" 2> /dev/null || true; rm -rf "$data"' EXIT
for _ in $(seq 300); do
    bootstrap=$(sed -n 's/^connect *bootstrap.servers=//p' "$folder/serve.out")
    [ -z "$bootstrap" ] || break
    sleep 0.1
done
[ -n "$bootstrap" ] || { cat "$log" >&2; echo "clients: the cluster did not start" >&2; exit 1; }

running=()
for client in "${there[@]}"; do
    try "$client" "$bootstrap" > "$folder/$client.json" 2> "$folder/$client.log" &
    running+=("$!")
done
failed=0
for at in "${!running[@]}"; do
    if ! wait "${running[$at]}"; then
        failed=1
        echo "clients: ${there[$at]} failed:" >&2
        grep '"ok": *false' "$folder/${there[$at]}.json" >&2 || tail -n 20 "$folder/${there[$at]}.log" >&2
    fi
done

# A graceful stop hands everything over and ends well.
kill -TERM "$serve"
wait "$serve" || { failed=1; echo "clients: the cluster did not stop well" >&2; tail "$log" >&2; }
trap 'rm -rf "$data"' EXIT

[ "${#there[@]}" -gt 0 ] || { echo "clients: none could be installed" >&2; exit 2; }
# Of all clients together the table is the one in the docs.
document=
[ "${#there[@]}" -lt 4 ] || document=docs/clients.md
DOCUMENT=$document python3 "$suites/table.py" "${there[@]/#/$folder/}" || failed=1
[ "$failed" = 0 ] || exit 1
echo "clients: ${#there[@]} passed, 0 failed"
[ "${SUITES:-}" != 1 ] || ci/clients/suites.sh
