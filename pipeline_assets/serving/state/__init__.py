"""The state behind online features: pure functions of packed values, events and photos, equal to the offline features."""
