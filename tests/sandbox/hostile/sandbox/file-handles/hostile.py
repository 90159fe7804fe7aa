import ctypes

from attempts import attempt, done, system_call

path = ctypes.create_string_buffer(b"/")
handle = ctypes.create_string_buffer(b"\x08\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0", 64)
number = ctypes.c_int(0)
where = ctypes.addressof
attempt("name_to_handle_at", lambda: system_call(303, -100 & (2**64 - 1), where(path), where(handle), where(number), 0))
attempt("open_by_handle_at", lambda: system_call(304, 0, where(handle), 0))
done()
