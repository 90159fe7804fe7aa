from attempts import attempt, done, system_call

attempt("shmget", lambda: system_call(29, 1, 1 << 20, 0o1666))
attempt("msgget", lambda: system_call(68, 1, 0o1666))
attempt("semget", lambda: system_call(64, 1, 1, 0o1666))
attempt("mq_open", lambda: system_call(240, 0, 0, 0, 0))
done()
