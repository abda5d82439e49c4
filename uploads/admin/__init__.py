"""The door for the administrator: destinations to manage and to test, uploads to look at, deliveries to steer."""

from uploads.admin import deliveries, destinations, journeys

__all__ = ["deliveries", "destinations", "journeys"]
