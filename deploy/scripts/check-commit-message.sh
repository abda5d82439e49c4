#!/usr/bin/env bash
# Checks that a commit message begins `type(scope): subject`.
#
#   check-commit-message.sh FILE            the message in FILE, as git's commit-msg hook calls it
#   check-commit-message.sh --range A..B    every commit of a range, merges apart
#   check-commit-message.sh --text MESSAGE  the message itself (the title of a pull request)
#
# Exit: 0 all well formed, 1 some are not, 2 misuse.
set -euo pipefail

TYPES='feat|fix|docs|style|refactor|test|chore'
FORM="^($TYPES)\\([a-z0-9][a-z0-9._/-]*\\)!?: [^[:space:]].*[^.[:space:]]\$"
LONGEST=100

# What is wrong with the message, or nothing.
fault() {
  local subject second
  subject=$(printf '%s\n' "$1" | sed -n 1p)
  second=$(printf '%s\n' "$1" | sed -n 2p)
  if [[ $subject =~ ^Revert\ \" ]]; then
    return
  elif [[ ! $subject =~ $FORM ]]; then
    echo "is not type(scope): subject, without a full stop; type is one of ${TYPES//|/, }"
  elif [ ${#subject} -gt $LONGEST ]; then
    echo "has a first line of ${#subject} characters; $LONGEST are enough"
  elif [ -n "$second" ]; then
    echo "has no empty line after its first"
  fi
}

judge() {
  local wrong
  wrong=$(fault "$2")
  [ -z "$wrong" ] && return 0
  printf '%s %s:\n    %s\n' "$1" "$wrong" "$(printf '%s\n' "$2" | sed -n 1p)" >&2
  return 1
}

check_range() {
  local commit commits status=0
  commits=$(git rev-list --no-merges "$1")
  for commit in $commits; do
    judge "commit ${commit:0:10}" "$(git log -1 --format=%B "$commit")" || status=1
  done
  return $status
}

case ${1-} in
  --range)
    [ $# -eq 2 ] || { echo "usage: $0 --range A..B" >&2; exit 2; }
    check_range "$2"
    ;;
  --text)
    [ $# -eq 2 ] || { echo "usage: $0 --text MESSAGE" >&2; exit 2; }
    judge "the message" "$2"
    ;;
  "" | -*)
    echo "usage: $0 FILE | --range A..B | --text MESSAGE" >&2
    exit 2
    ;;
  *)
    message=$(grep -v '^#' "$1" || true)
    # On one's own branch git may be told to merge or to squash later; CI sees what comes of it.
    if [[ $message =~ ^(Merge|fixup!|squash!|amend!)\  ]]; then
      exit 0
    fi
    judge "the message" "$message"
    ;;
esac
