"""usage: gpu.py --bench bin/bench-gpu --out FOLDER
logobeam on an NVIDIA accelerator beside PyTorch there, in turns, as a Markdown table: training and scoring in bfloat16, images a
second; the share of the time that the device was busy with ours (nvidia-smi); and how far logits are from the processor's.
Without PyTorch for CUDA its columns stay empty."""
import argparse
import array
import json
import os
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NETWORKS = ["resnet18", "efficientnet-lite0"]
ROUNDS = 5


class Child:
    """A process that answers a line of JSON with one."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE)

    def ask(self, **q):
        self.process.stdin.write(json.dumps(q) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        a = json.loads(line) if line else {"error": f"{self.process.args} ended"}
        if "error" in a:
            sys.exit(f"gpu.py: {q}: {a['error']}")
        return a

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def smi(what):
    """What nvidia-smi says of the first device; nothing if it says nothing."""
    try:
        return subprocess.run(["nvidia-smi", "-i", "0", f"--query-gpu={what}", "--format=csv,noheader,nounits"], capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


class Busy(threading.Thread):
    """What nvidia-smi says of how busy the first device is, while it runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.samples, self.on = [], True

    def run(self):
        while self.on:
            try:
                self.samples.append(float(smi("utilization.gpu")))
            except ValueError:
                return
            time.sleep(0.2)

    def share(self):
        self.on = False
        self.join()
        return f"{statistics.median(self.samples):.0f} %" if self.samples else "-"


def cuda():
    try:
        import torch
        return torch.cuda.is_available()
    except ImportError:
        return False


def logits(bench, arch, images, out, gpu):
    bench.ask(do="logits", arch=arch, precision="bf16" if gpu else "fp32", gpu=gpu, threads=1, images=images, out=out)
    with open(out, "rb") as f:
        return array.array("f", f.read())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    out = os.path.abspath(args.out)
    ours = Child([os.path.abspath(args.bench), "--serve"])
    torch = Child([sys.executable, "torch_peer.py"]) if cuda() else None
    if not torch:
        print("there is no PyTorch that knows CUDA here: pip install torch, and run this again for the columns of PyTorch\n")
    print(smi("name,driver_version") or "a device that nvidia-smi does not name", "\n")

    print("| bfloat16, images a second | ours | PyTorch | x | device busy | target |")
    print("|---|--:|--:|--:|--:|--:|")
    for arch in NETWORKS:
        folder = os.path.join(out, arch)
        ours.ask(do="save", arch=arch, out=out)
        for does, batch, target in (("train", 128, 0.7), ("forward", 256, 1.0)):
            q = dict(do=does, arch=arch, precision="bf16", gpu=True, threads=2 if does == "forward" else os.cpu_count(), batch=batch, seconds=3, steps=10)
            p = dict(q, model=folder, layout="nhwc", device="cuda", momentum=0)
            theirs = {"eager": [], "compile": []} if torch else {}
            rates, busy = [], []
            for n in range(ROUNDS + 1):  # the first round warms all up
                watch = Busy()
                watch.start()
                rates.append(ours.ask(**q)["rate"])
                busy.append(watch.share())
                for mode in theirs:
                    theirs[mode].append(torch.ask(**p, mode=mode)["rate"])
            rate = statistics.median(rates[1:])
            best = max((statistics.median(r[1:]) for r in theirs.values()), default=None)
            print(f"| {'training' if does == 'train' else 'scoring'} {arch}, batch {batch} | {rate:.0f} | {f'{best:.0f}' if best else '-'} | {f'{rate / best:.2f}' if best else '-'} | {busy[-1]} | {target} |", flush=True)

    print("\n| logits of 8 images | largest difference to the processor's, of the largest | target |")
    print("|---|--:|--:|")
    import random
    random.seed(1)
    images = os.path.join(out, "images.f32")
    with open(images, "wb") as f:
        array.array("f", (random.gauss(0, 1) for _ in range(8 * 224 * 224 * 3))).tofile(f)
    worst = 0
    for arch in NETWORKS:
        a, b = (logits(ours, arch, images, os.path.join(out, "logits.f32"), gpu) for gpu in (False, True))
        d = max(abs(x - y) for x, y in zip(a, b)) / max(abs(x) for x in a)
        worst = max(worst, d)
        print(f"| {arch} | {d:.1e} | 1e-2 |", flush=True)
    for c in filter(None, (ours, torch)):
        c.close()
    if worst > 1e-2:
        sys.exit("gpu.py: logits are further from the processor's than 1e-2")


main()
