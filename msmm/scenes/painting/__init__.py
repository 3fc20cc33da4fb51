"""The painters of the drawn data set `scenes`; `msmm.scenes.recipe` explains how a scene is drawn."""
