"""The outcomes of client suites as a table in Markdown. Arguments: files of JSON lines, without
their ending. With DOCUMENT in the environment that file must contain the table: no feature may go
untried unnoticed."""

import json
import os
import sys


def kind(feature):
    """`compression: gzip` and `compression: gzip, snappy, …` are one row."""
    return "compression" if feature.startswith("compression") else feature


rows, clients = {}, []
for path in sys.argv[1:]:
    with open(f"{path}.json", encoding="utf-8") as lines:
        for outcome in map(json.loads, lines):
            client, feature = outcome["client"], outcome["feature"]
            if client not in clients:
                clients.append(client)
            cell = "yes" if outcome["ok"] else "NO"
            if kind(feature) != feature:
                cell += ": " + feature.split(": ")[1]
            rows.setdefault(kind(feature), {})[client] = cell

table = ["| feature | " + " | ".join(clients) + " |", "|---" * (len(clients) + 1) + "|"]
for feature, cells in rows.items():
    table.append(f"| {feature} | " + " | ".join(cells.get(it, "–") for it in clients) + " |")
print("\n".join(table))
if document := os.environ.get("DOCUMENT"):
    with open(document, encoding="utf-8") as lines:
        known = lines.read().splitlines()
    begin = known.index(table[0]) if table[0] in known else len(known)
    block = known[begin:]
    end = next((at for at, line in enumerate(block) if not line.startswith("|")), len(block))
    missing = [line for line in table if line not in block[:end]]
    untried = [line for line in block[:end] if line not in table]
    if missing or untried:
        sys.exit("\n".join(["clients: the table in " + document + " says otherwise:"]
                           + [f"  not there: {line}" for line in missing]
                           + [f"  not tried: {line}" for line in untried]))
