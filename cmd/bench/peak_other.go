//go:build !amd64 || noasm

package main

// The peaks of other processors are not measured.
var peaks []peak
