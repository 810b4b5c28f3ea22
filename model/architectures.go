package model

import (
	"fmt"
	"strings"

	"github.com/logobeam/logobeam/model/nearest"
)

// NoLogo is the class of a photograph that shows none of the brands.
const NoLogo = "no-logo"

// architectures in the order in which they are listed to people: from the simplest on.
var architectures = []struct {
	name  string
	build func(classes int) Network
}{
	{"mlp", MLP},
	{"article-cnn", ArticleCNN},
	{"resnet18", ResNet18},
	{"squeezenet", SqueezeNet},
	{"efficientnet-lite0", EfficientNetLite0},
}

// Architectures lists the names that New knows.
func Architectures() []string {
	names := make([]string, len(architectures))
	for i, a := range architectures {
		names[i] = a.name
	}
	return names
}

// New gives the named architecture with so many classes, for an input of 224x224x3. Set Input for another size.
func New(arch string, classes int) (Network, error) {
	for _, a := range architectures {
		if a.name != arch {
			continue
		}
		if classes < 2 || classes > maxChannels {
			return Network{}, fmt.Errorf("model: %s for %d classes; want 2 to %d", arch, classes, maxChannels)
		}
		return a.build(classes), nil
	}
	return Network{}, fmt.Errorf("model: unknown architecture %q%s; known are %s",
		arch, nearest.Hint(arch, Architectures()), strings.Join(Architectures(), ", "))
}

// Normalisation gives the mean and the standard deviation, in 0..255 units and in the order red, green, blue, with
// which the usual pretrained weights of an architecture want their input: (value - mean) / std. EfficientNet-Lite's are
// 127 and 128, as its TensorFlow original was trained; every other name gets ImageNet's, as torchvision states them.
func Normalisation(arch string) (mean, std [3]float64) {
	if arch == "efficientnet-lite0" {
		return [3]float64{127, 127, 127}, [3]float64{128, 128, 128}
	}
	return [3]float64{123.675, 116.28, 103.53}, [3]float64{58.395, 57.12, 57.375}
}

var photograph = Shape{224, 224, 3}

// MLP is the article's multilayer perceptron: dense layers of 128 and 64 over the pixels themselves. 19.3 M parameters.
func MLP(classes int) Network {
	return Network{Arch: "mlp", Input: photograph, Layers: []Layer{
		{Name: "fc1", Op: Dense, Out: 128, Act: ReLU},
		{Name: "fc2", Op: Dense, Out: 64, Act: ReLU},
		{Name: "fc3", Op: Dense, Out: classes},
	}}
}

// ArticleCNN is the article's convolutional network, a small AlexNet without padding. 79 M parameters, nearly all of them
// in its first dense layer.
func ArticleCNN(classes int) Network {
	return Network{Arch: "article-cnn", Input: photograph, Layers: []Layer{
		{Name: "conv1", Op: Conv, Out: 96, Kernel: 11, Stride: 4, Act: ReLU},
		{Name: "pool1", Op: MaxPool, Kernel: 3, Stride: 2},
		{Name: "conv2", Op: Conv, Out: 192, Kernel: 5, Act: ReLU},
		{Name: "pool2", Op: MaxPool, Kernel: 3, Stride: 2},
		{Name: "fc1", Op: Dense, Out: 4096, Act: ReLU},
		{Name: "fc2", Op: Dense, Out: classes},
	}}
}

// ResNet18 is the residual network of 18 layers (He et al., Deep Residual Learning for Image Recognition, 2016), with
// torchvision's names. 11.7 M parameters.
func ResNet18(classes int) Network {
	const eps = 1e-5 // PyTorch's default
	n := Network{Arch: "resnet18", Input: photograph, Layers: []Layer{
		{Name: "conv1", Op: Conv, Out: 64, Kernel: 7, Stride: 2, Pad: 3, Act: ReLU, Norm: "bn1", NormEps: eps},
		{Name: "maxpool", Op: MaxPool, Kernel: 3, Stride: 2, Pad: 1},
	}}
	last := "maxpool"
	for stage, width := range []int{64, 128, 256, 512} {
		for block := range 2 {
			name := fmt.Sprintf("layer%d.%d", stage+1, block)
			stride, shortcut := 1, last
			if stage > 0 && block == 0 {
				stride, shortcut = 2, name+".downsample.0"
				n.Layers = append(n.Layers, Layer{Name: shortcut, Op: Conv, From: []string{last}, Out: width, Kernel: 1, Stride: stride,
					Norm: name + ".downsample.1", NormEps: eps})
			}
			n.Layers = append(n.Layers,
				Layer{Name: name + ".conv1", Op: Conv, From: []string{last}, Out: width, Kernel: 3, Stride: stride, Pad: 1, Act: ReLU,
					Norm: name + ".bn1", NormEps: eps},
				Layer{Name: name + ".conv2", Op: Conv, Out: width, Kernel: 3, Pad: 1, Norm: name + ".bn2", NormEps: eps, Zero: true},
				Layer{Name: name, Op: Add, From: []string{name + ".conv2", shortcut}, Act: ReLU})
			last = name
		}
	}
	n.Layers = append(n.Layers,
		Layer{Name: "avgpool", Op: GlobalAvgPool},
		Layer{Name: "fc", Op: Dense, Out: classes})
	return n
}

// SqueezeNet is SqueezeNet 1.0 (Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, 2016), with
// torchvision's names. 1.2 M parameters. Its logits are means of a rectified convolution, so none is negative.
func SqueezeNet(classes int) Network {
	n := Network{Arch: "squeezenet", Input: photograph, Layers: []Layer{
		{Name: "features.0", Op: Conv, Out: 96, Kernel: 7, Stride: 2, Act: ReLU},
	}}
	pool := func(at int) {
		n.Layers = append(n.Layers, Layer{Name: fmt.Sprintf("features.%d", at), Op: MaxPool, Kernel: 3, Stride: 2, Padding: CeilMode})
	}
	fire := func(at, squeeze, expand int) {
		name := fmt.Sprintf("features.%d", at)
		n.Layers = append(n.Layers,
			Layer{Name: name + ".squeeze", Op: Conv, Out: squeeze, Kernel: 1, Act: ReLU},
			Layer{Name: name + ".expand1x1", Op: Conv, Out: expand, Kernel: 1, Act: ReLU},
			Layer{Name: name + ".expand3x3", Op: Conv, From: []string{name + ".squeeze"}, Out: expand, Kernel: 3, Pad: 1, Act: ReLU},
			Layer{Name: name, Op: Concat, From: []string{name + ".expand1x1", name + ".expand3x3"}})
	}
	pool(2)
	fire(3, 16, 64)
	fire(4, 16, 64)
	fire(5, 32, 128)
	pool(6)
	fire(7, 32, 128)
	fire(8, 48, 192)
	fire(9, 48, 192)
	fire(10, 64, 256)
	pool(11)
	fire(12, 64, 256)
	n.Layers = append(n.Layers,
		Layer{Name: "classifier.1", Op: Conv, Out: classes, Kernel: 1, Act: ReLU},
		Layer{Name: "classifier.3", Op: GlobalAvgPool})
	return n
}

// liteStages are the stages of EfficientNet-Lite0: a depthwise kernel, the stride of the first block, how much the
// blocks widen inside, output channels, number of blocks.
var liteStages = []struct{ kernel, stride, expand, out, repeats int }{
	{3, 1, 1, 16, 1},
	{3, 2, 6, 24, 2},
	{5, 2, 6, 40, 2},
	{3, 2, 6, 80, 3},
	{5, 1, 6, 112, 3},
	{5, 2, 6, 192, 4},
	{3, 1, 6, 320, 1},
}

// EfficientNetLite0 is EfficientNet-Lite0 (Tan and Le, EfficientNet, 2019; its Lite variant of 2020 has no
// squeeze-and-excite and ReLU6 for swish), with the names of the efficientnet-lite0-pytorch package and TensorFlow's
// padding. 4.7 M parameters with 1,000 classes, 0.39 G multiplications and additions an image.
func EfficientNetLite0(classes int) Network {
	const eps = 1e-3 // TensorFlow's default
	n := Network{Arch: "efficientnet-lite0", Input: photograph, Layers: []Layer{
		{Name: "_conv_stem", Op: Conv, Out: 32, Kernel: 3, Stride: 2, Padding: Same, Act: ReLU6, Norm: "_bn0", NormEps: eps},
	}}
	last, width, block := "_conv_stem", 32, 0
	for _, s := range liteStages {
		for i := range s.repeats {
			name, stride := fmt.Sprintf("_blocks.%d", block), 1
			if i == 0 {
				stride = s.stride
			}
			residual := stride == 1 && width == s.out
			if s.expand > 1 {
				n.Layers = append(n.Layers, Layer{Name: name + "._expand_conv", Op: Conv, Out: width * s.expand, Kernel: 1, Act: ReLU6,
					Norm: name + "._bn0", NormEps: eps})
			}
			project := name + "._project_conv"
			n.Layers = append(n.Layers,
				Layer{Name: name + "._depthwise_conv", Op: Depthwise, Kernel: s.kernel, Stride: stride, Padding: Same, Act: ReLU6,
					Norm: name + "._bn1", NormEps: eps},
				Layer{Name: project, Op: Conv, Out: s.out, Kernel: 1, Norm: name + "._bn2", NormEps: eps, Zero: residual})
			if residual {
				n.Layers = append(n.Layers, Layer{Name: name, Op: Add, From: []string{project, last}})
				last = name
			} else {
				last = project
			}
			width = s.out
			block++
		}
	}
	n.Layers = append(n.Layers,
		Layer{Name: "_conv_head", Op: Conv, Out: 1280, Kernel: 1, Act: ReLU6, Norm: "_bn1", NormEps: eps},
		Layer{Name: "_avg_pooling", Op: GlobalAvgPool},
		Layer{Name: "_fc", Op: Dense, Out: classes})
	return n
}

// timmLite maps the names that timm gives the layers of EfficientNet-Lite0 to ours.
var timmLite = func() map[string]string {
	m := map[string]string{"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
	block := 0
	for stage, s := range liteStages {
		for i := range s.repeats {
			from, to := fmt.Sprintf("blocks.%d.%d.", stage, i), fmt.Sprintf("_blocks.%d.", block)
			if s.expand > 1 { // InvertedResidual: widen, depthwise, project
				m[from+"conv_pw"], m[from+"bn1"] = to+"_expand_conv", to+"_bn0"
				m[from+"conv_dw"], m[from+"bn2"] = to+"_depthwise_conv", to+"_bn1"
				m[from+"conv_pwl"], m[from+"bn3"] = to+"_project_conv", to+"_bn2"
			} else { // DepthwiseSeparableConv: depthwise, project
				m[from+"conv_dw"], m[from+"bn1"] = to+"_depthwise_conv", to+"_bn1"
				m[from+"conv_pw"], m[from+"bn2"] = to+"_project_conv", to+"_bn2"
			}
			block++
		}
	}
	return m
}()
