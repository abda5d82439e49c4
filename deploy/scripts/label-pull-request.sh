#!/usr/bin/env bash
# Puts a label on a pull request, and makes the label if the repository has none of that name: label-pull-request.sh NUMBER LABEL
# Needs GitHub's gh, and GH_TOKEN and GH_REPO in the environment.
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: $0 NUMBER LABEL" >&2
  exit 2
fi
case $2 in
  hotfix) color=b60205 ;;
  production) color=d93f0b ;;
  staging) color=fbca04 ;;
  development) color=0e8a16 ;;
  back-merge | stacked) color=c5def5 ;;
  *)
    echo "$0: no such label: $2" >&2
    exit 2
    ;;
esac
gh label create "$2" --color "$color" --force
gh pr edit "$1" --add-label "$2"
