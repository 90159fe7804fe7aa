from django.apps import AppConfig


class EvaluationsConfig(AppConfig):
    name = "arena.evaluations"
