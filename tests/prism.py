"""Sends what the bot sent to Fly once more, to a Prism that serves Fly's document; prints and counts what it does not know.

One request of each kind: method, path of the document, names of the query's parameters, and the shape of the body. Called by prism.sh.
"""

import glob
import json
import sys
import time
import urllib.error
import urllib.request

# How long Prism may take to read the document, in seconds.
UP_WITHIN_S = 60
# Refusals that are told in full.
TOLD_MAX = 10


def shape(value):
    """What a body looks like, without what it says."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


def kinds(folder):
    """One request of each kind that the bot itself sent to the Machines API."""
    found = {}
    for name in sorted(glob.glob(f"{folder}/**/fly-*.jsonl", recursive=True)):
        with open(name, encoding="utf-8") as lines:
            for line in lines:
                one = json.loads(line)
                if one["door"] != "machines" or not one.get("agent", "").startswith("watchbell/"):
                    continue
                names = sorted(pair.split("=")[0] for pair in one.get("query", "").split("&"))
                kind = json.dumps([one["method"], one["template"], names, shape(one.get("body"))])
                found.setdefault(kind, one)
    return list(found.values())


def refused(base, one):
    """Why Prism does not know a request; None when it does. Its own made-up answer is no matter."""
    query = one.get("query")
    url = base + one["path"].removeprefix("/v1") + (f"?{query}" if query else "")
    body = one.get("body")
    # The stand-in writes no headers down; that a lease is shown where it must be is tests/fly_acts.rs.
    headers = {"accept": "application/json", "authorization": "Bearer none", "fly-machine-lease-nonce": "n"}
    if body is not None:
        headers["content-type"] = "application/json"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=one["method"], headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            said, text = answer.headers, ""
    except urllib.error.HTTPError as error:
        said, text = error.headers, error.read().decode(errors="replace")
    violations = json.loads(said.get("sl-violations") or "[]")
    of_request = [each["message"] for each in violations if each["location"][:1] == ["request"]]
    # What no path fits is told in the body alone.
    if not of_request and "prism/errors#NO_" in text:
        of_request = [json.loads(text)["detail"]]
    return "; ".join(of_request) or None


def main():
    folder, port = sys.argv[1], sys.argv[2]
    base = f"http://127.0.0.1:{port}"
    wait = {"method": "GET", "path": "/v1/apps/shop/machines/m1/wait"}
    began = time.monotonic()
    while True:
        try:
            if refused(base, {**wait, "query": "timeout=60"}):
                sys.exit("Prism refuses what is right")
            break
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() - began > UP_WITHIN_S:
                sys.exit("Prism does not come up")
            time.sleep(0.2)
    # A judge that finds nothing wrong must be seen to find something.
    for wrong in (
        {**wait, "query": "timeout=soon"},
        {"method": "POST", "path": "/v1/apps/shop/machines/m1", "body": {"config": {"image": 1}}},
        {"method": "POST", "path": "/v1/apps/shop/machines", "body": {"skip_lunch": True}},
        {"method": "GET", "path": "/v1/apps/shop/mashines"},
    ):
        if not refused(base, wrong):
            sys.exit(f"Prism takes what is wrong: {wrong}")
    all_kinds = kinds(folder)
    if not all_kinds:
        sys.exit(f"no request to Fly in {folder}")
    wrong = [(one, why) for one in all_kinds if (why := refused(base, one))]
    for one, why in wrong[:TOLD_MAX]:
        print(f"{one['method']} {one['path']}?{one.get('query', '')}: {why}\n  {json.dumps(one.get('body'))[:400]}")
    print(f"{len(all_kinds)} kinds of requests to Fly's machines, {len(wrong)} that Prism does not know")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
