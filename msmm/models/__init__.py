"""The paper's networks as Keras 3 functional models, one file per component of Fig. 2."""
