from attempts import attempt, done, system_call

attempt("bpf", lambda: system_call(321, 0, 0, 0))
attempt("perf_event_open", lambda: system_call(298, 0, 0, 0, 0, 0))
done()
