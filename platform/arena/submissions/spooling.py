"""Keeps large uploads on disk in files without a name: they vanish with the process, however it ends."""

from __future__ import annotations

import tempfile
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler


class NamelessFileUploadHandler(FileUploadHandler):
    """In place of Django's own handler of large files, whose files outlive a killed process."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._spooled = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115 - it lives as long as the request

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._spooled.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[bytes]:
        self._spooled.seek(0)
        return UploadedFile(self._spooled, self.file_name, self.content_type, file_size, self.charset, self.content_type_extra)

    def upload_interrupted(self) -> None:
        if hasattr(self, "_spooled"):
            self._spooled.close()
