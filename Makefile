# One program, one Makefile: CI and people call the same targets.
export CGO_ENABLED = 0
GO      ?= go
BIN     := bin/logobeam
OUT     ?= out

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

.PHONY: build demo test race noasm lint fuzz bench testdata kernels builtin-model clean

build: ## bin/logobeam, one static binary
	$(GO) build -trimpath -ldflags "-s -w" -o $(BIN) ./cmd/logobeam

demo: build ## score the photographs of testdata with the built-in model, and show what was found
	$(BIN) score testdata/posts.csv --out $(OUT)/demo
	$(BIN) show testdata/posts.csv --label-column post_id --scores $(OUT)/demo --out $(OUT)/demo.png
	@echo "the scores are in $(OUT)/demo/scores, a picture of them in $(OUT)/demo.png"

test: ## everything, as CI does
	$(GO) vet ./...
	$(GO) test ./...

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
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; \
	done

bench: ## images and operations a second
	$(GO) test -run '^$$' -bench . ./model/... ./transforms/...

testdata: ## draw the photographs of testdata again, to the same bytes
	$(GO) run ./testdata/make

kernels: ## write the assembly again from its generator
	cd model/kernel/_gen && $(GO) generate ./...

clean:
	rm -rf bin $(OUT)
