# Before every commit: make check test

SHELL         := bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS     += --no-print-directory
.DELETE_ON_ERROR:

BIN := $(CURDIR)/.bin

# Debian has nginx and haproxy in /usr/sbin, which is not in every user's PATH.
export PATH := $(PATH):/usr/sbin

# At the end of each process the race detector waits for a second, in case of a late race. The
# tests start dozens of processes that have no work left then, so 20 ms are enough.
export GORACE ?= atexit_sleep_ms=20

# Without the folder's path in the compiled packages, all clones share Go's build cache.
export GOFLAGS ?= -trimpath

# Every Go module of the repository, and every folder that npm installs into.
MODULES := . $(patsubst %/go.mod,%,$(wildcard */go.mod */*/go.mod))
NPM     := $(patsubst %/package-lock.json,%,$(wildcard bench/*/package-lock.json test/*/package-lock.json tools/*/package-lock.json web/*/package-lock.json))
NPM_TESTS = $(patsubst %/package.json,%,$(shell grep -l '"test":' $(NPM:%=%/package.json)))

# Packages that measure how long calls wait, and others that run other programs than Go and
# Redis, such as compilers. The build tag "programs" leaves them out of go test ./...
TIMED    := ./test/proxies ./test/monitoring
PROGRAMS = $(filter-out $(TIMED) ./test/clients,$(sort ./test/release $(shell git grep -l '^//go:build programs' | xargs -n1 dirname | sed 's|^|./|')))

# Every package of the module, as ./folder. These lists are made when they are used.
PACKAGES = $(shell go list -f '{{.Dir}}' ./... | sed 's|^$(CURDIR)|.|')

# Packages with goroutines, in which the race detector can find races. With it tests run with
# -short, since it makes them ten times slower.
RACED = $(filter-out ./internal/agora ./internal/build ./internal/session ./internal/protocol, \
	$(filter ./client ./internal/% ./tools/load% ./web/%,$(PACKAGES)))

# Packages with tests that test-race leaves out or shortens: packages that it does not run, and
# packages with the constraint !race or with random tests, whose number -short lowers. The Redis
# servers of ./internal/redis would starve there, so test-plain names the tests that it needs.
PLAIN = $(sort $(filter-out $(RACED) ./cmd/refresher ./test/chaos ./test/clients $(PROGRAMS) $(TIMED),$(PACKAGES)) \
	$(addprefix ./,$(shell git grep -lE '^//go:build !race|testing\.Short\(\)|rapid\.Check' -- 'internal/*_test.go' ':!internal/redis' | xargs -n1 dirname)))

# Packages with benchmarks.
BENCHED = $(addprefix ./,$(sort $(shell git grep -lE '^func Benchmark' -- '*_test.go' ':!bench' | xargs -n1 dirname)))

# The command, built once for the tests that run it, which find it by BUILT_REFRESHER.
BUILT := $(BIN)/tested/refresher

# The help of the targets explains these settings.
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
test: ## Runs every test, every benchmark once, and says how long each part took.
	@scripts/steps.sh 'setup: $(MAKE) setup' 'build: $(MAKE) build-tested' \
		'race: $(MAKE) test-race' 'npm and programs: $(MAKE) -j2 --output-sync test-npm test-programs' \
		'calls, plain and benchmarks: $(MAKE) -j3 --output-sync test-calls test-clients test-idle'

# test/release writes a bill of materials.
.PHONY: build-tested
build-tested: $(BIN)/cyclonedx-gomod
	go build -o $(BUILT) ./cmd/refresher

# Calls of test-calls have tokens of seconds and measure their delays, so they must not starve, and
# leave the processors idle for most of the time. test-clients, whose programs are slower to start and
# have calls too, and test-idle use that time.
.PHONY: test-calls test-clients test-idle
test-calls:
	@scripts/steps.sh 'command: go test -timeout 5m ./cmd/refresher' 'chaos and timed: $(MAKE) -j2 --output-sync test-chaos test-timed'
test-clients:
	@scripts/steps.sh 'clients: nice -n 5 go test -tags programs -timeout 5m ./test/clients'
test-idle:
	@nice -n 19 scripts/steps.sh 'plain: $(MAKE) test-plain' 'benchmarks: $(MAKE) test-benchmarks'

# One package more than there are processors runs at a time, since some packages wait for
# servers. The slowest packages come first, so that none of them runs alone at the end. go vet
# is off, since make check vets all packages.
.PHONY: test-race
test-race:
	go test -race -vet=off -short -shuffle=on -p "$$(($$(nproc) + 1))" -timeout 5m ./internal/redis ./internal/scheduler $(RACED)

.PHONY: test-plain
test-plain:
	go test -vet=off -timeout 5m $(PLAIN)
	go test -vet=off -timeout 5m -run 'TestModel|TestRoundTrip|TestSessionIsSmall' ./internal/redis

# These tests are niced, so that the browsers of test-npm get the processor first. test/deploy needs
# -count 1: its tests read files outside of its module, whose changes Go's cache of test results
# does not notice.
.PHONY: test-programs
test-programs:
	@nice -n 5 scripts/steps.sh 'programs: go test -tags programs -p 3 -timeout 10m $(PROGRAMS)' \
		'deploy: go -C test/deploy test -count 1 -timeout 10m ./...'

.PHONY: test-benchmarks
test-benchmarks:
	go test -short -run '^$$' -bench . -benchtime 1x -timeout 5m $(BENCHED)
	go -C bench test -short -run '^$$' -bench . -benchtime 1x -timeout 5m

.PHONY: test-chaos test-timed
test-chaos:
	@scripts/steps.sh 'chaos: go test -parallel 4 -timeout 5m ./test/chaos'
test-timed:
	@scripts/steps.sh 'timed: go test -tags programs -timeout 5m $(TIMED)'

# The timeout also kills processes of the tests that do not end by themselves.
.PHONY: test-npm
test-npm:
	@scripts/steps.sh $(foreach dir,$(NPM_TESTS),'npm $(dir): timeout --verbose --kill-after 10s 10m npm --prefix $(dir) run test')

# check-web waits for browsers most of the time, so it runs in parallel with check-code. The
# parts of check-code run one after the other, since go generate writes files that the linters
# read.
.PHONY: check check-code check-web
check: ## Runs every check that is not a test: code, modules, documents. Says how long each part took.
	@scripts/steps.sh 'setup: $(MAKE) setup' 'tools: $(MAKE) tools' 'checks: $(MAKE) -j2 --output-sync check-code check-web'
check-code:
	@scripts/steps.sh --keep-going $(foreach part,format lint vet tidy generated docs locks,'$(part): $(MAKE) $(part)')
check-web:
	@scripts/steps.sh 'web: $(MAKE) web'

.PHONY: fix
fix: tools ## Formats the code and fixes the problems that the linters can fix.
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
bench: tools ## Runs the benchmarks that match BENCH=regexp COUNT (10) times, and writes .bin/bench.txt. BASE=file has results to compare with.
	mkdir -p $(BIN)
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 1h ./... | tee $(BIN)/bench.txt
	$(BIN)/benchstat $(BASE) $(BIN)/bench.txt

.PHONY: bench-scale
bench-scale: setup ## Holds SCALE (100000) calls on this machine with six nodes and Redis for HOLD (3m), kills a node, and prints what each process used. ARGS='...' are flags of the nodes.
	go test -run '^$$' -bench Scale -benchtime 1x -timeout 30m ./tools/load -calls $(SCALE) -rate 1000 -nodes 6 -hold $(HOLD) -serve '$(ARGS)'

# The test binary is built first: once it runs, it uses only the processor of the clients.
.PHONY: bench-peers
bench-peers: packages bench/node/node_modules/.installed ## Measures refresher beside its peers, ROUNDS (5) times each, and prints one table. TABLE=docs/understand/performance.md puts it there.
	mkdir -p $(BIN)
	go -C bench test -c -o $(BIN)/peers.test .
	cd bench && $(BIN)/peers.test -test.run '^$$' -test.bench Peers -test.benchtime 1x -rounds $(ROUNDS) -table '$(abspath $(TABLE))'

.PHONY: chaos
chaos: setup ## Kills nodes and Redis for SECONDS_EACH (180), with CALLS (300) in each scenario, and reports the interruptions of the calls.
	CHAOS_SECONDS=$(SECONDS_EACH) CHAOS_CALLS=$(CALLS) go test -v -count 1 -parallel 1 -timeout 1h ./test/chaos

.PHONY: panels
panels: setup ## Prints what each panel of the Grafana dashboard shows, from three nodes with calls, as in docs/operate/dashboard.md.
	go -C test/monitoring test -tags programs -count 1 -timeout 5m -run TestLive -panels

.PHONY: sbom
sbom: build $(BIN)/cyclonedx-gomod ## Writes the bill of materials of .bin/refresher.
	scripts/sbom.sh $(BIN)/refresher $(BIN)/refresher.cdx.json

.PHONY: reproduce
reproduce: ## Builds the last commit in a folder of its own, and prints the sum of the binary.
	scripts/reproduce.sh HEAD "$$(go env GOOS)" "$$(go env GOARCH)"

.PHONY: screenshots
screenshots: setup ## Takes the README's pictures of the demo anew.
	npm --prefix test/browser run screenshots

.PHONY: vuln
vuln: tools ## Looks for known vulnerabilities in the functions that the code calls. Needs the network.
	scripts/vuln.sh $(BIN)/govulncheck

.PHONY: clean
clean: ## Removes all files that make has built, installed or measured in this folder.
	rm -rf $(BIN) $(NPM:%=%/node_modules) test-results coverage.*

##@ The parts of check

.PHONY: format
format: tools ## Fails on code that is not formatted, and shows the difference.
	$(BIN)/golangci-lint fmt --diff

.PHONY: lint
lint: tools ## Runs the linters of .golangci.yml.
	$(BIN)/golangci-lint run ./...

.PHONY: vet
vet: ## Runs go vet in the modules that the linters do not read.
	for dir in $(filter-out . tools/linters,$(MODULES)); do go -C "$$dir" vet -tags programs ./...; done

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
locks: ## Fails on an npm lock file that names a registry.
	! grep -Hn '"resolved": "http' $(NPM:%=%/package-lock.json)

# The following targets prepare the targets above.

.PHONY: packages
packages:
	@scripts/install-packages.sh

# A folder is installed again when its lock file changes. No package needs its install script,
# so none is run.
%/node_modules/.installed: %/package-lock.json | packages
	npm --prefix $* ci --prefer-offline --ignore-scripts --no-audit --no-fund
	@mkdir -p $(@D) && touch $@

$(BIN)/cyclonedx-gomod: tools/linters/go.sum
	GOBIN=$(BIN) go -C tools/linters install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
	@touch $@

# The tools are built again when their versions or the version of Go change.
TOOLS := $(BIN)/.tools-$(shell go env GOVERSION)

.PHONY: tools
tools: $(TOOLS)

$(TOOLS): tools/linters/go.sum
	@echo 'Building the tools; the first time takes minutes.'
	GOBIN=$(BIN) go -C tools/linters install tool
	@touch $@
