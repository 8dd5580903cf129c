# make demo   draws a picture and answers a question with the model in weights/ (or the tiny reference model)
# make test   everything that must hold: formatting, lints, docs, shaders, ops, parity with recorded PyTorch tensors, examples
# make test-large   host memory while 2 GB are loaded (reads them, a minute)
MODEL ?= tests/reference/tiny
CARGO ?= cargo
EXAMPLES = $(basename $(notdir $(sort $(wildcard examples/*.rs))))

.PHONY: demo test test-large lint bench bench-peers web-check setup

demo: setup
	$(CARGO) build --release --quiet
	mkdir -p out
	target/release/dreamllm dream "A photo of a dog." -m $(MODEL) --steps 20 -o out/dream.png
	target/release/dreamllm ask "What is in this picture?" --image out/dream.png -m $(MODEL) --max-tokens 24
	@echo
	@echo "The picture is out/dream.png. The tiny reference model has random weights: it shows that the whole way works, not what it means."

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
