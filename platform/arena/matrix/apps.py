from django.apps import AppConfig


class MatrixConfig(AppConfig):
    name = "arena.matrix"

    def ready(self) -> None:
        from arena.matrix import receivers  # noqa: F401  (connects them)
