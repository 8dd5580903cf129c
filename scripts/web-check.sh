#!/usr/bin/env bash
# Type-checks the library, without the command line, for the browser (wasm32-unknown-unknown).
# The target comes from rustup; where rustup cannot fetch it, from Debian's compiler packages, unpacked into target/ so
# that the machine's own toolchain stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
target=wasm32-unknown-unknown
check=(check --lib --no-default-features --target "$target" --target-dir target/web)

if command -v rustup >/dev/null && timeout 60 rustup target add "$target" >/dev/null 2>&1; then
    exec cargo "${check[@]}"
fi

echo "web-check: rustup cannot fetch $target; using Debian's rustc-web, cargo-web and rust-web-src"
folder=$PWD/target/web-toolchain
if [ ! -x "$folder/usr/bin/cargo" ]; then
    command -v apt-get >/dev/null || { echo "web-check: no rustup target and no apt-get" >&2; exit 1; }
    rm -rf "$folder" && mkdir -p "$folder/debs/partial"
    [ "$(id -u)" -ne 0 ] || apt-get update -qq || true
    # Only downloads: the packages and those of their dependencies that the machine lacks.
    apt-get install -qq -y --no-install-recommends --download-only --reinstall -o Debug::NoLocking=1 \
        -o Dir::Cache::archives="$folder/debs" rustc-web cargo-web rust-web-src
    for deb in "$folder"/debs/*.deb; do dpkg -x "$deb" "$folder"; done
    rm -rf "$folder/debs"
fi
libs=$(find "$folder/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
export LD_LIBRARY_PATH=$libs RUSTC=$folder/usr/bin/rustc RUSTC_BOOTSTRAP=1
unset RUSTC_WRAPPER RUSTUP_TOOLCHAIN
exec "$folder/usr/bin/cargo" "${check[@]}" -Zbuild-std=std,panic_abort
