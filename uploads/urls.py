"""The pages of the journey out."""

from django.urls import path

from uploads import views

app_name = "uploads"
urlpatterns = [
    path("", views.listing, name="list"),
    path("new", views.new, name="new"),
    path("plain", views.plain, name="plain"),
    path("<uuid:upload_id>/", views.detail, name="detail"),
    path("<uuid:upload_id>/receipt", views.receipt, name="receipt"),
    path("<uuid:upload_id>/confirm", views.confirm, name="confirm"),
    path("<uuid:upload_id>/retry", views.retry, name="retry"),
    path("<uuid:upload_id>/cancel", views.cancel, name="cancel"),
]
