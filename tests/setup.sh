#!/usr/bin/env bash
# System packages that tests use; run by .ci/run before the README's commands. A test whose package is missing says so and skips
# (under CI=true it fails).
set -euo pipefail

packages=()
command -v g++ >/dev/null || packages+=(g++)
command -v chromium >/dev/null || packages+=(chromium)  # opens the HTML reports

if [ ${#packages[@]} -gt 0 ]; then
    apt-get update -q
    apt-get install -y -q --no-install-recommends "${packages[@]}"
fi
