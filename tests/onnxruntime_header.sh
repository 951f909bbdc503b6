#!/usr/bin/env bash
# ONNX Runtime's C header, for the C++ loader's tests: Debian's libonnxruntime-dev, which Debian has from 13 (trixie) on. Its .deb is
# fetched by apt with lists of its own, its signature checked, and unpacked without being installed. Prints the folder of the header.
set -euo pipefail

place="${XDG_CACHE_HOME:-$HOME/.cache}/se-deploy-tests/onnxruntime-dev"
header="usr/include/onnxruntime"
if [ ! -f "$place/$header/onnxruntime_c_api.h" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work"/lists/partial "$work"/cache/archives/partial "$work"/root
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    # The mirror that this machine has its own packages from.
    mirror=$(grep -rhoE '^(URIs:|deb ).*https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
        grep -oE 'https?://[^ ]+' | sed -n 1p || true)
    echo "deb [signed-by=$key] $mirror trixie main" >"$work/sources.list"
    apt=(-q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/lists"
        -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
    apt-get "${apt[@]}" update >&2
    (cd "$work" && apt-get "${apt[@]}" download libonnxruntime-dev >&2 && dpkg-deb -x libonnxruntime-dev_*.deb root)
    mkdir -p "$(dirname "$place")"
    rm -rf "$place"
    mv "$work/root" "$place"
fi
echo "$place/$header"
