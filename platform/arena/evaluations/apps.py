from django.apps import AppConfig


class EvaluationsConfig(AppConfig):
    name = "arena.evaluations"

    def ready(self) -> None:
        from arena.evaluations import receivers  # noqa: F401  (connects them)
        from arena.evaluations.official import OfficialJudge
        from arena.jobs.judges import register

        register(OfficialJudge())
