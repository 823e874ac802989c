"""Where the data of one person lie, and a copy of them for this person. `framework/personal.py` declares columns."""
