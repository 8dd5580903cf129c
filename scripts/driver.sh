#!/usr/bin/env bash
# Makes sure that there is a C linker for Rust and a Vulkan driver for the GPU, or Mesa's software one without a GPU.
# Says what it installs; without the rights to install, prints the one command that does it and stops.
set -euo pipefail

[ "$(uname -s)" = Linux ] || exit 0          # Metal and DX12 come with their systems

packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
has_loader() { [[ $(ldconfig -p 2>/dev/null || /sbin/ldconfig -p) == *libvulkan.so.1* ]]; }
has_driver() {
    [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] || return 0
    local file
    for file in {/usr/share,/usr/local/share,/etc,/usr/local/nvidia/share}/vulkan/icd.d/*.json; do
        [ ! -e "$file" ] || return 0
    done
    return 1
}
has_loader || packages+=(libvulkan1)
has_driver || packages+=(mesa-vulkan-drivers)
[ ${#packages[@]} -gt 0 ] || exit 0

command="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
if ! command -v apt-get >/dev/null; then
    echo "Missing: ${packages[*]} (Debian's names). Please install a C linker, the Vulkan loader and a Vulkan driver." >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then run=(bash -c); elif sudo -n true 2>/dev/null; then run=(sudo bash -c); else
    echo "Missing: ${packages[*]}. Please run:  sudo bash -c '$command'" >&2
    exit 1
fi
echo "Installing: ${packages[*]}"
"${run[@]}" "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; apt-get install -y -qq --no-install-recommends ${packages[*]}" >/dev/null
