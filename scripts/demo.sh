#!/usr/bin/env bash
# What the model in the program can do, in five commands. Pictures go to out/.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p out
# Without a desktop Mesa's layer that chooses among GPUs complains at every start that there is none.
[ -n "${XDG_RUNTIME_DIR:-}" ] || export NODEVICE_SELECT=1
dreamllm() {
    printf '\n$ dreamllm'
    printf ' %q' "$@"
    printf '\n'
    target/release/dreamllm "$@"
}
rm -rf out/document
dreamllm dream "a small red circle left of a large blue square" -o out/drawn.png
dreamllm ask "what color is the circle?" --image out/drawn.png
dreamllm ask "what color is the diamond?" --image examples/shapes.png
dreamllm dream "make the background dark" --image examples/shapes.png -o out/edited.png
dreamllm compose "show a small red circle and make it different" -o out/document
printf '\nDrawn: out/drawn.png. Edited: out/edited.png, from examples/shapes.png. Document: out/document/document.html.\n'
