"""The marimo notebook that `darkroom explore notebook` opens, or copies for you to change."""
