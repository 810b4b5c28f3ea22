//go:build gpu

package main

import _ "github.com/logobeam/logobeam/model/device/cuda" // which device.Open opens
