//go:build gpu

package main

import (
	"github.com/logobeam/logobeam/model/device"
	_ "github.com/logobeam/logobeam/model/device/cuda" // which device.Open opens
)

func init() { accelerators["gpu"] = device.Opener }
