package model_test

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/transforms"
)

// An architecture is a list of layers; this one has a residual block. train.Run teaches it, and what is saved scores as any
// model does, with logobeam score --model or classifier.Load: the layers stand in its file.
func ExampleNetwork() {
	net := model.Network{Arch: "small-residual", Input: model.Shape{H: 96, W: 96, C: 3}, Layers: []model.Layer{
		{Name: "stem", Op: model.Conv, Out: 32, Kernel: 5, Stride: 4, Padding: model.Same, Act: model.ReLU},
		{Name: "wide", Op: model.Conv, Out: 32, Kernel: 3, Pad: 1, Act: model.ReLU},
		{Name: "narrow", Op: model.Conv, Out: 32, Kernel: 3, Pad: 1, Zero: true},
		{Name: "block", Op: model.Add, From: []string{"narrow", "stem"}, Act: model.ReLU},
		{Name: "pool", Op: model.GlobalAvgPool},
		{Name: "head", Op: model.Dense, Out: 3},
	}}
	shapes, err := net.Shapes() // says what does not fit
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, l := range net.Layers {
		fmt.Println(l.Name, shapes[i])
	}
	params, err := model.Init(net, 7)
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := infer.Compile(net, params)
	if err != nil {
		fmt.Println(err)
		return
	}
	arena := plan.NewArena(1)
	clear(arena.Input(0)) // [y][x][channel] of a picture
	fmt.Println(len(arena.Run(1)), "logits")

	steps, err := json.Marshal(transforms.DefaultScoring(96, [3]float64{127, 127, 127}, [3]float64{64, 64, 64}))
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	m := model.Model{Network: net, Params: params, Card: model.Card{Classes: []string{"bmw", "nike", model.NoLogo}, Transforms: steps}}
	fmt.Println(m.Save(dir, false))
	// Output:
	// stem 24x24x32
	// wide 24x24x32
	// narrow 24x24x32
	// block 24x24x32
	// pool 1x1x32
	// head 1x1x3
	// 3 logits
	// <nil>
}
