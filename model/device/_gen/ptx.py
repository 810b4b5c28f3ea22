"""Compiles kernels.cu to kernels.ptx with NVRTC, which needs no GPU, and has ptxas assemble that for sm_80 and sm_90.

    python3 ptx.py TOOLS

TOOLS is a folder into which pip has installed requirements.txt (make ptx does). Prints registers and shared memory of each kernel;
registers that spill to memory are an error.
"""
import ctypes
import hashlib
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(sys.argv[1]).resolve() / "nvidia"


def compile(source):
    nvrtc = ctypes.CDLL(str(TOOLS / "cuda_nvrtc/lib/libnvrtc.so.12"))

    def text(get_size, get):
        size = ctypes.c_size_t()
        get_size(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        get(program, buffer)
        return buffer.value.decode()

    program = ctypes.c_void_p()
    options = [b"--gpu-architecture=compute_80", b"--std=c++17"]
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None):
        sys.exit("NVRTC does not start")
    failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    log = text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
    if failed or log.strip():
        sys.exit(log)
    return text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)


def assemble(path, arch):
    run = subprocess.run([TOOLS / "cuda_nvcc/bin/ptxas", "-v", "-arch=" + arch, path, "-o", "/dev/null"],
                         capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    spilled = False
    for name, stack, stores, loads, registers, rest in re.findall(
            r"entry function '(\w+)'[^\n]*\n[^\n]*\n *(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n"
            r"[^\n]*Used (\d+) registers([^\n]*)", run.stderr):
        shared = re.search(r"(\d+) bytes smem", rest)
        print(f"{arch}  {name:26} {registers:>3} registers  {shared[1] if shared else 0:>5} bytes shared"
              + (f"  SPILLS {stores}, {loads}, stack {stack}" if int(stack) else ""))
        spilled = spilled or int(stack) > 0
    if spilled:
        sys.exit("registers spill")


source = (HERE / "kernels.cu").read_bytes()
lines = [line.rstrip() for line in compile(source).splitlines() if line.strip() and not line.strip().startswith("//")]
ptx = HERE / "kernels.ptx"
ptx.write_text("// Made of kernels.cu by make ptx: not to be edited.\n// sha256 of kernels.cu: %s\n" % hashlib.sha256(source).hexdigest()
               + "\n".join(lines) + "\n")
for arch in ("sm_80", "sm_90"):
    assemble(ptx, arch)
