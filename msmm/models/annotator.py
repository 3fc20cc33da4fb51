"""The complete model of Fig. 2: pixels and tags to label probabilities and label quantity."""

import keras
from keras import layers, ops


def annotator(
    backbone, multi_scale, textual, classifier, quantity, visual_head, quantity_visual
) -> keras.Model:
    """Builds the complete model from trained parts (Algorithm 2, lines 1-5).

    Images without any tag use the heads on f_v alone (decision 35): in the paper every image has
    tags, and the heads on f_v and f_t are poor if f_t is empty.

    Inputs: "image" RGB [B, S, S, 3] float32 in 0 … 255, "tags" [B, T] float32 in {0, 1}.
    Outputs: "probabilities" [B, C] float32, "quantity" [B, 1] float32, raw.
    """
    image = keras.Input(backbone.input_shape[1:], name="image")
    tags = keras.Input(textual.input_shape[1:], name="tags")
    f_v = multi_scale(backbone(image))
    f = layers.Concatenate(name="joint")([f_v, textual(tags)])
    tagged = ops.sum(tags, axis=1, keepdims=True) > 0
    logits = ops.where(tagged, classifier(f), visual_head(f_v))
    return keras.Model(
        {"image": image, "tags": tags},
        {
            "probabilities": layers.Activation("sigmoid", name="probabilities")(logits),
            "quantity": ops.where(tagged, quantity(f), quantity_visual(f_v)),
        },
        name="annotator",
    )
