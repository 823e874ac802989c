"""The columns specific to text variants."""

import dataframely as dy


class TextColumns(dy.Schema):
    """The text of a variant: short enough for a cell."""

    text = dy.String(description="the variant itself, the same as its content")
    parent_text = dy.String(description="what it was made of")
