"""For `vulture` (`make check`): names that no code of ours reads, and who does. What only tests call does not belong here."""

# ruff: noqa: B018, F821

# Django, its REST framework and its admin ask for these by name.
actions, add_fieldsets, add_form, allow_request, authenticate_header, auto_schema, block_size, clean_username, delete_many
file_complete, has_key, help_text, initial, page_size_query_param, receive_data_chunk, set_many, target_class, template_name
upload_interrupted, url_name
(
    get_accuracy_left,
    get_cells,
    get_detail,
    get_felled,
    get_many,
    get_progress,
    get_queue_position,
    get_readonly_fields,
    get_repeats,
)
get_security_definition, get_seed
TokenScheme  # registers itself as a subclass

# Settings name these, or a server's command line does.
admission, allow_empty_squares, application, document_errors
CallThrottle, InOneLine, NamelessFileUploadHandler, Runner, StaticFiles, SurvivingRedisCache

# Columns, and what the API and the templates print.
(
    accuracy_left,
    best_rank,
    black_box,
    caused,
    check_after,
    defense_name,
    defense_verified,
    drawings,
    examples_felled,
    excerpt,
    lease_number,
    lease_owner,
    median_distance,
    other_goal,
)
clean_error, lease_until, methods, not_before, optimality, p_value_next, priority, results, shade, shards_done, SMOOTHED
own_defenses, success_per_1000_rows, team_slug, unique_breaks, worst_rank

# Python, torch and other libraries ask for these, or are set by them.
__getattr__, allow_tf32, daemon_threads, exc_text, is_leaf_module, linkname, memo, module_qualified_name

# Manifests and records: people and other programs read them.
schema_version

# What callers of the library may print about the number of samples.
sign_agreement, signal_to_noise

# Packs are proved by their golden entries in tests/challenges.
golden_folder, load_golden

# Benchmarks print every field of their figures, and set options of their peers.
from_job_mb_s, n_iter, n_queries, n_target_classes, remove_ms, round_trip_us, start_ms, to_job_mb_s, torch_s, verbose
