#!/usr/bin/env bash
# Runs a command with Debian 12's own software driver, Mesa 22.3, beside whatever is installed:
#
#   scripts/with-mesa22.sh cargo test --test ops
#
# The package is fetched and unpacked into a folder, never installed. It needs Debian 12's libLLVM 15, which is fetched too.
set -euo pipefail

folder="${DREAMLLM_MESA22:-${TMPDIR:-/tmp}/mesa22}"
library="$folder/usr/lib/x86_64-linux-gnu"
icd="$folder/lvp_icd.json"

if [ ! -e "$icd" ]; then
    version="$(apt-cache madison mesa-vulkan-drivers | awk '$3 ~ /^22\./ { print $3; exit }')"
    if [ -z "$version" ]; then
        echo "with-mesa22: apt knows no mesa-vulkan-drivers 22 (it is in Debian 12; try apt-get update)" >&2
        exit 1
    fi
    mkdir -p "$folder"
    (cd "$folder" && apt-get -qq download "mesa-vulkan-drivers=$version" libllvm15)
    for package in "$folder"/*.deb; do dpkg -x "$package" "$folder"; done
    printf '{"file_format_version":"1.0.0","ICD":{"library_path":"%s","api_version":"1.3.230"}}\n' \
        "$library/libvulkan_lvp.so" >"$icd"
fi
VK_DRIVER_FILES="$icd" VK_ICD_FILENAMES="$icd" LD_LIBRARY_PATH="$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$@"
