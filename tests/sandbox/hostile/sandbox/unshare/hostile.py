from attempts import attempt, done, system_call

attempt("unshare user", lambda: system_call(272, 0x10000000))
attempt("unshare mount", lambda: system_call(272, 0x20000))
attempt("unshare network", lambda: system_call(272, 0x40000000))
attempt("clone user", lambda: system_call(56, 0x10000011, 0, 0, 0, 0))
attempt("clone3", lambda: system_call(435, 0, 0))
attempt("setns", lambda: system_call(308, 0, 0))
done()
