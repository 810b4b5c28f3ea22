package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logobeam/logobeam/model"
)

func TestMultiplyAdds(t *testing.T) {
	for _, tt := range []struct {
		arch    string
		classes int
		want    float64 // millions
		source  string
	}{
		{"resnet18", 1000, 1814, "torchvision's page of resnet18: 1.814 G"},
		{"squeezenet", 1000, 819, "torchvision's page of squeezenet1_0: 0.819 G"},
		{"efficientnet-lite0", 1000, 385, "timm's results table, tf_efficientnet_lite0 at 224: 0.4 GMACs"},
		{"article-cnn", 33, 101.6 + 22*22*192*96*25/1e6 + 19200*4096/1e6 + 4096*33/1e6, "by hand: 54 x 54 x 96 x 363 is the first 101.6 M"},
		{"mlp", 33, (150528*128 + 128*64 + 64*33) / 1e6, "by hand"},
	} {
		t.Run(tt.arch, func(t *testing.T) {
			net, err := model.New(tt.arch, tt.classes)
			if err != nil {
				t.Fatal(err)
			}
			n, err := multiplyAdds(net)
			if err != nil {
				t.Fatal(err)
			}
			if got := float64(n) / 1e6; math.Abs(got-tt.want) > 0.6 {
				t.Errorf("%.2f M; %s", got, tt.source)
			}
			all, err := stepMultiplyAdds(net)
			if err != nil || all >= 3*n || all <= 2*n {
				t.Errorf("a step takes %d, forward alone %d (%v)", all, n, err)
			}
		})
	}
}

// A model goes to the file and back, is quantised, and gives logits that int8 hardly changes; requests that cannot be met
// are answered all the same.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	images := filepath.Join(dir, "images")
	image := make([]float32, 224*224*3)
	pixels(image, 7)
	var data bytes.Buffer
	for range 2 {
		binary.Write(&data, binary.LittleEndian, image)
	}
	if err := os.WriteFile(images, data.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "squeezenet")
	var in, out bytes.Buffer
	requests := []request{
		{Do: "save", Arch: "squeezenet", Out: dir},
		{Do: "quantize", Model: folder, Images: images},
		{Do: "logits", Model: folder, Precision: model.FP32, Images: images, Out: filepath.Join(dir, "fp32")},
		{Do: "logits", Model: folder, Precision: model.Int8, Images: images, Out: filepath.Join(dir, "int8")},
		{Do: "forward", Arch: "squeezenet", Precision: model.Int8, Threads: 2, Batch: 1},
		{Do: "train", Arch: "squeezenet", Threads: 1, Batch: 1, Steps: 1},
		{Do: "train", Arch: "squeezenet", Precision: "fp13", Threads: 1, Batch: 1, Steps: 1},
		{Do: "forward", Arch: "squeezenet", Precision: "fp13", Threads: 1, Batch: 1},
		{Do: "dance"},
	}
	for _, q := range requests {
		json.NewEncoder(&in).Encode(q)
	}
	if err := serve(&in, &out); err != nil {
		t.Fatal(err)
	}
	answers := json.NewDecoder(&out)
	for i, q := range requests {
		var a answer
		if err := answers.Decode(&a); err != nil {
			t.Fatal(err)
		}
		if wrong := i >= 6; (a.Error != "") != wrong {
			t.Errorf("%+v: error %q", q, a.Error)
		}
		if timed := i == 4 || i == 5; timed != (a.Rate > 0) {
			t.Errorf("%+v: %v images a second", q, a.Rate)
		}
	}
	read := func(name string) []float32 {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		values := make([]float32, len(text)/4)
		binary.Read(bytes.NewReader(text), binary.LittleEndian, values)
		return values
	}
	fp32, int8 := read("fp32"), read("int8")
	if len(fp32) != 2*classes || len(int8) != 2*classes {
		t.Fatalf("%d and %d logits; want %d", len(fp32), len(int8), 2*classes)
	}
	var most, off float64
	for i, v := range fp32 {
		if v != fp32[i%classes] {
			t.Errorf("the same image is given %v and %v", v, fp32[i%classes])
		}
		most, off = max(most, float64(v)), max(off, math.Abs(float64(v-int8[i])))
	}
	if most == 0 || off > 0.1*most {
		t.Errorf("int8 is off by %v of %v", off, most)
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"--what frward", "is none of peak, forward"},
		{"--arch vgg", "is none of mlp"},
		{"--threads 0", "want numbers from 1"},
		{"--threads ,", "at least 1 run"},
		{"--runs 0", "at least 1 run"},
		{"forward", "is no flag"},
	} {
		if err := run(strings.Fields(tt.args), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", tt.args, err, tt.want)
		}
	}
}

func TestRows(t *testing.T) {
	var out bytes.Buffer
	if err := run(strings.Fields("--what forward,peak --arch squeezenet --precision fp32 --threads 1 --runs 2 --batch 1 --seconds 0 --json"), &out); err != nil {
		t.Fatal(err)
	}
	seen := false
	for line := range strings.Lines(out.String()) {
		var r row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !(r.Min > 0 && r.Min <= r.Median && r.Median <= r.Max) {
			t.Errorf("%s: out of order", line)
		}
		seen = seen || r.What == "forward" && math.Abs(r.Rate-2*0.7369*r.Median)/r.Rate < 0.01
	}
	if !seen {
		t.Errorf("no row of squeezenet, whose images take 0.737 G multiplications, in %s", out.String())
	}
}
