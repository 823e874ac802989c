"""What starts runs: the upload sensor, schedules, and the run-failure sensor."""
