#!/bin/sh
# Becomes one part of RelayPACS: web, worker [QUEUES], beat, migrate, or any command of manage.py.
set -eu

part=${1:-web}
[ $# -eq 0 ] || shift

case $part in
  web)
    # One folder for the figures of all web processes; what an earlier start left would be counted again.
    export PROMETHEUS_MULTIPROC_DIR="${PROMETHEUS_MULTIPROC_DIR:-/tmp/metrics}"
    rm -rf "$PROMETHEUS_MULTIPROC_DIR"
    mkdir -p "$PROMETHEUS_MULTIPROC_DIR"
    exec python -m granian --interface asgi --loop uvloop --no-ws \
      --host "${HOST:-0.0.0.0}" --port "${PORT:-8000}" --workers "${WEB_WORKERS:-2}" \
      --workers-kill-timeout 15 --respawn-failed-workers --log-level warning "$@" relaypacs.asgi:application
    ;;
  worker)
    # QUIT lets Celery finish what it can within its soft time; after a plain TERM it would wait for long deliveries.
    export REMAP_SIGTERM=SIGQUIT
    exec python -m celery -A relaypacs worker --pool prefork -Q "${1:-interactive,early,delivery,rendering,maintenance}" \
      -c "${WORKER_CONCURRENCY:-4}" --loglevel "${LOG_LEVEL:-INFO}" --without-gossip --without-mingle
    ;;
  beat)
    # Every entry is an interval: the schedule file holds nothing worth keeping.
    exec python -m celery -A relaypacs beat --schedule /tmp/beat-schedule --pidfile= --loglevel "${LOG_LEVEL:-INFO}"
    ;;
  migrate)
    exec python manage.py migrate --noinput "$@"
    ;;
  *)
    exec python manage.py "$part" "$@"
    ;;
esac
