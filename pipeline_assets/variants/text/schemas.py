"""What the table of text variants has beside every kind's columns."""

import dataframely as dy


class TextColumns(dy.Schema):
    """A variant of a text is short enough to be a cell."""

    text = dy.String(description="the variant itself, the same as its content")
    parent_text = dy.String(description="what it was made of")
