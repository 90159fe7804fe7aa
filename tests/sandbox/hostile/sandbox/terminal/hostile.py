from attempts import attempt, done, system_call

attempt("TIOCSTI", lambda: system_call(16, 0, 0x5412, 0))
attempt("TIOCSTI with high bits", lambda: system_call(16, 0, 0x100005412, 0))
attempt("TIOCLINUX", lambda: system_call(16, 0, 0x541C, 0))
done()
