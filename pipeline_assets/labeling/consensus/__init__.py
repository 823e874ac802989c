"""From answers to truth: agreement, consensus of every kind of answer, and the quality of annotators. Pure."""
