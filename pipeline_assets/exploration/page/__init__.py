"""One HTML page of all photos: a map, counts that filter each other, thumbnails. It needs no server and no network."""
