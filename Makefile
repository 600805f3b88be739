# auditail. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: build demo test race lint fmt fuzz bench bench-central torture promql package systemd ollama otel-collector help stock-tools s3-server

GO ?= go
FUZZTIME ?= 10s
BIN ?= bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

export CGO_ENABLED ?= 0

# Development tools are pinned in tools/go.mod, apart from what the programs
# import. Each is built once, again when a pin or the Go version changes.
TOOLS := .tools/$(shell $(GO) env GOVERSION)
$(TOOLS)/golangci-lint: PACKAGE = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/staticcheck:   PACKAGE = honnef.co/go/tools/cmd/staticcheck
$(TOOLS)/gofumpt:       PACKAGE = mvdan.cc/gofumpt
$(TOOLS)/gotestsum:     PACKAGE = gotest.tools/gotestsum
$(TOOLS)/benchstat:     PACKAGE = golang.org/x/perf/cmd/benchstat
$(TOOLS)/govulncheck:   PACKAGE = golang.org/x/vuln/cmd/govulncheck
$(TOOLS)/nfpm:          PACKAGE = github.com/goreleaser/nfpm/v2/cmd/nfpm
$(TOOLS)/cyclonedx-gomod: PACKAGE = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
$(TOOLS)/versitygw:     PACKAGE = github.com/versity/versitygw/cmd/versitygw
$(TOOLS)/%: tools/go.mod tools/go.sum
	@echo "building $(PACKAGE)"
	@CGO_ENABLED=0 $(GO) -C tools build -o '$(CURDIR)/$@' $(PACKAGE)
	@touch $@

# The flags give the same bytes from the same sources, in any directory.
build: ## build the three programs into bin/
	$(GO) build -trimpath -buildvcs=false \
		-ldflags='-s -w -buildid= -X github.com/auditail/auditail/internal/version.linked=$(VERSION)' \
		-o '$(BIN)/' ./cmd/...

demo: build ## show the whole path once: logs, records, signed batches, server, verification
	$(GO) run ./internal/dev/demo

test: stock-tools s3-server $(TOOLS)/gotestsum ## run all tests; the summary stands last
	$(TOOLS)/gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg -- -timeout 20m ./...

race: stock-tools s3-server ## run all tests under the race detector
	CGO_ENABLED=1 $(GO) test -race ./...

lint: $(TOOLS)/gofumpt $(TOOLS)/staticcheck $(TOOLS)/golangci-lint $(TOOLS)/govulncheck ## check format, import rules and known mistakes
	@unformatted=$$($(TOOLS)/gofumpt -l -extra=group_params .); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	GOOS=windows $(GO) vet ./cmd/... ./internal/admin ./internal/durable/... ./internal/service ./inputs/file
	GOOS=darwin $(GO) vet ./cmd/... ./internal/service ./inputs/file
	$(TOOLS)/staticcheck ./...
	$(TOOLS)/golangci-lint run ./...
	@.ci/vulncheck $(TOOLS)/govulncheck

fmt: $(TOOLS)/golangci-lint ## format all Go files and group their imports
	$(TOOLS)/golangci-lint fmt ./...

fuzz: ## run every fuzz target for FUZZTIME (default 10s)
	@.ci/fuzz '$(FUZZTIME)'

bench: build ## measure the agent on generated logs: backlog, live, idle, stalled, start, verifier, beside other shippers
	$(GO) run ./internal/dev/bench

bench-central: build ## measure auditail-server with 1,000 agents of one batch each 10 s
	$(GO) test -count=1 -timeout 20m -run ManyAgents -v ./internal/endtoend -many.agents=1000 -many.every=10s -many.rounds=7

torture: stock-tools s3-server ## break things for hours: power cuts, failing disks, kills, rotations, networks
	AUDITAIL_TORTURE=100 $(GO) test -count=1 -timeout 90m ./buffer
	$(GO) test -count=1 -timeout 60m -run 'Model$$|Storm' ./inputs/file -rapid.checks=10000
	$(GO) test -count=1 -timeout 60m -run ModelLive ./inputs/file -model.workers=50 -rapid.checks=200
	$(GO) test -count=1 -timeout 120m -run Reload ./internal/endtoend -reloads=10000
	$(GO) test -count=1 -timeout 60m -run Storm -v ./internal/endtoend -storm.kills=45 -storm.rate=1500
	$(GO) test -count=1 -timeout 60m -run Storm -v ./internal/endtoend -storm.kills=6 -storm.rate=50000
	$(GO) test -count=1 -timeout 30m -run DeedsOverABadBucket ./internal/server -store.faults=1
	$(GO) test -count=1 -timeout 60m -run CentralStorm -v ./internal/endtoend -central.kills=500
	$(GO) test -count=1 -timeout 90m -run BadNetwork -v ./internal/endtoend -network.time=1h

package: $(TOOLS)/nfpm $(if $(filter yes,$(SBOM)),$(TOOLS)/cyclonedx-gomod) ## make deb, rpm, tar.gz and zip with checksums in dist/; SBOM=yes: bills of materials
	@.ci/stock-tools zip:zip
	@packaging/build '$(VERSION)' '$(TOOLS)/nfpm' '$(TOOLS)/cyclonedx-gomod'

promql: ## have Prometheus parse the alert rules and the dashboard, and fire each alert
	$(GO) -C tools/promql test -count=1 ./...

systemd: ## install, kill, hang, reload, upgrade and remove the packages under a real systemd
	@.ci/systemd

OLLAMA ?= $(shell command -v ollama)
ollama: ## ask a real Ollama, that of PATH or OLLAMA=PROGRAM, which models it serves, and read its log
	OLLAMA='$(OLLAMA)' $(GO) test -tags ollama -count=1 -timeout 10m -run Ollama ./internal/endtoend

# .ci/otel-collector.yaml makes a collector with what the test needs by
# OpenTelemetry's own builder.
COLLECTOR ?= $(firstword $(shell command -v otelcol-contrib otelcol))
otel-collector: ## copy records to a real OpenTelemetry Collector, that of PATH or COLLECTOR=PROGRAM, and compare what it got
	COLLECTOR='$(COLLECTOR)' $(GO) test -tags otelcollector -count=1 -timeout 10m -run '^TestCollector$$' -v ./internal/endtoend

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Tests check archives with the programs that auditors have: ssh-keygen, zstd,
# sha256sum, age.
stock-tools:
	@.ci/stock-tools

# The tests of outputs, server and verifier talk to a real S3 server with Object Lock.
s3-server: $(TOOLS)/versitygw
