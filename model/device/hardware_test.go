//go:build gpu

package device_test

import (
	"github.com/logobeam/logobeam/model/device"
	"github.com/logobeam/logobeam/model/device/cuda"
)

func init() {
	hardware = func() (device.Driver, error) { return cuda.Open(0) }
}
