"""Events as they happen: received, kept in a journal, applied to the online store, and written to the lake's log."""
