import os

from attempts import attempt, done

attempt("nice -20", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))
attempt("real-time priority", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)))
attempt("other cores", lambda: os.sched_setaffinity(0, range(os.cpu_count() or 1)))
done()
