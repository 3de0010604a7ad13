"""What all client suites share: features are tried one after the other, each on topics of its own,
and each leaves one line of JSON: client, feature, whether it worked, what went wrong."""

import asyncio
import json
import sys
import time
import traceback
import uuid

FEATURES = []


def feature(name):
    """A function that tries one feature, and raises if it does not work."""

    def add(tries):
        FEATURES.append((name, tries))
        return tries

    return add


def fresh(name):
    """A name that nobody has used before."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} instead of {expected!r}")


def wait_for(what, done, within=30.0):
    """Calls `done` until it is true."""
    until = time.monotonic() + within
    while not done():
        if time.monotonic() > until:
            raise AssertionError(f"not within {within:.0f} s: {what}")
        time.sleep(0.05)


def run(client):
    """Tries every feature against the broker named on the command line."""
    bootstrap, failed = sys.argv[1], 0
    for name, tries in FEATURES:
        begun = time.monotonic()
        try:
            outcome = tries(bootstrap)
            if asyncio.iscoroutine(outcome):
                asyncio.run(asyncio.wait_for(outcome, 60))
            why = ""
        except Exception as error:  # A client may raise anything.
            why = f"{type(error).__name__}: {error}"
            traceback.print_exc()
            failed += 1
        took = round(time.monotonic() - begun, 2)
        line = {"client": client, "feature": name, "ok": not why, "why": why, "seconds": took}
        print(json.dumps(line), flush=True)
    sys.exit(1 if failed else 0)
