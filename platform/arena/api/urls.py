"""The addresses of the API, without final slashes."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from arena.api import challenge_views, evaluation_views, matrix_views, submission_views

app_name = "api"
urlpatterns = [
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("me", submission_views.me, name="me"),
    path("challenges", challenge_views.challenges, name="challenges"),
    path("challenges/<slug:slug>", challenge_views.challenge, name="challenge"),
    path("challenges/<slug:slug>/board", challenge_views.challenge_board, name="board"),
    path("challenges/<slug:slug>/matrix", matrix_views.matrix, name="matrix"),
    path("challenges/<slug:slug>/rankings", matrix_views.rankings, name="rankings"),
    path("attacks/<slug:public_id>", matrix_views.attack, name="attack"),
    path("submissions", submission_views.submissions, name="submissions"),
    path("submissions/<slug:public_id>", submission_views.submission, name="submission"),
    path("submissions/<slug:public_id>/archive", submission_views.archive, name="archive"),
    path("submissions/<slug:public_id>/withdraw", submission_views.withdraw, name="withdraw"),
    path("evaluations/<slug:public_id>", evaluation_views.evaluation, name="evaluation"),
    path("evaluations/<slug:public_id>/report", evaluation_views.report, name="report"),
    path("evaluations/<slug:public_id>/receipt", evaluation_views.receipt, name="receipt"),
    path("evaluations/<slug:public_id>/log", evaluation_views.log, name="log"),
    path("evaluations/<slug:public_id>/cancel", evaluation_views.cancel, name="cancel"),
]
