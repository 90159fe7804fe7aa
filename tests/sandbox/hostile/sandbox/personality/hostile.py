from attempts import attempt, done, system_call

attempt("personality", lambda: system_call(135, 0x0040000))
attempt("seccomp with its own filter", lambda: system_call(317, 1, 0, 0))
attempt("memfd_secret", lambda: system_call(447, 0))
done()
