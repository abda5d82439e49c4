"""The API's client: hands studies in as a clinic's program would, over the public contract alone."""

from uploads.client.client import Client, Sent, unprovable
from uploads.client.grouping import Grouped, StudyFiles, group
from uploads.client.local import LocalFile, Pack
from uploads.client.wire import ClientError

__all__ = ["Client", "ClientError", "Grouped", "LocalFile", "Pack", "Sent", "StudyFiles", "group", "unprovable"]
