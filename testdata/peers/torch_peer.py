"""PyTorch, one measurement for each line of JSON that it reads. See compare.py."""
import time

import torch
import torch.nn.functional as F

import network
from serve import serve

torch._dynamo.config.recompile_limit = 64  # all networks are one class here
compiled = {}


def forward(q):
    torch.set_num_threads(q["threads"])
    key = q["model"], q["threads"], q["batch"], q["layout"], q["mode"]
    layout = torch.channels_last if q["layout"] == "nhwc" else torch.contiguous_format
    x = torch.randn(q["batch"], 3, 224, 224).to(memory_format=layout)
    with torch.inference_mode():
        if key not in compiled:
            m = network.torch_module(*network.load(q["model"])).eval().to(memory_format=layout)
            if q["mode"] == "compile":
                m = torch.compile(m, options={"freezing": True})  # constants are folded and weights packed
            with torch.no_grad():
                for _ in range(3):
                    m(x)
            compiled[key] = m
        m = compiled[key]
        start, done = time.perf_counter(), 0
        while True:
            m(x)
            done += q["batch"]
            t = time.perf_counter() - start
            if t >= q["seconds"]:
                return {"rate": done / t}


trained = {}


def train(q):
    torch.set_num_threads(q["threads"])
    key = q["model"], q["threads"], q["batch"], q["layout"], q["mode"], q["precision"], q["momentum"]
    layout = torch.channels_last if q["layout"] == "nhwc" else torch.contiguous_format
    if key not in trained:
        m = network.torch_module(network.spec(q["model"])).to(memory_format=layout).train()
        sgd = torch.optim.SGD(m.parameters(), lr=1e-6, momentum=q["momentum"])
        x = torch.randn(q["batch"], 3, 224, 224).to(memory_format=layout)
        y = torch.arange(q["batch"]) % 33
        run = m
        if q["mode"] == "compile":
            run = torch.compile(m)

        def step():
            sgd.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=q["precision"] == "bf16"):
                loss = F.cross_entropy(run(x).float(), y)
            loss.backward()
            sgd.step()

        trained[key] = step
        step()
    step = trained[key]
    step()
    start, done = time.perf_counter(), 0
    while True:
        step()
        done += 1
        t = time.perf_counter() - start
        if t >= q["seconds"] and done >= q["steps"]:
            return {"rate": done * q["batch"] / t}


serve({"forward": forward, "train": train})
