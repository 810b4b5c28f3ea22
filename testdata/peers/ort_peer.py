"""ONNX Runtime, one measurement for each line of JSON that it reads. See compare.py."""
import time

import numpy as np
import onnxruntime as ort

from serve import serve

sessions = {}


def session(q):
    key = q["onnx"], q["threads"]
    if key not in sessions:
        o = ort.SessionOptions()
        o.intra_op_num_threads = q["threads"]
        o.inter_op_num_threads = 1
        o.log_severity_level = 3
        o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        o.add_session_config_entry("session.set_denormal_as_zero", "1")
        o.add_session_config_entry("session.force_spinning_stop", "1")  # between runs, so that others are measured in peace
        sessions[key] = ort.InferenceSession(q["onnx"], o, providers=["CPUExecutionProvider"])
    return sessions[key]


def forward(q):
    s, n = session(q), q["batch"]
    x = np.random.default_rng(1).standard_normal((n, 3, 224, 224), np.float32)
    start, done = time.perf_counter(), 0
    while True:
        s.run(None, {"x": x})
        done += n
        t = time.perf_counter() - start
        if t >= q["seconds"]:
            return {"rate": done / t}


def logits(q):
    """Images are H, W, C float32; the logits are written as float32."""
    x = np.fromfile(q["images"], np.float32).reshape(-1, 224, 224, 3).transpose(0, 3, 1, 2)
    s = session(q)
    np.concatenate([s.run(None, {"x": np.ascontiguousarray(x[i:i + 1])})[0] for i in range(len(x))]).astype(np.float32).tofile(q["out"])
    return {}


serve({"forward": forward, "logits": logits})
