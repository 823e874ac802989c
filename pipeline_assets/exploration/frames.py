"""x."""
import polars
