"""usage: gpu.py --bench bin/bench-gpu --out FOLDER [--batch 256] [--seconds 5] [--rounds 5]
logobeam on an NVIDIA GPU beside PyTorch on the same, as a Markdown table: training and scoring in bfloat16, with the share of the
time in which the device was busy, and how far the logits are from the processor's. Both begin with images in the host's
memory, which are copied to the device: PyTorch's are pinned. They take turns, and a table shows medians over the rounds.
Without PyTorch its columns are empty."""
import argparse
import array
import json
import random
import statistics
import subprocess
import sys
import time

try:
    import torch
    import network
except ImportError:
    torch = None

NETWORKS = ["resnet18", "efficientnet-lite0"]
SIDE = 224


class Ours:
    """cmd/bench --serve."""

    def __init__(self, bench):
        self.process = subprocess.Popen([bench, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **q):
        self.process.stdin.write(json.dumps(q) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"gpu.py: bench ended while it was asked {q}")
        a = json.loads(line)
        if "error" in a:
            sys.exit(f"gpu.py: {q}: {a['error']}")
        return a


class Busy:
    """The share of the time in which kernels ran, as the driver samples it: of the middle of a measurement."""

    def __enter__(self):
        self.process = subprocess.Popen(["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"],
                                        stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        samples = [int(s) for s in self.process.communicate()[0].split() if s.isdigit()]
        third = len(samples) // 3
        self.share = statistics.mean(samples[third:len(samples) - third]) if samples[third:len(samples) - third] else float("nan")


def timed(step, batch, seconds):
    step()
    torch.cuda.synchronize()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        torch.cuda.synchronize()
        done += batch
    return done / (time.perf_counter() - start)


def peers(spec, batch):
    """PyTorch's steps by name: what it scores and trains with, as it is and compiled."""
    host = torch.randn(batch, 3, SIDE, SIDE).to(memory_format=torch.channels_last).pin_memory()
    labels = (torch.arange(batch) % 33).cuda()
    steps = {"score": [], "train": []}
    for compiled in (False, True):
        m = network.torch_module(spec).cuda().to(memory_format=torch.channels_last)
        sgd = torch.optim.SGD(m.parameters(), lr=1e-6, momentum=0.9)
        run = torch.compile(m) if compiled else m

        def score(run=run):
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
                run(host.cuda(non_blocking=True)).float().cpu()

        def train(run=run, sgd=sgd):
            sgd.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(run(host.cuda(non_blocking=True)).float(), labels)
            loss.backward()
            sgd.step()
            loss.item()

        steps["score"].append(score)
        steps["train"].append(train)
    return steps


def logits(ours, folder, images, out, **q):
    ours.ask(do="logits", model=folder, images=images, out=out, **q)
    values = array.array("f")
    with open(out, "rb") as f:
        values.frombytes(f.read())
    return values


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--rounds", type=int, default=5)
    o = p.parse_args()
    ours = Ours(o.bench)
    cuda = torch is not None and torch.cuda.is_available()
    name = subprocess.run(["nvidia-smi", "-i", "0", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True).stdout.strip()
    lines = [f"{name}; batches of {o.batch}; PyTorch {torch.__version__ if cuda else 'is not there, or without CUDA'}", "",
             "| network | | images/s | PyTorch | x | device busy | logits to the CPU's, bf16 | fp32 |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    images = f"{o.out}/images.f32"
    random.seed(1)
    with open(images, "wb") as f:
        array.array("f", (random.uniform(-2, 2) for _ in range(4 * SIDE * SIDE * 3))).tofile(f)
    for arch in NETWORKS:
        ours.ask(do="save", arch=arch, out=o.out)
        folder = f"{o.out}/{arch}"
        want = logits(ours, folder, images, f"{o.out}/logits.f32", precision="fp32")
        largest = max(abs(v) for v in want)
        off = {}
        for precision in ("bf16", "fp32"):
            got = logits(ours, folder, images, f"{o.out}/logits.f32", precision=precision, gpu=True)
            off[precision] = max(abs(a - b) for a, b in zip(got, want)) / largest
        requests = {"score": dict(do="forward", arch=arch, precision="bf16", gpu=True, threads=4, batch=o.batch, seconds=o.seconds),
                    "train": dict(do="train", arch=arch, precision="bf16", gpu=True, threads=4, batch=o.batch, steps=5, momentum=0.9, seconds=o.seconds)}
        theirs = peers(network.spec(folder), o.batch) if cuda else {}
        for what, q in requests.items():
            rates, busy, best = [], [], [[] for _ in theirs.get(what, [])]
            for _ in range(o.rounds):
                with Busy() as b:
                    rates.append(ours.ask(**q)["rate"])
                busy.append(b.share)
                for step, to in zip(theirs.get(what, []), best):
                    to.append(timed(step, o.batch, o.seconds))
            rate, peer = statistics.median(rates), max((statistics.median(r) for r in best), default=None)
            lines.append(f"| {arch} | {what} | {rate:.0f} | {f'{peer:.0f}' if peer else ''} | {f'{rate / peer:.2f}' if peer else ''} | "
                         f"{statistics.median(busy):.0f} % | {off['bf16']:.1e} | {off['fp32']:.1e} |")
    text = "\n".join(lines) + "\n"
    print(text)
    with open(f"{o.out}/gpu.md", "w") as f:
        f.write(text)


main()
