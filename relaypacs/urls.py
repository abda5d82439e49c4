"""The map of the site."""

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from relaypacs import health, metrics

# the vendored page of the API's documentation sets styles of its own
docs = login_not_required(
    csp_update({"style-src": [SELF, UNSAFE_INLINE]})(SpectacularSwaggerSplitView.as_view(url_name="schema"))
)

favicon = login_not_required(RedirectView.as_view(url=static("img/mark.svg"), permanent=True))

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="uploads:list"), name="home"),
    path("favicon.ico", favicon, name="favicon"),
    path("health", health.ready, name="health"),
    path("metrics", metrics.metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("accounts/", include("accounts.urls")),
    path("uploads/", include("uploads.urls")),
    path("api/v1/auth/", include("accounts.api_urls")),
    path("api/v1/health", health.health, name="api-health"),
    path("api/v1/schema", login_not_required(SpectacularAPIView.as_view()), name="schema"),
    path("api/v1/docs", docs, name="docs"),
    path("api/v1/", include("uploads.api_urls")),
]

handler400 = "relaypacs.problems.bad_request"
handler403 = "relaypacs.problems.forbidden"
handler404 = "relaypacs.problems.not_found"
handler500 = "relaypacs.problems.crashed"
