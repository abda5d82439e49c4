#!/usr/bin/env bash
# Builds the image from the checkout with docker, or with buildah where there is no docker daemon.
#
#   build-image.sh [NAME]        NAME defaults to relaypacs/backend:<commit>
#
# BASE_IMAGE names another base; it must carry Python 3.11 or later with venv.
# BUILDAH_STORAGE (as vfs) and BUILDAH_OPTIONS (as --isolation=chroot) suit buildah to a machine without overlay mounts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

revision=$(git rev-parse --verify --quiet HEAD || echo unknown)
name=${1:-relaypacs/backend:$revision}
arguments=(
  --file deploy/Dockerfile
  --tag "$name"
  --build-arg "BUILD_DATE=$(date -u +%Y-%m-%dT%H:%M:%SZ)"
  --build-arg "VCS_REF=$revision"
  --build-arg "VERSION=$(cat VERSION)"
)
if [ -n "${BASE_IMAGE-}" ]; then
  arguments+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
fi

if docker info >/dev/null 2>&1; then
  docker build "${arguments[@]}" .
elif command -v buildah >/dev/null; then
  read -r -a options <<<"${BUILDAH_OPTIONS-}" # as in BUILDAH_OPTIONS="--isolation chroot"
  buildah ${BUILDAH_STORAGE:+--storage-driver "$BUILDAH_STORAGE"} bud --format docker "${options[@]}" "${arguments[@]}" .
else
  echo "Neither a docker daemon nor buildah is here." >&2
  exit 1
fi
echo "$name"
