"""The addresses of the API of uploads, under /api/v1/."""

from django.urls import path

from uploads import api
from uploads.chunk_door import chunk
from uploads.events import events

urlpatterns = [
    path("uploads", api.Uploads.as_view(), name="api-uploads"),
    path("uploads/<uuid:upload_id>", api.OneUpload.as_view(), name="api-upload"),
    path("uploads/<uuid:upload_id>/chunks/<int:index>", chunk, name="api-chunk"),
    path("uploads/<uuid:upload_id>/files", api.Files.as_view(), name="api-files"),
    path("uploads/<uuid:upload_id>/complete", api.Complete.as_view(), name="api-complete"),
    path("uploads/<uuid:upload_id>/confirm", api.Confirm.as_view(), name="api-confirm"),
    path("uploads/<uuid:upload_id>/retry", api.Retry.as_view(), name="api-retry"),
    path("uploads/<uuid:upload_id>/events", events, name="api-events"),
    path("uploads/<uuid:upload_id>/receipt", api.ReceiptDocument.as_view(), name="api-receipt"),
]
