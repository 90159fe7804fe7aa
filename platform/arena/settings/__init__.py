"""Django settings: `embedded` (one machine, no services), `production` (PostgreSQL, Redis, Celery) and `test`."""
