"""Every figure that the pages quote, each as one command, with its rival in the same run. See `docs/benchmarks.md`."""
