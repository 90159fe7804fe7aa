"""The site: pages, partials and drawings, which read by the other apps' `queries` and change by their `services`."""
