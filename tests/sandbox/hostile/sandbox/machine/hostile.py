from attempts import attempt, done, system_call

attempt("reboot", lambda: system_call(169, 0xFEE1DEAD, 672274793, 0x1234567, 0))
attempt("settimeofday", lambda: system_call(164, 0, 0))
attempt("clock_settime", lambda: system_call(227, 0, 0))
attempt("swapon", lambda: system_call(167, 0, 0))
attempt("sethostname", lambda: system_call(170, 0, 0))
attempt("syslog", lambda: system_call(103, 3, 0, 0))
attempt("quotactl", lambda: system_call(179, 0, 0, 0, 0))
attempt("iopl", lambda: system_call(172, 3))
attempt("ioperm", lambda: system_call(173, 0, 1, 1))
done()
