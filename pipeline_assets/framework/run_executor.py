"""The executor of all jobs: steps run in the run's process, each as soon as its inputs are there.

If some days of a step fail and its good days are written, its readers go on; the step counts as failed, and so does the run.
"""

import dagster as dg

run_executor: dg.ExecutorDefinition = dg.in_process_executor.configured(
    {"step_dependency_config": {"require_upstream_step_success": False}}, name="in_process"
)
"""With any other executor a failed day ends all readers of its step, which is Dagster's default."""
