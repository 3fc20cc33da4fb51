"""The complete model of Fig. 2: pixels and tags to label probabilities and label quantity."""

import keras
from keras import layers


def annotator(backbone, multi_scale, textual, classifier, quantity) -> keras.Model:
    """Joins trained parts (Algorithm 2, lines 1-5).

    Inputs: "image" RGB [B, S, S, 3] float32 in 0 … 255, "tags" [B, T] float32 in {0, 1}.
    Outputs: "probabilities" [B, C] float32, "quantity" [B, 1] float32, raw.
    """
    image = keras.Input(backbone.input_shape[1:], name="image")
    tags = keras.Input(textual.input_shape[1:], name="tags")
    joint = layers.Concatenate(name="joint")([multi_scale(backbone(image)), textual(tags)])
    return keras.Model(
        {"image": image, "tags": tags},
        {
            "probabilities": layers.Activation("sigmoid", name="probabilities")(classifier(joint)),
            "quantity": quantity(joint),
        },
        name="annotator",
    )
