package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/logobeam/logobeam/model/train"
)

// accelerators are the devices that this build has besides the processor: by name, what opens the one of a number. Files
// with build tags add them.
var accelerators = map[string]func(number int) train.Opener{}

// parseDevices reads a list such as "cpu", "cpu,cpu" or "gpu:0,gpu:1", where gpu is gpu:0. The processor alone is nil.
func parseDevices(list string) (devices []train.Opener, err error) {
	seen := map[string]bool{}
	for _, name := range strings.Split(list, ",") {
		kind, digits, numbered := strings.Cut(strings.TrimSpace(name), ":")
		open, ok := accelerators[kind]
		if kind == train.CPU.Kind && !numbered {
			devices = append(devices, train.CPU)
			continue
		}
		number := 0
		if numbered {
			number, err = strconv.Atoi(digits)
		}
		if !ok || err != nil || number < 0 {
			hint := ""
			if len(accelerators) == 0 {
				hint = "; make gpu builds the program that has gpu"
			}
			return nil, usagef("--devices: there is no %q: this build has %s%s", name, strings.Join(kinds(), ", "), hint)
		}
		if key := kind + ":" + strconv.Itoa(number); seen[key] {
			return nil, usagef("--devices %s names %s twice", list, key)
		} else {
			seen[key] = true
		}
		devices = append(devices, open(number))
	}
	for _, d := range devices[1:] {
		if d.Kind != devices[0].Kind {
			return nil, usagef("--devices %s: want devices of one kind, which round alike", list)
		}
	}
	if len(devices) == 1 && devices[0].Kind == train.CPU.Kind {
		return nil, nil
	}
	return devices, nil
}

// kinds are the devices of this build, by name.
func kinds() []string {
	return append([]string{train.CPU.Kind}, slices.Sorted(maps.Keys(accelerators))...)
}
