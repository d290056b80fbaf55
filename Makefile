# Before every commit: make check test

SHELL         := bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS     += --no-print-directory
.DELETE_ON_ERROR:

BIN := $(CURDIR)/.bin

# Where Debian has nginx and haproxy; not every user's path does.
export PATH := $(PATH):/usr/sbin

# The race detector waits for a second at the end of each process, for races that are
# still to come; tests, and the programs that they run by the dozen, have ended by then.
export GORACE ?= atexit_sleep_ms=20

# Every Go module of the repository, and every folder that npm installs into.
MODULES := . $(patsubst %/go.mod,%,$(wildcard */go.mod */*/go.mod))
NPM     := $(patsubst %/package-lock.json,%,$(wildcard bench/*/package-lock.json test/*/package-lock.json tools/*/package-lock.json web/*/package-lock.json))

# Under the race detector tests run with -short: it makes simulated hours ten times
# slower, and crashes the more often the more of them a process simulates. Tests that take
# part of their cases or hours then (testing.Short, and each use of rapid) are in these
# packages, and run in full without it. The planner has no goroutines to race.
FULL := $$(go list ./internal/... ./tools/plan/... | grep -v -e /internal/redis -e /internal/ws)

# Packages with benchmarks. To link the others' tests once more took a minute of CPU time.
BENCHED := $$(git grep -lE '^func Benchmark' -- '*_test.go' ':!bench' | xargs -n1 dirname | sort -u | sed 's|^|./|')

# Tests with the build tag "programs" need other programs than Go and Redis, such as
# nginx, Prometheus and Node.js. go test ./... leaves them out.

# The package that the race detector crashes in most often is run one test at a time from
# the start: see scripts/parts.sh.
CRASHES := /internal/rotation

# Packages that run other programs to their end, however long these take. The race detector
# would see nothing in them.
PROGRAMS := /test/oracle /test/release /test/rules /test/webhooks

# The command, built once for the tests that run it, which find it by BUILT_REFRESHER.
BUILT := $(BIN)/tested/refresher

# What the settings below mean is in the help of the targets that use them.
BENCH    ?= .
COUNT    ?= 10
ROUNDS   ?= 5
TABLE    ?=
FUZZ     ?= .
FUZZTIME ?= 30s
ARGS     ?=
MUTANTS  ?= 40
SEED     ?= 1
MUTATE   ?= internal/session internal/store/resolve.go internal/store/wish.go internal/access internal/scheduler/queue.go internal/scheduler/table.go

SCALE        ?= 100000
HOLD         ?= 3m
SECONDS_EACH ?= 180
CALLS        ?= 300

.PHONY: help
help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 } /^##@/ { printf "\n%s\n", substr($$0, 5) }' $(MAKEFILE_LIST)

##@ Every day

.PHONY: setup
setup: packages $(NPM:%=%/node_modules/.installed) ## Installs what the tests and checks need and is missing.

.PHONY: test
test: export BUILT_REFRESHER = $(BUILT)
test: setup tools ## Runs the Go tests under the race detector, every benchmark once, and the npm tests.
	go build -o $(BUILT) ./cmd/refresher
	$(MAKE) test-race
	$(MAKE) -j2 --output-sync test-chaos test-programs
	$(MAKE) -j2 --output-sync test-npm test-full

# The packages that take longest come first, so that none is left over at the end.
.PHONY: test-race
test-race:
	scripts/race.sh -short -tags programs $$(go list -tags programs ./internal/redis ./cmd/refresher ./internal/access ./internal/app ./test/proxies ./... | grep -v -e /test/chaos $(PROGRAMS:%=-e %) -e /tools/plan/planner -e $(CRASHES))
	scripts/parts.sh .$(CRASHES)

# test-chaos waits most of the time, and measures how late its calls are served: what runs
# beside it gives way. So does test-full beside the browsers. Go's cache does not watch files
# outside of a module, which those of test/deploy read: hence its -count.
.PHONY: test-chaos test-programs test-full
test-chaos:
	go test -parallel 4 -timeout 5m ./test/chaos
test-programs:
	nice -n 19 go -C test/deploy test -count 1 -timeout 10m ./...
	nice -n 19 go test -tags programs -p 3 -timeout 10m $(PROGRAMS:%=.%)
test-full:
	nice -n 19 go test -timeout 10m $(FULL)
	nice -n 19 go test -timeout 10m -run 'TestModel|TestRoundTrip' ./internal/redis
	nice -n 19 go test -short -run '^$$' -bench . -benchtime 1x -timeout 5m $(BENCHED)
	nice -n 19 go -C bench test -short -run '^$$' -bench . -benchtime 1x -timeout 5m

# A process that does not end, or spins, ends with the tests of its folder.
.PHONY: test-npm
test-npm:
	for dir in $(NPM); do timeout --verbose --kill-after 10s 10m npm --prefix "$$dir" run test --if-present; done

# The page's checks wait for browsers most of the time, so they are beside the others.
# Those come one after the other, since go generate writes files that the linters read.
.PHONY: check check-code
check: setup tools ## Runs every check that is not a test: code, modules, documents.
	$(MAKE) -j2 --output-sync check-code web
check-code:
	$(MAKE) -j1 format lint vet tidy generated docs locks

.PHONY: fix
fix: tools ## Formats the code and mends what the linters can mend.
	$(BIN)/golangci-lint run --fix ./...

.PHONY: build
build: ## Builds .bin/refresher.
	go build -trimpath -buildvcs=auto -o $(BIN)/refresher ./cmd/refresher

.PHONY: client
client: ## Packs the browser library into .bin/refresher-client.tgz, for npm install.
	mkdir -p $(BIN)
	packed=$$(npm pack --silent --ignore-scripts --pack-destination $(BIN) ./web/client) && mv "$(BIN)/$$packed" $(BIN)/refresher-client.tgz

.PHONY: demo
demo: build ## Serves the demo on this machine alone. ARGS='...' are its flags.
	$(BIN)/refresher demo $(ARGS)

##@ Now and then

.PHONY: fuzz
fuzz: ## Fuzzes every target for FUZZTIME (30s) each. FUZZ=regexp chooses among them.
	scripts/fuzz.sh '$(FUZZ)' '$(FUZZTIME)'

.PHONY: mutate
mutate: ## Changes the code of the rules in MUTANTS (40) places, one at a time, and names the changes that no test notices. MUTATE='...' are files or folders.
	nice go run ./tools/mutate -n $(MUTANTS) -tests ./internal/scheduler $(MUTATE)

.PHONY: reading
reading: ## Draws 50 comments and 30 sentences of the documents at random, by SEED (1), for a reader who has not seen the code.
	@go run ./tools/reading -seed $(SEED)

.PHONY: bench
bench: tools ## Measures COUNT (10) times what BENCH=regexp names, into .bin/bench.txt. BASE=file is compared with.
	mkdir -p $(BIN)
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 1h ./... | tee $(BIN)/bench.txt
	$(BIN)/benchstat $(BASE) $(BIN)/bench.txt

.PHONY: bench-scale
bench-scale: setup ## Holds SCALE (100000) calls on this machine with six nodes and Redis for HOLD (3m), kills a node, and prints what each process used. ARGS='...' are flags of the nodes.
	go test -run '^$$' -bench Scale -benchtime 1x -timeout 30m ./tools/load -calls $(SCALE) -rate 1000 -nodes 6 -hold $(HOLD) -serve '$(ARGS)'

# The binary is built before it runs, since it keeps to the clients' core from then on.
.PHONY: bench-peers
bench-peers: packages bench/node/node_modules/.installed ## Measures refresher beside its peers, ROUNDS (5) times each, and prints one table. TABLE=docs/understand/performance.md puts it there.
	mkdir -p $(BIN)
	go -C bench test -c -o $(BIN)/peers.test .
	cd bench && $(BIN)/peers.test -test.run '^$$' -test.bench Peers -test.benchtime 1x -rounds $(ROUNDS) -table '$(abspath $(TABLE))'

.PHONY: chaos
chaos: setup ## Kills nodes and Redis for SECONDS_EACH (180), with CALLS (300) in each scenario, and tells what the calls noticed.
	CHAOS_SECONDS=$(SECONDS_EACH) CHAOS_CALLS=$(CALLS) go test -v -count 1 -parallel 1 -timeout 1h ./test/chaos

.PHONY: panels
panels: setup ## Prints what each panel of the Grafana dashboard shows, from three nodes with calls, as in docs/operate/dashboard.md.
	go -C test/monitoring test -tags programs -count 1 -timeout 5m -run TestLive -panels

.PHONY: sbom
sbom: build tools ## Writes the bill of materials of .bin/refresher.
	scripts/sbom.sh $(BIN)/refresher $(BIN)/refresher.cdx.json

.PHONY: reproduce
reproduce: ## Builds the last commit in a folder of its own, and prints the sum of the binary.
	scripts/reproduce.sh HEAD "$$(go env GOOS)" "$$(go env GOARCH)"

.PHONY: screenshots
screenshots: setup ## Takes the README's pictures of the demo anew.
	npm --prefix test/browser run screenshots

.PHONY: vuln
vuln: tools ## Looks for known vulnerabilities in what the code calls. Needs the network.
	scripts/vuln.sh $(BIN)/govulncheck

.PHONY: clean
clean: ## Removes all that make has built, installed in this folder, or measured.
	rm -rf $(BIN) $(NPM:%=%/node_modules) test-results coverage.*

##@ The parts of check

.PHONY: format
format: tools ## Fails on code that is not formatted, and shows how it should be.
	$(BIN)/golangci-lint fmt --diff

.PHONY: lint
lint: tools ## Runs the linters of .golangci.yml.
	$(BIN)/golangci-lint run ./...

.PHONY: vet
vet: ## Runs go vet.
	for dir in $(filter-out tools/linters,$(MODULES)); do go -C "$$dir" vet -tags programs ./...; done

.PHONY: tidy
tidy: ## Fails on a go.mod or go.sum that go mod tidy would change.
	for dir in $(MODULES); do go -C "$$dir" mod tidy -diff; done

.PHONY: generated
generated: ## Fails on generated files that go generate would change.
	scripts/check-generated.sh

.PHONY: docs
docs: tools/npm/node_modules/.installed ## Validates docs/asyncapi.yaml and docs/openapi.yaml.
	node tools/npm/validate.mjs docs/asyncapi.yaml docs/openapi.yaml

.PHONY: web
web: packages $(NPM:%=%/node_modules/.installed) ## Checks the library's and the page's types and sizes, and the page's accessibility.
	for dir in $(NPM); do npm --prefix "$$dir" run check --if-present; done

.PHONY: locks
locks: ## Fails on an npm lock file that names the registry it was made with.
	! grep -Hn '"resolved": "http' $(NPM:%=%/package-lock.json)

# What the targets above need.

.PHONY: packages
packages:
	@scripts/install-packages.sh

# A folder is installed anew when its lock file changes. No package here needs
# its install script, so none is run.
%/node_modules/.installed: %/package-lock.json | packages
	npm --prefix $* ci --prefer-offline --ignore-scripts --no-audit --no-fund
	@mkdir -p $(@D) && touch $@

# The tools are built anew when their versions, or Go's, change.
TOOLS := $(BIN)/.tools-$(shell go env GOVERSION)

.PHONY: tools
tools: $(TOOLS)

$(TOOLS): tools/linters/go.sum
	@echo 'Building the tools; the first time takes minutes.'
	GOBIN=$(BIN) go -C tools/linters install tool
	@touch $@
