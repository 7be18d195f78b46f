# CI Jobs Metrics. `make help` lists what there is to do.

SHELL := /bin/bash
GO    ?= go

# Each module's toolchain line says which Go it needs. auto lets the go command fetch that one.
export GOTOOLCHAIN := auto

AGGREGATION := github.com/zapier/prom-aggregation-gateway@v0.9.0

FUZZTIME  ?= 10s
BENCHTIME ?= 1s
SOAK      ?= 10m
RUNS      ?= 200
JOBS      ?= 10000000
SERIES    ?= 10000,100000,1000000

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Play job pods against a receiver that is killed meanwhile, and show the metrics
	@CGO_ENABLED=0 $(GO) build -o bin/demo ./demo
	@bin/demo

.PHONY: run
run: build ## Start a receiver on :8080 with its ledger in this directory
	bin/receiver --web.listen-address=:8080

.PHONY: build
build: ## Build bin/receiver and bin/exporter
	GO='$(GO)' scripts/build bin

.PHONY: test
test: deps prometheus promtool ## Run all tests, with what they need installed or built first (as root on Debian)
	$(GO) test -race -count=1 -timeout 30m $$($(GO) list ./... | grep -v '^ci-jobs-metrics/test/')
	$(GO) test -count=1 -timeout 30m -p 1 ./test/... # real programs and their times: no race detector, one package after the other
	cd test/prometheus && $(GO) test -count=1 ./...
	cd bench/scrape && $(GO) test -count=1 ./...
	cd deploy/grafana && $(GO) test -count=1 ./...

.PHONY: deps
deps: ## Install the programs that tests use: curl, strace, ip, Chromium, npm, dash, busybox, a C compiler for the race detector
	@scripts/deps

.PHONY: lint
lint: ## Run the linters, and fail on known vulnerabilities that the code can reach
	$(GO) mod verify
	$(GO) tool -modfile=tools/lint/go.mod golangci-lint run ./...
	cd test/prometheus && $(GO) tool -modfile=../../tools/lint/go.mod golangci-lint run ./...
	cd bench/scrape && $(GO) tool -modfile=../../tools/lint/go.mod golangci-lint run ./...
	cd deploy/grafana && $(GO) tool -modfile=../../tools/lint/go.mod golangci-lint run ./...
	cd tools/vuln && $(GO) run . ../..

.PHONY: prose
prose: ## Check the words of docs, comments and messages against the rules in tools/vale (needs a C compiler)
	cd tools/vale && $(GO) test -count=1 . && $(GO) run .

.PHONY: fuzz
fuzz: ## Fuzz every decoder and name rule, FUZZTIME=10s or 10000x each
	@scripts/fuzz $(FUZZTIME)

.PHONY: prometheus promtool
prometheus promtool: ## Build them in bin (minutes the first time): curl -s localhost:8080/metrics | bin/promtool check metrics
	@mkdir -p bin
	cd tools/prometheus && $(GO) build -tags remove_all_sd -o ../../bin/$@ github.com/prometheus/prometheus/cmd/$@

.PHONY: bench
bench: build ## Measure ingest beside a bare handler, KPI of JOBS=10000000 beside plain SELECTs, then the benchmarks beside the code, BENCHTIME=1s each
	$(GO) build -o bin/ingest ./bench/ingest
	$(GO) build -o bin/kpi ./bench/kpi
	bin/ingest
	bin/kpi -jobs $(JOBS)
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

.PHONY: bench-scrape
bench-scrape: build ## Measure scrapes beside other exposition libraries and gateways, SERIES=10000,100000,1000000
	cd bench/scrape && CGO_ENABLED=0 $(GO) build -o ../../bin/scrape .
	cd tools/pushgateway && CGO_ENABLED=0 $(GO) build -o ../../bin/pushgateway github.com/prometheus/pushgateway
	@[ -x bin/prom-aggregation-gateway ] || CGO_ENABLED=0 GOBIN=$(CURDIR)/bin $(GO) install $(AGGREGATION) || \
		echo "$(AGGREGATION) is not to be had here: it is left out, unless you put it into bin/" >&2
	bin/scrape -series $(SERIES)

.PHONY: bench-dashboards
bench-dashboards: ## Measure the queries of the Grafana dashboards in Prometheus' engine, beside increase()
	cd test/prometheus && $(GO) test ./queries -run '^$$' -bench Dashboards -benchtime 1x -timeout 30m -v

.PHONY: soak
soak: ## Overload a receiver for SOAK=10m, and judge what becomes of jobs, times and memory
	$(GO) test ./test/overload -count=1 -v -timeout 0 -run '^TestOverload$$' -soak $(SOAK)

.PHONY: footprint
footprint: ## Measure the exporter's size, memory and speed beside a minimal program, RUNS=200 of each
	@scripts/footprint $(RUNS)

.PHONY: dashboards
dashboards: ## Write the JSON of the Grafana dashboards in deploy/grafana anew
	cd deploy/grafana && $(GO) run .

.PHONY: contact-sheet
contact-sheet: ## Save screenshots of all pages in bin/screenshots, and one picture of all of them
	$(GO) test ./test/page -count=1 -run '^(TestPages|TestPageFills|TestPageOfManyTemplates)$$' -screenshots

.PHONY: screenshots
screenshots: ## Make the images of the README in docs/img anew, from made-up history
	@mkdir -p docs/img
	$(GO) test ./test/page -count=1 -run '^TestImages$$' -images $(CURDIR)/docs/img

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
