from django.apps import AppConfig


class MatrixConfig(AppConfig):
    name = "arena.matrix"

    def ready(self) -> None:
        from arena.jobs.judges import register
        from arena.jobs.stored_files import Stored
        from arena.jobs.stored_files import register as look_after
        from arena.matrix import receivers  # noqa: F401  (connects them)
        from arena.matrix.cells import PlayJudge, ReplayJudge, TransferJudge
        from arena.matrix.looks import FirstLookJudge
        from arena.matrix.models import Archive

        for judge in (FirstLookJudge(), PlayJudge(), ReplayJudge(), TransferJudge()):
            register(judge)
        look_after(Stored(Archive, "file", "adversarial"))
