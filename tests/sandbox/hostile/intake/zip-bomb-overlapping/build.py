import io
import zipfile

from archives import CODE


def build() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in CODE.items():
            archive.writestr(name, data)
        archive.writestr("0000", bytes(1 << 18))
        kernel = archive.infolist()[-1]
        for number in range(1, 190):
            entry = zipfile.ZipInfo(f"{number:04}")
            for attribute in ("compress_type", "header_offset", "CRC", "compress_size", "file_size"):
                setattr(entry, attribute, getattr(kernel, attribute))
            archive.filelist.append(entry)
    return buffer.getvalue()
