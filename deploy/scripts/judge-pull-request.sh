#!/usr/bin/env bash
# check-merge-flow.sh for a GitHub job: takes HEAD_REF, BASE_REF, HEAD_REPOSITORY, BASE_REPOSITORY from the environment, writes the
# decision and the label to GITHUB_OUTPUT, and says a warning or an error where the pull request shows it.
set -euo pipefail

status=0
said=$("$(dirname "${BASH_SOURCE[0]}")/check-merge-flow.sh" "$HEAD_REF" "$BASE_REF" "$HEAD_REPOSITORY" "$BASE_REPOSITORY") || status=$?
[ $status -le 1 ] || exit $status

value() {
  printf '%s\n' "$said" | sed -n "s/^$1=//p"
}
printf '%s\n' "$said" | grep -E '^(decision|label)=' >>"${GITHUB_OUTPUT:-/dev/stdout}"
case $(value decision) in
  warn) echo "::warning title=Merge flow::$(value reason)" ;;
  block) echo "::error title=Merge flow::$(value reason)" ;;
  *) value reason ;;
esac
exit $status
