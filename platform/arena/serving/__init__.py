"""Serving stands between the network and the pages: bodies that are too large, requests that are too many, disks that fail."""
