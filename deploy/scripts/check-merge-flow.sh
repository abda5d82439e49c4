#!/usr/bin/env bash
# Says whether a pull request may go from one branch to another: development -> staging -> main, and hotfix/<ticket>-... -> main.
#
#   check-merge-flow.sh HEAD_REF BASE_REF [HEAD_REPOSITORY BASE_REPOSITORY]
#
# Prints decision=allow|warn|block, label=..., reason=... one to a line. Exit: 0 allowed (also with a warning), 1 blocked, 2 misuse.
set -euo pipefail

if [ $# -ne 2 ] && [ $# -ne 4 ]; then
  echo "usage: $0 HEAD_REF BASE_REF [HEAD_REPOSITORY BASE_REPOSITORY]" >&2
  exit 2
fi
head=$1 base=$2 own=yes
if [ -z "$head" ] || [ -z "$base" ]; then
  echo "$0: a branch name is empty" >&2
  exit 2
fi
# A fork may call its branch what it likes: only our own staging has been tested in staging.
if [ $# -eq 4 ] && [ "$3" != "$4" ]; then
  own=no
fi

answer() {
  printf 'decision=%s\nlabel=%s\nreason=%s\n' "$1" "$2" "$3"
  [ "$1" != block ] || exit 1
  exit 0
}

work='^(feature|bugfix)/[A-Za-z]+-[0-9]+(-[A-Za-z0-9._-]+)?$'
hotfix='^hotfix/[A-Za-z]+-[0-9]+-[A-Za-z0-9._-]+$'

case $base in
  main)
    [ "$own" = yes ] || answer block production "main takes branches of this repository alone; a fork goes to development"
    [ "$head" != staging ] || answer allow production "staging goes to main"
    [[ ! $head =~ $hotfix ]] || answer allow hotfix "a hotfix skips staging; watch production for an hour after it"
    [[ $head != hotfix/* ]] || answer block production "a hotfix branch is named hotfix/<ticket>-<description>, like hotfix/RP-123-lost-chunk"
    answer block production "main takes staging, or hotfix/<ticket>-<description>"
    ;;
  staging)
    if [ "$own" = yes ]; then
      [ "$head" != development ] || answer allow staging "development goes to staging"
      [ "$head" != main ] || answer allow back-merge "what is on main comes back to staging"
    fi
    answer warn staging "staging usually takes development, or main after a release"
    ;;
  development)
    if [ "$own" = yes ] && [ "$head" = staging ]; then
      answer allow back-merge "what is on staging comes back to development"
    fi
    if [ "$own" = yes ] && [ "$head" = main ]; then
      answer warn back-merge "main comes back by way of staging"
    fi
    [[ ! $head =~ $work ]] || answer allow development "work goes to development"
    answer warn development "a branch is usually named feature/<ticket>-<description> or bugfix/<ticket>-<description>"
    ;;
  *)
    answer warn stacked "$base is none of development, staging and main: this stacks on other work"
    ;;
esac
