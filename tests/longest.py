"""The files of tests that take minutes each: they begin first, so that no worker is left alone with one at the end.

`make test` runs them all. CI, whose time is bounded, runs one of the three turns, by the day of the commit, and all other files.
"""

TURNS = (
    (
        "test_page_blocks.py",
        "test_users.py",
        "test_day_writers.py",
        "test_variants_cli.py",
        "test_online_store_faults.py",
        "test_feast_repository.py",
    ),
    (
        "test_served_faults.py",
        "test_kills.py",
        "test_small_folder.py",
        "test_import_and_run.py",
        "test_exchange_faults.py",
        "test_postgres_faults.py",
        "test_s3_faults.py",
        "test_commands_beside_the_ui.py",
        "test_label_story.py",
        "test_labels_of_copies.py",
    ),
    (
        "test_annotating.py",
        "test_ui.py",
        "test_model_files.py",
        "test_home.py",
        "test_own_asset.py",
        "test_checkout_paths.py",
        "test_dagster_dev.py",
        "test_embedded.py",
        "test_port_races.py",
        "test_no_server.py",
        "test_collection.py",
        "test_large_uploads.py",
        "test_stream_kills.py",
        "test_stream_http.py",
    ),
)
"""About as long each: 38 to 40 minutes of one worker."""
LONGEST = tuple(name for files in TURNS for name in files)


def is_its_turn(name: str, turn: int) -> bool:
    """Whether one of the longest files is run at this turn. Of three turns in a row, each file has one."""
    return name in TURNS[turn % len(TURNS)]
