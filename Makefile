# What there is to do with this repository. Needs Go, and where said a Docker
# engine, which dev/engine installs on a bare Debian.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git -c safe.directory='*' describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

# Each of dev/tools is a module of its own, with the versions of one tool.
TOOLS := $(notdir $(wildcard dev/tools/*))

# Modules beside the main one that hold code of ours.
MODULES := $(patsubst %/go.mod,%,$(wildcard examples/*/go.mod))
PLATFORMS := linux/amd64 linux/arm64 darwin/arm64 windows/amd64
AGENTS := amd64 arm64
PACKAGES ?= ./...
comma := ,

# Tests fail, rather than skip, where the engine or the kernel is missing.
export WIRETAPE_REQUIRE_ENGINE ?= 1
export WIRETAPE_REQUIRE_KERNEL ?= 1

.PHONY: help
help: ## print this
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## build bin/wiretape
	$(GOBUILD) -o bin/wiretape ./cmd/wiretape

.PHONY: check
check: bin/golangci-lint ## the inner loop: format, lint, and the tests that need no engine, kernel, root or much time
	dev/check

.PHONY: test
test: ## vet and test everything under the race detector, with a real engine and kernel (root)
	dev/engine
	go vet ./...
	CGO_ENABLED=1 go test -race -timeout 20m $(PACKAGES)
	@for m in $(MODULES); do (set -x; go -C "$$m" vet ./... && go -C "$$m" test ./...); done

.PHONY: lint
lint: bin/golangci-lint ## check format, vet for each system, golangci-lint, syntax of scripts
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted with gofmt:"; echo "$$unformatted"; exit 1; } >&2
	GOOS=darwin GOARCH=arm64 go vet -trimpath ./...
	GOOS=windows go vet -trimpath ./...
	bin/golangci-lint run ./...
	@for m in $(MODULES); do (set -x; cd "$$m" && ../../bin/golangci-lint run ./...); done
	@for s in $$(grep -rIlx '#!/usr/bin/env bash' .ci dev examples); do bash -n "$$s"; done

.PHONY: vuln
vuln: bin/govulncheck ## look for known vulnerabilities in what wiretape calls (needs https://vuln.go.dev)
	dev/vuln

$(TOOLS:%=bin/%): bin/%: dev/tools/%/go.mod dev/tools/%/go.sum
	go -C dev/tools/$* build -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/$* "$$(go -C dev/tools/$* list tool)"

.PHONY: generate
generate: ## compile the BPF programs again (clang)
	dev/toolchain
	go generate ./bpf

.PHONY: demo
demo: build ## record examples/chat, take the outside world away, and test it
	dev/engine
	examples/chat/demo.sh

.PHONY: matrix
matrix: build ## try doctor, the example and some tests on the engines of users, into docs/platforms.md (ROWS=29-systemd for some; root)
	dev/matrix --write $(subst $(comma), ,$(ROWS))

.PHONY: bench
bench: build ## measure beside peers, into docs/benchmarks (ROWS=record,replay for some; dev/bench --help)
	dev/engine
	dev/bench --write $(subst $(comma), ,$(ROWS))

.PHONY: flake
flake: ## run every test 20 times idle and 20 times beside a load, and list what ever failed
	dev/engine
	dev/flake

.PHONY: fuzz
fuzz: ## fuzz each parser for a short while (FUZZTIME=10s)
	dev/fuzz

.PHONY: agents
agents: ## build the Linux agents that release builds carry, into images/agents
	@for arch in $(AGENTS); do \
		(set -x; GOOS=linux GOARCH=$$arch $(GOBUILD) -o build/wiretape-linux-$$arch ./cmd/wiretape); \
		gzip -9nc build/wiretape-linux-$$arch >images/agents/wiretape-linux-$$arch.gz; \
		rm build/wiretape-linux-$$arch; \
	done

.PHONY: cross
cross: agents ## build dist/ for each system, with the Linux agents inside
	@for platform in $(PLATFORMS); do \
		os=$${platform%/*} arch=$${platform#*/} suffix=; \
		[ $$os != windows ] || suffix=.exe; \
		(set -x; GOOS=$$os GOARCH=$$arch $(GOBUILD) -tags embed_agents -o dist/wiretape-$$os-$$arch$$suffix ./cmd/wiretape); \
	done
	@cd dist && sha256sum wiretape-* >SHA256SUMS && ls -l

RELEASE_TOOLS := bin/goreleaser bin/cyclonedx-gomod

.PHONY: release-dry-run
release-dry-run: $(RELEASE_TOOLS) ## make what a release publishes, twice, and check it (builds goreleaser once: minutes)
	dev/release

.PHONY: release
release: $(RELEASE_TOOLS) ## publish the release of the tag that is checked out (hosted CI does)
	PATH="$(CURDIR)/bin:$$PATH" goreleaser release --clean

.PHONY: clean
clean: ## remove what make built
	rm -rf bin build dist images/agents/*.gz
