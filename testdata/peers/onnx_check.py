"""usage: onnx_check.py --bench bin/bench --logobeam bin/logobeam --out FOLDER [--photos FOLDER] [--images 100]
Networks across ONNX, both ways, beside ONNX Runtime: the largest difference of what comes out, as Markdown tables.

In: torchvision's and timm's networks with random weights and random statistics of their batch normalisations, exported by
PyTorch (torch.export, and the older TorchScript with batch normalisations folded in and left as they are), read by logobeam
import, and run by both on the same photographs. The difference is of probabilities, and of logits by the largest logit. Out: every
architecture with random weights, written by logobeam export. Ends with 1 if a difference is above 1e-4."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torchvision

import photographs

LIMIT = 1e-4
NETWORKS = {
    **{f"torchvision {n}": lambda n=n: torchvision.models.get_model(n) for n in ["resnet18", "vgg11", "squeezenet1_1", "mobilenet_v2", "shufflenet_v2_x1_0"]},
    "timm efficientnet_lite0": lambda: timm.create_model("efficientnet_lite0", pretrained=False),
}
ARCHITECTURES = ["mlp", "article-cnn", "resnet18", "squeezenet", "efficientnet-lite0"]


def randomise(network):
    """The statistics that batch normalisations learn, so that folding them in is no matter of ones and zeros."""
    random = torch.Generator().manual_seed(1)
    for m in network.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            with torch.no_grad():
                m.running_mean.normal_(0, 0.1, generator=random)
                m.running_var.uniform_(0.5, 2, generator=random)
                m.weight.uniform_(0.5, 1.5, generator=random)
                m.bias.normal_(0, 0.1, generator=random)
    return network.eval()


def export(network, exporter, path):
    x = (torch.zeros(1, 3, 224, 224),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "torch.export":
            torch.onnx.export(network, x, path, dynamo=True, external_data=False, dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False)
        else:
            whole = {} if exporter == "TorchScript" else dict(training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
            torch.onnx.export(network, x, path, dynamo=False, input_names=["input"], dynamic_axes={"input": {0: "batch"}}, **whole)


def peer(path, x):
    """What ONNX Runtime gives, a photograph at a time."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[i:i + 1]})[0].reshape(1, -1) for i in range(len(x))])


class Ours:
    def __init__(self, bench, images):
        self.process = subprocess.Popen([bench, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.images = images

    def ask(self, **q):
        self.process.stdin.write(json.dumps(q) + "\n")
        self.process.stdin.flush()
        a = json.loads(self.process.stdout.readline())
        if "error" in a:
            sys.exit(f"{q}: {a['error']}")

    def logits(self, model):
        with tempfile.NamedTemporaryFile(suffix=".f32") as out:
            self.ask(do="logits", model=model, precision="fp32", images=self.images, out=out.name)
            return np.fromfile(out.name, np.float32)


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def table(title, header, rows):
    print(f"\n{title}\n\n| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for r in rows:
        print("| " + " | ".join(f"{v:.1e}" if isinstance(v, float) else str(v) for v in r) + " |")
    sys.stdout.flush()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--bench", required=True)
    a.add_argument("--logobeam", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--photos", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "classes"))
    a.add_argument("--images", type=int, default=100)
    a.add_argument("--networks", default="", help="only those with this in their name")
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    photos = sorted(os.path.join(d, f) for d, _, files in os.walk(a.photos) for f in files if f.lower().endswith((".jpg", ".jpeg")))
    photos = photos[::max(len(photos) // a.images, 1)][:a.images]
    if not photos:
        sys.exit(f"{a.photos}: no photographs (.jpg) in this folder")
    x = (np.stack([photographs.load(p) for p in photos]) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    x = np.ascontiguousarray(x, np.float32)
    images = f"{a.out}/images.f32"
    x.tofile(images)
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    ours = Ours(a.bench, images)
    classes = f"{a.out}/classes.txt"
    worst = 0.0

    rows = []
    for name, make in NETWORKS.items():
        if a.networks not in name:
            continue
        torch.manual_seed(0)
        network = randomise(make())
        for exporter in ("torch.export", "TorchScript", "TorchScript, nothing folded"):
            path, folder = f"{a.out}/network.onnx", f"{a.out}/imported"
            export(network, exporter, path)
            wanted = peer(path, x)
            with open(classes, "w") as f:
                f.writelines(f"class {i}\n" for i in range(wanted.shape[1]))
            done = subprocess.run([a.logobeam, "import", path, "--classes", classes, "--out", folder, "--overwrite"], text=True, capture_output=True)
            nodes = len(onnx.load(path, load_external_data=False).graph.node)
            if done.returncode:
                rows.append([name, exporter, nodes, done.stderr.strip(), "", ""])
                worst = 1.0
                continue
            with open(f"{folder}/model.json") as f:
                layers = len(json.load(f)["network"]["layers"])
            got = ours.logits(folder).reshape(wanted.shape)
            off, apart = float(np.abs(got - wanted).max() / np.abs(wanted).max()), float(np.abs(softmax(got) - softmax(wanted)).max())
            worst = max(worst, off, apart)
            rows.append([name, exporter, nodes, layers, apart, off])
    table(f"Imported, {len(x)} photographs: PyTorch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}, ONNX Runtime {onnxruntime.__version__}",
          ["network", "exporter", "nodes", "layers", "probabilities differ by", "logits, by the largest"], rows)

    rows = []
    for arch in ARCHITECTURES:
        if a.networks not in arch:
            continue
        ours.ask(do="save", arch=arch, out=a.out)
        path = f"{a.out}/{arch}.onnx"
        subprocess.run([a.logobeam, "export", "--onnx", path, "--model", f"{a.out}/{arch}"], check=True, stdout=subprocess.DEVNULL)
        exported = onnx.load(path)
        onnx.checker.check_model(exported, full_check=True)
        wanted = peer(path, x)
        apart = float(np.abs(softmax(ours.logits(f"{a.out}/{arch}").reshape(wanted.shape)) - wanted).max())
        worst = max(worst, apart)
        rows.append([arch, len(exported.graph.node), apart])
        os.remove(path)
    table("Exported", ["architecture", "nodes", "probabilities differ by"], rows)
    if worst > LIMIT:
        sys.exit(f"the largest difference is {worst:.1e}: want at most {LIMIT}")


if __name__ == "__main__":
    main()
