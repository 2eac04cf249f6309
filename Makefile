# Leat's tasks. `make help` lists them. Only `make conformance`, `make soak` and
# `make bench` need more than Go: they fetch real clients and Apache Kafka.

GO      ?= go
PREFIX  ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The variable that `leat version` prints.
LDFLAGS := -s -w -X main.version=$(VERSION)

export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/leat, static
	$(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/leat ./cmd/leat

.PHONY: install
install: build ## install leat into $(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 bin/leat $(DESTDIR)$(PREFIX)/bin/leat

.PHONY: run
run: build ## build and serve on localhost:9092, data in ./leat-data
	./bin/leat serve

.PHONY: test
test: ## formatting, vet, staticcheck, cross builds and every Go test (needs only Go)
	@bash .ci/test

.PHONY: lint
lint: ## only the static checks of `make test`
	@bash .ci/test lint

.PHONY: generate
generate: ## regenerate what is generated from tables and schemas
	$(GO) generate ./...

.PHONY: clean
clean: ## remove what was built and fetched
	rm -rf bin .cache

include conformance/Makefile.inc
