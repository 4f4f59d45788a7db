#!/usr/bin/env python3
"""How many replicas of countersign, how large, and what breaks first.

    cargo bench --bench load -- --json measured.json      on a machine like those that it will run on
    deploy/capacity/plan.py measured.json --requests-per-second 1000000 --tokens 200000

Costs are those of the file, limits those of the program; everything else is assumed, and can be said by an option. Python 3.10, nothing
besides.
"""

import argparse
import json
import random
import sys
from collections import deque
from itertools import accumulate

# Limits of the program. tests/it/capacity.rs looks whether they are still those of the source.
MAX_REMEMBERED = 100_000  # src/authn/token/cache.rs, MAX_GOOD
MAX_REVIEWS = 400  # src/authn/token/webhook/mod.rs, MAX_IN_FLIGHT
MIN_KEY_INTERVAL = 10  # seconds; src/authn/token/jwt/remote_keys.rs, MIN_INTERVAL
KEY_REFRESH = (0.75 + 0.9) / 2  # of the keys' lifetime, on average; src/authn/token/jwt/remote_keys/freshness.rs, refresh_after
KEY_RETRY = 5  # seconds, at least, while an issuer goes on failing; there, MAX_RETRY and retry_after
WATCH_SECONDS = 30  # src/cluster/watch.rs, WATCH_SECONDS
POD_BYTES = 54  # src/cluster/objects/index.rs, fifty_thousand_pods_take_54_bytes_each
WATCHES = {"service-account": 3}  # accounts, pods, nodes

# The rows of the benchmark: what is remembered, and what is seen for the first time.
CASES = {
    "rs256": ("rs256-remembered", "rs256-first-seen"),
    "es256": ("rs256-remembered", "es256-first-seen"),
    "service-account": ("service-account-remembered", "service-account-first-seen"),
    "webhook": ("webhook-remembered", "rs256-first-seen"),  # what a review costs us is not measured; this stands for it
    "certificate": ("remembered-certificate", "first-seen-certificate"),
    "static-token": ("static-token", "static-token"),
}


class Measured:
    """The figures of a run of the benchmark, and which of them were used."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        self.is_debug = report["debug_build"]
        self.rows = {row["case"]: row for row in report["rows"]}
        self.used = {}

    def row(self, name):
        if name not in self.rows:
            sys.exit(f"The file has no row {name}: let the benchmark run without names of cases")
        return self.rows[name]

    def microseconds(self, case):
        """CPU time of a Check."""
        figures = sorted(self.row(case)["countersign_us"])
        self.used[case] = figures[len(figures) // 2]
        return self.used[case]

    def mebibytes(self, case):
        """Memory, and how many of what there are in it, if the name says so."""
        name = next((name for name in self.rows if name.split(" ")[0] == case), case)
        count = int(name.split("(")[1].rstrip(")")) if "(" in name else 0
        self.used[name] = self.row(name)["median"]
        return self.used[name], count

    def bytes_of_an_identity(self):
        """What a token and its user take, above what the program takes by itself."""
        idle, _ = self.mebibytes("memory-idle")
        full, count = self.mebibytes("memory-identities")
        return max(full - idle, 0.0) * 1024 * 1024 / count


def popularity(tokens, exponent):
    """The share that each token has in the requests, the most used first: Zipf's law, or all alike with 0."""
    weights = [rank**-exponent for rank in range(1, tokens + 1)]
    total = sum(weights)
    return [weight / total for weight in weights]


def remembered(shares, rate, ttl, room=MAX_REMEMBERED):
    """Of so many requests a second to one replica: the part of hits, and how many tokens are remembered at a time.

    A token is remembered for `ttl` from the request that it was not known at, however often it comes. If requests come at random, `rate * share
    * ttl` of them follow in that time. With more tokens than there is room for, the most used are kept, and the others are never known.
    """
    hits, entries = 0.0, 0.0
    for share in shares:
        following = rate * share * ttl
        entry = following / (1 + following)
        if entries + entry > room:
            break
        entries += entry
        hits += share * entry
    return hits, entries


def simulated(shares, rate, ttl, room=MAX_REMEMBERED, seed=1):
    """The same by trying: requests at random to one replica, for three times `ttl`, and the part of hits in the last of them.

    If there is no room, a new token is not remembered, however often it comes: what is to be expected is between this and `remembered`.
    """
    source = random.Random(seed)
    until, queue, hits = {}, deque(), 0
    in_ttl = int(rate * ttl)
    tokens = source.choices(range(len(shares)), cum_weights=list(accumulate(shares)), k=3 * in_ttl)
    for number, token in enumerate(tokens):
        now = number / rate
        while queue and queue[0][0] <= now:
            del until[queue.popleft()[1]]
        if token in until:
            hits += number >= 2 * in_ttl
        elif len(until) < room:
            until[token] = now + ttl
            queue.append((now + ttl, token))
    return hits / in_ttl


def replica(args, costs, shares, replicas):
    """What one of so many replicas has to do."""
    hit_us, miss_us, bad_us = costs
    rate = args.requests_per_second / replicas
    good = rate * (1 - args.bad_share)
    if args.kind == "static-token":
        hits, entries = 1.0, 0.0
    else:
        hits, entries = remembered(shares, good, args.cache_ttl)
    misses = good * (1 - hits)
    reviews = misses + rate * args.bad_share if args.kind == "webhook" else 0.0
    cores = (good * hits * hit_us + misses * miss_us + rate * args.bad_share * bad_us) / 1e6
    return {"rate": rate, "hits": hits, "entries": entries, "misses": misses, "reviews": reviews, "cores": cores}


def fetches(args, replicas):
    """Of issuers' documents, in all and a second: usually, and at most with tokens of made-up key ids and while all issuers fail."""
    tasks = replicas * args.issuers  # each replica has one for each issuer
    return {
        "fetches": tasks / (args.keys_lifetime * KEY_REFRESH),
        "made up": tasks / MIN_KEY_INTERVAL,
        "failing": 4 / 3 * tasks / KEY_RETRY,  # each third time where the keys are as well, task.rs, REDISCOVER_AFTER
    }


def enough(args, costs, shares):
    """The fewest replicas that have the CPU time, when as many as may be lost are."""
    low, high = 1, 1
    fits = lambda count: replica(args, costs, shares, count)["cores"] <= args.cores * args.utilization
    while not fits(high):
        low, high = high + 1, high * 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low + args.spare


def plan(args, measured):
    """Everything, as a dictionary."""
    known, first = CASES[args.kind]
    costs = (measured.microseconds(known), measured.microseconds(first), measured.microseconds("unknown-token"))
    idle, _ = measured.mebibytes("memory-idle")
    identity = measured.bytes_of_an_identity()
    shares = popularity(args.tokens, args.zipf)
    count = enough(args, costs, shares) if args.replicas == "auto" else int(args.replicas)
    one = replica(args, costs, shares, count)
    watches = WATCHES.get(args.kind, 0)
    bits = 8 * one["rate"]
    asked = fetches(args, count)
    impersonated = args.impersonations_per_second * args.values
    figures = {
        "replicas": count,
        "requests per second and replica": one["rate"],
        "cores in use per replica": one["cores"],
        "calls per second and core": one["rate"] / one["cores"],
        "hits of the token cache": one["hits"],
        "tokens remembered per replica": one["entries"],
        "bytes per identity that is remembered": identity,
        "MiB per replica": idle + (one["entries"] * identity + args.pods * POD_BYTES * (watches > 0)) / 1024 / 1024,
        "Gbit/s into a replica": bits * args.request_bytes / 1e9,
        "Gbit/s out of a replica": bits * args.answer_bytes / 1e9,
        "connections per replica": args.envoys * args.envoy_workers,
        "connections in all": args.envoys * args.envoy_workers * count,
        "verifications per second in all": one["misses"] * count,
        "token reviews per second in all": one["reviews"] * count,
        "token reviews at once per replica": one["reviews"] * args.review_ms / 1000,
        "access reviews per second in all": impersonated,
        "fetches of keys per second in all": asked["fetches"],
        "… with made-up key ids, at most": asked["made up"],
        "… and of discovery documents, while issuers fail, at most": asked["failing"],
        "fetches of both when all replicas start": 2 * count * args.issuers,
        "watches on the API server": count * watches,
        "… opened anew per second": count * watches / WATCH_SECONDS,
        "… events per second in all": count * args.pod_changes_per_second * (watches > 0),
    }
    # How much of each limit is used. What is over 1 breaks, and the largest first.
    limits = {
        "CPU of a replica": one["cores"] / args.cores,
        "room for tokens (the rest is verified anew)": one["entries"] / MAX_REMEMBERED,
        "token reviews at once": figures["token reviews at once per replica"] / MAX_REVIEWS,
        "network of a replica": max(figures["Gbit/s into a replica"], figures["Gbit/s out of a replica"]) / args.nic_gbit,
    }
    if args.review_capacity and one["reviews"]:
        limits["what the webhook can answer"] = figures["token reviews per second in all"] / args.review_capacity
    growth = [
        {
            "replicas": many,
            "hits": there["hits"],
            "verifications": there["misses"] * many,
            "reviews": there["reviews"] * many,
            **fetches(args, many),
        }
        for many in (count, 2 * count, 4 * count)
        for there in [replica(args, costs, shares, many)]
    ]
    result = {"figures": figures, "limits": limits, "growth": growth, "measured": measured.used, "debug_build": measured.is_debug}
    if args.simulate:
        good = one["rate"] * (1 - args.bad_share)
        result["simulated hits"] = simulated(shares, good, args.cache_ttl)
    return result


def show(result):
    if result["debug_build"]:
        print("The figures are of a debug build: they show that this runs, and nothing else.\n")
    print("| | |\n|---|---|")
    for name, figure in result["figures"].items():
        if figure:
            print(f"| {name} | {readable(figure)} |")
    if "simulated hits" in result:
        print(f"| hits of the token cache, by simulation | {readable(result['simulated hits'])} |")
    print("\n| limit | used |\n|---|---|")
    for name, part in sorted(result["limits"].items(), key=lambda limit: -limit[1]):
        if part:
            print(f"| {name} | {part:.0%} |")
    columns = ["verifications per second", "token reviews per second", "key fetches per second", "… with made-up key ids", "… while issuers fail"]
    print(f"\n| with so many replicas | hits | {' | '.join(columns)} |\n|---|---|---|---|---|---|---|")
    for row in result["growth"]:
        rates = [readable(row[name]) for name in ("verifications", "reviews", "fetches", "made up", "failing")]
        print(f"| {row['replicas']} | {row['hits']:.1%} | {' | '.join(rates)} |")
    used = ", ".join(f"{case} {figure:.1f}" for case, figure in result["measured"].items())
    print(f"\nMeasured (µs of CPU time, or MiB): {used}.")


def readable(figure):
    return f"{figure:,.0f}" if figure >= 100 or figure == int(figure) else f"{figure:.3g}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", help="what cargo bench --bench load -- --json has written")

    def add(name, default, text, kind=float):
        parser.add_argument(name, type=kind, default=default, help=f"{text} (default: {default})")

    add("--requests-per-second", 1_000_000, "of all clients together")
    add("--kind", "rs256", "what they show: " + ", ".join(CASES), str)
    add("--tokens", 200_000, "how many different ones are in use", int)
    add("--zipf", 1.0, "how unlike: 0 all come alike often, 1 as words do in a text")
    add("--bad-share", 0.01, "the part of requests with a token that nobody knows")
    add("--cache-ttl", 10.0, "--token-success-cache-ttl in seconds")
    add("--replicas", "auto", "how many; auto: as many as CPU time asks for", str)
    add("--spare", 1, "replicas that may be lost, with auto", int)
    add("--cores", 4.0, "of a replica")
    add("--utilization", 0.5, "the part of them that may be in use")
    add("--envoys", 50, "how many Envoys ask", int)
    add("--envoy-workers", 8, "threads of each (--concurrency), each with a connection to each replica", int)
    add("--request-bytes", 2000, "of a Check: about what the headers of a request have", int)
    add("--answer-bytes", 500, "of its answer", int)
    add("--nic-gbit", 10.0, "what the network of a replica can do")
    add("--issuers", 1, "of JSON Web Tokens", int)
    add("--keys-lifetime", 300.0, "of an issuer's keys in seconds, as its cache headers say, from 60 to 3600")
    add("--review-ms", 20.0, "how long the webhook takes")
    add("--review-capacity", 0.0, "token reviews per second that it can answer; 0: not known")
    add("--pods", 0, "in the cluster", int)
    add("--pod-changes-per-second", 0.0, "in the cluster")
    add("--impersonations-per-second", 0.0, "requests with Impersonate-* of their own (--allow-impersonation)")
    add("--values", 3, "users, groups and extra values that such a request names", int)
    parser.add_argument("--simulate", action="store_true", help="find the hits by simulation too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if args.kind not in CASES:
        parser.error(f"--kind is one of {', '.join(CASES)}")
    return args


def main():
    args = arguments()
    result = plan(args, Measured(args.measured))
    if args.json:
        json.dump(result, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        show(result)


if __name__ == "__main__":
    main()
