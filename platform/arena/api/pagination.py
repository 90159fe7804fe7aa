"""Lists come in pages, newest first."""

from __future__ import annotations

from rest_framework.pagination import PageNumberPagination


class Pages(PageNumberPagination):
    """`?page=N&page_size=M`."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200
