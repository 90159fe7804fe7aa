from django.apps import AppConfig


class SubmissionsConfig(AppConfig):
    name = "arena.submissions"

    def ready(self) -> None:
        from arena.jobs.stored_files import Stored, register
        from arena.submissions.models import Submission

        register(Stored(Submission, "archive", "submissions"))
