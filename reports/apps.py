"""Django's name for this app; it listens for uploads that were delivered."""

from django.apps import AppConfig

from uploads import signals


class ReportsConfig(AppConfig):
    name = "reports"

    def ready(self) -> None:
        from reports.opening import open_reports  # noqa: PLC0415  needs the models, which exist only now

        signals.delivered.connect(open_reports, dispatch_uid="reports.open")
