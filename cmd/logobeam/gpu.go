//go:build gpu

package main

import (
	"github.com/logobeam/logobeam/model/device"
	_ "github.com/logobeam/logobeam/model/device/cuda" // which device.Open opens
	"github.com/logobeam/logobeam/model/train"
)

func init() {
	accelerators["gpu"] = func(number int) train.Opener {
		return train.Opener{Kind: "gpu", Open: func(j train.Job) (train.Device, error) {
			d, err := device.Open(number)
			if err != nil {
				return nil, err
			}
			return device.NewTrainer(d, j)
		}}
	}
}
