"""A model that logobeam saved (model.json, model.safetensors), as a PyTorch module and as an ONNX graph: the same layers, the
same weights. What logobeam keeps has no batch normalisation left, so that neither has the peer: it is folded, as ONNX Runtime
folds it."""
import json
import struct

import numpy as np


def load(folder):
    """The layers, each with its inputs by name and its padding by numbers, and the weights by name."""
    with open(f"{folder}/model.safetensors", "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = f.read()
    weights = {}
    for name, t in header.items():
        if name != "__metadata__":
            begin, end = t["data_offsets"]
            values = np.frombuffer(data[begin:end], {"F32": np.float32, "F16": np.float16}[t["dtype"]])
            weights[name] = values.reshape(t["shape"]).astype(np.float32)
    return spec(folder), weights


def spec(folder):
    """The layers alone."""
    with open(f"{folder}/model.json") as f:
        net = json.load(f)["network"]
    shapes = {"input": (net["input"]["H"], net["input"]["W"], net["input"]["C"])}
    last, out = "input", []
    for l in net["layers"]:
        l = dict(l, inputs=l.get("from") or [last], stride=l.get("stride") or 1, act=l.get("act", ""))
        h, w, c = shapes[l["inputs"][0]]
        l["in"] = c
        op, k, s, p = l["op"], l.get("kernel", 1), l["stride"], l.get("pad", 0)
        if op in ("conv", "depthwise", "maxpool"):
            l["pads"] = [p, p, p, p]  # top, left, bottom, right
            l["ceil"] = l.get("padding") == "ceil"
            if l.get("padding") == "same":
                oh, ow = -(-h // s), -(-w // s)
                dh, dw = max((oh - 1) * s + k - h, 0), max((ow - 1) * s + k - w, 0)
                l["pads"] = [dh // 2, dw // 2, dh - dh // 2, dw - dw // 2]
            elif l["ceil"]:
                oh, ow = ((n + 2 * p - k + s - 1) // s + 1 for n in (h, w))
                oh, ow = (o - ((o - 1) * s >= n + p) for o, n in ((oh, h), (ow, w)))
            else:
                oh, ow = ((n + 2 * p - k) // s + 1 for n in (h, w))
            shape = (oh, ow, l["out"] if op == "conv" else c)
        elif op == "dense":
            l["in"] = h * w * c
            shape = (1, 1, l["out"])
        elif op == "globalavgpool":
            shape = (1, 1, c)
        elif op == "add":
            shape = (h, w, c)
        elif op == "concat":
            shape = (h, w, sum(shapes[i][2] for i in l["inputs"]))
        else:
            raise ValueError(f"no operation {op!r}")
        l["channels"] = shape[2]
        shapes[l["name"]] = shape
        out.append(l)
        last = l["name"]
    return out


def torch_module(spec, weights=None):
    """The network as a PyTorch module; without weights, with PyTorch's own random ones."""
    import torch
    from torch import nn
    import torch.nn.functional as F

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict()
            for l in spec:
                pad = l.get("pads", [0] * 4)
                even = pad[:2] == pad[2:]
                if l["op"] in ("conv", "depthwise"):
                    part = nn.Conv2d(l["in"], l["channels"], l["kernel"], l["stride"], tuple(pad[:2]) if even else 0,
                                     groups=l["in"] if l["op"] == "depthwise" else 1)
                elif l["op"] == "dense":
                    part = nn.Linear(l["in"], l["out"])
                else:
                    continue
                if weights:
                    with torch.no_grad():
                        part.weight.copy_(torch.from_numpy(weights[l["name"] + ".weight"]))
                        part.bias.copy_(torch.from_numpy(weights[l["name"] + ".bias"]))
                self.parts[l["name"].replace(".", "/")] = part

        def forward(self, x):
            last = len(spec) - 1
            kept = {"input": x}
            for i, l in enumerate(spec):
                x = [kept[n] for n in l["inputs"]]
                y, op = x[0], l["op"]
                part = l["name"].replace(".", "/")
                if op in ("conv", "depthwise"):
                    t, left, b, r = l["pads"]
                    if (t, left) != (b, r):
                        y = F.pad(y, (left, r, t, b))
                    y = self.parts[part](y)
                elif op == "dense":
                    y = self.parts[part](y.flatten(1))
                elif op == "maxpool":
                    y = F.max_pool2d(y, l["kernel"], l["stride"], l["pads"][0], ceil_mode=l["ceil"])
                elif op == "globalavgpool":
                    y = F.adaptive_avg_pool2d(y, 1)
                elif op == "add":
                    for z in x[1:]:
                        y = y + z
                elif op == "concat":
                    y = torch.cat(x, 1)
                if l["act"] == "relu":
                    y = F.relu(y, inplace=True)
                elif l["act"] == "relu6":
                    y = F.relu6(y, inplace=True)
                kept[l["name"]] = y
                if i < last:
                    for n in {n for n in kept if not any(n in m["inputs"] for m in spec[i + 1:])}:
                        del kept[n]  # as a program written by hand would let go of it
            return y.flatten(1)

    return Network()


def onnx_graph(spec, weights, path, photograph=False):
    """Writes the network as an ONNX file: float32 NCHW in as x, logits out as y. With photograph, x is uint8 NHWC, which the graph
    normalises as ImageNet's, and y are probabilities."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, values = [], []

    def constant(name, value):
        values.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    if any(l["act"] == "relu6" for l in spec):
        constant("zero", np.array(0))
        constant("six", np.array(6))
    at = {"input": "x"}
    if photograph:
        mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
        y = node("Cast", [node("Transpose", ["x"], "planes", perm=[0, 3, 1, 2])], "floats", to=TensorProto.FLOAT)
        y = node("Mul", [y, constant("scale", (1 / std).reshape(1, 3, 1, 1))], "scaled")
        at["input"] = node("Add", [y, constant("shift", (-mean / std).reshape(1, 3, 1, 1))], "normalised")
    for l in spec:
        x, name, op = [at[n] for n in l["inputs"]], l["name"], l["op"]
        if op in ("conv", "depthwise"):
            y = node("Conv", [x[0], constant(name + ".weight", weights[name + ".weight"]), constant(name + ".bias", weights[name + ".bias"])], name,
                     kernel_shape=[l["kernel"]] * 2, strides=[l["stride"]] * 2, pads=l["pads"], group=l["in"] if op == "depthwise" else 1)
        elif op == "dense":
            y = node("Flatten", x, name + ".flat")
            y = node("Gemm", [y, constant(name + ".weight", weights[name + ".weight"]), constant(name + ".bias", weights[name + ".bias"])], name, transB=1)
        elif op == "maxpool":
            y = node("MaxPool", x, name, kernel_shape=[l["kernel"]] * 2, strides=[l["stride"]] * 2, pads=l["pads"], ceil_mode=int(l["ceil"]))
        elif op == "globalavgpool":
            y = node("GlobalAveragePool", x, name)
        elif op == "add":
            y = x[0]
            for i, z in enumerate(x[1:]):
                y = node("Add", [y, z], f"{name}.{i}")
        elif op == "concat":
            y = node("Concat", x, name, axis=1)
        if l["act"] == "relu":
            y = node("Relu", [y], name + ".relu")
        elif l["act"] == "relu6":
            y = node("Clip", [y, "zero", "six"], name + ".relu6")
        at[name] = y
    if photograph:
        node("Softmax", [node("Flatten", [y], "logits")], "y", axis=1)
        x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 224, 224, 3])
    else:
        node("Flatten", [y], "y")
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 224, 224])
    graph = helper.make_graph(nodes, "network", [x],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", spec[-1]["channels"]])], values)
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(m)
    onnx.save(m, path)
