"""Manifests: what people write, read without torch; errors name the file, the line and the field."""
