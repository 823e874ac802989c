"""Labels that people or tools gave the data: boxes, masks, segments, spans. Variants preserve them."""
