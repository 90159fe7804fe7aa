from attempts import attempt, done, system_call

attempt("keyctl", lambda: system_call(250, 0, 0))
attempt("add_key", lambda: system_call(248, 0, 0, 0, 0, 0))
attempt("request_key", lambda: system_call(249, 0, 0, 0, 0))
done()
