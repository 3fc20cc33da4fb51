"""The painters of the drawn data set `scenes`; what they are for stands in `scene_drawing`."""
