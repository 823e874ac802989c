"""What differs between two versions: files, rows, distributions, as text and as a page."""
