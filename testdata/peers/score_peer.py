"""usage: score_peer.py LISTING MODEL.onnx OUT.parquet --mode procs|threads --workers N --batch N
What logobeam score does, by ONNX Runtime: a listing of posts in, post_id, brand and probability as Parquet out. The ONNX model
takes bytes, normalises, and gives probabilities. N processes or N threads each read, decode and classify, one ONNX Runtime
thread for each."""
import argparse
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
import pyarrow
import pyarrow.parquet

import photographs

session = None


def start(model):
    global session
    o = ort.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    o.log_severity_level = 3
    session = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])


def work(rows):
    x = np.stack([photographs.load(path) for _, path in rows])
    p = session.run(None, {"x": x})[0]
    best = p.argmax(1)
    return [post for post, _ in rows], best, p[np.arange(len(p)), best]


def main():
    a = argparse.ArgumentParser()
    a.add_argument("listing")
    a.add_argument("model")
    a.add_argument("out")
    a.add_argument("--mode", choices=("procs", "threads"), default="procs")
    a.add_argument("--workers", type=int, required=True)
    a.add_argument("--batch", type=int, default=16)
    a = a.parse_args()
    rows = photographs.read_listing(a.listing)
    chunks = [rows[i:i + a.batch] for i in range(0, len(rows), a.batch)]
    if a.mode == "threads":
        start(a.model)
        with ThreadPoolExecutor(a.workers) as pool:
            done = list(pool.map(work, chunks))
    else:
        with multiprocessing.get_context("forkserver").Pool(a.workers, start, (a.model,)) as pool:
            done = list(pool.imap(work, chunks))
    posts, best, probability = (np.concatenate(c) for c in zip(*done))
    table = pyarrow.table({"post_id": posts, "brand": [f"brand{i:02d}" if i < 32 else "no-logo" for i in best],
                           "probability": probability.astype(np.float32)})
    pyarrow.parquet.write_table(table, a.out, compression="zstd")


if __name__ == "__main__":
    main()
