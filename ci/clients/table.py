"""The outcomes of client suites as a table in Markdown. Arguments: files of JSON lines, without
their ending."""

import json
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

print("| feature | " + " | ".join(clients) + " |")
print("|---" * (len(clients) + 1) + "|")
for feature, cells in rows.items():
    print(f"| {feature} | " + " | ".join(cells.get(client, "–") for client in clients) + " |")
