"""The loop of the peers: a line of JSON is a request, a line of JSON the answer, as cmd/bench --serve has it."""
import json
import os
import sys


def peak_rss():
    try:
        with open("/proc/self/status") as f:
            return next(int(l.split()[1]) << 10 for l in f if l.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0


def serve(does):
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        q = json.loads(line)
        try:
            a = {} if q["do"] == "idle" else does[q["do"]](q)
        except Exception as e:  # the other measurements can go on
            a = {"error": f"{type(e).__name__}: {e}"[:500]}
        a["peak_rss"] = peak_rss()
        out.write(json.dumps(a) + "\n")
        out.flush()
