#!/usr/bin/env bash
# System packages that tests use; run by .ci/run before the README's commands. A test whose package is missing says so and skips
# (under CI=true it fails).
set -euo pipefail

packages=()
command -v g++ >/dev/null || packages+=(g++)
command -v chromium >/dev/null || packages+=(chromium)  # opens the HTML reports
command -v cmake >/dev/null || packages+=(cmake)
command -v clang++ >/dev/null || packages+=(clang libclang-rt-dev) # libFuzzer
[ -f /usr/include/jpeglib.h ] || packages+=(libjpeg-dev)
[ -f /usr/include/png.h ] || packages+=(libpng-dev)
[ -e /usr/include/curl/curl.h ] || [ -e "/usr/include/$(uname -m)-linux-gnu/curl/curl.h" ] || packages+=(libcurl4-openssl-dev) # docs/serving.md
[ -d /usr/share/datasets/fashion-mnist ] || packages+=(dataset-fashion-mnist) # trains a network whose gates are folded

if [ ${#packages[@]} -gt 0 ]; then
    apt-get update -q
    apt-get install -y -q --no-install-recommends "${packages[@]}"
fi

bash "$(dirname "$0")/onnxruntime_header.sh"
