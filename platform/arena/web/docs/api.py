"""The API's page: Swagger UI on the site's own schema and files, under the site's own content policy."""

from __future__ import annotations

from drf_spectacular.views import SpectacularSwaggerSplitView


class Api(SpectacularSwaggerSplitView):
    """Every call of the API, with its fields and errors; calls can be tried with a token."""

    url_name = "api:schema"
    template_name = "web/docs/api.html"
    title = "API"
