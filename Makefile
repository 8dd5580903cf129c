# make demo   draws, answers, edits and composes with the model in weights/
# make default-weights   trains that model from nothing (hours)
# make test   everything that must hold: formatting, lints, docs, shaders, ops, parity with recorded PyTorch tensors, examples
# make test-large   host memory while 2 GB are loaded (reads them, a minute)
CARGO ?= cargo
EXAMPLES = $(basename $(notdir $(sort $(wildcard examples/*.rs))))

.PHONY: demo default-weights test test-large lint bench bench-peers web-check setup

demo: setup
	$(CARGO) build --release --quiet
	scripts/demo.sh

default-weights: setup
	$(CARGO) build --release --quiet
	scripts/default-weights.sh

test: setup lint
	$(CARGO) test --quiet
	@for e in $(EXAMPLES); do echo "example $$e"; $(CARGO) run --quiet --example $$e >/dev/null || exit 1; done

test-large:
	$(CARGO) test --release --test loading_memory -- --ignored --nocapture

lint:
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --no-deps

bench: setup
	$(CARGO) bench --quiet

# The same shapes on burn and meganeura. The first build takes long.
bench-peers: setup
	cd benches/peers && $(CARGO) run --release --locked --quiet

web-check:
	scripts/web-check.sh

setup:
	@scripts/driver.sh
