"""Contract of the map of photos."""

import dataframely as dy


class EmbeddingMap(dy.Schema):
    """One photo as known in a night: its place on the map, its neighbours, and its duplicates among all days until then."""

    day = dy.Date(primary_key=True, description="the night; its rows are the photos of all days until then")
    key = dy.String(primary_key=True, description="object key of the upload; of its versions, the newest that is a photo")
    photo_id = dy.Int64(nullable=True, description="null where the application's database does not know the photo")
    upload_day = dy.Date(description="the day of the photo in all other tables")
    sha256 = dy.String(regex="^[0-9a-f]{64}$")
    model_id = dy.String(description="the classifier whose embedding it is; only photos of one model are compared")
    x = dy.Float32(min=-1, max=1, description="place on the map of its model and version")
    y = dy.Float32(min=-1, max=1)
    cluster = dy.Int32(min=-1, description="0 is the largest; -1 in none")
    map_version = dy.String(
        regex="^[0-9a-f]{16}$", description="photos of one version share a map; a new one moves them all"
    )
    landmark_similarity = dy.Float32(
        description="cosine to the nearest photo of the map's reference: low where it is unlike all"
    )
    neighbours = dy.List(
        dy.String(), description="sha256 of the 10 nearest other contents of all days, nearest first: exact"
    )
    neighbour_similarity = dy.List(dy.Float32(), description="their cosines, in the full dimension of the embedding")
    duplicate_group = dy.String(
        nullable=True, description="the smallest sha256 of the photos that are the same or nearly; null for a single one"
    )
