#!/usr/bin/env bash
# Installs the Debian packages that some tests drive as real peers. Quick when they are there; leaves no service running.
# Elsewhere than as root on Debian it only says what is missing: those tests are then skipped with the same reason.
set -euo pipefail

PACKAGES=(orthanc orthanc-dicomweb dcmtk chromium nginx-light poppler-utils shellcheck)
POLICY=${POLICY_RC_D:-/usr/sbin/policy-rc.d}

installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

missing=()
if command -v dpkg-query >/dev/null; then
  for package in "${PACKAGES[@]}"; do
    installed "$package" || missing+=("$package")
  done
else
  missing=("${PACKAGES[@]}")
fi

if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "Tests that drive a missing program will be skipped. Not installed here (that takes root on Debian): ${missing[*]}"
  exit 0
fi

# Debian starts a service as soon as it is installed, unless this file says no. Ours goes when we go; another's stays.
if [ ! -e "$POLICY" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
  trap 'rm -f "$POLICY"' EXIT
fi

log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
quietly() {
  "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; echo "failed: $*" >&2; exit 1; }
}
echo "Installing Debian packages that tests drive: ${missing[*]} (about two minutes) ..."
quietly apt-get update -qq
quietly apt-get install -y -qq --no-install-recommends "${missing[@]}"
rm -f "$log"
# Nor shall they start with the machine: the tests start their own, on free ports.
if [ -d /run/systemd/system ]; then
  for service in orthanc nginx; do
    [[ " ${missing[*]} " != *" $service"* ]] || systemctl disable --now --quiet "$service" || true
  done
fi
echo "Debian packages are in place; none of their services was started."
