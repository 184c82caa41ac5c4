# The commands of this repository. Each works in a fresh clone: it installs and builds what it needs first.

# The binary of demo and tests: dev profile, with the crash points compiled in (feature failpoints).
BIN := $(CURDIR)/target/debug/weir
# The folder of `make kafka-start`.
KAFKA := $(CURDIR)/target/kafka

.DEFAULT_GOAL := help
.PHONY: help demo test nightly api fuzz lint bench build kafka-start kafka-stop print-bin print-brokers kill-kafka

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-13s %s\n' "$$name" "$$text"; done

demo: build ## ip-count without any service: killed with SIGKILL 5 times (KILLS=n), and nothing lost or doubled
	@cd examples/ip-count && $(BIN) build
	@$(BIN) demo crash examples/ip-count/local.toml --kills $(or $(KILLS),5)

test: ## All tests, with an Apache Kafka of their own; T=word runs those whose name contains it
	@.ci/test $(T)

# What promises hold by: Flink's own tests, and kills at every crash point.
PROOF := flink:: ip_count_kafka:: txn_timeout:: local:: parallel:: random_graph:: retained:: one_name:: disk_full::

nightly: ## The tests of docs/semantics.md, section 5, and of the crash points, 20 times (RUNS=n) with other seeds
	@WEIR_RUNS=$(or $(RUNS),20) .ci/test --test it $(or $(T),$(PROOF))
	@$(if $(T),true,WEIR_TEST_KEYS=10000000 .ci/test --test it spill::ten_times_the_memory)

kill-kafka: ## ip-count on Kafka over 20 million records (RECORDS=n), killed with SIGKILL 50 times (KILLS=n)
	@KILLS=$(or $(KILLS),50) RECORDS=$(or $(RECORDS),20000000) .ci/test --test it \
		--include-ignored --nocapture killed_many_times_over_a_long_input

api: ## The HTTP API against its own OpenAPI document, with schemathesis (fetched with pip); EXAMPLES=n per operation
	@.ci/api

fuzz: ## What comes from outside, made up at random, against the code that reads it: T=target, SECONDS=n for each (20)
	@SECONDS_EACH=$(or $(SECONDS),20) .ci/fuzz $(T)

lint: ## Formatting, and clippy with warnings as errors
	@.ci/lint

bench: ## Benchmarks of docs/benchmarks.md, release build (20 minutes more for the first one); B=name runs one
	@.ci/bench $(B)

kafka-start: ## An Apache Kafka for you: 127.0.0.1:9092, or a free port where that is taken; with the example's topics
	@.ci/setup kafka
	@tests/kafka/broker start $(KAFKA) --port 9092 --topic ip_count_source:2 --topic ip_count_sink:2 >/dev/null
	@brokers=$$($(MAKE) -s print-brokers); echo "brokers: $$brokers"; \
		if [ "$$brokers" != 127.0.0.1:9092 ]; then echo "for the example: export KAFKA_BROKERS=$$brokers"; fi

kafka-stop: ## Stops it; the data stays in target/kafka
	@tests/kafka/broker stop $(KAFKA)

print-bin: ## The path of the binary that demo and tests use
	@echo $(BIN)

print-brokers: ## The address of the Kafka of kafka-start
	@sed -n 's/^WEIR_TEST_BROKERS=//p' $(KAFKA)/env

build: ## That binary
	@.ci/setup build
	@.ci/cargo build --workspace --features weir/failpoints
