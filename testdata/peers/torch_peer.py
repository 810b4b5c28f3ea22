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
    device = q.get("device", "cpu")
    key = q["model"], q["threads"], q["batch"], q["layout"], q["mode"], device
    layout = torch.channels_last if q["layout"] == "nhwc" else torch.contiguous_format
    x = torch.randn(q["batch"], 3, 224, 224).to(memory_format=layout)
    if device != "cpu":
        x = x.pin_memory()
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
        if key not in compiled:
            m = network.torch_module(*network.load(q["model"])).eval().to(device, memory_format=layout)
            if q["mode"] == "compile":
                m = torch.compile(m, options={"freezing": True})  # constants are folded and weights packed
            with torch.no_grad():
                for _ in range(3):
                    m(x.to(device, non_blocking=True))
            compiled[key] = m
        m = compiled[key]
        start, done = time.perf_counter(), 0
        while True:
            m(x.to(device, non_blocking=True)).cpu()  # both copies are part of scoring
            done += q["batch"]
            t = time.perf_counter() - start
            if t >= q["seconds"]:
                return {"rate": done / t}


trained = {}


def wait(device):
    if device != "cpu":
        torch.cuda.synchronize()


def train(q):
    torch.set_num_threads(q["threads"])
    device = q.get("device", "cpu")
    key = q["model"], q["threads"], q["batch"], q["layout"], q["mode"], q["precision"], q["momentum"], device
    layout = torch.channels_last if q["layout"] == "nhwc" else torch.contiguous_format
    if key not in trained:
        m = network.torch_module(network.spec(q["model"])).to(device, memory_format=layout).train()
        sgd = torch.optim.SGD(m.parameters(), lr=1e-6, momentum=q["momentum"])
        x = torch.randn(q["batch"], 3, 224, 224).to(memory_format=layout)
        y = (torch.arange(q["batch"]) % 33).to(device)
        if device != "cpu":
            x = x.pin_memory()
        run = m
        if q["mode"] == "compile":
            run = torch.compile(m)

        def step():
            sgd.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=q["precision"] == "bf16"):
                loss = F.cross_entropy(run(x.to(device, non_blocking=True)).float(), y)
            loss.backward()
            sgd.step()

        trained[key] = step
        step()
    step = trained[key]
    step()
    wait(device)
    start, done = time.perf_counter(), 0
    while True:
        step()
        done += 1
        if done % 10 == 0:
            wait(device)
        t = time.perf_counter() - start
        if t >= q["seconds"] and done >= q["steps"]:
            wait(device)
            t = time.perf_counter() - start
            return {"rate": done * q["batch"] / t}


serve({"forward": forward, "train": train})
