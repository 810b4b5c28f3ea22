package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// size is a number of bytes as people write it: 500000, 512MB, 2GiB. The letters count in powers of 1024, as memory is sold.
type size int64

var units = []struct {
	name  string
	bytes int64
}{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}}

func (s *size) String() string {
	for _, u := range units {
		if int64(*s) >= u.bytes && int64(*s)%u.bytes == 0 {
			return fmt.Sprintf("%d%siB", int64(*s)/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

func (s *size) Type() string { return "size" }

func (s *size) Set(text string) error {
	number, scale := strings.ToUpper(strings.TrimSpace(text)), int64(1)
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, scale = n, u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v >= 1) || v*float64(scale) >= 1<<62 {
		return errors.New("want a number of bytes, as 500000, 512MB or 2GiB")
	}
	*s = size(v * float64(scale))
	return nil
}
