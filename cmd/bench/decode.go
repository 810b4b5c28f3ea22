package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/logobeam/logobeam/transforms"
)

const side = 224

// photographs are the bytes of a folder's JPEGs, in the order of their names.
func photographs(folder string) ([][]byte, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.jpg"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: no photographs (.jpg) in this folder", folder)
	}
	files := make([][]byte, len(names))
	for i, name := range names {
		if files[i], err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// decode is how many photographs a second one goroutine makes a network's input of, as scoring does.
func decode(folder string, seconds float64) (rate float64, err error) {
	files, err := photographs(folder)
	if err != nil {
		return 0, err
	}
	list := transforms.DefaultScoring(side, [3]float64{123.675, 116.28, 103.53}, [3]float64{58.395, 57.12, 57.375})
	dst := make([]float32, side*side*3)
	start, done := time.Now(), 0
	for {
		for _, data := range files {
			if err := list.Tensor(data, transforms.Key{Epoch: -1}, transforms.DefaultLimits(), dst); err != nil {
				return 0, err
			}
			done++
		}
		if t := time.Since(start).Seconds(); t >= seconds {
			return float64(done) / t, nil
		}
	}
}

// pixelsOf writes what the network would see of each photograph, as little-endian float32 of 0 to 255 in H, W, C order.
func pixelsOf(folder, out string) error {
	files, err := photographs(folder)
	if err != nil {
		return err
	}
	list := transforms.DefaultScoring(side, [3]float64{}, [3]float64{1, 1, 1})
	dst := make([]float32, side*side*3)
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, data := range files {
		if err := list.Tensor(data, transforms.Key{Epoch: -1}, transforms.DefaultLimits(), dst); err != nil {
			return err
		}
		if err := binary.Write(f, binary.LittleEndian, dst); err != nil {
			return err
		}
	}
	return f.Close()
}
