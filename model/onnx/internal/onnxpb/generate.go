// Package onnxpb is the format of ONNX files: onnx.proto of ONNX 1.23 (https://github.com/onnx/onnx, Apache-2.0), as
// protoc-gen-go turns it into Go.
package onnxpb

// protoc is that of PyPI's grpcio-tools: pip install grpcio-tools==1.85.1
//go:generate go build -o ../../../../out/protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
//go:generate python3 -m grpc_tools.protoc --plugin=protoc-gen-go=../../../../out/protoc-gen-go -I. --go_out=. --go_opt=paths=source_relative --go_opt=Monnx.proto=github.com/logobeam/logobeam/model/onnx/internal/onnxpb onnx.proto
