"""What people or tools have marked in the data: boxes, segments, spans. Variants carry it on."""
