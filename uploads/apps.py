"""Django's name for this app."""

from django.apps import AppConfig


class UploadsConfig(AppConfig):
    name = "uploads"
