"""Addresses of the site's pages; they stay as they are once shared."""

from django.urls import path
from django.views.generic import RedirectView

from arena.web.docs.api import Api
from arena.web.views import accounts, attacks, challenges, docs, entries, history, home, live, matrix, teams

app_name = "web"

urlpatterns = [
    path("", home.home, name="home"),
    path("favicon.ico", home.favicon, name="favicon"),
    path("events/", live.boards, name="events"),
    path("challenges/<slug:slug>/", challenges.board, name="board"),
    path("challenges/<slug:slug>/board.csv", challenges.board_file, {"kind": "csv"}, name="board-csv"),
    path("challenges/<slug:slug>/board.json", challenges.board_file, {"kind": "json"}, name="board-json"),
    path("challenges/<slug:slug>/board.parquet", challenges.board_file, {"kind": "parquet"}, name="board-parquet"),
    path("challenges/<slug:slug>/bits.parquet", challenges.bits_file, name="bits"),
    path("challenges/<slug:slug>/attacks/", attacks.attacks, name="attacks"),
    path("challenges/<slug:slug>/matrix/", matrix.matrix, name="matrix"),
    path("challenges/<slug:slug>/history/", history.history, name="history"),
    path("cells/<slug:public_id>/", matrix.cell, name="cell"),
    path("cells/<slug:public_id>/<int:example>/<slug:kind>.png", matrix.picture, name="picture"),
    path("challenges/<slug:slug>/rules/", challenges.rules, name="rules"),
    path("challenges/<slug:slug>/submit/", challenges.submit, name="submit"),
    path("entries/<slug:public_id>/", entries.entry, name="entry"),
    path("entries/<slug:public_id>/cancel/", entries.cancel, name="entry-cancel"),
    path("entries/<slug:public_id>/receipt.json", entries.receipt, name="entry-receipt"),
    path("entries/<slug:public_id>/images/<int:example>/<slug:kind>.png", entries.picture, name="entry-picture"),
    path("entries/<slug:public_id>/badge.svg", entries.badge, name="entry-badge"),
    path("entries/<slug:public_id>/embed/", entries.embed, name="entry-embed"),
    path("teams/", teams.teams, name="teams"),
    path("teams/<slug:slug>/", teams.team, name="team"),
    path("teams/<slug:slug>/members/", teams.add_member, name="team-members"),
    path("sign-up/", accounts.sign_up, name="signup"),
    path("log-in/", accounts.log_in, name="login"),
    path("log-out/", accounts.log_out, name="logout"),
    path("account/", accounts.account, name="account"),
    path("account/tokens/", accounts.make_token, name="token-create"),
    path("account/tokens/<int:token_id>/revoke/", accounts.revoke_token, name="token-revoke"),
    path("docs/", docs.index, name="docs"),
    path("docs/api/", Api.as_view(), name="docs-api"),
    path("docs/library/", docs.library, name="docs-library"),
    path("docs/library/<str:name>/", docs.library, name="docs-module"),
    path("docs/defense/", RedirectView.as_view(url="/docs/defense-submissions/", permanent=True), name="docs-defense"),
    path("docs/<path:slug>/", docs.page, name="docs-page"),
]
