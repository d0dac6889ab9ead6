# `make run` starts the server with a demo show, `make test` proves everything. Both install what is missing, say so, and ask nothing but what sudo asks.
# The other targets are the steps of these two, for when only one of them is wanted.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

# Where the C library or the distribution brings an old Node, `.ci/needs` puts a newer one here.
export PATH := $(CURDIR)/target/tools/node_modules/.bin:$(PATH)
export CARGO_TERM_COLOR ?= auto
ifeq ($(CI),true)
# A build that is thrown away gains nothing from incremental state, which costs a tenth of the time and half of the disk.
export CARGO_INCREMENTAL := 0
export CARGO_TERM_COLOR := never
endif

# $(call heading,text): one line that can be found in a long log.
heading = @printf '\n==> %s  [%s]\n' '$(1)' "$$(date +%H:%M:%S)"

web := control/web
browser := tests/e2e/browser

.PHONY: run
run: deps-run web ## Build, then start the server with a demo show (ARGS="…" adds flags)
	$(call heading,Building chobi with optimisations: minutes the first time and seconds afterwards)
	cargo build --release --locked --bin chobi
	$(call heading,Starting: stop it with Ctrl-C)
	exec cargo run --release --locked --quiet --bin chobi -- serve --demo $(ARGS)

.PHONY: test
test: deps-test format web-check test-rust fuzz ## Everything that must hold: format, lints, pages, all tests, the browser included
	$(call heading,All good)

.PHONY: check
check: format web-check ## Format, lints and page types, without building or running tests
	$(call heading,Lints with warnings as errors)
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: format
format:
	$(call heading,Format)
	cargo fmt --all --check

.PHONY: test-rust
test-rust: export RUSTC_WORKSPACE_WRAPPER := $(CURDIR)/.ci/lint
test-rust: web $(browser)/node_modules/.package-lock.json
	$(call heading,Building with lints; warnings are errors)
	cargo build --workspace --all-targets --locked
	$(call heading,Tests)
	.ci/tests

.PHONY: fuzz
fuzz: ## Hostile bytes for the parsers of what strangers send (FUZZ_SECONDS=30 for each)
	$(call heading,Fuzzing: finds are kept in target/fuzz/corpus)
	.ci/fuzz

.PHONY: web
web: $(web)/dist/home.ar.html ## Build the pages that the server embeds

.PHONY: web-check
web-check: $(web)/dist/home.ar.html
	$(call heading,Types of the pages)
	npm run --silent --prefix $(web) check

.PHONY: deps-run
deps-run: ## Install what building and running needs, if missing
	@.ci/needs run

.PHONY: deps-test
deps-test: ## Install what the tests need, if missing
	@.ci/needs test
	@.ci/browser

.PHONY: bench-compare
bench-compare: web ## CPU for one show: nginx-rtmp with plain HLS beside us, same input (N=50 shows)
	cargo build --release --locked --bin chobi
	benches/compare/run

.PHONY: bench-whep
bench-whep: web ## CPU and memory per WHEP viewer beside the bare path to the kernel (VIEWERS=200)
	cargo build --release --locked --bin chobi
	cargo bench --locked -p chobi-media --bench whep_floor --no-run
	benches/whep/run

.PHONY: profile-whep
profile-whep: web ## Where the time of the threads goes that send to WHEP viewers, by perf (VIEWERS=200)
	cargo build --release --locked --bin chobi
	PROFILE=1 benches/whep/run

.PHONY: bench-hls
bench-hls: web ## CPU to serve a recording by HLS: nginx with the same files beside us; then a live show (VIEWERS=20)
	cargo build --release --locked --bin chobi
	benches/hls/run

.PHONY: bench-whep-peers
bench-whep-peers: web ## CPU per packet to WHEP viewers: Janus beside us, where it is installed (VIEWERS=200)
	cargo build --release --locked --bin chobi
	benches/whep/peers

.PHONY: bench-upload
bench-upload: web ## CPU per MB and memory per show to bring shows to a bucket 100 ms away (N=50 shows)
	cargo build --release --locked --bin chobi
	benches/upload/run

.PHONY: bench-outage
bench-outage: web deps-test ## Shows whose bucket is away for ten minutes: memory, what waits, and that nothing is lost (OUTAGE=600)
	cargo build --release --locked --bin chobi
	benches/upload/outage

.PHONY: bench-kills
bench-kills: web deps-test ## A show whose server is killed a hundred times: no segment is lost that the bucket's playlists named (ROUNDS=100)
	cargo build --release --locked --bin chobi
	node benches/upload/kills.mjs

.PHONY: help
help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | awk -F'|' '{ printf "%-26s %s\n", $$1, $$2 }'

# npm writes this file last, so it is older than the lock exactly when the packages are.
%/node_modules/.package-lock.json: %/package-lock.json %/package.json
	$(call heading,Fetching the packages of $*)
	npm ci --prefix $* --no-audit --no-fund --loglevel=error
	@touch $@

$(web)/dist/home.ar.html: $(shell find $(web)/src -type f) $(web)/build.mjs $(web)/node_modules/.package-lock.json
	$(call heading,Building the pages)
	npm run --silent --prefix $(web) build
	@touch $@
