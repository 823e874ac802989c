"""What is in the data: profiles and drift of tables, a map of the photos, slices, suspects; a page of it, and frames."""
