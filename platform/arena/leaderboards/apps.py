from django.apps import AppConfig


class LeaderboardsConfig(AppConfig):
    name = "arena.leaderboards"

    def ready(self) -> None:
        from arena.leaderboards import receivers  # noqa: F401  (connects them)
