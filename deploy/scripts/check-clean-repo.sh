#!/usr/bin/env bash
# Finds what must never stand in this repository: patients, secrets, large files, leftovers, names of one machine or registry.
#
#   check-clean-repo.sh [DIRECTORY]     looks at what git tracks there, or would with `git add .`
#
# Prints one line to each finding. Exit: 0 clean, 1 not, 2 misuse.
set -euo pipefail

cd "${1:-.}"
if ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  echo "$0: not a git work tree" >&2
  exit 2
fi

LARGEST=1048576
found=0
report() {
  echo "$1: $2"
  found=1
}

# The patterns are written so that they do not find themselves.
SECRETS='-----BEGIN ([A-Z]+ )*PRIVATE KE[Y]-----|AKI[A][0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pa[t]_[A-Za-z0-9_]{50}|xox[abprs]-[0-9A-Za-z-]{20}|AIz[a][0-9A-Za-z_-]{35}|sk_liv[e]_[0-9A-Za-z]{20}|[a-z]+://[A-Za-z0-9_.-]+:[A-Za-z0-9+/=_-]{24,}[@]'
REGISTRIES='registry\.[n]pmjs\.org|registry\.[y]arnpkg\.com|files\.[p]ythonhosted\.org|(^|[^a-z])[p]ypi\.(org|python)|deb\.[d]ebian\.org|security\.[d]ebian\.org'
MACHINES='(^|[^A-Za-z0-9_.-])(/hom[e]/[a-z][a-z0-9_-]*/|/User[s]/[A-Za-z][A-Za-z0-9._-]*/|/roo[t]/|/wor[k]/|[A-Z]:\\User[s]\\)'
CONFLICTS='^(<{7}|>{7}|\|{7}) '

judge_name() {
  local name=${1##*/}
  case $name in
    .env | .env.*) report "$1" "settings of one installation belong into its environment" ;;
    *.pem | *.key | *.p12 | *.pfx | id_rsa | id_ed25519 | .netrc | .pgpass) report "$1" "keys do not belong into a repository" ;;
    *.dcm | *.DCM | *.dicom | DICOMDIR) report "$1" "no DICOM: a study may be a patient's; tests make their own" ;;
    *.pyc | *.pyo | .DS_Store | Thumbs.db | *.swp | *.orig | *.rej | .coverage | *.sqlite3 | *.log | dump.rdb) report "$1" "a leftover of some run" ;;
  esac
  case /$1/ in
    */__pycache__/* | */node_modules/* | */.venv/* | */.mypy_cache/* | */.ruff_cache/* | */.pytest_cache/* | */.relaypacs/* | *.egg-info/*)
      report "$1" "a cache or an installation of one machine" ;;
  esac
}

judge_bytes() {
  local size magic
  size=$(wc -c <"$1")
  [ "$size" -le $LARGEST ] || report "$1" "$size bytes; more than $LARGEST do not belong into a repository"
  magic=$(head -c 132 "$1" | tail -c 4 | tr -d '\0')
  if [ "$size" -gt 132 ] && [ "$magic" = DICM ]; then
    report "$1" "a DICOM file, whatever its name says"
  fi
}

while IFS= read -r -d '' file; do
  if [ -f "$file" ] && [ ! -L "$file" ]; then # else deleted but not yet committed, or a link
    judge_name "$file"
    judge_bytes "$file"
  fi
done < <(git ls-files -z --cached --others --exclude-standard | sort -zu)

search() {
  local line
  while IFS= read -r line; do
    report "$line" "$2"
  done < <(git grep --untracked -nIE -o -e "$1" -- . 2>/dev/null | cut -c1-200 | if [ "${3-}" = hide ]; then cut -d: -f1,2; else cat; fi | sort -u)
}
search "$SECRETS" "looks like a secret" hide
search "$REGISTRIES" "names the host of a package registry"
search "$MACHINES" "names a path of one machine"
search "$CONFLICTS" "an unfinished merge"

if [ $found -eq 0 ]; then
  echo "The repository is clean."
fi
exit $found
