"""The paper's networks as Keras 3 functional models, one room a component of Fig. 2."""
