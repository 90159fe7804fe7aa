import os

from attempts import attempt, done

attempt("memfd_create", lambda: os.memfd_create("hoard"))
done()
