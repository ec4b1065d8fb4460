#!/usr/bin/env python3
"""Compares two junit.xml reports of one test suite: run directly, and through the proxy.

Usage: compare_junit.py DIRECT.xml PROXY.xml [--all]

Lists the tests that pass directly and do not through the proxy, each with its first line of
error, and exits with status 1 if there are any. Then counts every pair of outcomes. With --all
it also lists the other tests whose outcomes differ: those that are skipped on one side only,
because the two runs see different kinds of deployment, and those that fail directly.
"""

import argparse
import collections
import sys
import xml.etree.ElementTree as ET

# From good to bad: a test that is reported more than once counts by its worst outcome.
PASSED, XFAILED, SKIPPED, MISSING, FAILED, ERROR = OUTCOMES = (
    "passed", "xfailed", "skipped", "missing", "failed", "error",
)


def outcome(case):
    """The outcome of one <testcase>, and the first line of what it says about it."""
    for tag, result in (("error", ERROR), ("failure", FAILED), ("skipped", SKIPPED)):
        found = case.find(tag)
        if found is not None:
            if found.get("type") == "pytest.xfail":
                result = XFAILED
            message = (found.get("message") or found.text or "").strip()
            return result, message.splitlines()[0] if message else ""
    return PASSED, ""


def read(path):
    """All tests of a report: name to (outcome, message, seconds)."""
    tests = {}
    for case in ET.parse(path).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        result, message = outcome(case)
        seconds = float(case.get("time") or 0)
        before = tests.get(name)
        if before and OUTCOMES.index(before[0]) > OUTCOMES.index(result):
            result, message = before[:2]
        tests[name] = (result, message, seconds + (before[2] if before else 0))
    if not tests:
        sys.exit(f"{path}: no tests in this report")
    return tests


def show(title, pairs, limit=220):
    if pairs:
        print(f"\n{title} ({len(pairs)}):")
        for name, before, after, message in pairs:
            print(f"  {name}: {before} -> {after}\n      {message[:limit]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("direct")
    parser.add_argument("proxy")
    parser.add_argument("--all", action="store_true", help="list every difference")
    args = parser.parse_args()
    direct, proxy = read(args.direct), read(args.proxy)

    broken, other = [], []
    counts = collections.Counter()
    for name in sorted(direct.keys() | proxy.keys()):
        before, why_before, _ = direct.get(name, (MISSING, "not in the direct run", 0))
        after, why_after, _ = proxy.get(name, (MISSING, "not in the run through the proxy", 0))
        counts[before, after] += 1
        if before == after:
            continue
        pair = (name, before, after, why_after or why_before)
        if before == PASSED and after in (FAILED, ERROR, MISSING):
            broken.append(pair)
        else:
            other.append(pair)

    show("Pass directly, but not through the proxy", broken)
    if args.all:
        show("Other differences", other)
    print("\n   direct     proxy  tests")
    for (before, after), count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{before:>9} {after:>9} {count:6}")
    seconds = [sum(test[2] for test in tests.values()) for tests in (direct, proxy)]
    print(f"\ndirect {seconds[0]:.0f} s, through the proxy {seconds[1]:.0f} s")
    print(f"{len(broken)} tests pass directly and not through the proxy")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
