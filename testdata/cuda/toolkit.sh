#!/usr/bin/env bash
# What gorgonia.org/cu takes to be compiled and linked, into the folder $1: NVIDIA's headers from PyPI, and a libcuda.so that
# has nothing but the names of the driver's functions. The real one comes with the driver, where the binary runs.
set -euo pipefail
headers=nvidia-cuda-runtime-cu12==12.4.127 # cu does not compile against CUDA 13's
sha256=64403288fa2136ee8e467cdc9c9427e0434110899d07c779f25b5c068934faa5
dir=$1
mkdir -p "$dir/lib"
"${PYTHON:-python3}" -m pip download -q --no-deps --only-binary :all: --platform manylinux2014_x86_64 -d "$dir" "$headers"
wheel=$(echo "$dir"/nvidia_cuda_runtime_cu12-12.4.127-*.whl)
echo "$sha256  $wheel" | sha256sum -c --quiet
"${PYTHON:-python3}" -m zipfile -e "$wheel" "$dir/wheel"
rm -rf "$dir/include" && mv "$dir/wheel/nvidia/cuda_runtime/include" "$dir/include"
rm -rf "$dir/wheel" "$wheel"
# Each says that there is no device. The preprocessor turns names into those that are exported, as cuMemAlloc into cuMemAlloc_v2.
"${CC:-gcc}" -E -I "$dir/include" "$dir/include/cuda.h" | grep -oE '\bcu[A-Z][A-Za-z0-9_]*[[:space:]]*\(' | tr -d ' (' | sort -u |
  sed 's/.*/int &(void) { return 100; }/' >"$dir/stub.c"
"${CC:-gcc}" -w -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$dir/lib/libcuda.so" "$dir/stub.c"
