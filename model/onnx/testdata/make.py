"""Writes small graphs that hold what exporters make, an image, and what ONNX Runtime gives for it: NAME.onnx, image.f32 (10 x 8
pixels, H, W, C) and NAME.f32; sizes/open.onnx takes images of any size. Needs onnx 1.23.2, onnxruntime 1.32.0 and numpy 2.4.6; random numbers come from a seed."""
import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

H, W = 10, 8
HERE = os.path.dirname(os.path.abspath(__file__))


class Graph:
    def __init__(self, name, opset=17, nhwc=False, batch="n"):
        self.name, self.opset, self.batch = name, opset, batch
        self.shape = [batch, H, W, 3] if nhwc else [batch, 3, H, W]
        self.nodes, self.values, self.random, self.count = [], [], np.random.default_rng(sum(map(ord, name))), 0

    def put(self, value, name=None, dtype=np.float32):
        name = name or f"value{len(self.values)}"
        self.values.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def ints(self, *values):
        return self.put(values, dtype=np.int64)

    def rand(self, *shape, low=-0.5, high=0.5):
        return self.put(self.random.uniform(low, high, shape))

    def node(self, op, *inputs, outputs=1, **attributes):
        self.count += 1
        out = [f"{op}{self.count}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), out, name=f"{op}{self.count}", **attributes))
        return out[0] if outputs == 1 else out

    def conv(self, x, cin, cout, k=3, pads=(1, 1, 1, 1), bias=True, group=1, **more):
        w = self.put(self.random.uniform(-0.5, 0.5, (cout, cin // group, k, k)), f"conv{self.count + 1}.weight")
        more = dict(more) if "auto_pad" in more else dict(more, pads=list(pads))
        return self.node("Conv", x, w, *([self.rand(cout)] if bias else []), group=group, **more)

    def norm(self, x, c):
        return self.node("BatchNormalization", x, self.rand(c, low=0.5, high=1.5), self.rand(c), self.rand(c), self.rand(c, low=0.5, high=2), epsilon=1e-3)

    def head(self, x, c, classes=5):
        x = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        return self.node("Gemm", x, self.rand(classes, c), self.rand(classes), transB=1)

    def save(self, x, last=None):
        """x are 5 logits; what is behind them is in the file, but not in what is expected."""
        logits = x
        if last:
            x = self.node(last, x, axis=1)

        def model(out):
            graph = helper.make_graph(self.nodes, self.name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
                                      [helper.make_tensor_value_info(out, TensorProto.FLOAT, [self.batch, 5])], self.values)
            return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8, producer_name="make.py")
        onnx.checker.check_model(model(x))
        onnx.save(model(x), f"{HERE}/{self.name}.onnx")
        if "height" in self.shape:
            return
        image = np.fromfile(f"{HERE}/image.f32", np.float32).reshape(1, H, W, 3)
        if self.shape[1] == 3:
            image = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
        run = onnxruntime.InferenceSession(model(logits).SerializeToString(), providers=["CPUExecutionProvider"])
        run.run(None, {"x": image})[0].astype(np.float32).tofile(f"{HERE}/{self.name}.f32")
        print(self.name, len(self.nodes))


np.random.default_rng(7).standard_normal((H, W, 3)).astype(np.float32).tofile(f"{HERE}/image.f32")

g = Graph("plain")
x = g.node("Relu", g.norm(g.conv("x", 3, 6, bias=False, strides=[2, 2]), 6))
g.save(g.head(x, 6), last="Softmax")

g = Graph("same")  # as TensorFlow pads, with bounds as attributes
x = g.conv("x", 3, 6, auto_pad="SAME_UPPER", strides=[2, 2])
x = g.node("Clip", g.norm(x, 6), g.put(0), g.put(6))
x = g.node("Relu", g.conv(x, 6, 6, k=3, group=6, auto_pad="SAME_UPPER", strides=[2, 2]))
g.save(g.head(x, 6))

g = Graph("pads")  # zeros around images as nodes of their own
x = g.node("Pad", "x", g.ints(0, 0, 0, 0, 0, 0, 1, 1))
x = g.node("Relu", g.conv(x, 3, 6, pads=(0, 0, 0, 0), strides=[2, 2]))
x = g.node("Pad", x, g.ints(0, 0, 1, 1, 0, 0, 1, 1), g.put(0))
x = g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
g.save(g.head(x, 6))

g = Graph("dense", opset=12)  # the order of values behind Flatten; bias as an Add; factors
x = g.conv("x", 3, 4, pads=(0, 0, 0, 0))
x = g.node("Flatten", x)
x = g.node("Relu", g.node("Add", g.node("MatMul", x, g.rand(4 * 8 * 6, 7)), g.rand(7)))
x = g.node("Dropout", x)
g.save(g.node("Gemm", x, g.rand(7, 5), g.rand(5), alpha=0.5, beta=2.0))

g = Graph("shuffle")  # ShuffleNet's: halves of channels, and channels in another order
x = g.node("Relu", g.conv("x", 3, 8))
for i in range(2):
    kept, y = g.node("Split", x, g.ints(4, 4), outputs=2, axis=1)
    y = g.node("Relu", g.conv(y, 4, 4, k=1, pads=(0, 0, 0, 0)))
    y = g.norm(g.conv(y, 4, 4, group=4, bias=False), 4)
    x = g.node("Concat", kept, g.node("Relu", y), axis=1)
    x = g.node("Reshape", x, g.ints(-1, 2, 4, H, W))
    x = g.node("Reshape", g.node("Transpose", x, perm=[0, 2, 1, 3, 4]), g.ints(0, 8, H, W))
x = g.norm(g.conv(x, 8, 8, group=8, bias=False), 8)
x = g.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
g.save(g.head(g.node("Slice", x, g.ints(2), g.ints(8), g.ints(1)), 6))

g = Graph("groups")
x = g.node("Relu", g.conv("x", 3, 8))
x = g.node("Relu", g.conv(x, 8, 12, group=2))
x = g.conv(x, 12, 24, group=12)  # two for each channel
g.save(g.head(x, 24))

g = Graph("channels-last", nhwc=True)  # as tf2onnx leaves it
x = g.node("Transpose", "x", perm=[0, 3, 1, 2])
x = g.node("Relu", g.conv(x, 3, 4, pads=(0, 0, 0, 0), strides=[2, 2]))
x = g.node("Transpose", x, perm=[0, 2, 3, 1])
x = g.node("Reshape", x, g.ints(-1, 4 * 3 * 4))
g.save(g.node("Gemm", x, g.rand(48, 5), g.rand(1, 5)))

g = Graph("averages", opset=18)
x = g.conv("x", 3, 6)
x = g.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
x = g.node("AveragePool", g.node("Relu", x), kernel_shape=[2, 2])
x = g.node("AveragePool", x, kernel_shape=[1, 1])
x = g.node("ReduceMean", x, g.ints(-1, -2), keepdims=0)
g.save(g.node("Gemm", x, g.rand(5, 6), transB=1))

g = Graph("arithmetic")  # normalisation in the graph; values that several read; batch normalisation before a convolution
x = g.node("Div", g.node("Sub", "x", g.rand(1, 3, 1, 1)), g.rand(3, 1, 1, low=1, high=2))
y = g.conv(x, 3, 6)
x = g.node("Add", g.node("Relu", y), y)
z = g.node("Relu", g.norm(x, 6))
z = g.node("Mul", g.conv(z, 6, 6), g.put(0.5))
x = g.node("Concat", g.node("Sum", z, x, y), x, axis=1)
g.save(g.head(g.node("Relu", x), 12))

g = Graph("shapes", opset=13, batch=1)  # a shape worked out by nodes, weights in half precision
w = g.node("Cast", g.put(g.random.uniform(-0.5, 0.5, (4, 3, 3, 3)), dtype=np.float16), to=TensorProto.FLOAT)
x = g.node("Conv", "x", w)
n = g.node("Gather", g.node("Shape", x), g.put(0, dtype=np.int64))
s = g.node("Concat", g.node("Unsqueeze", n, g.ints(0)), g.node("Constant", value_ints=[-1]), axis=0)
x = g.node("Identity", g.node("Reshape", x, s))
g.save(g.node("Gemm", x, g.node("Transpose", g.rand(5, 192), perm=[1, 0])), last="LogSoftmax")

g = Graph("ceil")
x = g.node("MaxPool", g.conv("x", 3, 6), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
x = g.node("Squeeze", g.node("GlobalAveragePool", g.conv(x, 6, 5, k=1, pads=(0, 0, 0, 0))), g.ints(2, 3))
g.save(x)

g = Graph("sizes/open")
g.shape = ["n", 3, "height", "width"]
x = g.node("Relu", g.conv("x", 3, 6, strides=[2, 2]))
g.save(g.head(x, 6))
