"""The map of photos: nearest neighbours, places, clusters and groups of duplicates, from embeddings."""
